package http1

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// net/http's server reads what is written.
func TestRequest(t *testing.T) {
	for _, c := range []struct {
		name   string
		r      Request
		length int64
		lines  []string
		not    []string
	}{
		{"empty method", Request{Target: "/a?b", Host: "a.test"}, 0, []string{"GET /a?b HTTP/1.1", "Host: a.test"}, []string{"Content-Length", "User-Agent", "Connection"}},
		{"fields", Request{Method: "GET", Target: "/", Host: "a.test", Header: http.Header{"X-A": {"1", "2"}, "x-b": {""}, "X-C": nil, "User-Agent": {"me"}}}, 0, []string{"X-A: 1", "X-A: 2", "x-b: ", "User-Agent: me"}, []string{"X-C"}},
		{"length", Request{Method: "PUT", Target: "/", Host: "a.test", ContentLength: 3}, 3, []string{"Content-Length: 3"}, nil},
		{"no body where one is expected", Request{Method: "POST", Target: "/", Host: "a.test"}, 0, []string{"Content-Length: 0"}, nil},
		{"the same of PUT", Request{Method: "PUT", Target: "/", Host: "a.test"}, 0, []string{"Content-Length: 0"}, nil},
		{"the same of PATCH", Request{Method: "PATCH", Target: "/", Host: "a.test"}, 0, []string{"Content-Length: 0"}, nil},
		{"chunks", Request{Method: "POST", Target: "/", Host: "a.test", ContentLength: -1, Trailer: http.Header{"X-Sum": nil}}, -1, []string{"Transfer-Encoding: chunked", "Trailer: X-Sum"}, []string{"Content-Length"}},
		{"fields that are not its to say", Request{Method: "POST", Target: "/", Host: "a.test", ContentLength: 3, Header: http.Header{"Host": {"b.test"}, "content-length": {"9"}, "Transfer-encoding": {"chunked"}, "TRAILER": {"X"}}}, 3, []string{"Host: a.test", "Content-Length: 3"}, []string{"b.test", "9", "hunked", "TRAILER"}},
		{"close", Request{Method: "GET", Target: "/", Host: "a.test", Close: true}, 0, []string{"Connection: close"}, nil},
		{"close once", Request{Method: "GET", Target: "/", Host: "a.test", Close: true, Header: http.Header{"Connection": {"Close, X"}}}, 0, []string{"Connection: Close, X"}, []string{"Connection: close"}},
		{"close beside another option", Request{Method: "GET", Target: "/", Host: "a.test", Close: true, Header: http.Header{"Connection": {"X, closed"}}}, 0, []string{"Connection: X, closed", "Connection: close"}, nil},
		{"close in the second field", Request{Method: "GET", Target: "/", Host: "a.test", Close: true, Header: http.Header{"Connection": {"X", "Y,\tclose \t"}}}, 0, []string{"Connection: X"}, []string{"Connection: close"}},
		{"any target", Request{Method: "OPTIONS", Target: "*", Host: "a.test"}, 0, []string{"OPTIONS * HTTP/1.1"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := c.r.AppendTo([]byte("before|"))
			require.NoError(t, err)
			text, ok := strings.CutPrefix(string(b), "before|")
			require.True(t, ok)
			lines := strings.Split(text, "\r\n")
			for _, line := range c.lines {
				require.Contains(t, lines, line)
			}
			for _, not := range c.not {
				require.NotContains(t, text, not)
			}
			req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
			require.NoError(t, err)
			require.Equal(t, c.length, req.ContentLength)
		})
	}
}

func TestInvalidRequests(t *testing.T) {
	for text, r := range map[string]Request{
		`invalid method "G T"`:                           {Method: "G T", Target: "/"},
		`invalid method "GET\r\n"`:                       {Method: "GET\r\n", Target: "/"},
		"invalid request target":                         {Target: "/ HTTP/1.1\r\nX: y"},
		"invalid Host":                                   {Target: "/", Host: "a\r\nX: y"},
		`invalid header field name "A B"`:                {Target: "/", Header: http.Header{"A B": {"c"}}},
		`invalid header field name ""`:                   {Target: "/", Header: http.Header{"": {"c"}}},
		`invalid header field name "A:"`:                 {Target: "/", Header: http.Header{"A:": {"c"}}},
		`invalid header field value for "A"`:             {Target: "/", Header: http.Header{"A": {"b\nc"}}},
		`invalid header field value for "Connection"`:    {Target: "/", Header: http.Header{"Connection": {"b\r\n"}}},
		`invalid trailer field name "Content-Length"`:    {Target: "/", ContentLength: -1, Trailer: http.Header{"Content-Length": nil}},
		`invalid trailer field name "X\r\nY"`:            {Target: "/", ContentLength: -1, Trailer: http.Header{"X\r\nY": nil}},
		`invalid header field name "Content-Length\r\n"`: {Target: "/", Header: http.Header{"Content-Length\r\n": {"1"}}},
	} {
		_, err := r.AppendTo(nil)
		require.EqualError(t, err, text)
	}
	for _, target := range []string{"", "/a b", "/a\tb", "/\x00", "/\x7f"} {
		_, err := (&Request{Target: target}).AppendTo(nil)
		require.EqualError(t, err, "invalid request target")
	}
	_, err := AppendLastChunk(nil, http.Header{"A": {"\n"}})
	require.EqualError(t, err, `invalid trailer field value for "A"`)
	for _, name := range []string{"Trailer", "trailer", "Content-Length", "Transfer-Encoding", "", "A B"} {
		text := fmt.Sprintf("invalid trailer field name %q", name)
		_, err := AppendLastChunk(nil, http.Header{name: {"x"}})
		require.EqualError(t, err, text)
		_, err = (&Request{Target: "/", ContentLength: -1, Trailer: http.Header{name: nil}}).AppendTo(nil)
		require.EqualError(t, err, text)
	}
}

func TestAnnounced(t *testing.T) {
	names := slices.Collect(Announced([]string{"x-a,, X-b\t", "", " , ", "TRAILER"}))
	require.Equal(t, []string{"X-A", "X-B", "Trailer"}, names)
	for range Announced([]string{"a, b"}) {
		break // asks for no more
	}
}

func TestChunk(t *testing.T) {
	for _, n := range []int{1, 15, 16, 255, 256, 65536, 1 << 20} {
		buf := make([]byte, ChunkHead+n+ChunkTail)
		copy(buf[ChunkHead:], strings.Repeat("x", n))
		out, err := AppendLastChunk(bytes.Clone(Chunk(buf, n)), http.Header{"X-Sum": {"1", "2"}})
		require.NoError(t, err)
		require.True(t, bytes.HasSuffix(out, []byte("0\r\nX-Sum: 1\r\nX-Sum: 2\r\n\r\n")))
		body, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(out)))
		require.NoError(t, err)
		require.Equal(t, strings.Repeat("x", n), string(body))
	}
	require.Panics(t, func() { Chunk(make([]byte, 100), 0) }, "that would be the last")
}
