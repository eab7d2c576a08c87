package ssl_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// An intruder offers one session at every name.
type intruder struct {
	t       *testing.T
	version uint16
	cache   stolenSession
}

// visit makes a connection with whatever session there is. It shows a certificate
// if the handshake is a full one and it has one.
func (i *intruder) visit(s *tlsServer, name string, certs ...tls.Certificate) (resumed bool, alert int, server side) {
	i.t.Helper()
	config := client(i.version, name, certs...)
	config.ClientSessionCache = &i.cache
	c, server := s.visit(i.t, config)
	alert = alertOf(c.err)
	if alert == noAlert {
		require.NoError(i.t, c.err)
		require.NoError(i.t, server.err)
		require.Equal(i.t, c.state.DidResume, server.state.DidResume)
	}
	return c.state.DidResume, alert, server
}

// What becomes of a session: at its own name, at another, and after each kind of
// change. crypto/tls alone resumes in most of these cases.
func TestResumption(t *testing.T) {
	servers, people, others := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people"), ssltest.NewCA(t, "others")
	middle := people.Intermediate("middle")
	pairs := map[string]ssl.KeyPair{}
	for _, name := range []string{"a.test", "b.test", "unknown.test"} {
		pairs[name] = servers.Server(name)
	}
	config := func(id, name string, client *ssl.ClientAuth) ssl.Config {
		return ssl.Config{ID: id, Names: []string{name}, Certificates: []ssl.KeyPair{pairs[name]}, Client: client}
	}
	auth := func(depth int, skips []string, cas ...*ssltest.CA) *ssl.ClientAuth {
		c := &ssl.ClientAuth{Depth: depth, SkipPaths: skips}
		for _, ca := range cas {
			c.CAPEM = append(c.CAPEM, ca.PEM()...)
		}
		return c
	}
	replace := func(c ssl.Config) func(*ssl.Store) error {
		return func(s *ssl.Store) error { _, err := s.Put(c); return err }
	}
	people1 := auth(0, nil, people)
	alice, deep := people.Client("alice"), middle.Client("deep")

	type outcome int
	const (
		resumes outcome = iota
		full            // a full handshake, which succeeds
		none            // a full handshake, refused for want of a certificate
		unknown         // refused with unknown_ca
		noName          // refused with unrecognized_name
	)
	for _, c := range []struct {
		name   string
		a, b   *ssl.ClientAuth
		cert   *tls.Certificate // nil: none
		change func(*ssl.Store) error
		at     string
		want   outcome

		// With the session alone, without the certificate.
		bare outcome
	}{
		{"same name", people1, people1, &alice, nil, "a.test", resumes, resumes},
		{"another name of the same CA", people1, people1, &alice, nil, "b.test", full, none},
		{"another name of another CA", people1, auth(0, nil, others), &alice, nil, "b.test", unknown, none},
		{"another name that demands none", people1, nil, &alice, nil, "b.test", full, full},
		{"another name with free paths", people1, auth(0, []string{"^/p"}, people), &alice, nil, "b.test", full, full},
		{"from a name that demands none", nil, people1, nil, nil, "b.test", none, none},
		{"from a name that demands none, to its like", nil, nil, nil, nil, "b.test", full, full},
		{"from free paths to a demanding name", auth(0, []string{"^/p"}, people), people1, nil, nil, "b.test", none, none},
		{"unknown name", people1, people1, &alice, nil, "unknown.test", noName, noName},
		{"no name", people1, people1, &alice, nil, "", noName, noName},
		{"unknown name, nothing demanded", nil, nil, nil, nil, "unknown.test", noName, noName},

		{"deleted", people1, people1, &alice, func(s *ssl.Store) error { s.Delete("a"); return nil }, "a.test", noName, noName},
		{"deleted and another's", people1, people1, &alice, func(s *ssl.Store) error {
			_, err := s.Apply(ssl.Change{Delete: []string{"a"}, Put: []ssl.Config{config("c", "a.test", people1)}})
			return err
		}, "a.test", full, none},
		{"an older profile took the name", people1, people1, &alice, replace(ssl.Config{ID: "0", Names: []string{"a.test", "b.test"}, Certificates: []ssl.KeyPair{pairs["a.test"]}, Client: people1}), "a.test", full, none},
		{"replaced by an equal one", people1, people1, &alice, replace(config("a", "a.test", auth(ssl.DefaultDepth, nil, people, people))), "a.test", resumes, resumes},
		{"another certificate for the server", people1, people1, &alice, replace(ssl.Config{ID: "a", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{servers.Server("a.test")}, Client: people1}), "a.test", resumes, resumes},
		{"CA replaced", people1, people1, &alice, replace(config("a", "a.test", auth(0, nil, others))), "a.test", unknown, none},
		{"CA added", people1, people1, &alice, replace(config("a", "a.test", auth(0, nil, people, others))), "a.test", full, none},
		{"CA removed", auth(0, nil, people, others), nil, &alice, replace(config("a", "a.test", people1)), "a.test", full, none},
		{"depth lowered", people1, nil, &deep, replace(config("a", "a.test", auth(ssl.NoIntermediates, nil, people))), "a.test", unknown, none},
		{"depth raised", people1, nil, &deep, replace(config("a", "a.test", auth(2, nil, people))), "a.test", full, none},
		{"free paths added", people1, nil, &alice, replace(config("a", "a.test", auth(0, []string{"^/p"}, people))), "a.test", full, full},
		{"free paths removed", auth(0, []string{"^/p"}, people), nil, &alice, replace(config("a", "a.test", people1)), "a.test", full, none},
		{"free paths changed", auth(0, []string{"^/p", "^/q"}, people), nil, &alice, replace(config("a", "a.test", auth(0, []string{"^/p^/q"}, people))), "a.test", full, full},
		{"free paths in another order", auth(0, []string{"^/p", "^/q"}, people), nil, &alice, replace(config("a", "a.test", auth(0, []string{"^/q", "^/p"}, people))), "a.test", resumes, resumes},
		{"certificates demanded from now on", nil, nil, nil, replace(config("a", "a.test", people1)), "a.test", none, none},
		{"certificates demanded no more", people1, nil, &alice, replace(config("a", "a.test", nil)), "a.test", full, full},
		{"an unrelated change", people1, people1, &alice, replace(config("b", "b.test", nil)), "a.test", resumes, resumes},
	} {
		t.Run(c.name, func(t *testing.T) {
			forVersions(t, func(t *testing.T, version uint16, noCert int) {
				store := must(ssl.NewStore(nil))
				if c.name == "an older profile took the name" {
					// It is there from the start, and has the name later.
					_, err := store.Put(ssl.Config{ID: "0", Names: []string{"c.test"}, Certificates: []ssl.KeyPair{pairs["a.test"]}})
					require.NoError(t, err)
				}
				put(t, store, config("a", "a.test", c.a), config("b", "b.test", c.b))
				s := serveTLS(t, store.TLSConfig())
				i := &intruder{t: t, version: version}
				var certs []tls.Certificate
				if c.cert != nil {
					certs = []tls.Certificate{*c.cert}
				}

				// The session works where it was made: otherwise the rest says
				// nothing.
				resumed, alert, _ := i.visit(s, "a.test", certs...)
				require.False(t, resumed)
				require.Equal(t, noAlert, alert)
				resumed, alert, _ = i.visit(s, "a.test")
				require.True(t, resumed)
				require.Equal(t, noAlert, alert)
				if c.change != nil {
					require.NoError(t, c.change(store))
				}

				check := func(want outcome, certs ...tls.Certificate) side {
					i.cache.keep = true
					resumed, alert, server := i.visit(s, c.at, certs...)
					require.Equal(t, want == resumes, resumed && alert == noAlert, "resumed; alert %d", alert)
					require.Equal(t, map[outcome]int{none: noCert, unknown: unknownCA, noName: unrecognizedName, resumes: noAlert, full: noAlert}[want], alert)
					return server
				}
				check(c.bare)
				server := check(c.want, certs...)

				// Whoever is let in is judged by what holds now.
				if p := store.Table().Lookup(c.at); c.want <= full && p.DemandsClientCert() {
					identity, err := store.Judge(store.Table(), &server.state, c.at, "/")
					require.NoError(t, err)
					require.Same(t, p, identity.Profile())
					require.Equal(t, c.want == resumes, identity.Resumed())
				}

				// Declining is for once: the next session is good again.
				if c.want == full {
					i.cache.keep = false
					_, alert, _ = i.visit(s, c.at, certs...)
					require.Equal(t, noAlert, alert)
					resumed, alert, _ = i.visit(s, c.at)
					require.Equal(t, noAlert, alert)
					require.True(t, resumed)
				}
			})
		})
	}
}

// No session opens a name that nobody has, although crypto/tls would look for no
// certificate then. Where the ticket keys are Base's, the configuration of such a
// name has them too, and nothing else stands against it than that it takes no
// tickets.
func TestResumptionAtUnknownNames(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	for _, keys := range [][][32]byte{nil, {{1}}} {
		for _, auth := range []*ssl.ClientAuth{nil, {CAPEM: ca.PEM()}} {
			forVersions(t, func(t *testing.T, version uint16, _ int) {
				base := &tls.Config{}
				if keys != nil {
					base.SetSessionTicketKeys(keys)
				}
				store := newStore(t, &ssl.Options{Base: base}, server(ca, "1", auth, "a.test"))
				s := serveTLS(t, store.TLSConfig())
				i := &intruder{t: t, version: version}
				var certs []tls.Certificate
				if auth != nil {
					certs = append(certs, ca.Client("alice"))
				}
				i.visit(s, "a.test", certs...)
				i.cache.keep = true
				resumed, _, _ := i.visit(s, "a.test")
				require.True(t, resumed)
				for _, name := range []string{"unknown.test", ""} {
					_, alert, _ := i.visit(s, name)
					require.Equal(t, unrecognizedName, alert, "%q", name)
				}
				store.Delete("1")
				_, alert, _ := i.visit(s, "a.test")
				require.Equal(t, unrecognizedName, alert)
			})
		}
	}
}

// A session ends with the certificate of the client, or that of an intermediate or
// root, whichever is first.
func TestResumptionUntilExpiry(t *testing.T) {
	end := time.Now().Add(2 * time.Hour).Truncate(time.Second)
	until := ssltest.Until(end)
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	dying := ssltest.NewCA(t, "dying", until)
	for _, c := range []struct {
		name string
		ca   *ssltest.CA
		cert tls.Certificate
	}{
		{"leaf", people, people.Client("alice", until)},
		{"intermediate", people, people.Intermediate("middle", until).Client("alice")},
		{"root", dying, dying.Client("alice")},
	} {
		for _, skips := range [][]string{nil, {"^/public"}} {
			t.Run(c.name, func(t *testing.T) {
				forVersions(t, func(t *testing.T, version uint16, _ int) {
					clock := newClock()
					store := newStore(t, &ssl.Options{Base: &tls.Config{Time: clock.Now}},
						server(servers, "1", &ssl.ClientAuth{CAPEM: c.ca.PEM(), SkipPaths: skips}, "a.test"))
					s := serveTLS(t, store.TLSConfig())
					i := &intruder{t: t, version: version}
					i.visit(s, "a.test", c.cert)
					i.cache.keep = true

					clock.Set(end)
					resumed, alert, server := i.visit(s, "a.test")
					require.Equal(t, noAlert, alert)
					require.True(t, resumed, "the last second")
					_, err := store.Judge(store.Table(), &server.state, "a.test", "/")
					require.NoError(t, err)

					clock.Set(end.Add(time.Second))
					resumed, alert, side := i.visit(s, "a.test", c.cert)
					if skips == nil {
						require.Equal(t, certificateExpired, alert, "a full handshake, which names the reason")
						return
					}
					require.False(t, resumed)
					_, err = store.Judge(store.Table(), &side.state, "a.test", "/")
					require.Error(t, err)
				})
			})
		}
	}
}

// A session without certificates is good for as long as crypto/tls takes it,
// in every year.
func TestResumptionInTheFuture(t *testing.T) {
	clock := newClock()
	clock.Set(time.Date(2045, 1, 1, 0, 0, 0, 0, time.UTC))
	ca := ssltest.NewCA(t, "root", ssltest.Until(clock.Now().AddDate(10, 0, 0)))
	pair := ca.ServerWith([]string{"a.test"}, ssltest.Until(clock.Now().AddDate(10, 0, 0)))
	store := newStore(t, &ssl.Options{Base: &tls.Config{Time: clock.Now}}, ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{pair}})
	s := serveTLS(t, store.TLSConfig())
	forVersions(t, func(t *testing.T, version uint16, _ int) {
		i := &intruder{t: t, version: version}
		config := client(version, "a.test")
		config.Time, config.ClientSessionCache = clock.Now, &i.cache
		_, server := s.visit(t, config)
		require.NoError(t, server.err)
		_, server = s.visit(t, config)
		require.NoError(t, server.err)
		require.True(t, server.state.DidResume)
	})
}

// Where some paths need no certificate, anyone's is let into the handshake. It
// must not come back by a ticket as if it had been verified.
func TestNoTicketForUnverified(t *testing.T) {
	servers, people, aliens := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people"), ssltest.NewCA(t, "aliens")
	store := newStore(t, nil, server(servers, "1", &ssl.ClientAuth{CAPEM: people.PEM(), SkipPaths: []string{"^/public"}}, "a.test"))
	s := serveTLS(t, store.TLSConfig())
	forVersions(t, func(t *testing.T, version uint16, _ int) {
		for name, cert := range map[string]tls.Certificate{
			"forged":    ssltest.NewCA(t, "people").Client("alice"),
			"another's": aliens.Client("mallory"),
			"expired":   people.Client("alice", ssltest.Expired),
			"server's":  people.Client("alice", ssltest.Usage(x509.ExtKeyUsageServerAuth)),
			"too deep":  people.Intermediate("one").Intermediate("two").Client("alice"),
		} {
			i := &intruder{t: t, version: version}
			for range 3 {
				resumed, alert, server := i.visit(s, "a.test", cert)
				require.Equal(t, noAlert, alert)
				require.False(t, resumed, name)
				require.NotEmpty(t, server.state.PeerCertificates)
				identity, err := store.Judge(store.Table(), &server.state, "a.test", "/")
				require.Error(t, err)
				require.Nil(t, identity)
				identity, err = store.Judge(store.Table(), &server.state, "a.test", "/public")
				require.NoError(t, err)
				require.Nil(t, identity)
			}
			// The session that the client was given for it opens nothing either.
			if i.cache.session != nil {
				resumed, _, _ := i.visit(s, "a.test")
				require.False(t, resumed, name)
			}
		}

		// A good one and none do resume.
		for _, certs := range [][]tls.Certificate{{people.Client("alice")}, nil} {
			i := &intruder{t: t, version: version}
			i.visit(s, "a.test", certs...)
			resumed, _, server := i.visit(s, "a.test", certs...)
			require.True(t, resumed)
			require.Len(t, server.state.PeerCertificates, len(certs))
		}
	})
}

// A message has room for 64 KiB of a ticket, and what a client shows may be longer: then there
// is no session, and no end of the handshake either, as there is with crypto/tls alone.
func TestNoTicketForMuch(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	names := func(n int) tls.Certificate {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf("a-long-name-number-%05d.test", i))
		}
		return people.Client("alice", ssltest.DNSNames(all...))
	}
	for _, auth := range []*ssl.ClientAuth{{CAPEM: people.PEM()}, {CAPEM: people.PEM(), CacheVerified: true}, {CAPEM: people.PEM(), SkipPaths: []string{"^/"}}} {
		s := serveTLS(t, newStore(t, nil, server(servers, "1", auth, "a.test")).TLSConfig())
		forVersions(t, func(t *testing.T, version uint16, _ int) {
			for n, resumes := range map[int]bool{700: true, 1500: false, 2500: false} {
				alice := names(n)
				i := &intruder{t: t, version: version}
				for visit := range 3 {
					resumed, alert, side := i.visit(s, "a.test", alice)
					require.Equal(t, noAlert, alert)
					require.NoError(t, side.err)
					require.Equal(t, resumes && visit > 0, resumed, "%d names, %d bytes", n, len(alice.Leaf.Raw))
					require.Equal(t, alice.Leaf.Raw, side.state.PeerCertificates[0].Raw)
				}
			}
		})
	}
}

// Machines that share their ticket keys and their configuration take each other's
// sessions. Those that share the keys alone do not.
func TestResumptionInAFleet(t *testing.T) {
	servers, people, others := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people"), ssltest.NewCA(t, "others")
	alice := people.Client("alice")
	machine := func(key byte, client *ssl.ClientAuth) *tlsServer {
		base := &tls.Config{}
		base.SetSessionTicketKeys([][32]byte{{key}})
		// A certificate for each machine: it does not matter.
		return serveTLS(t, newStore(t, &ssl.Options{Base: base}, server(servers, "1", client, "a.test")).TLSConfig())
	}
	first := machine(1, &ssl.ClientAuth{CAPEM: join(people.PEM(), others.PEM()), SkipPaths: []string{"a", "b"}})
	for _, c := range []struct {
		name    string
		machine *tlsServer
		resumes bool
	}{
		{"equal", machine(1, &ssl.ClientAuth{CAPEM: join([]byte("# sorted by hand\n"), others.PEM(), people.PEM()), Depth: 1, SkipPaths: []string{"b", "a"}}), true},
		{"another policy", machine(1, &ssl.ClientAuth{CAPEM: people.PEM(), SkipPaths: []string{"a", "b"}}), false},
		{"another key", machine(2, &ssl.ClientAuth{CAPEM: join(people.PEM(), others.PEM()), SkipPaths: []string{"a", "b"}}), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			forVersions(t, func(t *testing.T, version uint16, _ int) {
				i := &intruder{t: t, version: version}
				i.visit(first, "a.test", alice)
				resumed, alert, _ := i.visit(c.machine, "a.test", alice)
				require.Equal(t, noAlert, alert)
				require.Equal(t, c.resumes, resumed)
			})
		})
	}

	// Keys of one's own are drawn for each Terminator.
	one := newStore(t, nil, server(servers, "1", nil, "a.test"))
	two := newStore(t, nil, server(servers, "1", nil, "a.test"))
	i := &intruder{t: t, version: tls.VersionTLS13}
	i.visit(serveTLS(t, one.TLSConfig()), "a.test")
	resumed, _, _ := i.visit(serveTLS(t, two.TLSConfig()), "a.test")
	require.False(t, resumed)
}

// Tickets of Base's may be switched off.
func TestTicketsDisabled(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	s := serveTLS(t, newStore(t, &ssl.Options{Base: &tls.Config{SessionTicketsDisabled: true}}, server(ca, "1", nil, "a.test")).TLSConfig())
	forVersions(t, func(t *testing.T, version uint16, _ int) {
		i := &intruder{t: t, version: version}
		i.visit(s, "a.test")
		require.Nil(t, i.cache.session)
	})
}

// A ticket that somebody changed, or made up, is no reason to refuse the client,
// and no way in.
func TestForgedTickets(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	store := newStore(t, nil, server(servers, "1", &ssl.ClientAuth{CAPEM: people.PEM()}, "a.test"))
	s := serveTLS(t, store.TLSConfig())
	forVersions(t, func(t *testing.T, version uint16, none int) {
		i := &intruder{t: t, version: version}
		i.visit(s, "a.test", people.Client("alice"))
		ticket, state, err := i.cache.session.ResumptionState()
		require.NoError(t, err)
		flipped := bytes.Clone(ticket)
		flipped[len(flipped)-1] ^= 1
		for name, forged := range map[string][]byte{
			"flipped": flipped, "cut": ticket[:len(ticket)-1], "short": {1}, "empty of sense": bytes.Repeat([]byte{7}, 32), "long": bytes.Repeat(ticket, 30),
		} {
			session, err := tls.NewResumptionState(forged, state)
			require.NoError(t, err)
			i.cache = stolenSession{session: session, keep: true}
			resumed, alert, _ := i.visit(s, "a.test", people.Client("alice"))
			require.False(t, resumed, name)
			require.Equal(t, noAlert, alert, name)
			_, alert, _ = i.visit(s, "a.test")
			require.Equal(t, none, alert, name)
		}
	})
}

// A ticket that crypto/tls made under the same keys has no mark of ours, and is
// declined.
func TestTicketWithoutMark(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	keys := [][32]byte{{9}}
	base := &tls.Config{}
	base.SetSessionTicketKeys(keys)
	store := newStore(t, &ssl.Options{Base: base}, server(servers, "1", &ssl.ClientAuth{CAPEM: people.PEM()}, "a.test"))
	pair := servers.Server("a.test")
	cert, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	require.NoError(t, err)
	bare := &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: people.Pool()}
	bare.SetSessionTicketKeys(keys)
	ours, theirs := serveTLS(t, store.TLSConfig()), serveTLS(t, bare)
	forVersions(t, func(t *testing.T, version uint16, none int) {
		i := &intruder{t: t, version: version}
		i.visit(theirs, "a.test", people.Client("alice"))
		i.cache.keep = true
		resumed, _, _ := i.visit(theirs, "a.test")
		require.True(t, resumed)
		_, alert, _ := i.visit(ours, "a.test")
		require.Equal(t, none, alert)
	})
}

// The same with a client that is not Go's.
func TestResumptionWithOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed: the test of sessions across names needs it as a client that is not Go's")
	}
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	auth := &ssl.ClientAuth{CAPEM: people.PEM()}
	store := newStore(t, nil,
		server(servers, "a", auth, "a.test"),
		server(servers, "b", auth, "b.test"),
		server(servers, "free", nil, "free.test"),
	)
	s := serveTLS(t, store.TLSConfig())
	dir := t.TempDir()
	alice := people.Client("alice")
	key, err := x509.MarshalPKCS8PrivateKey(alice.PrivateKey)
	require.NoError(t, err)
	certFile, keyFile := filepath.Join(dir, "alice.crt"), filepath.Join(dir, "alice.key")
	require.NoError(t, os.WriteFile(certFile, certPEM(alice.Certificate[0]), 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
	certificate := []string{"-cert", certFile, "-key", keyFile}

	visit := func(t *testing.T, version, name string, more ...string) (output string, server side) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, port, err := net.SplitHostPort(s.Addr().String())
		require.NoError(t, err)
		// It is to read on until the server closes: the ticket comes late.
		args := append([]string{"s_client", "-ign_eof", "-connect", "127.0.0.1:" + port, "-servername", name, "-" + version}, more...)
		out, _ := exec.CommandContext(ctx, openssl, args...).CombinedOutput() // an alert is an exit code
		select {
		case server = <-s.results:
		case <-ctx.Done():
			t.Fatalf("openssl made no handshake:\n%s", out)
		}
		return string(out), server
	}
	for _, c := range []struct{ version, none string }{{"tls1_2", "handshake failure"}, {"tls1_3", "certificate required"}} {
		t.Run(c.version, func(t *testing.T) {
			session := filepath.Join(dir, c.version+".pem")
			in := []string{"-sess_in", session}
			out, server := visit(t, c.version, "a.test", append(certificate, "-sess_out", session)...)
			require.NoError(t, server.err, out)
			require.Contains(t, out, "New, TLSv1")

			out, server = visit(t, c.version, "a.test", in...)
			require.NoError(t, server.err, out)
			require.Contains(t, out, "Reused, TLSv1", "its own name, without the certificate")
			require.True(t, server.state.DidResume)

			out, server = visit(t, c.version, "b.test", in...)
			require.ErrorContains(t, server.err, "didn't provide a certificate")
			require.Contains(t, strings.ToLower(out), c.none)

			out, server = visit(t, c.version, "b.test", append(certificate, in...)...)
			require.NoError(t, server.err, out)
			require.Contains(t, out, "New, TLSv1")
			require.False(t, server.state.DidResume)

			out, server = visit(t, c.version, "free.test", in...)
			require.NoError(t, server.err, out)
			require.False(t, server.state.DidResume)
			require.Empty(t, server.state.PeerCertificates)

			out, server = visit(t, c.version, "unknown.test", in...)
			require.Error(t, server.err)
			require.Contains(t, out, "unrecognized name")
		})
	}
}
