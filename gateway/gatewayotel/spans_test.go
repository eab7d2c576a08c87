package gatewayotel_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/gatewayotel"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// The versions of HTTP and the curves are written as the semantic conventions and the
// registries that they go by write them.
func TestNamesOfProtocols(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	tracer := gatewayotel.RequestSpans(&gatewayotel.Options{TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))})
	reader := sdkmetric.NewManualReader()
	durations, err := gatewayotel.Durations(&gatewayotel.Options{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
	require.NoError(t, err)
	for protocol, version := range map[string]string{"HTTP/1.0": "1.0", "HTTP/1.1": "1.1", "HTTP/2.0": "2"} {
		e := &gateway.RequestEvent{Protocol: protocol, Method: "GET", Status: 400}
		tracer.RequestDone(e)
		durations.RequestDone(e)
		require.Equal(t, version, of(spans.Ended()[len(spans.Ended())-1])["network.protocol.version"])
	}
	var versions []string
	for _, p := range collect(t, reader)["http.server.request.duration"].Data.(metricdata.Histogram[float64]).DataPoints {
		v, _ := p.Attributes.Value("network.protocol.version")
		versions = append(versions, v.AsString())
	}
	require.ElementsMatch(t, []string{"1.0", "1.1", "2"}, versions)

	for id, name := range map[tls.CurveID]string{
		tls.CurveP256: "secp256r1", tls.CurveP384: "secp384r1", tls.CurveP521: "secp521r1", tls.X25519: "x25519",
		tls.X25519MLKEM768: "X25519MLKEM768", tls.SecP256r1MLKEM768: "SecP256r1MLKEM768", tls.SecP384r1MLKEM1024: "SecP384r1MLKEM1024",
	} {
		tracer.RequestDone(&gateway.RequestEvent{TLS: &tls.ConnectionState{CurveID: id}})
		require.Equal(t, name, of(spans.Ended()[len(spans.Ended())-1])["tls.curve"])
	}
}

// A trace that a client names.
const (
	theirTrace  = "0af7651916cd43dd8448eb211c80319c"
	theirSpan   = "b7ad6b7169203331"
	theirParent = "00-" + theirTrace + "-" + theirSpan + "-01"
)

var theirs = http.Header{"Traceparent": {theirParent}, "Tracestate": {"a=1", "b=2"}, "Baggage": {"who=mallory"}}

// parentOf is the traceparent of a span.
func parentOf(span sdktrace.ReadOnlySpan) string {
	sc := span.SpanContext()
	return fmt.Sprintf("00-%s-%s-%s", sc.TraceID(), sc.SpanID(), sc.TraceFlags())
}

// http1 lets a client speak HTTP/1.1 alone.
func http1(client *http.Client) *http.Client {
	transport := client.Transport.(*http.Transport)
	transport.Protocols = &http.Protocols{}
	transport.Protocols.SetHTTP1(true)
	return client
}

// What a span says of a request that a node has answered, at each door.
func TestSpanOfRequest(t *testing.T) {
	h := newHarness(t, nil, nil)
	front := httptest.NewUnstartedServer(h.gw)
	front.TLS = h.gw.TLSConfig()
	front.EnableHTTP2 = true
	front.StartTLS()
	defer front.Close()
	certificate := h.people.Client("alice", ssltest.URIs("spiffe://people.test/alice"))
	for _, d := range []struct {
		name, version string
		client        *http.Client
	}{
		{"ServeTLS, HTTP/1.1", "1.1", http1(ssltest.Client(t, h.front, "a.test", certificate))},
		{"ServeTLS, HTTP/2", "2", ssltest.Client(t, h.front, "a.test", certificate)},
		{"ServeHTTP, HTTP/1.1", "1.1", http1(ssltest.Client(t, front.Listener, "a.test", certificate))},
		{"ServeHTTP, HTTP/2", "2", ssltest.Client(t, front.Listener, "a.test", certificate)},
	} {
		t.Run(d.name, func(t *testing.T) {
			h.ask(d.client, "GET", "https://a.test:8443/users/7?secret=1", http.Header{"User-Agent": {"x/1"}})
			got := h.ask(d.client, "GET", "https://a.test:8443/users/7?secret=1", http.Header{"User-Agent": {"x/1"}})
			span := got.span
			require.Equal(t, "GET /users/*id", span.Name())
			require.Equal(t, trace.SpanKindServer, span.SpanKind())
			require.Equal(t, codes.Unset, span.Status().Code)
			require.Equal(t, "https://opentelemetry.io/schemas/1.43.0", span.InstrumentationScope().SchemaURL)
			require.False(t, span.Parent().IsValid())
			require.Empty(t, span.Links())
			require.True(t, got.event.Begun.Equal(span.StartTime()))
			require.Equal(t, got.event.Took, span.EndTime().Sub(span.StartTime()))
			require.Equal(t, []string{parentOf(span)}, got.header["Traceparent"])

			attributes := of(span)
			_, port, _ := net.SplitHostPort(got.event.RemoteAddr)
			require.Equal(t, port, fmt.Sprint(attributes["network.peer.port"]))
			require.Positive(t, attributes["sallyport.upstream.wait"])
			if d.version == "2" {
				require.Equal(t, "h2", attributes["tls.next_protocol"])
			}
			require.NotEmpty(t, attributes["tls.cipher"])
			require.NotEmpty(t, attributes["sallyport.client.serial"])
			require.Len(t, attributes["tls.client.hash.sha256"], 64)
			for _, checked := range []attribute.Key{
				"network.peer.port", "sallyport.upstream.wait", "tls.next_protocol", "tls.cipher", "sallyport.client.serial", "tls.client.hash.sha256",
			} {
				delete(attributes, checked)
			}
			require.Equal(t, map[attribute.Key]any{
				"http.request.method": "GET", "http.route": "/users/*id", "http.response.status_code": int64(200),
				"http.request.body.size": int64(0), "http.response.body.size": int64(2),
				"url.scheme": "https", "url.path": "/users/7", "server.address": "a.test", "server.port": int64(8443),
				"client.address": "127.0.0.1", "network.peer.address": "127.0.0.1", "network.protocol.version": d.version, "user_agent.original": "x/1",
				"tls.protocol.name": "tls", "tls.protocol.version": "1.3", "tls.curve": "X25519MLKEM768", "tls.resumed": false,
				"tls.client.subject": "CN=alice", "tls.client.issuer": "CN=people", "sallyport.client.spiffe_id": "spiffe://people.test/alice",
				"sallyport.server_name": "a.test", "sallyport.profile.id": "partners",
				"sallyport.route.id": "users", "sallyport.upstream.id": "origin", "sallyport.upstream.node": h.node, "sallyport.upstream.attempts": int64(1),
			}, attributes)
		})
	}
}

// A stranger's trace is linked to, and not continued; a trusted one's is.
func TestWhoseTrace(t *testing.T) {
	withBaggage := propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
	identified := func(r *gateway.RequestStart) bool { return r.Event.Identity != nil }
	for _, c := range []struct {
		name      string
		options   *gateway.Options
		otel      *gatewayotel.Options
		name2     string // of the server
		continued bool
		baggage   []string // that the node gets
	}{
		{"a stranger's", nil, nil, "b.test", false, []string{"who=mallory"}},
		{"a stranger's, with baggage", nil, &gatewayotel.Options{Propagator: withBaggage}, "b.test", false, nil},
		{"a trusted proxy's", trusting(), nil, "b.test", true, []string{"who=mallory"}},
		{"a trusted proxy's, with baggage", trusting(), &gatewayotel.Options{Propagator: withBaggage}, "b.test", true, []string{"who=mallory"}},
		{"a client's without a certificate", nil, &gatewayotel.Options{Trust: identified}, "b.test", false, []string{"who=mallory"}},
		{"a client's with one", nil, &gatewayotel.Options{Trust: identified}, "a.test", true, []string{"who=mallory"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHarness(t, c.options, c.otel)
			client := ssltest.Client(t, h.front, c.name2, h.people.Client("alice"))
			got := h.ask(client, "GET", "https://"+c.name2+"/users/7", theirs)
			require.Equal(t, 200, got.status)
			require.Equal(t, []string{parentOf(got.span)}, got.header["Traceparent"])
			require.Equal(t, c.baggage, got.header["Baggage"])
			if c.continued {
				require.Equal(t, theirTrace, got.span.SpanContext().TraceID().String())
				require.Equal(t, theirSpan, got.span.Parent().SpanID().String())
				require.True(t, got.span.Parent().IsRemote())
				require.Equal(t, []string{"a=1,b=2"}, got.header["Tracestate"])
				require.Empty(t, got.span.Links())
				return
			}
			require.NotEqual(t, theirTrace, got.span.SpanContext().TraceID().String())
			require.False(t, got.span.Parent().IsValid())
			require.Empty(t, got.header["Tracestate"])
			require.Len(t, got.span.Links(), 1)
			require.Equal(t, theirTrace, got.span.Links()[0].SpanContext.TraceID().String())
			require.Equal(t, theirSpan, got.span.Links()[0].SpanContext.SpanID().String())
		})
	}
}

// The scheme is the one that the client used, where a trusted proxy says it.
func TestSchemeBehindAProxy(t *testing.T) {
	for want, o := range map[string]*gateway.Options{"https": nil, "http": trusting()} {
		h := newHarness(t, o, nil)
		got := h.ask(ssltest.Client(t, h.front, "b.test"), "GET", "https://b.test/users/7", http.Header{"X-Forwarded-Proto": {"http"}})
		require.Contains(t, got.span.Attributes(), attribute.String("url.scheme", want))
	}
}

// What is no trace, nobody is linked to.
func TestMalformedTrace(t *testing.T) {
	h := newHarness(t, trusting(), nil)
	client := ssltest.Client(t, h.front, "b.test")
	twice := h.ask(client, "GET", "https://b.test/users/7", http.Header{"Traceparent": {theirParent, theirParent}})
	require.False(t, twice.span.Parent().IsValid())
	for _, parent := range []string{"", "00", "00-" + strings.Repeat("0", 32) + "-" + theirSpan + "-01", "ff-" + theirTrace + "-" + theirSpan + "-01", strings.Repeat("0", 10_000), "\xff"} {
		got := h.ask(client, "GET", "https://b.test/users/7", http.Header{"Traceparent": {parent}})
		require.False(t, got.span.Parent().IsValid(), parent)
		require.Empty(t, got.span.Links())
		require.Equal(t, []string{parentOf(got.span)}, got.header["Traceparent"])
	}
}

// A middleware's span is the parent, whoever the client says it is.
func TestSpanOfMiddleware(t *testing.T) {
	h := newHarness(t, trusting(), nil)
	provider := sdktrace.NewTracerProvider()
	var outer trace.Span
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var ctx context.Context
		ctx, outer = provider.Tracer("test").Start(r.Context(), "outer")
		h.gw.ServeHTTP(w, r.WithContext(ctx))
	}))
	defer front.Close()
	got := h.ask(front.Client(), "GET", front.URL+"/users/7", theirs)
	require.Equal(t, 404, got.status)
	require.Equal(t, outer.SpanContext().SpanID(), got.span.Parent().SpanID())
	require.Equal(t, outer.SpanContext().TraceID(), got.span.SpanContext().TraceID())
}

// A handler and Authorize have the span in their context.
func TestSpanOfHandler(t *testing.T) {
	h := newHarness(t, trusting(), &gatewayotel.Options{Propagator: propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})})
	for name, client := range map[string]*http.Client{"HTTP/1.1": http1(ssltest.Client(t, h.front, "b.test")), "HTTP/2": ssltest.Client(t, h.front, "b.test")} {
		t.Run(name, func(t *testing.T) {
			got := h.ask(client, "POST", "https://b.test/local", theirs)
			require.Equal(t, 200, got.status)
			sc := got.span.SpanContext()
			require.Equal(t, sc.TraceID().String()+" "+sc.SpanID().String()+" "+parentOf(got.span)+" who=mallory", got.body)
			require.Equal(t, "POST /local", got.span.Name())
			require.NotContains(t, of(got.span), attribute.Key("sallyport.upstream.id"))
		})
	}
}

// What went wrong, and whose fault it is.
func TestOutcomes(t *testing.T) {
	h := newHarness(t, nil, nil)
	alice := ssltest.Client(t, h.front, "a.test", h.people.Client("alice"))
	web := ssltest.Client(t, h.front, "b.test")
	plain := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, h.plain.Addr().String())
	}}}
	for _, c := range []struct {
		name, method, url string
		client            *http.Client
		status            int
		span              string
		failed            codes.Code
		want              map[attribute.Key]any
	}{
		{"no node", "GET", "https://a.test/gone", alice, 502, "GET /gone", codes.Error,
			map[attribute.Key]any{"error.type": "502", "sallyport.route.id": "gone", "sallyport.upstream.attempts": int64(1)}},
		{"no route", "GET", "https://a.test/nobody", alice, 404, "GET", codes.Unset,
			map[attribute.Key]any{"error.type": nil, "http.route": nil, "sallyport.route.id": nil}},
		{"misdirected", "GET", "https://a.test/users/7", web, 421, "GET", codes.Unset,
			map[attribute.Key]any{"sallyport.refusal.reason": "misdirected", "server.address": "a.test", "sallyport.server_name": "b.test", "tls.client.subject": nil, "error.type": nil}},
		{"plain HTTP", "GET", "http://a.test/users/7", plain, 403, "GET /users/*id", codes.Unset,
			map[attribute.Key]any{"sallyport.refusal.reason": "plain_http", "url.scheme": "http", "tls.protocol.name": nil}},
		{"a method of one's own", "PROPFIND", "http://c.test/x", plain, 200, "HTTP /*", codes.Unset,
			map[attribute.Key]any{"http.request.method": "_OTHER", "http.request.method_original": "PROPFIND", "server.port": nil}},
		{"no reading", "GET", "http://c.test/a%00b", plain, 400, "GET", codes.Unset,
			map[attribute.Key]any{"http.response.status_code": int64(400), "client.address": nil, "http.route": nil}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := h.ask(c.client, c.method, c.url, nil)
			require.Equal(t, c.status, got.status)
			require.Equal(t, c.span, got.span.Name())
			require.Equal(t, c.failed, got.span.Status().Code)
			require.Equal(t, c.failed == codes.Error, got.span.Status().Description != "")
			attributes := of(got.span)
			require.EqualValues(t, c.status, attributes["http.response.status_code"])
			for key, want := range c.want {
				require.Equal(t, want, attributes[key], key)
			}
		})
	}
}

// Requests that the client gets no whole answer to have a span too, which says whose fault
// that is.
func TestSpansOfWhatBrokeOff(t *testing.T) {
	h := newHarness(t, nil, nil)
	front := httptest.NewUnstartedServer(h.gw)
	front.TLS = h.gw.TLSConfig()
	front.EnableHTTP2 = true
	front.StartTLS()
	defer front.Close()
	for name, client := range map[string]func() *http.Client{
		"ServeTLS, HTTP/1.1":  func() *http.Client { return http1(ssltest.Client(t, h.front, "b.test")) },
		"ServeTLS, HTTP/2":    func() *http.Client { return ssltest.Client(t, h.front, "b.test") },
		"ServeHTTP, HTTP/1.1": func() *http.Client { return http1(ssltest.Client(t, front.Listener, "b.test")) },
		"ServeHTTP, HTTP/2":   func() *http.Client { return ssltest.Client(t, front.Listener, "b.test") },
	} {
		t.Run(name, func(t *testing.T) {
			ask := func(path string, meanwhile func(cancel func())) sdktrace.ReadOnlySpan {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				req, err := http.NewRequestWithContext(ctx, "GET", "https://b.test"+path, nil)
				require.NoError(t, err)
				over := make(chan error, 1)
				go func() {
					res, err := client().Do(req)
					if err == nil {
						_, err = io.Copy(io.Discard, res.Body)
						res.Body.Close()
					}
					over <- err
				}()
				meanwhile(cancel)
				require.Error(t, <-over)
				<-h.ended
				ended := h.spans.Ended()
				return ended[len(ended)-1]
			}
			span := ask("/users/silent", func(cancel func()) {
				<-h.origin
				cancel()
			})
			require.Equal(t, codes.Error, span.Status().Code)
			require.Equal(t, "client_disconnected", of(span)["error.type"])
			require.NotContains(t, of(span), attribute.Key("http.response.status_code"))
			require.Equal(t, "users", of(span)["sallyport.route.id"])

			span = ask("/users/broken", func(func()) { <-h.origin })
			require.Equal(t, codes.Error, span.Status().Code)
			require.Equal(t, "502", of(span)["error.type"])
			require.Equal(t, int64(200), of(span)["http.response.status_code"])

			span = ask("/panics", func(func()) {})
			require.Equal(t, codes.Error, span.Status().Code)
			require.Equal(t, "_OTHER", of(span)["error.type"])
		})
	}
}

// What a client says is fit for an exporter, and no more than there may be.
func TestHostileText(t *testing.T) {
	h := newHarness(t, nil, nil)
	r := httptest.NewRequest("GET", "/", nil)
	r.Method = "\xffGET"
	r.Host = "a.test"
	r.RemoteAddr = "\xff"
	r.URL.Path, r.URL.RawPath, r.RequestURI = "/"+strings.Repeat("\u00fc", 600)+"\xff", "", ""
	r.Header["User-Agent"] = []string{strings.Repeat("a\xff", 1000)}
	h.gw.ServeHTTP(httptest.NewRecorder(), r)
	<-h.ended
	span := h.spans.Ended()[0]
	require.True(t, utf8.ValidString(span.Name()))
	for _, a := range span.Attributes() {
		if a.Value.Type() == attribute.STRING {
			require.True(t, utf8.ValidString(a.Value.AsString()), a.Key)
			require.LessOrEqual(t, len(a.Value.AsString()), 1024, a.Key)
		}
	}
	require.Equal(t, "/"+strings.Repeat("\u00fc", 511), of(span)["url.path"])
	require.Equal(t, "\ufffdGET", of(span)["http.request.method_original"])
}

// Who is joined behind the spans has them at hand, until they end.
func TestJoinedSpans(t *testing.T) {
	type key struct{}
	var told []string
	o := &gateway.Options{Trace: &gateway.Trace{
		RequestBegun: func(ctx context.Context, r *gateway.RequestStart) context.Context {
			trace.SpanFromContext(ctx).SetAttributes(attribute.String("mine.begun", "yes"))
			return context.WithValue(ctx, key{}, "mine")
		},
		RequestDone: func(e *gateway.RequestEvent) {
			told = append(told, fmt.Sprint(e.Context.Value(key{})))
			trace.SpanFromContext(e.Context).SetAttributes(attribute.String("mine.done", "yes"))
		},
	}}
	h := newHarness(t, o, nil)
	got := h.ask(ssltest.Client(t, h.front, "b.test"), "GET", "https://b.test/users/7", nil)
	require.Equal(t, []string{"mine"}, told)
	require.Equal(t, "yes", of(got.span)["mine.begun"])
	require.Equal(t, "yes", of(got.span)["mine.done"])
	require.Equal(t, int64(200), of(got.span)["http.response.status_code"])
}

// Two pipelines have a span each, the second within the first.
func TestSpansTwice(t *testing.T) {
	other := tracetest.NewSpanRecorder()
	second := gatewayotel.RequestSpans(&gatewayotel.Options{TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(other))})
	h := newHarness(t, &gateway.Options{Trace: second}, nil)
	first := h.ask(ssltest.Client(t, h.front, "b.test"), "GET", "https://b.test/users/7", nil).span
	require.Len(t, other.Ended(), 1)
	require.Equal(t, first.SpanContext(), other.Ended()[0].Parent())
	for _, span := range []sdktrace.ReadOnlySpan{first, other.Ended()[0]} {
		require.Equal(t, int64(200), of(span)["http.response.status_code"])
	}
}

// What the sampler drops costs no attributes at the end, and the node is told so.
func TestUnsampled(t *testing.T) {
	var asked []attribute.KeyValue
	sampler := samplerFunc(func(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
		asked = p.Attributes
		return sdktrace.SamplingResult{Decision: sdktrace.Drop}
	})
	h := newHarness(t, nil, nil, sdktrace.WithSampler(sampler))
	got := h.ask(ssltest.Client(t, h.front, "b.test"), "GET", "https://b.test/users/7", nil)
	require.Nil(t, got.span)
	require.Regexp(t, "^00-[0-9a-f]{32}-[0-9a-f]{16}-00$", got.header.Get("Traceparent"))
	require.Contains(t, asked, attribute.String("http.route", "/users/*id"))
}

type samplerFunc func(sdktrace.SamplingParameters) sdktrace.SamplingResult

func (f samplerFunc) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult { return f(p) }
func (samplerFunc) Description() string                                                  { return "of the test" }

// Without an SDK nothing is recorded, and a stranger's trace goes no further.
func TestNoSDK(t *testing.T) {
	for name, o := range map[string]*gateway.Options{"a stranger": nil, "a trusted proxy": trusting()} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, o, &gatewayotel.Options{TracerProvider: noop.NewTracerProvider()})
			got := h.ask(ssltest.Client(t, h.front, "b.test"), "GET", "https://b.test/users/7", theirs)
			if o == nil {
				require.Empty(t, got.header["Traceparent"])
				require.Empty(t, got.header["Tracestate"])
			} else {
				require.Equal(t, []string{theirParent}, got.header["Traceparent"])
			}
		})
	}
}
