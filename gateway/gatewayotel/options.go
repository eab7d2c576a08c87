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

// Options say where spans and metrics go, and how many of them there are. A nil *Options
// and a zero Options mean the same.
type Options struct {
	// TracerProvider is for [RequestSpans] and [HandshakeSpans]. If nil,
	// [otel.GetTracerProvider] provides it.
	TracerProvider trace.TracerProvider

	// MeterProvider is for [Durations] and [Counters]. If nil, [otel.GetMeterProvider] provides
	// it.
	MeterProvider metric.MeterProvider

	// Propagator reads the header of a request and writes that for its target. Its fields are
	// never passed on with a client's values. If nil, it is [propagation.TraceContext]; a
	// client's baggage is then a field like any other, unless you add [propagation.Baggage].
	Propagator propagation.TextMapPropagator

	// Trust reports whether the trace named in a request is continued, and its baggage
	// accepted. It is called by any number of goroutines, under the rules of
	// [gateway.Trace.RequestBegun]. If nil, requests with [gateway.RequestStart.TrustedProxy]
	// are trusted.
	Trust func(*gateway.RequestStart) bool

	// AllHandshakes makes spans of handshakes that succeeded, too. The spans of a flood are
	// bounded by the sampler and by the queue of the SDK's processor.
	AllHandshakes bool

	// MaxObjects bounds how many profiles, routes and upstreams [Counters] reports
	// individually. If there are more of one kind, their counts are added up. Zero is 1000, and
	// a negative number is no bound. The SDK has a bound of its own, commonly 2000 sets of
	// attributes for each metric.
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
