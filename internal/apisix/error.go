package apisix

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/internal/secret"
)

// An Error says why a document is refused.
type Error struct {
	// Text is what APISIX answers as error_msg, byte for byte, if APISIX refuses
	// the document too.
	Text string

	// Hint, if not empty, says in other words what is wrong or what to do.
	Hint string
}

// Error returns the text, and behind it the hint in brackets if there is one.
func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Text
	}
	return e.Text + " (" + e.Hint + ")"
}

// inConfiguration begins every text about the content of a document that does not
// come from OpenSSL.
const inConfiguration = "invalid configuration: "

// maxFaults is how many faults are named. A document has room for a hundred
// thousand.
const maxFaults = 16

// faults are what is wrong with a value, in the order in which it is told.
type faults []fault

type fault struct{ text, hint string }

// add appends a fault without a hint.
func (f *faults) add(format string, args ...any) {
	*f = append(*f, fault{text: fmt.Sprintf(format, args...)})
}

// hinted puts the path of a property before each hint, where the words of APISIX name
// another one or none.
func (f faults) hinted(path string) faults {
	out := slices.Clone(f)
	for i := range out {
		out[i].hint = path + ": " + out[i].hint
	}
	return out
}

// in returns the faults as those of something that the value is a part of.
func (f faults) in(prefix string) faults {
	out := slices.Clone(f)
	for i := range out {
		out[i].text = prefix + out[i].text
	}
	return out
}

// of returns the faults as those of a property.
func (f faults) of(property string) faults {
	if f == nil {
		return nil // the usual case: no words
	}
	return f.in(fmt.Sprintf("property %q validation failed: ", property))
}

// item returns the faults as those of an element of an array, counted from 0.
func (f faults) item(i int) faults {
	if f == nil {
		return nil
	}
	return f.in(fmt.Sprintf("failed to validate item %d: ", i+1))
}

// err returns an [*Error], or nil if there is no fault.
func (f faults) err(prefix string) error {
	if len(f) == 0 {
		return nil
	}
	var texts, hints []string
	for i, fault := range f {
		if i == maxFaults {
			texts = append(texts, "and more")
			break
		}
		texts = append(texts, fault.text)
		if fault.hint != "" && !slices.Contains(hints, fault.hint) {
			hints = append(hints, fault.hint)
		}
	}
	return &Error{Text: prefix + strings.Join(texts, "; "), Hint: strings.Join(hints, "; ")}
}

// maxShown is how much of a value an error repeats.
const maxShown = 200

// show returns a part of a document for an error. Whoever puts a private key into
// the wrong property must not find it in a log.
func show(s string) string {
	switch {
	case strings.Contains(s, "PRIVATE KEY"), secret.In(s):
		return secret.Redacted
	case len(s) > maxShown:
		return strings.ToValidUTF8(s[:maxShown], "") + "..."
	}
	return s
}

// quote quotes as Lua's %q does.
func quote(s string) string { return `"` + luaEscapes.Replace(show(s)) + `"` }

var luaEscapes = strings.NewReplacer(`"`, `\"`, `\`, `\\`, "\n", "\\\n", "\r", `\r`, "\x00", `\000`)

// luaNumber writes a number as Lua's tostring does.
func luaNumber(f float64) string { return strconv.FormatFloat(f, 'g', 14, 64) }
