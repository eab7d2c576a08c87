package ssl_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// A judge has an Authorize that remembers whom it was asked about.
type judge struct {
	mu     sync.Mutex
	asked  []*ssl.Identity
	answer func(context.Context, *ssl.Identity) error
}

func (j *judge) ask(ctx context.Context, i *ssl.Identity) error {
	j.mu.Lock()
	j.asked = append(j.asked, i)
	answer := j.answer
	j.mu.Unlock()
	if answer == nil {
		return nil
	}
	return answer(ctx, i)
}

// since returns whom it was asked about since the last call.
func (j *judge) since() []*ssl.Identity {
	j.mu.Lock()
	defer j.mu.Unlock()
	asked := j.asked
	j.asked = nil
	return asked
}

func (j *judge) refuse(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.answer = func(context.Context, *ssl.Identity) error { return err }
}

// Authorize is asked once for each handshake, full or resumed, and again when
// the profile was replaced; never for each request.
func TestAuthorizeIsAsked(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	alice := people.Client("alice")
	for _, cached := range []bool{false, true} {
		forVersions(t, func(t *testing.T, version uint16, none int) {
			var j judge
			auth := func(id string) *ssl.ClientAuth {
				return &ssl.ClientAuth{CAPEM: people.PEM(), Authorize: j.ask, AuthorizeID: id, CacheVerified: cached}
			}
			one := server(servers, "1", auth("v1"), "a.test")
			store := newStore(t, nil, one)
			s := serveTLS(t, store.TLSConfig())
			i := &intruder{t: t, version: version}

			_, alert, open := i.visit(s, "a.test", alice)
			require.Equal(t, noAlert, alert)
			asked := j.since()
			require.Len(t, asked, 1, "at a full handshake")
			require.Equal(t, alice.Leaf.Raw, asked[0].Certificate().Raw)
			require.Equal(t, "CN=alice", asked[0].Subject())
			require.Len(t, asked[0].Chain(), 2)
			require.Same(t, store.Table().Lookup("a.test"), asked[0].Profile())
			require.False(t, asked[0].Resumed())

			resumed, _, _ := i.visit(s, "a.test")
			require.True(t, resumed)
			asked = j.since()
			require.Len(t, asked, 1, "at a resumed handshake")
			require.True(t, asked[0].Resumed())

			for range 3 {
				_, err := store.Judge(store.Table(), &open.state, "a.test", "/")
				require.NoError(t, err)
			}
			require.Empty(t, j.since(), "its answer holds for the connection")

			put(t, store, one)
			for range 3 {
				_, err := store.Judge(store.Table(), &open.state, "a.test", "/")
				require.NoError(t, err)
			}
			asked = j.since()
			require.Len(t, asked, 1, "after the profile was replaced")
			require.Same(t, store.Table().Lookup("a.test"), asked[0].Profile())

			// The same ID: the session is still good, but the answer counts.
			j.refuse(errors.New("no more"))
			i.cache.keep = true
			_, alert, side := i.visit(s, "a.test", alice)
			require.Equal(t, badCertificate, alert)
			require.ErrorContains(t, side.err, "no more")
			require.Len(t, j.since(), 1)

			// Another ID: the session is gone.
			j.refuse(nil)
			one.Client = auth("v2")
			put(t, store, one)
			_, alert, _ = i.visit(s, "a.test")
			require.Equal(t, none, alert)
			require.Empty(t, j.since(), "nobody without a certificate is asked about")

			j.refuse(errors.New("no more"))
			_, err := store.Judge(store.Table(), &open.state, "a.test", "/")
			require.Error(t, err)
			require.Equal(t, http.StatusMisdirectedRequest, err.(*ssl.RequestError).Status)
			require.True(t, err.(*ssl.RequestError).Close)
			require.NotContains(t, err.(*ssl.RequestError).Message, "no more", "the client is told nothing of it")
		})
	}
}

// It is asked before the client has shown that it has the key: crypto/tls has no place
// behind that. Who has only somebody's certificate gets no further, and no Identity.
func TestAuthorizeIsAskedBeforeTheKey(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	stolen := people.Client("alice")
	stolen.PrivateKey = people.Client("mallory").PrivateKey
	for _, cached := range []bool{false, true} {
		forVersions(t, func(t *testing.T, version uint16, _ int) {
			var j judge
			auth := &ssl.ClientAuth{CAPEM: people.PEM(), Authorize: j.ask, AuthorizeID: "1", CacheVerified: cached}
			d := newDoor(t, nil, server(servers, "1", auth, "a.test"))
			_, passage := d.visit(t, client(version, "a.test", stolen))
			require.NotNil(t, passage.err)
			require.ErrorContains(t, passage.err, "invalid signature by the client certificate")
			require.Len(t, j.since(), 1)
		})
	}
}

// Where its refusal does not end the connection, it is asked again after a while, and
// where it accepts the client, it is not.
func TestAuthorizeIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // or verifying the chain may take its time, and lengthen the while
		people := ssltest.NewCA(t, "people")
		clock := newClock()
		var j judge
		auth := &ssl.ClientAuth{CAPEM: people.PEM(), SkipPaths: []string{"^/free$"}, Authorize: j.ask, AuthorizeID: "1"}
		store := newStore(t, &ssl.Options{Base: &tls.Config{Time: clock.Now}}, server(people, "1", auth, "a.test"))
		cs := connection("a.test", people.Client("alice"))
		begin := clock.Now()
		j.refuse(errors.New("not yet"))
		for _, c := range []struct {
			at    time.Duration
			asked int
			ok    bool
		}{{0, 1, false}, {900 * time.Millisecond, 0, false}, {2 * time.Second, 1, false}, {4 * time.Second, 1, true}, {time.Hour, 0, true}} {
			clock.Set(begin.Add(c.at))
			if c.ok {
				j.refuse(nil)
			}
			for range 3 {
				_, err := store.Judge(store.Table(), cs, "a.test", "/")
				require.Equal(t, c.ok, err == nil, "%v: %v", c.at, err)
			}
			require.Len(t, j.since(), c.asked, c.at)
		}
	})
}

// It is asked about those alone whom all else lets in.
func TestAuthorizeIsAskedLast(t *testing.T) {
	servers, people, others := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people"), ssltest.NewCA(t, "others")
	revoked := people.Client("alice")
	for _, cached := range []bool{false, true} {
		var j judge
		d := newDoor(t, nil, server(servers, "1", &ssl.ClientAuth{
			CAPEM: people.PEM(), Authorize: j.ask, AuthorizeID: "1", CacheVerified: cached,
			CRLs: [][]byte{people.CRL(time.Now().Add(time.Hour), revoked.Leaf)}, Allow: &ssl.Allow{CommonNames: []string{"alice"}},
		}, "a.test"))
		for _, cert := range []tls.Certificate{
			others.Client("alice"), revoked, people.Client("bob"), people.Client("alice", ssltest.Expired),
			people.Intermediate("1").Intermediate("2").Client("alice"), people.Client("alice", ssltest.Usage(x509.ExtKeyUsageServerAuth)),
		} {
			_, passage := d.visit(t, ssltest.ClientConfig("a.test", cert))
			require.NotNil(t, passage.err)
		}
		require.Empty(t, j.since())
	}
}

// Whatever becomes of it, short of nil, keeps the client out, with the reason
// not_allowed and what it presented.
func TestAuthorizeRefuses(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	alice := people.Client("alice")
	for name, answer := range map[string]func(context.Context, *ssl.Identity) error{
		"error": func(context.Context, *ssl.Identity) error { return errors.New("no") },
		"panic": func(context.Context, *ssl.Identity) error { panic("no") },
		"nil panic": func(context.Context, *ssl.Identity) error {
			var none *ssl.Identity
			return errors.New(none.Subject())
		},
		"the context's end": func(context.Context, *ssl.Identity) error { return context.DeadlineExceeded },
		"a timeout":         func(context.Context, *ssl.Identity) error { return os.ErrDeadlineExceeded },
		// What may come from a server that it asks.
		"a certificate that fails": func(context.Context, *ssl.Identity) error {
			return &tls.CertificateVerificationError{UnverifiedCertificates: []*x509.Certificate{servers.Certificate()}, Err: x509.UnknownAuthorityError{}}
		},
	} {
		for _, cached := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				auth := &ssl.ClientAuth{CAPEM: people.PEM(), Authorize: answer, AuthorizeID: "1", CacheVerified: cached}
				d := newDoor(t, nil, server(servers, "1", auth, "a.test"))
				_, passage := d.visit(t, client(tls.VersionTLS13, "a.test", alice))
				require.NotNil(t, passage.err)
				require.Equal(t, ssl.ReasonNotAllowed, passage.err.Reason)
				require.ErrorContains(t, passage.err, "the profile's Authorize refuses the client")
				require.Equal(t, alice.Leaf.Raw, passage.err.Certificate.Raw)
			})
		}
	}
}

// The context ends after the time of a handshake.
func TestAuthorizeContext(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	alice := people.Client("alice")
	config := server(servers, "1", nil, "a.test")
	synctest.Test(t, func(t *testing.T) {
		var took time.Duration
		config.Client = &ssl.ClientAuth{CAPEM: people.PEM(), AuthorizeID: "1", Authorize: func(ctx context.Context, _ *ssl.Identity) error {
			start := time.Now()
			<-ctx.Done()
			took = time.Since(start)
			return ctx.Err()
		}}
		// The clock of synctest begins in the year 2000.
		now := alice.Leaf.NotBefore.Add(time.Hour)
		store := must(ssl.NewStore(&ssl.Options{HandshakeTimeout: 3 * time.Second, Base: &tls.Config{Time: func() time.Time { return now }}}))
		_, err := store.Put(config)
		require.NoError(t, err)
		state := &tls.ConnectionState{ServerName: "a.test", PeerCertificates: []*x509.Certificate{alice.Leaf}, VerifiedChains: [][]*x509.Certificate{{alice.Leaf, people.Certificate()}}}
		_, err = store.Judge(store.Table(), state, "a.test", "/")
		require.Error(t, err)
		require.Equal(t, 3*time.Second, took)
	})
}

// Without a name for what it decides by, no session could know when to end.
func TestAuthorizeID(t *testing.T) {
	ca := ssltest.NewCA(t, "ca")
	var j judge
	_, err := ssl.New(server(ca, "1", &ssl.ClientAuth{CAPEM: ca.PEM(), Authorize: j.ask}, "a.test"))
	faults := configErrors(t, err)
	require.Len(t, faults, 1)
	require.Equal(t, "Client.AuthorizeID", faults[0].Field)
	require.ErrorContains(t, err, "is empty")
}
