package gateway_test

import (
	"crypto/tls"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
	"github.com/sallyport/sallyport/upstream"
)

// A WebSocket connection ends when its client may not have it any more, and no other
// does: design.md, "The guard".
func TestTunnelsEndWithThePolicy(t *testing.T) {
	h := newHarness(t, nil)
	old, next := ssltest.NewCA(t, "old"), ssltest.NewCA(t, "next")
	ws := everything("ws", "1")
	ws.WebSocket = true
	h.origin.on(switchAndEcho)
	for _, d := range h.http1Doors() {
		if !d.tls {
			continue
		}
		t.Run(d.name, func(t *testing.T) {
			h.apply(gateway.Config{
				Profiles:  []ssl.Config{h.profile("1", []string{"a.test"}, old), h.profile("2", []string{"b.test"}, old)},
				Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)},
				Routes:    []route.Config{ws},
			})
			open := func(name string, cert tls.Certificate) *rawConn {
				c := h.raw(d, name, cert)
				c.write("GET /ws HTTP/1.1\r\nHost: " + name + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n")
				res, err := http.ReadResponse(c.r, nil)
				require.NoError(t, err)
				require.Equal(t, 101, res.StatusCode)
				c.wantEcho("hello")
				return c
			}
			alice, other := open("a.test", old.Client("alice")), open("b.test", old.Client("bob"))

			// The policy is another, and takes the client as well.
			h.apply(gateway.Config{Profiles: []ssl.Config{h.profile("1", []string{"a.test"}, old, next)}})
			alice.wantEcho("still")

			h.apply(gateway.Config{Profiles: []ssl.Config{h.profile("1", []string{"a.test"}, next)}})
			alice.wantEnd()
			other.wantEcho("still")
		})
	}
}
