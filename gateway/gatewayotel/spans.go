package gatewayotel

import (
	"context"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/sallyport/sallyport/gateway"
)

// RequestSpans returns a Trace that makes a span of each request. Traces that come after it
// in [gateway.JoinTraces] find the span in their context; it ends after they have been told
// that the request is over.
func RequestSpans(o *Options) *gateway.Trace {
	c := o.withDefaults()
	s := &spans{
		tracer:     tracerOf(&c),
		propagator: c.Propagator,
		fields:     c.Propagator.Fields(),
		trust:      c.Trust,
	}
	return &gateway.Trace{RequestBegun: s.begun, RequestDone: s.done}
}

func tracerOf(o *Options) trace.Tracer {
	return o.TracerProvider.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL))
}

// spans makes spans.
type spans struct {
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator
	fields     []string // of the header, that are the propagator's
	trust      func(*gateway.RequestStart) bool
}

// A spanKey finds the span in a context, of these spans and no others.
type spanKey struct{ of *spans }

// begun implements [gateway.Trace.RequestBegun].
func (s *spans) begun(ctx context.Context, r *gateway.RequestStart) context.Context {
	e := r.Event
	options := append(make([]trace.SpanStartOption, 0, 5),
		trace.WithSpanKind(trace.SpanKindServer),
		trace.WithTimestamp(e.Begun),
		trace.WithAttributes(append(attributesOf(e), userAgent(r)...)...))
	if !trace.SpanContextFromContext(ctx).IsValid() {
		theirs := s.propagator.Extract(ctx, carrier{r})
		remote := trace.SpanContextFromContext(theirs)
		switch {
		case s.trust(r):
			ctx = theirs
		case remote.IsValid():
			options = append(options, trace.WithLinks(trace.Link{SpanContext: remote}))
		}
	}
	ctx, span := s.tracer.Start(ctx, nameOf(e), options...)
	ctx = context.WithValue(ctx, spanKey{s}, span)
	for _, name := range s.fields {
		r.Set(name, "") // Inject may have nothing to say in one
	}
	s.propagator.Inject(ctx, carrier{r})
	return ctx
}

// done implements [gateway.Trace.RequestDone].
func (s *spans) done(e *gateway.RequestEvent) {
	var span trace.Span
	if e.Context != nil {
		span, _ = e.Context.Value(spanKey{s}).(trace.Span)
	}
	if span == nil { // the request had no reading
		_, span = s.tracer.Start(context.Background(), nameOf(e),
			trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(e.Begun), trace.WithAttributes(attributesOf(e)...))
	}
	if span.IsRecording() {
		span.SetAttributes(outcomeOf(e)...)
		if errorTypeOf(e) != "" {
			span.SetStatus(codes.Error, descriptionOf(e))
		}
	}
	span.End(trace.WithTimestamp(e.Begun.Add(e.Took)))
}
