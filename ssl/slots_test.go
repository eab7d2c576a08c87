package ssl_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// A crowd is a listener with few places, in a bubble of synctest.
type crowd struct {
	t       *testing.T
	pipes   *pipes
	store   *ssl.Store
	l       net.Listener
	reports *reports
}

func newCrowd(t *testing.T, places int, o *ssl.Options, config ssl.Config) *crowd {
	t.Helper()
	o.MaxHandshakes = places
	if o.HandshakeTimeout == 0 {
		o.HandshakeTimeout = time.Hour
	}
	c := &crowd{t: t, pipes: newPipes(), reports: newReports(o)}
	c.store = bubbleStore(t, o, config)
	c.l = c.store.Listener(c.pipes)
	return c
}

// come returns a connection that has come as far as it gets.
func (c *crowd) come() net.Conn {
	conn := c.pipes.dial(c.t)
	synctest.Wait()
	return conn
}

// shake begins an honest client's handshake and returns its end. The client takes a pause
// before its second flight, which is its last.
func shake(conn net.Conn, pause time.Duration) <-chan error {
	return shakeWith(conn, pause, client(tls.VersionTLS12, "a.test"))
}

func shakeWith(conn net.Conn, pause time.Duration, config *tls.Config) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := tls.Client(&slowConn{Conn: conn, pause: pause}, config).Read(make([]byte, 1))
		conn.Close()
		done <- err
	}()
	return done
}

// A slowConn takes a pause before each Write but the first.
type slowConn struct {
	net.Conn
	pause time.Duration
	begun bool
}

func (c *slowConn) Write(p []byte) (int, error) {
	if c.begun {
		time.Sleep(c.pause)
	}
	c.begun = true
	return c.Conn.Write(p)
}

// ended reports whether the server has closed a connection.
func ended(conn net.Conn) bool {
	_ = conn.SetReadDeadline(time.Now().Add(time.Nanosecond))
	_, err := io.Copy(io.Discard, conn)
	return err == nil
}

// When all places are taken and somebody waits for one, the oldest handshake that has had
// its grace goes, and is reported.
func TestCrowdedOut(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	config := server(ca, "1", nil, "a.test")
	hello := ssltest.ClientHello(t, "a.test")
	for _, c := range []struct {
		name       string
		stall      func(net.Conn)
		serverName string
	}{
		{"silence", func(net.Conn) {}, ""},
		{"half a ClientHello", func(c net.Conn) { _, _ = c.Write(hello[:len(hello)/2]) }, ""},
		{"a byte now and then", func(c net.Conn) {
			for _, b := range hello {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
		}, ""},
		{"nobody reads", func(c net.Conn) { _, _ = c.Write(hello) }, "a.test"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				events := make(chan *ssl.HandshakeEvent, 64)
				o := &ssl.Options{}
				crowd := newCrowd(t, 3, o, config)
				told := o.Trace.HandshakeDone // which reports has set
				o.Trace.HandshakeDone = func(e *ssl.HandshakeEvent) { events <- e; told(e) }
				acceptAll(t, crowd.l)
				var silent []net.Conn
				var stalling sync.WaitGroup
				for range 3 {
					conn := crowd.come()
					stalling.Go(func() { c.stall(conn) })
					silent = append(silent, conn)
					time.Sleep(100 * time.Millisecond)
				}
				defer stalling.Wait()
				defer func() {
					for _, conn := range silent {
						conn.Close()
					}
				}()

				// The first has been there for 300 ms, and has 700 more.
				waits := time.Now()
				require.NoError(t, <-shake(crowd.come(), 0))
				require.Equal(t, 700*time.Millisecond, time.Since(waits))
				synctest.Wait()
				e := <-events
				require.Equal(t, time.Second, e.Took)
				require.Equal(t, ssl.ReasonCrowdedOut, e.Err.Reason, "%v", e.Err)
				require.Equal(t, c.serverName, e.ServerName)
				require.Same(t, e.Err, <-crowd.reports.failed)
				require.Nil(t, (<-events).Err)
				require.Empty(t, events)
				_, record := crowd.reports.record(t)
				require.Equal(t, "crowded_out", record["reason"])
				require.Equal(t, ssl.ReasonCrowdedOut.Meaning()+": "+ssl.ReasonCrowdedOut.Remedy(), record["advice"])
				require.Equal(t, []ssl.ReasonCount{{Reason: ssl.ReasonCrowdedOut, Count: 1}}, crowd.store.Stats().All.Failed)

				// There is a place now, which needs nobody's; then there is none, and the
				// second has had its grace long since.
				silent = append(silent, crowd.come())
				require.Empty(t, events)
				time.Sleep(5 * time.Second) // too little for a ClientHello by a byte now and then
				waits = time.Now()
				for i := range 2 {
					require.NoError(t, <-shake(crowd.come(), 0))
					synctest.Wait()
					require.Equal(t, ssl.ReasonCrowdedOut, (<-events).Err.Reason, "%d", i)
					require.Nil(t, (<-events).Err)
					silent = append(silent, crowd.come())
				}
				require.Zero(t, time.Since(waits))
				require.Empty(t, events)
				for i, conn := range silent[:3] {
					require.True(t, ended(conn), "%d", i)
				}
				for _, conn := range silent[3:] {
					require.False(t, ended(conn))
				}
			})
		})
	}
}

// A rush of honest clients is queued, and nobody turned away, as long as none takes longer
// than the grace.
func TestRushIsQueued(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	synctest.Test(t, func(t *testing.T) {
		crowd := newCrowd(t, 4, &ssl.Options{}, server(ca, "1", nil, "a.test"))
		acceptAll(t, crowd.l)
		begun := time.Now()
		var clients []<-chan error
		for range 60 {
			clients = append(clients, shake(crowd.pipes.dial(t), 900*time.Millisecond))
		}
		for _, done := range clients {
			require.NoError(t, <-done)
		}
		require.Greater(t, time.Since(begun), 10*time.Second, "they were queued")
		require.Empty(t, crowd.reports.failed)
	})
}

// Without pressure a handshake has all its time, even if it has the last place.
func TestSlowHandshake(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	synctest.Test(t, func(t *testing.T) {
		crowd := newCrowd(t, 1, &ssl.Options{HandshakeTimeout: 10 * time.Second}, server(ca, "1", nil, "a.test"))
		acceptAll(t, crowd.l)
		begun := time.Now()
		require.NoError(t, <-shake(crowd.come(), 8*time.Second))
		require.Equal(t, 8*time.Second, time.Since(begun))
		require.Equal(t, "1", <-crowd.reports.done)
		require.Empty(t, crowd.reports.failed)
	})
}

// What is done and waits for Accept keeps its place: that nobody takes it is no fault of
// the client.
func TestDoneIsNotCrowdedOut(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	synctest.Test(t, func(t *testing.T) {
		const places = 3
		crowd := newCrowd(t, places, &ssl.Options{}, server(ca, "1", nil, "a.test"))
		defer crowd.l.Close()
		first := make(chan net.Conn)
		go func() {
			c, err := crowd.l.Accept()
			require.NoError(t, err)
			first <- c
		}()
		var clients []<-chan error
		for range 1 + places {
			clients = append(clients, shake(crowd.come(), 0))
			synctest.Wait()
		}
		waiting := shake(crowd.come(), 0)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Empty(t, crowd.reports.failed)
		serve := func(c net.Conn) {
			_, err := c.Write([]byte("x"))
			require.NoError(t, err)
			c.Close()
		}
		serve(<-first)
		for range places + 1 {
			c, err := crowd.l.Accept()
			require.NoError(t, err)
			serve(c)
		}
		for _, done := range append(clients, waiting) {
			require.NoError(t, <-done)
		}
		require.Empty(t, crowd.reports.failed)
	})
}

// A slowSigner takes its time.
type slowSigner struct {
	crypto.Signer
	slow func()
}

func (s *slowSigner) Sign(rand io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	s.slow()
	return s.Signer.Sign(rand, digest, o)
}

// slowKey puts a slowSigner in the place of a key.
func slowKey(t *testing.T, p ssl.KeyPair, slow func()) ssl.KeyPair {
	t.Helper()
	c, err := tls.X509KeyPair(p.CertPEM, p.KeyPEM)
	require.NoError(t, err)
	return ssl.KeyPair{CertPEM: p.CertPEM, Signer: &slowSigner{c.PrivateKey.(crypto.Signer), slow}}
}

// Nor is somebody ended who waits for us: for an Authorize or a Signer that is slow, or for
// a function of Options.Base.
func TestJudgedIsNotCrowdedOut(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	alice := people.Client("alice")
	now := time.Now() // when the certificates are valid
	slow := func() { time.Sleep(5 * time.Second) }
	for name, slowed := range map[string]func(*ssl.Options, *ssl.Config){
		"Authorize": func(_ *ssl.Options, c *ssl.Config) {
			c.Client.Authorize, c.Client.AuthorizeID = func(context.Context, *ssl.Identity) error { slow(); return nil }, "1"
		},
		"VerifyConnection": func(o *ssl.Options, _ *ssl.Config) {
			o.Base.VerifyConnection = func(tls.ConnectionState) error { slow(); return nil }
		},
		"Signer": func(_ *ssl.Options, c *ssl.Config) {
			c.Certificates = []ssl.KeyPair{slowKey(t, c.Certificates[0], slow)}
		},
		"one of two Signers": func(_ *ssl.Options, c *ssl.Config) {
			key := slowKey(t, c.Certificates[0], slow)
			c.Certificates = []ssl.KeyPair{key, selfSigned(t, rsaKey(), rsaKey().Public(), "a.test")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			forVersions(t, func(t *testing.T, version uint16, _ int) {
				synctest.Test(t, func(t *testing.T) {
					o := &ssl.Options{Base: &tls.Config{Time: func() time.Time { return now }}}
					c := server(servers, "1", &ssl.ClientAuth{CAPEM: people.PEM()}, "a.test")
					slowed(o, &c)
					crowd := newCrowd(t, 2, o, c)
					acceptAll(t, crowd.l)
					begun := time.Now()
					judged := shakeWith(crowd.come(), 0, client(version, "a.test", alice))
					synctest.Wait()
					silent := crowd.come()
					another := shakeWith(crowd.come(), 0, client(version, "a.test", alice))
					synctest.Wait()
					third := crowd.come() // who says nothing either, and waits
					require.NoError(t, <-judged)
					require.Equal(t, 5*time.Second, time.Since(begun))
					require.NoError(t, <-another)
					require.Equal(t, 6*time.Second, time.Since(begun), "it had the place of who was silent")
					require.True(t, ended(silent))
					require.False(t, ended(third))
					require.Equal(t, ssl.ReasonCrowdedOut, (<-crowd.reports.failed).Reason)
					require.Empty(t, crowd.reports.failed)
				})
			})
		})
	}
}

// Who was judged has a grace for what is left of the handshake, and not for ever.
func TestJudgedIsCrowdedOutLater(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	synctest.Test(t, func(t *testing.T) {
		o := &ssl.Options{Base: &tls.Config{VerifyConnection: func(tls.ConnectionState) error {
			time.Sleep(5 * time.Second)
			return nil
		}}}
		crowd := newCrowd(t, 1, o, server(ca, "1", nil, "a.test"))
		acceptAll(t, crowd.l)
		begun := time.Now()
		// VerifyConnection comes before the client's last flight.
		stalled := shakeWith(crowd.come(), time.Minute, client(tls.VersionTLS13, "a.test"))
		another := shake(crowd.come(), 0)
		require.NoError(t, <-another)
		require.Equal(t, (5+1+5)*time.Second, time.Since(begun))
		require.Equal(t, ssl.ReasonCrowdedOut, (<-crowd.reports.failed).Reason)
		require.Error(t, <-stalled)
	})
}

// The time of Admit counts, whatever it waits for, and it is reported if it was cut off.
func TestAdmittedIsCrowdedOut(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	synctest.Test(t, func(t *testing.T) {
		crowd := newCrowd(t, 1, &ssl.Options{}, server(ca, "1", nil, "a.test"))
		acceptAll(t, crowd.l)
		ours, theirs := net.Pipe()
		crowd.pipes.conns <- &admitted{theirs, func() error {
			_, err := theirs.Read(make([]byte, 1))
			return err
		}}
		time.Sleep(600 * time.Millisecond)
		_, err := ours.Write([]byte("x")) // and then there is no ClientHello
		require.NoError(t, err)
		begun := time.Now()
		require.NoError(t, <-shake(crowd.come(), 0))
		require.Equal(t, 400*time.Millisecond, time.Since(begun))
		synctest.Wait()
		require.Equal(t, ssl.ReasonCrowdedOut, (<-crowd.reports.failed).Reason)

		ours, theirs = net.Pipe()
		crowd.pipes.conns <- &admitted{theirs, func() error {
			_, err := theirs.Read(make([]byte, 1))
			return err
		}}
		begun = time.Now()
		require.NoError(t, <-shake(crowd.come(), 0))
		require.Equal(t, time.Second, time.Since(begun))
		require.Equal(t, ssl.ReasonCrowdedOut, (<-crowd.reports.failed).Reason)
		require.Equal(t, []ssl.ReasonCount{{Reason: ssl.ReasonCrowdedOut, Count: 2}}, crowd.store.Stats().NoProfile.Failed)
		require.True(t, ended(ours))
	})
}

// A client that was refused, and is waited for lest it loses the alert, has the place no
// longer than others, and is reported once.
func TestLingeringIsCrowdedOut(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	synctest.Test(t, func(t *testing.T) {
		crowd := newCrowd(t, 1, &ssl.Options{}, server(ca, "1", nil, "a.test"))
		crowd.l = crowd.store.Listener(lingering{crowd.pipes})
		acceptAll(t, crowd.l)
		refused := crowd.come()
		time.Sleep(800 * time.Millisecond)
		go func() { _, _ = io.Copy(io.Discard, refused) }()
		_, err := refused.Write([]byte("no TLS at all, and no end\n"))
		require.NoError(t, err)
		require.Equal(t, ssl.ReasonProtocol, (<-crowd.reports.failed).Reason)
		begun := time.Now()
		require.NoError(t, <-shake(crowd.come(), 0))
		require.Equal(t, 200*time.Millisecond, time.Since(begun))
		require.Empty(t, crowd.reports.failed)
	})
}

// Who waits for a place is closed with the listener, and served if that only drains.
func TestWaitingForAPlace(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	config := server(ca, "1", nil, "a.test")
	for _, drains := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			crowd := newCrowd(t, 1, &ssl.Options{}, config)
			acceptAll(t, crowd.l)
			begun := time.Now()
			silent := crowd.come()
			waiting := shake(crowd.come(), 0)
			synctest.Wait()
			if drains {
				require.NoError(t, crowd.pipes.Close())
				require.NoError(t, <-waiting)
				require.Equal(t, time.Second, time.Since(begun))
			} else {
				require.NoError(t, crowd.l.Close())
				require.Error(t, <-waiting)
				require.Zero(t, time.Since(begun))
			}
			require.True(t, ended(silent))
		})
	}
}

// Real sockets, twice as many silent ones as there are places, and a client.
func TestSilentSockets(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	before := runtime.NumGoroutine()
	const places = 16
	o := &ssl.Options{MaxHandshakes: places, HandshakeTimeout: time.Hour}
	reports := newReports(o)
	store := newStore(t, o, server(ca, "1", nil, "a.test"))
	l := store.Listener(listen(t))
	var taking sync.WaitGroup
	taking.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("x"))
			_ = c.Close()
		}
	})
	var conns []net.Conn
	for range 2 * places {
		c, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		defer c.Close()
		conns = append(conns, c)
	}
	require.NoError(t, handshake(t, l.Addr(), ssltest.ClientConfig("a.test")).err)
	for range places + 1 {
		require.Equal(t, ssl.ReasonCrowdedOut, (<-reports.failed).Reason)
	}
	require.Empty(t, reports.failed, "no more go than have to")
	for _, c := range conns[:places+1] {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		_, err := c.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF, "the oldest go first")
	}
	require.NoError(t, l.Close())
	taking.Wait()
	collect(t, func() bool { return runtime.NumGoroutine() <= before })
}

// A profile with SkipPaths judges when it makes a ticket.
func TestJudgedAtTicketsIsNotCrowdedOut(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	alice := people.Client("alice")
	now := time.Now()
	synctest.Test(t, func(t *testing.T) {
		o := &ssl.Options{HandshakeProcs: -1, Base: &tls.Config{Time: func() time.Time { return now }}}
		auth := &ssl.ClientAuth{CAPEM: people.PEM(), SkipPaths: []string{"^/open"}, AuthorizeID: "1", Authorize: func(ctx context.Context, id *ssl.Identity) error {
			time.Sleep(3 * time.Second)
			return nil
		}}
		crowd := newCrowd(t, 1, o, server(servers, "1", auth, "a.test"))
		acceptAll(t, crowd.l)
		conf := client(tls.VersionTLS13, "a.test", alice)
		conf.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		done := shakeWith(crowd.come(), 0, conf)
		synctest.Wait()
		other := crowd.come()
		require.NoError(t, <-done)
		other.Close()
	})
}

// Nor is somebody ended who waits for a processor.
func TestQueuedIsNotCrowdedOut(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	synctest.Test(t, func(t *testing.T) {
		crowd := newCrowd(t, 1, &ssl.Options{HandshakeProcs: 1}, server(ca, "1", nil, "a.test"))
		acceptAll(t, crowd.l)
		crowd.store.TakeProc()
		first := shake(crowd.come(), 0)
		synctest.Wait()
		second := shake(crowd.come(), 0)
		time.Sleep(2500 * time.Millisecond)
		crowd.store.GiveProc()
		require.NoError(t, <-first)
		require.NoError(t, <-second)
	})
}
