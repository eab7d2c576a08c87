package gatewayotel

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/sallyport/sallyport/ssl"
)

// HandshakeSpans returns a Trace that makes a span of each handshake that failed and, with
// [Options.AllHandshakes], of each one that succeeded. It needs no gateway: an [ssl.Store]
// takes it too.
func HandshakeSpans(o *Options) *ssl.Trace {
	c := o.withDefaults()
	tracer := tracerOf(&c)
	return &ssl.Trace{HandshakeDone: func(e *ssl.HandshakeEvent) {
		if e.Err != nil || c.AllHandshakes {
			makeHandshakeSpan(tracer, e)
		}
	}}
}

func makeHandshakeSpan(tracer trace.Tracer, e *ssl.HandshakeEvent) {
	_, span := tracer.Start(context.Background(), "TLS handshake",
		trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(e.Begun), trace.WithAttributes(handshakeAttributes(e)...))
	if e.Err != nil {
		span.SetStatus(codes.Error, text(e.Err.Advice()))
	}
	span.End(trace.WithTimestamp(e.Begun.Add(e.Took)))
}

func handshakeAttributes(e *ssl.HandshakeEvent) []attribute.KeyValue {
	list := append(make([]attribute.KeyValue, 0, 16),
		semconv.TLSProtocolNameTLS, semconv.TLSEstablished(e.Err == nil))
	if peer, port := splitPort(address(e.RemoteAddr)); peer != "" {
		list = append(list, semconv.ClientAddress(text(peer)), semconv.NetworkPeerAddress(text(peer)))
		if port > 0 {
			list = append(list, semconv.NetworkPeerPort(port))
		}
	}
	if e.ServerName != "" {
		list = append(list, serverNameKey.String(text(e.ServerName)))
	}
	if e.Profile != "" {
		list = append(list, profileKey.String(text(e.Profile)))
	}
	if e.State != nil {
		list = appendTLS(list, e.State)
	}
	if e.Err != nil {
		list = append(list, semconv.ErrorTypeKey.String(string(e.Err.Reason)))
		if c := e.Err.Certificate; c != nil {
			sum := sha256.Sum256(c.Raw)
			list = append(list,
				semconv.TLSClientSubject(text(c.Subject.String())),
				semconv.TLSClientIssuer(text(c.Issuer.String())),
				semconv.TLSClientHashSha256(strings.ToUpper(hex.EncodeToString(sum[:]))))
		}
	}
	return list
}

func address(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}
