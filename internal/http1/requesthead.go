package http1

import "bytes"

// A RequestHead is the head of a request, as it stands in the connection's buffer. It,
// and everything that comes from it, is valid until [*Conn.EndRequest].
type RequestHead struct {
	Minor int // of the version: 1, or 0 for HTTP/1.0

	// ContentLength is the length of the body: -1 if it is chunked, and 0 if there
	// is none.
	ContentLength int64

	Chunked  bool // Transfer-Encoding
	Expect   bool // Expect is "100-continue"
	Trailers bool // TE has "trailers"
	Binds    bool // it has credentials that a server may remember of the connection: see [Binds]

	persistence
	Section
	method, target, host span
	hosts                int // fields with the name Host
	lengths              int // and with the name Content-Length
}

// A RequestError says why a request is refused: what is to be answered before the
// connection ends.
type RequestError struct {
	Status int
	Reason string // for the client, of ours alone
}

// Error implements error.
func (e *RequestError) Error() string { return e.Reason }

// The errors of a head that is beyond a [RequestLimit].
var (
	ErrHeadTooLarge  = &RequestError{431, "the head of the request is too large"}
	ErrTooManyFields = &RequestError{431, "the head of the request has too many fields"}
)

func bad(reason string) error { return &RequestError{400, reason} }

func (r *RequestHead) reset() { *r = RequestHead{Section: r.Section.emptied()} }

// Method returns the method.
func (r *RequestHead) Method() string { return r.view(r.method) }

// Target returns the request target as it came (RFC 9112, section 3.2).
func (r *RequestHead) Target() string { return r.view(r.target) }

// Host returns the value of the Host field. ok is false if there is none, which is so
// in HTTP/1.0 alone.
func (r *RequestHead) Host() (host string, ok bool) { return r.view(r.host), r.hosts > 0 }

// early refuses what is no request before its line is there: a client that speaks
// another protocol waits for an answer.
func (r *RequestHead) early(got []byte) error {
	for i, c := range got[:min(len(got), maxMethod+1)] {
		switch {
		case c == ' ':
			if i == 0 {
				return errRequestLine
			}
			return nil
		case !tokens[c]:
			return errRequestLine
		}
	}
	if len(got) > maxMethod {
		return errMethod
	}
	return nil
}

// maxMethod bounds a method. The longest that is registered has 17 letters.
const maxMethod = 32

var (
	errRequestLine = bad("the request line is malformed")
	errMethod      = error(&RequestError{501, "the method is not known"}) // RFC 9112, section 3
	errVersion     = error(&RequestError{505, "the version of HTTP is not supported"})
)

// parseLine reads the first line, which begins at the offset "at" of the buffer (RFC
// 9112, section 3).
//
//	GET /a HTTP/1.1   // accepted
//	GET  /a HTTP/1.1  // refused, and so is white space anywhere else
//	get /a HTTP/1.1   // accepted: methods are case-sensitive, and may be any token
//	GET /a            // refused: HTTP/0.9
//	GET /a HTTP/1.2   // accepted: it is as 1.1
//	GET /a HTTP/2.0   // 505
func (r *RequestHead) parseLine(at int, line []byte) error {
	m := bytes.IndexByte(line, ' ')
	if m < 0 || !ValidName(line[:m]) {
		return errRequestLine
	}
	t := bytes.IndexByte(line[m+1:], ' ')
	if t < 0 {
		return errRequestLine
	}
	t += m + 1
	if !validTarget(line[m+1 : t]) {
		return errRequestLine
	}
	r.method = span{uint32(at), uint32(at + m)}
	r.target = span{uint32(at + m + 1), uint32(at + t)}
	version := line[t+1:]
	if len(version) != len("HTTP/1.1") || string(version[:5]) != "HTTP/" ||
		!digit(version[5]) || version[6] != '.' || !digit(version[7]) {
		return errRequestLine
	}
	if version[5] != '1' {
		return errVersion
	}
	r.Minor = min(int(version[7]-'0'), 1) // RFC 9110, section 2.5
	return nil
}

// parseField reads a line with a field.
func (r *RequestHead) parseField(at int, line []byte, limit int) error {
	if len(r.fields) >= limit {
		return ErrTooManyFields
	}
	name, value, fault := r.add(at, line)
	if fault != nil {
		return bad("the head of the request is malformed: " + fault.what)
	}
	return r.note(name, value)
}

// note looks at the fields that concern this connection.
func (r *RequestHead) note(name, value []byte) error {
	switch len(name) {
	case len("te"), len("host"), len("expect"), len("connection"), len("authorization"), len("content-length"), len("transfer-encoding"):
	default:
		return nil
	}
	switch {
	case is(name, "host"):
		if r.hosts++; r.hosts > 1 {
			return bad("the request has more than one Host")
		}
		r.host = r.fields[len(r.fields)-1].value
	case is(name, "content-length"):
		if r.lengths++; r.lengths > 1 {
			return bad("the request has more than one Content-Length")
		}
		n, ok := parseLength(value)
		if !ok {
			return bad("the Content-Length is no length")
		}
		r.ContentLength = n
	case is(name, "transfer-encoding"):
		if len(value) == 0 {
			return bad("the Transfer-Encoding is empty")
		}
		if r.Chunked || !is(value, "chunked") {
			return &RequestError{501, "the transfer coding is not supported"}
		}
		r.Chunked = true
	case is(name, "connection"):
		if !r.noteConnection(value, &r.persistence) {
			return ErrTooManyFields
		}
	case is(name, "expect"):
		if r.Expect = is(value, "100-continue"); !r.Expect && len(value) > 0 {
			return &RequestError{417, "the expectation is not known"}
		}
	case is(name, "authorization"):
		r.Binds = r.Binds || binds(value)
	case is(name, "te"):
		for len(value) > 0 {
			var coding []byte
			if coding, value = nextOption(value); is(coding, "trailers") {
				r.Trailers = true
			}
		}
	}
	return nil
}

// check judges the head as a whole (RFC 9112, sections 3.2 and 6.3).
func (r *RequestHead) check() error {
	switch {
	case r.Chunked && r.lengths > 0:
		return bad("the request has both Content-Length and Transfer-Encoding")
	case r.Chunked && r.Minor == 0:
		return bad("the request has Transfer-Encoding in HTTP/1.0")
	case r.Minor == 1 && r.hosts == 0:
		return bad("the request has no Host")
	}
	if r.Chunked {
		r.ContentLength = -1
	}
	if r.Minor == 0 {
		r.Close = r.Close || !r.keep
		r.Expect = false // RFC 9110, section 10.1.1
	}
	return nil
}
