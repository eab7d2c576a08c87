package gateway_test

import (
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// The handler of a route may be another gateway, with a policy of its own: what that ends is
// over when it has answered, and not what the handler around it does then. An event stream ends
// with the right to it in either.
func TestGatewayWithinAnother(t *testing.T) {
	inner := must(gateway.New(&gateway.Options{PlainHTTP: gateway.PlainOpen}))
	defer inner.Close()
	begun := make(chan struct{})
	events := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		begun <- struct{}{}
		<-r.Context().Done()
	}
	h := newHarness(t, nil)
	next := ssltest.NewCA(t, "next")
	put := func(gw *gateway.Server, ca *ssltest.CA, handler http.HandlerFunc) {
		_, err := gw.Apply(gateway.Change{Put: gateway.Config{
			Profiles: []ssl.Config{h.profile("a", []string{"a.test"}, ca)},
			Routes:   []route.Config{{ID: "all", Paths: []string{"/*"}, Handler: handler}},
		}})
		require.NoError(t, err)
	}
	after := make(chan error, 1)
	outer := func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(w, r)
		after <- r.Context().Err()
	}
	for _, d := range h.tlsDoors() {
		put(h.gw, h.people, outer)
		put(inner, h.people, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "ok") })
		client := h.client(d, "a.test", h.people.Client("alice"))
		status, body := h.get(client, d, "a.test", "/")
		require.Equal(t, []any{200, "ok"}, []any{status, body}, d.name)
		require.NoError(t, <-after, d.name)

		for _, loses := range []*gateway.Server{inner, h.gw} {
			put(h.gw, h.people, outer)
			put(inner, h.people, events)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://a.test/", nil)
			require.NoError(t, err)
			res, err := h.client(d, "a.test", h.people.Client("alice")).Do(req)
			require.NoError(t, err)
			<-begun
			if loses == inner {
				put(inner, next, events)
			} else {
				put(h.gw, next, outer)
			}
			_, _ = io.ReadAll(res.Body)
			res.Body.Close()
			require.NoError(t, ctx.Err(), "it goes on")
			cancel()
			<-after
		}
	}
}
