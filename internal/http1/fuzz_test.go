package http1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

// FuzzResponse compares what a response means here and to net/http: wherever both
// accept it, they agree on head, body and trailer, and on the byte at which it ends.
// The latter is what a poisoned connection comes from.
func FuzzResponse(f *testing.F) {
	for _, in := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nHTTP/1.1 200 OK",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\nA;x=y\r\n0123456789\r\n00\r\nX: y\r\n\r\n",
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nabc",
		"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc",
		"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200\r\nA:b\r\na: c\r\nPragma: no-cache\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\nContent-Length: 1\n\na",
		"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\na\r\n0\r\n\r\n",
	} {
		f.Add(in, uint8(0), uint8(3), false)
		f.Add(in, uint8(1), uint8(100), true)
	}
	f.Fuzz(func(t *testing.T, in string, step, size uint8, head bool) {
		method := http.MethodGet
		if head {
			method = http.MethodHead
		}
		compare(t, in, method, int(step)+1, int(size)+1)
	})
}

func compare(t *testing.T, in, method string, step, size int) {
	conn := begin(in, step)
	r, err := conn.ReadResponse(method)
	theirs := bufio.NewReader(strings.NewReader(in))
	res, theirErr := http.ReadResponse(theirs, &http.Request{Method: method})
	if err != nil || theirErr != nil || r.Status == http.StatusSwitchingProtocols {
		return
	}
	// What net/http takes out or puts in.
	header := r.Header()
	if r.Chunked {
		delete(header, "Transfer-Encoding")
		delete(header, "Trailer")
	}
	if pragma := header["Pragma"]; len(pragma) > 0 && pragma[0] == "no-cache" && header["Cache-Control"] == nil {
		header["Cache-Control"] = []string{"no-cache"}
	}
	if r.Status != res.StatusCode || r.Minor != res.ProtoMinor {
		t.Fatalf("%q: %d in HTTP/1.%d, net/http: %d in HTTP/1.%d", in, r.Status, r.Minor, res.StatusCode, res.ProtoMinor)
	}
	if len(header) != len(res.Header) {
		t.Fatalf("%q: %q, net/http: %q", in, header, res.Header)
	}
	for name, values := range header {
		if strings.Join(values, "\n") != strings.Join(res.Header[name], "\n") {
			t.Fatalf("%q: %q, net/http: %q", in, header, res.Header)
		}
	}
	if r.Status >= 200 && r.Close != res.Close && conn.persists == res.Close {
		t.Fatalf("%q: close: %t, net/http: %t", in, r.Close, res.Close)
	}

	body := ""
	if conn.HasBody() && conn.body != unread {
		if body, err = readAll(conn, size); err != nil {
			return
		}
	}
	var want bytes.Buffer
	if _, err := io.Copy(&want, res.Body); err != nil {
		return
	}
	if body != want.String() {
		t.Fatalf("%q: body %q, net/http: %q", in, body, want.String())
	}
	var trailer http.Header
	if last := conn.Trailer(); last != nil {
		trailer = last.Header()
	}
	for name, values := range trailer {
		if strings.Join(values, "\n") != strings.Join(res.Trailer[name], "\n") {
			t.Fatalf("%q: trailer %q, net/http: %q", in, trailer, res.Trailer)
		}
	}
	left, err := io.ReadAll(theirs)
	if err != nil {
		t.Fatal(err)
	}
	if ours := rest(conn); ours != string(left) {
		t.Fatalf("%q: %q is left, net/http: %q", in, ours, left)
	}
}
