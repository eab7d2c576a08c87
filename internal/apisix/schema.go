package apisix

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// A schema is as much of JSON Schema as APISIX uses. Its messages are those of
// api7/jsonschema, the library that APISIX checks documents with.
//
// As there, an empty array and an empty object are the same: Lua has one word for
// both.
type schema struct {
	typ  string // "object", "array", "string", "number", "integer", "boolean"; "" is any
	enum []any

	// For strings.
	minLength, maxLength int // in characters; 0 is no limit
	pattern              *regexp.Regexp
	format               func(string) bool
	reference            bool // takes "$secret://" and "$env://" whatever else holds
	placeholder          bool // takes "[redacted]" whatever else holds

	// For numbers.
	minimum, maximum, exclusiveMinimum *float64

	// For arrays.
	items              *schema
	minItems, maxItems int // 0 is no limit
	uniqueItems        bool

	// For objects.
	properties map[string]*schema
	required   []string
	values     *schema            // of every property, whatever its name
	dependent  map[string]*schema // of the object, if it has the property
	closed     bool               // has no other properties

	allOf, anyOf, oneOf []*schema
	when, then, orElse  *schema
	not                 *schema

	// hint, if not nil, says more about a value that does not fit. It may return "".
	hint func(v any) string
}

// says is a hint that is the same for every value.
func says(hint string) func(any) string { return func(any) string { return hint } }

// check returns what is wrong with v. Parts are looked at first, the value as
// a whole only if they are in order, and that up to the first fault: so it is in
// api7/jsonschema.
func (s *schema) check(v any) faults {
	if str, ok := v.(string); ok && (s.reference && isReference(str) || s.placeholder && isPlaceholder(str)) {
		return nil
	}
	if f := s.checkParts(v); f != nil {
		return f
	}
	f := s.checkWhole(v)
	if len(f) > 0 && f[0].hint == "" && s.hint != nil {
		f[0].hint = s.hint(v)
	}
	return f
}

// fits reports whether nothing is wrong with v. Alternatives are often tried in
// vain: where a property is missing, it saves the words.
func (s *schema) fits(v any) bool {
	if m, ok := asObject(v); ok && slices.ContainsFunc(s.required, func(name string) bool { return !has(m, name) }) {
		return false
	}
	return s.check(v) == nil
}

// checkParts checks the properties of an object and the items of an array.
func (s *schema) checkParts(v any) (f faults) {
	if !s.typeFits(v) {
		return nil
	}
	if m, ok := asObject(v); ok && (s.properties != nil || s.required != nil || s.values != nil) {
		return s.checkObject(m)
	}
	if list, ok := asArray(v); ok && s.items != nil {
		if len(list) < s.minItems || s.maxItems > 0 && len(list) > s.maxItems {
			return nil // which is the first thing to say
		}
		for i, item := range list {
			if f = append(f, s.items.check(item).item(i)...); len(f) > maxFaults {
				break
			}
		}
	}
	return f
}

func (s *schema) checkObject(m map[string]any) (f faults) {
	names := slices.AppendSeq(slices.Clone(s.required), maps.Keys(m))
	slices.Sort(names)
	var unknown []string
	for _, name := range slices.Compact(names) {
		if len(f) > maxFaults {
			break // more than will be told
		}
		v, ok := m[name]
		if !ok {
			f.add("property %q is required", name)
			continue
		}
		p, known := s.properties[name]
		if !known {
			if s.closed && len(unknown) < maxFaults {
				unknown = append(unknown, show(name))
			}
			if s.values != nil {
				f = append(f, s.values.check(v).in(`failed to validate `+show(name)+` (matching ".*"): `)...)
			}
			continue
		}
		wrong := p.check(v).of(name)
		if d := s.dependent[name]; d != nil && wrong == nil {
			wrong = d.check(m).in(fmt.Sprintf("failed to validate dependent schema for %q: ", name))
		}
		f = append(f, wrong...)
	}
	if unknown != nil {
		f.add("additional properties forbidden, found %s", strings.Join(unknown, ", "))
		f[len(f)-1].hint = "known are " + strings.Join(slices.Sorted(maps.Keys(s.properties)), ", ")
	}
	return f
}

// checkWhole checks a value apart from its parts, and returns one fault at most.
func (s *schema) checkWhole(v any) (f faults) {
	if !s.typeFits(v) {
		f.add("wrong type: expected %s, got %s", s.typ, typeName(v))
		return f
	}
	if str, ok := v.(string); ok {
		f = s.checkString(str)
	} else if n, ok := number(v); ok {
		f = s.checkNumber(n)
	} else if list, ok := asArray(v); ok {
		f = s.checkArray(list)
	}
	if f != nil {
		return f
	}
	if s.enum != nil && !s.enumHas(v) {
		f.add("matches none of the enum values")
		f[0].hint = "it must be one of " + strings.Trim(fmt.Sprint(s.enum), "[]")
		return f
	}
	for i, sub := range s.allOf {
		if f := sub.check(v); f != nil {
			return f[:1].in(fmt.Sprintf("allOf %d failed: ", i+1))
		}
	}
	if s.anyOf != nil && !slices.ContainsFunc(s.anyOf, func(sub *schema) bool { return sub.fits(v) }) {
		f.add("object matches none of the required%s", alternatives(s.anyOf))
		return f
	}
	if s.oneOf != nil {
		first := 0
		for i, sub := range s.oneOf {
			if !sub.fits(v) {
				continue
			}
			if first != 0 {
				f.add("value should match only one schema, but matches both schemas %d and %d", first, i+1)
				return f
			}
			first = i + 1
		}
		if first == 0 {
			f.add("value should match only one schema, but matches none")
			return f
		}
	}
	if s.when != nil {
		if s.when.fits(v) {
			if !s.then.fits(v) {
				f.add("then clause did not match")
			}
		} else if !s.orElse.fits(v) {
			f.add("else clause did not match")
		}
		if f != nil {
			return f
		}
	}
	if s.not != nil && s.not.fits(v) {
		f.add("value wasn't supposed to match schema")
	}
	return f
}

func (s *schema) checkString(v string) (f faults) {
	switch n := utf8.RuneCountInString(v); {
	case n < s.minLength:
		f.add("string too short, expected at least %d, got %d", s.minLength, n)
	case s.maxLength > 0 && n > s.maxLength:
		f.add("string too long, expected at most %d, got %d", s.maxLength, n)
	case s.pattern != nil && !s.pattern.MatchString(v):
		f.add("failed to match pattern %s with %s", quote(s.pattern.String()), quote(v))
	case s.format != nil && !s.format(v):
		f.add("object matches none of the required")
	}
	return f
}

func (s *schema) checkNumber(v float64) (f faults) {
	switch {
	case s.minimum != nil && v < *s.minimum:
		f.add("expected %s to be at least %s", luaNumber(v), luaNumber(*s.minimum))
	case s.maximum != nil && v > *s.maximum:
		f.add("expected %s to be at most %s", luaNumber(v), luaNumber(*s.maximum))
	case s.exclusiveMinimum != nil && v <= *s.exclusiveMinimum:
		f.add("expected %s to be greater than %s", luaNumber(v), luaNumber(*s.exclusiveMinimum))
	}
	return f
}

func (s *schema) checkArray(v []any) (f faults) {
	switch {
	case len(v) < s.minItems:
		f.add("expect array to have at least %d items", s.minItems)
	case s.maxItems > 0 && len(v) > s.maxItems:
		f.add("expect array to have at most %d items", s.maxItems)
	case s.uniqueItems:
		// Where items must be unique, they are strings or numbers.
		seen := map[any]int{}
		for i, item := range v {
			if j, ok := seen[item]; ok {
				f.add("expected unique items but items %d and %d are equal", j+1, i+1)
				break
			}
			seen[item] = i
		}
	}
	return f
}

func (s *schema) enumHas(v any) bool {
	n, isNumber := number(v)
	return slices.ContainsFunc(s.enum, func(e any) bool {
		if want, ok := number(e); ok {
			return isNumber && want == n
		}
		return e == v
	})
}

// alternatives lists what each of several schemas requires, if that is all that
// they say.
func alternatives(subs []*schema) string {
	var lists []string
	for _, sub := range subs {
		if sub.required == nil {
			return ""
		}
		text, _ := json.Marshal(sub.required) // strings: cannot fail
		lists = append(lists, string(text))
	}
	return ": " + strings.Join(lists, " or ")
}

// unknown returns the properties of v that the schema does not know, though it
// does not forbid them. path is that of v.
func (s *schema) unknown(v any, path string) (paths []string) {
	m, ok := asObject(v)
	if !ok || s.properties == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if p, ok := s.properties[name]; ok {
			paths = append(paths, p.unknown(m[name], path+name+".")...)
		} else if len(paths) < maxFaults {
			paths = append(paths, path+show(name))
		}
	}
	return paths
}

// typeFits reports whether a value is of the schema's type. 1.0 is an integer.
func (s *schema) typeFits(v any) (ok bool) {
	switch s.typ {
	case "":
		return true
	case "object":
		_, ok = asObject(v)
	case "array":
		_, ok = asArray(v)
	case "string":
		_, ok = v.(string)
	case "boolean":
		_, ok = v.(bool)
	case "number":
		_, ok = number(v)
	case "integer":
		var n float64
		n, ok = number(v)
		ok = ok && isInteger(n)
	default:
		panic("apisix: internal error: no such type: " + s.typ)
	}
	return ok
}

// typeName is what Lua calls the type of a value.
func typeName(v any) string {
	switch v.(type) {
	case nil:
		return "userdata"
	case bool:
		return "boolean"
	case string:
		return "string"
	case []any, map[string]any:
		return "table"
	default:
		return "number"
	}
}
