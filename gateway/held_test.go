package gateway_test

import (
	"io"
	"net"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// inUse is how much memory is.
func inUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools hold goes with the second
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A client may wait with the bodies of many requests for as long as Limits.BodyTimeout. Little
// is held for them meanwhile.
func TestWaitingUploads(t *testing.T) {
	h := newHarness(t, nil)
	l := listen(t)
	defer l.Close()
	asked := make(chan struct{}, 1000) // one for each request that has reached the node
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			go func(conn net.Conn) {
				if _, err := io.ReadAtLeast(conn, make([]byte, 100), 10); err == nil {
					asked <- struct{}{}
				}
			}(conn)
		}
	}()
	h.apply(gateway.Config{
		SSL:       []ssl.Config{h.profile("1", []string{"a.test"})},
		Upstreams: []upstream.Config{upstreamTo("1", l.Addr().String())},
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
			before := inUse()
			ask()
			for range n {
				<-asked
			}
			held := (inUse() - before) / n
			t.Logf("%d KiB an upload", held>>10)
			require.Less(t, held, int64(48<<10))
		})
	}
}

// A client that takes nothing of many large answers is not read ahead for.
func TestShutWindows(t *testing.T) {
	h := newHarness(t, nil)
	l := listen(t)
	defer l.Close()
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 1_000_000))
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			go func(conn net.Conn) {
				if _, err := io.ReadAtLeast(conn, make([]byte, 100), 10); err == nil {
					_, _ = conn.Write(answer)
				}
			}(conn)
		}
	}()
	h.apply(gateway.Config{
		SSL:       []ssl.Config{h.profile("1", []string{"a.test"})},
		Upstreams: []upstream.Config{upstreamTo("1", l.Addr().String())},
		Routes:    []route.Config{{ID: "1", Paths: []string{"/*"}, Upstream: "1"}},
	})
	const n = 100
	conn := h.h2(h.http2, "a.test")
	conn.frame(h2Settings, 0, 0, []byte{0, byte(http2.SettingInitialWindowSize), 0, 0, 0, 0})
	before := inUse()
	for i := range uint32(n) {
		conn.get(1+2*i, "https", "a.test", "/")
	}
	for i := range uint32(n) {
		f, ok := conn.next(1 + 2*i)
		require.True(t, ok)
		require.EqualValues(t, h2Headers, f.kind)
	}
	held := (inUse() - before) / n
	t.Logf("%d KiB an answer", held>>10)
	require.Less(t, held, int64(48<<10))
}
