// Package cjson reads and writes JSON as the Admin API of Apache APISIX does,
// which means as lua-cjson 2.1.0 does under APISIX's settings.
//
// [Decode] is more tolerant than [encoding/json]: a string may hold raw control
// characters and bytes that are not UTF-8, and they are kept as they are. That
// is what makes a PEM file spliced into a request by a shell work. Its errors
// have lua-cjson's texts, byte for byte. [Encode] writes what APISIX would.
//
// # Departures from lua-cjson
//
//   - A // comment outside a string, up to the end of its line, is white space.
//   - NaN, infinities and numbers beyond the range of a float64 are refused: they
//     have no form in JSON, so such a document could be taken but not be stored.
//   - A NUL byte does not end the input: what stands behind one is refused, and
//     not passed over in silence.
//   - [Encode] writes more than 14 digits of a number that 14 would make another one, as
//     they do of a time in microseconds.
//   - [Encode] sorts the keys of an object, so that equal values give equal bytes.
//
// # Limits
//
// Time is linear in the input, nesting ends at [MaxDepth]. No error repeats any of
// the input: it may hold a private key.
package cjson

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// MaxDepth is how many arrays and objects may stand inside each other.
const MaxDepth = 1000

// A SyntaxError says what is wrong with a text and where. It repeats none of the
// text.
type SyntaxError struct {
	// Text is lua-cjson's: "Expected value but found T_END at character 2".
	Text string

	// Offset is the byte that Text names, counted from 1. It is 0 if Text names
	// none.
	Offset int
}

// Error implements error.
func (e *SyntaxError) Error() string { return e.Text }

// Decode reads one JSON value, which must be all that data holds besides white
// space and comments.
//
// Objects become map[string]any, of equal keys the last holds. Arrays become
// []any, empty ones too, which are not nil. Strings, numbers, booleans and null
// become string, float64, bool and nil. Every error is a [*SyntaxError].
//
// Numbers are what C's strtod reads, if they begin with a digit or a sign:
//
//	12  1.5e3  -0   // as in JSON
//	01  +1  5.  -.5 // accepted
//	0x10  0x1p-2    // accepted: 16, 0.25
//	.5              // refused, as lua-cjson does
//	NaN  -inf  1e400 // refused
func Decode(data []byte) (any, error) {
	if len(data) >= 2 && (data[0] == 0 || data[1] == 0) {
		return nil, &SyntaxError{Text: "JSON parser does not support UTF-16 or UTF-32"}
	}
	d := decoder{data: data}
	v, err := d.value(d.next())
	if err != nil {
		return nil, err
	}
	switch t := d.next(); {
	case t.kind != tokenEnd:
		return nil, d.expected("the end", t)
	case t.at < len(data): // at a NUL
		return nil, d.expected("the end", token{kind: tokenError, at: t.at, wrong: invalidToken})
	}
	return v, nil
}

// A tokenKind is what a token is. Its text is what errors call it.
type tokenKind string

const (
	tokenObjectBegin tokenKind = "T_OBJ_BEGIN"
	tokenObjectEnd   tokenKind = "T_OBJ_END"
	tokenArrayBegin  tokenKind = "T_ARR_BEGIN"
	tokenArrayEnd    tokenKind = "T_ARR_END"
	tokenString      tokenKind = "T_STRING"
	tokenNumber      tokenKind = "T_NUMBER"
	tokenBoolean     tokenKind = "T_BOOLEAN"
	tokenNull        tokenKind = "T_NULL"
	tokenColon       tokenKind = "T_COLON"
	tokenComma       tokenKind = "T_COMMA"
	tokenEnd         tokenKind = "T_END"
	tokenError       tokenKind = "T_ERROR"
)

// What is found where no token can be read.
const (
	invalidToken   = "invalid token"
	invalidNumber  = "invalid number"
	invalidEscape  = "invalid escape code"
	invalidUnicode = "invalid unicode escape code"
	endOfString    = "unexpected end of string"
	notFinite      = "invalid number (NaN, infinity and what is as large cannot be stored)"
)

type token struct {
	kind   tokenKind
	at     int     // offset of the first byte, or of the fault
	str    string  // of a tokenString
	num    float64 // of a tokenNumber
	truth  bool    // of a tokenBoolean
	finite bool    // of a tokenNumber
	wrong  string  // of a tokenError
}

type decoder struct {
	data  []byte
	pos   int
	depth int

	// openComment is set once a comment ran to the end of the input.
	openComment bool
}

// byteAt returns the byte at offset i, or 0 behind the end, as in a C string.
func (d *decoder) byteAt(i int) byte {
	if i < len(d.data) {
		return d.data[i]
	}
	return 0
}

// expected returns the error for a token that does not belong where it is.
func (d *decoder) expected(what string, found token) error {
	name := string(found.kind)
	if found.kind == tokenError {
		name = found.wrong
	}
	text := fmt.Sprintf("Expected %s but found %s at character %d", what, name, found.at+1)
	if found.kind == tokenEnd && d.openComment {
		text += " (a // comment runs to the end of the input: were its line breaks lost?)"
	}
	return &SyntaxError{Text: text, Offset: found.at + 1}
}

// value returns the value that begins with the token t.
func (d *decoder) value(t token) (any, error) {
	switch t.kind {
	case tokenString:
		return t.str, nil
	case tokenNumber:
		if !t.finite {
			return nil, d.expected("value", token{kind: tokenError, at: t.at, wrong: notFinite})
		}
		return t.num, nil
	case tokenBoolean:
		return t.truth, nil
	case tokenNull:
		return nil, nil
	case tokenObjectBegin:
		return d.object()
	case tokenArrayBegin:
		return d.array()
	default:
		return nil, d.expected("value", t)
	}
}

// object reads the rest of an object.
func (d *decoder) object() (any, error) {
	if err := d.descend(); err != nil {
		return nil, err
	}
	defer d.ascend()
	m := map[string]any{}
	t := d.next()
	if t.kind == tokenObjectEnd {
		return m, nil
	}
	for {
		if t.kind != tokenString {
			return nil, d.expected("object key string", t)
		}
		key := t.str
		if t = d.next(); t.kind != tokenColon {
			return nil, d.expected("colon", t)
		}
		v, err := d.value(d.next())
		if err != nil {
			return nil, err
		}
		m[key] = v
		switch t = d.next(); t.kind {
		case tokenObjectEnd:
			return m, nil
		case tokenComma:
			t = d.next()
		default:
			return nil, d.expected("comma or object end", t)
		}
	}
}

// array reads the rest of an array.
func (d *decoder) array() (any, error) {
	if err := d.descend(); err != nil {
		return nil, err
	}
	defer d.ascend()
	list := []any{}
	t := d.next()
	if t.kind == tokenArrayEnd {
		return list, nil
	}
	for {
		v, err := d.value(t)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		switch t = d.next(); t.kind {
		case tokenArrayEnd:
			return list, nil
		case tokenComma:
			t = d.next()
		default:
			return nil, d.expected("comma or array end", t)
		}
	}
}

func (d *decoder) descend() error {
	if d.depth++; d.depth <= MaxDepth {
		return nil
	}
	text := fmt.Sprintf("Found too many nested data structures (%d) at character %d", d.depth, d.pos)
	return &SyntaxError{Text: text, Offset: d.pos}
}

func (d *decoder) ascend() { d.depth-- }

// next reads a token. It does not move past the end or past a fault.
func (d *decoder) next() token {
	d.skipSpace()
	t := token{at: d.pos}
	switch c := d.byteAt(d.pos); c {
	case '{':
		t.kind = tokenObjectBegin
	case '}':
		t.kind = tokenObjectEnd
	case '[':
		t.kind = tokenArrayBegin
	case ']':
		t.kind = tokenArrayEnd
	case ':':
		t.kind = tokenColon
	case ',':
		t.kind = tokenComma
	case 0:
		t.kind = tokenEnd
		return t
	case '"':
		return d.string()
	case '+', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return d.number()
	default:
		return d.word()
	}
	d.pos++
	return t
}

// skipSpace moves past white space and comments.
func (d *decoder) skipSpace() {
	for d.pos < len(d.data) {
		switch d.data[d.pos] {
		case ' ', '\t', '\r', '\n':
			d.pos++
		case '/':
			if d.byteAt(d.pos+1) != '/' {
				return
			}
			n := bytes.IndexByte(d.data[d.pos:], '\n')
			if n < 0 {
				d.pos, d.openComment = len(d.data), true
				return
			}
			d.pos += n
		default:
			return
		}
	}
}

// word reads true, false, null, and the numbers that are words.
func (d *decoder) word() token {
	t := token{at: d.pos}
	rest := d.data[d.pos:]
	switch {
	case bytes.HasPrefix(rest, []byte("true")):
		t.kind, t.truth, d.pos = tokenBoolean, true, d.pos+4
	case bytes.HasPrefix(rest, []byte("false")):
		t.kind, d.pos = tokenBoolean, d.pos+5
	case bytes.HasPrefix(rest, []byte("null")):
		t.kind, d.pos = tokenNull, d.pos+4
	case notFiniteLen(rest) > 0:
		t.kind, d.pos = tokenNumber, d.pos+notFiniteLen(rest)
	default:
		t.kind, t.wrong = tokenError, invalidToken
	}
	return t
}

// notFiniteLen returns the length of the name of an infinity or a NaN that s
// begins with, or 0.
func notFiniteLen(s []byte) int {
	for _, name := range []string{"infinity", "inf", "nan"} {
		if len(s) >= len(name) && bytes.EqualFold(s[:len(name)], []byte(name)) {
			return len(name)
		}
	}
	return 0
}

// number reads what C's strtod would.
func (d *decoder) number() token {
	t := token{kind: tokenNumber, at: d.pos}
	i := d.pos
	if c := d.data[i]; c == '+' || c == '-' {
		i++
	}
	if n := notFiniteLen(d.data[i:]); n > 0 {
		d.pos = i + n
		return t
	}
	isDigit, exponent, suffix := isDecimal, byte('e'), ""
	if d.byteAt(i) == '0' && d.byteAt(i+1)|0x20 == 'x' &&
		(isHex(d.byteAt(i+2)) || d.byteAt(i+2) == '.' && isHex(d.byteAt(i+3))) {
		// strconv wants the exponent that C lets one leave out.
		isDigit, exponent, suffix = isHex, 'p', "p0"
		i += 2
	}
	digits := 0
	for ; isDigit(d.byteAt(i)); i++ {
		digits++
	}
	if d.byteAt(i) == '.' {
		for i++; isDigit(d.byteAt(i)); i++ {
			digits++
		}
	}
	if digits == 0 {
		return token{kind: tokenError, at: t.at, wrong: invalidNumber}
	}
	if d.byteAt(i)|0x20 == exponent {
		j := i + 1
		if c := d.byteAt(j); c == '+' || c == '-' {
			j++
		}
		// Without digits the letter is no part of the number.
		if isDecimal(d.byteAt(j)) {
			for ; isDecimal(d.byteAt(j)); j++ {
			}
			i, suffix = j, ""
		}
	}
	// The text is well-formed by construction: an error can only be one of range,
	// which is an infinity here. What is too small is 0 without an error.
	num, err := strconv.ParseFloat(string(d.data[d.pos:i])+suffix, 64)
	t.num, t.finite = num, err == nil
	d.pos = i
	return t
}

func isDecimal(c byte) bool { return '0' <= c && c <= '9' }

func isHex(c byte) bool { return isDecimal(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

// string reads a string. Every byte counts as it is, but for the quote, the
// backslash and NUL.
func (d *decoder) string() token {
	t := token{kind: tokenString, at: d.pos}
	d.pos++
	var out []byte // what was unescaped so far
	begin := d.pos // of what was not copied yet
	for {
		switch d.byteAt(d.pos) {
		case 0:
			return token{kind: tokenError, at: d.pos, wrong: endOfString}
		case '"':
			if out == nil {
				t.str = string(d.data[begin:d.pos])
			} else {
				t.str = string(append(out, d.data[begin:d.pos]...))
			}
			d.pos++
			return t
		case '\\':
			out = append(out, d.data[begin:d.pos]...)
			var wrong string
			if out, wrong = d.escape(out); wrong != "" {
				return token{kind: tokenError, at: d.pos, wrong: wrong}
			}
			begin = d.pos
		default:
			d.pos++
		}
	}
}

// escape appends to out what the escape sequence at pos stands for, and moves
// past it. It returns what is wrong with it otherwise.
func (d *decoder) escape(out []byte) ([]byte, string) {
	c := d.byteAt(d.pos + 1)
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		r, size := d.unicode()
		if size == 0 {
			return nil, invalidUnicode
		}
		d.pos += size
		return utf8.AppendRune(out, r), ""
	default:
		return nil, invalidEscape
	}
	d.pos += 2
	return append(out, c), ""
}

// unicode reads the \uXXXX at pos, or the two of a surrogate pair, and returns
// the number of bytes. It is 0 if they stand for nothing.
func (d *decoder) unicode() (r rune, size int) {
	r = d.hex4(d.pos + 2)
	switch {
	case r < 0 || 0xDC00 <= r && r <= 0xDFFF:
		return 0, 0
	case r < 0xD800 || r > 0xDFFF:
		return r, 6
	}
	if d.byteAt(d.pos+6) != '\\' || d.byteAt(d.pos+7) != 'u' {
		return 0, 0
	}
	low := d.hex4(d.pos + 8)
	if low < 0xDC00 || low > 0xDFFF {
		return 0, 0
	}
	return 0x10000 + (r-0xD800)<<10 + (low - 0xDC00), 12
}

// hex4 returns the value of the four hexadecimal digits at offset i, or -1.
func (d *decoder) hex4(i int) rune {
	var r rune
	for _, j := range []int{i, i + 1, i + 2, i + 3} {
		c := d.byteAt(j)
		switch {
		case !isHex(c):
			return -1
		case isDecimal(c):
			c -= '0'
		default:
			c = (c | 0x20) - 'a' + 10
		}
		r = r<<4 | rune(c)
	}
	return r
}
