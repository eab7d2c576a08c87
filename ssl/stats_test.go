package ssl_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// accepted makes a handshake with a listener that is accepted from, and returns when it
// is over on both sides.
func accepted(t *testing.T, l net.Listener, config *tls.Config) {
	t.Helper()
	conn, err := tls.Dial("tcp", l.Addr().String(), config)
	require.NoError(t, err)
	_, err = io.ReadFull(conn, make([]byte, 1)) // of acceptAll: it was counted before
	require.NoError(t, err)
	conn.Close()
}

// Handshakes count by profile, version and kind, over changes of the profile.
func TestStats(t *testing.T) {
	servers := ssltest.NewCA(t, "servers")
	store := newStore(t, nil, server(servers, "b", nil, "b.test"), server(servers, "a", nil, "a.test"))
	l := store.Listener(listen(t))
	acceptAll(t, l)
	begun := time.Now()
	accepted(t, l, client(tls.VersionTLS12, "a.test"))
	accepted(t, l, client(tls.VersionTLS13, "a.test"))
	returning := client(tls.VersionTLS13, "a.test")
	returning.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for range 3 {
		accepted(t, l, returning)
	}
	accepted(t, l, client(tls.VersionTLS13, "b.test"))
	took := time.Since(begun)

	st := store.Stats()
	require.Equal(t, []string{"a", "b"}, []string{st.Profiles[0].ID, st.Profiles[1].ID})
	a := st.Profiles[0].Handshakes
	require.Equal(t, ssl.VersionCounts{TLS12: 1, TLS13: 2}, a.Full)
	require.Equal(t, ssl.VersionCounts{TLS13: 2}, a.Resumed)
	require.EqualValues(t, 5, a.Succeeded())
	require.EqualValues(t, 5, a.Duration.Count)
	require.Len(t, a.Duration.Counts, len(a.Duration.Bounds)+1)
	require.Positive(t, a.Duration.Sum)
	require.Less(t, a.Duration.Sum, took)
	require.Empty(t, a.Failed)
	require.EqualValues(t, 1, st.Profiles[1].Handshakes.Succeeded())
	require.EqualValues(t, 6, st.All.Succeeded())
	require.Equal(t, st.All, store.Handshakes())
	require.Zero(t, st.NoProfile.Succeeded())

	// Replaced, it goes on; deleted, it is gone; and made again, it begins again.
	put(t, store, server(servers, "a", nil, "a.test", "x.test"))
	accepted(t, l, client(tls.VersionTLS13, "x.test"))
	require.EqualValues(t, 6, store.Stats().Profiles[0].Handshakes.Succeeded())
	store.Delete("a")
	st = store.Stats()
	require.Len(t, st.Profiles, 1)
	require.EqualValues(t, 7, st.All.Succeeded())
	put(t, store, server(servers, "a", nil, "a.test"))
	require.Zero(t, store.Stats().Profiles[0].Handshakes.Succeeded())
	accepted(t, l, client(tls.VersionTLS13, "a.test"))
	require.EqualValues(t, 1, store.Stats().Profiles[0].Handshakes.Succeeded())
	require.Empty(t, must(ssl.NewStore(nil)).Stats().Profiles)
}

// A profile whose counts were dropped while it was away counts again when the very same
// one comes back.
func TestStatsOfAReturningProfile(t *testing.T) {
	p := profile(t, server(ssltest.NewCA(t, "servers"), "1", nil, "a.test"))
	with := (*ssl.Table)(nil).With(p)
	table := with
	var mu sync.Mutex
	tm := must(ssl.NewTerminator(func() *ssl.Table {
		mu.Lock()
		defer mu.Unlock()
		return table
	}, nil))
	set := func(t *ssl.Table) {
		mu.Lock()
		defer mu.Unlock()
		table = t
	}
	l := tm.Listener(listen(t))
	acceptAll(t, l)
	accepted(t, l, client(tls.VersionTLS13, "a.test"))
	set(nil)
	require.Empty(t, tm.Stats().Profiles)
	set(with)
	require.Zero(t, tm.Stats().Profiles[0].Handshakes.Succeeded())
	accepted(t, l, client(tls.VersionTLS13, "a.test"))
	require.EqualValues(t, 1, tm.Stats().Profiles[0].Handshakes.Succeeded())
}

// What was counted of profiles that come and go is not kept for ever, even if nobody asks.
func TestCountsAreForgotten(t *testing.T) {
	ca := ssltest.NewCA(t, "servers")
	store := newStore(t, nil, server(ca, "stays", nil, "stays.test"))
	pair := ca.Server("a.test")
	hello := &tls.ClientHelloInfo{ServerName: "a.test"}
	for i := range 1000 {
		id := fmt.Sprint(i)
		put(t, store, ssl.Config{ID: id, Names: []string{"a.test"}, Certificates: []ssl.KeyPair{pair}})
		_, err := store.GetConfigForClient(hello)
		require.NoError(t, err)
		store.Delete(id)
	}
	require.Less(t, ssl.Counted(store.Terminator), 100)
}

// While profiles are replaced, and others come and go, no count of one that stays goes
// down, and none is lost.
func TestStatsNeverGoDown(t *testing.T) {
	ca := ssltest.NewCA(t, "servers")
	stays, pair := server(ca, "stays", nil, "a.test"), ca.Server("b.test")
	store := newStore(t, nil, stays)
	l := store.Listener(listen(t))
	acceptAll(t, l)
	done := make(chan struct{})
	var shaking, rest sync.WaitGroup
	const clients, each = 4, 25
	for range clients {
		shaking.Go(func() {
			for range each {
				accepted(t, l, client(tls.VersionTLS13, "a.test"))
			}
		})
	}
	until := func(do func(n int)) {
		rest.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
					do(n)
				}
			}
		})
	}
	until(func(n int) {
		other := ssl.Config{ID: fmt.Sprint(n % 7), Names: []string{"b.test"}, Certificates: []ssl.KeyPair{pair}}
		if _, err := store.Apply(ssl.Change{Put: []ssl.Config{stays, other}, Delete: []string{fmt.Sprint((n + 3) % 7), "stays"}}); err != nil {
			t.Error(err)
		}
		_, _ = store.GetConfigForClient(&tls.ClientHelloInfo{ServerName: "b.test"})
	})
	last := uint64(0)
	until(func(int) {
		st := store.Stats()
		i := slices.IndexFunc(st.Profiles, func(p ssl.ProfileStats) bool { return p.ID == "stays" })
		if now := st.Profiles[i].Handshakes.Succeeded(); now < last {
			t.Errorf("%d after %d", now, last)
		} else {
			last = now
		}
	})
	shaking.Wait()
	close(done)
	rest.Wait()
	st := store.Stats()
	require.EqualValues(t, clients*each, st.Profiles[slices.IndexFunc(st.Profiles, func(p ssl.ProfileStats) bool { return p.ID == "stays" })].Handshakes.Succeeded())
}

// Counting allocates nothing.
func TestCountingAllocatesNothing(t *testing.T) {
	count := ssl.CountHandshake(must(ssl.NewStore(nil)).Terminator)
	require.Zero(t, testing.AllocsPerRun(100, count))
}

func BenchmarkCountHandshake(b *testing.B) {
	count := ssl.CountHandshake(must(ssl.NewStore(nil)).Terminator)
	b.ReportAllocs()
	for b.Loop() {
		count()
	}
}

// TestReadmeReasons compares the table of the README with what advice is made of.
func TestReadmeReasons(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	_, section, ok := strings.Cut(string(readme), "## Why was my client refused?")
	require.True(t, ok)
	section, _, _ = strings.Cut(section, "\n## ")
	var rows []string
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "| `") {
			rows = append(rows, strings.TrimSpace(line))
		}
	}
	var want []string
	for _, reason := range ssl.Reasons() {
		want = append(want, fmt.Sprintf("| `%s` | %s | %s |", reason, reason.Meaning(), reason.Remedy()))
	}
	require.Equal(t, want, rows)
	require.Equal(t, reasons(t), ssl.Reasons())
	for _, reason := range ssl.Reasons() {
		require.NotEmpty(t, reason.Meaning())
		require.NotEmpty(t, reason.Remedy())
	}
	require.Empty(t, ssl.Reason("x").Meaning())
}

// What TestHandshakeReasons does not come to.
func TestAdvice(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	old := ssltest.NewCA(t, "old", ssltest.Expired)
	var many []byte
	for i := range 7 {
		many = append(many, ssltest.NewCA(t, fmt.Sprint("ca", i)).PEM()...)
	}
	authorize := func(context.Context, *ssl.Identity) error { return errors.New("not today") }
	self := asClient(t, selfSigned(t, rsaKey(), rsaKey().Public(), "self"))
	o := &ssl.Options{}
	reports := newReports(o)
	store := must(ssl.NewStore(o))
	_, err := store.Put(
		server(servers, "missing", &ssl.ClientAuth{CAPEM: people.PEM(), CRLs: [][]byte{servers.CRL(time.Now().Add(time.Hour))}}, "missing.test"),
		server(servers, "stale", &ssl.ClientAuth{CAPEM: people.PEM(), CRLs: [][]byte{people.CRL(time.Now().Add(-time.Hour))}}, "stale.test"),
		server(servers, "asks", &ssl.ClientAuth{CAPEM: people.PEM(), Authorize: authorize, AuthorizeID: "1"}, "asks.test"),
		server(servers, "many", &ssl.ClientAuth{CAPEM: many}, "many.test"),
		server(servers, "old", &ssl.ClientAuth{CAPEM: old.PEM()}, "old.test"),
	)
	require.NoError(t, err)
	l := store.Listener(listen(t))
	acceptAll(t, l)
	alice := people.Client("alice")
	for _, c := range []struct {
		name  string
		cert  tls.Certificate
		cause string
	}{
		{"missing.test", alice, `the profile "missing" has no CRL of an issuer in the chain of CN=alice: `},
		{"stale.test", alice, `a CRL of the profile "stale" that the chain of CN=alice needs is past its next update: `},
		{"asks.test", alice, `the function Authorize of the profile "asks" refuses CN=alice: `},
		{"many.test", alice, `the client's issuer CN=people is not among the CAs of the profile "many" (CN=ca0; CN=ca1; CN=ca2; CN=ca3 and 3 more): `},
		{"many.test", self, `the certificate of CN=self is self-signed, and not among the CAs of the profile "many"`},
		{"old.test", old.Client("bob"), `the certificate of CN=old expired on `},
	} {
		require.Error(t, handshake(t, l.Addr(), client(tls.VersionTLS13, c.name, c.cert)).err)
		e := <-reports.failed
		require.True(t, strings.HasPrefix(e.Advice(), c.cause), e.Advice())
	}
}

// The guard's refusals say why, and what to do.
func TestGuardAdvice(t *testing.T) {
	servers, people, aliens := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people"), ssltest.NewCA(t, "aliens")
	store := newStore(t, nil,
		server(servers, "public", nil, "public.test"),
		server(servers, "strict", &ssl.ClientAuth{CAPEM: people.PEM()}, "strict.test"),
		server(servers, "optional", &ssl.ClientAuth{CAPEM: people.PEM(), SkipPaths: []string{"^/free"}}, "optional.test"),
	)
	s := serveTLS(t, store.TLSConfig())
	state := func(name string, certs ...tls.Certificate) *tls.ConnectionState {
		_, side := s.visit(t, ssltest.ClientConfig(name, certs...))
		require.NoError(t, side.err)
		return &side.state
	}
	strict := state("strict.test", people.Client("alice"))
	for _, c := range []struct {
		cs     *tls.ConnectionState
		host   string
		status int
		reason ssl.Reason
		cause  string
	}{
		{state("public.test"), "strict.test", 421, ssl.ReasonMisdirected, `the request is for "strict.test", and its connection was made for "public.test": `},
		{&tls.ConnectionState{}, "strict.test", 421, ssl.ReasonMisdirected, `the request is for "strict.test", and its connection was made without a server name: `},
		{nil, "strict.test", 403, ssl.ReasonPlainHTTP, `the request for "strict.test" came over plain HTTP, and client certificates are demanded: `},
		{nil, "a..\n", 400, ssl.ReasonBadHost, `the Host "a..\n" is not a valid name: `},
		{state("optional.test"), "optional.test", 400, ssl.ReasonNoClientCert, `the profile "optional" demands a certificate of CN=people, and the client sent none: `},
		{state("optional.test", aliens.Client("mallory")), "optional.test", 400, ssl.ReasonUnknownCA, `the client's issuer CN=aliens is not among the CAs of the profile "optional" (CN=people): `},
		{state("optional.test", people.Client("old", ssltest.Expired)), "optional.test", 400, ssl.ReasonExpired, `the certificate of CN=old expired on `},
	} {
		_, err := store.Judge(store.Table(), c.cs, c.host, "/")
		var refusal *ssl.RequestError
		require.ErrorAs(t, err, &refusal)
		require.Equal(t, c.status, refusal.Status)
		require.Equal(t, c.reason, refusal.Reason)
		require.True(t, strings.HasPrefix(refusal.Advice(), c.cause), refusal.Advice())
		require.True(t, strings.HasSuffix(refusal.Advice(), ": "+c.reason.Remedy()), refusal.Advice())
		require.Equal(t, c.status == 400 && c.cs != nil && len(c.cs.PeerCertificates) > 0, refusal.Certificate != nil)
	}
	put(t, store, server(servers, "strict", &ssl.ClientAuth{CAPEM: aliens.PEM()}, "strict.test"))
	_, err := store.Judge(store.Table(), strict, "strict.test", "/")
	var refusal *ssl.RequestError
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, http.StatusMisdirectedRequest, refusal.Status)
	require.Equal(t, ssl.ReasonUnknownCA, refusal.Reason)
	require.True(t, strings.HasPrefix(refusal.Advice(), `the client was accepted before and no longer is: the client's issuer CN=people is not among`), refusal.Advice())
}

// A burst of scanners does not fill the log, and does not hide other reasons.
func TestFloodOfHandshakes(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	config := server(ca, "1", nil, "a.test")
	for _, to := range []string{"Logger", "HandshakeLog"} {
		t.Run(to, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &ssl.Options{}
				reports := newReports(o)
				if to == "HandshakeLog" {
					o.HandshakeLog = o.Logger
					o.Logger = slog.New(slog.NewTextHandler(failingWriter{t}, nil))
				}
				store := bubbleStore(t, o, config)
				p := newPipes()
				l := store.Listener(p)
				acceptAll(t, l)
				count := func(text string) int {
					reports.mu.Lock()
					defer reports.mu.Unlock()
					return strings.Count(reports.log.String(), text)
				}
				scan := func(n int) {
					for range n {
						c := p.dial(t)
						_ = c.Close()
						require.Equal(t, ssl.ReasonClientAbort, (<-reports.failed).Reason)
					}
				}
				scan(500)
				c := tls.Client(p.dial(t), ssltest.ClientConfig("unknown.test"))
				require.Error(t, c.Handshake())
				require.Equal(t, ssl.ReasonUnknownSNI, (<-reports.failed).Reason)
				require.Equal(t, 10, count("client_abort"))
				require.Equal(t, 1, count("unknown_sni"))
				require.Zero(t, count("unreported"))
				time.Sleep(time.Second)
				scan(1)
				require.Equal(t, 11, count("client_abort"))
				require.Equal(t, 1, count(`"unreported":490`))
				require.EqualValues(t, 501, store.Stats().NoProfile.Failed[1].Count, "they are counted all the same")
			})
		})
	}
}

// A failingWriter is where nothing may be written to.
type failingWriter struct{ t *testing.T }

func (w failingWriter) Write(p []byte) (int, error) {
	w.t.Errorf("logged twice: %s", p)
	return len(p), nil
}

// What a profile does not have does not count as the soonest.
func TestSoonest(t *testing.T) {
	at := func(day int) time.Time { return time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC) }
	profile := func(update time.Time, ends ...time.Time) ssl.ProfileStats {
		return ssl.ProfileStats{NotAfter: ends, CRLNextUpdate: update}
	}
	for name, c := range map[string]struct {
		profiles         []ssl.ProfileStats
		notAfter, update time.Time
	}{
		"no profile":      {nil, time.Time{}, time.Time{}},
		"no lists":        {[]ssl.ProfileStats{profile(time.Time{}, at(3)), profile(time.Time{}, at(2))}, at(2), time.Time{}},
		"several of one":  {[]ssl.ProfileStats{profile(at(9), at(3), at(1), at(2))}, at(1), at(9)},
		"lists of others": {[]ssl.ProfileStats{profile(time.Time{}, at(1)), profile(at(8), at(2)), profile(time.Time{}, at(3)), profile(at(7), at(4)), profile(at(9)), profile(time.Time{}, at(5))}, at(1), at(7)},
	} {
		notAfter, update := ssl.Stats{Profiles: c.profiles}.Soonest()
		require.Equal(t, c.notAfter, notAfter, name)
		require.Equal(t, c.update, update, name)
	}
}
