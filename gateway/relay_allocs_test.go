//go:build !race

package gateway_test

import (
	"io"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/accesslog"
)

// With the race detector, a sync.Pool forgets on purpose.

// A small request on a connection that is kept allocates nothing in the gateway. With
// TLS, crypto/tls makes one allocation a read: one here, one in the client of the test. An
// access log makes none.
func TestRelayAllocs(t *testing.T) {
	for _, c := range []struct {
		name   string
		secure bool
		log    slog.Handler
		most   float64
	}{
		{"plain", false, nil, 0},
		{"mTLS", true, nil, 2},
		{"plain, logged", false, accesslog.New(io.Discard, nil), 0},
		{"mTLS, logged", true, accesslog.New(io.Discard, nil), 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := newRelayOf(t, c.secure, loggedTo(c.log))
			require.LessOrEqual(t, testing.AllocsPerRun(2000, client.ask), c.most)
		})
	}
}

// The same with HTTP/2: x/net's framer makes a HEADERS frame for each request.
func TestRelayAllocsHTTP2(t *testing.T) {
	for _, c := range []struct {
		name   string
		secure bool
		log    slog.Handler
		most   float64
	}{
		{"plain", false, nil, 1},
		{"mTLS", true, nil, 3},
		{"plain, logged", false, accesslog.New(io.Discard, nil), 1},
		{"mTLS, logged", true, accesslog.New(io.Discard, nil), 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := newRelay2(t, c.secure, loggedTo(c.log))
			require.LessOrEqual(t, testing.AllocsPerRun(2000, client.ask), c.most)
		})
	}
}

// loggedTo returns the options of a gateway that has such an access log, or none.
func loggedTo(h slog.Handler) *gateway.Options {
	o := &gateway.Options{H2C: true}
	if h != nil {
		o.AccessLog = slog.New(h)
	}
	return o
}
