package gateway_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// A rawCase is bytes that a client may write, and what becomes of them. {H} stands
// for a Host and a mark by which the origin's requests are counted, and {X} for
// the mark alone. After them the client writes an ordinary request for /next on
// the same connection.
type rawCase struct {
	name   string
	raw    string
	status int

	// seen is what the origin gets: target, how the body is framed, and body. It
	// is empty if nothing whole may reach it.
	seen string

	// next says that the connection goes on, and the next request is answered.
	next bool

	// hidden says that net/http takes what RFC 9112 lets a server refuse, or that
	// others read otherwise, and leaves no trace of it. The engine refuses it. What
	// reaches the origin through ServeHTTP is unambiguous all the same.
	hidden bool

	// engine says that the engine takes what net/http refuses.
	engine bool
}

// through returns what becomes of the bytes at a door.
func (c rawCase) through(h *harness, d door) rawCase {
	foreign := d == h.handler1
	if c.hidden && !foreign || c.engine && foreign {
		c.status, c.seen, c.next = 400, "", false
	}
	return c
}

var rawCases = []rawCase{
	// The length of a body (RFC 9112, section 6).
	{name: "CL, TE", raw: "POST / HTTP/1.1\r\n{H}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", status: 200, seen: "/ chunked hello", next: true, hidden: true},
	{name: "TE, CL", raw: "POST / HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5\r\nhello\r\n0\r\n\r\n", status: 200, seen: "/ chunked hello", next: true, hidden: true},
	{name: "CL, TE: the rest is another request", raw: "POST / HTTP/1.1\r\n{H}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", status: 200, seen: "/ chunked ", next: true, hidden: true},
	{name: "TE on HTTP/1.0", raw: "POST / HTTP/1.0\r\n{H}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", status: 200, seen: "/ length ", hidden: true},
	{name: "CL, TE on HTTP/1.0", raw: "POST / HTTP/1.0\r\n{H}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", status: 200, seen: "/ length 0\r\n\r\n", hidden: true},
	{name: "CL twice, equal", raw: "POST / HTTP/1.1\r\n{H}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", status: 200, seen: "/ length hello", next: true, hidden: true},
	{name: "CL with zeros before", raw: "POST / HTTP/1.1\r\n{H}Content-Length: 0005\r\n\r\nhello", status: 200, seen: "/ length hello", next: true},
	{name: "CL twice, different", raw: "POST / HTTP/1.1\r\n{H}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", status: 400},
	{name: "CL, a list", raw: "POST / HTTP/1.1\r\n{H}Content-Length: 5, 5\r\n\r\nhello", status: 400},
	{name: "CL with a sign", raw: "POST / HTTP/1.1\r\n{H}Content-Length: +5\r\n\r\nhello", status: 400},
	{name: "CL below zero", raw: "POST / HTTP/1.1\r\n{H}Content-Length: -5\r\n\r\nhello", status: 400},
	{name: "CL in hexadecimal", raw: "POST / HTTP/1.1\r\n{H}Content-Length: 0x5\r\n\r\nhello", status: 400},
	{name: "CL, empty", raw: "POST / HTTP/1.1\r\n{H}Content-Length:\r\n\r\n", status: 400},
	{name: "CL over 63 bits", raw: "POST / HTTP/1.1\r\n{H}Content-Length: 9223372036854775808\r\n\r\n", status: 400},
	{name: "CL with a space before the colon", raw: "POST / HTTP/1.1\r\n{H}Content-Length : 5\r\n\r\nhello", status: 400},
	{name: "CL named in Connection", raw: "POST / HTTP/1.1\r\n{H}Connection: content-length\r\nContent-Length: 5\r\n\r\nhello", status: 200, seen: "/ length hello", next: true},
	{name: "TE unknown", raw: "POST / HTTP/1.1\r\n{H}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", status: 501},
	{name: "TE identity", raw: "POST / HTTP/1.1\r\n{H}Transfer-Encoding: identity\r\n\r\n", status: 501},
	{name: "TE, chunked not last", raw: "POST / HTTP/1.1\r\n{H}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", status: 501},
	{name: "TE, chunked twice", raw: "POST / HTTP/1.1\r\n{H}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", status: 501},
	{name: "TE twice", raw: "POST / HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", status: 501},
	{name: "TE, twice and different", raw: "POST / HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n", status: 501},
	{name: "TE in capitals", raw: "POST / HTTP/1.1\r\n{H}TRANSFER-ENCODING: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n", status: 200, seen: "/ chunked hello", next: true},
	{name: "TE between white space", raw: "POST / HTTP/1.1\r\n{H}Transfer-Encoding: \t chunked \t\r\n\r\n0\r\n\r\n", status: 200, seen: "/ chunked ", next: true},
	{name: "TE with a vertical tab", raw: "POST / HTTP/1.1\r\n{H}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", status: 400},
	{name: "TE with a tab before the colon", raw: "POST / HTTP/1.1\r\n{H}Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", status: 400},
	{name: "TE on a line of its own", raw: "POST / HTTP/1.1\r\n{H}Transfer-Encoding:\r\n chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", status: 200, seen: "/ chunked hello", next: true, hidden: true},
	{name: "TE named in Connection", raw: "POST / HTTP/1.1\r\n{H}Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", status: 200, seen: "/ chunked hello", next: true},
	{name: "TE with an underscore is another field", raw: "POST / HTTP/1.1\r\n{H}Transfer_Encoding: chunked\r\n\r\n", status: 200, seen: "/ length ", next: true},

	// Chunks (RFC 9112, section 7.1).
	{name: "chunk: bare LF", raw: "POST / HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", status: 400},
	{name: "chunk: bare LF after an extension", raw: "POST / HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n5;a\nhello\r\n0\r\n\r\n", status: 400},
	{name: "chunk: bare CR", raw: "POST / HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n5\rhello\r\n0\r\n\r\n", status: 400},
	{name: "chunk: LF in a quoted extension", raw: "POST / HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n", status: 400},
	{name: "chunk: extension", raw: "POST / HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n", status: 200, seen: "/ chunked hello", next: true},
	{name: "chunk: no end", raw: "POST / HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n", status: 400},
	{name: "chunk: prefix", raw: "POST / HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", status: 400},
	{name: "chunk: sign", raw: "POST / HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n", status: 400},
	{name: "chunk: below zero", raw: "POST / HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n", status: 400},
	{name: "chunk: over 64 bits", raw: "POST / HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n", status: 400},
	{name: "chunk: empty line", raw: "POST / HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n\r\n5\r\nhello\r\n0\r\n\r\n", status: 400},
	{name: "chunk: space after the size", raw: "POST / HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n", status: 200, seen: "/ chunked hello", next: true, hidden: true},
	{name: "trailer: framing and routing", raw: "POST / HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nContent-Length: 3\r\nTransfer-Encoding: x\r\nHost: b.test\r\n\r\n", status: 200, seen: "/ chunked hello", next: true, hidden: true},
	{name: "trailer: not a field", raw: "POST / HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nnone\r\n\r\n", status: 400},
	{name: "trailer: bare LF", raw: "POST / HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\n\r\n", status: 200, seen: "/ chunked hello", next: true, hidden: true},

	// Lines (RFC 9112, sections 2.2 and 5).
	{name: "bare LF everywhere", raw: "GET / HTTP/1.1\nHost: a.test\nX-Mark: {M}\n\n", status: 200, seen: "/  ", next: true, hidden: true},
	{name: "bare LF after a field", raw: "GET / HTTP/1.1\r\n{H}X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", status: 200, seen: "/ chunked ", next: true, hidden: true},
	{name: "bare CR in a field", raw: "GET / HTTP/1.1\r\n{H}X: y\rZ: z\r\n\r\n", status: 400},
	{name: "NUL in a field", raw: "GET / HTTP/1.1\r\n{H}X: \x00\r\n\r\n", status: 400},
	{name: "folded field", raw: "GET / HTTP/1.1\r\n{H}X: y\r\n z\r\n\r\n", status: 200, seen: "/  ", next: true, hidden: true},
	{name: "folded field before the first", raw: "GET / HTTP/1.1\r\n X: y\r\n{H}\r\n", status: 400},
	{name: "folded Host", raw: "GET / HTTP/1.1\r\nHost: a.\r\n test\r\n{X}\r\n", status: 400},
	{name: "space before the colon", raw: "GET / HTTP/1.1\r\n{H}X : y\r\n\r\n", status: 400},
	{name: "no colon", raw: "GET / HTTP/1.1\r\n{H}X\r\n\r\n", status: 400},
	{name: "no name", raw: "GET / HTTP/1.1\r\n{H}: y\r\n\r\n", status: 400},
	{name: "a name with a separator", raw: "GET / HTTP/1.1\r\n{H}X(): y\r\n\r\n", status: 400},
	{name: "a name beyond ASCII", raw: "GET / HTTP/1.1\r\n{H}X\xc3\xa9: y\r\n\r\n", status: 400},
	{name: "an empty line before", raw: "\r\nGET / HTTP/1.1\r\n{H}\r\n", status: 200, seen: "/  ", next: true, engine: true},
	{name: "two empty lines before", raw: "\r\n\r\nGET / HTTP/1.1\r\n{H}\r\n", status: 400},

	// The request line (RFC 9112, section 3).
	{name: "line: two spaces", raw: "GET  / HTTP/1.1\r\n{H}\r\n", status: 400},
	{name: "line: space in the target", raw: "GET /a b HTTP/1.1\r\n{H}\r\n", status: 400},
	{name: "line: tab", raw: "GET\t/ HTTP/1.1\r\n{H}\r\n", status: 400},
	{name: "line: tab in the target", raw: "GET /a\tb HTTP/1.1\r\n{H}\r\n", status: 400},
	{name: "line: space before", raw: " GET / HTTP/1.1\r\n{H}\r\n", status: 400},
	{name: "line: bad method", raw: "G(T / HTTP/1.1\r\n{H}\r\n", status: 400},
	{name: "line: HTTP/0.9", raw: "GET /\r\n\r\n", status: 400},
	{name: "line: version in lower case", raw: "GET / http/1.1\r\n{H}\r\n", status: 400},
	{name: "line: version with a zero", raw: "GET / HTTP/01.1\r\n{H}\r\n", status: 400},
	{name: "line: HTTP/2", raw: "GET / HTTP/2.0\r\n{H}\r\n", status: 505},
	{name: "line: HTTP/3", raw: "GET / HTTP/3.0\r\n{H}\r\n", status: 505},
	{name: "line: HTTP/1.2 is HTTP/1.1", raw: "GET / HTTP/1.2\r\n{H}\r\n", status: 200, seen: "/  ", next: true},
	{name: "target: invalid escape", raw: "GET /%zz HTTP/1.1\r\n{H}\r\n", status: 400},
	{name: "target: above the root", raw: "GET /.. HTTP/1.1\r\n{H}\r\n", status: 400, next: true},
	{name: "target: bytes beyond ASCII", raw: "GET /caf\xc3\xa9?\xff HTTP/1.1\r\n{H}\r\n", status: 200, seen: "/caf\xc3\xa9?\xff  ", next: true},
	{name: "target: fragment in the query", raw: "GET /?a#b HTTP/1.1\r\n{H}\r\n", status: 200, seen: "/?a#b  ", next: true},
	{name: "target: a URL", raw: "GET http://a.test/x?y HTTP/1.1\r\nHost: b.test\r\n{X}\r\n", status: 200, seen: "/x?y  ", next: true},
	{name: "target: a URL without path", raw: "GET HTTP://a.test?y HTTP/1.1\r\nHost: b.test\r\n{X}\r\n", status: 200, seen: "/?y  ", next: true},
	{name: "target: a URL with a port", raw: "GET https://a.test:1/ HTTP/1.1\r\nHost: b.test\r\n{X}\r\n", status: 200, seen: "/  ", next: true},
	{name: "target: a URL for someone else", raw: "GET http://b.test/ HTTP/1.1\r\n{H}\r\n", status: 404, next: true},
	{name: "target: a URL with user information", raw: "GET http://u:p@a.test/ HTTP/1.1\r\n{H}\r\n", status: 400, next: true},
	{name: "target: a URL without host", raw: "GET http:///x HTTP/1.1\r\n{H}\r\n", status: 400, next: true},
	{name: "target: a URL of another scheme", raw: "GET ftp://a.test/x HTTP/1.1\r\n{H}\r\n", status: 400, next: true},
	{name: "target: scheme and path", raw: "GET foo:/x HTTP/1.1\r\n{H}\r\n", status: 400, next: true},
	{name: "target: scheme and no path", raw: "GET foo:bar HTTP/1.1\r\n{H}\r\n", status: 400, next: true},
	{name: "target: host and port", raw: "GET a.test:80 HTTP/1.1\r\n{H}\r\n", status: 400, next: true},
	{name: "target: relative", raw: "GET x HTTP/1.1\r\n{H}\r\n", status: 400},
	{name: "target: a star", raw: "GET * HTTP/1.1\r\n{H}\r\n", status: 400, next: true},
	{name: "OPTIONS *", raw: "OPTIONS * HTTP/1.1\r\n{H}\r\n", status: 400, next: true},
	{name: "CONNECT", raw: "CONNECT a.test:443 HTTP/1.1\r\n{H}\r\n", status: 405},
	{name: "CONNECT to a path", raw: "CONNECT /x HTTP/1.1\r\n{H}\r\n", status: 405},
	{name: "CONNECT with a body", raw: "CONNECT a.test:443 HTTP/1.1\r\n{H}Content-Length: 5\r\n\r\nhello", status: 405},

	// The Host (RFC 9110, section 7.2).
	{name: "Host: twice", raw: "GET / HTTP/1.1\r\n{H}Host: a.test\r\n\r\n", status: 400},
	{name: "Host: two", raw: "GET / HTTP/1.1\r\n{H}Host: b.test\r\n\r\n", status: 400},
	{name: "Host: none", raw: "GET / HTTP/1.1\r\n{X}\r\n", status: 400},
	{name: "Host: empty", raw: "GET / HTTP/1.1\r\nHost:\r\n{X}\r\n", status: 400},
	{name: "Host: a list", raw: "GET / HTTP/1.1\r\nHost: a.test,b.test\r\n{X}\r\n", status: 400},
	{name: "Host: a list with a space", raw: "GET / HTTP/1.1\r\nHost: a.test, b.test\r\n{X}\r\n", status: 400},
	{name: "Host: a path", raw: "GET / HTTP/1.1\r\nHost: a.test/x\r\n{X}\r\n", status: 400},
	{name: "Host: a user", raw: "GET / HTTP/1.1\r\nHost: u@a.test\r\n{X}\r\n", status: 400},
	{name: "Host: two ports", raw: "GET / HTTP/1.1\r\nHost: a.test:1:2\r\n{X}\r\n", status: 400},
	{name: "Host: NUL", raw: "GET / HTTP/1.1\r\nHost: a.test\x00\r\n{X}\r\n", status: 400},
	{name: "Host: two dots", raw: "GET / HTTP/1.1\r\nHost: a.test..\r\n{X}\r\n", status: 400},
	{name: "Host: a star", raw: "GET / HTTP/1.1\r\nHost: *\r\n{X}\r\n", status: 400},
	{name: "Host named in Connection", raw: "GET / HTTP/1.1\r\n{H}Connection: host\r\n\r\n", status: 200, seen: "/  ", next: true},
	{name: "HTTP/1.0", raw: "GET / HTTP/1.0\r\n{H}\r\n", status: 200, seen: "/  "},
	{name: "HTTP/1.0, kept alive", raw: "GET / HTTP/1.0\r\n{H}Connection: keep-alive\r\n\r\n", status: 200, seen: "/  ", next: true},
	{name: "HTTP/1.0 without Host", raw: "GET /nohost HTTP/1.0\r\n{X}\r\n", status: 200, seen: "/nohost  "},
	{name: "HTTP/1.0 without Host, and a host's route", raw: "GET / HTTP/1.0\r\n{X}\r\n", status: 404},

	// Expectations (RFC 9110, section 10.1.1).
	{name: "Expect: unknown", raw: "POST / HTTP/1.1\r\n{H}Expect: 200-ok\r\nContent-Length: 5\r\n\r\nhello", status: 417},

	// HTTP/2 where it is not spoken.
	{name: "h2 preface", raw: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", status: 505},
	{name: "h2c", raw: "GET / HTTP/1.1\r\n{H}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", status: 200, seen: "/  ", next: true},

	// Heads (RFC 9110, section 5.4).
	{name: "a long field", raw: "GET / HTTP/1.1\r\n{H}X: " + strings.Repeat("x", 40<<10) + "\r\n\r\n", status: 431},
	{name: "a long target", raw: "GET /" + strings.Repeat("x", 40<<10) + " HTTP/1.1\r\n{H}\r\n", status: 431},
	{name: "many fields named by Connection", raw: "GET / HTTP/1.1\r\n{H}Connection: " + strings.Repeat("x, ", 33) + "\r\n\r\n", status: 431},
	{name: "many fields", raw: "GET / HTTP/1.1\r\n{H}" + strings.Repeat("X: y\r\n", 10<<10) + "\r\n", status: 431},
}

// Doors that answer otherwise, because the server in front of them does.
var rawExceptions = map[string]map[string]int{
	"ServeHTTP http/1.1": {
		"OPTIONS *":  200, // of net/http's own
		"h2 preface": 400,
	},
}

func swallowedHarness(t *testing.T, o *gateway.Options) *harness {
	if o == nil {
		o = &gateway.Options{}
	}
	h := newHarnessOf(t, o) // without HTTP/2 on the plain port
	here, nohost := everything("1", "1"), everything("2", "1")
	here.Hosts, nohost.Paths = []string{"a.test"}, []string{"/nohost"}
	h.apply(gateway.Config{
		Profiles:  []ssl.Config{h.profile("1", []string{"a.test"})},
		Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)},
		Routes:    []route.Config{here, nohost},
	})
	return h
}

// What net/http takes, hides or answers itself: of one request that comes in, at
// most one goes out, and that has one meaning (the origin is strict).
func TestSwallowed(t *testing.T) {
	h := swallowedHarness(t, nil)
	outcomes := map[string]string{} // by mark, what the origin may get
	for _, c := range rawCases {
		t.Run(c.name, func(t *testing.T) {
			for _, d := range h.http1Doors() {
				c := c.through(h, d)
				mark := c.name + " through " + d.name
				outcomes[mark] = c.seen
				raw := strings.NewReplacer("{H}", "Host: a.test\r\nX-Mark: "+mark+"\r\n", "{X}", "X-Mark: "+mark+"\r\n", "{M}", mark).Replace(c.raw)
				if d == h.handler1 && c.status == 431 {
					continue // its limit is its own, 1 MiB
				}
				status := c.status
				if exception, ok := rawExceptions[d.name][c.name]; ok {
					status = exception
				}
				want := []int{status}
				if c.next {
					want = append(want, 200)
				}
				conn := h.raw(d, "a.test")
				outcomes["after "+mark] = "/next  "
				// Where the connection is over, what is written may not go out any
				// more.
				_, _ = io.WriteString(conn, raw+"GET /next HTTP/1.1\r\nHost: a.test\r\nX-Mark: after "+mark+"\r\nConnection: close\r\n\r\n")
				require.Equal(t, want, conn.statuses(), d.name)
			}
		})
	}
	require.NoError(t, h.gw.Close())
	h.origin.close()
	count := map[string]int{}
	for _, r := range h.origin.take() {
		if !r.whole {
			continue
		}
		marks := r.values("X-Mark")
		require.Len(t, marks, 1, r.line)
		count[marks[0]]++
		require.Equal(t, 1, count[marks[0]], "more than one request of %q", marks[0])
		require.Equal(t, outcomes[marks[0]], fmt.Sprintf("%s %s %s", r.target(), r.framing, r.body), marks[0])
	}
	for mark, seen := range outcomes {
		if seen != "" && !strings.HasPrefix(mark, "after ") {
			require.Equal(t, 1, count[mark], mark)
		}
	}
}

// Requests that HTTP/1.1 cannot carry, on their way down to it.
func TestSwallowedHTTP2(t *testing.T) {
	h := swallowedHarness(t, nil)
	t.Run("by the engine", func(t *testing.T) { swallowedHTTP2(t, h, h.http2) })
	t.Run("by net/http", func(t *testing.T) { swallowedHTTP2(t, h, h.handler2) })
	old := swallowedHarness(t, &gateway.Options{NetHTTP2: true})
	t.Run("by net/http, behind ServeTLS", func(t *testing.T) { swallowedHTTP2(t, old, old.http2) })
}

func swallowedHTTP2(t *testing.T, h *harness, d door) {
	request := func(fields ...string) []string { return fields }
	get := func(extra ...string) []string {
		return append([]string{":method", "GET", ":scheme", "https", ":authority", "a.test", ":path", "/"}, extra...)
	}
	const reset = "reset" // the stream
	strict := map[string]bool{}
	for _, name := range []string{
		"path a URL", "path opaque", "Connection", "Keep-Alive", "Upgrade", "Transfer-Encoding", "TE",
		"two lengths", "two equal lengths", "length with a sign", "length too long", "length too short",
	} {
		strict[name] = true
	}
	for _, c := range []struct {
		name   string
		fields []string
		body   string // "-": none
		want   string // of net/http, and of the engine unless it is stricter
		seen   string
	}{
		{"ordinary", get(), "-", "200", "/  "},
		{"a body", get("content-length", "5"), "hello", "200", "/ length hello"},
		{"scheme http", request(":method", "GET", ":scheme", "http", ":authority", "a.test", ":path", "/"), "-", "200", "/  "},
		{"scheme other", request(":method", "GET", ":scheme", "ftp", ":authority", "a.test", ":path", "/"), "-", reset, ""},
		{"path a URL", request(":method", "GET", ":scheme", "https", ":authority", "a.test", ":path", "https://b.test/x"), "-", "400", ""},
		{"path relative", request(":method", "GET", ":scheme", "https", ":authority", "a.test", ":path", "x"), "-", reset, ""},
		{"path opaque", request(":method", "GET", ":scheme", "https", ":authority", "a.test", ":path", "foo:bar"), "-", "400", ""},
		{"path empty", request(":method", "GET", ":scheme", "https", ":authority", "a.test", ":path", ""), "-", reset, ""},
		{"path none", request(":method", "GET", ":scheme", "https", ":authority", "a.test"), "-", reset, ""},
		{"path twice", get(":path", "/x"), "-", reset, ""},
		{"path with a space", request(":method", "GET", ":scheme", "https", ":authority", "a.test", ":path", "/a b"), "-", "400", ""},
		{"path with a request line", request(":method", "GET", ":scheme", "https", ":authority", "a.test", ":path", "/ HTTP/1.1"), "-", "400", ""},
		{"query with a space", request(":method", "GET", ":scheme", "https", ":authority", "a.test", ":path", "/?a HTTP/1.1"), "-", "400", ""},
		{"path with a line feed", request(":method", "GET", ":scheme", "https", ":authority", "a.test", ":path", "/\r\nX: y"), "-", reset, ""},
		{"path with an encoded line feed", request(":method", "GET", ":scheme", "https", ":authority", "a.test", ":path", "/%0d%0aX:%20y"), "-", "200", "/%0d%0aX:%20y  "},
		{"OPTIONS *", request(":method", "OPTIONS", ":scheme", "https", ":authority", "a.test", ":path", "*"), "-", "400", ""},
		{"method with a space", request(":method", "GET /x HTTP/1.1", ":scheme", "https", ":authority", "a.test", ":path", "/"), "-", "400", ""},
		{"method with a line feed", request(":method", "GET\n", ":scheme", "https", ":authority", "a.test", ":path", "/"), "-", reset, ""},
		{"CONNECT", request(":method", "CONNECT", ":authority", "a.test:443"), "-", "405", ""},
		{"extended CONNECT", request(":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "a.test", ":path", "/"), "-", reset, ""},
		{"no authority, but a Host", request(":method", "GET", ":scheme", "https", ":path", "/", "host", "a.test"), "-", "200", "/  "},
		{"no authority, no Host", request(":method", "GET", ":scheme", "https", ":path", "/nohost"), "-", "400", ""},
		{"authority empty", request(":method", "GET", ":scheme", "https", ":authority", "", ":path", "/nohost"), "-", "400", ""},
		{"authority with a user", request(":method", "GET", ":scheme", "https", ":authority", "u@a.test", ":path", "/"), "-", reset, ""},
		{"authority a list", request(":method", "GET", ":scheme", "https", ":authority", "a.test,b.test", ":path", "/"), "-", "400", ""},
		{"the Host says the same", get("host", "A.test:443"), "-", "200", "/  "},
		{"the Host says other", get("host", "b.test"), "-", "400", ""},
		{"one of two Hosts says other", get("host", "a.test", "host", "b.test"), "-", "400", ""},
		{"two Hosts, no authority", request(":method", "GET", ":scheme", "https", ":path", "/", "host", "a.test", "host", "b.test"), "-", "400", ""},
		{"Connection", get("connection", "close"), "-", "400", ""},
		{"Keep-Alive", get("keep-alive", "1"), "-", "400", ""},
		{"Upgrade", get("upgrade", "websocket"), "-", "400", ""},
		{"Transfer-Encoding", get("transfer-encoding", "chunked"), "0\r\n\r\n", "400", ""},
		{"TE", get("te", "chunked"), "-", "400", ""},
		{"length too long", get("content-length", "9"), "hello", "*", ""},
		{"length too short", get("content-length", "3"), "hello", "*", ""},
		{"length with a sign", get("content-length", "+5"), "hello", "*", ""},
		{"two lengths", get("content-length", "5", "content-length", "9"), "hello", "400", ""},
		{"two equal lengths", get("content-length", "5", "content-length", "5"), "hello", "400", ""},
		{"a name in upper case", get("X-Y", "z"), "-", reset, ""},
		{"a name with a space", get("x y", "z"), "-", reset, ""},
		{"a name with a colon", get("x:y", "z"), "-", reset, ""},
		{"a name that is a line", get("x: y\r\nz", "z"), "-", reset, ""},
		{"a value that is a line", get("x", "y\r\nz: z"), "-", reset, ""},
		{"a value with NUL", get("x", "y\x00"), "-", reset, ""},
		{"an unknown pseudo-field", get(":x", "y"), "-", reset, ""},
		{"a pseudo-field of answers", get(":status", "200"), "-", reset, ""},
		{"a pseudo-field after others", request(":method", "GET", ":scheme", "https", ":authority", "a.test", "x", "y", ":path", "/"), "-", reset, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.origin.take()
			conn := h.h2(d, "a.test")
			conn.headers(1, c.body == "-", c.fields...)
			if c.body != "-" {
				conn.frame(h2Data, h2EndStream, 1, []byte(c.body))
			}
			status, _ := conn.status(1)
			switch {
			case strict[c.name] && d.name == "ServeTLS h2":
				require.Equal(t, reset, status) // RFC 9113, section 8.1.1
			case c.name == "extended CONNECT" && d.name == "ServeTLS h2":
				require.Equal(t, "501", status) // WebSocket is not for that route
			case c.name == "OPTIONS *" && d == h.handler2:
				require.Equal(t, "200", status) // of net/http's own
			case c.want != "*":
				require.Equal(t, c.want, status)
			}
			// The connection is of use for others.
			conn.get(3, "https", "a.test", "/next")
			status, _ = conn.status(3)
			require.Contains(t, []string{"200", "closed"}, status)
			for _, r := range h.origin.take() {
				if r.whole && r.target() != "/next" {
					require.NotEmpty(t, c.seen, r.line)
					require.Equal(t, c.seen, fmt.Sprintf("%s %s %s", r.target(), r.framing, r.body))
					require.Len(t, r.values("Host"), 1)
					require.Empty(t, r.saying("Transfer-Encoding"))
				}
			}
		})
	}
}

// An answer that comes while the client is still sending reaches it, whoever gives
// it: a connection that is closed with unread bytes is reset by the kernel, which
// can destroy what is on its way.
func TestEarlyAnswersArrive(t *testing.T) {
	h := swallowedHarness(t, nil)
	h.apply(gateway.Config{Profiles: []ssl.Config{h.profile("mtls", []string{"mtls.test"}, h.people)}})
	h.origin.on(func(v *visit) {
		v.write("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig")
		if v.target() != "/reset" {
			_, _ = io.Copy(io.Discard, v.r) // as the gateway does
		}
		v.close = true
	})
	const size = 4 * mebibyte
	piece := strings.Repeat("x", 32<<10)
	var all sync.WaitGroup
	for _, d := range h.http1Doors() {
		for _, c := range []struct {
			line, host string
			status     int
		}{
			{"POST / HTTP/1.1", "a.test", 413},
			{"POST /reset HTTP/1.1", "a.test", 413}, // between the origin and the gateway
			{"POST / HTTP/1.1", "none.test", 404},
			{"POST /.. HTTP/1.1", "a.test", 400},
			{"CONNECT a.test:443 HTTP/1.1", "a.test", 405},
			{"POST / HTTP/1.1", "mtls.test", map[bool]int{true: 421, false: 403}[d.tls]},
		} {
			for _, framing := range []string{fmt.Sprintf("Content-Length: %d", size), "Transfer-Encoding: chunked"} {
				conn := h.raw(d, "a.test")
				all.Go(func() {
					_, err := fmt.Fprintf(conn, "%s\r\nHost: %s\r\n%s\r\n\r\n", c.line, c.host, framing)
					for n := 0; n < size && err == nil; n += len(piece) {
						if framing[0] == 'C' {
							_, err = io.WriteString(conn, piece)
						} else {
							_, err = fmt.Fprintf(conn, "%x\r\n%s\r\n", len(piece), piece)
						}
					}
					// The client reads only when it has sent what it can.
					res, err := http.ReadResponse(conn.r, nil)
					if err == nil {
						_, err = io.ReadAll(res.Body)
					}
					if err != nil || res.StatusCode != c.status {
						t.Errorf("%s: %d: %v %v", d.name, c.status, res, err)
					}
				})
			}
		}
	}
	all.Wait()
}

// What is left of a form that was looked into is not the next request, whatever a
// handler or a node makes of it.
func TestFormLeftUnread(t *testing.T) {
	h := newHarness(t, nil)
	gone := listen(t)
	gone.Close()
	served := make(chan string, 100)
	local := func(id string, serve http.HandlerFunc) route.Config {
		return route.Config{ID: id, Paths: []string{"/" + id}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			served <- id
			serve(w, r)
		})}
	}
	h.apply(gateway.Config{
		Profiles:  []ssl.Config{h.profile("open", []string{"a.test"})},
		Upstreams: []upstream.Config{upstreamTo("gone", gone.Addr().String())},
		Routes: []route.Config{
			{ID: "never", Paths: []string{"/leave", "/close", "/duplex", "/*"}, Upstream: "gone", Vars: vars("post_arg_a", "==", "never"), Priority: 1},
			local("leave", func(http.ResponseWriter, *http.Request) {}),
			local("close", func(_ http.ResponseWriter, r *http.Request) { r.Body.Close() }),
			local("duplex", func(w http.ResponseWriter, r *http.Request) {
				if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
					t.Error(err)
				}
				r.Body.Close()
			}),
			everything("gone", "gone"),
			local("smuggled", func(http.ResponseWriter, *http.Request) {}),
		},
	})
	const inner = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"
	for _, d := range h.http1Doors() {
		for _, target := range []string{"leave", "close", "duplex", "unreachable"} {
			for _, before := range []int{route.MaxPostForm + 1, route.MaxPostForm + 1 + 256<<10, 256 << 10} {
				conn := h.raw(d, "a.test")
				body := strings.Repeat("x", before) + inner + strings.Repeat("x", 512<<10)
				go fmt.Fprintf(conn, "POST /%s HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/x-www-form-urlencoded\r\n"+
					"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", target, len(body), body)
				_, _ = io.Copy(io.Discard, conn.r) // to the end, which the gateway makes
				conn.Close()
				if target != "unreachable" {
					require.Equal(t, target, <-served, "%s %d", d.name, before)
				}
				require.Empty(t, served, "%s %s %d", d.name, target, before)
			}
		}
	}
}
