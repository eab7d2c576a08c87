package route

// This file is the request path of Config.Headers. It takes no lock, and allocates
// only where a value must be put together of several parts: the rest was parsed
// (edits_parse.go). BenchmarkEdits keeps watch on time, TestEditsAllocate on
// allocations.

import (
	"strings"

	"github.com/sallyport/sallyport/internal/fieldname"
)

// Edits are a checked [Config.Headers]. They never change, and may be shared freely. A nil
// *Edits changes nothing.
type Edits struct {
	// removed are the folded names of Set and Remove, and lengths has the bit of
	// each of their lengths, up to 63: most fields of a request have another.
	removed []string
	lengths uint64

	fields    []fieldEdit // Set, then Add
	needsVars bool
	identity  []string
}

// A fieldEdit is a field that is written.
type fieldEdit struct {
	name  string
	fixed string      // the value, if there are no parts
	parts []valuePart // or what it is put together of
}

// A valuePart is a text, or a variable if isVar.
type valuePart struct {
	text  string
	isVar bool
	of    variable
}

// Removes reports whether a field of the request is dropped: whether its name is among
// those of Set and Remove. Names are compared without regard to case, and every byte that
// is neither a letter nor a digit counts as "-": see [HeaderEdits].
func (e *Edits) Removes(name string) bool {
	if e == nil || e.lengths&lengthBit(len(name)) == 0 {
		return false
	}
	for _, folded := range e.removed {
		if fieldname.Is(name, folded) {
			return true
		}
	}
	return false
}

func lengthBit(n int) uint64 { return 1 << min(n, 63) }

// NeedsVars reports whether [*Edits.Append] needs the ClientAddr or the Lookups of the
// request, other than for the variables that begin with "ssl_client_": for those, see
// [*Edits.IdentityNames].
func (e *Edits) NeedsVars() bool { return e != nil && e.needsVars }

// IdentityNames returns the names of the fields whose values contain a variable that begins
// with "ssl_client_", in lower case and with "-" for every byte that is neither a letter
// nor a digit. What a client itself sends in such a field must not reach anyone, whatever
// route its request takes. The list must not be changed.
func (e *Edits) IdentityNames() []string {
	if e == nil {
		return nil
	}
	return e.identity
}

// Append appends the fields of Set and then those of Add to a list. Variables are looked up
// in req and m. Values may share memory with req, and are then valid only as long as it is.
//
// Values can be written as they are: control characters in the value of a variable are
// replaced by spaces, as RFC 9110, section 5.5, says for CR, LF and NUL, and spaces around
// the whole are trimmed. If a character were dropped instead, the result could be a
// different value.
func (e *Edits) Append(list []HeaderField, req *Request, m *Match) []HeaderField {
	if e == nil {
		return list
	}
	for i := range e.fields {
		f := &e.fields[i]
		value := f.fixed
		if f.parts != nil {
			value = f.render(req, m)
		}
		list = append(list, HeaderField{f.name, value})
	}
	return list
}

// render puts the value of a field together.
func (f *fieldEdit) render(req *Request, m *Match) string {
	if len(f.parts) == 1 {
		return fieldValue(f.parts[0].value(req, m))
	}
	var b strings.Builder
	for i := range f.parts {
		b.WriteString(f.parts[i].value(req, m))
	}
	return fieldValue(b.String())
}

func (p *valuePart) value(req *Request, m *Match) string {
	if !p.isVar {
		return p.text
	}
	value, _ := p.of.first(req, m)
	return value
}

// fieldValue returns what is fit to be the value of a field.
func fieldValue(s string) string {
	s = strings.Trim(s, " \t")
	for i := range len(s) {
		if isControl(s[i]) {
			return blanked(s)
		}
	}
	return s
}

// blanked puts a blank in the place of each control character.
func blanked(s string) string {
	b := []byte(s)
	for i, c := range b {
		if isControl(c) {
			b[i] = ' '
		}
	}
	return strings.Trim(string(b), " \t")
}

// isControl reports whether a byte is a control character that a field value cannot
// have, which is every one but the tab.
func isControl(c byte) bool { return c < ' ' && c != '\t' || c == 0x7f }
