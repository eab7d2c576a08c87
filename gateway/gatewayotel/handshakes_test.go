package gatewayotel_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/sallyport/sallyport/gateway/gatewayotel"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// A handshake that failed has a span that says why, and one that succeeded has one if that
// is wanted.
func TestSpansOfHandshakes(t *testing.T) {
	strangers := ssltest.NewCA(t, "strangers")
	for _, c := range []struct {
		name string
		all  bool
	}{
		{"failed", false},
		{"all", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHarness(t, nil, &gatewayotel.Options{AllHandshakes: c.all})
			_, err := ssltest.Client(t, h.front, "a.test", strangers.Client("mallory")).Get("https://a.test/")
			require.Error(t, err)
			e := <-h.shaken
			require.Equal(t, ssl.ReasonUnknownCA, e.Err.Reason)
			spans := h.spans.Ended()
			require.Len(t, spans, 1)
			span := spans[0]
			require.Equal(t, "TLS handshake", span.Name())
			require.Equal(t, trace.SpanKindServer, span.SpanKind())
			require.Equal(t, codes.Error, span.Status().Code)
			require.True(t, strings.HasPrefix(span.Status().Description, "the client's issuer CN=strangers is not among"), span.Status().Description)
			require.True(t, e.Begun.Equal(span.StartTime()))
			require.Equal(t, e.Took, span.EndTime().Sub(span.StartTime()))
			attributes := of(span)
			require.NotZero(t, attributes["network.peer.port"])
			require.Len(t, attributes["tls.client.hash.sha256"], 64)
			delete(attributes, "network.peer.port")
			delete(attributes, "tls.client.hash.sha256")
			require.Equal(t, map[attribute.Key]any{
				"tls.protocol.name": "tls", "tls.established": false, "error.type": "unknown_ca",
				"client.address": "127.0.0.1", "network.peer.address": "127.0.0.1",
				"sallyport.server_name": "a.test", "sallyport.profile.id": "partners",
				"tls.client.subject": "CN=mallory", "tls.client.issuer": "CN=strangers",
			}, attributes)
			h.documented()

			before := len(spans)
			got := h.ask(ssltest.Client(t, h.front, "b.test"), "GET", "https://b.test/users/7", nil)
			require.Equal(t, http.StatusOK, got.status)
			require.Nil(t, (<-h.shaken).Err)
			handshakes := 0
			for _, span := range h.spans.Ended()[before:] {
				if span.Name() == "TLS handshake" {
					handshakes++
					require.Equal(t, codes.Unset, span.Status().Code)
					require.Equal(t, true, of(span)["tls.established"])
					require.Equal(t, "1.3", of(span)["tls.protocol.version"])
				}
			}
			require.Equal(t, c.all, handshakes == 1)
		})
	}
}
