package ssl_test

import (
	"crypto/tls"
	"crypto/x509"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// connection is the state of a connection on which a client showed a certificate.
// Each call is another connection.
func connection(name string, cert tls.Certificate, chain ...*x509.Certificate) *tls.ConnectionState {
	cs := &tls.ConnectionState{HandshakeComplete: true, ServerName: name}
	for _, der := range cert.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			panic(err)
		}
		cs.PeerCertificates = append(cs.PeerCertificates, c)
	}
	if len(chain) > 0 {
		cs.VerifiedChains = [][]*x509.Certificate{chain}
	}
	return cs
}

func TestVerdictIsRemembered(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	config := server(servers, "1", &ssl.ClientAuth{CAPEM: people.PEM()}, "a.test")
	store := newStore(t, nil, config)
	alice, bob := people.Client("alice"), people.Client("bob")
	cs := connection("a.test", alice)

	first, err := store.Judge(store.Table(), cs, "a.test", "/")
	require.NoError(t, err)
	copied := *cs // as net/http copies it
	again, err := store.Judge(store.Table(), &copied, "A.test:443", "/other")
	require.NoError(t, err)
	require.Same(t, first, again)
	require.Equal(t, 1, store.Verdicts())

	t.Run("not for another connection", func(t *testing.T) {
		other, err := store.Judge(store.Table(), connection("a.test", alice), "a.test", "/")
		require.NoError(t, err)
		require.NotSame(t, first, other)
		other, err = store.Judge(store.Table(), connection("a.test", bob), "a.test", "/")
		require.NoError(t, err)
		require.Equal(t, "CN=bob", other.Subject())
	})
	t.Run("not for another Terminator", func(t *testing.T) {
		other := newStore(t, nil, config)
		identity, err := other.Judge(other.Table(), cs, "a.test", "/")
		require.NoError(t, err)
		require.NotSame(t, first, identity)
		require.Same(t, other.Table().Get("1"), identity.Profile())
	})
	t.Run("not for another profile", func(t *testing.T) {
		old, p := store.Table(), store.Table().Get("1")
		put(t, store, config)
		identity, err := store.Judge(store.Table(), cs, "a.test", "/")
		require.NoError(t, err)
		require.NotSame(t, first, identity)
		require.Same(t, store.Table().Get("1"), identity.Profile())
		require.NotSame(t, p, identity.Profile())

		// A request that began under the old table ends under it.
		identity, err = store.Judge(old, cs, "a.test", "/")
		require.NoError(t, err)
		require.Same(t, p, identity.Profile())
	})
	t.Run("nor a refusal for another profile", func(t *testing.T) {
		aliens := ssltest.NewCA(t, "aliens")
		put(t, store, server(servers, "1", &ssl.ClientAuth{CAPEM: aliens.PEM()}, "a.test"))
		_, err := store.Judge(store.Table(), cs, "a.test", "/")
		require.Error(t, err)
		put(t, store, config)
		_, err = store.Judge(store.Table(), cs, "a.test", "/")
		require.NoError(t, err)
	})
}

func TestVerdictDoesNotAllocate(t *testing.T) {
	people := ssltest.NewCA(t, "people")
	store := newStore(t, nil, server(people, "1", &ssl.ClientAuth{CAPEM: people.PEM()}, "a.test", "b.test"), server(people, "2", nil, "c.test"))
	table, cs, plain := store.Table(), connection("a.test", people.Client("alice")), &tls.ConnectionState{ServerName: "c.test"}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if i, err := store.Judge(table, cs, "a.test", "/path"); err != nil || i == nil {
			t.Fail()
		}
		if i, err := store.Judge(table, cs, "b.test:9443", "/path"); err != nil || i == nil {
			t.Fail()
		}
		if i, err := store.Judge(table, plain, "c.test", "/path"); err != nil || i != nil {
			t.Fail()
		}
	}))
}

// A chain that is not accepted is not verified for each request, nor to find out why.
func TestRefusalsAreRemembered(t *testing.T) {
	people, strangers := ssltest.NewCA(t, "people"), ssltest.NewCA(t, "strangers")
	store := newStore(t, nil, server(people, "1", &ssl.ClientAuth{CAPEM: people.PEM(), SkipPaths: []string{"^/free$"}}, "a.test"))
	cs := connection("a.test", strangers.Client("mallory"))
	cs.VerifiedChains = nil
	for range 5 {
		cs.PeerCertificates = append(cs.PeerCertificates, strangers.Certificate())
	}
	refused := func() {
		_, err := store.Judge(store.Table(), cs, "a.test", "/")
		var refusal *ssl.RequestError
		require.ErrorAs(t, err, &refusal)
		require.Equal(t, ssl.ReasonUnknownCA, refusal.Reason)
	}
	refused()
	few := testing.AllocsPerRun(10, refused)
	for range 30 {
		cs.PeerCertificates = append(cs.PeerCertificates, strangers.Certificate())
	}
	refused()
	require.Equal(t, few, testing.AllocsPerRun(10, refused))
	require.Less(t, few, 40.0)
}

// What is remembered ends with the first certificate of the chain.
func TestVerdictExpires(t *testing.T) {
	end := time.Now().Add(2 * time.Hour).Truncate(time.Second)
	until := ssltest.Until(end)
	people := ssltest.NewCA(t, "people")
	dying := ssltest.NewCA(t, "dying", until)
	for name, c := range map[string]struct {
		ca   *ssltest.CA
		cert tls.Certificate
	}{
		"leaf":         {people, people.Client("alice", until)},
		"intermediate": {people, people.Intermediate("middle", until).Client("alice")},
		"root":         {dying, dying.Client("alice")},
	} {
		t.Run(name, func(t *testing.T) {
			clock := newClock()
			store := newStore(t, &ssl.Options{Base: &tls.Config{Time: clock.Now}}, server(people, "1", &ssl.ClientAuth{CAPEM: c.ca.PEM()}, "a.test"))
			s := serveTLS(t, store.TLSConfig())
			_, side := s.visit(t, ssltest.ClientConfig("a.test", c.cert))
			require.NoError(t, side.err)
			for _, at := range []time.Time{time.Now(), end.Add(-time.Second), end} {
				clock.Set(at)
				_, err := store.Judge(store.Table(), &side.state, "a.test", "/")
				require.NoError(t, err, "%v", at)
			}
			for range 2 {
				clock.Set(end.Add(time.Second))
				_, err := store.Judge(store.Table(), &side.state, "a.test", "/")
				refusal, ok := err.(*ssl.RequestError)
				require.True(t, ok)
				require.Equal(t, 421, refusal.Status)
				require.True(t, refusal.Close)
			}
		})
	}
}

// The same by the clock of the system, which is not asked for every request: up to
// the last moment and not beyond it, however often somebody asks.
func TestVerdictExpiresByTheClock(t *testing.T) {
	for _, pause := range []time.Duration{10 * time.Millisecond, 333 * time.Millisecond, 7 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			end := time.Now().Add(time.Minute).Truncate(time.Second)
			people := ssltest.NewCA(t, "people") // of the bubble's year
			store := newStore(t, nil, server(people, "1", &ssl.ClientAuth{CAPEM: people.PEM()}, "a.test"))
			alice := people.Client("alice", ssltest.Until(end))
			leaf := connection("", alice).PeerCertificates[0]
			cs := connection("a.test", alice, leaf, people.Certificate())
			for range 2 * time.Minute / pause {
				_, err := store.Judge(store.Table(), cs, "a.test", "/")
				require.Equal(t, time.Now().After(end), err != nil, "%v", time.Until(end))
				time.Sleep(pause)
			}
			require.True(t, time.Now().After(end))
		})
	}
}

// The clock of the guard goes while there are requests, and no longer.
func TestClockStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		people := ssltest.NewCA(t, "people")
		store := newStore(t, nil, server(people, "1", &ssl.ClientAuth{CAPEM: people.PEM()}, "a.test"))
		cs := connection("a.test", people.Client("alice"))
		_, err := store.Judge(store.Table(), cs, "a.test", "/")
		require.NoError(t, err)
		require.False(t, store.ClockRuns(), "what is not remembered yet is judged by the exact time")
		for range 3 {
			for range 100 {
				_, err := store.Judge(store.Table(), cs, "a.test", "/")
				require.NoError(t, err)
				time.Sleep(50 * time.Millisecond)
				require.True(t, store.ClockRuns())
			}
			time.Sleep(time.Second)
			synctest.Wait()
			require.False(t, store.ClockRuns())
		}
	})
}

// An answer that is remembered is that to the same question: the table, the Host
// and the server name count, whatever their length.
func TestSameQuestion(t *testing.T) {
	people := ssltest.NewCA(t, "people")
	auth := &ssl.ClientAuth{CAPEM: people.PEM()}
	store := newStore(t, nil,
		server(people, "1", auth, "a.test", "b.test"),
		server(people, "2", auth, "c.test"),
		server(people, "3", nil, "d.test"),
	)
	cs := connection("a.test", people.Client("alice"))
	elsewhere := *cs
	elsewhere.ServerName = "d.test"
	nameless := *cs
	nameless.ServerName = ""
	table := store.Table()
	other := table.Without("1").With(profile(t, server(people, "4", auth, "a.test", "b.test")))
	for range 3 {
		for _, c := range []struct {
			table *ssl.Table
			cs    *tls.ConnectionState
			host  string
			want  string // the profile's ID, "" for a refusal, "-" for nobody
		}{
			{table, cs, "a.test", "1"}, {table, cs, "b.test", "1"}, {table, cs, "A.TEST", "1"}, {table, cs, "a.test:44", "1"}, {table, cs, "a.test", "1"},
			{table, cs, "c.test", ""}, {table, cs, "d.test", ""}, {table, cs, "e.test", ""}, {table, cs, "a.test", "1"},
			{table, &elsewhere, "a.test", ""}, {table, &nameless, "a.test", ""}, {table, cs, "", ""},
			{table.Without("1"), cs, "a.test", "-"}, {nil, cs, "a.test", "-"}, {&ssl.Table{}, cs, "a.test", "-"}, {other, cs, "a.test", "4"},
		} {
			identity, err := store.Judge(c.table, c.cs, c.host, "/")
			require.Equal(t, c.want == "", err != nil, "%q for %q", c.cs.ServerName, c.host)
			if c.want == "" || c.want == "-" {
				require.Nil(t, identity, "%q for %q", c.cs.ServerName, c.host)
			} else {
				require.Equal(t, c.want, identity.Profile().ID())
			}
		}
	}
}

// A refusal is remembered for a second: a certificate may become valid.
func TestRefusalIsRememberedBriefly(t *testing.T) {
	people := ssltest.NewCA(t, "people")
	bob := people.Client("bob", ssltest.NotYetValid)
	begin := bob.Leaf.NotBefore
	clock := newClock()
	store := newStore(t, &ssl.Options{Base: &tls.Config{Time: clock.Now}}, server(people, "1", &ssl.ClientAuth{CAPEM: people.PEM(), SkipPaths: []string{"^/public"}}, "a.test"))
	cs := connection("a.test", bob)
	for _, c := range []struct {
		at time.Duration
		ok bool
	}{{-time.Hour, false}, {-500 * time.Millisecond, false}, {200 * time.Millisecond, false}, {time.Second, true}, {time.Hour, true}} {
		clock.Set(begin.Add(c.at))
		_, err := store.Judge(store.Table(), cs, "a.test", "/")
		require.Equal(t, c.ok, err == nil, "%v: %v", c.at, err)
	}
}

// collect runs the collector until a condition holds, for a bounded number of
// times. Cleanups run on a goroutine of the runtime.
func collect(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); {
		require.True(t, time.Now().Before(deadline), "something holds on to what should be gone")
		runtime.GC()
		runtime.Gosched()
	}
}

// Nothing is remembered of a connection that is gone, whatever it showed.
func TestVerdictIsForgotten(t *testing.T) {
	servers, people, aliens := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people"), ssltest.NewCA(t, "aliens")
	strict := &ssl.ClientAuth{CAPEM: people.PEM()}
	optional := &ssl.ClientAuth{CAPEM: people.PEM(), SkipPaths: []string{"^/public"}}
	caching := &ssl.ClientAuth{CAPEM: people.PEM(), CacheVerified: true}
	middle := people.Intermediate("middle")
	for _, c := range []struct {
		name   string
		client *ssl.ClientAuth
		cert   tls.Certificate
		judge  bool // and not only the handshake
	}{
		{"accepted", strict, people.Client("alice"), true},
		{"accepted, with an intermediate", strict, middle.Client("alice"), true},
		{"refused in the handshake", strict, aliens.Client("mallory"), false},
		{"optional", optional, people.Client("alice"), true},
		{"optional, another CA", optional, aliens.Client("mallory"), true},
		{"optional, expired", optional, people.Client("alice", ssltest.Expired), true},
		{"optional, too deep", optional, middle.Intermediate("lower").Client("alice"), true},
		{"optional, not asked", optional, people.Client("alice"), false},
		{"cached", caching, people.Client("alice"), true},
		{"cached, another CA", caching, aliens.Client("mallory"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := newStore(t, nil, server(servers, "1", c.client, "a.test"))
			s := serveTLS(t, store.TLSConfig())
			func() {
				var open []side
				for range 8 {
					_, side := s.visit(t, ssltest.ClientConfig("a.test", c.cert))
					if c.judge {
						require.NoError(t, side.err)
						_, _ = store.Judge(store.Table(), &side.state, "a.test", "/")
						_, _ = store.Judge(store.Table(), &side.state, "a.test", "/public")
					}
					open = append(open, side)
				}
				runtime.GC()
				if c.judge {
					require.Equal(t, 8, store.Verdicts(), "as long as the connections are there")
				}
				runtime.KeepAlive(open)
			}()
			collect(t, func() bool { return store.Verdicts() == 0 })
		})
	}

	// In a state that somebody made, the slices may be the same.
	t.Run("one slice for everything", func(t *testing.T) {
		store := newStore(t, nil, server(servers, "1", strict, "a.test"))
		for range 8 {
			cs := connection("a.test", people.Client("alice"))
			cs.PeerCertificates = append(cs.PeerCertificates, people.Certificate())
			cs.VerifiedChains = [][]*x509.Certificate{cs.PeerCertificates}
			_, err := store.Judge(store.Table(), cs, "a.test", "/")
			require.NoError(t, err)
		}
		collect(t, func() bool { return store.Verdicts() == 0 })
	})
}

// The memory of a connection that is gone becomes that of another. No verdict may
// pass from the one to the other.
func TestVerdictIsNotInherited(t *testing.T) {
	servers, people, aliens := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people"), ssltest.NewCA(t, "aliens")
	store := newStore(t, nil, server(servers, "1", &ssl.ClientAuth{CAPEM: people.PEM(), SkipPaths: []string{"^/public"}}, "a.test"))
	table := store.Table()
	root := people.Certificate()
	parse := func(cert tls.Certificate) *x509.Certificate { return connection("", cert).PeerCertificates[0] }
	alice, bob, mallory := parse(people.Client("alice")), parse(people.Client("bob")), parse(aliens.Client("mallory"))
	rounds := 4000
	if testing.Short() {
		rounds = 500
	}
	var workers sync.WaitGroup
	for w := range 4 {
		workers.Go(func() {
			for i := range rounds {
				leaf := []*x509.Certificate{alice, bob, mallory}[(i*7+w)%3]
				cs := &tls.ConnectionState{ServerName: "a.test", PeerCertificates: []*x509.Certificate{leaf}}
				if leaf != mallory {
					// What crypto/tls has verified costs no verification here.
					cs.VerifiedChains = [][]*x509.Certificate{{leaf, root}}
				} else if i%50 != 0 {
					continue // which costs one each time
				}
				for range 2 {
					identity, err := store.Judge(table, cs, "a.test", "/")
					switch {
					case leaf == mallory && (err == nil || identity != nil),
						leaf != mallory && (err != nil || identity.Certificate() != leaf):
						t.Errorf("worker %d, round %d: a verdict of another connection", w, i)
						return
					}
				}
				if i%200 == 0 {
					runtime.GC()
				}
			}
		})
	}
	workers.Wait()
	collect(t, func() bool { return store.Verdicts() == 0 })
}

// States that crypto/tls would not make, from a test or another TLS stack.
func TestStatesByHand(t *testing.T) {
	servers, people, aliens := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people"), ssltest.NewCA(t, "aliens")
	store := newStore(t, nil,
		server(servers, "strict", &ssl.ClientAuth{CAPEM: people.PEM()}, "strict.test"),
		server(servers, "optional", &ssl.ClientAuth{CAPEM: people.PEM(), SkipPaths: []string{"^/public"}}, "optional.test"),
		server(servers, "public", nil, "public.test"),
	)
	alice, mallory := people.Client("alice"), aliens.Client("mallory")
	leaf := connection("", alice).PeerCertificates[0]
	wrong := connection("", mallory).PeerCertificates[0]
	for _, c := range []struct {
		name   string
		cs     *tls.ConnectionState
		status int // 0: served
		close  bool
	}{
		{"empty", &tls.ConnectionState{}, 421, false},
		{"no certificate", &tls.ConnectionState{ServerName: "strict.test"}, 400, false},
		{"not verified, but good", connection("strict.test", alice), 0, false},
		{"not verified, and wrong", connection("strict.test", mallory), 400, false},
		{"verified", connection("strict.test", alice, leaf, people.Certificate()), 0, false},
		{"verified against another root", connection("strict.test", mallory, wrong, aliens.Certificate()), 421, true},
		{"verified against another root, and good", connection("strict.test", alice, leaf, aliens.Certificate()), 0, false},
		{"verified, and without certificates", &tls.ConnectionState{ServerName: "strict.test", VerifiedChains: [][]*x509.Certificate{{leaf, people.Certificate()}}}, 421, true},
		{"an empty chain", func() *tls.ConnectionState {
			cs := connection("strict.test", mallory)
			cs.VerifiedChains = [][]*x509.Certificate{{}, nil}
			return cs
		}(), 421, true},
		{"a certificate that nobody parsed", &tls.ConnectionState{ServerName: "strict.test", PeerCertificates: []*x509.Certificate{{}}}, 400, false},
		{"a name that is none", &tls.ConnectionState{ServerName: "strict test"}, 421, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			identity, err := store.Judge(store.Table(), c.cs, "strict.test", "/")
			if c.status == 0 {
				require.NoError(t, err)
				require.Equal(t, leaf.Raw, identity.Certificate().Raw)
				return
			}
			require.Nil(t, identity)
			refusal, ok := err.(*ssl.RequestError)
			require.True(t, ok)
			require.Equal(t, c.status, refusal.Status)
			require.Equal(t, c.close, refusal.Close)
		})
	}
	// A table of nobody's.
	for _, host := range []string{"", "a.test", "[::1]", "\x00"} {
		_, _ = store.Judge(nil, nil, host, "")
		_, _ = store.Judge(nil, connection("a.test", alice), host, "")
		_, _ = store.Judge(&ssl.Table{}, &tls.ConnectionState{}, host, "*")
	}
}
