package gateway_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// parks says that idle connections are parked.
const parks = true

// These tests are of connections that are idle for long. They take as long as that is:
// what wakes them is epoll(7), which knows no other clock.

// A lot is a gateway with a handler, over sockets, and connections to it.
type lot struct {
	t             testing.TB
	gw            *gateway.Server
	plain, secure net.Addr
}

func newLot(t testing.TB, limits gateway.Limits) *lot {
	t.Helper()
	wantNoLeak(t)
	wantNoDescriptors(t)
	l := &lot{t: t, gw: must(gateway.New(&gateway.Options{Limits: limits}))}
	servers := ssltest.NewCA(t, "servers")
	_, err := l.gw.Apply(gateway.Change{Put: gateway.Config{
		Profiles: []ssl.Config{{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{servers.Server("a.test")}}},
		Routes:   []route.Config{local("1", "/*", "ok")},
	}})
	require.NoError(t, err)
	plain, secure := listen(t), listen(t)
	l.plain, l.secure = plain.Addr(), secure.Addr()
	var serving sync.WaitGroup
	serving.Go(func() { _ = l.gw.Serve(plain) })
	serving.Go(func() { _ = l.gw.ServeTLS(secure) })
	t.Cleanup(func() {
		_ = l.gw.Close()
		serving.Wait()
	})
	return l
}

// wantNoDescriptors fails the test if descriptors are open after it that were not before.
func wantNoDescriptors(t testing.TB) {
	listen(t).Close() // the runtime's own come with the first
	before := descriptors(t)
	t.Cleanup(func() {
		eventually(t, func() bool { return descriptors(t) <= before }, "descriptors stay open")
	})
}

func descriptors(t testing.TB) int {
	list, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(list)
}

func (l *lot) dial(secure bool) *rawConn {
	l.t.Helper()
	addr := l.plain
	if secure {
		addr = l.secure
	}
	conn, err := net.Dial("tcp", addr.String())
	require.NoError(l.t, err)
	l.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	if secure {
		config := ssltest.ClientConfig("a.test")
		config.NextProtos = []string{"http/1.1"}
		s := tls.Client(conn, config)
		require.NoError(l.t, s.Handshake())
		conn = s
	}
	return &rawConn{conn, l.t.(*testing.T), bufio.NewReaderSize(conn, 512)}
}

// wantParked waits until so many connections are parked, and no other is there.
func (l *lot) wantParked(n int) {
	l.t.Helper()
	eventually(l.t, func() bool {
		active, parked := l.gw.Clients()
		return active == 0 && parked == n
	}, fmt.Sprintf("there are never %d parked connections alone", n))
	eventually(l.t, func() bool {
		for _, stack := range goroutines() {
			if strings.Contains(stack, "gateway.(*client).serve") {
				return false
			}
		}
		return true
	}, "a parked connection has a goroutine")
}

func (c *rawConn) ask() {
	c.t.Helper()
	c.write(toOrigin)
	c.wantOK()
}

func (c *rawConn) wantOK() {
	c.t.Helper()
	res, body := c.answer("GET")
	require.Equal(c.t, 200, res.StatusCode)
	require.Equal(c.t, "ok", body)
}

// What comes over a parked connection is answered, however it comes: also the second of
// two requests in one record, which no socket shows.
func TestParked(t *testing.T) {
	over(t, func(t *testing.T, secure bool) {
		l := newLot(t, gateway.Limits{})
		c := l.dial(secure)
		silent := l.dial(secure)
		c.ask()
		for _, wake := range []func(){
			c.ask,
			func() {
				c.write(toOrigin + toOrigin + toOrigin)
				for range 3 {
					c.wantOK()
				}
			},
			func() {
				// The last comes with the one before, but for its end.
				c.write(toOrigin + toOrigin[:20])
				c.wantOK()
				c.write(toOrigin[20:])
				c.wantOK()
			},
			func() {
				c.write(toOrigin[:3])
				c.write(toOrigin[3:])
				c.wantOK()
			},
		} {
			l.wantParked(2)
			wake()
		}
		l.wantParked(2)
		silent.ask()
		l.wantParked(2)
		c.Close()
		silent.Close()
		eventually(t, func() bool { _, parked := l.gw.Clients(); return parked == 0 }, "a client that has gone away stays parked")
	})
}

// Idle connections end in time while they are parked: each by its own limit, and not the
// later for less than a request.
func TestParkedIdleTimeout(t *testing.T) {
	l := newLot(t, gateway.Limits{HeaderTimeout: 1500 * time.Millisecond, IdleTimeout: math.MaxInt64}) // which some take for none
	kept := l.dial(false)
	kept.ask()
	l.wantParked(1)
	silent := l.dial(false) // parked behind one that expires later
	begun := time.Now()
	silent.wantEnd()
	require.GreaterOrEqual(t, time.Since(begun), 1400*time.Millisecond)

	trickle := l.dial(true)
	l.wantParked(2)
	below := trickle.Conn.(*tls.Conn).NetConn()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		// The beginning of a record, a byte at a time.
		for _, c := range append([]byte{23, 3, 3, 0x10, 0}, make([]byte, 1000)...) {
			if _, err := below.Write([]byte{c}); err != nil {
				return
			}
			time.Sleep(300 * time.Millisecond)
		}
	}()
	trickle.wantEnd()
	trickle.Close()
	<-ended
	kept.ask()
}

// Shutdown and Close reach each connection, whatever it is about to do.
func TestParkedShutdown(t *testing.T) {
	for name, end := range map[string]func(*gateway.Server) error{
		"Close":    (*gateway.Server).Close,
		"Shutdown": func(s *gateway.Server) error { return s.Shutdown(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			over(t, func(t *testing.T, secure bool) {
				l := newLot(t, gateway.Limits{})
				c := l.dial(secure)
				c.ask()
				l.wantParked(1)
				begun := time.Now()
				require.NoError(t, end(l.gw))
				c.wantEnd()
				require.Less(t, time.Since(begun), patience/2)
			})
			t.Run("while they park and wake", func(t *testing.T) {
				for range 4 {
					l := newLot(t, gateway.Limits{})
					var conns []*rawConn
					for range 100 {
						conns = append(conns, l.dial(false))
					}
					for _, c := range conns {
						c.ask()
					}
					// They are parked a second later.
					time.Sleep(time.Second + rand.N(10*time.Millisecond))
					for _, c := range conns[:50] {
						_, _ = io.WriteString(c, toOrigin)
					}
					require.NoError(t, end(l.gw))
					for _, c := range conns {
						_, err := io.Copy(io.Discard, c.r)
						if err, ok := err.(net.Error); ok {
							require.False(t, err.Timeout(), "a connection was kept open")
						}
					}
					eventually(t, func() bool { active, parked := l.gw.Clients(); return active+parked == 0 }, "a connection is left")
				}
			})
		})
	}
}

// Who has just connected, and is parked already, has his second all the same when the server
// drains.
func TestParkedNewcomer(t *testing.T) {
	over(t, func(t *testing.T, secure bool) {
		for range 10 {
			l := newLot(t, gateway.Limits{})
			begun := time.Now()
			c := l.dial(secure)
			l.wantParked(1)
			done := make(chan error, 1)
			go func() { done <- l.gw.Shutdown(context.Background()) }()
			eventually(t, func() bool { _, parked := l.gw.Clients(); return parked == 0 }, "it stays parked")
			_, _ = io.WriteString(c, toOrigin)
			res, err := http.ReadResponse(c.r, nil)
			if err != nil && time.Since(begun) > 900*time.Millisecond {
				require.NoError(t, <-done)
				continue // the machine was too slow, and the second is over
			}
			require.NoError(t, err)
			require.Equal(t, 200, res.StatusCode)
			require.NoError(t, <-done)
			return
		}
		t.Skip("this machine is too slow")
	})
}

// Many idle connections cost little, and all of them wake.
func TestManyIdle(t *testing.T) {
	n := 2000
	if !testing.Short() {
		n = 10_000
	}
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	if most := int(min(limit.Cur, 1<<20)); 2*n+500 > most { // both ends are here
		n = (most - 500) / 2
	}
	l := newLot(t, gateway.Limits{})
	conns := make([]net.Conn, 0, n)
	before := heap()
	for range n {
		conn, err := net.Dial("tcp", l.plain.String())
		require.NoError(t, err)
		conns = append(conns, conn)
	}
	t.Cleanup(func() {
		for _, conn := range conns {
			conn.Close()
		}
	})
	answers := func() {
		buf := make([]byte, 1024)
		for _, conn := range conns {
			_ = conn.SetDeadline(time.Now().Add(patience))
			_, err := io.WriteString(conn, toOrigin)
			require.NoError(t, err)
		}
		for _, conn := range conns {
			m, err := io.ReadAtLeast(conn, buf, len("HTTP/1.1 200"))
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(string(buf[:m]), "HTTP/1.1 200"))
			require.True(t, strings.HasSuffix(string(buf[:m]), "ok"))
		}
	}
	answers()
	l.wantParked(n)
	// A buffer alone would be 4 KiB. The other ends are here too.
	require.Less(t, (heap()-before)/int64(n), int64(4<<10))
	answers()
	l.wantParked(n)
	require.NoError(t, l.gw.Close())
	active, parked := l.gw.Clients()
	require.Zero(t, active+parked)
}

func heap() int64 {
	runtime.GC()
	runtime.GC() // what pools have kept from the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A handler is told that its client has gone away, in whatever way.
func TestClientGone(t *testing.T) {
	type where struct {
		c   *rawConn
		tcp *net.TCPConn
	}
	for name, leave := range map[string]func(where){
		"closed": func(w where) { w.c.Close() },
		"reset":  func(w where) { _ = w.tcp.SetLinger(0); w.tcp.Close() },
		"half":   func(w where) { _ = w.tcp.CloseWrite() },
	} {
		for _, request := range []string{
			"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
		} {
			t.Run(name+request[:4], func(t *testing.T) {
				over(t, func(t *testing.T, secure bool) {
					l := newLot(t, gateway.Limits{})
					began, ended := make(chan struct{}), make(chan struct{})
					_, err := l.gw.Apply(gateway.Change{Put: gateway.Config{Routes: []route.Config{{
						ID: "2", Paths: []string{"/"}, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
							_, _ = io.ReadAll(r.Body)
							close(began)
							<-r.Context().Done()
							close(ended)
						}),
					}}}})
					require.NoError(t, err)
					c := l.dial(secure)
					tcp, ok := c.Conn.(*net.TCPConn)
					if !ok {
						tcp = c.Conn.(*tls.Conn).NetConn().(*net.TCPConn)
					}
					c.write(request)
					<-began
					leave(where{c, tcp})
					select {
					case <-ended:
					case <-time.After(patience):
						t.Fatal("the handler is not told")
					}
					eventually(t, func() bool { active, _ := l.gw.Clients(); return active == 0 }, "the connection is kept")
				})
			})
		}
	}
}
