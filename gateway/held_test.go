package gateway_test

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// nodeThat returns the address of a node that does something once it is asked, and keeps the
// connection open.
func nodeThat(t *testing.T, asked func(conn net.Conn)) string {
	l := listen(t)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			go func(conn net.Conn) {
				if _, err := io.ReadAtLeast(conn, make([]byte, 100), 10); err == nil {
					asked(conn)
				}
			}(conn)
		}
	}()
	return l.Addr().String()
}

// A client may wait with the bodies of many requests for as long as Limits.BodyTimeout. Little
// is held for them meanwhile.
func TestWaitingUploads(t *testing.T) {
	h := newHarness(t, nil)
	asked := make(chan struct{}, 1000) // one for each request that has reached the node
	node := nodeThat(t, func(net.Conn) { asked <- struct{}{} })
	h.apply(gateway.Config{
		Profiles:  []ssl.Config{h.profile("1", []string{"a.test"})},
		Upstreams: []upstream.Config{upstreamTo("1", node)},
		Routes:    []route.Config{{ID: "1", Paths: []string{"/*"}, Upstream: "1", AllowPlain: true}},
	})
	const n = 100
	for _, c := range []struct {
		name string
		open func() (ask func())
	}{
		{"HTTP/2", func() func() {
			conn := h.h2(h.http2, "a.test")
			return func() {
				for i := range uint32(n) {
					conn.headers(1+2*i, false, ":method", "POST", ":scheme", "https", ":authority", "a.test", ":path", "/")
				}
			}
		}},
		{"HTTP/1.1", func() func() {
			var conns []*rawConn
			for range n {
				conns = append(conns, h.raw(h.http1, "a.test"))
			}
			return func() {
				for _, conn := range conns {
					conn.write("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\nx")
				}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ask := c.open()
			before, _ := use()
			ask()
			for range n {
				<-asked
			}
			after, _ := use()
			held := (int64(after) - int64(before)) / n
			t.Logf("%d KiB an upload", held>>10)
			require.Less(t, held, int64(48<<10))
		})
	}
}

// A client that takes nothing of many large answers is not read ahead for.
func TestShutWindows(t *testing.T) {
	h := newHarness(t, nil)
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 1_000_000))
	node := nodeThat(t, func(conn net.Conn) { _, _ = conn.Write(answer) })
	h.apply(gateway.Config{
		Profiles:  []ssl.Config{h.profile("1", []string{"a.test"})},
		Upstreams: []upstream.Config{upstreamTo("1", node)},
		Routes:    []route.Config{{ID: "1", Paths: []string{"/*"}, Upstream: "1"}},
	})
	const n = 100
	conn := h.h2(h.http2, "a.test")
	conn.frame(h2Settings, 0, 0, []byte{0, byte(http2.SettingInitialWindowSize), 0, 0, 0, 0})
	before, _ := use()
	for i := range uint32(n) {
		conn.get(1+2*i, "https", "a.test", "/")
	}
	for i := range uint32(n) {
		f, ok := conn.next(1 + 2*i)
		require.True(t, ok)
		require.EqualValues(t, h2Headers, f.kind)
	}
	after, _ := use()
	held := (int64(after) - int64(before)) / n
	t.Logf("%d KiB an answer", held>>10)
	require.Less(t, held, int64(48<<10))
}
