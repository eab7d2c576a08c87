package gatewayotel

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/upstream"
)

// The attributes that the semantic conventions have no name for.
const (
	profileKey    = attribute.Key("sallyport.profile.id")
	routeKey      = attribute.Key("sallyport.route.id")
	upstreamKey   = attribute.Key("sallyport.upstream.id")
	nodeKey       = attribute.Key("sallyport.upstream.node")
	attemptsKey   = attribute.Key("sallyport.upstream.attempts")
	waitKey       = attribute.Key("sallyport.upstream.wait")
	serverNameKey = attribute.Key("sallyport.server_name")
	serialKey     = attribute.Key("sallyport.client.serial")
	spiffeKey     = attribute.Key("sallyport.client.spiffe_id")
	reasonKey     = attribute.Key("sallyport.refusal.reason")
)

// maxText bounds what a client can write into a span, in bytes.
const maxText = 1024

// text makes what a client says fit for an attribute. Exporters refuse a whole batch for a
// string that is not UTF-8.
func text(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxText {
		return s
	}
	end := maxText
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

// methodOf returns a method as the semantic conventions know it.
func methodOf(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace, "QUERY":
		return method
	}
	return "_OTHER"
}

// nameOf returns the name of the span, of which there are few.
func nameOf(e *gateway.RequestEvent) string {
	method := methodOf(e.Method)
	if method == "_OTHER" {
		method = "HTTP"
	}
	if e.Pattern == "" {
		return method
	}
	return method + " " + text(e.Pattern)
}

// attributesOf returns what is known of a request at its beginning.
func attributesOf(e *gateway.RequestEvent) []attribute.KeyValue {
	list := make([]attribute.KeyValue, 0, 28)
	method := methodOf(e.Method)
	list = append(list, semconv.HTTPRequestMethodKey.String(method))
	if method != e.Method {
		list = append(list, semconv.HTTPRequestMethodOriginal(text(e.Method)))
	}
	list = append(list, semconv.URLScheme(e.Scheme), semconv.URLPath(text(e.Path)))
	if host, port := splitPort(e.Host); host != "" {
		list = append(list, semconv.ServerAddress(text(host)))
		if port > 0 {
			list = append(list, semconv.ServerPort(port))
		}
	}
	if e.ClientAddr != "" {
		list = append(list, semconv.ClientAddress(text(e.ClientAddr)))
	}
	if peer, port := splitPort(e.RemoteAddr); peer != "" {
		list = append(list, semconv.NetworkPeerAddress(text(peer)))
		if port > 0 {
			list = append(list, semconv.NetworkPeerPort(port))
		}
	}
	list = append(list, semconv.NetworkProtocolVersion(versionOf(e.Protocol)))
	if e.Route != "" {
		list = append(list, routeKey.String(text(e.Route)))
	}
	if e.Pattern != "" {
		list = append(list, semconv.HTTPRoute(text(e.Pattern)))
	}
	if e.Upstream != "" {
		list = append(list, upstreamKey.String(text(e.Upstream)))
	}
	if e.ServerName != "" {
		list = append(list, serverNameKey.String(text(e.ServerName)))
	}
	if e.TLS != nil {
		list = appendTLS(list, e.TLS)
	}
	return appendIdentity(list, e)
}

// appendTLS appends what is known of a TLS connection.
func appendTLS(list []attribute.KeyValue, state *tls.ConnectionState) []attribute.KeyValue {
	list = append(list, semconv.TLSProtocolNameTLS, semconv.TLSProtocolVersion(tlsVersion(state.Version)),
		semconv.TLSCipher(tls.CipherSuiteName(state.CipherSuite)), semconv.TLSResumed(state.DidResume))
	if state.CurveID != 0 {
		list = append(list, semconv.TLSCurve(curveOf(state.CurveID)))
	}
	if state.NegotiatedProtocol != "" {
		list = append(list, semconv.TLSNextProtocol(state.NegotiatedProtocol))
	}
	return list
}

// appendIdentity appends who the client is, if that is verified.
func appendIdentity(list []attribute.KeyValue, e *gateway.RequestEvent) []attribute.KeyValue {
	i := e.Identity
	if i == nil {
		return list
	}
	list = append(list,
		profileKey.String(text(i.Profile().ID())),
		semconv.TLSClientSubject(text(i.Subject())),
		semconv.TLSClientIssuer(text(i.Certificate().Issuer.String())),
		semconv.TLSClientHashSha256(strings.ToUpper(i.SHA256())),
		serialKey.String(i.Serial()))
	if id, ok := i.SPIFFEID(); ok {
		list = append(list, spiffeKey.String(text(id)))
	}
	return list
}

func userAgent(r *gateway.RequestStart) []attribute.KeyValue {
	if values := r.Values("User-Agent"); len(values) > 0 {
		return []attribute.KeyValue{semconv.UserAgentOriginal(text(values[0]))}
	}
	return nil
}

// outcomeOf returns what is known of a request at its end.
func outcomeOf(e *gateway.RequestEvent) []attribute.KeyValue {
	list := append(make([]attribute.KeyValue, 0, 8),
		semconv.HTTPRequestBodySizeKey.Int64(e.Received), semconv.HTTPResponseBodySizeKey.Int64(e.Sent))
	if e.Status != 0 {
		list = append(list, semconv.HTTPResponseStatusCode(e.Status))
	}
	if e.Attempts > 0 {
		list = append(list, nodeKey.String(text(e.Node)), attemptsKey.Int(e.Attempts), waitKey.Float64(e.Waited.Seconds()))
	}
	if e.Refused != nil {
		list = append(list, reasonKey.String(string(e.Refused.Reason)))
	}
	if kind := errorTypeOf(e); kind != "" {
		list = append(list, semconv.ErrorTypeKey.String(kind))
	}
	return list
}

// errorTypeOf returns what kind of error a request ended with, or nothing. An answer of 4xx
// is none of the server's.
func errorTypeOf(e *gateway.RequestEvent) string {
	switch {
	case e.Status >= http.StatusInternalServerError:
		return strconv.Itoa(e.Status)
	case e.Status >= http.StatusBadRequest:
		return ""
	case e.Status != 0 && e.Err == nil:
		return ""
	}
	var failed *upstream.Error
	switch {
	case errors.Is(e.Err, context.Canceled):
		return "client_disconnected"
	case errors.As(e.Err, &failed) && failed.Status >= http.StatusInternalServerError:
		return strconv.Itoa(failed.Status) // which came too late for the client to be told
	default:
		return "_OTHER"
	}
}

// descriptionOf returns what the status of the span says.
func descriptionOf(e *gateway.RequestEvent) string {
	if e.Err == nil {
		return ""
	}
	return text(e.Err.Error())
}

// versionOf returns the version of a protocol: "1.1" of "HTTP/1.1", and "2" of "HTTP/2.0",
// which has no minor version (RFC 9113, section 3.2), unlike "HTTP/1.0".
func versionOf(protocol string) string {
	if protocol == "HTTP/2.0" {
		return "2"
	}
	return strings.TrimPrefix(protocol, "HTTP/")
}

// tlsVersion returns the version as the semantic conventions write it, "1.3".
func tlsVersion(version uint16) string {
	return strings.TrimPrefix(tls.VersionName(version), "TLS ")
}

// curveOf returns the name of a curve in IANA's registry "TLS Supported Groups", which is the
// one that the semantic conventions write. crypto/tls has names of its own for the old ones.
func curveOf(id tls.CurveID) string {
	switch id {
	case tls.CurveP256:
		return "secp256r1"
	case tls.CurveP384:
		return "secp384r1"
	case tls.CurveP521:
		return "secp521r1"
	case tls.X25519:
		return "x25519"
	}
	return id.String()
}

// splitPort splits an address that may have a port. The port is zero if it has none.
func splitPort(address string) (host string, port int) {
	host, digits, err := net.SplitHostPort(address)
	if err != nil {
		return strings.Trim(address, "[]"), 0
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return host, 0
	}
	return host, int(n)
}
