package ssl_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// Connections of one client have its certificates once, in all places where they are.
func TestShared(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	for name, auth := range map[string]ssl.ClientAuth{
		"verified by crypto/tls": {},
		"verified here":          {HideCAs: true},
		"remembered":             {CacheVerified: true},
	} {
		auth.CAPEM = people.PEM()
		t.Run(name, func(t *testing.T) {
			forVersions(t, func(t *testing.T, version uint16, _ int) {
				store := newStore(t, nil, server(servers, "1", &auth, "a.test"))
				s := serveTLS(t, store.TLSConfig())
				visit := func(cert tls.Certificate) (tls.ConnectionState, *ssl.Identity) {
					client, server := s.visit(t, client(version, "a.test", cert))
					require.NoError(t, client.err)
					require.NoError(t, server.err)
					identity, _ := store.Judge(store.Table(), &server.state, "a.test", "/")
					return server.state, identity
				}
				alice := people.Intermediate("middle").Client("alice")
				first, _ := visit(alice)
				for range 2 {
					state, identity := visit(alice)
					require.Equal(t, alice.Certificate, [][]byte{state.PeerCertificates[0].Raw, state.PeerCertificates[1].Raw})
					require.False(t, &first.PeerCertificates[0] == &state.PeerCertificates[0], "the slice is the connection's own")
					for i, c := range first.PeerCertificates {
						require.True(t, c == state.PeerCertificates[i], i)
						require.True(t, c == identity.Chain()[i], i)
						for _, chain := range state.VerifiedChains {
							require.True(t, c == chain[i], i)
						}
					}
				}

				again, _ := visit(people.Client("alice"))
				require.False(t, first.PeerCertificates[0] == again.PeerCertificates[0], "the same name, another certificate")
				runtime.KeepAlive(first)
			})
		})
	}
}

// All at once, and not a byte of another's: the race detector sees who writes where
// somebody else may read.
func TestSharedTogether(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	seen := make(chan *x509.Certificate, 64)
	store := newStore(t, &ssl.Options{Base: &tls.Config{VerifyConnection: func(cs tls.ConnectionState) error {
		seen <- cs.PeerCertificates[0] // and whoever gets it reads it at once
		return nil
	}}}, server(servers, "1", &ssl.ClientAuth{CAPEM: people.PEM()}, "a.test"))
	s := serveTLS(t, store.TLSConfig())
	alice, bob := people.Client("alice"), people.Client("bob")
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			cert := alice
			if i%2 == 0 {
				cert = bob
			}
			c := handshake(t, s.Addr(), client(tls.VersionTLS13, "a.test", cert))
			if c.err != nil {
				t.Error(c.err)
			}
		})
	}
	names := map[string]int{}
	for range 16 {
		names[(<-seen).Subject.CommonName]++
	}
	wg.Wait()
	require.Equal(t, map[string]int{"alice": 8, "bob": 8}, names)
}

// What VerifyConnection was given stays as it was, on a path too on which the client is
// verified only after that: for the ticket.
func TestSharedNotAfterVerifyConnection(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	for name, auth := range map[string]ssl.ClientAuth{"strict": {}, "skips": {SkipPaths: []string{"^/open$"}}} {
		t.Run(name, func(t *testing.T) {
			auth.CAPEM = people.PEM()
			forVersions(t, func(t *testing.T, version uint16, _ int) {
				var given, then []*x509.Certificate
				store := newStore(t, &ssl.Options{Base: &tls.Config{VerifyConnection: func(cs tls.ConnectionState) error {
					given, then = cs.PeerCertificates, slices.Clone(cs.PeerCertificates)
					return nil
				}}}, server(servers, "1", &auth, "a.test"))
				s := serveTLS(t, store.TLSConfig())
				alice := people.Client("alice")
				visit := func() side {
					config := client(version, "a.test", alice)
					config.ClientSessionCache = tls.NewLRUClientSessionCache(1) // or else no ticket is made
					_, server := s.visit(t, config)
					require.NoError(t, server.err)
					return server
				}
				first := visit()
				visit()
				require.Len(t, given, 1)
				require.True(t, then[0] == given[0])
				runtime.KeepAlive(first)
			})
		})
	}
}

// A state that the caller has made is the caller's. What is in it may have no bytes, and
// then all certificates have the same.
func TestSharedNotOfCallers(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	store := newStore(t, nil, server(servers, "1", &ssl.ClientAuth{CAPEM: people.PEM()}, "a.test"))
	for _, name := range []string{"alice", "bob"} {
		leaf := &x509.Certificate{Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
		cs := &tls.ConnectionState{ServerName: "a.test", PeerCertificates: []*x509.Certificate{leaf}, VerifiedChains: [][]*x509.Certificate{{leaf, people.Certificate()}}}
		identity, err := store.Judge(store.Table(), cs, "a.test", "/")
		require.NoError(t, err)
		require.Equal(t, name, identity.Certificate().Subject.CommonName)
		require.True(t, leaf == cs.PeerCertificates[0])
		defer runtime.KeepAlive(leaf)
	}
}

// What nobody has any more is forgotten.
func TestSharedForgets(t *testing.T) {
	shared := ssl.NewSharedCerts()
	kept := &x509.Certificate{Raw: []byte("kept")}
	require.Same(t, kept, shared.Of(kept))
	most := 0
	for i := range uint64(20_000) {
		c := &x509.Certificate{Raw: binary.BigEndian.AppendUint64(nil, i)}
		require.Same(t, c, shared.Of(c))
		if i%1000 == 0 {
			runtime.GC()
		}
		most = max(most, shared.Len())
	}
	require.Less(t, most, 4096)
	require.Same(t, kept, shared.Of(&x509.Certificate{Raw: []byte("kept")}))
}

// A hash is no proof: a client is never taken for another.
func TestSharedCollision(t *testing.T) {
	shared := ssl.NewSharedCerts()
	shared.Collide()
	alice, bob := &x509.Certificate{Raw: []byte("alice")}, &x509.Certificate{Raw: []byte("bob")}
	require.Same(t, alice, shared.Of(alice))
	require.Same(t, bob, shared.Of(bob))
	require.Same(t, alice, shared.Of(alice))
	runtime.KeepAlive(bob)
}

// Once the handshake is over, the state of a connection is everybody's, and stays as it is.
func TestSharedInHandshakes(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	auth := &ssl.ClientAuth{CAPEM: people.PEM(), SkipPaths: []string{"^/open$"}}
	store := newStore(t, nil, server(servers, "1", auth, "a.test"))
	s := serveTLS(t, store.TLSConfig())
	alice := people.Client("alice")
	for range 2 {
		c, server := s.visit(t, client(tls.VersionTLS13, "a.test", alice))
		require.NoError(t, c.err)
		before := server.state.PeerCertificates[0]
		identity, err := store.Judge(store.Table(), &server.state, "a.test", "/")
		require.NoError(t, err)
		require.True(t, before == server.state.PeerCertificates[0])
		require.True(t, before == identity.Certificate())
	}
}
