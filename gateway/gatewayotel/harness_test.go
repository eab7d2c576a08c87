package gatewayotel_test

import (
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/gatewayotel"
	"github.com/sallyport/sallyport/internal/freeport"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
	"github.com/sallyport/sallyport/upstream"
)

// A harness is a gateway with spans, an origin, and those who may ask.
type harness struct {
	t       *testing.T
	gw      *gateway.Server
	spans   *tracetest.SpanRecorder
	front   net.Listener // ServeTLS
	plain   net.Listener // Serve
	node    string       // the address of the origin
	origin  chan http.Header
	ended   chan *gateway.RequestEvent // after the span, too
	shaken  chan *ssl.HandshakeEvent   // likewise
	people  *ssltest.CA
	servers *ssltest.CA
}

// trusting are options of a gateway that takes everybody here for a proxy it trusts.
func trusting() *gateway.Options {
	return &gateway.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
}

func newHarness(t *testing.T, o *gateway.Options, opts *gatewayotel.Options, more ...sdktrace.TracerProviderOption) *harness {
	t.Helper()
	h := &harness{
		t: t, spans: tracetest.NewSpanRecorder(), origin: make(chan http.Header, 10),
		ended: make(chan *gateway.RequestEvent, 10), shaken: make(chan *ssl.HandshakeEvent, 10),
		people: ssltest.NewCA(t, "people"), servers: ssltest.NewCA(t, "servers"),
	}
	if opts == nil {
		opts = &gatewayotel.Options{}
	}
	if opts.TracerProvider == nil {
		opts.TracerProvider = sdktrace.NewTracerProvider(append(more, sdktrace.WithSpanProcessor(h.spans))...)
	}
	if o == nil {
		o = &gateway.Options{}
	}
	// First, which is told last.
	o.Trace = gateway.JoinTraces(&gateway.Trace{RequestDone: func(e *gateway.RequestEvent) { h.ended <- e }}, gatewayotel.RequestSpans(opts), o.Trace)
	o.TLS.Trace = ssl.JoinTraces(&ssl.Trace{HandshakeDone: func(e *ssl.HandshakeEvent) { h.shaken <- e }}, gatewayotel.HandshakeSpans(opts))
	h.gw = must(gateway.New(o))
	t.Cleanup(func() { h.gw.Close() })

	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		h.origin <- r.Header
		switch r.URL.Path {
		case "/users/silent":
			<-r.Context().Done()
		case "/users/broken":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "ok")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		default:
			_, _ = io.WriteString(w, "ok")
		}
	}))
	t.Cleanup(origin.Close)
	h.node = origin.Listener.Addr().String()
	gone, port, err := freeport.Hold()
	require.NoError(t, err)
	t.Cleanup(func() { port.Close() })
	_, err = h.gw.Apply(gateway.Change{Put: gateway.Config{
		Profiles: []ssl.Config{
			{ID: "partners", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{h.servers.Server("a.test")}, Client: &ssl.ClientAuth{CAPEM: h.people.PEM()}},
			{ID: "web", Names: []string{"b.test"}, Certificates: []ssl.KeyPair{h.servers.Server("b.test")}},
		},
		Upstreams: []upstream.Config{{ID: "origin", Nodes: []upstream.Node{nodeAt(h.node)}}, {ID: "gone", Nodes: []upstream.Node{nodeAt(gone)}}},
		Routes: []route.Config{
			{ID: "users", Hosts: []string{"a.test", "b.test"}, Paths: []string{"/users/*id"}, Upstream: "origin"},
			{ID: "gone", Hosts: []string{"a.test", "b.test"}, Paths: []string{"/gone"}, Upstream: "gone"},
			{ID: "local", Hosts: []string{"b.test"}, Paths: []string{"/local"}, Authorize: h.hasSpan, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				sc := trace.SpanContextFromContext(r.Context())
				_, _ = io.WriteString(w, sc.TraceID().String()+" "+sc.SpanID().String()+" "+r.Header.Get("Traceparent")+" "+baggage.FromContext(r.Context()).String())
			})},
			{ID: "panics", Hosts: []string{"b.test"}, Paths: []string{"/panics"}, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				panic(http.ErrAbortHandler)
			})},
			{ID: "plain", Hosts: []string{"c.test"}, Paths: []string{"/*"}, Upstream: "origin"},
		},
	}})
	require.NoError(t, err)
	h.front, h.plain = listen(t), listen(t)
	for _, serve := range []func() error{
		func() error { return h.gw.ServeTLS(h.front) },
		func() error { return h.gw.Serve(h.plain) },
	} {
		ended := make(chan error, 1)
		go func() { ended <- serve() }()
		t.Cleanup(func() {
			h.gw.Close()
			require.ErrorIs(t, <-ended, http.ErrServerClosed)
		})
	}
	return h
}

func (h *harness) hasSpan(ctx context.Context, _ *route.AuthorizeRequest) error {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		h.t.Error("Authorize has no span in its context")
	}
	return nil
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return l
}

func nodeAt(address string) upstream.Node {
	host, port, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(port)
	return upstream.Node{Host: host, Port: n, Weight: 1}
}

// An answered request is what became of one.
type answered struct {
	status int
	body   string
	span   sdktrace.ReadOnlySpan
	event  *gateway.RequestEvent
	header http.Header // that the origin got, or nil
}

// ask lets a client ask.
func (h *harness) ask(client *http.Client, method, url string, header http.Header) answered {
	h.t.Helper()
	req, err := http.NewRequest(method, url, nil)
	require.NoError(h.t, err)
	maps.Copy(req.Header, header)
	res, err := client.Do(req)
	require.NoError(h.t, err)
	body, err := io.ReadAll(res.Body)
	require.NoError(h.t, err)
	res.Body.Close()
	a := answered{status: res.StatusCode, body: string(body), event: <-h.ended}
	for _, span := range h.spans.Ended() {
		if span.Name() != "TLS handshake" {
			a.span = span // the last of all requests
		}
	}
	select {
	case a.header = <-h.origin:
	default:
	}
	h.documented()
	return a
}

// documented requires that the documentation has each attribute.
func (h *harness) documented() {
	h.t.Helper()
	doc, err := os.ReadFile("doc.go")
	require.NoError(h.t, err)
	for _, span := range h.spans.Ended() {
		for key := range of(span) {
			if strings.HasPrefix(string(key), "mine.") { // of the test
				continue
			}
			require.True(h.t, regexp.MustCompile(`(?m)^//.*[\s(]`+regexp.QuoteMeta(string(key))+`\b`).Match(doc), "%s is not documented", key)
		}
	}
}

// of returns the attributes of a span.
func of(span sdktrace.ReadOnlySpan) map[attribute.Key]any {
	attributes := map[attribute.Key]any{}
	for _, a := range span.Attributes() {
		attributes[a.Key] = a.Value.AsInterface()
	}
	return attributes
}

// must is for what is known to be right when the test is written.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
