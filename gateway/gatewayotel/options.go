package gatewayotel

import (
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/sallyport/sallyport/gateway"
)

// scope is the name of the instrumentation.
const scope = "github.com/sallyport/sallyport/gateway/gatewayotel"

// Options are where spans and metrics go, and how much of them there is. A nil *Options and
// a zero Options mean the same.
type Options struct {
	// TracerProvider is for [RequestSpans] and [HandshakeSpans]. If nil, it is that of [otel.GetTracerProvider].
	TracerProvider trace.TracerProvider

	// MeterProvider is for [Durations] and [Counters]. If nil, it is that of
	// [otel.GetMeterProvider].
	MeterProvider metric.MeterProvider

	// Propagator reads the header of a request, and writes that for its target. Its
	// fields are never passed on as the client says them. If nil, it is
	// [propagation.TraceContext]; without [propagation.Baggage] beside it, a client's
	// baggage is a field like any other.
	Propagator propagation.TextMapPropagator

	// Trust reports whether the trace that a request names is continued, and baggage
	// taken. It is called by any number of goroutines, under the rules of
	// [gateway.Trace.RequestBegun]. If nil, those of [gateway.RequestStart.TrustedProxy]
	// are trusted.
	Trust func(*gateway.RequestStart) bool

	// AllHandshakes lets handshakes that succeeded have a span as well. What bounds the
	// spans of a flood is the sampler, and the queue of the SDK's processor.
	AllHandshakes bool

	// MaxObjects bounds of how many profiles, routes and upstreams [Counters] tells each
	// by itself. If there are more of a kind, their counts are added up. Zero is 1000,
	// and a negative number is no bound. The SDK has a bound of its own, commonly of
	// 2000 sets of attributes for each metric.
	MaxObjects int
}

const defaultMaxObjects = 1000

// withDefaults returns a copy in which nothing is left to default.
func (o *Options) withDefaults() Options {
	var c Options
	if o != nil {
		c = *o
	}
	if c.TracerProvider == nil {
		c.TracerProvider = otel.GetTracerProvider()
	}
	if c.MeterProvider == nil {
		c.MeterProvider = otel.GetMeterProvider()
	}
	if c.Propagator == nil {
		c.Propagator = propagation.TraceContext{}
	}
	if c.Trust == nil {
		c.Trust = trustedProxy
	}
	if c.MaxObjects == 0 {
		c.MaxObjects = defaultMaxObjects
	}
	return c
}

func trustedProxy(r *gateway.RequestStart) bool { return r.TrustedProxy }
