package gateway_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// A requestCase is a request, and what must become of it through every door.
type requestCase struct {
	name string

	// The request.
	method  string // GET if empty
	target  string // "/" if empty
	host    string // a.test if empty
	header  http.Header
	body    string
	chunked bool
	trailer http.Header
	trusted bool // whether the gateway trusts the client as a proxy

	// What the origin answers, okAnswer if empty.
	answer string

	// What the client must get: status, body unless it is "*", header fields
	// ("" is one that must not be there), trailer and 1xx answers.
	status      int // 200 if 0
	want        string
	wantHeader  map[string]string
	wantTrailer http.Header
	wantInfo    []string

	// What the origin must get: nothing if silent, else the target as it was
	// sent, the body, and header fields ("" is one that must not be there).
	silent bool
	seen   map[string]string
}

const mebibyte = 1 << 20

func chunked(body string, trailer ...string) string {
	return fmt.Sprintf("%x\r\n%s\r\n0\r\n%s\r\n", len(body), body, strings.Join(trailer, ""))
}

// Spellings of a name that some origin reads as the same.
func spellings(name string) []string {
	fold := func(to string) string { return strings.ReplaceAll(name, "-", to) }
	return []string{
		name, strings.ToLower(name), strings.ToUpper(name), textproto.CanonicalMIMEHeaderKey(name),
		fold("_"), strings.ToLower(fold("_")), strings.ToUpper(fold("_")),
		fold("."), fold("~"), fold("!"), strings.Replace(name, "-", "_", 1),
	}
}

// header makes a header without changing the spelling of names.
func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h[pairs[i]] = append(h[pairs[i]], pairs[i+1])
	}
	return h
}

// A secret word shows what went through that must not.
const spoof = "sp00f"

// identities are names under which origins are told of a client's certificate.
var identities = []string{
	"Client-Cert", "Client-Cert-Chain", "X-Forwarded-Client-Cert", "X-Forwarded-Tls-Client-Cert",
	"X-Forwarded-Tls-Client-Cert-Info", "X-Client-Verify", "X-Client-Dn", "X-Client-Cert",
	"X-Ssl-Client-Verify", "X-SSL-Client-S-DN", "Ssl-Client-Verify", "Ssl-Client", "X-Arr-Clientcert",
	"X-Tls-Client-Subject", "X-Client-Fingerprint",
	"X-Client-Cn", "X-Client-San", "X-Client-Certificate", "X-Ssl-Client", "X-Ssl-Cert", "X-Ssl-Issuer",
	"L5d-Client-Id", "X-Amzn-Mtls-Clientcert-Subject", "Cf-Client-Cert-Sha256",
}

// forwardings are the names of what a proxy says it saw.
var forwardings = []string{
	"Forwarded", "X-Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port",
	"X-Real-Ip", "X-Forwarded-Scheme", "X-Forwarded-Ssl", "X-Forwarded-Server", "X-Forwarded-User",
	"X-Forwarded-Email", "X-Forwarded-Prefix", "X-Forwarded-Uri",
}

func cases() []requestCase {
	list := []requestCase{
		{name: "GET", wantHeader: map[string]string{"Content-Length": "2"}, want: "ok"},
		{name: "what was not asked for is not sent", want: "ok", seen: map[string]string{
			"User-Agent": "", "Accept-Encoding": "", "Connection": "", "Te": "", "Expect": "", "Content-Length": "", "Transfer-Encoding": "", "Forwarded": "",
		}},
		{name: "the client's own fields", header: header("User-Agent", "x/1", "Accept-Encoding", "br", "Cookie", "a=b; c=d", "Authorization", "Basic x", "X-Empty", ""),
			want: "ok", seen: map[string]string{"User-Agent": "x/1", "Accept-Encoding": "br", "Cookie": "a=b; c=d", "Authorization": "Basic x"}},
		{name: "a field twice", header: header("X-Twice", "1", "X-Twice", "2"), want: "ok", seen: map[string]string{"X-Twice": "1|2"}},
		{name: "a value beyond ASCII", header: header("X-Name", "caf\xc3\xa9 \xff"), want: "ok", seen: map[string]string{"X-Name": "caf\xc3\xa9 \xff"}},

		{name: "HEAD", method: "HEAD", answer: "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\nX-A: b\r\n\r\n",
			wantHeader: map[string]string{"Content-Length": "12345", "X-A": "b"}},
		{name: "OPTIONS", method: "OPTIONS", want: "ok"},
		{name: "TRACE", method: "TRACE", want: "ok"},
		{name: "DELETE without body", method: "DELETE", want: "ok", seen: map[string]string{"Content-Length": "", "Transfer-Encoding": ""}},
		{name: "a method of one's own", method: "PROPFIND", body: "<x/>", want: "ok"},
		{name: "a method is case-sensitive", method: "get", want: "ok"},
		{name: "POST", method: "POST", body: "hello", want: "ok", seen: map[string]string{"Content-Length": "5", "Transfer-Encoding": ""}},
		{name: "POST, chunked", method: "POST", body: "hello", chunked: true, want: "ok", seen: map[string]string{"Content-Length": "", "Transfer-Encoding": "chunked"}},
		{name: "POST, empty", method: "POST", want: "ok", seen: map[string]string{"Content-Length": "0"}},
		{name: "PUT of 1 MiB", method: "PUT", body: strings.Repeat("0123456789abcdef", mebibyte/16), want: "ok"},
		{name: "PUT of 1 MiB, chunked", method: "PUT", body: strings.Repeat("0123456789abcdef", mebibyte/16), chunked: true, want: "ok"},
		{name: "GET with a body", body: "hello", want: "ok"},
		{name: "1 MiB", answer: fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", mebibyte) + strings.Repeat("x", mebibyte), want: strings.Repeat("x", mebibyte)},
		{name: "1 MiB, chunked", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(strings.Repeat("x", mebibyte)), want: strings.Repeat("x", mebibyte)},
		{name: "an answer without length", answer: "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end", want: "until the end", wantHeader: map[string]string{"Content-Length": ""}},
		{name: "an empty answer", answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{name: "an answer's type is its own", answer: "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", want: "<html>",
			wantHeader: map[string]string{"Content-Type": "", "X-Content-Type-Options": ""}},
		{name: "an answer's own fields", answer: "HTTP/1.1 203 Huh\r\nServer: x\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nX_Odd.Name: 1\r\nContent-Length: 0\r\n\r\n",
			status: 203, wantHeader: map[string]string{"Server": "x", "Date": "Thu, 01 Jan 1970 00:00:00 GMT", "Set-Cookie": "a=b|c=d", "X_Odd.Name": "1"}},
		{name: "an answer's hop-by-hop fields", answer: "HTTP/1.1 200 OK\r\nConnection: X-Hop, keep-alive\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\nProxy-Connection: x\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n",
			wantHeader: map[string]string{"Keep-Alive": "", "X-Hop": "", "Proxy-Connection": "", "Upgrade": ""}},
		{name: "204", answer: "HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n", status: 204, wantHeader: map[string]string{"X-A": "b", "Content-Length": ""}},
		{name: "204 with a length", answer: "HTTP/1.1 204 No Content\r\nX-A: b\r\nContent-Length: 5\r\n\r\nhello", status: 204, wantHeader: map[string]string{"X-A": "b", "Content-Length": ""}},
		{name: "304", answer: "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", status: 304, wantHeader: map[string]string{"Etag": `"x"`}},
		{name: "a redirect is the client's to follow", answer: "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", status: 302, wantHeader: map[string]string{"Location": "/x"}},
		{name: "an error is the origin's to tell", answer: "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops", status: 500, want: "oops"},
		{name: "a status of one's own", answer: "HTTP/1.1 599 Own\r\nContent-Length: 0\r\n\r\n", status: 599},
		{name: "trailers of an answer", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n" + chunked("hello", "X-Sum: 42\r\n"),
			header: header("Te", "trailers"), want: "hello", wantTrailer: header("X-Sum", "42"), seen: map[string]string{"Te": "trailers"}},
		{name: "trailers that were not announced", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked("hello", "X-Sum: 42\r\n"),
			want: "hello", wantTrailer: header("X-Sum", "42")},
		{name: "other transfer codings are not asked for", header: header("Te", "gzip, trailers"), want: "ok", seen: map[string]string{"Te": "trailers"}},
		{name: "103", answer: "HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n" + okAnswer, want: "ok",
			wantInfo: []string{"103 Link: </x>; rel=preload"}, wantHeader: map[string]string{"Link": ""}},
		{name: "103, twice", answer: "HTTP/1.1 103 Early Hints\r\nLink: 1\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: 2\r\n\r\n" + okAnswer, want: "ok",
			wantInfo: []string{"103 Link: 1", "103 Link: 2"}},
		{name: "Expect", method: "POST", body: "hello", header: header("Expect", "100-continue"), want: "ok",
			wantInfo: []string{"100"}, seen: map[string]string{"Expect": ""}},
		{name: "Expect, refused", method: "POST", host: "none.test", body: "hello", header: header("Expect", "100-continue"),
			status: 404, want: "*", silent: true, wantInfo: []string{}},

		// Targets go on byte for byte.
		{name: "query: empty", target: "/q?", want: "ok"},
		{name: "query: junk", target: "/?a;b&&c=%zz", want: "ok"},
		{name: "query: a second mark", target: "/?a?b=/../c", want: "ok"},
		{name: "query: 10 001 parameters", target: "/?" + strings.Repeat("a&", 10_000) + "a", want: "ok"},
		{name: "query: encoded", target: "/?%2e%2f=%00&b=%C3%A9", want: "ok"},
		{name: "path: encoded slash", target: "/a%2Fb", want: "ok"},
		{name: "path: bar", target: "/a|b", want: "ok"},
		{name: "path: bar and query", target: "/a|b?c|d", want: "ok"},
		{name: "path: two slashes", target: "//x", want: "ok"},
		{name: "path: two slashes and a host", target: "//evil.test/x?y", want: "ok"},
		{name: "path: two slashes within", target: "/x//y/", want: "ok"},
		{name: "path: encoded", target: "/caf%C3%A9", want: "ok"},
		{name: "path: encoded without need", target: "/%7e/%41", want: "ok"},
		{name: "path: dot segments", target: "/a/../b/./c", want: "ok"},
		{name: "path: encoded dot segments", target: "/a/%2e%2E/b", want: "ok"},
		{name: "path: encoded twice", target: "/%252e%252e/a", want: "ok"},
		{name: "path: parameters", target: "/a;b=c/..;/d", want: "ok"},
		{name: "path: backslash", target: `/a\..\b`, want: "ok"},
		{name: "path: brackets", target: "/a[b]{c}^`\"<>", want: "ok"},
		{name: "path: long", target: "/" + strings.Repeat("x", 8000), want: "ok"},
		{name: "path: above the root", target: "/a/../..", status: 400, want: "*", silent: true},
		{name: "path: above the root, encoded", target: "/%2e%2e/a", status: 400, want: "*", silent: true},
		{name: "path: NUL", target: "/a%00b", status: 400, want: "*", silent: true},
		{name: "path: a fragment", target: "/a#b", status: 400, want: "*", silent: true},

		// The Host goes on as it came.
		{name: "host: case and port", host: "A.Test:8443", want: "ok"},
		{name: "host: absolute", host: "a.test.", want: "ok"},
		{name: "host: nobody's", host: "none.test", status: 404, want: "{\"error_msg\":\"404 Route Not Found\"}\n", silent: true,
			wantHeader: map[string]string{"Content-Type": "application/json", "X-Content-Type-Options": "nosniff", "Vary": "Accept", "Server": ""}},
		{name: "host: nobody's, asked for by a browser", host: "none.test", header: header("Accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
			status: 404, want: "404 Route Not Found\n", silent: true, wantHeader: map[string]string{"Content-Type": "text/plain; charset=utf-8"}},
		{name: "host: nobody's, two fields Accept", host: "none.test", header: header("Accept", "application/json;q=0.1", "Accept", "text/plain"),
			status: 404, want: "404 Route Not Found\n", silent: true},
		{name: "host: a list", host: "a.test,b.test", status: 400, want: "*", silent: true},
		{name: "host: two ports", host: "a.test:1:2", status: 400, want: "*", silent: true},
		{name: "host: a bad port", host: "a.test:x", status: 400, want: "*", silent: true},

		// What concerns one connection does not go on.
		{name: "proxy fields", header: header("Proxy-Authorization", spoof, "Proxy-Authenticate", spoof, "Proxy", spoof), want: "ok"},

		// Who has no route, or no node.
		{name: "404 on HEAD", method: "HEAD", host: "none.test", status: 404, silent: true},
		{name: "405", method: "CONNECT", status: 405, want: "*", silent: true, wantHeader: map[string]string{"Allow": "GET, HEAD, POST, PUT, DELETE, OPTIONS, TRACE, PATCH"}},
		{name: "502: refused", target: "/refused/", status: 502, want: "{\"error_msg\":\"the upstream could not be reached\"}\n", silent: true},
		{name: "502: refused, with a body", method: "POST", target: "/refused/", body: strings.Repeat("x", mebibyte), status: 502, want: "*", silent: true},
		{name: "502: not HTTP", answer: "SSH-2.0-OpenSSH_9.6\r\n\r\n", status: 502, want: "*"},
		{name: "502: no answer", answer: "\x00close", status: 502, want: "*"},
		{name: "502: dangling", target: "/dangling/", status: 502, want: "{\"error_msg\":\"the upstream of the route does not exist\"}\n", silent: true},
		{name: "503", target: "/nonode/", status: 503, want: "{\"error_msg\":\"the upstream has no node\"}\n", silent: true},
		{name: "504", target: "/slow/", answer: "\x00silence", status: 504, want: "{\"error_msg\":\"the upstream did not answer in time\"}\n"},

		// Routes.
		{name: "route: host first", host: "b.test", target: "/x", want: "b.test"},
		{name: "route: wildcard", host: "x.y.b.test", target: "/x", want: "*.b.test"},
		{name: "route: exact path", target: "/which", want: "exact"},
		{name: "route: longest prefix", target: "/which/one/", want: "longest"},
		{name: "route: shorter prefix", target: "/which/other", want: "shorter"},
		{name: "route: priority", target: "/priority", want: "high"},
		{name: "route: by method", target: "/method", method: "PUT", want: "put"},
		{name: "route: by normalised path", target: "/x/..//%77hich", want: "exact"},
		{name: "route: not by another's method", target: "/method", method: "DELETE", want: "ok"},

		// From whom.
		{name: "forwarding: said anew", want: "ok", header: header("X-Forwarded-For", "192.0.2.1"), seen: map[string]string{
			"X-Forwarded-For": "127.0.0.1", "X-Real-Ip": "127.0.0.1", "X-Forwarded-Host": "a.test",
		}},
		{name: "forwarding: trusted", want: "ok", trusted: true, header: header(
			"X-Forwarded-For", "198.51.100.9, 192.0.2.7", "X-Forwarded-For", "127.0.0.9", "X-Forwarded-Proto", "gopher", "X-Forwarded-Host", "front.test", "X-Forwarded-Port", "8",
			"Forwarded", "for=192.0.2.7", "X-Forwarded-Prefix", "/p", "X-Real-Ip", spoof),
			seen: map[string]string{
				"X-Forwarded-For": "198.51.100.9, 192.0.2.7, 127.0.0.9, 127.0.0.1", "X-Real-Ip": "192.0.2.7",
				"X-Forwarded-Proto": "gopher", "X-Forwarded-Host": "front.test", "X-Forwarded-Port": "8", "Forwarded": "for=192.0.2.7", "X-Forwarded-Prefix": "/p",
			}},
		{name: "forwarding: trusted, and the client wants it gone", want: "ok", trusted: true, header: header(
			"Connection", "x-forwarded-proto, X-Forwarded-Host,forwarded , x-forwarded-port, x-forwarded-for, x-forwarded-user, x-real-ip, x-hop", "X-Hop", spoof,
			"X-Forwarded-For", "192.0.2.7", "X-Forwarded-Proto", "gopher", "X-Forwarded-Host", "front.test", "X-Forwarded-Port", "8", "Forwarded", "for=192.0.2.7", "X-Forwarded-User", "u"),
			seen: map[string]string{
				"X-Forwarded-For": "192.0.2.7, 127.0.0.1", "X-Real-Ip": "192.0.2.7", "X-Forwarded-Proto": "gopher", "X-Forwarded-Host": "front.test",
				"X-Forwarded-Port": "8", "Forwarded": "for=192.0.2.7", "X-Forwarded-User": "u", "X-Hop": "",
			}},
		{name: "forwarding: trusted, and of a WebSocket", want: "ok", trusted: true, header: header("X-Forwarded-Proto", "wss"), seen: map[string]string{"X-Forwarded-Proto": "wss"}},
		{name: "forwarding: trusted, and silent", want: "ok", trusted: true, seen: map[string]string{
			"X-Forwarded-For": "127.0.0.1", "X-Real-Ip": "127.0.0.1", "X-Forwarded-Host": "a.test", "Forwarded": "",
		}},
		{name: "forwarding: trusted, and empty", want: "ok", trusted: true, header: header("X-Forwarded-For", "", "X-Forwarded-Proto", "", "X-Forwarded-Host", "", "X-Forwarded-Port", ""), seen: map[string]string{
			"X-Forwarded-For": "127.0.0.1", "X-Real-Ip": "127.0.0.1", "X-Forwarded-Host": "a.test",
		}},
		{name: "forwarding: all hops trusted", want: "ok", trusted: true, header: header("X-Forwarded-For", "127.0.0.3,127.0.0.2"), seen: map[string]string{
			"X-Forwarded-For": "127.0.0.3,127.0.0.2, 127.0.0.1", "X-Real-Ip": "127.0.0.3",
		}},
		{name: "forwarding: nobody vouches for what is left of nonsense", want: "ok", trusted: true,
			header: header("X-Forwarded-For", "192.0.2.1, unknown, 127.0.0.2"), seen: map[string]string{"X-Real-Ip": "127.0.0.2"}},
		{name: "forwarding: a zone is nonsense", want: "ok", trusted: true,
			header: header("X-Forwarded-For", "fe80::1%\"><"), seen: map[string]string{"X-Real-Ip": "127.0.0.1"}},
		{name: "forwarding: an IPv4 address in IPv6 is trusted the same", want: "ok", trusted: true,
			header: header("X-Forwarded-For", "192.0.2.1, ::ffff:127.0.0.2"), seen: map[string]string{"X-Real-Ip": "192.0.2.1"}},
	}
	// What a route changes.
	list = append(list,
		requestCase{name: "edits: what is in the body", method: "POST", target: "/edited/x", header: header("Content-Type", "application/x-www-form-urlencoded"),
			body: "a=1&v=2", want: "ok", seen: map[string]string{"X-Form": "v=2", "X-Forwarded-Port": "", "X-Real-Ip": "replaced"}},
		requestCase{name: "edits", target: "/edited/x?v=1", want: "ok", header: header("X-Set", spoof, "x-set", spoof, "X_Set", spoof, "X-Added", "0", "X.Debug", spoof, "X_Debug", spoof, "X-Who", spoof), seen: map[string]string{
			"X-Set": "gate", "X-Vars": "GET a.test x 1 <127.0.0.1>", "X-Who": "[]", "X-Added": "0|1|2", "X-Real-Ip": "replaced", "X-Forwarded-Port": "",
		}},
		requestCase{name: "edits: no line ends", target: "/edited/a%0Db%0a?v=%0d%0aX-Evil:%20evil%0d%0a", want: "ok", seen: map[string]string{
			"X-Evil": "", "X-Vars": "GET a.test a b    X-Evil: evil   <127.0.0.1>", "X-Forwarded-Port": "", "X-Real-Ip": "replaced",
		}},
		requestCase{name: "edits: named by Connection", target: "/edited/x", want: "ok", header: header("Connection", "x-set, x-added, x-real-ip"), seen: map[string]string{
			"X-Set": "gate", "X-Added": "1|2", "X-Real-Ip": "replaced", "X-Forwarded-Port": "",
		}})
	for _, name := range []string{"connection", "Connection", "CONNECTION"} {
		// Only HTTP/1.1 has it, but what it does must not depend on the spelling.
		list = append(list, requestCase{name: "hop-by-hop by " + name, header: header(name, "x-hop, X-REAL-IP,x-forwarded-for , X-Client-Verify", "X-Hop", spoof),
			want: "ok", seen: map[string]string{"X-Hop": "", "X-Real-Ip": "127.0.0.1", "X-Forwarded-For": "127.0.0.1"}})
	}
	for _, name := range slices.Concat(identities, forwardings) {
		for _, spelling := range spellings(name) {
			list = append(list, requestCase{name: "spoof: " + spelling, header: header(spelling, spoof, spelling, spoof), want: "ok"})
		}
	}
	for _, name := range identities {
		// No proxy is trusted to say these.
		list = append(list,
			requestCase{name: "spoof of a trusted peer: " + name, trusted: true, header: header(name, spoof), want: "ok"},
			requestCase{name: "spoof as a trailer: " + name, method: "POST", body: "x", chunked: true, trailer: header(name, spoof), want: "ok"})
	}
	for _, name := range forwardings {
		for _, spelling := range []string{strings.ReplaceAll(name, "-", "_"), strings.ReplaceAll(name, "-", ".")} {
			if spelling != name {
				list = append(list, requestCase{name: "forwarding: trusted in its own spelling alone: " + spelling, trusted: true, header: header(spelling, spoof), want: "ok"})
			}
		}
	}
	return list
}

// carries reports whether a door's protocol, or the client that the tests use for
// it, can carry a case at all.
func (c *requestCase) carries(d door) bool {
	for name := range c.header {
		if d.major == 2 && (strings.EqualFold(name, "connection") || name == "Te" && c.header.Get(name) != "trailers") {
			return false // malformed (RFC 9113, section 8.2.2)
		}
	}
	return true
}

// doorsHarness has the routes that the cases are about.
func doorsHarness(t *testing.T, o *gateway.Options) *harness {
	h := newHarness(t, o)
	said := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, text) })
	}
	handlerRoute := func(id, path, text string, hosts ...string) route.Config {
		return route.Config{ID: id, Hosts: hosts, Paths: []string{path}, Handler: said(text)}
	}
	high := handlerRoute("high", "/priority", "high", "a.test")
	high.Priority = 1
	put := handlerRoute("put", "/method", "put", "a.test")
	put.Methods = []string{"PUT", "POST"}
	main := everything("main", "origin")
	main.Hosts = []string{"a.test"}
	to := func(id, path, upstream string) route.Config {
		return route.Config{ID: id, Hosts: []string{"a.test"}, Paths: []string{path}, Upstream: upstream}
	}
	slow := to("slow", "/slow/*", "origin")
	slow.Timeout = route.Timeout{Read: 20 * time.Millisecond} // the rest is the upstream's
	edited := to("edited", "/edited/*name", "origin")
	edited.Headers = route.HeaderEdits{
		Set: []route.HeaderField{
			{Name: "X-Set", Value: "gate"}, {Name: "X-Vars", Value: "$request_method ${host} $uri_param_name $arg_v <$http_x_real_ip>"},
			{Name: "X-Who", Value: "[$ssl_client_s_dn]"}, {Name: "X-Form", Value: "v=$post_arg_v"}, {Name: "X-Real-Ip", Value: "replaced"},
		},
		Add:    []route.HeaderField{{Name: "X-Added", Value: "1"}, {Name: "X-Added", Value: "2"}},
		Remove: []string{"X-Debug", "X-Forwarded-Port"},
	}
	_, err := h.gw.Apply(gateway.Change{AllowDangling: true, Put: gateway.Config{
		Profiles:  []ssl.Config{h.profile("a", []string{"a.test"})},
		Upstreams: []upstream.Config{upstreamTo("origin", h.origin.address), upstreamTo("refused", refusing(t)), upstreamTo("nonode")},
		Routes: []route.Config{
			main, slow, to("refused", "/refused/*", "refused"), to("nonode", "/nonode/*", "nonode"), to("dangling", "/dangling/*", "nobody"),
			handlerRoute("b", "/*", "b.test", "b.test"), handlerRoute("*b", "/*", "*.b.test", "*.b.test"),
			handlerRoute("exact", "/which", "exact", "a.test"), handlerRoute("longest", "/which/one/*", "longest", "a.test"),
			handlerRoute("shorter", "/which/*", "shorter", "a.test"),
			handlerRoute("low", "/priority", "low", "a.test"), high, put, edited,
		},
	}})
	require.NoError(t, err)
	return h
}

// An outcome is what became of a request, without what doors may differ in.
type outcome struct {
	Status  int
	Body    string
	Header  []string
	Trailer []string
	Info    []string
	Origin  *seen // nil if it saw nothing
}

type seen struct {
	Line    string
	Header  []string
	Body    string
	Trailer []string
}

func TestDoors(t *testing.T) {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	strict := []*harness{doorsHarness(t, nil), doorsHarness(t, &gateway.Options{NetHTTP2: true})}
	trusting := []*harness{
		doorsHarness(t, &gateway.Options{TrustedProxies: loopback}),
		doorsHarness(t, &gateway.Options{TrustedProxies: loopback, NetHTTP2: true}),
	}
	clients := map[*harness]map[string]*http.Client{}
	for _, h := range slices.Concat(strict, trusting) {
		clients[h] = map[string]*http.Client{}
		for _, d := range h.doors() {
			clients[h][d.name] = h.client(d, "a.test")
		}
	}
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			both := strict
			if c.trusted {
				both = trusting
			}
			var first *outcome
			var firstDoor string
			for i, h := range both {
				for _, d := range h.doors() {
					if !c.carries(d) || i > 0 && !strings.HasSuffix(d.name, byNetHTTP) {
						continue
					}
					got := c.run(t, h, d, clients[h][d.name])
					if first == nil {
						first, firstDoor = got, d.name
						continue
					}
					require.Equal(t, first, got, "%s and %s", firstDoor, d.name)
				}
			}
		})
	}
}

// run sends the case through a door and checks what becomes of it.
func (c *requestCase) run(t *testing.T, h *harness, d door, client *http.Client) *outcome {
	t.Helper()
	h.origin.take()
	h.origin.on(func(v *visit) {
		if !v.readBody() {
			return
		}
		switch {
		case c.answer == "\x00close":
			v.close = true
		case c.answer == "\x00silence":
			_, _ = v.r.ReadByte() // until the gateway gives up
			v.close = true
		case c.answer == "":
			v.write(okAnswer)
		default:
			v.write(c.answer)
			v.close = strings.Contains(c.answer, "Connection: close") || !strings.HasPrefix(c.answer, "HTTP/")
		}
	})

	got := &outcome{}
	req := c.request(t, d, got)
	res, err := client.Do(req)
	require.NoError(t, err, d.name)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err, d.name)
	got.Status, got.Body = res.StatusCode, string(body)

	for _, name := range []string{"Date", "Connection", "Transfer-Encoding", "Trailer"} {
		if name != "Date" || c.wantHeader["Date"] == "" {
			require.NotContains(t, c.wantHeader, name)
		}
	}
	lines := slices.DeleteFunc(linesOf(res.Header), func(line string) bool {
		name, _, _ := strings.Cut(line, ":")
		// A length is that of the origin. For the answers of the gateway's own
		// and of handlers, some doors count and some do not.
		return slices.Contains([]string{"Date", "Connection", "Transfer-Encoding", "Trailer"}, name) ||
			name == "Content-Length" && c.wantHeader["Content-Length"] == ""
	})
	got.Header, got.Trailer = sorted(lines), sorted(linesOf(res.Trailer))

	status := c.status
	if status == 0 {
		status = 200
	}
	require.Equal(t, status, got.Status, "%s: %s", d.name, body)
	if c.want != "*" {
		require.Equal(t, c.want, got.Body, d.name)
	}
	for name, want := range c.wantHeader {
		values := res.Header[textproto.CanonicalMIMEHeaderKey(name)]
		if name == "Content-Length" && want == "" && c.answer == "" {
			continue
		}
		require.Equal(t, want, strings.Join(values, "|"), "%s: %s", d.name, name)
	}
	if c.wantInfo != nil {
		require.Equal(t, c.wantInfo, append([]string{}, got.Info...), d.name)
	}
	require.Equal(t, sorted(linesOf(c.wantTrailer)), got.Trailer, d.name)

	all := h.origin.take()
	if c.silent {
		require.Empty(t, all, "%s: the origin was asked", d.name)
		return got
	}
	if len(all) == 0 && c.want != "ok" {
		return got // a handler's
	}
	require.Len(t, all, 1, d.name)
	got.Origin = c.checkOrigin(t, d, all[0])
	return got
}

func (c *requestCase) request(t *testing.T, d door, got *outcome) *http.Request {
	t.Helper()
	method, target, host := c.method, c.target, c.host
	if method == "" {
		method = "GET"
	}
	if target == "" {
		target = "/"
	}
	if host == "" {
		host = "a.test"
	}
	var info sync.Mutex
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got100Continue: func() {
			info.Lock()
			defer info.Unlock()
			got.Info = append(got.Info, "100")
		},
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			info.Lock()
			defer info.Unlock()
			if code != 100 {
				got.Info = append(got.Info, strings.Join(append([]string{fmt.Sprint(code)}, linesOf(http.Header(header))...), " "))
			}
			return nil
		},
	})
	req, err := http.NewRequestWithContext(ctx, method, d.scheme()+"://a.test/", nil)
	require.NoError(t, err)
	req.URL = rawURL(d.scheme(), "a.test", target)
	req.Host = host
	req.Header = maps.Clone(c.header)
	if req.Header == nil {
		req.Header = http.Header{}
	}
	if req.Header["User-Agent"] == nil {
		req.Header["User-Agent"] = []string{""}
	}
	if c.body != "" {
		req.Body = io.NopCloser(strings.NewReader(c.body))
		req.ContentLength = int64(len(c.body))
		if c.chunked {
			req.ContentLength = -1
		}
	}
	req.Trailer = c.trailer.Clone()
	if method == "CONNECT" {
		req.URL.Opaque = ""
	}
	return req
}

// checkOrigin checks what the origin got, and returns it without what doors must
// differ in: what they say of themselves.
func (c *requestCase) checkOrigin(t *testing.T, d door, r *received) *seen {
	t.Helper()
	method, target, host := c.method, c.target, c.host
	if method == "" {
		method = "GET"
	}
	if target == "" {
		target = "/"
	}
	if host == "" {
		host = "a.test"
	}
	require.Equal(t, method+" "+target+" HTTP/1.1", r.line, d.name)
	require.Equal(t, []string{host}, r.values("Host"), d.name)
	require.Equal(t, c.body, string(r.body), d.name)
	require.Empty(t, r.saying(spoof), d.name)
	for _, name := range identities {
		require.Empty(t, r.saying(name), d.name)
	}
	for name, want := range c.seen {
		require.Equal(t, want, strings.Join(r.values(name), "|"), "%s: %s", d.name, name)
	}
	for name, own := range map[string]string{"X-Forwarded-Proto": d.scheme(), "X-Forwarded-Port": d.port()} {
		if _, said := c.seen[name]; !said {
			require.Equal(t, []string{own}, r.values(name), d.name)
		}
	}
	require.Empty(t, r.trailer)
	header := slices.DeleteFunc(slices.Clone(r.header), func(line string) bool {
		name, _, _ := strings.Cut(line, ":")
		return strings.EqualFold(name, "X-Forwarded-Proto") || strings.EqualFold(name, "X-Forwarded-Port")
	})
	return &seen{r.line, sorted(header), string(r.body), sorted(r.trailer)}
}

// What an origin sends is on its way to the client before more comes.
func TestAnswersStream(t *testing.T) {
	h := doorsHarness(t, nil)
	for _, d := range h.doors() {
		t.Run(d.name, func(t *testing.T) {
			next := make(chan struct{})
			h.origin.on(func(v *visit) {
				v.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
				for range 3 {
					<-next
					v.write("5\r\npiece\r\n")
				}
				<-next
				v.write("0\r\n\r\n")
			})
			res, err := h.client(d, "a.test").Get(d.scheme() + "://a.test/")
			require.NoError(t, err) // the head alone
			defer res.Body.Close()
			piece := make([]byte, 5)
			for range 3 {
				next <- struct{}{}
				_, err := io.ReadFull(res.Body, piece)
				require.NoError(t, err)
				require.Equal(t, "piece", string(piece))
			}
			next <- struct{}{}
			_, err = res.Body.Read(piece)
			require.Equal(t, io.EOF, err)
		})
	}
}

// An origin may answer while the request still comes: nothing of the request is
// lost, and nothing of the answer waits for it.
func TestAnswersBeforeTheEndOfTheRequest(t *testing.T) {
	h := doorsHarness(t, nil)
	for _, d := range h.doors() {
		t.Run(d.name, func(t *testing.T) {
			h.origin.on(func(v *visit) { // an echo
				v.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
				for {
					piece, err := v.readChunk()
					if err != nil {
						v.close = true
						return
					}
					if piece == nil {
						v.write("0\r\n\r\n")
						return
					}
					v.write(fmt.Sprintf("%x\r\n%s\r\n", len(piece), piece))
				}
			})
			client := h.client(d, "a.test")
			body, feed := io.Pipe()
			req, err := http.NewRequestWithContext(t.Context(), "POST", d.scheme()+"://a.test/", body)
			require.NoError(t, err)
			go func() { _, _ = io.WriteString(feed, "first") }()
			res, err := client.Do(req)
			require.NoError(t, err)
			defer res.Body.Close()
			piece := make([]byte, 5)
			_, err = io.ReadFull(res.Body, piece)
			require.NoError(t, err)
			require.Equal(t, "first", string(piece))
			for range 10 {
				_, err = io.WriteString(feed, "again")
				require.NoError(t, err)
				_, err = io.ReadFull(res.Body, piece)
				require.NoError(t, err)
				require.Equal(t, "again", string(piece))
			}
			feed.Close()
			rest, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			require.Empty(t, rest)
		})
	}
}

// A client that goes away ends its request at the origin.
func TestClientGoesAway(t *testing.T) {
	h := doorsHarness(t, nil)
	for _, d := range h.doors() {
		t.Run(d.name, func(t *testing.T) {
			begun, ended := make(chan struct{}), make(chan struct{})
			h.origin.on(func(v *visit) {
				close(begun)
				_, _ = v.r.ReadByte()
				v.close = true
				close(ended)
			})
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-begun
				cancel()
			}()
			req, err := http.NewRequestWithContext(ctx, "GET", d.scheme()+"://a.test/", nil)
			require.NoError(t, err)
			_, err = h.client(d, "a.test").Do(req)
			require.ErrorIs(t, err, context.Canceled)
			<-ended
		})
	}
}

// An answer that breaks off at the origin breaks off at the client: it must not
// look whole.
func TestAnswerBreaksOff(t *testing.T) {
	h := doorsHarness(t, nil)
	for _, d := range h.doors() {
		for _, answer := range []string{
			"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf \r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf \r\nxyz\r\n",
		} {
			for _, reset := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s reset=%t", d.name, reset), func(t *testing.T) {
					h.origin.on(func(v *visit) {
						v.write(answer)
						if tcp, ok := v.conn.(*net.TCPConn); ok && reset {
							_ = tcp.SetLinger(0) // as when its process is killed with something to read
						}
						v.close = true
					})
					res, err := h.client(d, "a.test").Get(d.scheme() + "://a.test/")
					if err == nil {
						_, err = io.ReadAll(res.Body)
						res.Body.Close()
					}
					require.Error(t, err)
				})
			}
		}
	}
}

// A route to a handler: it sees who the client is, and nothing that the client
// says of itself that is not so.
func TestHandlerRoute(t *testing.T) {
	type request struct {
		header, trailer http.Header
		identity        string
		remote          string
	}
	var mu sync.Mutex
	var last request
	tell := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		last = request{header: r.Header.Clone(), trailer: r.Trailer.Clone(), remote: r.RemoteAddr}
		if identity := ssl.FromContext(r.Context()); identity != nil {
			last.identity = identity.Subject()
		}
		_, _ = w.Write(body)
	})
	for _, trusted := range []bool{false, true} {
		o := &gateway.Options{}
		if trusted {
			o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
		}
		h := newHarness(t, o)
		h.apply(gateway.Config{
			Profiles: []ssl.Config{h.profile("pub", []string{"pub.test"}), h.profile("mtls", []string{"mtls.test"}, h.people)},
			Routes:   []route.Config{{ID: "1", Hosts: []string{"pub.test", "mtls.test"}, Paths: []string{"/*"}, Handler: tell}},
		})
		alice := h.people.Client("alice")
		for _, d := range h.doors() {
			for _, host := range []string{"pub.test", "mtls.test"} {
				if !d.tls && host == "mtls.test" {
					continue
				}
				t.Run(fmt.Sprint(d.name, " ", host, " trusted=", trusted), func(t *testing.T) {
					client := h.client(d, host, alice)
					header := http.Header{"X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Proto": {"gopher"}, "X-Own": {"x"}}
					for _, name := range identities {
						for _, spelling := range spellings(name) {
							header[spelling] = []string{spoof}
						}
					}
					req, err := http.NewRequestWithContext(t.Context(), "POST", d.scheme()+"://"+host+"/", io.NopCloser(strings.NewReader("hello")))
					require.NoError(t, err)
					req.Header = header
					req.Trailer = http.Header{"X-Client-Verify": {spoof}, "X_ssl_client_verify": {spoof}, "X-Sum": {"42"}}
					status, body := h.do(client, req)
					require.Equal(t, 200, status, body)
					require.Equal(t, "hello", body)

					mu.Lock()
					defer mu.Unlock()
					want := ""
					if host == "mtls.test" {
						want = "CN=alice"
					}
					require.Equal(t, want, last.identity)
					for name, values := range last.header {
						require.NotContains(t, values, spoof, name)
					}
					require.Equal(t, http.Header{"X-Sum": {"42"}}, last.trailer)
					require.Equal(t, "x", last.header.Get("X-Own"))
					from, proto, hops := "127.0.0.1", d.scheme(), "127.0.0.1"
					if trusted {
						from, proto, hops = "192.0.2.1", "gopher", "192.0.2.1, 127.0.0.1"
					}
					require.Equal(t, from, last.header.Get("X-Real-Ip"))
					require.Equal(t, proto, last.header.Get("X-Forwarded-Proto"))
					require.Equal(t, hops, last.header.Get("X-Forwarded-For"))
					host, _, err := net.SplitHostPort(last.remote)
					require.NoError(t, err)
					require.Equal(t, "127.0.0.1", host)
				})
			}
		}
	}
}
