package upstream_test

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/upstream"
)

func BenchmarkPick(b *testing.B) {
	for _, c := range []struct {
		name    string
		weights []int
	}{
		{"nodes=1/weights=equal", []int{1}},
		{"nodes=3/weights=5,1,1", []int{5, 1, 1}},
		{"nodes=100/weights=equal", slices.Repeat([]int{1}, 100)},
		{"nodes=100/weights=huge", append(slices.Repeat([]int{math.MaxInt32}, 99), math.MaxInt32-1)},
	} {
		r := upstream.NewRoundRobin(c.weights)
		b.Run(c.name+"/parallel=n", func(b *testing.B) {
			b.ReportAllocs()
			tried := &upstream.NodeSet{}
			for b.Loop() {
				r.Pick(tried)
			}
		})
		b.Run(c.name+"/parallel=y", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				tried := &upstream.NodeSet{}
				for pb.Next() {
					r.Pick(tried)
				}
			})
		})
	}
}

// BenchmarkNew watches the price of making the order.
func BenchmarkNew(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		c := upstream.Config{ID: "1"}
		for i := range n {
			c.Nodes = append(c.Nodes, upstream.Node{Host: fmt.Sprintf("10.0.%d.%d", i/256, i%256), Weight: 1 + i%4})
		}
		b.Run(fmt.Sprintf("nodes=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := upstream.New(c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRoundTrip sets the pool beside the bare http.Transport that is below it.
func BenchmarkRoundTrip(b *testing.B) {
	for _, size := range []int{16, 1 << 20} {
		payload := strings.Repeat("x", size)
		node := newServer(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(size))
			io.WriteString(w, payload)
		}))
		bare := &http.Transport{DisableCompression: true}
		b.Cleanup(bare.CloseIdleConnections)
		for _, impl := range []struct {
			name string
			http.RoundTripper
		}{
			{"net_http", bare},
			{"pool", newPool(b, upstream.Config{Nodes: []upstream.Node{node.Node}}, nil)},
		} {
			b.Run(fmt.Sprintf("impl=%s/body=%d", impl.name, size), func(b *testing.B) {
				req, err := http.NewRequest("GET", "http://"+node.address+"/", nil)
				require.NoError(b, err)
				buffer := make([]byte, 64<<10)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					resp, err := impl.RoundTrip(req)
					if err != nil {
						b.Fatal(err)
					}
					if _, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{resp.Body}, buffer); err != nil {
						b.Fatal(err)
					}
					resp.Body.Close()
				}
			})
		}
	}
}
