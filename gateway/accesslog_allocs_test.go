//go:build !race

package gateway

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway/accesslog"
)

// A record for an accesslog.Handler allocates nothing, on a connection of which much is known
// and behind a server that has none of the gateway's.
func TestAccessLogAllocatesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		engine bool
		from   string
	}{
		"own":     {true, "127.0.0.1"},
		"proxied": {true, "10.0.0.1"},
		"server":  {false, "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			s, v := counting(t)
			s.lines = accesslog.New(io.Discard, nil)
			s.o.AccessLog = slog.New(s.lines)
			if c.engine {
				v.client = &client{server: s, remote: "127.0.0.1:40000", peer: "127.0.0.1"}
			}
			v.node, v.attempts, v.waited = "127.0.0.1:8080", 1, time.Millisecond
			v.event = &RequestEvent{
				Protocol: "HTTP/1.1", Method: "GET", Host: "a.test", Path: "/small",
				RemoteAddr: "127.0.0.1:40000", ClientAddr: c.from, Route: "1", Upstream: "1",
			}
			require.Zero(t, testing.AllocsPerRun(2000, func() { s.account(v) }))
		})
	}
}
