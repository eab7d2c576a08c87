package route

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"net/textproto"
	"reflect"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/internal/regexpsize"
)

// The limits of an expression. They bound what one route costs a request, and what
// is said about an expression that is wrong.
const (
	maxVarsDepth      = 32    // of groups in groups
	maxVarsConditions = 1000  // conditions and groups
	maxVarsValues     = 10000 // the values of all lists
	maxVarsPattern    = 4096  // the bytes of a regular expression
	maxVarsProgram    = 10000 // the instructions that one compiles to
	maxVarsPrograms   = 50000 // and all of them together
)

// A varsFault is what is wrong at a place of an expression.
type varsFault struct {
	field string // as in "Vars[1][0]", for a [ConfigError]
	err   *varsError
}

// A varsError is what is wrong with an expression, in two parts for those who repeat
// APISIX's words to a client: its text, byte for byte, and what there is to say
// beyond. The text is empty for what APISIX would take.
type varsError struct{ text, hint string }

// Error returns the text, and behind it the hint in brackets.
func (e *varsError) Error() string {
	switch {
	case e.text == "":
		return e.hint
	case e.hint == "":
		return e.text
	}
	return e.text + " (" + e.hint + ")"
}

// APISIXText returns what APISIX says, or "" if it would take the expression.
func (e *varsError) APISIXText() string { return e.text }

// Hint returns what there is to say beyond, or "".
func (e *varsError) Hint() string { return e.hint }

// The texts of APISIX (lua-resty-expr).
const (
	textBrackets   = "rule should be wrapped inside brackets"
	textTooShort   = "rule too short"
	textOperator   = "invalid operator '%s'"
	textExpression = "invalid expression"
	textNot        = "bad 'not' expression"
)

const conditionHint = `a condition is [variable, operator, value] or [variable, "!", operator, value]`

// parseVars makes of [Config.Vars] what requests are compared with. v is nil if expr
// is empty, or if there are faults, of which all are returned, in their order. The
// warnings, which have no ID, are about what is taken and may not be what was meant.
func parseVars(expr []any) (v *vars, warnings []Warning, faults []varsFault) {
	if len(expr) == 0 {
		return nil, nil, nil
	}
	var p varsParser
	root := p.expression(expr)
	if p.faults != nil {
		return nil, p.warnings, p.faults
	}
	return &vars{root: root}, p.warnings, nil
}

// A varsParser collects what there is to say about an expression.
type varsParser struct {
	warnings   []Warning
	faults     []varsFault
	conditions int
	values     int
	programs   int // the instructions of the regular expressions
}

// fault says what is wrong at a field. The hint has no verbs if there are no args.
func (p *varsParser) fault(field, text, hint string, args ...any) {
	if len(args) > 0 {
		hint = fmt.Sprintf(hint, args...)
	}
	p.faults = append(p.faults, varsFault{field, &varsError{text, hint}})
}

// refuse says what is wrong with something that APISIX would take.
func (p *varsParser) refuse(field, format string, args ...any) {
	p.fault(field, "", format, args...)
}

func (p *varsParser) warn(field, format string, args ...any) {
	p.warnings = append(p.warnings, Warning{Field: field, Text: fmt.Sprintf(format, args...)})
}

// expression parses the whole. Unlike within it, a single condition is not taken
// there: ["host", "==", "a.test"] could be a list of three.
func (p *varsParser) expression(expr []any) condition {
	const field = "Vars"
	switch first := normal(expr[0]).(type) {
	case []any:
		return p.group(field, opAnd, false, expr, 0, 1)
	case string:
		if op, negated, ok := groupOperator(first); ok {
			return p.operatorGroup(field, op, negated, expr, 1)
		}
		p.fault(field, textBrackets, `Vars is a list of conditions: [["host", "==", "a.test"]]`)
	default:
		p.fault(field+"[0]", textExpression, conditionHint)
	}
	return condition{}
}

// condition parses one element of a group, which has a depth.
func (p *varsParser) condition(field string, v any, depth int) condition {
	if p.conditions++; p.conditions > maxVarsConditions {
		if p.conditions == maxVarsConditions+1 {
			p.refuse("Vars", "it has over %d conditions", maxVarsConditions)
		}
		return condition{}
	}
	expr, ok := normal(v).([]any)
	switch {
	case !ok:
		p.fault(field, textExpression, "%s is no condition: "+conditionHint, literal(v))
		return condition{}
	case len(expr) == 0:
		p.fault(field, textTooShort, conditionHint)
		return condition{}
	}
	switch first := normal(expr[0]).(type) {
	case []any:
		return p.group(field, opAnd, false, expr, 0, depth+1)
	case string:
		if op, negated, ok := groupOperator(first); ok {
			return p.operatorGroup(field, op, negated, expr, depth+1)
		}
		return p.comparison(field, first, expr)
	default:
		p.fault(field+"[0]", textExpression, "%s is no variable: its name is a string", literal(expr[0]))
		return condition{}
	}
}

// groupOperator returns what the first element of a group says.
func groupOperator(s string) (op operator, negated, ok bool) {
	switch strings.ToUpper(s) {
	case "AND":
		return opAnd, false, true
	case "OR":
		return opOr, false, true
	case "!AND":
		return opAnd, true, true
	case "!OR":
		return opOr, true, true
	default:
		return 0, false, false
	}
}

// operatorGroup parses a group whose first element is its operator.
func (p *varsParser) operatorGroup(field string, op operator, negated bool, expr []any, depth int) condition {
	if len(expr) < 3 {
		p.fault(field, textTooShort, "%s needs two conditions behind it, or more", literal(expr[0]))
	}
	return p.group(field, op, negated, expr, 1, depth)
}

// group parses the conditions of expr from an index on.
func (p *varsParser) group(field string, op operator, negated bool, expr []any, from, depth int) condition {
	c := condition{op: op, negated: negated, field: field}
	if depth > maxVarsDepth {
		p.refuse(field, "groups are nested over %d deep", maxVarsDepth)
		return c
	}
	for i := from; i < len(expr) && p.conditions <= maxVarsConditions; i++ {
		c.group = append(c.group, p.condition(fmt.Sprintf("%s[%d]", field, i), expr[i], depth))
	}
	if from == 0 && len(c.group) == 1 {
		return c.group[0] // brackets around one condition
	}
	return c
}

// comparison parses a condition on a variable.
func (p *varsParser) comparison(field, name string, expr []any) condition {
	c := condition{field: field}
	var op, value any
	at := 2 // where value stands
	switch len(expr) {
	case 1:
		p.fault(field, textTooShort, conditionHint)
		return c
	case 2:
		op, value, at = "==", expr[1], 1
	case 3:
		op, value = expr[1], expr[2]
		if normal(op) == "!" {
			p.fault(field, textNot, `"!" stands before an operator and a value: [variable, "!", operator, value]`)
			return c
		}
	case 4:
		if normal(expr[1]) != "!" {
			p.fault(field, textNot, `of four elements the second is "!": [variable, "!", operator, value]`)
			return c
		}
		c.negated = true
		op, value, at = expr[2], expr[3], 3
	default:
		p.fault(field, textExpression, "it has %d elements: "+conditionHint, len(expr))
		return c
	}
	c.of = p.variable(field, name)
	p.operand(&c, op, fmt.Sprintf("%s[%d]", field, at), normal(value))
	return c
}

// operand compiles the value that a variable is compared with, which stands at a
// field.
func (p *varsParser) operand(c *condition, op any, field string, value any) {
	name, ok := normal(op).(string)
	if !ok {
		p.fault(c.field, textExpression, "%s is no operator: "+operatorsHint, literal(op))
		return
	}
	switch name = strings.ToLower(name); name {
	case "==":
		p.equal(c, field, value)
	case "~=":
		c.negated = !c.negated
		p.equal(c, field, value)
	case "<", "<=", ">", ">=":
		p.order(c, name, field, value)
	case "~~", "~*":
		p.pattern(c, name, field, value)
	case "in":
		p.in(c, field, value)
	case "has":
		p.has(c, field, value)
	case "ipmatch":
		p.ipmatch(c, field, value)
	default:
		hint := operatorsHint
		switch name {
		case "=", "===":
			hint = `write "=="`
		case "!=", "<>", "~":
			hint = `"not equal" is "~="`
		}
		p.fault(c.field, fmt.Sprintf(textOperator, normal(op)), hint)
	}
}

const operatorsHint = `the operators are == ~= > >= < <= ~~ ~* in has ipmatch`

func (p *varsParser) equal(c *condition, field string, value any) {
	switch value := value.(type) {
	case nil:
		c.op = opAbsent
	case string:
		c.op, c.text = opText, value
		if c.of.source == fromClient {
			c.ranges = p.clients(field, value)
		}
	case float64:
		c.op, c.number = opNumber, p.finite(field, value)
	default:
		c.op, c.text = opNever, "== "+literal(value)
		p.noValue(field, value)
	}
}

// noValue says that a variable never equals a value.
func (p *varsParser) noValue(field string, value any) {
	if b, ok := value.(bool); ok {
		p.warn(field, `no variable ever equals the boolean %t: write the string "%[1]t"`, b)
		return
	}
	if _, ok := value.(unknown); ok {
		p.refuse(field, "%s is no string, number, boolean, null or list", literal(value))
		return
	}
	p.warn(field, "no variable ever equals %s", literal(value))
}

// finite returns a number, without the sign of zero. It refuses those that JSON does
// not have.
func (p *varsParser) finite(field string, n float64) float64 {
	if math.IsNaN(n) || math.IsInf(n, 0) {
		p.refuse(field, "%v is no number to compare with", n)
	}
	return n + 0
}

func (p *varsParser) order(c *condition, op, field string, value any) {
	c.op = map[string]operator{"<": opLess, "<=": opLessOrEqual, ">": opGreater, ">=": opGreaterOrEqual}[op]
	switch value := value.(type) {
	case float64:
		c.number = p.finite(field, value)
	case string:
		n, ok := toNumber(value)
		if !ok || math.IsInf(n, 0) {
			c.op, c.text = opNever, op+" "+literal(value)
			p.warn(field, "%q compares numbers, and %s is none: it never holds", op, literal(value))
		}
		c.number = n + 0
	default:
		p.refuse(field, "%q compares numbers, and %s is none", op, literal(value))
	}
}

func (p *varsParser) pattern(c *condition, op, field string, value any) {
	pattern, ok := value.(string)
	if !ok {
		p.refuse(field, "%q needs a regular expression, which is a string, and not %s", op, literal(value))
		return
	}
	c.op, c.text = opMatch, pattern
	if op == "~*" {
		c.op = opMatchFold
	}
	if p.programs > maxVarsPrograms {
		return // which is said already
	}
	re, size, err := compilePattern(pattern, c.op == opMatchFold)
	if err != nil {
		p.refuse(field, "%s", err)
		return
	}
	c.regexp = re
	if p.programs += size; p.programs > maxVarsPrograms {
		p.refuse("Vars", "its regular expressions compile to over %d instructions", maxVarsPrograms)
	}
}

// compilePattern compiles a regular expression of RE2. It finds what it is for
// anywhere in a value, unless it says ^ or $. size is how many instructions it has.
func compilePattern(pattern string, fold bool) (re *regexp.Regexp, size int, err error) {
	if len(pattern) > maxVarsPattern {
		return nil, 0, fmt.Errorf("a regular expression of %d bytes is longer than %d", len(pattern), maxVarsPattern)
	}
	size, err = regexpsize.Of(pattern)
	if err != nil {
		if lacks := re2Lacks(pattern); lacks != "" {
			return nil, 0, fmt.Errorf("%s has %s, which RE2 does not: it is Go's regexp that runs here, not PCRE", literal(pattern), lacks)
		}
		var reason *syntax.Error
		if errors.As(err, &reason) {
			return nil, 0, fmt.Errorf("%s is no regular expression of RE2: %s: %s", literal(pattern), reason.Code, literal(reason.Expr))
		}
		return nil, 0, err
	}
	if size > maxVarsProgram {
		return nil, 0, fmt.Errorf("%s compiles to %d instructions, over %d: its repetitions are too many", literal(pattern), size, maxVarsProgram)
	}
	if fold {
		pattern = "(?i)" + pattern
	}
	re, err = regexp.Compile(pattern)
	return re, size, err
}

// re2Lacks names what a pattern of PCRE has and RE2 has not, or returns "". It is
// for patterns that do not compile: what it sees may be a literal in others.
func re2Lacks(pattern string) string {
	inClass := false
	for i := 0; i < len(pattern); i++ {
		rest := pattern[i+1:]
		switch c := pattern[i]; {
		case c == '\\':
			i++
			switch {
			case inClass || rest == "":
			case '1' <= rest[0] && rest[0] <= '9', rest[0] == 'k', rest[0] == 'g':
				return "a back-reference"
			case rest[0] == 'Q':
				end := strings.Index(rest, `\E`)
				if end < 0 {
					return ""
				}
				i += end + 1
			}
		case inClass:
			inClass = c != ']'
		case c == '[':
			inClass = true
			// A bracket that closes nothing stands for itself.
			if rest = strings.TrimPrefix(rest, "^"); strings.HasPrefix(rest, "]") {
				i = len(pattern) - len(rest)
			}
		case c == '(':
			for _, lack := range lacks {
				if strings.HasPrefix(rest, lack.begin) {
					return lack.name
				}
			}
		case c == '+' && i > 1 && strings.IndexByte("*+?}", pattern[i-1]) >= 0 && pattern[i-2] != '\\':
			return "a possessive quantifier"
		}
	}
	return ""
}

// lacks are the groups of PCRE that RE2 has not.
var lacks = []struct{ begin, name string }{
	{"?=", "lookahead"},
	{"?!", "lookahead"},
	{"?<=", "lookbehind"},
	{"?<!", "lookbehind"},
	{"?>", "an atomic group"},
	{"?P=", "a back-reference"},
	{"?P>", "recursion"},
	{"?&", "recursion"},
	{"?R", "recursion"},
	{"?(", "a conditional group"},
	{"?|", "a branch reset"},
	{"?#", "a comment"},
	{"*", "a verb"},
}

func (p *varsParser) in(c *condition, field string, value any) {
	values, ok := value.([]any)
	if !ok {
		p.refuse(field, `"in" needs a list, and not %s: write [%[1]s]`, literal(value))
		return
	}
	c.op, c.list = opIn, new(operands)
	for i, v := range p.limited(values) {
		at := fmt.Sprintf("%s[%d]", field, i)
		switch v := normal(v).(type) {
		case nil:
			c.list.absent = true
		case string:
			c.list.texts = append(c.list.texts, v)
			if c.of.source == fromClient {
				c.ranges = append(c.ranges, p.clients(at, v)...)
			}
		case float64:
			c.list.numbers = append(c.list.numbers, p.finite(at, v))
		default:
			p.noValue(at, v)
		}
	}
	c.list.sort()
	c.ranges = newAddrs(c.ranges)
	if len(c.list.texts)+len(c.list.numbers) == 0 && !c.list.absent {
		c.op, c.text, c.list = opNever, "in "+literal(value), nil
		p.warn(field, "nothing is in the list: it never holds")
	}
}

// limited counts the values of a list. There are none once there are too many.
func (p *varsParser) limited(values []any) []any {
	if p.values > maxVarsValues {
		return nil
	}
	if p.values += len(values); p.values > maxVarsValues {
		p.refuse("Vars", "its lists have over %d values", maxVarsValues)
		return nil
	}
	return values
}

func (l *operands) sort() {
	slices.Sort(l.texts)
	l.texts = slices.Compact(l.texts)
	slices.Sort(l.numbers)
	l.numbers = slices.Compact(l.numbers)
}

func (p *varsParser) has(c *condition, field string, value any) {
	c.op, c.list = opHas, new(operands)
	switch value := value.(type) {
	case string:
		c.list.texts = []string{value}
	case float64:
		c.list.numbers = []float64{p.finite(field, value)}
	case bool, []any:
		c.op, c.text, c.list = opNever, "has "+literal(value), nil
		p.noValue(field, value)
	default:
		p.refuse(field, `"has" needs a string or a number, and not %s`, literal(value))
	}
	if c.of.hasOneValue() {
		p.warn(c.field, `%s never has several values, and "has" is for those that may: it never holds`, c.of.String())
	}
}

func (p *varsParser) ipmatch(c *condition, field string, value any) {
	c.op = opAddr
	values, ok := value.([]any)
	if !ok {
		if _, ok := value.(string); !ok {
			p.refuse(field, `"ipmatch" needs a list of addresses or of ranges in CIDR notation, and not %s`, literal(value))
			return
		}
		values = []any{value}
	}
	for i, v := range p.limited(values) {
		at := field
		if ok {
			at = fmt.Sprintf("%s[%d]", field, i)
		}
		s, isText := normal(v).(string)
		r, err := parseRange(s)
		if !isText || err != nil {
			p.refuse(at, "%s is no address and no range in CIDR notation", literal(v))
			continue
		}
		c.ranges = append(c.ranges, r)
	}
	c.ranges = newAddrs(c.ranges)
	if ok && len(values) == 0 {
		c.op, c.text = opNever, "ipmatch []"
		p.warn(field, "nothing is in the list: it never holds")
	}
}

// clients returns the address of the client whose text is s, as a range.
func (p *varsParser) clients(field, s string) []netip.Prefix {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		p.warn(field, "%s is no address, which remote_addr is: no client has it", literal(s))
		return nil
	}
	if addr = plainAddr(addr); addr.String() != s {
		p.warn(field, "remote_addr is compared as a string, and that of this address is %q: no client has %s", addr, literal(s))
		return nil
	}
	return []netip.Prefix{netip.PrefixFrom(addr, addr.BitLen())}
}

// varNames are the variables beyond those of a Request that [HTTPLookups] knows, and
// whether they may have several values.
var varNames = map[string]bool{
	"request_uri":             false,
	"args":                    false,
	"is_args":                 false,
	"scheme":                  false,
	"server_addr":             false,
	"server_port":             false,
	"remote_port":             false,
	"server_protocol":         false,
	"content_type":            false,
	"content_length":          false,
	"ssl_server_name":         false,
	"ssl_protocol":            false,
	"ssl_cipher":              false,
	"ssl_client_verify":       false,
	"ssl_client_s_dn":         false,
	"ssl_client_i_dn":         false,
	"ssl_client_serial":       false,
	"ssl_client_fingerprint":  false,
	"ssl_client_escaped_cert": false,
	"ssl_client_dns_sans":     true,
	"ssl_client_uri_sans":     true,
}

// variable resolves a name. Names are case-sensitive, but for those of header
// fields, which are not in HTTP either.
func (p *varsParser) variable(field, name string) variable {
	v := variableOf(name)
	if v.source != fromLookups || v.kind != VarOther {
		return v
	}
	switch _, known := varNames[v.name]; {
	case strings.HasPrefix(name, "post_arg."):
		p.refuse(field, "%s: bodies are not searched by path; post_arg_NAME is an argument of an urlencoded form", name)
	case strings.HasPrefix(name, "graphql_"):
		p.warn(field, "%s is unknown: bodies are not read as GraphQL; unless Lookups of your own know it, it is always absent", name)
	case !known:
		p.warn(field, "%s is unknown: unless Lookups of your own know it, it is always absent", literal(name))
	}
	return v
}

// variableOf returns what a name of nginx's stands for.
func variableOf(name string) variable {
	switch name {
	case "uri":
		return variable{source: fromPath}
	case "host":
		return variable{source: fromHost}
	case "method", "request_method":
		return variable{source: fromMethod}
	case "remote_addr":
		return variable{source: fromClient}
	case "query_string":
		return variable{kind: VarOther, name: "args"}
	}
	for _, prefix := range varPrefixes {
		rest, ok := strings.CutPrefix(name, prefix.text)
		if !ok {
			continue
		}
		if prefix.kind == VarHeader {
			// In lower case first: what is no name of a field comes back as it is.
			rest = textproto.CanonicalMIMEHeaderKey(strings.ToLower(strings.ReplaceAll(rest, "_", "-")))
		}
		return variable{source: prefix.source, kind: prefix.kind, name: rest}
	}
	return variable{kind: VarOther, name: name}
}

// varPrefixes are what names begin with that have a name of the user's in them.
var varPrefixes = []struct {
	text   string
	source varSource
	kind   VarKind
}{
	{"uri_param_", fromParam, VarOther},
	{"http_", fromLookups, VarHeader},
	{"arg_", fromLookups, VarArg},
	{"cookie_", fromLookups, VarCookie},
	{"post_arg_", fromLookups, VarPostArg},
}

// hasOneValue reports whether a variable has one value at most.
func (x *variable) hasOneValue() bool {
	if x.source != fromLookups || x.kind != VarOther {
		return true
	}
	several, known := varNames[x.name]
	return known && !several
}

// unknown is a value of Go that has no counterpart in JSON, or an object.
type unknown struct{ value any }

// normal returns a value as JSON decoded it or a person wrote it in Go in one form:
// nil, bool, string, float64, []any, or unknown.
func normal(v any) any {
	switch v := v.(type) {
	case nil, bool, string, float64, []any, unknown:
		return v
	case json.Number:
		n, err := v.Float64()
		if err != nil {
			return unknown{v}
		}
		return n
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Bool:
		return r.Bool()
	case reflect.String:
		return r.String()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return float64(r.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return float64(r.Uint())
	case reflect.Float32, reflect.Float64:
		return r.Float()
	case reflect.Slice, reflect.Array:
		list := make([]any, r.Len())
		for i := range list {
			list[i] = r.Index(i).Interface()
		}
		return list
	default:
		return unknown{v}
	}
}
