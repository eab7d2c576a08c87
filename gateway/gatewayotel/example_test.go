package gatewayotel_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httptest"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/gatewayotel"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
)

// hello is a handler that knows of the trace.
var hello = route.Config{ID: "hello", Paths: []string{"/hello/*who"}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if trace.SpanContextFromContext(r.Context()).IsValid() {
		fmt.Fprintln(w, "hello,", r.PathValue("who"))
	}
})}

// Spans of requests. In earnest the exporter would send them to a collector.
func ExampleRequestSpans() {
	exporter := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
	gw, err := gateway.New(&gateway.Options{Trace: gatewayotel.RequestSpans(&gatewayotel.Options{TracerProvider: provider})})
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
	if _, err := gw.Apply(gateway.Change{Put: gateway.Config{Routes: []route.Config{hello}}}); err != nil {
		log.Fatal(err)
	}
	for _, path := range []string{"/hello/alice", "/nobody"} {
		gw.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "http://a.test"+path, nil))
	}
	for _, span := range exporter.GetSpans() {
		fmt.Println(span.Name)
		for _, a := range span.Attributes {
			if a.Key == "url.path" || a.Key == "http.response.status_code" {
				fmt.Printf("  %s: %s\n", a.Key, a.Value.String())
			}
		}
	}
	// Output:
	// GET /hello/*who
	//   url.path: /hello/alice
	//   http.response.status_code: 200
	// GET
	//   url.path: /nobody
	//   http.response.status_code: 404
}

// The traces, and the baggage, of clients with a verified certificate are continued. To
// those of all others a new trace is linked.
func ExampleOptions_trust() {
	gw, err := gateway.New(&gateway.Options{Trace: gatewayotel.RequestSpans(&gatewayotel.Options{
		Propagator: propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}),
		Trust:      func(r *gateway.RequestStart) bool { return r.Event.Identity != nil },
	})})
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
}

// Spans of handshakes, in front of a server without a gateway.
func ExampleHandshakeSpans() {
	exporter := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
	store, err := ssl.NewStore(&ssl.Options{Trace: gatewayotel.HandshakeSpans(&gatewayotel.Options{TracerProvider: provider})})
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	tl := store.Listener(l)
	go func() { _, _ = tl.Accept() }()
	_, err = tls.Dial("tcp", l.Addr().String(), &tls.Config{ServerName: "nobody.test"})
	fmt.Println(err)
	tl.Close() // which waits for the handshakes
	for _, span := range exporter.GetSpans() {
		fmt.Println(span.Name, span.Status.Code)
	}
	// Output:
	// remote error: tls: unrecognized name
	// TLS handshake Error
}

// How long requests take, as the semantic conventions demand it.
func ExampleDurations() {
	reader := sdkmetric.NewManualReader()
	durations, err := gatewayotel.Durations(&gatewayotel.Options{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
	if err != nil {
		log.Fatal(err)
	}
	gw, err := gateway.New(&gateway.Options{Trace: durations})
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
	if _, err := gw.Apply(gateway.Change{Put: gateway.Config{Routes: []route.Config{hello}}}); err != nil {
		log.Fatal(err)
	}
	gw.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "http://a.test/hello/alice", nil))

	var collected metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &collected); err != nil {
		log.Fatal(err)
	}
	m := collected.ScopeMetrics[0].Metrics[0]
	p := m.Data.(metricdata.Histogram[float64]).DataPoints[0]
	route, _ := p.Attributes.Value("http.route")
	fmt.Println(m.Name, route.AsString(), p.Count)
	// Output: http.server.request.duration /hello/*who 1
}

// What the gateway counts, observed by an SDK.
func ExampleCounters() {
	gw, err := gateway.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
	reader := sdkmetric.NewManualReader() // in earnest a periodic one, with an exporter
	registration, err := gatewayotel.Counters(gw, &gatewayotel.Options{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
	if err != nil {
		log.Fatal(err)
	}
	defer func() {
		if err := registration.Unregister(); err != nil {
			log.Print(err)
		}
	}()
	if _, err := gw.Apply(gateway.Change{Put: gateway.Config{Routes: []route.Config{hello}}}); err != nil {
		log.Fatal(err)
	}
	gw.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "http://a.test/hello/alice", nil))

	var collected metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &collected); err != nil {
		log.Fatal(err)
	}
	for _, m := range collected.ScopeMetrics[0].Metrics {
		if data, ok := m.Data.(metricdata.Sum[int64]); ok && m.Name == "sallyport.http.requests" {
			for _, p := range data.DataPoints {
				fmt.Println(p.Attributes.Encoded(attribute.DefaultEncoder()), p.Value)
			}
		}
	}
	// Output: sallyport.http.status_class=2xx,sallyport.route.id=hello 1
}
