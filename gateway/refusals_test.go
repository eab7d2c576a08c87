package gateway_test

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// For every reason why a handshake fails there is a count, an entry with advice, and a
// record.
func TestRefusedHandshakes(t *testing.T) {
	h := newHarness(t, &gateway.Options{TLS: ssl.Options{HandshakeTimeout: 300 * time.Millisecond}})
	people, aliens := h.people, ssltest.NewCA(t, "aliens")
	lost := people.Client("lost")
	crl := h.profile("crl", []string{"crl.test"}, people)
	crl.Client.CRLs = [][]byte{people.CRL(time.Now().Add(time.Hour), lost.Leaf)}
	allow := h.profile("allow", []string{"allow.test"}, people)
	allow.Client.Allow = &ssl.Allow{CommonNames: []string{"bob"}}
	h.apply(gateway.Config{Profiles: []ssl.Config{h.profile("strict", []string{"strict.test"}, people), crl, allow}})
	shake := func(name string, certs ...tls.Certificate) func() {
		return func() {
			conn, err := tls.Dial("tcp", h.http1.addr.String(), ssltest.ClientConfig(name, certs...))
			if err == nil {
				_, err = conn.Read(make([]byte, 1)) // in TLS 1.3 the client learns it late
				conn.Close()
			}
			require.Error(t, err)
		}
	}
	talk := func(text string) func() {
		return func() {
			conn, err := net.Dial("tcp", h.http1.addr.String())
			require.NoError(t, err)
			defer conn.Close()
			_, err = io.WriteString(conn, text)
			require.NoError(t, err)
			_ = conn.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, conn)
		}
	}
	serverPair := people.Server("x.test")
	serverCert, err := tls.X509KeyPair(serverPair.CertPEM, serverPair.KeyPEM)
	require.NoError(t, err)
	missing := map[ssl.Reason]bool{}
	for _, reason := range ssl.HandshakeReasons() {
		missing[reason] = true
	}
	for i, c := range []struct {
		connect                      func()
		reason                       ssl.Reason
		serverName, profile, subject string
		issuer, cause                string
	}{
		{shake(""), ssl.ReasonNoSNI, "", "", "", "", "the client sent no server name"},
		{shake("unknown.test"), ssl.ReasonUnknownSNI, "unknown.test", "", "", "", `no profile answers for the server name "unknown.test"`},
		{shake("strict.test"), ssl.ReasonNoClientCert, "strict.test", "strict", "", "", `the profile "strict" demands a certificate of CN=people`},
		{shake("strict.test", aliens.Client("mallory")), ssl.ReasonUnknownCA, "strict.test", "strict", "CN=mallory", "CN=aliens", `the client's issuer CN=aliens is not among the CAs of the profile "strict" (CN=people)`},
		{shake("strict.test", people.Client("old", ssltest.Expired)), ssl.ReasonExpired, "strict.test", "strict", "CN=old", "CN=people", "the certificate of CN=old expired on "},
		{shake("crl.test", lost), ssl.ReasonRevoked, "crl.test", "crl", "CN=lost", "CN=people", `a CRL of the profile "crl" revokes`},
		{shake("strict.test", people.Intermediate("a").Intermediate("b").Client("deep")), ssl.ReasonDepth, "strict.test", "strict", "CN=deep", "CN=b", "the chain of CN=deep"},
		{shake("strict.test", serverCert), ssl.ReasonKeyUsage, "strict.test", "strict", "CN=x.test", "CN=people", "the certificate of CN=x.test is not for clients"},
		{shake("allow.test", people.Client("alice")), ssl.ReasonNotAllowed, "allow.test", "allow", "CN=alice", "CN=people", "the allow-list"},
		{func() {
			conn, err := net.Dial("tcp", h.http1.addr.String())
			require.NoError(t, err)
			defer conn.Close()
			_, _ = io.Copy(io.Discard, conn) // says nothing, until its time is over
		}, ssl.ReasonTimeout, "", "", "", "", "the handshake did not finish within 300ms"},
		{talk("GET / HTTP/1.1\r\n\r\n"), ssl.ReasonProtocol, "", "", "", "", "the client spoke HTTP without TLS"},
		{talk(""), ssl.ReasonClientAbort, "", "", "", "", "the client ended the connection"},
	} {
		t.Run(string(c.reason), func(t *testing.T) {
			before := len(h.log.String())
			c.connect()
			eventually(t, func() bool { return h.gw.Stats().RefusalsTotal == uint64(i+1) }, "not kept")
			list := h.gw.Refusals()
			require.Len(t, list, i+1)
			r := list[0]
			require.WithinDuration(t, time.Now(), r.At, time.Minute)
			require.True(t, r.Handshake())
			require.NotEmpty(t, r.RemoteAddr)
			require.Equal(t, "127.0.0.1", r.ClientAddr)
			require.Equal(t, []string{string(c.reason), c.serverName, c.profile, c.subject, c.issuer, "", ""},
				[]string{string(r.Reason), r.ServerName, r.Profile, r.Subject, r.Issuer, r.Host, r.Route})
			require.Equal(t, c.subject != "", len(r.SHA256) == 64 && r.Serial != "")
			require.True(t, strings.HasPrefix(r.Advice, c.cause), r.Advice)
			require.True(t, strings.HasSuffix(r.Advice, ": "+c.reason.Remedy()), r.Advice)
			require.Contains(t, h.gw.Stats().TLS.All.Failed, ssl.ReasonCount{Reason: c.reason, Count: 1})
			log := h.log.String()[before:]
			require.Equal(t, 1, strings.Count(log, "\n"), log)
			require.Contains(t, log, `msg="TLS handshake failed" handshake.reason=`+string(c.reason))
			require.Contains(t, log, "handshake.advice=")
			delete(missing, c.reason)
		})
	}
	delete(missing, ssl.ReasonCrowdedOut) // for which it takes many: see package ssl
	require.Empty(t, missing)
	require.Empty(t, h.gw.Stats().Refused)
}

// For every refusal of the guard, and of a route, there is the same, at every door.
func TestRefusedRequests(t *testing.T) {
	people, aliens := ssltest.NewCA(t, "people"), ssltest.NewCA(t, "aliens")
	for _, name := range []string{"ServeTLS http/1.1", "ServeTLS h2", "ServeHTTP http/1.1", "ServeHTTP h2", "Serve", "Serve h2c"} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, nil)
			optional := h.profile("optional", []string{"optional.test"}, people)
			optional.Client.SkipPaths = []string{"^/free"}
			strict := h.profile("strict", []string{"strict.test"}, people)
			h.apply(gateway.Config{
				Profiles: []ssl.Config{strict, optional, h.profile("public", []string{"public.test"})},
				Routes: []route.Config{
					{ID: "all", Paths: []string{"/*"}, Handler: named("all")},
					{ID: "known", Paths: []string{"/known", "/free/known"}, RequireIdentity: true, Handler: named("known")},
					{ID: "own", Hosts: []string{"public.test"}, Paths: []string{"/own"}, RequireIdentity: true, Handler: named("own")},
					{ID: "picky", Paths: []string{"/picky"}, AllowPlain: true, Authorize: func(context.Context, *route.AuthorizeRequest) error { return errors.New("not you") }, Handler: named("picky")},
				},
			})
			var d door
			for _, other := range h.doors() {
				if other.name == name {
					d = other
				}
			}
			type request struct {
				serverName string
				certs      []tls.Certificate
				host, path string
				status     int
				reason     ssl.Reason
				profile    string
				route      string
				subject    string
				cause      string
				remedy     string // in place of the reason's
			}
			alice := people.Client("alice")
			cases := []request{
				{"public.test", nil, "strict.test", "/", 421, ssl.ReasonMisdirected, "strict", "", "", `the request is for "strict.test", and its connection was made for "public.test"`, ""},
				{"optional.test", nil, "optional.test", "/", 400, ssl.ReasonNoClientCert, "optional", "", "", `the profile "optional" demands a certificate of CN=people, and the client sent none`, ""},
				{"optional.test", []tls.Certificate{aliens.Client("mallory")}, "optional.test", "/", 400, ssl.ReasonUnknownCA, "optional", "", "CN=mallory", `the client's issuer CN=aliens is not among the CAs of the profile "optional" (CN=people)`, ""},
				{"public.test", nil, "public.test", "/known", 403, ssl.ReasonNoClientCert, "", "known", "", `the route "known" takes only clients with a verified certificate, and under the name "public.test" no client is asked for one`,
					`set Client in the profile of that name, with SkipPaths "^/" if other routes do not need a certificate`},
				{"optional.test", nil, "optional.test", "/free/known", 403, ssl.ReasonNoClientCert, "", "known", "", `the route "known" takes only clients with a verified certificate, and this one has none`, ""},
				{"strict.test", []tls.Certificate{alice}, "strict.test", "/picky", 403, ssl.ReasonNotAllowed, "strict", "picky", "CN=alice", `Authorize of the route "picky" refuses CN=alice`, ""},
				{"public.test", nil, "public.test", "/picky", 403, ssl.ReasonNotAllowed, "", "picky", "", `Authorize of the route "picky" refuses the client, which has no verified certificate`, ""},
				{"public.test", nil, "b..test", "/", 400, ssl.ReasonBadHost, "", "", "", `the Host "b..test" is not a valid name`, ""},
			}
			if !d.tls {
				cases = []request{
					{"", nil, "strict.test", "/", 403, ssl.ReasonPlainHTTP, "strict", "all", "", `the request for "strict.test" came over plain HTTP`, ""},
					{"", nil, "nobody.test", "/", 403, ssl.ReasonPlainHTTP, "", "all", "", `the request for "nobody.test" came over plain HTTP`, ""},
					{"", nil, "public.test", "/own", 403, ssl.ReasonNoClientCert, "", "own", "", `the route "own" takes only clients with a verified certificate, and the request came over plain HTTP`, "have the client use https"},
					{"", nil, "public.test", "/picky", 403, ssl.ReasonNotAllowed, "", "picky", "", `Authorize of the route "picky" refuses the client, which has no verified certificate`, ""},
					{"", nil, "b..test", "/", 400, ssl.ReasonBadHost, "", "", "", `the Host "b..test" is not a valid name`, ""},
				}
			}
			for i, c := range cases {
				before := len(h.log.String())
				req, err := http.NewRequest("GET", d.scheme()+"://"+d.addr.String()+c.path, nil)
				require.NoError(t, err)
				req.Host = c.host
				status, body := h.do(h.client(d, c.serverName, c.certs...), req)
				require.Equal(t, c.status, status, body)
				require.NotContains(t, body, "CN=")
				list := h.gw.Refusals()
				require.Len(t, list, i+1)
				r := list[0]
				require.WithinDuration(t, time.Now(), r.At, time.Minute)
				require.False(t, r.Handshake())
				require.Equal(t, c.status, r.Status)
				require.Equal(t, []string{string(c.reason), c.serverName, c.host, c.profile, c.route, c.subject, "127.0.0.1"},
					[]string{string(r.Reason), r.ServerName, r.Host, r.Profile, r.Route, r.Subject, r.ClientAddr})
				require.Equal(t, c.subject != "", len(r.SHA256) == 64 && r.Serial != "" && r.Issuer != "")
				require.True(t, strings.HasPrefix(r.Advice, c.cause), r.Advice)
				require.True(t, strings.HasSuffix(r.Advice, ": "+cmp.Or(c.remedy, c.reason.Remedy())), r.Advice)
				log := h.log.String()[before:]
				require.Equal(t, 1, strings.Count(log, "request refused"), log)
				require.Contains(t, log, fmt.Sprintf(`msg="request refused" status=%d reason=%s message=`, c.status, c.reason))
				require.Contains(t, log, "advice=")
			}
			require.EqualValues(t, len(cases), h.gw.Stats().RefusalsTotal)
		})
	}
}

// A client that was let in, and is not any more, is told of with what it lacks now.
func TestRefusedLater(t *testing.T) {
	h := newHarness(t, nil)
	h.apply(gateway.Config{Profiles: []ssl.Config{h.profile("1", []string{"a.test"}, h.people)}, Routes: []route.Config{local("1", "/*", "fine")}})
	client := h.client(h.http2, "a.test", h.people.Client("alice"))
	status, _ := h.get(client, h.http2, "a.test", "/")
	require.Equal(t, 200, status)
	h.apply(gateway.Config{Profiles: []ssl.Config{h.profile("1", []string{"a.test"}, ssltest.NewCA(t, "others"))}})
	status, _ = h.get(client, h.http2, "a.test", "/")
	require.Equal(t, 421, status)
	r := h.gw.Refusals()[0]
	require.Equal(t, ssl.ReasonUnknownCA, r.Reason)
	require.Equal(t, "CN=alice", r.Subject)
	require.True(t, strings.HasPrefix(r.Advice, `the client was accepted before and no longer is: the client's issuer CN=people is not among the CAs of the profile "1" (CN=others): `), r.Advice)
}

// A flood of one kind does not take the place of the others, and what clients say is
// bounded.
func TestRefusalsAreBounded(t *testing.T) {
	ask := func(gw *gateway.Server, host string) {
		r := httptest.NewRequest("GET", "http://a.test/", nil)
		r.Host = host
		gw.ServeHTTP(httptest.NewRecorder(), r)
	}
	h := newHarness(t, nil)
	gw := must(gateway.New(&gateway.Options{RefusalsKept: 4}))
	defer gw.Close()
	_, err := gw.Apply(gateway.Change{Put: gateway.Config{Profiles: []ssl.Config{h.profile("1", []string{"a.test"}, h.people)}}})
	require.NoError(t, err)
	ask(gw, "a.test")
	for i := range 100 {
		ask(gw, fmt.Sprint(i, "..test"))
	}
	var hosts []string
	for _, r := range gw.Refusals() {
		hosts = append(hosts, r.Host)
	}
	require.Equal(t, []string{"99..test", "98..test", "97..test", "a.test"}, hosts)
	require.EqualValues(t, 101, gw.Stats().RefusalsTotal)
	require.Equal(t, []gateway.RefusalCount{{Status: 400, Reason: ssl.ReasonBadHost, Count: 100}, {Status: 403, Reason: ssl.ReasonPlainHTTP, Count: 1}}, gw.Stats().Refused)

	ask(gw, strings.Repeat("x", 10_000))
	require.Len(t, gw.Refusals()[0].Host, 255)
	require.Less(t, len(gw.Refusals()[0].Advice), 1000)

	none := must(gateway.New(&gateway.Options{RefusalsKept: -1}))
	defer none.Close()
	ask(none, "..")
	require.Empty(t, none.Refusals())
	require.EqualValues(t, 1, none.Stats().RefusalsTotal)

	many := must(gateway.New(nil))
	defer many.Close()
	for range 100 {
		ask(many, "..")
	}
	require.Len(t, many.Refusals(), 64)
}

// What a trusted proxy says of its client is told too.
func TestRefusedBehindAProxy(t *testing.T) {
	h := newHarness(t, &gateway.Options{TrustedProxies: loopback})
	h.apply(gateway.Config{Profiles: []ssl.Config{h.profile("1", []string{"a.test"}, h.people)}, Routes: []route.Config{local("1", "/*", "fine")}})
	req, err := http.NewRequest("GET", "http://a.test/", nil)
	require.NoError(t, err)
	req.Header.Set("X-Forwarded-For", "192.0.2.7")
	status, _ := h.do(h.client(h.plain, ""), req)
	require.Equal(t, 403, status)
	r := h.gw.Refusals()[0]
	require.Equal(t, "192.0.2.7", r.ClientAddr)
	require.True(t, strings.HasPrefix(r.RemoteAddr, "127.0.0.1:"), r.RemoteAddr)
}

// The user's own Trace is told of handshakes as before.
func TestRefusalsLeaveTheTraceAlone(t *testing.T) {
	told := make(chan *ssl.HandshakeError, 1)
	trace := &ssl.Trace{HandshakeDone: func(e *ssl.HandshakeEvent) { told <- e.Err }}
	h := newHarness(t, &gateway.Options{TLS: ssl.Options{Trace: trace}, Logger: slog.New(slog.DiscardHandler)})
	_, err := tls.Dial("tcp", h.http1.addr.String(), ssltest.ClientConfig("unknown.test"))
	require.Error(t, err)
	require.Equal(t, ssl.ReasonUnknownSNI, (<-told).Reason)
	require.Len(t, h.gw.Refusals(), 1)
}
