package ssl_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// One processor is left where nobody says how many.
func TestHandshakeProcs(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, c := range []struct{ option, processors, want int }{
		{0, 4, 3}, {0, 2, 1}, {0, 1, 1}, {1, 4, 1}, {5, 4, 5}, {-1, 4, 0},
	} {
		runtime.GOMAXPROCS(c.processors)
		require.Equal(t, c.want, must(ssl.NewStore(&ssl.Options{HandshakeProcs: c.option})).Procs(), "%+v", c)
	}
}

// No more handshakes compute at a time than there are processors for them. Here one always
// does, and the others wait for that.
func TestProcessorsTaken(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	synctest.Test(t, func(t *testing.T) {
		crowd := newCrowd(t, 100, &ssl.Options{HandshakeProcs: 2}, server(ca, "1", nil, "a.test"))
		acceptAll(t, crowd.l)
		crowd.store.TakeProc()
		require.NoError(t, <-shake(crowd.come(), 0))
		crowd.store.TakeProc()
		done := shake(crowd.come(), 0)
		synctest.Wait()
		require.Empty(t, done)
		crowd.store.GiveProc()
		require.NoError(t, <-done)
		crowd.store.GiveProc()
	})
}

// Whoever waits has no processor: for what the client says, for the client to listen, or
// for a function of the user's.
func TestNoProcessorForWaiting(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	alice, bob := people.Client("alice"), people.Client("bob")
	hello := ssltest.ClientHello(t, "a.test")
	now := time.Now() // when the certificates are valid
	for name, wait := range map[string]func(net.Conn){
		"silence":              func(net.Conn) {},
		"half a ClientHello":   func(c net.Conn) { _, _ = c.Write(hello[:len(hello)/2]) },
		"nobody reads":         func(c net.Conn) { _, _ = c.Write(hello) },
		"no second flight":     func(c net.Conn) { _, _ = c.Write(hello); _, _ = io.Copy(io.Discard, c) },
		"a plain HTTP request": func(c net.Conn) { _, _ = io.WriteString(c, "GET / HTTP/1.1\r\n\r\n") },
		"a slow Signer":        func(c net.Conn) { _ = tls.Client(c, client(tls.VersionTLS13, "a.test", bob)).Handshake() },
		"a slow Authorize": func(c net.Conn) {
			_ = tls.Client(c, client(tls.VersionTLS13, "a.test", alice)).Handshake()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &ssl.Options{HandshakeProcs: 1, Base: &tls.Config{Time: func() time.Time { return now }}}
				auth := &ssl.ClientAuth{CAPEM: people.PEM(), AuthorizeID: "1", Authorize: func(ctx context.Context, id *ssl.Identity) error {
					if id.Subject() == "CN=alice" {
						<-ctx.Done()
					}
					return nil
				}}
				config := server(servers, "1", auth, "a.test")
				if name == "a slow Signer" {
					once := make(chan struct{}, 1)
					once <- struct{}{}
					config.Certificates = []ssl.KeyPair{slowKey(t, config.Certificates[0], func() {
						select {
						case <-once:
							time.Sleep(time.Second)
						default:
						}
					})}
				}
				crowd := newCrowd(t, 100, o, config)
				acceptAll(t, crowd.l)
				conn := crowd.come()
				go wait(conn)
				synctest.Wait()
				begun := time.Now()
				require.NoError(t, <-shakeWith(crowd.come(), 0, client(tls.VersionTLS13, "a.test", bob)))
				require.Zero(t, time.Since(begun))
				conn.Close()
			})
		})
	}
}

// What lies below the TLS of a connection is the listener's own, a step further down.
func TestNetConnBelow(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	store := must(ssl.NewStore(nil))
	_, err = store.Apply(ssl.Change{Put: []ssl.Config{server(ssltest.NewCA(t, "root"), "1", nil, "a.test")}})
	require.NoError(t, err)
	secure := store.Listener(l)
	defer secure.Close()
	go func() {
		c, err := tls.Dial("tcp", l.Addr().String(), client(tls.VersionTLS13, "a.test"))
		if err == nil {
			_, _ = io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	c, err := secure.Accept()
	require.NoError(t, err)
	defer c.Close()
	below := c.(*tls.Conn).NetConn().(interface {
		NetConn() net.Conn
		CloseWrite() error
	})
	require.IsType(t, &net.TCPConn{}, below.NetConn())
	require.NoError(t, below.CloseWrite())
}

// A profile with SkipPaths judges when it makes a ticket.
func TestNoProcessorForAuthorizeAtTickets(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	alice := people.Client("alice")
	now := time.Now()
	forVersions(t, func(t *testing.T, version uint16, _ int) {
		synctest.Test(t, func(t *testing.T) {
			o := &ssl.Options{HandshakeProcs: 1, MaxHandshakes: 100, HandshakeTimeout: 10 * time.Second, Base: &tls.Config{Time: func() time.Time { return now }}}
			auth := &ssl.ClientAuth{CAPEM: people.PEM(), SkipPaths: []string{"^/open"}, AuthorizeID: "1", Authorize: func(ctx context.Context, id *ssl.Identity) error {
				<-ctx.Done()
				return ctx.Err()
			}}
			crowd := newCrowd(t, 100, o, server(servers, "1", auth, "a.test"))
			acceptAll(t, crowd.l)
			conn := crowd.come()
			go func() {
				conf := client(version, "a.test", alice)
				conf.ClientSessionCache = tls.NewLRUClientSessionCache(1)
				c := tls.Client(conn, conf)
				_ = c.Handshake()
				_, _ = io.Copy(io.Discard, c)
			}()
			synctest.Wait()
			begun := time.Now()
			require.NoError(t, <-shakeWith(crowd.come(), 0, client(version, "a.test"))) // no certificate at all
			require.Zero(t, time.Since(begun), "an unrelated client waited")
			conn.Close()
		})
	})
}

// A function of the user's that ends its goroutine, as t.FailNow does, has no processor
// after that, and leaves no connection.
func TestGoexitKeepsNothing(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		crowd := newCrowd(t, 10, &ssl.Options{HandshakeProcs: 1, HandshakeTimeout: 10 * time.Second, Base: &tls.Config{VerifyConnection: func(tls.ConnectionState) error {
			if n.Add(1) == 1 {
				runtime.Goexit() // what t.FailNow does
			}
			return nil
		}}}, server(ca, "1", nil, "a.test"))
		acceptAll(t, crowd.l)
		first := crowd.come()
		go func() { _ = tls.Client(first, client(tls.VersionTLS13, "a.test")).Handshake() }()
		synctest.Wait()
		done := shake(crowd.come(), 0)
		time.Sleep(time.Hour)
		select {
		case err := <-done:
			require.NoError(t, err)
		default:
			first.Close()
			crowd.store.GiveProc()
			t.Error("after an hour the next client still waits for a processor")
		}
		first.Close()
	})
}
