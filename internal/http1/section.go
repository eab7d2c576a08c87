package http1

import (
	"bytes"
	"fmt"
	"iter"
	"net/http"
	"unsafe"
)

// A Section is a list of fields, of a head or after a body, as it stands in the buffer
// of a connection.
type Section struct {
	in     *input
	fields []field
	named  []span // the options of Connection that may be names of fields
}

// A persistence is what a head says of its connection (RFC 9112, section 9.3).
type persistence struct {
	Close   bool // it ends with this message, by version or field
	Upgrade bool // Connection has "upgrade"
	keep    bool // Connection has "keep-alive"
}

// maxNamed is how many fields Connection may name. Each field is compared with all of them.
const maxNamed = 32

// noteConnection reads a Connection field, the last that was added. It reports false if that
// names too many.
func (s *Section) noteConnection(value []byte, p *persistence) bool {
	from, all := s.fields[len(s.fields)-1].value.from, cap(value)
	for len(value) > 0 {
		var option []byte
		switch option, value = nextOption(value); {
		case len(option) == 0:
		case is(option, "close"):
			p.Close = true
		case is(option, "keep-alive"):
			p.keep = true
		case is(option, "upgrade"):
			p.Upgrade = true
		default:
			if len(s.named) == maxNamed {
				return false
			}
			at := from + uint32(all-cap(option)) // it is a part of the value
			s.named = append(s.named, span{at, at + uint32(len(option))})
		}
	}
	return true
}

// A span is a part of a buffer, which may move.
type span struct{ from, to uint32 }

type field struct{ name, value span }

// emptied returns the section without fields, with the room for them.
func (s *Section) emptied() Section {
	return Section{in: s.in, fields: s.fields[:0], named: s.named[:0]}
}

func (s *Section) bytes(p span) []byte { return s.in.buf[p.from:p.to:p.to] }

// Len returns the number of fields.
func (s *Section) Len() int { return len(s.fields) }

// Field returns the name, as it was spelled, and the value, without the space
// around it.
func (s *Section) Field(i int) (name, value []byte) {
	f := s.fields[i]
	return s.bytes(f.name), s.bytes(f.value)
}

// Fields returns the fields in their order.
func (s *Section) Fields() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for i := range s.fields {
			if !yield(s.Field(i)) {
				return
			}
		}
	}
}

// view returns a part of the buffer as a string, without a copy. It is for
// as long as the section is valid.
func (s *Section) view(p span) string {
	b := s.bytes(p)
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// FieldView is Field, of strings that are parts of the buffer.
func (s *Section) FieldView(i int) (name, value string) {
	f := s.fields[i]
	return s.view(f.name), s.view(f.value)
}

// Names reports whether Connection names a field as one of this connection alone (RFC
// 9110, section 7.6.1).
func (s *Section) Names(field string) bool {
	for _, p := range s.named {
		if option := s.view(p); len(option) == len(field) && equalFold(option, field) {
			return true
		}
	}
	return false
}

// equalFold compares names of the same length.
func equalFold(a, b string) bool {
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c |= 0x20
	}
	return c
}

// Header returns the fields as net/http has them, in memory of their own. It
// changes the spelling of the names in the buffer to the canonical one.
func (s *Section) Header() http.Header {
	h := make(http.Header, len(s.fields))
	if len(s.fields) == 0 {
		return h
	}
	for _, f := range s.fields {
		canonical(s.bytes(f.name))
	}
	// One string holds them all, and one slice the first value of each name.
	first, last := s.fields[0].name.from, s.fields[len(s.fields)-1].value.to
	all := string(s.in.buf[first:last])
	values := make([]string, len(s.fields))
	for i, f := range s.fields {
		name := all[f.name.from-first : f.name.to-first]
		values[i] = all[f.value.from-first : f.value.to-first]
		if before, ok := h[name]; ok {
			h[name] = append(before, values[i])
		} else {
			h[name] = values[i : i+1 : i+1]
		}
	}
	return h
}

// canonical spells a name as [http.CanonicalHeaderKey] does.
func canonical(name []byte) {
	upper := true
	for i, c := range name {
		switch {
		case upper && 'a' <= c && c <= 'z':
			name[i] = c - ('a' - 'A')
		case !upper && 'A' <= c && c <= 'Z':
			name[i] = c + ('a' - 'A')
		}
		upper = c == '-'
	}
}

// A fieldFault says what is wrong with the line of a field, and shows some of it. It is
// valid as long as the line is, so that nothing wraps it.
type fieldFault struct {
	what string
	text []byte // a part of the buffer, or nil
}

func (f *fieldFault) Error() string {
	if f.text == nil {
		return f.what
	}
	return f.what + " " + quoted(f.text)
}

var errFolded = &fieldFault{what: "a field is folded over two lines"}

// maxQuoted is how much an error shows of what the other side sent.
const maxQuoted = 200

func quoted(line []byte) string {
	return fmt.Sprintf("%q", line[:min(len(line), maxQuoted)])
}

// add reads a line with a field, which begins at the offset "at" of the buffer (RFC
// 9112, section 5).
func (s *Section) add(at int, line []byte) (name, value []byte, err *fieldFault) {
	if line[0] == ' ' || line[0] == '\t' {
		return nil, nil, errFolded
	}
	colon := bytes.IndexByte(line, ':')
	if colon < 0 {
		return nil, nil, &fieldFault{"missing colon:", line}
	}
	name = line[:colon]
	if !ValidName(name) {
		return nil, nil, &fieldFault{"invalid name", name}
	}
	from, to := colon+1, len(line)
	for from < to && blank(line[from]) {
		from++
	}
	for from < to && blank(line[to-1]) {
		to--
	}
	value = line[from:to]
	if !validValue(value) {
		return nil, nil, &fieldFault{"invalid value of", name} // it may be a secret
	}
	s.fields = append(s.fields, field{
		name:  span{uint32(at), uint32(at + colon)},
		value: span{uint32(at + from), uint32(at + to)},
	})
	return name, value, nil
}

// addTrailer is add for a field after a body, which must not say where that ends (RFC
// 9110, section 6.5.1).
func (s *Section) addTrailer(at int, line []byte) error {
	name, _, err := s.add(at, line)
	switch {
	case err != nil:
		return fmt.Errorf("malformed trailer: %v", err)
	case is(name, "content-length"), is(name, "transfer-encoding"), is(name, "trailer"):
		return fmt.Errorf("malformed trailer: %s after the body", quoted(name))
	}
	return nil
}
