package gateway_test

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// WebSocket over HTTP/2 (RFC 8441).

// accept answers an upgrade as a node must (RFC 6455, section 4.2.2), and reports whether it
// was one.
func accept(v *visit) bool {
	keys := v.values("Sec-WebSocket-Key")
	if len(keys) != 1 || len(v.values("Upgrade")) != 1 {
		answering(okAnswer)(v)
		return false
	}
	sum := sha1.Sum([]byte(keys[0] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	v.close = true
	return v.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: chat\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n")
}

// acceptAndEcho gives back what comes, and ends when the other side does.
func acceptAndEcho(v *visit) {
	if accept(v) {
		_, _ = io.Copy(v.conn, v.r)
	}
}

// tunnelHarness has a route with WebSocket, one without, and one for what is not a GET.
func tunnelHarness(t *testing.T, o *gateway.Options) *harness {
	h := newHarness(t, o)
	h.apply(tunnelConfig(h))
	h.origin.on(acceptAndEcho)
	return h
}

func tunnelConfig(h *harness) gateway.Config {
	ws, get, post := everything("ws", "1"), everything("get", "1"), everything("post", "1")
	ws.Paths, ws.WebSocket, ws.AllowPlain = []string{"/ws"}, true, true
	get.Paths, get.Methods, get.WebSocket = []string{"/by-method"}, []string{"GET"}, true
	post.Paths, post.Methods, post.WebSocket = []string{"/by-method", "/post"}, []string{"POST", "CONNECT"}, true
	return gateway.Config{
		Profiles:  []ssl.Config{h.profile("1", []string{"a.test", "b.test"}), h.profile("2", []string{"mtls.test"}, h.people)},
		Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)},
		Routes:    []route.Config{everything("all", "1"), ws, get, post},
	}
}

// connect asks for a tunnel. extra are further fields.
func (c *h2Conn) connect(stream uint32, authority, path string, extra ...string) {
	c.t.Helper()
	c.headers(stream, false, append([]string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", authority, ":path", path}, extra...)...)
}

// opened connects, and waits until the tunnel is open.
func (c *h2Conn) opened(stream uint32, authority, path string) {
	c.t.Helper()
	c.connect(stream, authority, path, "sec-websocket-version", "13")
	f, ok := c.next(stream)
	require.True(c.t, ok)
	require.EqualValues(c.t, h2Headers, f.kind)
	require.Equal(c.t, "200", statusIn(f.payload))
	require.Zero(c.t, f.flags&h2EndStream)
}

// comes checks what comes over a tunnel.
func (c *h2Conn) comes(stream uint32, want string) {
	c.t.Helper()
	got := ""
	for len(got) < len(want) {
		f, ok := c.next(stream)
		require.True(c.t, ok, "the connection has ended")
		require.EqualValues(c.t, h2Data, f.kind, "a frame %v", f)
		got += string(f.payload)
	}
	require.Equal(c.t, want, got)
}

// ends checks that the server has nothing more to say on a stream. It returns whether that
// was said, or what the stream was reset for.
func (c *h2Conn) ends(stream uint32) string {
	c.t.Helper()
	f, ok := c.next(stream)
	require.True(c.t, ok, "the connection has ended")
	if f.kind == h2Reset {
		return map[byte]string{0: "NO_ERROR", 2: "INTERNAL_ERROR", 8: "CANCEL"}[f.payload[3]]
	}
	require.EqualValues(c.t, h2Data, f.kind)
	require.Empty(c.t, f.payload)
	require.NotZero(c.t, f.flags&h2EndStream)
	return "end"
}

func TestTunnel(t *testing.T) {
	h := tunnelHarness(t, nil)
	for _, d := range []door{h.http2, h.plain2} {
		t.Run(d.name, func(t *testing.T) {
			h.origin.take()
			c := h.h2(d, "a.test")
			c.connect(1, "a.test", "/ws?x=y", "sec-websocket-version", "13", "sec-websocket-protocol", "chat",
				"origin", "https://a.test", "cookie", "a=b", "te", "trailers", "x-real-ip", "192.0.2.1")
			f, _ := c.next(1)
			require.Equal(t, "200", statusIn(f.payload))
			require.NotContains(t, strings.ToLower(string(f.payload)), "accept")
			require.NotContains(t, strings.ToLower(string(f.payload)), "upgrade")
			seen := h.origin.take()
			require.Len(t, seen, 1)
			require.Equal(t, "GET /ws?x=y HTTP/1.1", seen[0].line)
			for name, want := range map[string]string{
				"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Protocol": "chat",
				"Origin": "https://a.test", "Cookie": "a=b", "X-Real-IP": "127.0.0.1",
			} {
				require.Equal(t, []string{want}, seen[0].values(name), name)
			}
			require.Empty(t, seen[0].framing)
			require.Empty(t, seen[0].values("TE"))

			c.frame(h2Data, 0, 1, []byte("hello"))
			c.comes(1, "hello")
			large := strings.Repeat("\x82\x7e\xff\xff", 4<<10)
			for range 20 {
				c.frame(h2Data, 0, 1, []byte(large))
				c.comes(1, large)
				c.frame(h2WindowUpdate, 0, 1, []byte{0, 0, 0x40, 0})
				c.frame(h2WindowUpdate, 0, 0, []byte{0, 0, 0x40, 0})
			}

			// Others on the connection are not disturbed.
			c.get(3, d.scheme(), "a.test", "/ws") // without an upgrade
			status, body := c.status(3)
			require.Equal(t, "200", status)
			require.Equal(t, "ok", body)

			c.frame(h2Data, h2EndStream, 1, []byte("bye"))
			c.comes(1, "bye")
			require.Equal(t, "end", c.ends(1))
			c.get(5, d.scheme(), "a.test", "/ws")
			status, _ = c.status(5)
			require.Equal(t, "200", status)
		})
	}
}

// Either side may be the first to have said all.
func TestTunnelHalfClosed(t *testing.T) {
	t.Run("by the client", func(t *testing.T) {
		h := tunnelHarness(t, nil)
		h.origin.on(func(v *visit) {
			if accept(v) {
				b, _ := io.ReadAll(v.r)
				v.write("after " + string(b))
			}
		})
		c := h.h2(h.http2, "a.test")
		c.opened(1, "a.test", "/ws")
		c.frame(h2Data, h2EndStream, 1, []byte("the end"))
		c.comes(1, "after the end")
		require.Equal(t, "end", c.ends(1))
	})
	t.Run("by the node", func(t *testing.T) {
		h := tunnelHarness(t, nil)
		got := make(chan string, 1)
		h.origin.on(func(v *visit) {
			if accept(v) {
				v.write("that is all")
				_ = v.conn.(*net.TCPConn).CloseWrite()
				b, _ := io.ReadAll(v.r)
				got <- string(b)
			}
		})
		c := h.h2(h.http2, "a.test")
		c.opened(1, "a.test", "/ws")
		c.comes(1, "that is all")
		require.Equal(t, "end", c.ends(1))
		c.frame(h2Data, 0, 1, []byte("not for "))
		c.get(3, "https", "b.test", "/local")
		c.frame(h2Data, h2EndStream, 1, []byte("me"))
		require.Equal(t, "not for me", <-got)
	})
	t.Run("by the node, and the client goes away", func(t *testing.T) {
		h := tunnelHarness(t, nil)
		ended := make(chan struct{})
		h.origin.on(func(v *visit) {
			if accept(v) {
				_ = v.conn.(*net.TCPConn).CloseWrite()
				_, _ = io.ReadAll(v.r)
				close(ended)
			}
		})
		c := h.h2(h.http2, "a.test")
		c.opened(1, "a.test", "/ws")
		require.Equal(t, "end", c.ends(1))
		c.frame(h2Reset, 0, 1, []byte{0, 0, 0, 8})
		<-ended
		// The stream counts no more, and neither does what it held.
		c.get(3, "https", "a.test", "/ws")
	})
}

// Whoever ends a tunnel for good, the other side learns of it, and nothing stays behind.
func TestTunnelEnds(t *testing.T) {
	open := func(h *harness) *h2Conn {
		c := h.h2(h.http2, "a.test")
		c.opened(1, "a.test", "/ws")
		c.frame(h2Data, 0, 1, []byte("hello"))
		c.comes(1, "hello")
		return c
	}
	t.Run("the client takes it back", func(t *testing.T) {
		h := tunnelHarness(t, nil)
		ended := make(chan struct{})
		h.origin.on(func(v *visit) { acceptAndEcho(v); close(ended) })
		c := open(h)
		c.frame(h2Reset, 0, 1, []byte{0, 0, 0, 8})
		<-ended
		h.origin.on(acceptAndEcho)
		c.opened(3, "a.test", "/ws")
	})
	t.Run("the client goes away", func(t *testing.T) {
		h := tunnelHarness(t, nil)
		ended := make(chan struct{})
		h.origin.on(func(v *visit) { acceptAndEcho(v); close(ended) })
		open(h).Close()
		<-ended
	})
	t.Run("the node breaks off", func(t *testing.T) {
		h := tunnelHarness(t, nil)
		h.origin.on(func(v *visit) {
			if accept(v) {
				_, _ = io.CopyN(v.conn, v.r, int64(len("hello")))
				_ = v.conn.(*net.TCPConn).SetLinger(0)
			}
		})
		require.Equal(t, "CANCEL", open(h).ends(1))
	})
	t.Run("Close", func(t *testing.T) {
		h := tunnelHarness(t, nil)
		c := open(h)
		require.NoError(t, h.gw.Close())
		for {
			if _, ok := c.next(1); !ok {
				return
			}
		}
	})
	t.Run("Shutdown waits", func(t *testing.T) {
		h := tunnelHarness(t, nil)
		c := open(h)
		done := make(chan error)
		go func() { done <- h.gw.Shutdown(t.Context()) }()
		c.frame(h2Data, 0, 1, []byte("still there"))
		c.comes(1, "still there")
		c.frame(h2Data, h2EndStream, 1, nil)
		require.Equal(t, "end", c.ends(1))
		go func() { _, _ = io.Copy(io.Discard, c.r); c.Close() }() // as a client does upon GOAWAY
		require.NoError(t, <-done)
	})
	t.Run("Shutdown does not wait for ever", func(t *testing.T) {
		h := tunnelHarness(t, nil)
		c := open(h)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- h.gw.Shutdown(ctx) }()
		c.frame(h2Data, 0, 1, []byte("still there"))
		c.comes(1, "still there")
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	})
	t.Run("its policy changes", func(t *testing.T) {
		h := tunnelHarness(t, nil)
		c := open(h)
		c.opened(3, "b.test", "/ws")
		h.apply(gateway.Config{Profiles: []ssl.Config{h.profile("1", []string{"a.test"}, h.people), h.profile("3", []string{"b.test"})}})
		require.Equal(t, "CANCEL", c.ends(1))
		// b.test has another profile than the connection's a.test has, and is over as well:
		// 421 is what it would be answered now.
		require.Equal(t, "CANCEL", c.ends(3))
		c.get(5, "https", "a.test", "/")
		status, _ := c.status(5)
		require.Equal(t, "400", status)
	})
}

// What does not become a tunnel is answered, and leaves the connection as it is.
func TestNoTunnel(t *testing.T) {
	h := tunnelHarness(t, nil)
	good := h.origin
	for _, tc := range []struct {
		name, path, authority string
		protocol              string
		node                  func(*visit)
		want                  string
	}{
		{name: "the node says no", node: answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"), want: "403"},
		{name: "the node redirects", node: answering("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"), want: "302"},
		{name: "the node wants another version", node: answering("HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n"), want: "426"},
		{name: "the node does not switch", node: answering(okAnswer), want: "502"},
		{name: "the node does not switch, and says 204", node: answering("HTTP/1.1 204 No Content\r\n\r\n"), want: "502"},
		{name: "the node's word is not for the key", node: func(v *visit) {
			v.write(switching + "what comes over a tunnel")
			v.close = true
		}, want: "502"},
		{name: "the node switches to something else", node: func(v *visit) {
			v.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
			v.close = true
		}, want: "502"},
		{name: "the node goes away", node: func(v *visit) { v.close = true }, want: "502"},
		{name: "a protocol that nobody knows", protocol: "connect-udp", want: "501"},
		{name: "a protocol in other letters", protocol: "WebSocket", want: "501"},
		{name: "a route without WebSocket", path: "/", want: "501"},
		{name: "a route for other methods", path: "/post", want: "501"},
		{name: "a route that does not exist", authority: "a.test", path: "/ws/../none", want: "501"},
		{name: "a name that is another's", authority: "mtls.test", want: "421"},
		{name: "a path that is none", path: "/%zz", want: "400"},
		{name: "a name that is none", authority: "a b", want: "400"},
		{name: "conditions see a GET", path: "/by-method", node: acceptAndEcho, want: "200"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.node == nil {
				tc.node = func(*visit) { t.Error("the node was asked") }
			}
			good.on(tc.node)
			c := h.h2(h.http2, "a.test")
			or := func(s, otherwise string) string {
				if s == "" {
					return otherwise
				}
				return s
			}
			c.headers(1, false, ":method", "CONNECT", ":protocol", or(tc.protocol, "websocket"), ":scheme", "https",
				":authority", or(tc.authority, "a.test"), ":path", or(tc.path, "/ws"), "sec-websocket-version", "13")
			f, ok := c.next(1)
			require.True(t, ok)
			require.EqualValues(t, h2Headers, f.kind)
			require.Equal(t, tc.want, statusIn(f.payload))
			if tc.want != "200" {
				for f.flags&h2EndStream == 0 {
					f, ok = c.next(1)
					require.True(t, ok)
					require.NotContains(t, string(f.payload), "tunnel")
				}
			}
			good.on(answering(okAnswer))
			c.get(3, "https", "a.test", "/")
			status, _ := c.status(3)
			require.Equal(t, "200", status)
		})
	}
}

// A CONNECT that is no proper one is malformed, and costs its stream alone (RFC 8441,
// section 4).
func TestMalformedConnect(t *testing.T) {
	h := tunnelHarness(t, nil)
	c := h.h2(h.http2, "a.test")
	for i, fields := range [][]string{
		{":method", "CONNECT", ":protocol", "websocket", ":authority", "a.test"},
		{":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":path", "/ws"},
		{":method", "CONNECT", ":protocol", "", ":scheme", "https", ":authority", "a.test", ":path", "/ws"},
		{":method", "GET", ":protocol", "websocket", ":scheme", "https", ":authority", "a.test", ":path", "/ws"},
		{":method", "CONNECT", ":protocol", "websocket", ":protocol", "websocket", ":scheme", "https", ":authority", "a.test", ":path", "/ws"},
		{":method", "CONNECT", ":scheme", "https", ":authority", "a.test", ":path", "/ws"},
		{":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "a.test", ":path", "/ws", "upgrade", "websocket"},
		{":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "a.test", ":path", "/ws", "connection", "upgrade"},
	} {
		id := uint32(2*i + 1)
		c.headers(id, false, fields...)
		status, _ := c.status(id)
		require.Equal(t, "reset", status, fields)
	}
	c.headers(101, false, ":method", "CONNECT", ":authority", "a.test:443")
	status, _ := c.status(101)
	require.Equal(t, "405", status)
	c.opened(103, "a.test", "/ws")
	require.Len(t, h.origin.take(), 1)
}

// 421 is for a stream, and leaves the others alone.
func TestMisdirectedStream(t *testing.T) {
	h := tunnelHarness(t, nil)
	c := h.h2(h.http2, "a.test")
	c.opened(1, "a.test", "/ws")
	for i := range uint32(10) {
		c.get(4*i+3, "https", "mtls.test", "/")
		c.get(4*i+5, "https", "b.test", "/")
	}
	for i := range uint32(10) {
		status, _ := c.status(4*i + 3)
		require.Equal(t, "421", status)
		status, _ = c.status(4*i + 5)
		require.Equal(t, "200", status)
	}
	c.frame(h2Data, h2EndStream, 1, []byte("hello"))
	c.comes(1, "hello")
	require.Equal(t, "end", c.ends(1))
}
