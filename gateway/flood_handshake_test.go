package gateway_test

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
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
// what the bounds of handshakes (ssl.Options.HandshakeProcs, MaxHandshakes) and their place
// off the accept loop are for. The flood is a process of its own, on one core.
func BenchmarkHandshakeFlood(b *testing.B) {
	for _, c := range []struct {
		name  string
		flood bool
		procs int
	}{{"flood=n", false, 0}, {"flood=y", true, 0}, {"flood=y/procs=all", true, -1}} {
		b.Run(c.name, func(b *testing.B) {
			servers := ssltest.NewCA(b, "servers")
			gw := must(gateway.New(&gateway.Options{TLS: ssl.Options{HandshakeProcs: c.procs}}))
			defer gw.Close()
			_, err := gw.Apply(gateway.Change{Put: gateway.Config{
				Profiles:  []ssl.Config{{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{servers.Server("a.test")}}},
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
			client := &quietClient{tb: b, conn: conn, request: []byte(smallRequest), buf: make([]byte, 8<<10)}

			if c.flood {
				defer startFlood(b, l.Addr().String())()
			}
			var took []time.Duration
			for b.Loop() {
				begun := time.Now()
				client.ask()
				took = append(took, time.Since(begun))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100]), "p99-ns")
		})
	}
}

// floodAt names the address that a process of this program floods.
const floodAt = "SALLYPORT_TEST_FLOOD"

// startFlood starts the flood, and returns what ends it.
func startFlood(b *testing.B, address string) (end func()) {
	b.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestFlood$")
	cmd.Env = append(os.Environ(), floodAt+"="+address, "GOMAXPROCS=1")
	input, err := cmd.StdinPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	return func() {
		_ = input.Close()
		_ = cmd.Wait()
	}
}

// TestFlood is the process of BenchmarkHandshakeFlood. It connects again and again from 32
// goroutines, until its input ends.
func TestFlood(t *testing.T) {
	address := os.Getenv(floodAt)
	if address == "" {
		t.Skip("this is for BenchmarkHandshakeFlood")
	}
	config := ssltest.ClientConfig("a.test")
	for range 32 {
		go func() {
			for {
				if c, err := tls.Dial("tcp", address, config); err == nil {
					c.Close()
				}
			}
		}()
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}
