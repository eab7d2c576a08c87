//go:build unix

package gateway_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/upstream"
)

// Clients of a Unix socket have no address: the target is told none, and least of all the one
// that a client claims.
func TestUnixSocket(t *testing.T) {
	heads := make(chan http.Header, 1)
	node := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { heads <- r.Header }))
	defer node.Close()
	gw := must(gateway.New(nil))
	defer gw.Close()
	_, err := gw.Apply(gateway.Change{Put: gateway.Config{
		Upstreams: []upstream.Config{upstreamTo("node", node.Listener.Addr().String())},
		Routes: []route.Config{
			everything("relayed", "node"),
			{ID: "handled", Paths: []string{"/handled"}, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { heads <- r.Header })},
		},
	}})
	require.NoError(t, err)
	for name, serve := range map[string]func(net.Listener) error{
		"engine":   gw.Serve,
		"net/http": (&http.Server{Handler: gw}).Serve,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			l, err := net.Listen("unix", path)
			require.NoError(t, err)
			defer l.Close()
			go func() { _ = serve(l) }()
			client := &http.Client{Transport: &http.Transport{
				DisableKeepAlives: true,
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, "unix", path)
				},
			}}
			for _, target := range []string{"/relayed", "/handled"} {
				req, err := http.NewRequest("GET", "http://a.test"+target, nil)
				require.NoError(t, err)
				req.Header.Set("X-Forwarded-For", "192.0.2.1")
				req.Header.Set("X-Real-IP", "192.0.2.1")
				resp, err := client.Do(req)
				require.NoError(t, err)
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				require.Equal(t, 200, resp.StatusCode)
				head := <-heads
				require.NotContains(t, head, "X-Forwarded-For", target)
				require.NotContains(t, head, "X-Real-Ip", target)
				require.Equal(t, "http", head.Get("X-Forwarded-Proto"), target)
				require.Equal(t, "a.test", head.Get("X-Forwarded-Host"), target)
			}
		})
	}
}
