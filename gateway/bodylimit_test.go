package gateway_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// A body that is too long is refused by what it says of itself, or when it has become so:
// no node gets it as a whole.
func TestBodyBytes(t *testing.T) {
	h := newHarness(t, &gateway.Options{Limits: gateway.Limits{BodyBytes: 100_000}})
	local := route.Config{ID: "local", Paths: []string{"/local"}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		}
	})}
	h.apply(gateway.Config{
		Profiles:  []ssl.Config{h.profile("1", []string{"a.test"})},
		Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)},
		Routes:    []route.Config{everything("1", "1"), local},
	})
	h.origin.on(func(v *visit) {
		if v.readBody() {
			v.write(okAnswer)
		}
	})
	n := 0
	for _, d := range []door{h.http1, h.http2, h.plain} {
		client := h.client(d, "a.test")
		for _, path := range []string{"/", "/local"} {
			for _, c := range []struct {
				bytes  int
				said   bool
				status int
			}{{100_000, true, 200}, {100_000, false, 200}, {100_001, true, 413}, {100_001, false, 413}} {
				var body io.Reader = strings.NewReader(strings.Repeat("x", c.bytes))
				if !c.said {
					body = struct{ io.Reader }{body}
				}
				n++
				target := fmt.Sprintf("%s?%d", path, n) // a body that was cut may arrive late
				res, err := client.Post(d.scheme()+"://a.test"+target, "text/plain", body)
				require.NoError(t, err, "%s%s %+v", d.name, path, c)
				res.Body.Close()
				require.Equal(t, c.status, res.StatusCode, "%s%s %+v", d.name, path, c)
				for _, seen := range h.origin.take() {
					if seen.target() == target {
						require.Equal(t, c.status == 200, seen.whole, "%s%s %+v", d.name, path, c)
					}
				}
			}
		}
	}
}

// The last request that a connection may make is told so.
func TestRequestsOfAConnection(t *testing.T) {
	h := newHarness(t, &gateway.Options{Limits: gateway.Limits{Requests: 3}})
	h.apply(gateway.Config{
		Profiles:  []ssl.Config{h.profile("1", []string{"a.test"})},
		Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)},
		Routes:    []route.Config{everything("1", "1")},
	})
	for _, d := range []door{h.http1, h.plain} {
		conn := h.raw(d, "a.test")
		conn.write(strings.Repeat("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", 4))
		for i := range 3 {
			res, _ := conn.answer("GET")
			require.Equal(t, 200, res.StatusCode)
			require.Equal(t, i == 2, res.Close)
		}
		conn.wantEnd()
		require.Len(t, h.origin.take(), 3)
	}
}
