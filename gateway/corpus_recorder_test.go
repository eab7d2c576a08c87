package gateway_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// A recorder is the origin behind whatever the corpus is tried on. It keeps every
// byte of a connection until it has taken it for a part of a request, and takes
// nothing that any two readers of HTTP/1.1 could understand differently. So what a
// gateway sends is a sequence of requests, all of it, or there is a fault.
//
// It answers a request for /early when it has the head, and reads nothing more.
type recorder struct {
	listener net.Listener
	open     sync.WaitGroup // connections, and the loop that accepts them

	mu     sync.Mutex // guards what follows
	whole  []*received
	cut    []string // the beginnings of requests whose connection ended before they did
	faults []string
	conns  map[net.Conn]struct{}
}

func newRecorder(t testing.TB) *recorder {
	o := &recorder{listener: listen(t), conns: map[net.Conn]struct{}{}}
	o.open.Go(o.accept)
	t.Cleanup(o.close)
	return o
}

func (o *recorder) address() string { return o.listener.Addr().String() }

func (o *recorder) accept() {
	for {
		conn, err := o.listener.Accept()
		if err != nil {
			return
		}
		o.mu.Lock()
		o.conns[conn] = struct{}{}
		o.mu.Unlock()
		o.open.Go(func() { o.serve(conn) })
	}
}

// close ends all connections and waits for that. What was on its way is then a
// request that was cut.
func (o *recorder) close() {
	o.listener.Close()
	o.mu.Lock()
	for conn := range o.conns {
		conn.Close()
	}
	o.mu.Unlock()
	o.open.Wait()
}

// take returns the requests that came since the last take, and the faults.
func (o *recorder) take() (whole []*received, faults []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	whole, faults, o.whole, o.faults = o.whole, o.faults, nil, nil
	return whole, faults
}

func (o *recorder) serve(conn net.Conn) {
	defer func() {
		conn.Close()
		o.mu.Lock()
		delete(o.conns, conn)
		o.mu.Unlock()
	}()
	var got []byte
	piece := make([]byte, 64<<10)
	for {
		req, n, err := parseStrictly(got)
		switch {
		case err == errPartial:
			if req != nil && req.target() == "/early" {
				o.note(func() { o.cut = append(o.cut, req.text()) })
				_, _ = io.WriteString(conn, okAnswer)
				_, _ = io.Copy(io.Discard, conn)
				return
			}
			n, err := conn.Read(piece)
			got = append(got, piece[:n]...)
			if err == nil {
				continue
			}
			if len(got) > 0 {
				beginning := fmt.Sprintf("%q", got)
				if req != nil {
					req.body = nil
					beginning = req.text()
				}
				o.note(func() { o.cut = append(o.cut, beginning) })
			}
			return
		case err != nil:
			o.note(func() { o.faults = append(o.faults, fmt.Sprintf("%v: %q", err, got)) })
			_, _ = io.WriteString(conn, "HTTP/1.1 599 Malformed\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
			return
		}
		got = got[n:]
		o.note(func() {
			o.whole = append(o.whole, req)
			if len(got) > 0 {
				o.faults = append(o.faults, fmt.Sprintf("beyond %s: %q", req.text(), got))
			}
		})
		answer := okAnswer
		if strings.HasPrefix(req.line, "HEAD ") {
			answer = strings.TrimSuffix(answer, "ok")
		}
		if _, err := io.WriteString(conn, answer); err != nil {
			return
		}
	}
}

func (o *recorder) note(what func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	what()
}

// errPartial says that bytes are the beginning of a request.
var errPartial = errors.New("not a whole request")

// parseStrictly reads the request at the beginning of b, and returns how long it is.
// If there is only a part of it, that may be the whole head: then the request is
// returned as well.
func parseStrictly(b []byte) (*received, int, error) {
	lines, n, err := strictLines(b)
	if err != nil {
		return nil, 0, err
	}
	if len(lines) == 0 {
		return nil, 0, errors.New("no request line")
	}
	req := &received{line: lines[0]}
	parts := strings.Split(req.line, " ")
	if len(parts) != 3 || !isToken(parts[0]) || parts[1] == "" || parts[2] != "HTTP/1.1" {
		return nil, 0, errors.New("request line")
	}
	if req.header, err = strictFields(lines[1:]); err != nil {
		return nil, 0, err
	}
	if len(req.values("Host")) != 1 {
		return nil, 0, errors.New("not one Host")
	}
	lengths, codings := req.values("Content-Length"), req.values("Transfer-Encoding")
	switch {
	case len(lengths)+len(codings) > 1:
		return nil, 0, errors.New("more than one length")
	case len(lengths) == 1:
		req.framing = "length"
		if lengths[0] == "" || strings.Trim(lengths[0], "0123456789") != "" {
			return nil, 0, errors.New("length")
		}
		if req.length, err = strconv.ParseInt(lengths[0], 10, 64); err != nil {
			return nil, 0, errors.New("length")
		}
		if int64(len(b)-n) < req.length {
			return req, 0, errPartial
		}
		req.body = slices.Clone(b[n : n+int(req.length)])
		n += int(req.length)
	case len(codings) == 1:
		req.framing = "chunked"
		if codings[0] != "chunked" {
			return nil, 0, errors.New("transfer coding")
		}
		size, err := req.strictChunks(b[n:])
		if err != nil {
			return req, 0, err
		}
		n += size
	}
	req.whole = true
	return req, n, nil
}

// strictChunks reads a chunked body, and returns how long it is.
func (r *received) strictChunks(b []byte) (n int, err error) {
	for {
		line, rest, ok := bytes.Cut(b[n:], []byte("\n"))
		if !ok {
			if len(b)-n > 20 {
				return 0, errors.New("chunk size")
			}
			return 0, errPartial
		}
		digits, crlf := bytes.CutSuffix(line, []byte("\r"))
		if !crlf || len(digits) == 0 || len(bytes.Trim(digits, "0123456789abcdefABCDEF")) > 0 {
			return 0, errors.New("chunk size")
		}
		size, err := strconv.ParseInt(string(digits), 16, 32)
		if err != nil {
			return 0, errors.New("chunk size")
		}
		n += len(line) + 1
		if size == 0 {
			lines, m, err := strictLines(rest)
			if err != nil {
				return 0, err
			}
			if r.trailer, err = strictFields(lines); err != nil {
				return 0, err
			}
			return n + m, nil
		}
		if int64(len(rest)) < size+2 {
			return 0, errPartial
		}
		if string(rest[size:size+2]) != "\r\n" {
			return 0, errors.New("chunk without end")
		}
		r.body = append(r.body, rest[:size]...)
		n += int(size) + 2
	}
}

// strictLines reads lines up to an empty one, and returns how long they are.
func strictLines(b []byte) (lines []string, n int, err error) {
	for {
		line, _, ok := bytes.Cut(b[n:], []byte("\n"))
		text, crlf := bytes.CutSuffix(line, []byte("\r"))
		for _, c := range text {
			if c < ' ' && c != '\t' && (c != '\r' || ok) || c == 0x7f {
				return nil, 0, errors.New("control character")
			}
		}
		switch {
		case !ok:
			return nil, 0, errPartial
		case !crlf:
			return nil, 0, errors.New("line without CR LF")
		}
		n += len(line) + 1
		if len(text) == 0 {
			return lines, n, nil
		}
		lines = append(lines, string(text))
	}
}

// strictFields checks header fields, and returns them as "Name: value".
func strictFields(lines []string) (fields []string, err error) {
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		if !ok || !isToken(name) {
			return nil, fmt.Errorf("field %q", line)
		}
		fields = append(fields, name+": "+strings.Trim(value, " \t"))
	}
	return fields, nil
}

// isToken reports whether s is a token (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}

// The recorder takes what is one request, and finds fault with what is none.
func TestRecorder(t *testing.T) {
	const host = "Host: a.test\r\n"
	for _, whole := range []string{
		"GET / HTTP/1.1\r\n" + host + "\r\n",
		"POST /\xff HTTP/1.1\r\n" + host + "X:y\r\nContent-Length: 2\r\n\r\nab",
		"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding:chunked\r\n\r\nA\r\n0123456789\r\n1\r\nx\r\n0\r\nX: y\r\n\r\n",
	} {
		for i := range whole {
			_, _, err := parseStrictly([]byte(whole[:i]))
			if err != errPartial {
				t.Errorf("%q: %v", whole[:i], err)
			}
		}
		if _, n, err := parseStrictly([]byte(whole + "GET")); err != nil || n != len(whole) {
			t.Errorf("%q: %d, %v", whole, n, err)
		}
	}
	for _, bad := range []string{
		"\r\n", "GET / HTTP/1.1\n", "GET /\r\n\r\n", "GET  / HTTP/1.1\r\n" + host + "\r\n", "GET / HTTP/1.0\r\n" + host + "\r\n", "G(T / HTTP/1.1\r\n" + host + "\r\n",
		"GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\n" + host + host + "\r\n", "GET / HTTP/1.1\r\n" + host + "X\r\n\r\n", "GET / HTTP/1.1\r\n" + host + "X : y\r\n\r\n",
		"GET / HTTP/1.1\r\n" + host + " y\r\n\r\n", "GET / HTTP/1.1\r\n" + host + ": y\r\n\r\n", "GET / HTTP/1.1\r\n" + host + "X: \x00", "GET / HTTP/1.1\r\n" + host + "X: a\rb\r\n",
		"GET / HTTP/1.1\r\n" + host + "Content-Length: +1\r\n\r\n", "GET / HTTP/1.1\r\n" + host + "Content-Length: 1,1\r\n\r\n", "GET / HTTP/1.1\r\n" + host + "Content-Length:\r\n\r\n",
		"GET / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", "GET / HTTP/1.1\r\n" + host + "Content-Length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
		"GET / HTTP/1.1\r\n" + host + "Transfer-Encoding: Chunked\r\n\r\n", "GET / HTTP/1.1\r\n" + host + "Content-Length: 99999999999999999999\r\n\r\n",
		"GET / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n1\n", "GET / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n1;a\r\n",
		"GET / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n1\r\nabc", "GET / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\nx\r\n\r\n",
		"GET / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n000000000000000000000000",
	} {
		if _, _, err := parseStrictly([]byte(bad)); err == nil || err == errPartial {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
