package gatewayotel_test

import (
	"context"
	"fmt"
	"log"
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
)

// hello is a handler that knows of the trace.
var hello = route.Config{ID: "hello", Paths: []string{"/hello/*who"}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if trace.SpanContextFromContext(r.Context()).IsValid() {
		fmt.Fprintln(w, "hello,", r.PathValue("who"))
	}
})}

// Spans of requests. In earnest the exporter would send them to a collector.
func ExampleSpans() {
	exporter := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
	options := &gateway.Options{}
	gatewayotel.Spans(options, &gatewayotel.Options{TracerProvider: provider})
	gw, err := gateway.New(options)
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
	options := &gateway.Options{}
	gatewayotel.Spans(options, &gatewayotel.Options{
		Propagator: propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}),
		Trust:      func(r *gateway.RequestStart) bool { return r.Event.Identity != nil },
		Handshakes: gatewayotel.AllHandshakes,
	})
	gw, err := gateway.New(options)
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
}

// How long requests take, as the semantic conventions demand it.
func ExampleDurations() {
	reader := sdkmetric.NewManualReader()
	options := &gateway.Options{}
	err := gatewayotel.Durations(options, &gatewayotel.Options{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
	if err != nil {
		log.Fatal(err)
	}
	gw, err := gateway.New(options)
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
