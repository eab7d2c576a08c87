package gatewayotel

import (
	"context"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/sallyport/sallyport/gateway"
)

// Spans lets a gateway that will be made with these options begin a span for each request,
// and for handshakes. It sets Trace and TLS.Trace of o to new ones, which call those that
// were there: RequestBegun with the span in its context, RequestDone before it ends.
// It is called before [gateway.New], and once.
func Spans(o *gateway.Options, opts *Options) {
	c := opts.withDefaults()
	s := &spans{
		tracer:     c.TracerProvider.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL)),
		propagator: c.Propagator,
		fields:     c.Propagator.Fields(),
		trust:      c.Trust,
	}
	t := gateway.Trace{}
	if o.Trace != nil {
		t = *o.Trace
		s.nextBegun, s.nextDone = t.RequestBegun, t.RequestDone
	}
	t.RequestBegun, t.RequestDone = s.begun, s.done
	o.Trace = &t
	s.traceHandshakes(&o.TLS, c.Handshakes)
}

// spans makes spans.
type spans struct {
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator
	fields     []string // of the header, that are the propagator's
	trust      func(*gateway.RequestStart) bool

	// Those that were there before, or nil.
	nextBegun func(context.Context, *gateway.RequestStart) context.Context
	nextDone  func(*gateway.RequestEvent)
}

type spanKey struct{}

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
	ctx = context.WithValue(ctx, spanKey{}, span)
	for _, name := range s.fields {
		r.Set(name, "") // Inject may have nothing to say in one
	}
	s.propagator.Inject(ctx, carrier{r})
	if s.nextBegun != nil {
		if next := s.nextBegun(ctx, r); next != nil {
			ctx = next
		}
	}
	return ctx
}

// done implements [gateway.Trace.RequestDone].
func (s *spans) done(e *gateway.RequestEvent) {
	var span trace.Span
	if e.Context != nil {
		span, _ = e.Context.Value(spanKey{}).(trace.Span)
	}
	if span == nil { // the request had no reading
		_, span = s.tracer.Start(context.Background(), nameOf(e),
			trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(e.Begun), trace.WithAttributes(attributesOf(e)...))
	}
	// Whatever a function of the user's does, the span ends.
	defer span.End(trace.WithTimestamp(e.Begun.Add(e.Took)))
	if span.IsRecording() {
		span.SetAttributes(outcomeOf(e)...)
		if errorTypeOf(e) != "" {
			span.SetStatus(codes.Error, descriptionOf(e))
		}
	}
	if s.nextDone != nil {
		s.nextDone(e)
	}
}
