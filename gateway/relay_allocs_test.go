//go:build !race

package gateway_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// With the race detector, a sync.Pool forgets on purpose.

// A small request on a connection that is kept allocates nothing in the gateway. With
// TLS, crypto/tls makes one allocation a read: one here, one in the client of the test.
func TestRelayAllocs(t *testing.T) {
	for _, c := range []struct {
		name   string
		secure bool
		most   float64
	}{{"plain", false, 0}, {"mTLS", true, 2}} {
		t.Run(c.name, func(t *testing.T) {
			client := newRelay(t, c.secure)
			require.LessOrEqual(t, testing.AllocsPerRun(2000, client.ask), c.most)
		})
	}
}

// The same with HTTP/2: x/net's framer makes a HEADERS frame for each request.
func TestRelayAllocsHTTP2(t *testing.T) {
	for _, c := range []struct {
		name   string
		secure bool
		most   float64
	}{{"plain", false, 1}, {"mTLS", true, 3}} {
		t.Run(c.name, func(t *testing.T) {
			client := newRelay2(t, c.secure)
			require.LessOrEqual(t, testing.AllocsPerRun(2000, client.ask), c.most)
		})
	}
}
