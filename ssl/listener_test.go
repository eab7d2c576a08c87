package ssl_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// reports collects what a Terminator tells of handshakes.
type reports struct {
	done   chan string
	failed chan *ssl.HandshakeError

	mu  sync.Mutex // guards log, which a slog.Handler writes to
	log bytes.Buffer
}

func newReports(o *ssl.Options) *reports {
	r := &reports{done: make(chan string, 64), failed: make(chan *ssl.HandshakeError, 64)}
	o.Logger = slog.New(slog.NewJSONHandler(r, nil))
	o.Trace = &ssl.Trace{
		HandshakeDone: func(e *ssl.HandshakeEvent) {
			if e.Err != nil {
				r.failed <- e.Err
			} else {
				r.done <- e.Profile
			}
		},
	}
	return r
}

func (r *reports) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(p)
}

// record takes the one record that was logged.
func (r *reports) record(t *testing.T) (text string, handshake map[string]any) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	text = r.log.String()
	r.log.Reset()
	var record struct {
		Level, Msg string
		Handshake  map[string]any
	}
	require.NoError(t, json.Unmarshal([]byte(text), &record), "one record: %q", text)
	require.Equal(t, "WARN", record.Level)
	require.Equal(t, "TLS handshake failed", record.Msg)
	return text, record.Handshake
}

// acceptAll takes what a listener yields, and keeps it open until the test ends.
func acceptAll(t *testing.T, l net.Listener) {
	t.Helper()
	var taking sync.WaitGroup
	taking.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if _, ok := c.(*tls.Conn); !ok {
				t.Errorf("%T: http.Server does HTTP/2 only on a *tls.Conn", c)
			}
			taking.Go(func() {
				defer c.Close()
				_, _ = c.Write([]byte("x"))
				_, _ = io.Copy(io.Discard, c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		taking.Wait()
	})
}

// Every reason, and what else is said of the handshake. The reasons rest on error
// values and texts of crypto/tls: this test tells when they change.
func TestHandshakeReasons(t *testing.T) {
	servers, people, aliens := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people"), ssltest.NewCA(t, "aliens")
	alice := people.Client("alice")
	lost := people.Client("lost")
	refusal := errors.New("not today")
	o := &ssl.Options{HandshakeTimeout: patience, FailuresLogged: -1, Base: &tls.Config{
		VerifyConnection: func(cs tls.ConnectionState) error {
			if cs.ServerName == "verify.test" {
				return refusal
			}
			if cs.ServerName == "late.test" {
				return context.DeadlineExceeded // the time of something else
			}
			return nil
		},
	}}
	reports := newReports(o)
	store := newStore(t, o,
		server(servers, "public", nil, "public.test"),
		server(servers, "strict", &ssl.ClientAuth{CAPEM: people.PEM()}, "strict.test"),
		server(servers, "crl", &ssl.ClientAuth{CAPEM: people.PEM(), CRLs: [][]byte{people.CRL(time.Now().Add(time.Hour), lost.Leaf)}}, "crl.test"),
		server(servers, "allow", &ssl.ClientAuth{CAPEM: people.PEM(), Allow: &ssl.Allow{CommonNames: []string{"bob"}}}, "allow.test"),
		server(servers, "verify", &ssl.ClientAuth{CAPEM: people.PEM()}, "verify.test"),
		server(servers, "late", nil, "late.test"),
		server(servers, "wildcard", &ssl.ClientAuth{CAPEM: people.PEM()}, "*.wild.test"),
		server(servers, "star", nil, "*.star.test"),
	)
	l := store.Listener(listen(t))
	acceptAll(t, l)

	// talk is a client that is none of crypto/tls.
	talk := func(text string) func(*testing.T, uint16) error {
		return func(t *testing.T, _ uint16) error {
			c, err := net.Dial("tcp", l.Addr().String())
			require.NoError(t, err)
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(patience))
			_, err = io.WriteString(c, text)
			require.NoError(t, err)
			require.NoError(t, c.(*net.TCPConn).CloseWrite())
			_, err = io.Copy(io.Discard, c)
			return err
		}
	}
	tlsClient := func(name string, certs ...tls.Certificate) func(*testing.T, uint16) error {
		return func(t *testing.T, version uint16) error {
			return handshake(t, l.Addr(), client(version, name, certs...)).err
		}
	}
	covered := map[ssl.Reason]bool{}
	counted := map[string][]ssl.Reason{}
	for _, c := range []struct {
		name       string
		connect    func(*testing.T, uint16) error
		reason     ssl.Reason
		serverName string
		profile    string
		subject    string // of the certificate that was presented
		cause      string // the beginning of the advice
	}{
		{"no name", tlsClient(""), ssl.ReasonNoSNI, "", "", "", "the client sent no server name"},
		{"unknown name", tlsClient("unknown.test", alice), ssl.ReasonUnknownSNI, "unknown.test", "", "", "no profile answers for the server name \"unknown.test\""},
		{"below a strict wildcard", tlsClient("x.y.wild.test", alice), ssl.ReasonUnknownSNI, "x.y.wild.test", "", "", "the server name \"x.y.wild.test\" is more than one label below a wildcard"},
		{"no certificate", tlsClient("strict.test"), ssl.ReasonNoClientCert, "strict.test", "strict", "", "the profile \"strict\" demands a certificate of CN=people, and the client sent none"},
		{"another CA", tlsClient("strict.test", aliens.Client("mallory")), ssl.ReasonUnknownCA, "strict.test", "strict", "CN=mallory", "the client's issuer CN=aliens is not among the CAs of the profile \"strict\" (CN=people)"},
		{"a CA with the same name", tlsClient("strict.test", ssltest.NewCA(t, "people").Client("mallory")), ssl.ReasonUnknownCA, "strict.test", "strict", "CN=mallory", "the profile \"strict\" has a CA by the name of the client's issuer CN=people, but the certificate of CN=mallory is not signed with its key"},
		{"expired", tlsClient("strict.test", people.Client("old", ssltest.Expired)), ssl.ReasonExpired, "strict.test", "strict", "CN=old", "the certificate of CN=old expired on 20"},
		{"not yet valid", tlsClient("strict.test", people.Client("new", ssltest.NotYetValid)), ssl.ReasonExpired, "strict.test", "strict", "CN=new", "the certificate of CN=new is not valid before 20"},
		{"too deep", tlsClient("strict.test", people.Intermediate("a").Intermediate("b").Client("deep")), ssl.ReasonDepth, "strict.test", "strict", "CN=deep", "the chain of CN=deep has more intermediates than the 1 that the profile \"strict\" allows"},
		{"too deep, of another CA", tlsClient("strict.test", aliens.Intermediate("a").Intermediate("b").Client("deep")), ssl.ReasonUnknownCA, "strict.test", "strict", "CN=deep", "the client's issuer CN=b is not among the CAs"},
		{"a server's", tlsClient("strict.test", asClient(t, people.Server("x.test"))), ssl.ReasonKeyUsage, "strict.test", "strict", "CN=x.test", "the certificate of CN=x.test is not for clients"},
		{"revoked", tlsClient("crl.test", lost), ssl.ReasonRevoked, "crl.test", "crl", "CN=lost", "a CRL of the profile \"crl\" revokes a certificate in the chain of CN=lost"},
		{"not on the list", tlsClient("allow.test", alice), ssl.ReasonNotAllowed, "allow.test", "allow", "CN=alice", "the allow-list of the profile \"allow\" does not name CN=alice"},
		{"refused by VerifyConnection", tlsClient("verify.test", alice), ssl.ReasonNotAllowed, "verify.test", "verify", "CN=alice", "VerifyConnection of Options.Base refuses the client"},
		{"refused by VerifyConnection, with an error that looks like another", tlsClient("late.test"), ssl.ReasonNotAllowed, "late.test", "late", "", "VerifyConnection of Options.Base refuses the client"},
		{"no version in common", func(t *testing.T, _ uint16) error {
			return handshake(t, l.Addr(), client(tls.VersionTLS11, "public.test")).err
		}, ssl.ReasonProtocol, "public.test", "public", "", "client and server do not agree (tls: client offered only unsupported versions"},
		{"no protocol in common", func(t *testing.T, version uint16) error {
			config := client(version, "public.test")
			config.NextProtos = []string{"spdy/9\n"}
			return handshake(t, l.Addr(), config).err
		}, ssl.ReasonProtocol, "public.test", "public", "", "client and server do not agree (tls: "},
		{"no TLS", talk("SSH-2.0-OpenSSH_9.9\r\n"), ssl.ReasonProtocol, "", "", "", "what the client sent was not TLS"},
		{"HTTP", talk("GET / HTTP/1.1\r\nHost: public.test\r\n\r\n"), ssl.ReasonProtocol, "", "", "", "the client spoke HTTP without TLS"},
		{"a record that is too long", talk("\x16\x03\x01\xff\xff"), ssl.ReasonProtocol, "", "", "", "what the client sent was not TLS"},
		{"nothing", talk(""), ssl.ReasonClientAbort, "", "", "", "the client ended the connection in the middle of the handshake"},
		{"half a record", talk("\x16\x03\x01\x02\x00\x01"), ssl.ReasonClientAbort, "", "", "", "the client ended the connection"},
		{"half a handshake", talk(string(ssltest.ClientHello(t, "public.test"))), ssl.ReasonClientAbort, "public.test", "public", "", "the client ended the connection"},
		{"a client that does not trust the server", func(t *testing.T, version uint16) error {
			config := client(version, "public.test")
			config.InsecureSkipVerify, config.RootCAs = false, aliens.Pool()
			return handshake(t, l.Addr(), config).err
		}, ssl.ReasonClientAbort, "public.test", "public", "", "the client ended the handshake with the alert \"bad certificate\""},
		{"a client that says so in the clear", talk(string(ssltest.ClientHello(t, "public.test")) + "\x15\x03\x03\x00\x02\x02\x30"), ssl.ReasonClientAbort, "public.test", "public", "", "the client ended the handshake with something illegible"},
		{"an evil name", talk(string(ssltest.ClientHello(t, "a\nb\x1b[31m\u202e\xff"))), ssl.ReasonUnknownSNI, "a\nb\x1b[31m\u202e\xff", "", "", "no profile answers for the server name \"a\\nb\\x1b[31m\\u202e\\xff\""},
		{"an evil subject", tlsClient("strict.test", aliens.Client("x\nlevel=INFO\x1b[31m")), ssl.ReasonUnknownCA, "strict.test", "strict", "*", "the client's issuer CN=aliens is not among"},
	} {
		t.Run(c.name, func(t *testing.T) {
			forVersions(t, func(t *testing.T, version uint16, _ int) {
				clientErr := c.connect(t, version)
				e := <-reports.failed
				text, logged := reports.record(t)
				require.Equal(t, c.reason, e.Reason, "%v; the client: %v", e.Err, clientErr)
				require.Equal(t, c.serverName, e.ServerName)
				require.Equal(t, c.profile, e.Profile)
				require.NotNil(t, e.RemoteAddr)
				require.Error(t, e.Err)
				require.ErrorIs(t, e, e.Err)
				require.Equal(t, string(c.reason), logged["reason"])
				require.Equal(t, c.profile, logged["profile"])
				require.Equal(t, e.RemoteAddr.String(), logged["remote"])
				require.Equal(t, strings.ToValidUTF8(c.serverName, "\ufffd"), logged["server_name"])
				if c.subject == "" {
					require.Nil(t, e.Certificate)
					require.NotContains(t, logged, "subject")
				} else {
					require.NotNil(t, e.Certificate)
					for _, key := range []string{"subject", "issuer", "serial", "sha256"} {
						require.NotEmpty(t, logged[key])
					}
					if c.subject != "*" {
						require.Equal(t, c.subject, logged["subject"])
					}
				}
				require.True(t, strings.HasPrefix(e.Advice(), c.cause), e.Advice())
				require.True(t, strings.HasSuffix(e.Advice(), ": "+c.reason.Remedy()), e.Advice())
				require.Equal(t, e.Advice(), logged["advice"])
				requirePrintable(t, e.Advice())
				counted[c.profile] = append(counted[c.profile], c.reason)
				requirePrintable(t, strings.TrimSuffix(text, "\n"))
				requirePrintable(t, strings.TrimSuffix(textLog(e), "\n"))
				require.NotContains(t, e.Error(), "\n")
				covered[c.reason] = true
			})
		})
	}

	covered[ssl.ReasonTimeout] = true    // TestHandshakeTimeout
	covered[ssl.ReasonCrowdedOut] = true // TestCrowdedOut
	for _, reason := range ssl.HandshakeReasons() {
		require.True(t, covered[reason], "no test of the reason %s", reason)
	}
	require.Empty(t, reports.failed)
	stats, all := store.Stats(), []ssl.Reason{}
	require.Equal(t, reasonCounts(counted[""]), stats.NoProfile.Failed)
	for _, p := range stats.Profiles {
		require.Equal(t, reasonCounts(counted[p.ID]), p.Handshakes.Failed, p.ID)
		require.Zero(t, p.Handshakes.Succeeded())
	}
	for _, reasons := range counted {
		all = append(all, reasons...)
	}
	require.Equal(t, reasonCounts(all), stats.All.Failed)
	require.NoError(t, handshake(t, l.Addr(), ssltest.ClientConfig("x.star.test")).err)
	require.Equal(t, "star", <-reports.done)
}

// asClient is a server's pair as a client would show it.
func asClient(t *testing.T, pair ssl.KeyPair) tls.Certificate {
	t.Helper()
	c, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	require.NoError(t, err)
	return c
}

func textLog(v any) string {
	var b bytes.Buffer
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "v", v)
	return b.String()
}

// requirePrintable requires that a line of a log cannot be taken for another.
func requirePrintable(t *testing.T, line string) {
	t.Helper()
	for _, r := range line {
		require.False(t, unicode.IsControl(r), "%q", line)
	}
}

// reasonCounts counts reasons in the order in which they are listed.
func reasonCounts(reasons []ssl.Reason) (counts []ssl.ReasonCount) {
	for _, reason := range ssl.HandshakeReasons() {
		n := uint64(0)
		for _, r := range reasons {
			if r == reason {
				n++
			}
		}
		if n > 0 {
			counts = append(counts, ssl.ReasonCount{Reason: reason, Count: n})
		}
	}
	return counts
}

// reasons are the constants of the type Reason.
func reasons(t *testing.T) (all []ssl.Reason) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "failure.go", nil, 0)
	require.NoError(t, err)
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			if name, ok := spec.Type.(*ast.Ident); ok && name.Name == "Reason" {
				text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
				require.NoError(t, err)
				all = append(all, ssl.Reason(text))
			}
		}
		return true
	})
	require.Len(t, all, 13+3, "the list is closed")
	return all
}

// pipes is a listener of connections in memory.
type pipes struct {
	conns    chan net.Conn
	errors   chan error
	closed   chan struct{}
	once     sync.Once
	accepted atomic.Int32
}

func newPipes() *pipes {
	return &pipes{conns: make(chan net.Conn), errors: make(chan error), closed: make(chan struct{})}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		p.accepted.Add(1)
		return c, nil
	case err := <-p.errors:
		return nil, err
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.once.Do(func() { close(p.closed) }); return nil }

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

// dial returns the client's end of a connection that waits to be accepted.
func (p *pipes) dial(t testing.TB) net.Conn {
	ours, theirs := net.Pipe()
	go func() {
		select {
		case p.conns <- theirs:
		case <-p.closed:
			theirs.Close()
		}
	}()
	t.Cleanup(func() { ours.Close() })
	return ours
}

// bubbleStore is newStore in a bubble of synctest, where it is the year 2000 and
// no certificate is valid yet.
func bubbleStore(t *testing.T, o *ssl.Options, config ssl.Config) *ssl.Store {
	t.Helper()
	store := must(ssl.NewStore(o))
	_, err := store.Put(config)
	require.NoError(t, err)
	return store
}

// A handshake has its time, whatever the client does with it.
func TestHandshakeTimeout(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	config := server(ca, "1", nil, "a.test")
	hello := ssltest.ClientHello(t, "a.test")
	for name, drip := range map[string]func(net.Conn){
		"silence": func(net.Conn) {},
		"a byte a second": func(c net.Conn) {
			for _, b := range hello {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		},
		"half": func(c net.Conn) { _, _ = c.Write(hello) },
		"nobody reads": func(c net.Conn) {
			_, _ = c.Write(hello[:len(hello)-1])
			time.Sleep(time.Second)
			_, _ = c.Write(hello[len(hello)-1:])
		},
	} {
		t.Run(name, func(t *testing.T) {
			for set, want := range map[time.Duration]time.Duration{0: 10 * time.Second, 3 * time.Second: 3 * time.Second} {
				synctest.Test(t, func(t *testing.T) {
					o := &ssl.Options{HandshakeTimeout: set}
					reports := newReports(o)
					p := newPipes()
					l := bubbleStore(t, o, config).Listener(p)
					acceptAll(t, l)
					c := p.dial(t)
					synctest.Wait()
					start := time.Now()
					var client sync.WaitGroup
					client.Go(func() { drip(c) })
					e := <-reports.failed
					require.Equal(t, ssl.ReasonTimeout, e.Reason, "%v", e.Err)
					require.Equal(t, want, time.Since(start))
					require.Equal(t, fmt.Sprintf("the handshake did not finish within %v: %s", want, ssl.ReasonTimeout.Remedy()), e.Advice())
					c.Close()
					client.Wait()
				})
			}
		})
	}
}

// Once the handshake is done, its deadline is gone.
func TestNoDeadlineAfterTheHandshake(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	config := server(ca, "1", nil, "a.test")
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		l := bubbleStore(t, nil, config).Listener(p)
		defer l.Close()
		c := tls.Client(p.dial(t), ssltest.ClientConfig("a.test"))
		go func() {
			if c.Handshake() == nil {
				time.Sleep(time.Hour)
				_, _ = c.Write([]byte("x"))
			}
		}()
		conn, err := l.Accept()
		require.NoError(t, err)
		defer conn.Close()
		require.True(t, conn.(*tls.Conn).ConnectionState().HandshakeComplete)
		_, err = conn.Read(make([]byte, 1))
		require.NoError(t, err)
		_ = c.NetConn().Close()
	})
}

// No more than MaxHandshakes connections, and one that waits for a place, are taken from
// below before somebody takes them here, whether their handshake goes on or is done.
func TestMaxHandshakes(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	config := server(ca, "1", nil, "a.test")
	synctest.Test(t, func(t *testing.T) {
		o := &ssl.Options{MaxHandshakes: 3, HandshakeTimeout: time.Second / 2}
		reports := newReports(o)
		p := newPipes()
		l := bubbleStore(t, o, config).Listener(p)
		defer l.Close()
		var clients []net.Conn
		for range 8 {
			clients = append(clients, p.dial(t))
		}
		// The first Accept starts it all, and gets nothing yet.
		got := make(chan net.Conn)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				got <- c
			}
		}()
		synctest.Wait()
		require.EqualValues(t, 3+1, p.accepted.Load())

		// Time frees the places.
		time.Sleep(time.Second / 2)
		synctest.Wait()
		require.EqualValues(t, 6+1, p.accepted.Load())
		require.Len(t, reports.failed, 3)
		for _, c := range clients {
			c.Close()
		}
		synctest.Wait()
		require.EqualValues(t, 8, p.accepted.Load())

		// Connections that are done, and wait for somebody to take them, take a
		// place too: Accept has one in its hands, and three stand behind it.
		for range 8 {
			c := tls.Client(p.dial(t), ssltest.ClientConfig("a.test"))
			go func() {
				_ = c.Handshake()
				_, _ = c.Read(make([]byte, 1))
			}()
		}
		synctest.Wait()
		require.EqualValues(t, 8+4+1, p.accepted.Load())
		for n := range 8 {
			(<-got).Close()
			synctest.Wait()
			require.EqualValues(t, min(16, 8+4+n+2), p.accepted.Load())
		}
	})
}

// A fromAddr is a connection that comes from some address.
type fromAddr struct {
	net.Conn
	remote net.Addr
}

func (a fromAddr) RemoteAddr() net.Addr { return a.remote }

// One address has no more than MaxHandshakesPerAddr connections on their way to
// Accept, whether their handshake goes on, has failed or is done, and gets its
// places back with each.
func TestMaxHandshakesPerAddr(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	config := server(ca, "1", nil, "a.test")
	tcp := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 1} }
	for _, c := range []struct {
		name    string
		one     []net.Addr // all the same address
		another net.Addr
	}{
		{"IPv4", []net.Addr{tcp("192.0.2.1"), tcp("::ffff:192.0.2.1")}, tcp("192.0.2.2")},
		{"IPv6", []net.Addr{tcp("2001:db8::1"), tcp("2001:db8::ffff:0:0:1")}, tcp("2001:db8:0:1::1")},
		{"IPv6 with a zone", []net.Addr{&net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"}, tcp("fe80::2")}, tcp("fe81::1")},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &ssl.Options{MaxHandshakesPerAddr: 3, HandshakeTimeout: time.Minute}
				reports := newReports(o)
				away := make(chan net.Addr, 64)
				o.Trace.TurnedAway = func(remote net.Addr) { away <- remote }
				p := newPipes()
				store := bubbleStore(t, o, config)
				l := store.Listener(p)
				defer l.Close()
				defer func() { require.NotZero(t, store.Stats().TurnedAway) }()
				got := make(chan net.Conn)
				go func() {
					for {
						conn, err := l.Accept()
						if err != nil {
							return
						}
						got <- conn
					}
				}()
				dial := func(remote net.Addr) net.Conn {
					ours, theirs := net.Pipe()
					p.conns <- fromAddr{theirs, remote}
					synctest.Wait()
					return ours
				}
				one := func(i int) net.Addr { return c.one[i%len(c.one)] }
				full := func(message string) {
					t.Helper()
					over := dial(one(0))
					require.Len(t, away, 1, message)
					require.Equal(t, one(0), <-away)
					_, err := over.Read(make([]byte, 1))
					require.Equal(t, io.EOF, err)
				}
				free := func(message string) net.Conn {
					t.Helper()
					conn := dial(one(1))
					require.Empty(t, away, message)
					return conn
				}
				var silent []net.Conn
				for i := range 3 {
					silent = append(silent, dial(one(i)))
				}
				require.Empty(t, away)
				full("handshakes go on")

				// Nobody else has less for it, nor those without an address.
				for range 3 {
					dial(c.another).Close()
				}
				for range 5 {
					dial(&net.UnixAddr{Name: "@", Net: "unix"}).Close()
				}
				require.Empty(t, away)
				for range 8 {
					<-reports.failed
				}

				// A handshake that fails gives its place back, once.
				silent[0].Close()
				synctest.Wait()
				require.Equal(t, ssl.ReasonClientAbort, (<-reports.failed).Reason)
				silent[0] = free("one has failed")
				full("and another has come")

				// So does one that is done, when somebody takes it.
				for _, conn := range silent {
					client := tls.Client(conn, ssltest.ClientConfig("a.test"))
					go func() {
						_ = client.Handshake()
						_, _ = client.Read(make([]byte, 1))
					}()
				}
				synctest.Wait()
				require.Len(t, reports.done, 3)
				// Accept has one in its hands.
				free("one is taken").Close()
				<-reports.failed
				for range 3 {
					(<-got).Close()
				}
				synctest.Wait()
				for range 3 {
					free("all are taken")
				}
				full("and the places too")

				// And the time.
				time.Sleep(time.Minute)
				synctest.Wait()
				for range 3 {
					require.Equal(t, ssl.ReasonTimeout, (<-reports.failed).Reason)
					free("their time is over").Close()
				}
			})
		})
	}
}

// Real sockets, and nobody who is told.
func TestMaxHandshakesPerAddrOfSockets(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	const clients = 5
	for bound, alive := range map[int]int{0: clients, 2: 2} {
		l := newStore(t, &ssl.Options{MaxHandshakesPerAddr: bound}, server(ca, "1", nil, "a.test")).Listener(listen(t))
		acceptAll(t, l)
		ends := make(chan error, clients) // of the waiting of a client that sends nothing
		var conns []net.Conn
		for range clients {
			c, err := net.Dial("tcp", l.Addr().String())
			require.NoError(t, err)
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(patience))
			conns = append(conns, c)
			go func() {
				_, err := c.Read(make([]byte, 1))
				ends <- err
			}()
		}
		for range clients - alive {
			require.ErrorIs(t, <-ends, io.EOF)
		}
		for _, c := range conns {
			_ = c.SetReadDeadline(time.Now())
		}
		for range alive {
			require.ErrorIs(t, <-ends, os.ErrDeadlineExceeded)
		}
		for _, c := range conns {
			_ = c.SetDeadline(time.Now().Add(patience))
			if tls.Client(c, ssltest.ClientConfig("a.test")).Handshake() == nil {
				alive--
			}
		}
		require.Zero(t, alive)
	}
}

type temporaryError struct{ error }

func (temporaryError) Temporary() bool { return true }
func (temporaryError) Timeout() bool   { return false }

// An error of accept that may pass is waited out, longer each time, and one that
// does not ends the listener with everything behind it.
func TestAcceptErrors(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	config := server(ca, "1", nil, "a.test")
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		l := bubbleStore(t, nil, config).Listener(p)
		accepted := make(chan error, 1)
		go func() {
			c, err := l.Accept()
			if err == nil {
				c.Close()
			}
			accepted <- err
		}()
		synctest.Wait()
		start := time.Now()
		var waits []time.Duration
		for i := range 12 {
			err := error(temporaryError{errors.New("no files left")})
			if i%2 == 0 {
				err = &net.OpError{Op: "accept", Err: syscall.EMFILE}
			}
			before := time.Now()
			p.errors <- err
			waits = append(waits, time.Since(before))
		}
		ms := time.Millisecond
		require.Equal(t, []time.Duration{0, 5 * ms, 10 * ms, 20 * ms, 40 * ms, 80 * ms, 160 * ms, 320 * ms, 640 * ms, time.Second, time.Second, time.Second}, waits)
		require.Less(t, time.Since(start), 5*time.Second)
		require.Empty(t, accepted)

		c := tls.Client(p.dial(t), ssltest.ClientConfig("a.test"))
		require.NoError(t, c.Handshake())
		require.NoError(t, <-accepted)
		c.NetConn().Close()

		go func() {
			_, err := l.Accept()
			accepted <- err
		}()
		stalled := p.dial(t)
		synctest.Wait()
		before := time.Now()
		p.errors <- temporaryError{errors.New("again")}
		p.errors <- errors.New("the end")
		require.Equal(t, 5*ms, time.Since(before), "the pause begins anew after a success")
		require.EqualError(t, <-accepted, "the end")
		_, err := l.Accept()
		require.EqualError(t, err, "the end")
		_, err = stalled.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)
		require.NoError(t, l.Close())
		require.NoError(t, l.Close())
	})
}

// Close ends what goes on, and waits for it.
func TestListenerClose(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	config := server(ca, "1", nil, "a.test")
	before := runtime.NumGoroutine()
	for range 5 {
		o := &ssl.Options{HandshakeTimeout: patience}
		failed := make(chan *ssl.HandshakeError, 64)
		o.Trace = &ssl.Trace{HandshakeDone: func(e *ssl.HandshakeEvent) {
			if e.Err != nil {
				failed <- e.Err
			}
		}}
		under := listen(t)
		l := newStore(t, o, config).Listener(under)
		accepting := make(chan error)
		first := make(chan net.Conn, 1)
		go func() {
			c, err := l.Accept()
			if err == nil {
				first <- c
				_, err = l.Accept()
			}
			accepting <- err
		}()
		var clients []net.Conn
		for range 20 {
			c, err := net.Dial("tcp", l.Addr().String())
			require.NoError(t, err)
			clients = append(clients, c)
		}
		// One that is taken is not the listener's any more.
		c := tls.Client(clients[0], ssltest.ClientConfig("a.test"))
		require.NoError(t, c.Handshake())
		taken := <-first

		start := time.Now()
		require.NoError(t, l.Close())
		require.Less(t, time.Since(start), patience/2)
		require.ErrorIs(t, <-accepting, net.ErrClosed)
		_, err := l.Accept()
		require.ErrorIs(t, err, net.ErrClosed)
		require.Error(t, l.Close(), "the listener below says that it is closed")
		for len(failed) > 0 {
			require.Equal(t, ssl.ReasonClientAbort, (<-failed).Reason)
		}
		for _, c := range clients[1:] {
			_, err := c.Read(make([]byte, 1))
			require.Error(t, err)
			c.Close()
		}
		_, err = taken.Write([]byte("x"))
		require.NoError(t, err)
		_, err = c.Read(make([]byte, 1))
		require.NoError(t, err)
		taken.Close()
		c.Close()
	}
	collect(t, func() bool { return runtime.NumGoroutine() <= before })
}

// Closing while the first Accept begins, as a server does that is stopped as soon
// as it is started.
func TestListenerCloseAtOnce(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	store := newStore(t, nil, server(ca, "1", nil, "a.test"))
	before := runtime.NumGoroutine()
	for range 200 {
		l := store.Listener(listen(t))
		var both sync.WaitGroup
		both.Go(func() {
			_, err := l.Accept()
			if err == nil {
				t.Error("a connection out of nothing")
			}
		})
		both.Go(func() { l.Close() })
		both.Wait()
	}
	collect(t, func() bool { return runtime.NumGoroutine() <= before })

	// Before any Accept, and Accept after it.
	l := store.Listener(listen(t))
	require.NoError(t, l.Close())
	_, err := l.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
	collect(t, func() bool { return runtime.NumGoroutine() <= before })
}

// If the listener below ends alone, the handshakes that go on are made and accepted.
func TestListenerDrains(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	config := server(ca, "1", nil, "a.test")
	synctest.Test(t, func(t *testing.T) {
		below := newPipes()
		l := bubbleStore(t, &ssl.Options{HandshakeTimeout: patience}, config).Listener(below)
		defer l.Close()
		type accepted struct {
			net.Conn
			error
		}
		accepting := make(chan accepted)
		go func() {
			for {
				c, err := l.Accept()
				accepting <- accepted{c, err}
				if err != nil {
					return
				}
			}
		}()
		slow, silent := below.dial(t), below.dial(t)
		synctest.Wait()
		require.NoError(t, below.Close())
		synctest.Wait()
		c := tls.Client(slow, client(0, "a.test"))
		go func() { _ = c.Handshake() }()
		done := <-accepting
		require.NoError(t, done.error)
		require.NoError(t, done.Conn.(*tls.Conn).NetConn().Close())
		begun := time.Now()
		require.ErrorIs(t, (<-accepting).error, net.ErrClosed)
		require.Equal(t, patience, time.Since(begun), "the other one had its time")
		_, err := silent.Read(make([]byte, 1))
		require.Error(t, err)
	})
}

// So it does where as many handshakes may go on as can be.
func TestListenerEndsWithoutBound(t *testing.T) {
	below := newPipes()
	l := newStore(t, &ssl.Options{MaxHandshakes: math.MaxInt, HandshakeProcs: math.MaxInt}).Listener(below)
	defer l.Close()
	ended := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		ended <- err
	}()
	require.NoError(t, below.Close())
	select {
	case err := <-ended:
		require.ErrorIs(t, err, net.ErrClosed)
	case <-time.After(patience):
		t.Fatal("the listener goes on for as long as it may have handshakes")
	}
}

// An admitted is a connection that must be admitted.
type admitted struct {
	net.Conn
	admit func() error
}

func (a *admitted) Admit() error { return a.admit() }

// Connections are admitted off the accept loop, and what is not is not reported.
func TestAdmit(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	o := &ssl.Options{}
	reports := newReports(o)
	below := newPipes()
	l := newStore(t, o, server(ca, "1", nil, "a.test")).Listener(below)
	acceptAll(t, l)
	dial := func(admit func() error) net.Conn {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { ours.Close() })
		below.conns <- &admitted{theirs, admit}
		return ours
	}
	release := make(chan struct{})
	waiting := dial(func() error { <-release; return nil })
	for _, admit := range []func() error{func() error { return io.EOF }, func() error { panic("a mistake") }} {
		_, err := dial(admit).Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
	}
	close(release)
	require.NoError(t, tls.Client(waiting, client(0, "a.test")).Handshake())
	require.Equal(t, "1", <-reports.done)
	require.Empty(t, reports.failed)
}

// A panic in a handshake, of crypto/tls or of the user's own function, costs one
// connection: as under http.Server.
func TestPanicInAHandshake(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	o := &ssl.Options{MaxHandshakes: 1, Base: &tls.Config{VerifyConnection: func(cs tls.ConnectionState) error {
		if cs.ServerName == "panic.test" {
			panic("at the disco")
		}
		return nil
	}}}
	reports := newReports(o)
	l := newStore(t, o, server(ca, "1", nil, "*.test", "a.test")).Listener(listen(t))
	acceptAll(t, l)
	for range 3 {
		require.Error(t, handshake(t, l.Addr(), ssltest.ClientConfig("panic.test")).err)
		e := <-reports.failed
		require.Equal(t, ssl.ReasonProtocol, e.Reason)
		require.Equal(t, "1", e.Profile)
		require.ErrorContains(t, e, "at the disco")
		require.Equal(t, "a function of the server's panicked: see the error: "+ssl.ReasonProtocol.Remedy(), e.Advice())
		require.NoError(t, handshake(t, l.Addr(), ssltest.ClientConfig("a.test")).err)
		require.Equal(t, "1", <-reports.done)
	}
}

// So does a panic in a function of the Trace, which client it may be that makes it panic.
func TestPanicInATrace(t *testing.T) {
	ca, log := ssltest.NewCA(t, "root"), &reports{}
	o := &ssl.Options{MaxHandshakes: 1, Logger: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelError}))}
	o.Trace = &ssl.Trace{HandshakeDone: func(e *ssl.HandshakeEvent) {
		if e.ServerName != "a.test" {
			panic("at the disco")
		}
	}}
	l := newStore(t, o, server(ca, "1", nil, "*.test", "a.test")).Listener(listen(t))
	acceptAll(t, l)
	for range 3 {
		for _, name := range []string{"panic.test", "unknown.example"} {
			require.Error(t, handshake(t, l.Addr(), ssltest.ClientConfig(name)).err)
		}
		require.NoError(t, handshake(t, l.Addr(), ssltest.ClientConfig("a.test")).err)
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	require.Equal(t, 6, strings.Count(log.log.String(), "at the disco"))
}

// A brokenHandler panics at whatever is to be logged.
type brokenHandler struct{ slog.Handler }

func (brokenHandler) Enabled(context.Context, slog.Level) bool { return true }

// A logger that panics costs no handshake, not even where it is told of a panic.
func TestPanicInALogger(t *testing.T) {
	ca, broken := ssltest.NewCA(t, "root"), slog.New(brokenHandler{})
	for _, o := range []*ssl.Options{{Logger: broken}, {HandshakeLog: broken}} {
		o.MaxHandshakes = 1
		o.Trace = &ssl.Trace{HandshakeDone: func(e *ssl.HandshakeEvent) {
			if e.Err != nil {
				panic("at the disco")
			}
		}}
		l := newStore(t, o, server(ca, "1", nil, "a.test")).Listener(listen(t))
		acceptAll(t, l)
		for range 3 {
			require.Error(t, handshake(t, l.Addr(), ssltest.ClientConfig("unknown.example")).err)
			require.NoError(t, handshake(t, l.Addr(), ssltest.ClientConfig("a.test")).err)
		}
	}
}

// A namelessListener yields connections that know no address, as some do that programs wrap.
type namelessListener struct{ net.Listener }

func (l namelessListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return namelessConn{c}, err
}

type namelessConn struct{ net.Conn }

func (namelessConn) RemoteAddr() net.Addr { return nil }

// A connection need not know its address, as with net/http.
func TestConnectionsWithoutAddresses(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	o := &ssl.Options{MaxHandshakesPerAddr: 1, HandshakeLog: slog.New(slog.DiscardHandler)}
	reports := newReports(o)
	o.Logger = slog.New(slog.DiscardHandler)
	l := newStore(t, o, server(ca, "1", nil, "a.test")).Listener(namelessListener{listen(t)})
	acceptAll(t, l)
	for range 2 {
		require.NoError(t, handshake(t, l.Addr(), ssltest.ClientConfig("a.test")).err)
		require.Equal(t, "1", <-reports.done)
		require.Error(t, handshake(t, l.Addr(), ssltest.ClientConfig("b.test")).err)
		e := <-reports.failed
		require.Equal(t, ssl.ReasonUnknownSNI, e.Reason)
		require.Empty(t, e.RemoteAddr.String())
		require.NotPanics(t, func() { _ = e.Error() })
	}
}

// Somebody who speaks HTTP to the port is told.
func TestPlainHTTPToTLSPort(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	store := newStore(t, nil, server(ca, "1", nil, "a.test"))
	l := listen(t)
	web := &http.Server{Handler: store.Handler(whoami), ErrorLog: silent}
	serve(t, web, func() error { return web.Serve(store.Listener(l)) })
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE", "PATCH"} {
		for _, size := range []int{0, 10_000} { // what is not read must not reset the connection
			c, err := net.Dial("tcp", l.Addr().String())
			require.NoError(t, err)
			_ = c.SetDeadline(time.Now().Add(patience))
			_, err = fmt.Fprintf(c, "%s / HTTP/1.1\r\nHost: a.test\r\nX: %s\r\n\r\n", method, strings.Repeat("x", size))
			require.NoError(t, err)
			got, err := io.ReadAll(c)
			require.NoError(t, err)
			require.Equal(t, "HTTP/1.0 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nThis port speaks TLS: use https.\n", string(got), "%s", method)
			c.Close()
		}
	}
	for _, other := range []string{"SSH-2.0-x\r\n", "\x00\x00\x00\x00\x00", "TRACE / HTTP/1.1\r\n"} {
		c, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		_ = c.SetDeadline(time.Now().Add(patience))
		_, err = io.WriteString(c, other)
		require.NoError(t, err)
		got, err := io.ReadAll(c)
		require.NoError(t, err)
		require.NotContains(t, string(got), "HTTP/1.0")
		c.Close()
	}
}

// Without a Logger and a Trace, a failed handshake is nobody's business.
func TestNobodyIsTold(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	for _, o := range []*ssl.Options{nil, {}, {Trace: &ssl.Trace{}}} {
		l := newStore(t, o, server(ca, "1", nil, "a.test")).Listener(listen(t))
		acceptAll(t, l)
		require.Equal(t, unrecognizedName, alertOf(handshake(t, l.Addr(), ssltest.ClientConfig("b.test")).err))
		require.NoError(t, handshake(t, l.Addr(), ssltest.ClientConfig("a.test")).err)
	}
}

// A hundred clients of which half do it wrong, at the same time.
func TestManyHandshakes(t *testing.T) {
	servers, people, aliens := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people"), ssltest.NewCA(t, "aliens")
	o := &ssl.Options{MaxHandshakes: 8}
	var done, failed atomic.Int32
	o.Trace = &ssl.Trace{
		HandshakeDone: func(e *ssl.HandshakeEvent) {
			if e.Err != nil {
				failed.Add(1)
			} else {
				done.Add(1)
			}
		},
	}
	l := newStore(t, o, server(servers, "1", &ssl.ClientAuth{CAPEM: people.PEM()}, "a.test")).Listener(listen(t))
	acceptAll(t, l)
	good, bad := people.Client("alice"), aliens.Client("mallory")
	var clients sync.WaitGroup
	for i := range 100 {
		clients.Go(func() {
			cert, want := good, noAlert
			if i%2 == 0 {
				cert, want = bad, unknownCA
			}
			got := handshake(t, l.Addr(), ssltest.ClientConfig("a.test", cert))
			if alertOf(got.err) != want || want == noAlert && got.err != nil {
				t.Errorf("client %d: %v", i, got.err)
			}
		})
	}
	clients.Wait()
	require.EqualValues(t, 50, done.Load())
	collect(t, func() bool { return failed.Load() == 50 })
}
