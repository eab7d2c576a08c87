package http1

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// A Response is the head of a response, as it stands in the connection's buffer.
// It, and every slice that comes from it, is valid until the next call of
// ReadResponse, ReadBody or End of its connection.
type Response struct {
	Status int // 100 to 999
	Minor  int // of the version: 1, or 0 for HTTP/1.0

	// ContentLength is what the field says, or -1 if there is none. It says
	// something of a body only if there is one: see [*Conn.ReadResponse].
	ContentLength int64

	Chunked bool // Transfer-Encoding

	bound bool // WWW-Authenticate says what [Binds] looks for

	persistence
	Section
	reason span
}

func (r *Response) reset() {
	*r = Response{Section: r.Section.emptied(), ContentLength: -1}
}

// Reason returns the text after the status, which may be empty.
func (r *Response) Reason() []byte { return r.bytes(r.reason) }

var (
	errBareLF    = errors.New("malformed response: a line ends without CR LF")
	errTwoLength = errors.New("malformed response: more than one Content-Length")
	errBoth      = errors.New("malformed response: Content-Length together with Transfer-Encoding")
	errOldTE     = errors.New("malformed response: Transfer-Encoding in HTTP/1.0")
)

const protocol = "HTTP/1."

// parseStatus reads the first line, which ends at the offset "end" of the buffer.
//
//	HTTP/1.1 200 OK    // accepted
//	HTTP/1.1 200       // accepted, with the last space or without
//	HTTP/1.2 200 OK    // refused: so are all but 1.0 and 1.1
//	HTTP/1.1  200 OK   // refused
//	HTTP/1.1 +20 OK    // refused
func (r *Response) parseStatus(line []byte) error {
	rest, ok := bytes.CutPrefix(line, []byte(protocol))
	if !ok || len(rest) < 2 || rest[0] != '0' && rest[0] != '1' || rest[1] != ' ' {
		return fmt.Errorf("malformed HTTP response %s", quoted(line))
	}
	r.Minor = int(rest[0] - '0')
	code, reason, spaced := bytes.Cut(rest[2:], []byte{' '})
	if len(code) != 3 || !digit(code[0]) || !digit(code[1]) || !digit(code[2]) || code[0] == '0' {
		return fmt.Errorf("malformed HTTP status code %s", quoted(code))
	}
	r.Status = int(code[0]-'0')*100 + int(code[1]-'0')*10 + int(code[2]-'0')
	if spaced {
		if !validValue(reason) {
			return fmt.Errorf("malformed HTTP response %s", quoted(line))
		}
		r.reason = span{uint32(len(line) - len(reason)), uint32(len(line))}
	}
	return nil
}

// parseField reads a line with a field, which begins at the offset "at" of the
// buffer.
func (r *Response) parseField(at int, line []byte) error {
	name, value, err := r.add(at, line)
	if err != nil {
		return fmt.Errorf("malformed MIME header: %v", err)
	}
	return r.note(name, value)
}

// note looks at the fields that decide where the response ends.
func (r *Response) note(name, value []byte) error {
	switch len(name) {
	case len("connection"), len("content-length"), len("transfer-encoding"), len("www-authenticate"):
	default:
		return nil
	}
	switch {
	case is(name, "content-length"):
		if r.ContentLength >= 0 {
			return errTwoLength
		}
		n, ok := parseLength(value)
		if !ok {
			return fmt.Errorf("malformed response: bad Content-Length %s", quoted(value))
		}
		r.ContentLength = n
	case is(name, "transfer-encoding"):
		if r.Chunked || !is(value, "chunked") {
			return fmt.Errorf("unsupported transfer encoding: %s", quoted(value))
		}
		r.Chunked = true
	case is(name, "connection"):
		if !r.noteConnection(value, &r.persistence) {
			return errors.New("malformed response: Connection names too many fields")
		}
	case is(name, "www-authenticate"):
		r.bound = r.bound || binds(value)
	}
	return nil
}

// check judges the head as a whole.
func (r *Response) check() error {
	switch {
	case r.Chunked && r.ContentLength >= 0:
		return errBoth
	case r.Chunked && r.Minor == 0:
		return errOldTE
	}
	if r.Minor == 0 && !r.keep {
		r.Close = true
	}
	return nil
}

// parseLength reads a Content-Length: digits and nothing else.
func parseLength(b []byte) (int64, bool) {
	if len(b) == 0 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if !digit(c) {
			return 0, false
		}
		if n > (1<<63-1-9)/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

func digit(c byte) bool { return '0' <= c && c <= '9' }
func blank(c byte) bool { return c == ' ' || c == '\t' }

// is reports whether b is s, which is in lower case, whatever the case of b.
func is[T string | []byte](b T, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range len(s) {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != s[i] {
			return false
		}
	}
	return true
}

// tokens are the bytes of a name (RFC 9110, section 5.6.2).
var tokens = func() (t [256]bool) {
	for c := range t {
		t[c] = 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
			strings.IndexByte("!#$%&'*+-.^_`|~", byte(c)) >= 0
	}
	return t
}()

// ValidName reports whether a name, of a field or a method, is a token.
func ValidName[T string | []byte](name T) bool {
	for i := range len(name) {
		if !tokens[name[i]] {
			return false
		}
	}
	return len(name) > 0
}

// validValue reports whether a value has no control character but the tab (RFC
// 9110, section 5.5).
func validValue[T string | []byte](value T) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
