package gatewayotel_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/gatewayotel"
	"github.com/sallyport/sallyport/route"
)

// What a request costs with spans, beside one without. Nothing is exported.
func BenchmarkRequest(b *testing.B) {
	provider := func(sampler sdktrace.Sampler) *gatewayotel.Options {
		return &gatewayotel.Options{TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler))}
	}
	for _, c := range []struct {
		name string
		set  func(*gateway.Options)
	}{
		{"otel=none", func(*gateway.Options) {}},
		{"otel=spans/sampled=noop", func(o *gateway.Options) {
			o.Trace = gatewayotel.RequestSpans(&gatewayotel.Options{TracerProvider: noop.NewTracerProvider()})
		}},
		{"otel=spans/sampled=n", func(o *gateway.Options) { o.Trace = gatewayotel.RequestSpans(provider(sdktrace.NeverSample())) }},
		{"otel=spans/sampled=y", func(o *gateway.Options) { o.Trace = gatewayotel.RequestSpans(provider(sdktrace.AlwaysSample())) }},
		{"otel=durations", func(o *gateway.Options) {
			reader := sdkmetric.WithReader(sdkmetric.NewManualReader())
			o.Trace = must(gatewayotel.Durations(&gatewayotel.Options{MeterProvider: sdkmetric.NewMeterProvider(reader)}))
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			o := &gateway.Options{}
			c.set(o)
			gw := must(gateway.New(o))
			defer gw.Close()
			_, err := gw.Apply(gateway.Change{Put: gateway.Config{Routes: []route.Config{{
				ID: "1", Paths: []string{"/users/*id"}, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }),
			}}}})
			require.NoError(b, err)
			r := httptest.NewRequest(http.MethodGet, "http://a.test/users/7", nil)
			w := httptest.NewRecorder()
			b.ReportAllocs()
			for b.Loop() {
				gw.ServeHTTP(w, r)
			}
		})
	}
}
