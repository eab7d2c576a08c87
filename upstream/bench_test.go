package upstream_test

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/upstream"
)

// pickCases are for BenchmarkPick and TestPickAllocs. In the busy ones each node has
// some requests in flight, so that least_conn has to look at all.
var pickCases = []struct {
	name     string
	balancer upstream.Balancer
	weights  []int
	busy     bool
}{
	{"balancer=roundrobin/nodes=1/weights=equal", "roundrobin", []int{1}, false},
	{"balancer=roundrobin/nodes=3/weights=5,1,1", "roundrobin", []int{5, 1, 1}, false},
	{"balancer=roundrobin/nodes=100/weights=equal", "roundrobin", slices.Repeat([]int{1}, 100), false},
	{"balancer=roundrobin/nodes=100/weights=huge", "roundrobin", append(slices.Repeat([]int{math.MaxInt32}, 99), math.MaxInt32-1), false},
	{"balancer=chash/nodes=100/weights=equal", "chash", slices.Repeat([]int{1}, 100), false},
	{"balancer=chash/nodes=1000/weights=equal", "chash", slices.Repeat([]int{1}, 1000), false},
	{"balancer=least_conn/nodes=100/weights=equal", "least_conn", slices.Repeat([]int{1}, 100), false},
	{"balancer=least_conn/nodes=100/weights=equal/busy=y", "least_conn", slices.Repeat([]int{1}, 100), true},
	{"balancer=least_conn/nodes=100/weights=5,1,1,1/busy=y", "least_conn", slices.Repeat([]int{5, 1, 1, 1}, 25), true},
	{"balancer=ewma/nodes=100/weights=equal", "ewma", slices.Repeat([]int{1}, 100), true},
}

// pickPool is the pool of a case, and picks a request that has been tried nowhere.
func pickPool(t testing.TB, balancer upstream.Balancer, weights []int, busy bool) (p *upstream.Pool, request func() *upstream.Request) {
	c := upstream.Config{Balancer: balancer}
	for i, w := range weights {
		c.Nodes = append(c.Nodes, upstream.Node{Host: fmt.Sprintf("10.0.%d.%d", i/250, i%250), Weight: w})
	}
	if balancer == "chash" {
		c.HashOn, c.HashKey = "header", "X-User"
	}
	p = newPool(t, c, nil)
	if busy {
		for i := range weights {
			p.InFlight(i, int64(1+i%7))
			p.Observe(i, time.Duration(1+i%7)*time.Millisecond)
		}
	}
	var user atomic.Int64
	return p, func() *upstream.Request {
		r := &http.Request{Header: http.Header{"X-User": {fmt.Sprintf("user-%06d-abcd", user.Add(1))}}}
		return &upstream.Request{Request: r}
	}
}

func BenchmarkPick(b *testing.B) {
	for _, c := range pickCases {
		p, request := pickPool(b, c.balancer, c.weights, c.busy)
		b.Run(c.name+"/parallel=n", func(b *testing.B) {
			b.ReportAllocs()
			r := request()
			for b.Loop() {
				p.Picks().Pick(r)
			}
		})
		b.Run(c.name+"/parallel=y", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				r := request()
				for pb.Next() {
					p.Picks().Pick(r)
				}
			})
		})
	}
}

// BenchmarkRing watches the price of New with a ring; BenchmarkNew has it without one.
func BenchmarkRing(b *testing.B) {
	for _, n := range []int{100, 1000} {
		c := byKey(manyNodes(n)...)
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

// BenchmarkH2 sets what the pool makes of net/http's connections against
// http.Transport's own way with them.
func BenchmarkH2(b *testing.B) {
	node := newH2Server(b, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			io.Copy(w, r.Body)
		}
	}))
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols, DisableCompression: true}
	defer transport.CloseIdleConnections()
	for name, rt := range map[string]http.RoundTripper{
		"pool":           newPool(b, upstream.Config{Scheme: "h2c", Nodes: []upstream.Node{node.Node}}, nil),
		"http.Transport": transport,
	} {
		for _, size := range []int{-1, 100, 1 << 20} {
			b.Run(fmt.Sprintf("by=%s/body=%d", name, max(0, size)), func(b *testing.B) {
				b.ReportAllocs()
				body := strings.Repeat("x", max(0, size))
				for b.Loop() {
					req, err := http.NewRequest("GET", "http://"+node.address+"/", nil)
					if size >= 0 {
						req, err = http.NewRequest("POST", "http://"+node.address+"/", strings.NewReader(body))
					}
					require.NoError(b, err)
					resp, err := rt.RoundTrip(req)
					require.NoError(b, err)
					n, err := io.Copy(io.Discard, resp.Body)
					require.NoError(b, err)
					require.EqualValues(b, max(0, size), n)
					resp.Body.Close()
				}
			})
		}
	}
}
