package gateway_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// Where a node authenticates connections, nobody is taken for the client before (RFC 4559,
// section 6), and all others share connections.
func TestNobodyIsTakenForAnother(t *testing.T) {
	type key struct{}
	node := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		of := r.Context().Value(key{}).(*string) // of the connection: who it is from
		if who, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Negotiate "); ok {
			*of = who
		}
		_, _ = io.WriteString(w, *of)
	}))
	var opened atomic.Int32
	node.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		opened.Add(1)
		return context.WithValue(ctx, key{}, new(string))
	}
	node.Start()
	defer node.Close()
	h := newHarness(t, nil)
	r := everything("all", "node")
	r.AllowPlain = true
	h.apply(gateway.Config{
		Profiles:  []ssl.Config{h.profile("a", []string{"a.test"}, h.people)},
		Upstreams: []upstream.Config{upstreamTo("node", node.Listener.Addr().String())},
		Routes:    []route.Config{r},
	})

	for _, d := range h.doors() {
		client, host := h.client(d, "a.test", h.people.Client("alice")), "a.test"
		if !d.tls {
			host = "c.test"
		}
		ask := func(authorization string) string {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.scheme()+"://"+host+"/", nil)
			require.NoError(t, err)
			if authorization != "" {
				req.Header.Set("Authorization", authorization)
			}
			_, body := h.do(client, req)
			return body
		}
		require.Empty(t, ask(""), d.name)
		require.Equal(t, "alice", ask("Negotiate alice"), d.name)
		before := opened.Load()
		require.Empty(t, ask(""), d.name)
		require.Empty(t, ask("Basic YTpi"), d.name)
		require.Empty(t, ask(""), d.name)
		require.Equal(t, before+1, opened.Load(), d.name)
	}
}
