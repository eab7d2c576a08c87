package apisix

import "fmt"

// CheckID checks an id: 1 to 64 characters of a-z A-Z 0-9 - _ and the dot, or an
// integer from 1. The id of a path is always a string.
func CheckID(id any) error {
	f := idSchema.check(id)
	if f == nil && !idPattern.MatchString(IDString(id)) {
		// From 1e+14 on, an integer has no text of its own in APISIX.
		f = faults{{"object matches none of the required", "write so long a number as a string"}}
	}
	return f.of("id").err(inConfiguration)
}

// IDString returns an id as a string. Documents hold ids as strings and as numbers:
// 1 and "1" are one id. What is no id becomes "".
func IDString(id any) string {
	if s, ok := id.(string); ok {
		return s
	}
	if n, ok := number(id); ok {
		return luaNumber(n)
	}
	return ""
}

// PutID returns the id under which a PUT stores a document: that of the path or,
// where the path has none, that of the document. It is checked.
func PutID(kind Kind, pathID string, doc map[string]any) (string, error) {
	bodyID, inBody := doc["id"]
	if bodyID == false { // which is absent to APISIX
		inBody = false
	}
	switch {
	case pathID == "" && !inBody:
		return "", &Error{
			Text: fmt.Sprintf("missing %s id", kind.Singular()),
			Hint: fmt.Sprintf(`put it into the path, /apisix/admin/%s/ID, or into the document, "id": "ID"`, kind),
		}
	case pathID == "":
		return IDString(bodyID), CheckID(bodyID)
	case inBody && IDString(bodyID) != pathID:
		return "", &Error{
			Text: fmt.Sprintf("wrong %s id", kind.Singular()),
			Hint: "the id in the document is not that of the path",
		}
	}
	return pathID, CheckID(pathID)
}

// CheckNoID refuses a POST that brings an id: a new one is made for it.
func CheckNoID(kind Kind, pathID string, doc map[string]any) error {
	if id := doc["id"]; pathID == "" && (!has(doc, "id") || id == false) {
		return nil
	}
	return &Error{
		Text: fmt.Sprintf("wrong %s id, do not need it", kind.Singular()),
		Hint: "POST makes a new id: leave it out, or use PUT",
	}
}

// CheckForbidden refuses the times that are set by the server. It is for PUT and
// POST; a PATCH may set them.
func CheckForbidden(doc map[string]any) error {
	found := ""
	for _, part := range []string{"", "upstream", "plugins"} {
		of, prefix := doc, ""
		if part != "" {
			of, prefix = objectOf(doc, part), part+"."
		}
		for _, name := range []string{"create_time", "update_time"} {
			if v, ok := of[name]; ok && v != false {
				found += " " + prefix + name
			}
		}
	}
	if found == "" {
		return nil
	}
	// Two spaces: so it is in APISIX.
	return &Error{Text: "the property is forbidden: " + found, Hint: "the server sets it: leave it out"}
}
