package gatewayotel

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/httpconv"

	"github.com/sallyport/sallyport/gateway"
)

// Durations returns a Trace that records http.server.request.duration, the histogram that
// the semantic conventions for HTTP require. Its attributes are http.request.method,
// url.scheme, network.protocol.version and, where known, http.response.status_code,
// http.route and error.type. WebSocket connections are not included.
//
// The error is that of the meter.
func Durations(o *Options) (*gateway.Trace, error) {
	c := o.withDefaults()
	duration, err := httpconv.NewServerRequestDuration(meterOf(&c), metric.WithExplicitBucketBoundaries(
		// As the semantic conventions advise.
		0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10))
	if err != nil {
		return nil, err
	}
	return &gateway.Trace{RequestDone: func(e *gateway.RequestEvent) {
		if e.Status != http.StatusSwitchingProtocols {
			record(duration, e)
		}
	}}, nil
}

func meterOf(o *Options) metric.Meter {
	return o.MeterProvider.Meter(scope, metric.WithSchemaURL(semconv.SchemaURL))
}

// record records how long a request took.
func record(duration httpconv.ServerRequestDuration, e *gateway.RequestEvent) {
	ctx := e.Context
	if ctx == nil {
		ctx = context.Background()
	}
	attributes := append(make([]attribute.KeyValue, 0, 6), semconv.NetworkProtocolVersion(versionOf(e.Protocol)))
	if e.Status != 0 {
		attributes = append(attributes, semconv.HTTPResponseStatusCode(e.Status))
	}
	if e.Pattern != "" {
		attributes = append(attributes, semconv.HTTPRoute(text(e.Pattern)))
	}
	if kind := errorTypeOf(e); kind != "" {
		attributes = append(attributes, semconv.ErrorTypeKey.String(kind))
	}
	duration.Record(ctx, e.Took.Seconds(), httpconv.RequestMethodAttr(methodOf(e.Method)), e.Scheme, attributes...)
}
