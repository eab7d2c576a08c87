package gateway_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
	"github.com/sallyport/sallyport/upstream"
)

type spanKey struct{}

// A valueHandler takes what the context of a record says of spanKey.
type valueHandler struct {
	slog.Handler
	value any
}

func (h *valueHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *valueHandler) WithAttrs([]slog.Attr) slog.Handler { return h }

func (h *valueHandler) Handle(ctx context.Context, _ slog.Record) error {
	h.value = ctx.Value(spanKey{})
	return nil
}

// What is set at the beginning of a request reaches its target, and what the client says
// in its place does not; and what is in the context comes to whoever is asked, through
// every door.
func TestRequestBegun(t *testing.T) {
	type begun struct {
		event    gateway.RequestEvent
		trusted  bool
		values   []string
		names    []string
		identity string
	}
	var got begun
	var fields [][2]string
	done := make(chan *gateway.RequestEvent, 1)
	var logged valueHandler
	options := &gateway.Options{AccessLog: slog.New(&logged), Trace: &gateway.Trace{
		RequestBegun: func(ctx context.Context, r *gateway.RequestStart) context.Context {
			got = begun{event: *r.Event, trusted: r.TrustedProxy, values: r.Values("traceparent"), names: r.Names()}
			if i := r.Event.Identity; i != nil {
				got.identity = i.Subject()
			}
			for _, f := range fields {
				r.Set(f[0], f[1])
			}
			ctx, cancel := context.WithCancelCause(context.WithValue(ctx, spanKey{}, "span of "+r.Event.Path))
			cancel(errors.New("of no interest")) // it is the values that count
			return ctx
		},
		RequestDone: func(e *gateway.RequestEvent) { done <- e },
	}}
	h := newHarness(t, options)
	clients := ssltest.NewCA(t, "clients")
	local := route.Config{ID: "local", Paths: []string{"/local/*id"}, Authorize: func(ctx context.Context, _ *route.AuthorizeRequest) error {
		if ctx.Value(spanKey{}) == nil || ctx.Err() != nil {
			return errors.New("not in the context of the request")
		}
		return nil
	}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strings.Join(r.Header["Traceparent"], "|")+" "+r.Context().Value(spanKey{}).(string))
		if r.Context().Err() != nil || context.Cause(r.Context()) != nil {
			_, _ = io.WriteString(w, ", and over")
		}
		if r.Context().Value(http.LocalAddrContextKey) == nil {
			_, _ = io.WriteString(w, ", and nowhere")
		}
	})}
	edited := everything("edited", "1")
	edited.Paths = []string{"/edited"}
	edited.Headers.Set = []route.HeaderField{{Name: "traceparent", Value: "the route's"}}
	h.apply(gateway.Config{
		Profiles:  []ssl.Config{h.profile("1", []string{"a.test"}, clients), h.profile("2", []string{"b.test"})},
		Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)},
		Routes:    []route.Config{everything("1", "1"), local, edited},
	})
	alice := clients.Client("alice")
	for _, d := range h.tlsDoors() {
		client := h.client(d, "a.test", alice)
		ask := func(t *testing.T, host, path, body string, set ...[2]string) (int, string, *gateway.RequestEvent, *received) {
			got, fields, logged.value = begun{}, set, nil
			h.origin.take()
			method := "GET"
			if body != "" {
				method = "POST"
			}
			req, err := http.NewRequest(method, "https://"+host+path, strings.NewReader(body))
			require.NoError(t, err)
			req.Header = http.Header{"Traceparent": {"one", "two"}, "Tracestate": {"a=b"}, "X-Other": {"x"}}
			status, answer := h.do(client, req)
			e := <-done
			if seen := h.origin.take(); len(seen) > 0 {
				return status, answer, e, seen[0]
			}
			return status, answer, e, nil
		}
		traced := [][2]string{{"traceparent", "first"}, {"Traceparent", "ours"}, {"TRACESTATE", ""}}
		for _, body := range []string{"", "with a body"} {
			t.Run(d.name+" a node, "+body, func(t *testing.T) {
				status, _, e, seen := ask(t, "a.test", "/x?q", body, traced...)
				require.Equal(t, 200, status)
				require.Equal(t, []string{"ours"}, seen.values("traceparent"))
				require.Empty(t, seen.values("tracestate"))
				require.Equal(t, []string{"x"}, seen.values("x-other"))
				require.Equal(t, []string{"one", "two"}, got.values)
				for _, name := range []string{"traceparent", "tracestate", "x-other"} {
					require.Contains(t, got.names, name)
				}
				require.NotContains(t, got.names, "host")
				require.False(t, slices.ContainsFunc(got.names, func(name string) bool { return strings.HasPrefix(name, ":") }))
				require.True(t, slices.IsSorted(got.names))
				require.False(t, got.trusted)
				require.Equal(t, "CN=alice", got.identity)
				require.Equal(t, []string{"1", "/*", "1", "/x", "127.0.0.1", ""},
					[]string{got.event.Route, got.event.Pattern, got.event.Upstream, got.event.Path, got.event.ClientAddr, got.event.Node})
				require.Equal(t, "span of /x", e.Context.Value(spanKey{}))
				require.NoError(t, e.Context.Err())
				require.Equal(t, "/*", e.Pattern)
				require.Equal(t, "span of /x", logged.value)
			})
		}
		t.Run(d.name+" a handler", func(t *testing.T) {
			status, answer, e, _ := ask(t, "a.test", "/local/7", "", traced...)
			require.Equal(t, 200, status)
			require.Equal(t, "ours span of /local/7", answer)
			require.Equal(t, "/local/*id", e.Pattern)
		})
		t.Run(d.name+" the route has the last word", func(t *testing.T) {
			_, _, _, seen := ask(t, "a.test", "/edited", "", traced...)
			require.Equal(t, []string{"the route's"}, seen.values("traceparent"))
			require.Empty(t, seen.values("tracestate"))
		})
		t.Run(d.name+" what cannot be a field", func(t *testing.T) {
			status, _, _, seen := ask(t, "a.test", "/x", "body",
				[2]string{"Content-Length", "0"}, [2]string{"transfer_encoding", "chunked"}, [2]string{"Host", "evil.test"},
				[2]string{"Connection", "x-other"}, [2]string{"X-Other", "y\r\nX-Evil: 1"}, [2]string{"X Evil", "1"}, [2]string{"", "1"})
			require.Equal(t, 200, status)
			require.Equal(t, "body", string(seen.body))
			require.Equal(t, []string{"x"}, seen.values("x-other"))
			require.Equal(t, []string{"one", "two"}, seen.values("traceparent"))
			require.Empty(t, seen.values("x-evil"))
			require.Empty(t, seen.values("transfer_encoding"))
		})
		t.Run(d.name+" refused", func(t *testing.T) {
			status, _, e, _ := ask(t, "b.test", "/x", "")
			require.Equal(t, 421, status)
			require.Equal(t, 421, got.event.Refused.Status)
			require.Equal(t, "span of /x", e.Context.Value(spanKey{}))
		})
		t.Run(d.name+" no reading", func(t *testing.T) {
			status, _, e, _ := ask(t, "a.test", "/a%00b", "")
			require.Equal(t, 400, status)
			require.Empty(t, got.event.Path)
			require.Nil(t, e.Context)
		})
	}
}

// Who is a trusted proxy is told; and a hook alone is enough.
func TestRequestBegunAlone(t *testing.T) {
	trusted := make(chan bool, 1)
	h := newHarness(t, &gateway.Options{
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Trace: &gateway.Trace{RequestBegun: func(_ context.Context, r *gateway.RequestStart) context.Context {
			trusted <- r.TrustedProxy
			return nil
		}},
	})
	h.apply(gateway.Config{
		Profiles:  []ssl.Config{h.profile("1", []string{"a.test"})},
		Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)},
		Routes:    []route.Config{everything("1", "1")},
	})
	for _, d := range h.doors() {
		t.Run(d.name, func(t *testing.T) {
			status, _ := h.get(h.client(d, "a.test"), d, "a.test", "/")
			require.Equal(t, 200, status)
			require.True(t, <-trusted)
		})
	}
}

// One that panics costs the request, which is told of as one that failed.
func TestRequestBegunPanics(t *testing.T) {
	access := newRecords()
	done := make(chan error, 1)
	h := newHarness(t, &gateway.Options{AccessLog: access.logger(), Trace: &gateway.Trace{
		RequestBegun: func(context.Context, *gateway.RequestStart) context.Context { panic("a mistake") },
		RequestDone:  func(e *gateway.RequestEvent) { done <- e.Err },
	}})
	h.apply(gateway.Config{Profiles: []ssl.Config{h.profile("a", []string{"a.test"})}, Routes: []route.Config{local("1", "/*", "fine")}})
	for _, d := range h.doors() {
		_, err := h.client(d, "a.test").Get(d.scheme() + "://a.test/x")
		require.Error(t, err, d.name)
		const why = "gateway: Trace.RequestBegun panicked"
		require.EqualError(t, <-done, why)
		got := access.next(t)
		require.Equal(t, []any{"ERROR", 0.0, "/x", why}, []any{got["level"], got["status"], got["path"], got["error"]}, d.name)
	}
}

// A RequestStart that was kept is of no use: what it was about may be another request.
func TestRequestStartIsOfItsCall(t *testing.T) {
	var kept *gateway.RequestStart
	h := newHarness(t, &gateway.Options{Trace: &gateway.Trace{RequestBegun: func(ctx context.Context, r *gateway.RequestStart) context.Context {
		kept = r
		return ctx
	}}})
	d := h.plain
	h.get(h.client(d, ""), d, "a.test", "/")
	require.Panics(t, func() { kept.Set("X-Late", "1") })
}

// What was read of the header stays, when its buffer has the next request.
func TestRequestStartValuesStay(t *testing.T) {
	var kept [][]string
	h := newHarness(t, &gateway.Options{Trace: &gateway.Trace{RequestBegun: func(ctx context.Context, r *gateway.RequestStart) context.Context {
		kept = append(kept, r.Values("x-id"), r.Names())
		return ctx
	}}})
	h.apply(gateway.Config{
		Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)},
		Routes:    []route.Config{everything("1", "1")},
	})
	conn := h.raw(h.plain, "")
	for _, field := range []string{"X-Id: first", "Y-Jd: other"} {
		conn.write("GET / HTTP/1.1\r\nHost: a.test\r\n" + field + "\r\n\r\n")
		res, _ := conn.answer("GET")
		require.Equal(t, 200, res.StatusCode)
	}
	require.Equal(t, [][]string{{"first"}, {"x-id"}, nil, {"y-jd"}}, kept)
}
