package apisix

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"strings"

	"github.com/sallyport/sallyport/internal/cjson"
)

// Patch returns a document with a change merged into it, as APISIX's PATCH does: an
// object is merged into an object, property by property, and null deletes one;
// everything else replaces what is there. So does an empty object, which is an empty
// array to APISIX: {"labels":{}} clears the labels. A null inside an object that was
// not there before is kept as it is.
//
// Neither doc nor change is changed, and the result shares nothing with them that
// another Patch would write to.
func Patch(doc map[string]any, change any) (map[string]any, error) {
	m, ok := asObject(change)
	if !ok {
		return nil, &Error{Text: "invalid configuration", Hint: "the change must be an object; to replace a part by anything else, name it in the path"}
	}
	return merge(doc, m), nil
}

// merge is Patch. Recursion ends where the change does, whose depth the decoder
// bounds.
func merge(doc, change map[string]any) map[string]any {
	out := make(map[string]any, len(doc)+len(change))
	maps.Copy(out, doc)
	for k, v := range change {
		inner, isObject := v.(map[string]any)
		old, wasObject := out[k].(map[string]any)
		switch {
		case v == nil:
			delete(out, k)
		case isObject && wasObject && len(inner) > 0 && len(old) > 0:
			out[k] = merge(old, inner)
		default:
			out[k] = v
		}
	}
	return out
}

// PatchPath returns a document in which the value at a path, such as "upstream/nodes", is
// replaced. Missing objects on the way are created. As in APISIX, a path cannot name an
// element of an array. Segments may be percent-encoded.
func PatchPath(doc map[string]any, path string, v any) (map[string]any, error) {
	segments := strings.Split(path, "/")
	var names []string
	for _, segment := range segments {
		name, err := url.PathUnescape(segment)
		if err != nil || name == "" {
			return nil, wrongPath(segments, "it has an empty segment, or one that is no percent-encoding")
		}
		names = append(names, name)
	}
	if len(names)+depth(v) > cjson.MaxDepth {
		return nil, wrongPath(segments, fmt.Sprintf("the document would have more than %d levels, and could not be read again", cjson.MaxDepth))
	}
	return setAt(doc, names, 0, v)
}

// depth returns how many arrays and objects stand inside each other in a value.
func depth(v any) (levels int) {
	switch v := v.(type) {
	case map[string]any:
		for _, inner := range v {
			levels = max(levels, depth(inner))
		}
	case []any:
		for _, inner := range v {
			levels = max(levels, depth(inner))
		}
	default:
		return 0
	}
	return levels + 1
}

// property is what the name of a property looks like.
var property = regexp.MustCompile(`^[a-z_]{0,32}$`)

// wrongPath refuses a path. Of its names it repeats those alone that look like names of
// properties: anything can stand in a path.
func wrongPath(names []string, hint string) error {
	text := "invalid sub-path: "
	for i, name := range names {
		if i == maxFaults {
			text += "/..."
			break
		}
		if !property.MatchString(name) {
			name = "..."
		}
		text += "/" + name
	}
	return &Error{Text: text, Hint: hint}
}

func setAt(doc map[string]any, names []string, at int, v any) (map[string]any, error) {
	out := make(map[string]any, len(doc)+1)
	maps.Copy(out, doc)
	name := names[at]
	if at == len(names)-1 {
		out[name] = v
		return out, nil
	}
	inner, ok := asObject(out[name])
	if !ok && has(out, name) {
		// APISIX garbles the path in this text.
		return nil, wrongPath(names[:at+1], "what stands there is no object; an array is replaced as a whole")
	}
	changed, err := setAt(inner, names, at+1, v)
	if err != nil {
		return nil, err
	}
	out[name] = changed
	return out, nil
}
