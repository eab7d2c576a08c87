package gateway_test

import (
	"context"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
	"github.com/sallyport/sallyport/upstream"
)

// What became of a request is told alike at every door.
func TestTraceOfRequests(t *testing.T) {
	var mu sync.Mutex
	var events []*gateway.RequestEvent
	took := make(chan struct{}, 100)
	h := newHarness(t, &gateway.Options{Trace: &gateway.Trace{RequestDone: func(e *gateway.RequestEvent) {
		mu.Lock()
		events = append(events, e)
		mu.Unlock()
		took <- struct{}{}
	}}})
	clients := ssltest.NewCA(t, "clients")
	here, gone, local := everything("here", "1"), everything("gone", "2"), route.Config{ID: "local", Paths: []string{"/local"}}
	here.Paths, gone.Paths = []string{"/x"}, []string{"/gone"}
	local.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "tea")
	})
	h.apply(gateway.Config{
		Profiles:  []ssl.Config{h.profile("1", []string{"a.test"}, clients), h.profile("2", []string{"b.test"})},
		Upstreams: []upstream.Config{upstreamTo("1", h.origin.address), upstreamTo("2", "127.0.0.1:1")},
		Routes:    []route.Config{here, gone, local},
	})
	alice := clients.Client("alice")
	for _, d := range h.tlsDoors() {
		client := h.client(d, "a.test", alice)
		for _, c := range []struct {
			host, path, body string
			status           int
			want             gateway.RequestEvent
		}{
			{"a.test", "/x?secret", "", 200, gateway.RequestEvent{Route: "here", Upstream: "1", Node: h.origin.address, Attempts: 1, Sent: 2}},
			{"a.test", "/x", "body", 200, gateway.RequestEvent{Route: "here", Upstream: "1", Node: h.origin.address, Attempts: 1, Sent: 2, Received: 4}},
			{"a.test", "/gone", "", 502, gateway.RequestEvent{Route: "gone", Upstream: "2", Node: "127.0.0.1:1", Attempts: 1, Sent: -1}},
			{"a.test", "/local", "body", 418, gateway.RequestEvent{Route: "local", Sent: 3, Received: 4}},
			{"b.test", "/x", "", 421, gateway.RequestEvent{Sent: -1}},
		} {
			t.Run(d.name+" "+c.host+c.path, func(t *testing.T) {
				mu.Lock()
				events = nil
				mu.Unlock()
				method := "GET"
				if c.body != "" {
					method = "POST"
				}
				req, err := http.NewRequest(method, "https://"+c.host+c.path, strings.NewReader(c.body))
				require.NoError(t, err)
				res, err := client.Do(req)
				require.NoError(t, err)
				body, err := io.ReadAll(res.Body)
				require.NoError(t, err)
				res.Body.Close()
				require.Equal(t, c.status, res.StatusCode)
				<-took
				mu.Lock()
				defer mu.Unlock()
				require.Len(t, events, 1)
				got, want := *events[0], c.want
				if want.Sent < 0 {
					want.Sent = int64(len(body))
				}
				require.WithinDuration(t, time.Now(), got.Begun, time.Minute)
				require.Positive(t, got.Took)
				require.Equal(t, c.status, got.Status)
				require.Equal(t, c.host, got.Host)
				require.Equal(t, method, got.Method)
				require.Equal(t, strings.TrimSuffix(c.path, "?secret"), got.Path)
				require.Equal(t, "a.test", got.ServerName)
				require.Equal(t, "a.test", got.TLS.ServerName)
				require.Equal(t, "127.0.0.1", got.ClientAddr)
				require.Equal(t, c.status == 421, got.Refused != nil)
				require.Equal(t, c.status != 421, got.Identity != nil)
				require.Equal(t, c.status == 502, got.Err != nil)
				require.Equal(t, want.Node != "", got.Waited > 0)
				require.Equal(t, []any{want.Route, want.Upstream, want.Node, want.Attempts, want.Sent, want.Received},
					[]any{got.Route, got.Upstream, got.Node, got.Attempts, got.Sent, got.Received})
			})
		}
	}
}

// The scheme is the client's, of which a trusted proxy knows more than the connection says, and
// nobody else. It is one of two, whatever is said.
func TestSchemeOfRequests(t *testing.T) {
	for _, trusted := range [][]netip.Prefix{nil, loopback} {
		begun, done := make(chan string, 1), make(chan string, 1)
		h := newHarness(t, &gateway.Options{TrustedProxies: trusted, Trace: &gateway.Trace{
			RequestBegun: func(ctx context.Context, r *gateway.RequestStart) context.Context {
				begun <- r.Event.Scheme
				return ctx
			},
			RequestDone: func(e *gateway.RequestEvent) { done <- e.Scheme },
		}})
		h.applyOrigin()
		for _, d := range h.doors() {
			client := h.client(d, "a.test")
			for _, c := range []struct {
				says []string
				want string // of a trusted proxy's; empty is the connection's
			}{
				{nil, ""}, {[]string{""}, ""}, {[]string{"http"}, "http"}, {[]string{"HTTPS"}, "https"},
				{[]string{"http", "https"}, "http"}, {[]string{"https", "http"}, "https"}, {[]string{"gopher"}, ""}, {[]string{"https://x"}, ""},
				{[]string{"ws"}, "http"}, {[]string{"wss"}, "https"}, {[]string{"WSS", "http"}, "https"}, {[]string{"https, http"}, ""}, {[]string{"wssx"}, ""}, {[]string{"wſs"}, ""}, {[]string{"httpſ"}, ""},
			} {
				req, err := http.NewRequest("GET", d.scheme()+"://a.test/", nil)
				require.NoError(t, err)
				req.Header["X-Forwarded-Proto"] = c.says
				status, _ := h.do(client, req)
				require.Equal(t, 200, status)
				want := d.scheme()
				if trusted != nil && c.want != "" {
					want = c.want
				}
				require.Equal(t, want, <-begun, "%s %q", d.name, c.says)
				require.Equal(t, want, <-done, "%s %q", d.name, c.says)
			}
		}
		// It does not take a request that can be interpreted.
		for _, d := range h.http1Doors() {
			conn := h.raw(d, "a.test")
			conn.write("GET /a%00 HTTP/1.1\r\nHost: a.test\r\n\r\n")
			res, _ := conn.answer("GET")
			require.Equal(t, 400, res.StatusCode)
			require.Equal(t, d.scheme(), <-done, d.name)
		}
	}
}
