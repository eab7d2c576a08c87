package http1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var fuzzLimit = RequestLimit{Bytes: 1 << 12, Fields: 64, Time: time.Minute}

// serverOf makes the server's side of a connection over which that comes.
func serverOf(in string, step int) *Conn {
	return Server(&script{in: in, step: step}, time.Minute)
}

var requestSeeds = []string{
	"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"\r\nGET http://b/x?y HTTP/1.1\r\nHost: a\r\n\r\nGET",
	"POST /a%20b HTTP/1.1\r\nHost: a:80\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\nTE: trailers\r\n\r\na",
	"GET / HTTP/1.0\r\nConnection: keep-alive, x\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
	"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\na",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na",
	"GET / HTTP/1.1\nHost: a\n\n",
	"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
	"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
	"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
	"GET %zz HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 3\r\n\r\n",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}

// refusedByNetHTTP are the reasons for which net/http refuses what is a request here, by
// what its errors say.
var refusedByNetHTTP = []string{
	"invalid URI for request", "invalid port", "invalid IP-literal", "invalid URL escape", "first path segment in URL cannot contain colon",
	"missing ']' in host", "invalid character", "invalid userinfo", "cannot contain multiple", // targets are judged by the gateway
	"missing protocol scheme", "empty url", "invalid host",
	"malformed Host header",     // and so are hosts
	"malformed HTTP version",    // HTTP/1.2 and later are as HTTP/1.1
	"unsupported protocol",      // the same
	"malformed MIME header",     // an empty name of a trailer, and the like
	"bad trailer key",           // names in Trailer are not used
	"invalid header field name", // the same
}

// FuzzReadRequest compares what the head of a request means here and to net/http:
// wherever both accept it they agree on all of it, and on where it ends.
func FuzzReadRequest(f *testing.F) {
	for _, in := range requestSeeds {
		f.Add(in, uint8(0))
		f.Add(in, uint8(200))
	}
	f.Fuzz(func(t *testing.T, in string, step uint8) {
		c := serverOf(in, int(step)+1)
		if c.Wait(time.Minute) != nil {
			return
		}
		r, err := c.ReadRequest(&fuzzLimit)
		if err != nil {
			return
		}
		// net/http does not skip an empty line.
		theirs := bufio.NewReader(strings.NewReader(strings.TrimPrefix(in, "\r\n")))
		req, theirErr := http.ReadRequest(theirs)
		if theirErr != nil {
			for _, reason := range refusedByNetHTTP {
				if strings.Contains(theirErr.Error(), reason) {
					return
				}
			}
			t.Fatalf("%q: net/http refuses it: %v", in, theirErr)
		}
		host, _ := r.Host()
		require.Equal(t, req.Method, r.Method())
		require.Equal(t, req.RequestURI, r.Target())
		if req.URL.Host == "" {
			require.Equal(t, req.Host, host)
		}
		require.Equal(t, req.ContentLength, r.ContentLength, "%q", in)
		require.Equal(t, len(req.TransferEncoding) > 0, r.Chunked)
		require.Equal(t, req.Close, r.Close, "%q", in)
		require.Equal(t, req.ProtoMinor >= 1, r.Minor == 1)

		// What net/http takes out or puts in.
		chunked := r.Chunked
		header := r.Header()
		delete(header, "Host")
		if chunked {
			delete(header, "Transfer-Encoding")
			delete(header, "Trailer")
		}
		if pragma := header["Pragma"]; len(pragma) > 0 && pragma[0] == "no-cache" && header["Cache-Control"] == nil {
			header["Cache-Control"] = []string{"no-cache"}
		}
		require.Equal(t, req.Header, header, "%q", in)
	})
}

// FuzzRequestBody compares what the body of a request means here and to net/http, and
// where the request after it begins. That is where smuggling begins.
func FuzzRequestBody(f *testing.F) {
	for _, in := range requestSeeds {
		_, body, _ := strings.Cut(strings.TrimPrefix(in, "\r\n"), "\r\n\r\n")
		f.Add(body, true, uint16(0), uint8(0), uint8(0))
		f.Add(body, false, uint16(3), uint8(9), uint8(200))
	}
	f.Fuzz(func(t *testing.T, body string, coded bool, length uint16, size, step uint8) {
		head := "POST / HTTP/1.1\r\nHost: a\r\n"
		if coded {
			head += "Transfer-Encoding: chunked\r\n\r\n"
		} else {
			head += "Content-Length: " + strconv.Itoa(int(length)) + "\r\n\r\n"
		}
		c := serverOf(head+body, int(step)+1)
		require.NoError(t, c.Wait(time.Minute))
		r, err := c.ReadRequest(&fuzzLimit)
		require.NoError(t, err)
		method, field := r.Method(), ""
		got, err := "", error(nil)
		if whole, ok := c.Buffered(); ok {
			got = string(whole)
		} else {
			got, err = readAll(c, int(size)+1)
		}
		// The head is there to the end, wherever the buffer is by now.
		for name, value := range r.Fields() {
			field += string(name) + ": " + string(value) + "\r\n"
		}
		require.Equal(t, head, "POST / HTTP/1.1\r\n"+field+"\r\n")
		require.Equal(t, "POST", method)
		require.Equal(t, "POST", r.Method())
		require.Equal(t, "/", r.Target())

		theirs := bufio.NewReader(strings.NewReader(head + body))
		req, theirErr := http.ReadRequest(theirs)
		require.NoError(t, theirErr)
		var want bytes.Buffer
		_, theirErr = io.Copy(&want, req.Body)
		if err != nil {
			// Also of a body that is refused nothing is passed on that is not in it.
			if !strings.HasPrefix(want.String(), got) {
				require.Error(t, theirErr)
			}
			return
		}
		if theirErr != nil {
			t.Fatalf("%q: net/http refuses it: %v", body, theirErr)
		}
		require.Equal(t, want.String(), got, "%q", body)
		var trailer http.Header
		if last := c.Trailer(); last != nil {
			trailer = last.Header()
		}
		for name, values := range trailer {
			require.Equal(t, values, req.Trailer[name], "%q", body)
		}
		left, err := io.ReadAll(theirs)
		require.NoError(t, err)
		require.Equal(t, string(left), rest(c), "%q: where the next request begins", body)
	})
}
