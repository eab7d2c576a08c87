package gateway_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
	"github.com/sallyport/sallyport/upstream"
)

// explained is a configuration in which names are found in every way that there is.
func explained(h *harness) gateway.Config {
	skip := h.profile("skip", []string{"skip.test"}, h.people)
	skip.Client.SkipPaths = []string{"^/free/"}
	return gateway.Config{
		Profiles: []ssl.Config{
			h.profile("pub", []string{"pub.test", "*.pub.test", "10.0.0.1"}), h.profile("mtls", []string{"mtls.test"}, h.people),
			h.profile("wild", []string{"*.w.test"}, h.people), h.profile("out", []string{"out.w.test"}), skip,
			h.profile("second", []string{"pub.test"}, h.people), h.profile("tests", []string{"*.test"}),
		},
		Routes: []route.Config{
			local("everywhere", "/any", "everywhere"),
			local("exact", "/*", "exact", "pub.test", "mtls.test", "skip.test", "out.w.test", "x.w.test", "10.0.0.1"),
			local("wide", "/wide", "wide", "*.w.test", "*.pub.test"),
			local("deep", "/deep", "deep", "*.deep.test"),
			{ID: "open", Paths: []string{"/open"}, AllowPlain: true, Handler: named("open")},
			{ID: "known", Paths: []string{"/known"}, RequireIdentity: true, Handler: named("known")},
			{ID: "nowhere", Paths: []string{"/nowhere"}, Upstream: "absent"},
			{ID: "near", Paths: []string{"/near"}, RemoteAddrs: []string{"192.0.2.0/24"}, Handler: named("near")},
		},
	}
}

// What is explained of a name is what a real handshake gets, and what is explained of a
// request is the answer to it.
func TestExplainOracle(t *testing.T) {
	names := []string{
		"", "pub.test", "PUB.test", "a.pub.test", "a.b.pub.test", "mtls.test", "x.w.test", "out.w.test", "a.out.w.test", "skip.test",
		"some.test", "x.y.test", "a.deep.test", "nobody.example", "_.test",
	}
	paths := []string{"/", "/any", "/wide", "/deep", "/open", "/known", "/nowhere", "/near", "/free/x", "/.well-known/acme-challenge/any"}
	for _, o := range []gateway.Options{
		{},
		{TLS: ssl.Options{FallbackName: "pub.test"}},
		{TLS: ssl.Options{FallbackName: "X.W.Test."}, PlainHTTP: gateway.PlainRedirect},
		{TLS: ssl.Options{FallbackName: "10.0.0.1"}, PlainHTTP: gateway.PlainOpen},
		{TLS: ssl.Options{FallbackName: "a.out.w.test"}},
		{TLS: ssl.Options{FallbackName: "nobody.example"}, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
	} {
		t.Run(fmt.Sprint(o.TLS.FallbackName, " ", o.PlainHTTP), func(t *testing.T) {
			events := make(chan *ssl.HandshakeEvent, 1)
			o.TLS.Trace = &ssl.Trace{HandshakeDone: func(e *ssl.HandshakeEvent) { events <- e }}
			h := newHarness(t, &o)
			_, err := h.gw.Apply(gateway.Change{Put: explained(h), AllowDangling: true})
			require.NoError(t, err)
			alice := h.people.Client("alice")
			seen, nth := map[string]int{}, 0
			for _, plain := range []bool{false, true} {
				for _, sni := range names {
					var conn net.Conn
					var state *tls.ConnectionState
					if plain {
						if sni != "" {
							continue
						}
						if conn, err = net.Dial("tcp", h.plain.addr.String()); err != nil {
							t.Fatal(err)
						}
					} else {
						// With TLS 1.2, the client sees a refusal within the handshake.
						client := ssltest.ClientConfig(sni, alice)
						client.MaxVersion, client.NextProtos = tls.VersionTLS12, nil
						state = &tls.ConnectionState{HandshakeComplete: true, ServerName: sni, PeerCertificates: []*x509.Certificate{alice.Leaf}}
						over, err := tls.Dial("tcp", h.http1.addr.String(), client)
						event := <-events
						asked := httptest.NewRequest("GET", "https://a.test/", nil)
						asked.TLS = state
						x := h.gw.Explain(asked)
						if x.Profile == nil {
							require.Error(t, err, sni)
							require.Empty(t, event.Profile, sni)
							require.Contains(t, []ssl.Reason{ssl.ReasonNoSNI, ssl.ReasonUnknownSNI}, event.Err.Reason)
							seen["no handshake"]++
							continue
						}
						require.NoError(t, err, sni)
						require.Equal(t, event.Profile, x.Profile.ID(), sni)
						seen["handshake "+x.Profile.ID()]++
						if !x.Profile.DemandsClientCert() {
							state.PeerCertificates = nil // it is not asked for
						}
						conn = over
					}
					r := bufio.NewReader(conn)
					for _, host := range append(names, "bad host", "a.test:x") {
						for _, path := range append(paths, "/a%00", "/../x") {
							if nth++; nth%5 != 0 { // some of all that there are
								continue
							}
							what := fmt.Sprintf("plain %v, sni %q, host %q, path %s", plain, sni, host, path)
							const field = "X-Forwarded-For: 192.0.2.7\r\n"
							_, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: "+host+"\r\n"+field+"\r\n")
							require.NoError(t, err, what)
							res, err := http.ReadResponse(r, nil)
							require.NoError(t, err, what)
							body, err := io.ReadAll(res.Body)
							require.NoError(t, err, what)

							asked := httptest.NewRequest("GET", path, nil)
							asked.Host, asked.TLS = host, state
							asked.RemoteAddr = conn.LocalAddr().String()
							asked.Header.Set("X-Forwarded-For", "192.0.2.7")
							x := h.gw.Explain(asked)
							if x.Status == 0 {
								require.Equal(t, 200, res.StatusCode, what)
								require.Equal(t, x.Route.Found.Route.ID(), string(body), what)
							} else {
								require.Equal(t, res.StatusCode, x.Status, what)
							}
							if host != "" { // or else the engine has refused it, in words of its own
								require.Contains(t, string(body), x.Message, what)
							}
							if x.Refused != nil {
								require.Equal(t, x.Status, x.Refused.Status, what)
							}
							seen[fmt.Sprint(x.Status)]++
							if !res.Close {
								continue
							}
							// The next request needs another connection.
							conn.Close()
							if plain {
								conn, err = net.Dial("tcp", h.plain.addr.String())
							} else {
								client := ssltest.ClientConfig(sni, alice)
								client.MaxVersion, client.NextProtos = tls.VersionTLS12, nil
								conn, err = tls.Dial("tcp", h.http1.addr.String(), client)
								<-events
							}
							require.NoError(t, err)
							r = bufio.NewReader(conn)
						}
					}
					conn.Close()
				}
			}
			for _, s := range []string{"0", "400", "404", "421", "502", "no handshake", "handshake wild", "handshake tests"} {
				require.Positive(t, seen[s], "%s: %v", s, seen)
			}
		})
	}
}

// What is refused before anybody looks where it leads is explained like that too.
func TestExplainUnreadable(t *testing.T) {
	gw := must(gateway.New(&gateway.Options{Trace: &gateway.Trace{RequestDone: func(*gateway.RequestEvent) {}}}))
	defer gw.Close()
	must(gw.Apply(gateway.Change{Put: gateway.Config{Routes: []route.Config{local("all", "/*", "all")}}}))
	for name, change := range map[string]func(*http.Request){
		"CONNECT":         func(r *http.Request) { r.Method = "CONNECT" },
		"the target form": func(r *http.Request) { r.RequestURI = "http://user@a.test/" },
		"the length":      func(r *http.Request) { r.ProtoMajor, r.Header["Content-Length"] = 2, []string{"x"} },
		"the path":        func(r *http.Request) { r.RequestURI, r.URL.Path, r.URL.RawPath = "/%00", "/\x00", "/%00" },
		"the Host":        func(r *http.Request) { r.Host = "a b" },
		"no URL":          func(r *http.Request) { *r = http.Request{} },
		"an empty URL":    func(r *http.Request) { *r = http.Request{URL: &url.URL{}} },
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "http://a.test/", nil)
			change(r)
			w := httptest.NewRecorder()
			gw.ServeHTTP(w, r)
			x := gw.Explain(r)
			require.GreaterOrEqual(t, w.Code, 400)
			require.Equal(t, w.Code, x.Status)
			require.Contains(t, w.Body.String(), x.Message)
			require.Nil(t, x.Route)
		})
	}
}

// Where a request would go, and why.
func ExampleServer_Explain() {
	t := &testing.T{} // certificates for an example; yours come from files
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	gw := must(gateway.New(&gateway.Options{TLS: ssl.Options{FallbackName: "internal.test"}}))
	defer gw.Close()
	must(gw.Apply(gateway.Change{Put: gateway.Config{
		Profiles: []ssl.Config{{
			ID: "internal", Names: []string{"internal.test"}, Certificates: []ssl.KeyPair{servers.Server("internal.test")},
			Client: &ssl.ClientAuth{CAPEM: people.PEM()},
		}},
		Routes: []route.Config{
			{ID: "1", Paths: []string{"/api/*"}, Methods: []string{"POST"}, Upstream: "1"},
			{ID: "2", Paths: []string{"/*"}, Upstream: "1"},
		},
		Upstreams: []upstream.Config{{ID: "1", Nodes: []upstream.Node{{Host: "10.0.0.1", Port: 8080}}}},
	}}))

	r := httptest.NewRequest("GET", "http://internal.test/api/users", nil)
	x := gw.Explain(r)
	fmt.Println(x.Status, x.Message)
	for _, c := range x.Route.Candidates {
		fmt.Println("route", c.Route.ID(), c.Outcome, c.Reasons)
	}
	r.TLS = &tls.ConnectionState{} // a client that sends no server name
	fmt.Println(gw.Explain(r).ServerName, gw.Explain(r).Profile.ID())
	// Output:
	// 403 this name is served over TLS only, with a client certificate; use https
	// route 1 passed over [the method is none of POST]
	// route 2 found []
	// internal.test internal
}
