package gateway_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// A limit that is reached is told, and answered with what says so.
func TestLimitEvents(t *testing.T) {
	events := make(chan gateway.LimitEvent, 10)
	h := newHarness(t, &gateway.Options{
		Limits: gateway.Limits{HeaderBytes: 4 << 10, HeaderFields: 10, HeaderTimeout: 300 * time.Millisecond, BodyBytes: 100, BodyTimeout: 300 * time.Millisecond},
		Trace:  &gateway.Trace{LimitReached: func(e gateway.LimitEvent) { events <- e }},
	})
	h.apply(gateway.Config{
		Profiles:  []ssl.Config{h.profile("1", []string{"a.test"})},
		Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)},
		Routes:    []route.Config{everything("1", "1")},
	})
	counts := map[gateway.Limit]uint64{}
	for _, d := range []door{h.http1, h.plain} {
		for _, c := range []struct {
			raw    string
			status int
			limit  gateway.Limit
		}{
			{"GET / HTTP/1.1\r\nHost: a.test\r\nX: " + strings.Repeat("x", 5<<10) + "\r\n\r\n", 431, gateway.LimitHeaderBytes},
			{"GET / HTTP/1.1\r\nHost: a.test\r\n" + strings.Repeat("X: y\r\n", 10) + "\r\n", 431, gateway.LimitHeaderFields},
			{"GET / HTTP/1.1\r\nHost: a.test\r\n", 408, gateway.LimitHeaderTimeout},
			{"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 101\r\n\r\n", 413, gateway.LimitBodyBytes},
			{"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" + strings.Repeat("x", 101) + "\r\n", 413, gateway.LimitBodyBytes},
			{"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhalf", 408, gateway.LimitBodyTimeout},
		} {
			conn := h.raw(d, "a.test")
			conn.write(c.raw)
			require.Equal(t, []int{c.status}, conn.statuses(), "%s %s", d.name, c.limit)
			e := <-events
			counts[c.limit]++
			require.Equal(t, gateway.LimitEvent{Limit: c.limit, RemoteAddr: conn.LocalAddr(), Count: counts[c.limit]}, e)
			require.Empty(t, events)
		}
	}
	// Over HTTP/2, those of bodies.
	conn := h.h2(h.http2, "a.test")
	conn.headers(1, false, ":method", "POST", ":scheme", "https", ":authority", "a.test", ":path", "/", "content-length", "101")
	status, _ := conn.status(1)
	require.Equal(t, "413", status)
	require.Equal(t, gateway.LimitBodyBytes, (<-events).Limit)
	conn.headers(3, false, ":method", "POST", ":scheme", "https", ":authority", "a.test", ":path", "/")
	status, _ = conn.status(3)
	require.Equal(t, "408", status)
	require.Equal(t, gateway.LimitBodyTimeout, (<-events).Limit)
}
