package gateway_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// vanish cuts the cable of a connection: whatever comes from the other end is dropped by
// a socket filter (socket(7), SO_ATTACH_FILTER), so nothing is acknowledged and nothing
// is reset, and our end says nothing any more.
func vanish(t testing.TB, conn net.Conn) {
	t.Helper()
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	raw, err := conn.(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	drop := []syscall.SockFilter{{Code: syscall.BPF_RET | syscall.BPF_K, K: 0}}
	var attached error
	require.NoError(t, raw.Control(func(fd uintptr) {
		//lint:ignore SA1019 what is said to replace it makes filters, and has none attached to a TCP socket
		attached = syscall.AttachLsf(int(fd), drop)
	}))
	require.NoError(t, attached)
}

// Half-open connections: a client whose machine is gone, or whose way is, says nothing of
// that. Whatever it was at, its connection and all that goes with it end in their time.
func TestClientsThatAreGone(t *testing.T) {
	const limit = time.Second
	h := newHarness(t, &gateway.Options{
		Limits: gateway.Limits{IdleTimeout: limit, HeaderTimeout: limit, BodyTimeout: limit},
		TLS:    ssl.Options{HandshakeTimeout: limit},
	})
	h.apply(gateway.Config{
		Profiles:  []ssl.Config{h.profile("1", []string{"a.test"})},
		Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)},
		Routes:    []route.Config{everything("1", "1")},
	})
	long := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", 32<<20, strings.Repeat("x", 32<<20))
	for _, c := range []struct {
		name   string
		http1  string // what has been sent of a request
		http2  func(c *h2Conn, scheme string)
		answer string // of the origin, once the client is gone
	}{
		{
			name:  "idle",
			http2: func(c *h2Conn, scheme string) {},
		},
		{
			name:  "in the head of a request",
			http1: "GET / HTTP/1.1\r\nHo",
			http2: func(c *h2Conn, scheme string) { c.write("\x00\x00\x10\x01\x05") },
		},
		{
			name:  "in the body of a request",
			http1: "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n12345",
			http2: func(c *h2Conn, scheme string) {
				c.headers(3, false, ":method", "POST", ":scheme", scheme, ":authority", "a.test", ":path", "/")
				c.frame(h2Data, 0, 3, []byte("12345"))
			},
		},
		{
			name:   "before a short answer",
			http1:  toOrigin,
			http2:  func(c *h2Conn, scheme string) { c.get(3, scheme, "a.test", "/") },
			answer: okAnswer,
		},
		{
			name:   "before a long answer",
			http1:  toOrigin,
			http2:  func(c *h2Conn, scheme string) { c.get(3, scheme, "a.test", "/") },
			answer: long,
		},
	} {
		for _, d := range []door{h.http1, h.plain, h.http2, h.plain2} {
			h.origin.on(answering(okAnswer))
			var conn *rawConn
			send := func() { conn.write(c.http1) }
			if d.major == 2 {
				client := h.h2(d, "a.test")
				conn = client.rawConn
				client.get(1, d.scheme(), "a.test", "/")
				status, _ := client.status(1)
				require.Equal(t, "200", status, d.name)
				send = func() { c.http2(client, d.scheme()) }
			} else {
				conn = h.raw(d, "a.test")
				conn.write(toOrigin)
				res, _ := conn.answer("GET")
				require.Equal(t, 200, res.StatusCode, d.name)
			}
			asked, gone := make(chan struct{}), make(chan struct{})
			var once sync.Once // that of the case before may come late
			h.origin.on(func(v *visit) {
				once.Do(func() { close(asked) })
				<-gone
				if v.readBody() {
					v.write(c.answer)
				}
			})
			send()
			if c.answer != "" {
				<-asked
			}
			vanish(t, conn.Conn)
			close(gone)
		}
	}
	conn, err := net.Dial("tcp", h.http1.addr.String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("\x16\x03\x01")) // of a ClientHello
	require.NoError(t, err)
	vanish(t, conn)

	eventually(t, func() bool { return h.gw.Connections() == 0 }, "connections are still there")
}

// A node that is gone fails the requests that it has, in their time, and those alone.
func TestNodesThatAreGone(t *testing.T) {
	h := newHarness(t, nil)
	config := upstreamTo("1", h.origin.address)
	config.Timeout.Read = 200 * time.Millisecond
	h.apply(gateway.Config{
		Profiles:  []ssl.Config{h.profile("1", []string{"a.test"})},
		Upstreams: []upstream.Config{config},
		Routes:    []route.Config{everything("1", "1")},
	})
	for _, d := range h.doors() {
		client := h.client(d, "a.test")
		ends := make(chan net.Conn, 1)
		h.origin.on(func(v *visit) {
			v.write(okAnswer)
			ends <- v.conn
		})
		status, _ := h.get(client, d, "a.test", "/")
		require.Equal(t, 200, status, d.name)

		vanish(t, <-ends)
		status, _ = h.get(client, d, "a.test", "/")
		require.Equal(t, 504, status, d.name)
		h.origin.on(answering(okAnswer))
		status, _ = h.get(client, d, "a.test", "/")
		require.Equal(t, 200, status, d.name)
	}
}
