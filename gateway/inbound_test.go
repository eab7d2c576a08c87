package gateway_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
	"github.com/sallyport/sallyport/upstream"
)

// ourDoors are those that the gateway itself listens behind.
func (h *harness) ourDoors() []door { return []door{h.http1, h.http2, h.plain, h.plain2} }

// loopback are the peers of all tests.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// header2 is a header of version 2 for TCP over IPv4.
const header2 = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\x7f\x00\x00\x01\x30\x39\x01\xbb"

// ask asks for "/" over a raw connection, and returns the status and the body.
func (h *harness) ask(d door, c *rawConn, path string) (string, string) {
	h.t.Helper()
	if d.major == 2 {
		conn := newH2(c)
		conn.get(1, d.scheme(), "a.test", path)
		return conn.status(1)
	}
	c.write("GET " + path + " HTTP/1.1\r\nHost: a.test\r\n\r\n")
	res, body := c.answer("GET")
	return fmt.Sprint(res.StatusCode), body
}

// whoami answers with the address that a request came from.
var whoami = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RemoteAddr) })

func (h *harness) applyOrigin(further ...route.Config) {
	h.t.Helper()
	h.apply(gateway.Config{
		Profiles:  []ssl.Config{h.profile("1", []string{"a.test"})},
		Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)},
		Routes:    append(further, everything("1", "1")),
	})
}

func TestProxyProtocol(t *testing.T) {
	h := newHarness(t, &gateway.Options{ProxyProtocol: loopback})
	h.applyOrigin(
		route.Config{ID: "who", Paths: []string{"/who"}, Handler: whoami},
		route.Config{ID: "here", Paths: []string{"/where"}, RemoteAddrs: []string{"192.0.2.0/24"}, Handler: named("there")},
		route.Config{ID: "there", Paths: []string{"/where"}, RemoteAddrs: []string{"127.0.0.1"}, Handler: named("here")},
	)
	for _, d := range h.ourDoors() {
		for header, from := range map[string]string{
			"PROXY TCP4 192.0.2.1 127.0.0.1 12345 443\r\n":     "192.0.2.1:12345",
			"PROXY TCP6 2001:db8::1 2001:db8::2 12345 443\r\n": "[2001:db8::1]:12345",
			header2:                                  "192.0.2.1:12345",
			"PROXY UNKNOWN\r\n":                      "",
			"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00": "",
		} {
			dial := func() *rawConn { return h.rawAfter(header, d, "a.test") }
			conn := dial()
			own := conn.LocalAddr().String()
			status, body := h.ask(d, conn, "/who")
			require.Equal(t, "200", status)
			if from == "" {
				from = own
			}
			require.Equal(t, from, body, "%s: %q", d.name, header)
			addr := netip.MustParseAddrPort(from).Addr().String()

			_, body = h.ask(d, dial(), "/where")
			where := map[string]string{"192.0.2.1": "there", "127.0.0.1": "here"}[addr]
			if where != "" {
				require.Equal(t, where, body)
			}
			_, _ = h.ask(d, dial(), "/")
			r := h.origin.take()
			require.Len(t, r, 1+map[bool]int{where == "": 1}[true])
			for _, name := range []string{"X-Forwarded-For", "X-Real-IP"} {
				require.Equal(t, []string{addr}, r[len(r)-1].values(name), d.name)
			}
		}
	}
	// Refused handshakes are those of the client.
	conn := h.rawAfter("PROXY TCP4 192.0.2.77 127.0.0.1 12345 443\r\n", h.plain, "")
	_ = conn.Close()
	under, err := net.Dial("tcp", h.http1.addr.String())
	require.NoError(t, err)
	defer under.Close()
	_, err = io.WriteString(under, "PROXY TCP4 192.0.2.77 127.0.0.1 12345 443\r\n")
	require.NoError(t, err)
	require.Error(t, tls.Client(under, ssltest.ClientConfig("unknown.test")).Handshake())
	eventually(t, func() bool { return strings.Contains(h.log.String(), "192.0.2.77:12345") }, "no record of the handshake")
}

// Who is not named may send no header, and who is must.
func TestProxyProtocolOfOthers(t *testing.T) {
	const line = "PROXY TCP4 192.0.2.1 127.0.0.1 12345 443\r\n"
	t.Run("others", func(t *testing.T) {
		h := newHarness(t, &gateway.Options{ProxyProtocol: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
		h.applyOrigin()
		for _, header := range []string{line, header2} {
			conn := h.rawAfter(header, h.plain, "")
			conn.write(toOrigin)
			require.Equal(t, []int{400}, conn.statuses())
			under, err := net.Dial("tcp", h.http1.addr.String())
			require.NoError(t, err)
			defer under.Close()
			_, err = io.WriteString(under, header)
			require.NoError(t, err)
			require.Error(t, tls.Client(under, ssltest.ClientConfig("a.test")).Handshake())
		}
		require.Empty(t, h.origin.take())
		for _, d := range h.ourDoors() {
			status, _ := h.ask(d, h.raw(d, "a.test"), "/")
			require.Equal(t, "200", status)
		}
	})
	t.Run("named", func(t *testing.T) {
		refused := make(chan error, 10)
		o := &gateway.Options{ProxyProtocol: loopback, Trace: &gateway.Trace{ProxyHeaderRefused: func(_ net.Addr, err error) { refused <- err }}}
		h := newHarness(t, o)
		h.applyOrigin()
		for _, d := range []door{h.http1, h.plain} {
			for _, text := range []string{toOrigin, "\x16\x03\x01", "PROXY TCP4 192.0.2.1 127.0.0.1 1 443\n" + toOrigin, "PROXY TCP4 192.0.2.1 127.0.0.1 1 65536\r\n" + toOrigin} {
				conn, err := net.Dial("tcp", d.addr.String())
				require.NoError(t, err)
				raw := &rawConn{conn, t, bufio.NewReader(conn)}
				raw.write(text)
				raw.wantEnd()
				require.ErrorContains(t, <-refused, "proxyproto: ")
				conn.Close()
			}
		}
		require.Empty(t, h.origin.take())
		require.NotContains(t, h.log.String(), "TLS handshake failed")
	})
}

// The header has its time, and keeps nobody else waiting.
func TestProxyProtocolTimeout(t *testing.T) {
	over(t, func(t *testing.T, secure bool) {
		var log syncBuffer
		var refused atomic.Int64
		o := gateway.Options{
			ProxyProtocol: loopback, FailuresLogged: 1,
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
			Trace:  &gateway.Trace{ProxyHeaderRefused: func(net.Addr, error) { refused.Add(1) }},
		}
		inBubbleOf(t, o, nil, func(b *bubble) {
			l := b.plain
			if secure {
				l = b.secure
			}
			dial := func() *rawConn {
				conn := b.dial(l)
				return &rawConn{conn, t, bufio.NewReader(conn)}
			}
			silent, slow := dial(), dial()
			var writing sync.WaitGroup
			writing.Go(func() {
				for _, c := range header2 {
					_, _ = slow.Write([]byte{byte(c)})
					time.Sleep(time.Second)
				}
			})
			b.after(testLimits.HeaderTimeout, func() {
				b.after(0, func() {
					conn := dial()
					conn.write(header2)
					if secure {
						config := ssltest.ClientConfig("a.test")
						config.NextProtos = []string{"http/1.1"}
						conn.Conn = tls.Client(conn.Conn, config)
						conn.r = bufio.NewReader(conn.Conn)
					}
					conn.write(toOrigin)
					res, _ := conn.answer("GET")
					require.Equal(t, 200, res.StatusCode)
				})
				silent.wantEnd()
				slow.wantEnd()
			})
			writing.Wait()
			require.EqualValues(t, 2, refused.Load())
			require.Equal(t, 1, strings.Count(log.String(), "PROXY header refused"), "one record a second")
			time.Sleep(time.Second)
			conn := dial()
			conn.write("GET / HTTP/1.1\r\n\r\n")
			conn.wantEnd()
			require.Contains(t, log.String(), "unreported=1")

			// Nor does it keep Close waiting, nor Shutdown for longer than its time.
			conn = dial()
			synctest.Wait()
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			b.after(time.Second, func() { require.ErrorIs(t, b.gw.Shutdown(ctx), context.DeadlineExceeded) })
			conn.wantEnd()
		})
	})
}

// A connection with a header is parked as any other.
func TestProxyProtocolParks(t *testing.T) {
	h := newHarness(t, &gateway.Options{ProxyProtocol: loopback})
	h.applyOrigin()
	var conns []*rawConn
	for _, d := range []door{h.http1, h.plain} {
		for _, header := range []string{header2, "PROXY TCP4 192.0.2.1 127.0.0.1 12345 443\r\n"} {
			conn := h.rawAfter(header, d, "a.test")
			conn.write(toOrigin)
			conn.answer("GET")
			conns = append(conns, conn)
		}
	}
	if parks {
		eventually(t, func() bool { _, parked := h.gw.Clients(); return parked == len(conns) }, "they are not parked")
	}
	for _, conn := range conns {
		conn.write(toOrigin)
		res, _ := conn.answer("GET")
		require.Equal(t, 200, res.StatusCode)
	}
	for _, r := range h.origin.take() {
		require.Equal(t, []string{"192.0.2.1"}, r.values("X-Forwarded-For"))
	}
}

// refusals collects what is told of limits.
func refusals(o *gateway.Options) chan gateway.LimitEvent {
	events := make(chan gateway.LimitEvent, 100)
	o.Trace = &gateway.Trace{LimitReached: func(e gateway.LimitEvent) { events <- e }}
	return events
}

// turnedAway checks that a connection is closed before anything is said over it.
func turnedAway(t *testing.T, addr net.Addr, header string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr.String())
	require.NoError(t, err)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(conn, header)
	(&rawConn{conn, t, bufio.NewReader(conn)}).wantEnd()
}

func TestConnections(t *testing.T) {
	o := &gateway.Options{Limits: gateway.Limits{Connections: 5}}
	events := refusals(o)
	h := newHarness(t, o)
	release := make(chan struct{})
	h.applyOrigin(route.Config{ID: "hijack", Paths: []string{"/hijack"}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		require.NoError(t, err)
		_, _ = io.WriteString(conn, okAnswer)
		go func() {
			<-release
			conn.Close()
		}()
	})})
	var open []*rawConn
	for _, d := range append(h.ourDoors(), h.http1) { // the last one is taken over
		conn := h.raw(d, "a.test")
		path := "/"
		if len(open) == 4 {
			path = "/hijack"
		}
		status, _ := h.ask(d, conn, path)
		require.Equal(t, "200", status)
		open = append(open, conn)
	}
	count := uint64(0)
	away := func() {
		t.Helper()
		require.Equal(t, 5, h.gw.Connections())
		for _, d := range h.ourDoors() {
			turnedAway(t, d.addr, "")
			count++
			e := <-events
			require.Equal(t, gateway.LimitConnections, e.Limit)
			require.Equal(t, count, e.Count)
			require.Contains(t, e.RemoteAddr.String(), "127.0.0.1:")
		}
	}
	away()
	for i, d := range append(h.ourDoors(), h.plain) {
		if i == 4 {
			close(release)
		} else {
			open[i].Close()
		}
		eventually(t, func() bool { return h.gw.Connections() == 4 }, "it counts for ever")
		open[i] = h.raw(d, "a.test")
		status, _ := h.ask(d, open[i], "/")
		require.Equal(t, "200", status)
		away()
	}
	require.Empty(t, h.log.String())
}

func TestConnectionsPerAddr(t *testing.T) {
	o := &gateway.Options{ProxyProtocol: loopback, Limits: gateway.Limits{ConnectionsPerAddr: 2, Connections: -1}}
	events := refusals(o)
	h := newHarness(t, o)
	h.applyOrigin()
	line := func(addr string) string {
		if strings.Contains(addr, ":") {
			return "PROXY TCP6 " + addr + " ::1 1 443\r\n"
		}
		return "PROXY TCP4 " + addr + " 127.0.0.1 1 443\r\n"
	}
	for _, d := range h.ourDoors() {
		var open []*rawConn
		for _, addr := range []string{"192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.2", "2001:db8::1", "2001:db8::2:3:4:5"} {
			conn := h.rawAfter(line(addr), d, "a.test")
			status, _ := h.ask(d, conn, "/")
			require.Equal(t, "200", status)
			open = append(open, conn)
		}
		for _, addr := range []string{"192.0.2.1", "192.0.2.2", "2001:db8::3"} {
			turnedAway(t, d.addr, line(addr))
			e := <-events
			require.Equal(t, gateway.LimitConnectionsPerAddr, e.Limit)
			require.Equal(t, addr, e.RemoteAddr.(*net.TCPAddr).IP.String())
		}
		conn := h.rawAfter(line("2001:db8:0:1::"), d, "a.test")
		status, _ := h.ask(d, conn, "/")
		require.Equal(t, "200", status)
		for _, conn := range append(open, conn) {
			conn.Close()
		}
		eventually(t, func() bool { return h.gw.Connections() == 0 }, "they count for ever")
		eventually(t, func() bool { return h.gw.CountedAddrs() == 0 }, "something is kept of connections that are closed")
	}
	require.Empty(t, h.log.String())

	// Without a header, it is the peer that counts, and before anything is read.
	o = &gateway.Options{Limits: gateway.Limits{ConnectionsPerAddr: 2}}
	events = refusals(o)
	h = newHarness(t, o)
	h.raw(h.plain, "")
	h.raw(h.plain, "")
	eventually(t, func() bool { return h.gw.Connections() == 2 }, "they are not accepted")
	turnedAway(t, h.http1.addr, "")
	require.Equal(t, gateway.LimitConnectionsPerAddr, (<-events).Limit)
}

// A listener of the user's may have its own TLS.
func TestConnectionsOfAnotherTLS(t *testing.T) {
	o := &gateway.Options{Limits: gateway.Limits{Connections: 1}}
	events := refusals(o)
	h := newHarness(t, o)
	h.applyOrigin(route.Config{ID: "who", Paths: []string{"/who"}, Handler: whoami})
	l := listen(t)
	var serving sync.WaitGroup
	serving.Go(func() { _ = h.gw.Serve(tls.NewListener(l, h.gw.TLSConfig())) })
	defer serving.Wait()
	defer h.gw.Close()
	for _, major := range []int{1, 2} {
		d := door{"tls.NewListener", true, major, l.Addr()}
		for range 2 {
			conn := h.raw(d, "a.test")
			own := conn.LocalAddr().String()
			status, body := h.ask(d, conn, "/who")
			require.Equal(t, "200", status)
			require.Equal(t, own, body)
			turnedAway(t, l.Addr(), "")
			require.Equal(t, gateway.LimitConnections, (<-events).Limit)
			conn.Close()
			eventually(t, func() bool { return h.gw.Connections() == 0 }, "it counts for ever")
		}
	}
	// A handshake that does not go on ends with the server.
	silent, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer silent.Close()
	eventually(t, func() bool { return h.gw.Connections() == 1 }, "it is not accepted")
	require.NoError(t, h.gw.Close())
	eventually(t, func() bool { return h.gw.Connections() == 0 }, "it counts for ever")
}

// An error of accept that will not pass ends Serve, and is not tried again.
func TestAcceptFails(t *testing.T) {
	gw := must(gateway.New(nil))
	defer gw.Close()
	l := &failing{errs: []error{passing(true), passing(false), io.EOF}}
	require.Equal(t, passing(false), gw.Serve(l))
	l.errs = []error{io.EOF}
	require.Equal(t, io.EOF, gw.Serve(l))
}

// A failing listener has no connection.
type failing struct {
	net.Listener
	errs []error
}

func (l *failing) Accept() (net.Conn, error) {
	err := l.errs[0]
	l.errs = l.errs[1:] // past the last of them, it panics
	return nil, err
}

func (l *failing) Close() error   { return nil }
func (l *failing) Addr() net.Addr { return memoryAddr }

// passing is an error that says whether it passes, as a lack of descriptors does.
type passing bool

func (p passing) Error() string   { return fmt.Sprint("passing: ", bool(p)) }
func (p passing) Temporary() bool { return bool(p) }

// Admission costs one allocation a connection, without more than one lock.
func BenchmarkConnections(b *testing.B) {
	gw := must(gateway.New(&gateway.Options{Limits: gateway.Limits{ConnectionsPerAddr: 100}}))
	l := gateway.AcceptedListener(gw, &endless{})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c, err := l.Accept()
			if err != nil {
				b.Error(err)
				return
			}
			c.Close()
		}
	})
}

// endless is a listener of connections that are nothing.
type endless struct{ net.Listener }

type nothing struct{ net.Conn }

func (endless) Accept() (net.Conn, error) { return nothing{}, nil }
func (nothing) RemoteAddr() net.Addr      { return memoryAddr }
func (nothing) Close() error              { return nil }
