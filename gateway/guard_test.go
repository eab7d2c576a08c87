package gateway_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
	"github.com/sallyport/sallyport/upstream"
)

// A guarded is a gateway with names of every kind.
type guarded struct {
	*harness
	strangers *ssltest.CA // signs clients that nobody wants, but other.test

	alice, mallory, late tls.Certificate
}

func newGuarded(t *testing.T, o *gateway.Options) *guarded {
	h := newHarness(t, o)
	g := &guarded{harness: h, strangers: ssltest.NewCA(t, "strangers")}
	g.alice, g.mallory, g.late = h.people.Client("alice"), g.strangers.Client("mallory"), h.people.Client("late", ssltest.Expired)
	skip := h.profile("skip", []string{"skip.test"}, h.people)
	skip.Client.SkipPaths = []string{"^/open/", `\.css$`}
	to := func(id, path string, hosts ...string) route.Config {
		r := everything(id, "1")
		r.Paths, r.Hosts = []string{path}, hosts
		return r
	}
	allowed := to("allowed", "/allowed", "mtls.test")
	allowed.AllowPlain = true
	allowedNoHost := to("allowed nohost", "/allowed-nohost")
	allowedNoHost.AllowPlain = true
	h.apply(gateway.Config{
		Profiles: []ssl.Config{
			h.profile("pub", []string{"pub.test"}),
			h.profile("pub2", []string{"pub2.test"}),
			h.profile("mtls", []string{"mtls.test", "also.mtls.test"}, h.people),
			h.profile("other", []string{"other.test"}, g.strangers),
			h.profile("wild", []string{"*.wild.test"}, h.people),
			h.profile("two", []string{"mtls.two.test", "*.wild.two.test"}, h.people),
			h.profile("open two", []string{"www.two.test"}),
			skip,
		},
		Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)},
		Routes: []route.Config{
			to("hosts", "/*", "pub.test", "pub2.test", "mtls.test", "*.mtls.test", "other.test", "*.wild.test", "skip.test", "plain.test"),
			to("two", "/two", "*.two.test", "open.two.test:80", "*two.test"), to("tld", "/tld", "*st"),
			to("short", "/short", "*.test"), to("odd", "/odd", "*odd.example"),
			to("nohost", "/nohost"), to("star", "/star", "*"), to("well-known", "/.well-known/*"), allowed, allowedNoHost,
		},
	})
	return g
}

// ask sends a GET through a door.
func (g *guarded) ask(d door, client *http.Client, host, target string) (*http.Response, error) {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), "GET", d.scheme()+"://pub.test/", nil)
	require.NoError(g.t, err)
	req.URL, req.Host = rawURL(d.scheme(), "pub.test", target), host
	res, err := client.Do(req)
	if err == nil {
		_, _ = io.Copy(io.Discard, res.Body) // or the connection is not used again
		res.Body.Close()
	}
	return res, err
}

func TestGuard(t *testing.T) {
	g := newGuarded(t, nil)
	certs := map[string][]tls.Certificate{"": nil, "alice": {g.alice}, "mallory": {g.mallory}, "late": {g.late}}
	type guardCase struct {
		serverName, cert, host, target string
		status                         int // 0: no connection
	}
	cases := []guardCase{
		{"pub.test", "", "pub.test", "/", 200},
		{"pub.test", "alice", "pub.test", "/", 200},
		{"pub.test", "", "pub2.test", "/", 200},
		{"pub.test", "", "nobody.test", "/", 404},
		{"pub.test", "", "nobody.test", "/nohost", 200},
		{"pub.test", "", "mtls.test", "/", 421},
		{"pub.test", "alice", "mtls.test", "/", 421},
		{"pub.test", "", "mtls.test", "/nohost", 421},
		{"pub.test", "", "mtls.test", "/allowed", 421}, // what is allowed is plain HTTP
		{"pub.test", "", "mtls.test", "/.well-known/acme-challenge/x", 421},
		{"pub.test", "", "MTLS.Test", "/", 421},
		{"pub.test", "", "mtls.test.", "/", 421},
		{"pub.test", "", "mtls.test:443", "/", 421},
		{"pub.test", "", "mtls.test:", "/", 421},
		{"pub.test", "", "a.wild.test", "/", 421},
		{"pub.test", "", "x.y.wild.test", "/", 421},
		{"pub.test", "", "wild.test", "/", 404},
		{"pub.test", "", "skip.test", "/open/x", 421},
		{"PUB.TEST", "", "pub.test", "/", 200},

		{"mtls.test", "", "mtls.test", "/", 0},
		{"mtls.test", "mallory", "mtls.test", "/", 0},
		{"mtls.test", "late", "mtls.test", "/", 0},
		{"mtls.test", "alice", "mtls.test", "/", 200},
		{"mtls.test", "alice", "mtls.test", "/nohost", 200},
		{"mtls.test", "alice", "Mtls.test.:8443", "/", 200},
		{"mtls.test", "alice", "also.mtls.test", "/", 200}, // one policy
		{"mtls.test", "alice", "x.mtls.test", "/", 421},    // nobody's
		{"mtls.test", "alice", "pub.test", "/", 421},
		{"mtls.test", "alice", "nobody.test", "/nohost", 421},
		{"mtls.test", "alice", "other.test", "/", 421},
		{"mtls.test", "alice", "a.wild.test", "/", 421}, // the same roots are not the same policy
		{"other.test", "mallory", "other.test", "/", 200},
		{"other.test", "mallory", "mtls.test", "/", 421},
		{"nobody.test", "alice", "mtls.test", "/", 0},
		{"", "alice", "mtls.test", "/", 0},

		{"a.wild.test", "alice", "a.wild.test", "/", 200},
		{"a.wild.test", "alice", "b.wild.test", "/", 200},
		{"a.wild.test", "alice", "x.y.wild.test", "/", 421},
		{"a.wild.test", "alice", "*.wild.test", "/", 400},
		{"x.y.wild.test", "alice", "x.y.wild.test", "/", 0},

		{"skip.test", "", "skip.test", "/open/x", 200},
		{"skip.test", "mallory", "skip.test", "/open/x", 200},
		{"skip.test", "late", "skip.test", "/open/x", 200},
		{"skip.test", "alice", "skip.test", "/open/x", 200},
		{"skip.test", "", "skip.test", "/open/x?/../secret", 200},
		{"skip.test", "", "skip.test", "/open/%41", 200},
		{"skip.test", "", "skip.test", "/secret", 400},
		{"skip.test", "mallory", "skip.test", "/secret", 400},
		{"skip.test", "late", "skip.test", "/secret", 400},
		{"skip.test", "alice", "skip.test", "/secret", 200},
		{"skip.test", "", "pub.test", "/", 421},
		{"skip.test", "", "mtls.test", "/open/x", 421},
	}
	// Paths that someone could read as one that needs no certificate, and someone
	// else as one that does.
	for _, trick := range []string{
		"/open/../secret", "/open/%2e%2e/secret", "/open/.%2E/secret", "/open/./x", "/open//x", "//open/x", "/x/../open/x",
		"/open/..;/secret", "/open;/x", "/open/x;y", "/open/%2e%2e%2fsecret", "/open%2fx", "/open/%2fx", "/open/%5c..%5csecret", `/open/..\secret`,
		"/open/%252e%252e/secret", "/open/%3bx", "/open/x%3f", "/open/%c0%af..", "/open/%0a", "/OPEN/x", "/Open/x", "/open", "/%6fpen/../secret", "/secret?/open/", "/secret?x=.css", "/secret%3f.css", "/secret;.css", "/secret/..%2f.css",
	} {
		cases = append(cases,
			guardCase{"skip.test", "", "skip.test", trick, 400},
			guardCase{"skip.test", "alice", "skip.test", trick, 200})
	}
	for _, c := range cases {
		t.Run(strings.Trim(fmt.Sprint(c), "{}"), func(t *testing.T) {
			for _, d := range g.tlsDoors() {
				g.origin.take()
				client := g.client(d, c.serverName, certs[c.cert]...)
				res, err := g.ask(d, client, c.host, c.target)
				client.CloseIdleConnections()
				if c.status == 0 {
					require.Error(t, err, d.name)
					require.Empty(t, g.origin.take())
					continue
				}
				require.NoError(t, err, d.name)
				require.Equal(t, c.status, res.StatusCode, d.name)
				seen := g.origin.take()
				if c.status != 200 {
					require.Empty(t, seen, d.name)
					// On HTTP/2 the connection goes on for other names. A Host that is no name
					// ends one with HTTP/1.1 as well.
					junk := strings.HasPrefix(c.host, "*")
					require.Equal(t, (c.status == 421 || junk) && d.major == 1, res.Close, d.name)
					continue
				}
				require.Len(t, seen, 1)
				require.Equal(t, c.target, seen[0].target(), "judged one thing, forwarded another")
				require.Equal(t, []string{c.host}, seen[0].values("Host"))
			}
		})
	}
	require.Contains(t, g.log.String(), `msg="request refused" status=421`)
}

// What an absolute request target names is the Host (RFC 9112, section 3.2.2).
func TestGuardJudgesTheTarget(t *testing.T) {
	g := newGuarded(t, nil)
	for _, c := range []struct {
		raw    string
		status map[bool]int // by whether there is TLS
	}{
		{"GET https://mtls.test/ HTTP/1.1\r\nHost: pub.test\r\n\r\n", map[bool]int{true: 421, false: 403}},
		{"GET http://MTLS.TEST./ HTTP/1.1\r\nHost: pub.test\r\n\r\n", map[bool]int{true: 421, false: 403}},
		{"GET http://mtls.test:80/ HTTP/1.0\r\n\r\n", map[bool]int{true: 421, false: 403}},
		{"GET http://pub.test/ HTTP/1.1\r\nHost: mtls.test\r\n\r\n", map[bool]int{true: 200, false: 200}},
		{"GET /nohost HTTP/1.0\r\n\r\n", map[bool]int{true: 200, false: 403}},
		{"GET /nohost HTTP/1.0\r\nHost: mtls.test\r\n\r\n", map[bool]int{true: 421, false: 403}},
	} {
		for _, d := range g.http1Doors() {
			conn := g.raw(d, "pub.test")
			conn.write(c.raw)
			res, _ := conn.answer("GET")
			require.Equal(t, c.status[d.tls], res.StatusCode, "%s %s", d.name, c.raw)
			for _, r := range g.origin.take() {
				require.NotEqual(t, []string{"mtls.test"}, r.values("Host"))
			}
		}
	}
	// A connection for a name that demands certificates serves no request without
	// a Host.
	conn := g.raw(g.http1, "mtls.test", g.alice)
	conn.write("GET /nohost HTTP/1.0\r\n\r\n")
	res, _ := conn.answer("GET")
	require.Equal(t, 421, res.StatusCode)
	conn.wantEnd()
}

func TestGuardWithoutServerName(t *testing.T) {
	g := newGuarded(t, &gateway.Options{TLS: ssl.Options{FallbackName: "pub.test"}})
	for _, d := range g.tlsDoors() {
		for host, status := range map[string]int{"pub.test": 200, "127.0.0.1": 404, "mtls.test": 421, "a.wild.test": 421} {
			res, err := g.ask(d, g.client(d, ""), host, "/")
			require.NoError(t, err)
			require.Equal(t, status, res.StatusCode, "%s %s", d.name, host)
		}
	}
}

// Two names over one connection: what one is refused, the other goes on.
func TestGuardOnSharedConnections(t *testing.T) {
	g := newGuarded(t, nil)
	for _, d := range []door{g.http2, g.handler2} {
		for _, c := range []struct {
			serverName string
			cert       []tls.Certificate
			statuses   map[string]string
		}{
			{"pub.test", nil, map[string]string{"pub.test": "200", "pub2.test": "200", "mtls.test": "421", "a.wild.test": "421"}},
			{"mtls.test", []tls.Certificate{g.alice}, map[string]string{"mtls.test": "200", "also.mtls.test": "200", "pub.test": "421", "skip.test": "421"}},
			{"a.wild.test", []tls.Certificate{g.alice}, map[string]string{"a.wild.test": "200", "b.wild.test": "200", "x.y.wild.test": "421", "mtls.test": "421"}},
		} {
			conn := g.h2(d, c.serverName, c.cert...)
			stream := uint32(1)
			for range 3 {
				for host, want := range c.statuses {
					g.origin.take()
					conn.get(stream, "https", host, "/")
					status, body := conn.status(stream)
					require.Equal(t, want, status, "%s: %s over %s: %s", d.name, host, c.serverName, body)
					if want == "200" {
						require.Equal(t, []string{host}, g.origin.take()[0].values("Host"))
					} else {
						require.Empty(t, g.origin.take())
					}
					stream += 2
				}
			}
			// Whatever scheme a request claims, it is judged by its connection.
			conn.get(stream, "http", c.serverName, "/")
			status, _ := conn.status(stream)
			require.Equal(t, "200", status)
			if c.serverName == "pub.test" {
				conn.get(stream+2, "http", "mtls.test", "/allowed")
				status, _ = conn.status(stream + 2)
				require.Equal(t, "421", status)
			}
		}
	}
}

// A policy that is replaced holds for the next request on connections that are
// open.
func TestGuardAfterAChange(t *testing.T) {
	for _, c := range []struct {
		name       string
		serverName string
		change     func(g *guarded) gateway.Change
		status     int
		gone       bool // the connection
	}{
		{"another CA", "mtls.test", func(g *guarded) gateway.Change {
			return gateway.Change{Put: gateway.Config{Profiles: []ssl.Config{g.profile("mtls", []string{"mtls.test"}, g.strangers)}}}
		}, 421, true},
		{"a CA more", "mtls.test", func(g *guarded) gateway.Change {
			return gateway.Change{Put: gateway.Config{Profiles: []ssl.Config{g.profile("mtls", []string{"mtls.test"}, g.strangers, g.people)}}}
		}, 200, false},
		{"no demand any more", "mtls.test", func(g *guarded) gateway.Change {
			return gateway.Change{Put: gateway.Config{Profiles: []ssl.Config{g.profile("mtls", []string{"mtls.test"})}}}
		}, 200, false},
		{"a demand, and there is a certificate", "skip.test", func(g *guarded) gateway.Change {
			return gateway.Change{Put: gateway.Config{Profiles: []ssl.Config{g.profile("skip", []string{"skip.test"}, g.people)}}}
		}, 200, false},
		{"a demand, and there is none", "pub.test", func(g *guarded) gateway.Change {
			return gateway.Change{Put: gateway.Config{Profiles: []ssl.Config{g.profile("pub", []string{"pub.test"}, g.people)}}}
		}, 400, false},
		{"the name goes to a profile that demands", "pub.test", func(g *guarded) gateway.Change {
			return gateway.Change{
				Put:    gateway.Config{Profiles: []ssl.Config{g.profile("new", []string{"pub.test"}, g.people)}},
				Delete: gateway.IDs{Profiles: []string{"pub"}},
			}
		}, 400, false},
		{"the profile is gone", "pub.test", func(g *guarded) gateway.Change {
			return gateway.Change{Delete: gateway.IDs{Profiles: []string{"pub"}}}
		}, 200, false},
		{"the route is gone", "pub.test", func(g *guarded) gateway.Change {
			return gateway.Change{Delete: gateway.IDs{Routes: []string{"hosts"}}}
		}, 404, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, name := range []string{"h1", "h2", "handler h1", "handler h2"} {
				g := newGuarded(t, nil)
				d := map[string]door{"h1": g.http1, "h2": g.http2, "handler h1": g.handler1, "handler h2": g.handler2}[name]
				if d.major == 1 {
					conn := g.raw(d, c.serverName, g.certFor(c.serverName)...)
					request := "GET / HTTP/1.1\r\nHost: " + c.serverName + "\r\n\r\n"
					conn.write(request)
					res, _ := conn.answer("GET")
					require.Equal(t, 200, res.StatusCode, name)
					_, err := g.gw.Apply(c.change(g))
					require.NoError(t, err)
					conn.write(request)
					res, _ = conn.answer("GET")
					require.Equal(t, c.status, res.StatusCode, name)
					if c.gone {
						conn.wantEnd()
						continue
					}
					conn.write(request)
					res, _ = conn.answer("GET")
					require.Equal(t, c.status, res.StatusCode, name)
					continue
				}
				conn := g.h2(d, c.serverName, g.certFor(c.serverName)...)
				conn.get(1, "https", c.serverName, "/")
				status, _ := conn.status(1)
				require.Equal(t, "200", status, name)
				_, err := g.gw.Apply(c.change(g))
				require.NoError(t, err)
				conn.get(3, "https", c.serverName, "/")
				status, _ = conn.status(3)
				require.Equal(t, fmt.Sprint(c.status), status, name)
				conn.get(5, "https", c.serverName, "/")
				status, _ = conn.status(5)
				if c.gone {
					require.Equal(t, "closed", status, name)
				} else {
					require.Equal(t, fmt.Sprint(c.status), status, name)
				}
			}
		})
	}
}

// certFor is what is shown to get a connection for a name.
func (g *guarded) certFor(serverName string) []tls.Certificate {
	if serverName == "pub.test" {
		return nil
	}
	return []tls.Certificate{g.alice}
}

// A certificate that expires while the connection is open is no identity any more.
func TestGuardAfterExpiry(t *testing.T) {
	var ahead atomic.Int64
	base := &tls.Config{Time: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }}
	g := newGuarded(t, &gateway.Options{TLS: ssl.Options{Base: base}})
	brief := g.people.Client("brief", ssltest.Until(time.Now().Add(time.Hour)))
	for _, d := range g.tlsDoors() {
		ahead.Store(0)
		client := g.client(d, "mtls.test", brief)
		res, err := g.ask(d, client, "mtls.test", "/")
		require.NoError(t, err)
		require.Equal(t, 200, res.StatusCode)
		ahead.Store(int64(2 * time.Hour))
		res, err = g.ask(d, client, "mtls.test", "/")
		require.NoError(t, err, d.name)
		require.Equal(t, 421, res.StatusCode, d.name)
		_, err = g.ask(d, client, "mtls.test", "/")
		require.Error(t, err, d.name)
		if d == g.http1 || d == g.http2 { // net/http's own listener does not linger for the alert
			_, err = g.raw(d, "mtls.test", brief).r.ReadByte() // nor does its client report it always
			require.ErrorContains(t, err, "expired certificate", d.name)
		}
	}
}

func TestPlainPort(t *testing.T) {
	guardedCases := map[string]int{ // host and target
		"pub.test /":                  200,
		"plain.test /":                200,
		"nobody.test /":               404,
		"mtls.test /":                 403,
		"MTLS.test.:80 /":             403,
		"mtls.test /nothing/here":     403,
		"mtls.test /allowed":          200,
		"mtls.test /allowed/":         403,
		"mtls.test //allowed":         200, // the same path
		"mtls.test /x/../allowed":     200,
		"a.wild.test /":               403,
		"x.y.wild.test /":             403,
		"skip.test /open/x":           403,
		"x.mtls.test /":               403, // *.mtls.test is for also.mtls.test too
		"x.also.mtls.test /":          403,
		"x.two.test /two":             403,
		"x.two.test:80 /two":          403,
		"www.two.test /two":           200, // over TLS it needs no certificate
		"open.two.test:80 /two":       200, // by its name
		"xtwo.test /two":              403, // by *two.test, which mtls.two.test fits
		"two.test /two":               403,
		"plain.test /tld":             200, // the host's route goes first
		"nobody.test /tld":            403,
		"nobody.test /short":          403,
		"xodd.example /odd":           200, // no name below .example demands anything
		"plain.test /nohost":          200, // the host's route goes first
		"nobody.test /nohost":         403,
		"nobody.test /star":           403,
		"nobody.test /allowed-nohost": 200,
		"mtls.test /allowed-nohost":   403, // the host's route goes first, and does not allow it
		"nobody.test /.well-known/x":  403,
		"nobody.test /.well-known/acme-challenge/token_x-1": 200,
		"mtls.test /.well-known/acme-challenge/token_x-1":   200,
	}
	for _, trick := range []string{
		"/.well-known/acme-challenge/../../secret", "/.well-known/acme-challenge/%2e%2e/secret", "/.well-known/acme-challenge/..%2f..%2fsecret",
		"/.well-known//acme-challenge/x", "//.well-known/acme-challenge/x", "/.well-known/acme-challenge/x;y", "/.well-known/acme-challenge/..;/x",
		`/.well-known/acme-challenge/..\..\secret`, "/.well-known/acme-challenge/%5c..", "/.well-known/acme-challenge", "/.well-known/ACME-challenge/x",
		"/secret?/.well-known/acme-challenge/x", "/x/../.well-known/acme-challenge/x", "/.well-known/acme-challenge%2fx", "/.well-known/acme-challenge/%252e%252e/x",
	} {
		guardedCases["mtls.test "+trick] = 403
	}
	// Where the path that is matched is one of a challenge, but not the path that is
	// forwarded.
	for _, trick := range []string{
		"/.well-known//acme-challenge/x", "/.well-known/acme-challenge/x;y", "/.well-known/acme-challenge/..;/x", `/.well-known/acme-challenge/..\..\secret`,
		"/x/../.well-known/acme-challenge/x", "/.well-known/acme-challenge%2fx", "/.well-known/acme-challenge/%252e%252e/x",
	} {
		guardedCases["nobody.test "+trick] = 403
	}
	t.Run("guarded", func(t *testing.T) {
		g := newGuarded(t, nil)
		client := g.client(g.plain, "")
		for c, status := range guardedCases {
			host, target, _ := strings.Cut(c, " ")
			g.origin.take()
			res, err := g.ask(g.plain, client, host, target)
			require.NoError(t, err)
			require.Equal(t, status, res.StatusCode, c)
			seen := g.origin.take()
			if status == 200 {
				require.Equal(t, target, seen[0].target())
				require.Equal(t, []string{"http"}, seen[0].values("X-Forwarded-Proto"))
			} else {
				require.Empty(t, seen, c)
			}
		}
		status, body := g.get(client, g.plain, "mtls.test", "/")
		require.Equal(t, 403, status)
		require.Contains(t, body, "use https")
		for _, reason := range []string{"this name is served over TLS only", "this route is for every host", "this route is also for server names"} {
			require.Contains(t, g.log.String(), `level=WARN msg="request refused" status=403 reason=plain_http message="`+reason)
		}

		// It goes by what is demanded now.
		_, err := g.gw.Apply(gateway.Change{Delete: gateway.IDs{Profiles: []string{"mtls", "mtls", "mtls", "other", "wild"}}})
		require.NoError(t, err)
		for c, status := range map[string]int{"mtls.test /": 200, "x.mtls.test /": 200, "x.two.test /two": 403, "nobody.test /short": 403, "nobody.test /nohost": 403, "nobody.test /star": 403} {
			host, target, _ := strings.Cut(c, " ")
			res, err := g.ask(g.plain, client, host, target)
			require.NoError(t, err)
			require.Equal(t, status, res.StatusCode, c)
		}
		_, err = g.gw.Apply(gateway.Change{Delete: gateway.IDs{Profiles: []string{"skip", "two", "two"}}})
		require.NoError(t, err)
		for c, status := range map[string]int{"skip.test /": 200, "x.two.test /two": 200, "nobody.test /tld": 200, "nobody.test /short": 200, "nobody.test /nohost": 200, "nobody.test /star": 200} {
			host, target, _ := strings.Cut(c, " ")
			res, err := g.ask(g.plain, client, host, target)
			require.NoError(t, err)
			require.Equal(t, status, res.StatusCode, c)
		}
	})
	t.Run("open", func(t *testing.T) {
		g := newGuarded(t, &gateway.Options{PlainHTTP: gateway.PlainOpen})
		client := g.client(g.plain, "")
		for _, c := range []string{"mtls.test /", "a.wild.test /", "nobody.test /nohost", "nobody.test /star", "skip.test /secret", "x.y.wild.test /", "x.two.test /two"} {
			host, target, _ := strings.Cut(c, " ")
			res, err := g.ask(g.plain, client, host, target)
			require.NoError(t, err)
			require.Equal(t, 200, res.StatusCode, c)
		}
		// Over TLS nothing is open that was not.
		for _, d := range g.tlsDoors() {
			res, err := g.ask(d, g.client(d, "pub.test"), "mtls.test", "/")
			require.NoError(t, err)
			require.Equal(t, 421, res.StatusCode, d.name)
		}
	})
}
