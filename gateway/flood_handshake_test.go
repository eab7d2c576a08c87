package gateway_test

import (
	"crypto/tls"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
	"github.com/sallyport/sallyport/upstream"
)

// BenchmarkHandshakeFlood is a request on a connection that is there, while others connect
// as fast as they can, and while none does: its p99 with a flood against that without is
// what the bound of handshakes (ssl.Options.MaxHandshakes) and their place off the accept
// loop are for. The flood runs in the same process, and costs as much as the gateway.
func BenchmarkHandshakeFlood(b *testing.B) {
	for _, flood := range []bool{false, true} {
		name := "flood=n"
		if flood {
			name = "flood=y"
		}
		b.Run(name, func(b *testing.B) {
			servers := ssltest.NewCA(b, "servers")
			gw := gateway.New(nil)
			defer gw.Close()
			_, err := gw.Apply(gateway.Change{Put: gateway.Config{
				SSL:       []ssl.Config{{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{servers.Server("a.test")}}},
				Upstreams: []upstream.Config{upstreamTo("1", quietOrigin(b, smallAnswer))},
				Routes:    []route.Config{{ID: "1", Paths: []string{"/*"}, Upstream: "1"}},
			}})
			require.NoError(b, err)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(b, err)
			go gw.ServeTLS(l)
			config := ssltest.ClientConfig("a.test")
			config.NextProtos = []string{"http/1.1"}
			conn, err := tls.Dial("tcp", l.Addr().String(), config)
			require.NoError(b, err)
			defer conn.Close()
			client := &quietClient{b, conn, []byte(smallRequest), make([]byte, 8<<10)}

			var over atomic.Bool
			var flooding sync.WaitGroup
			if flood {
				for range 8 {
					flooding.Go(func() {
						for !over.Load() {
							if c, err := tls.Dial("tcp", l.Addr().String(), config); err == nil {
								c.Close()
							}
						}
					})
				}
			}
			var took []time.Duration
			for b.Loop() {
				begun := time.Now()
				client.ask()
				took = append(took, time.Since(begun))
			}
			over.Store(true)
			flooding.Wait()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100]), "p99-ns")
		})
	}
}
