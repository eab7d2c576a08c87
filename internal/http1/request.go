package http1

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"net/http"
	"strconv"
)

// A Request is the head of a request to be written. Callers that already have the bytes of
// one write them as they are.
type Request struct {
	Method string // empty is GET
	Target string // as it goes on the request line
	Host   string // empty is sent as it is, an empty field
	Header http.Header

	// ContentLength is the length of the body, or -1 for a chunked one.
	ContentLength int64

	// Trailer has the names of the fields after a chunked body.
	Trailer http.Header

	// Close asks the server to close the connection.
	Close bool
}

// AppendTo appends the head to b. Host, and all fields that decide where the request ends,
// come from r, whatever its Header says. It refuses anything that would be read as
// something other than it is.
func (r *Request) AppendTo(b []byte) ([]byte, error) {
	method := r.Method
	if method == "" {
		method = http.MethodGet
	}
	switch {
	case !ValidName(method):
		return b, fmt.Errorf("invalid method %q", method)
	case !validTarget(r.Target):
		return b, errors.New("invalid request target")
	case !validValue(r.Host):
		return b, errors.New("invalid Host")
	}
	b = append(b, method...)
	b = append(b, ' ')
	b = append(b, r.Target...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, r.Host...)
	b = append(b, "\r\n"...)

	closes := false
	for name, values := range r.Header {
		if !ValidName(name) {
			return b, fmt.Errorf("invalid header field name %q", name)
		}
		switch {
		case is(name, "host"), is(name, "content-length"), is(name, "transfer-encoding"), is(name, "trailer"):
			continue
		case is(name, "connection"):
			closes = ClosesAfter(values)
		}
		for _, value := range values {
			if !validValue(value) {
				return b, fmt.Errorf("invalid header field value for %q", name) // it may be a secret
			}
			b = append(b, name...)
			b = append(b, ": "...)
			b = append(b, value...)
			b = append(b, "\r\n"...)
		}
	}
	if r.Close && !closes {
		b = append(b, "Connection: close\r\n"...)
	}

	switch {
	case r.ContentLength > 0, r.ContentLength == 0 && ExpectsBody(method):
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, r.ContentLength, 10)
		b = append(b, "\r\n"...)
	case r.ContentLength < 0:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
		for name := range r.Trailer {
			if !validTrailer(name) {
				return b, fmt.Errorf("invalid trailer field name %q", name)
			}
			b = append(b, "Trailer: "...)
			b = append(b, name...)
			b = append(b, "\r\n"...)
		}
	}
	return append(b, "\r\n"...), nil
}

// ExpectsBody reports whether a request without a body says so (RFC 9110, section
// 8.6).
func ExpectsBody(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// ClosesAfter reports whether the values of a Connection field end the connection.
func ClosesAfter(values []string) bool {
	for _, value := range values {
		for rest := value; rest != ""; {
			var option string
			option, rest = nextOption(rest)
			if is(option, "close") {
				return true
			}
		}
	}
	return false
}

// nextOption cuts the first of a list that is separated by commas.
func nextOption[T string | []byte](list T) (option, rest T) {
	i := 0
	for i < len(list) && list[i] != ',' {
		i++
	}
	option = list[:i]
	if i < len(list) {
		rest = list[i+1:]
	}
	for len(option) > 0 && blank(option[0]) {
		option = option[1:]
	}
	for len(option) > 0 && blank(option[len(option)-1]) {
		option = option[:len(option)-1]
	}
	return option, rest
}

// Announced returns the names of the fields that a Trailer field announces, as net/http
// spells them.
func Announced(values []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, rest := range values {
			for rest != "" {
				var name string
				if name, rest = nextOption(rest); name != "" && !yield(http.CanonicalHeaderKey(name)) {
					return
				}
			}
		}
	}
}

func validTarget[T string | []byte](target T) bool {
	for i := range len(target) {
		if c := target[i]; c <= ' ' || c == 0x7f {
			return false
		}
	}
	return len(target) > 0
}

func validTrailer(name string) bool {
	return ValidName(name) &&
		!is(name, "content-length") && !is(name, "transfer-encoding") && !is(name, "trailer")
}

// The room that a chunk needs before and after its data.
const (
	ChunkHead = 10 // eight digits and a line end
	ChunkTail = 2  // a line end
)

// Chunk frames n bytes of data, at least one, that stand in buf after ChunkHead bytes
// of room and before ChunkTail. It returns the part of buf that is the chunk.
func Chunk(buf []byte, n int) []byte {
	const digits = "0123456789abcdef"
	if n <= 0 || uint64(n) > math.MaxUint32 {
		panic("http1: internal error: no size of a chunk")
	}
	at := ChunkHead
	at--
	buf[at] = '\n'
	at--
	buf[at] = '\r'
	for size := n; size > 0; size >>= 4 {
		at--
		buf[at] = digits[size&15]
	}
	end := ChunkHead + n
	buf[end], buf[end+1] = '\r', '\n'
	return buf[at : end+ChunkTail]
}

// AppendLastChunk appends the end of a chunked body, with the fields after it, which
// may be nil.
func AppendLastChunk(b []byte, trailer http.Header) ([]byte, error) {
	b = append(b, "0\r\n"...)
	for name, values := range trailer {
		if !validTrailer(name) {
			return b, fmt.Errorf("invalid trailer field name %q", name)
		}
		for _, value := range values {
			if !validValue(value) {
				return b, fmt.Errorf("invalid trailer field value for %q", name)
			}
			b = append(b, name...)
			b = append(b, ": "...)
			b = append(b, value...)
			b = append(b, "\r\n"...)
		}
	}
	return append(b, "\r\n"...), nil
}
