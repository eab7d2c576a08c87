package ssl_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// A client that comes again is not verified again, with a connection of its own and
// without a session.
func TestCacheVerified(t *testing.T) {
	servers, people, others := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people"), ssltest.NewCA(t, "others")
	forVersions(t, func(t *testing.T, version uint16, _ int) {
		for _, ca := range []*ssltest.CA{people, people.Intermediate("middle")} {
			d := newDoor(t, nil, server(servers, "1", &ssl.ClientAuth{CAPEM: people.PEM(), CacheVerified: true}, "a.test"))
			p := d.store.Table().Lookup("a.test")
			alice := client(version, "a.test", ca.Client("alice"))
			_, first := d.visit(t, alice)
			require.Nil(t, first.err)
			_, second := d.visit(t, alice)
			require.Nil(t, second.err)
			require.False(t, second.state.DidResume)
			require.Equal(t, 1, ssl.Verified(p))
			identity, err := d.store.Judge(d.store.Table(), &second.state, "a.test", "/")
			require.NoError(t, err)
			require.Same(t, second.state.PeerCertificates[0], identity.Certificate())
			require.Equal(t, people.Certificate().Raw, identity.Chain()[len(identity.Chain())-1].Raw)

			// Only who was verified anew gets past a cache that lies.
			ssl.Mislead(p, others.Certificate())
			_, passage := d.visit(t, alice)
			require.NotNil(t, passage.err, "not taken from the cache")
			_, passage = d.visit(t, client(version, "a.test", ca.Client("bob")))
			require.Nil(t, passage.err)
			require.Equal(t, 2, ssl.Verified(p))
		}
	})
}

// It never accepts what a fresh verification would refuse.
func TestCacheNeverAcceptsMore(t *testing.T) {
	servers, people, others := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people"), ssltest.NewCA(t, "others")
	end := time.Now().Add(2 * time.Hour).Truncate(time.Second)
	until := ssltest.Until(end)
	dying := ssltest.NewCA(t, "dying", until)
	next := time.Now().Add(time.Hour)
	alice := people.Client("alice")
	auth := func(c ssl.ClientAuth) *ssl.ClientAuth {
		c.CacheVerified = true
		if c.CAPEM == nil {
			c.CAPEM = people.PEM()
		}
		return &c
	}
	for _, c := range []struct {
		name   string
		before *ssl.ClientAuth
		client tls.Certificate
		after  *ssl.ClientAuth // nil: time goes on to the end of validity
		reason ssl.Reason
	}{
		{"the leaf expires", auth(ssl.ClientAuth{}), people.Client("alice", until), nil, ssl.ReasonExpired},
		{"the intermediate expires", auth(ssl.ClientAuth{}), people.Intermediate("middle", until).Client("alice"), nil, ssl.ReasonExpired},
		{"the root expires", auth(ssl.ClientAuth{CAPEM: dying.PEM()}), dying.Client("alice"), nil, ssl.ReasonExpired},
		{"a revocation list arrives", auth(ssl.ClientAuth{}), alice, auth(ssl.ClientAuth{CRLs: [][]byte{people.CRL(next, alice.Leaf)}}), ssl.ReasonRevoked},
		{"a revocation list is replaced", auth(ssl.ClientAuth{CRLs: [][]byte{people.CRL(next)}}), alice, auth(ssl.ClientAuth{CRLs: [][]byte{people.CRL(next, alice.Leaf)}}), ssl.ReasonRevoked},
		{"the CA is replaced", auth(ssl.ClientAuth{}), alice, auth(ssl.ClientAuth{CAPEM: others.PEM()}), ssl.ReasonUnknownCA},
		{"the depth is lowered", auth(ssl.ClientAuth{}), people.Intermediate("middle").Client("alice"), auth(ssl.ClientAuth{Depth: ssl.NoIntermediates}), ssl.ReasonDepth},
		{"an allow-list arrives", auth(ssl.ClientAuth{}), alice, auth(ssl.ClientAuth{Allow: &ssl.Allow{CommonNames: []string{"bob"}}}), ssl.ReasonNotAllowed},
	} {
		t.Run(c.name, func(t *testing.T) {
			forVersions(t, func(t *testing.T, version uint16, none int) {
				clock := newClock()
				config := server(servers, "1", c.before, "a.test")
				d := newDoor(t, &ssl.Options{Base: &tls.Config{Time: clock.Now}}, config)
				var cache stolenSession
				resuming := client(version, "a.test", c.client)
				resuming.ClientSessionCache = &cache
				_, open := d.visit(t, resuming)
				require.Nil(t, open.err)
				_, again := d.visit(t, client(version, "a.test", c.client))
				require.Nil(t, again.err)
				require.Equal(t, 1, ssl.Verified(d.store.Table().Lookup("a.test")), "it is cached")
				_, resumed := d.visit(t, resuming)
				require.Nil(t, resumed.err)
				require.True(t, resumed.state.DidResume)
				cache.keep = true

				if c.after == nil {
					clock.Set(end.Add(time.Second))
				} else {
					config.Client = c.after
					put(t, d.store, config)
				}
				side, passage := d.visit(t, client(version, "a.test", c.client))
				require.NotNil(t, passage.err)
				require.Equal(t, c.reason, passage.err.Reason)
				require.Equal(t, c.client.Leaf.Raw, passage.err.Certificate.Raw)
				require.Equal(t, badCertificate, alertOf(side.err))

				// The session: crypto/tls does not compare the roots in this mode.
				bare := client(version, "a.test")
				bare.ClientSessionCache = &cache
				side, passage = d.visit(t, bare)
				require.NotNil(t, passage.err)
				require.Equal(t, none, alertOf(side.err))
				require.Equal(t, ssl.ReasonNoClientCert, passage.err.Reason)

				// The connections: crypto/tls verified nothing in them.
				for _, state := range []*tls.ConnectionState{&open.state, &again.state, &resumed.state} {
					require.Empty(t, state.VerifiedChains)
					_, err := d.store.Judge(d.store.Table(), state, "a.test", "/")
					require.Error(t, err)
					require.Equal(t, http.StatusMisdirectedRequest, err.(*ssl.RequestError).Status)
					require.True(t, err.(*ssl.RequestError).Close)
				}
			})
		})
	}
}

// The answer on an open connection is the same whatever kind of profile comes
// after: one that caches, one that does not, one with free paths.
func TestCacheReplacedByAnotherKind(t *testing.T) {
	servers, people, others := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people"), ssltest.NewCA(t, "others")
	for _, before := range []bool{false, true} {
		for name, after := range map[string]*ssl.ClientAuth{
			"cached":     {CAPEM: others.PEM(), CacheVerified: true},
			"not cached": {CAPEM: others.PEM()},
			"free paths": {CAPEM: others.PEM(), SkipPaths: []string{"^/free$"}},
		} {
			t.Run(fmt.Sprintf("%t/%s", before, name), func(t *testing.T) {
				config := server(servers, "1", &ssl.ClientAuth{CAPEM: people.PEM(), CacheVerified: before}, "a.test")
				store := newStore(t, nil, config)
				s := serveTLS(t, store.TLSConfig())
				_, side := s.visit(t, ssltest.ClientConfig("a.test", people.Client("alice")))
				require.NoError(t, side.err)
				config.Client = after
				put(t, store, config)
				for range 2 {
					_, err := store.Judge(store.Table(), &side.state, "a.test", "/")
					require.Error(t, err)
					require.Equal(t, http.StatusMisdirectedRequest, err.(*ssl.RequestError).Status)
					require.True(t, err.(*ssl.RequestError).Close)
				}
				// And what was refused before is let in again.
				config.Client = &ssl.ClientAuth{CAPEM: people.PEM(), CacheVerified: true}
				put(t, store, config)
				_, err := store.Judge(store.Table(), &side.state, "a.test", "/")
				require.NoError(t, err)
			})
		}
	}
}

// The connection that must close does, in HTTP/1.1 and in HTTP/2.
func TestCacheGuardCloses(t *testing.T) {
	servers, people, others := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people"), ssltest.NewCA(t, "others")
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("h2=%t", h2), func(t *testing.T) {
			config := server(servers, "1", &ssl.ClientAuth{CAPEM: people.PEM(), CacheVerified: true}, "a.test")
			store := newStore(t, nil, config)
			s := httptest.NewUnstartedServer(store.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				require.NotNil(t, ssl.FromContext(r.Context()))
			})))
			s.TLS, s.EnableHTTP2 = store.TLSConfig(), h2
			if !h2 {
				base := &tls.Config{NextProtos: []string{"http/1.1"}}
				store = newStore(t, &ssl.Options{Base: base}, config)
				s.TLS = store.TLSConfig()
				s.Config.Handler = store.Handler(s.Config.Handler)
			}
			s.StartTLS()
			t.Cleanup(s.Close)
			client := ssltest.Client(t, s.Listener, "a.test", people.Client("alice"))
			get := func() (*http.Response, error) {
				res, err := client.Get("https://a.test/")
				if err == nil {
					res.Body.Close()
				}
				return res, err
			}
			res, err := get()
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, res.StatusCode)
			require.Equal(t, h2, res.ProtoMajor == 2)
			config.Client = &ssl.ClientAuth{CAPEM: others.PEM(), CacheVerified: true}
			put(t, store, config)
			res, err = get()
			require.NoError(t, err)
			require.Equal(t, http.StatusMisdirectedRequest, res.StatusCode)
			_, err = get()
			// On a new connection. Whether the client still reads the alert depends on
			// how much of its request is on its way: see TestCacheReasons.
			require.Error(t, err)
		})
	}
}

// Two profiles with one root have a cache each: what one has verified, the other
// verifies.
func TestCacheOfTwoProfiles(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	alice := people.Intermediate("middle").Client("alice")
	one := server(servers, "1", &ssl.ClientAuth{CAPEM: people.PEM(), CacheVerified: true}, "a.test")
	two := server(servers, "2", &ssl.ClientAuth{CAPEM: people.PEM(), CacheVerified: true, Depth: ssl.NoIntermediates}, "b.test")
	three := server(servers, "3", &ssl.ClientAuth{CAPEM: people.PEM(), CacheVerified: true}, "c.test")
	d := newDoor(t, nil, one, two, three)
	_, passage := d.visit(t, ssltest.ClientConfig("a.test", alice))
	require.Nil(t, passage.err)
	ssl.Mislead(d.store.Table().Lookup("a.test"), servers.Certificate())
	_, passage = d.visit(t, ssltest.ClientConfig("b.test", alice))
	require.NotNil(t, passage.err)
	require.Equal(t, ssl.ReasonDepth, passage.err.Reason)
	_, passage = d.visit(t, ssltest.ClientConfig("c.test", alice))
	require.Nil(t, passage.err)
	require.Zero(t, ssl.Verified(d.store.Table().Lookup("b.test")), "what was refused is not remembered")
}

// A forged leaf gains nothing from cached intermediates, and a genuine one nothing
// without its key.
func TestCacheAndForgeries(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	middle := people.Intermediate("middle")
	alice := middle.Client("alice")
	// A CA of the attacker's with the same names.
	forger := ssltest.NewCA(t, "people").Intermediate("middle")
	forged := forger.Client("alice", func(c *x509.Certificate) { c.SerialNumber = alice.Leaf.SerialNumber })

	d := newDoor(t, nil, server(servers, "1", &ssl.ClientAuth{CAPEM: people.PEM(), CacheVerified: true}, "a.test"))
	for range 2 {
		_, passage := d.visit(t, ssltest.ClientConfig("a.test", alice))
		require.Nil(t, passage.err)
	}
	flipped := bytes.Clone(alice.Certificate[0])
	flipped[len(flipped)-1] ^= 1
	for name, cert := range map[string]tls.Certificate{
		"a forged leaf with the cached intermediates": {Certificate: [][]byte{forged.Certificate[0], alice.Certificate[1]}, PrivateKey: forged.PrivateKey},
		"a forged chain":             forged,
		"the leaf with another byte": {Certificate: [][]byte{flipped, alice.Certificate[1]}, PrivateKey: alice.PrivateKey},
		"the leaf without its intermediate, after a bought one": {Certificate: [][]byte{forged.Certificate[0], alice.Certificate[0], alice.Certificate[1]}, PrivateKey: forged.PrivateKey},
	} {
		_, passage := d.visit(t, ssltest.ClientConfig("a.test", cert))
		require.NotNil(t, passage.err, name)
		require.Equal(t, ssl.ReasonUnknownCA, passage.err.Reason, name)
	}
	// The right certificates, and the key of another: crypto/tls sees to it.
	stolen := tls.Certificate{Certificate: alice.Certificate, PrivateKey: forged.PrivateKey.(*ecdsa.PrivateKey)}
	_, passage := d.visit(t, ssltest.ClientConfig("a.test", stolen))
	require.NotNil(t, passage.err)
	require.ErrorContains(t, passage.err, "invalid signature")
}

// The alert is always bad_certificate, the reason is always the right one: as it is
// where crypto/tls verifies.
func TestCacheReasons(t *testing.T) {
	servers, people, others := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people"), ssltest.NewCA(t, "others")
	for _, c := range []struct {
		reason ssl.Reason
		client []tls.Certificate
	}{
		{ssl.ReasonUnknownCA, []tls.Certificate{others.Client("alice")}},
		{ssl.ReasonExpired, []tls.Certificate{people.Client("alice", ssltest.Expired)}},
		{ssl.ReasonExpired, []tls.Certificate{people.Client("alice", ssltest.NotYetValid)}},
		{ssl.ReasonKeyUsage, []tls.Certificate{people.Client("alice", ssltest.Usage(x509.ExtKeyUsageServerAuth))}},
		{ssl.ReasonDepth, []tls.Certificate{people.Intermediate("1").Intermediate("2").Client("alice")}},
		{ssl.ReasonNoClientCert, nil},
	} {
		t.Run(string(c.reason), func(t *testing.T) {
			forVersions(t, func(t *testing.T, version uint16, none int) {
				for _, cached := range []bool{false, true} {
					d := newDoor(t, nil, server(servers, "1", &ssl.ClientAuth{CAPEM: people.PEM(), CacheVerified: cached}, "a.test"))
					for range 2 {
						client, passage := d.visit(t, client(version, "a.test", c.client...))
						require.NotNil(t, passage.err)
						require.Equal(t, c.reason, passage.err.Reason)
						switch {
						case c.client == nil:
							require.Equal(t, none, alertOf(client.err))
						case cached:
							require.Equal(t, badCertificate, alertOf(client.err))
						}
						if c.client != nil {
							require.Equal(t, c.client[0].Leaf.Raw, passage.err.Certificate.Raw)
						}
					}
				}
			})
		})
	}
}

// No more chains than the bound are remembered, and what they weigh is told.
func TestCacheIsBounded(t *testing.T) {
	servers, root := ssltest.NewCA(t, "servers"), newAuthority(t, nil, ca("root"))
	p := profile(t, server(servers, "1", &ssl.ClientAuth{CAPEM: root.pem(), CacheVerified: true}, "a.test"))
	alice := newAuthority(t, root, leaf("alice"))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	// What is presented is the key: other certificates behind the leaf make it
	// another one, at no price to the client.
	for i := range ssl.MaxVerified + 100 {
		presented := []*x509.Certificate{parseCert(t, alice.pem())}
		for bit := range 13 {
			presented = append(presented, []*x509.Certificate{root.cert, alice.cert}[i>>bit&1])
		}
		_, err := ssl.VerifyClient(p, presented, time.Now())
		require.NoError(t, err)
		require.LessOrEqual(t, ssl.Verified(p), ssl.MaxVerified)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	require.Equal(t, ssl.MaxVerified, ssl.Verified(p))
	t.Logf("%d chains: %d KiB", ssl.MaxVerified, (int64(after.HeapAlloc)-int64(before.HeapAlloc))>>10)
	runtime.KeepAlive(p)
}

// What verifying costs, and what it costs not to: a whole full handshake, both
// sides, over a pipe.
func BenchmarkHandshakeOfClients(b *testing.B) {
	servers, people := ssltest.NewCA(b, "servers"), ssltest.NewCA(b, "people")
	alone, chained := people.Client("alice"), people.Intermediate("middle").Client("alice")
	for _, c := range []struct {
		intermediates int
		cert          tls.Certificate
	}{{0, alone}, {1, chained}} {
		for _, cache := range []string{"n", "y"} {
			b.Run(fmt.Sprintf("intermediates=%d/cache=%s", c.intermediates, cache), func(b *testing.B) {
				store := newStore(b, nil, server(servers, "1", &ssl.ClientAuth{CAPEM: people.PEM(), CacheVerified: cache == "y"}, "a.test"))
				serving := store.TLSConfig()
				visiting := client(tls.VersionTLS13, "a.test", c.cert)
				b.ReportAllocs()
				for b.Loop() {
					one, other := net.Pipe()
					done := make(chan error)
					go func() { done <- tls.Client(one, visiting).Handshake() }()
					server := tls.Server(other, serving)
					go func() { _, _ = one.Read(make([]byte, 0)) }()
					if err := server.Handshake(); err != nil {
						b.Fatal(err)
					}
					if err := <-done; err != nil {
						b.Fatal(err)
					}
					one.Close()
					other.Close()
				}
			})
		}
	}
}

// What the server alone saves.
func BenchmarkVerify(b *testing.B) {
	servers, people := ssltest.NewCA(b, "servers"), ssltest.NewCA(b, "people")
	chained := people.Intermediate("middle").Client("alice")
	presented := []*x509.Certificate{chained.Leaf, parseCert(b, certPEM(chained.Certificate[1]))}
	for _, cache := range []string{"n", "y"} {
		b.Run("cache="+cache, func(b *testing.B) {
			p := profile(b, server(servers, "1", &ssl.ClientAuth{CAPEM: people.PEM(), CacheVerified: cache == "y"}, "a.test"))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ssl.VerifyClient(p, presented, time.Now()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
