package upstream_test

import (
	"bufio"
	"maps"
	"math"
	"math/big"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/upstream"
)

// leastAddress is a balancer of a user's: the usable node whose address is least.
type leastAddress struct{}

func (leastAddress) Pick(_ *http.Request, c *upstream.Candidates) int {
	best := -1
	for i := range c.Len() {
		if c.Usable(i) && (best < 0 || c.Address(i) < c.Address(best)) {
			best = i
		}
	}
	return best
}

// A pickerFunc is a balancer in one function.
type pickerFunc func(req *http.Request, c *upstream.Candidates) int

func (f pickerFunc) Pick(req *http.Request, c *upstream.Candidates) int { return f(req, c) }

func TestOwnPicker(t *testing.T) {
	nodes := []upstream.Node{{Host: "c.test", Weight: 3}, {Host: "a.test", Weight: 0}, {Host: "b.test", Weight: 2}, {Host: "0.test", Weight: 0, Priority: -1}}
	p := newPool(t, upstream.Config{Nodes: nodes, Picker: leastAddress{}}, nil)
	r := &upstream.Request{}
	for _, want := range []int{2, 0, 3, -1} { // a.test has no weight, 0.test is its level's only one
		i := p.Picks().Pick(r)
		require.Equal(t, want, i)
		if i >= 0 {
			r.Add(i)
		}
	}

	p.InFlight(0, 7)
	looked := 0
	p = p.Replace(mustNew(t, upstream.Config{ID: "1", Nodes: nodes, Picker: pickerFunc(func(req *http.Request, c *upstream.Candidates) int {
		looked++
		require.Equal(t, "/x", req.URL.Path)
		require.Equal(t, 4, c.Len())
		require.Equal(t, 7, c.InFlight(0))
		require.Equal(t, []float64{3, 0, 2, 1}, []float64{c.Weight(0), c.Weight(1), c.Weight(2), c.Weight(3)})
		require.Equal(t, "c.test:80", c.Address(0))
		return 0
	})}), nil)
	req := newRequest(t, "GET", "http://a.test/x", nil)
	require.Equal(t, 0, p.Picks().Pick(&upstream.Request{Request: req}))
	require.Equal(t, 1, looked)

	// What is not usable is not used, whatever a Picker says.
	for _, wrong := range []int{-1, -5, 1, 3, 4, math.MaxInt, math.MinInt} {
		p := newPool(t, upstream.Config{Nodes: nodes, Picker: pickerFunc(func(*http.Request, *upstream.Candidates) int { return wrong })}, nil)
		want := -1
		if wrong == 3 {
			want = 3 // when its level has its turn
		}
		require.Equal(t, want, p.Picks().Pick(&upstream.Request{Request: req}), wrong)
	}
	p = newPool(t, upstream.Config{Nodes: nodes, Picker: pickerFunc(func(*http.Request, *upstream.Candidates) int { return -1 })}, nil)
	_, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
	wantError(t, err, 503, 0, "no node")
	require.ErrorIs(t, err, upstream.ErrNoNode)
}

// Each level is done before the next begins, and shares by its own weights.
func TestPriorities(t *testing.T) {
	for _, balancer := range []upstream.Balancer{upstream.BalancerRoundRobin, upstream.BalancerCHash, upstream.BalancerLeastConn, upstream.BalancerEWMA} {
		t.Run(string(balancer), func(t *testing.T) {
			c := upstream.Config{Balancer: balancer, Nodes: []upstream.Node{
				{Host: "low.test", Weight: 100, Priority: -3},
				{Host: "a.test", Weight: 1, Priority: 5},
				{Host: "mid.test", Weight: 0},
				{Host: "b.test", Weight: 2, Priority: 5},
				{Host: "none.test", Weight: 0, Priority: 5},
			}}
			if balancer == "chash" {
				c.HashKey = "arg_key"
			}
			p := newPool(t, c, nil)
			for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
				r := withKey(t, key)
				var got []int
				for range 4 {
					i := p.Picks().Pick(r)
					require.GreaterOrEqual(t, i, 0)
					r.Add(i)
					got = append(got, i)
				}
				require.ElementsMatch(t, []int{1, 3}, got[:2])
				require.Equal(t, []int{2, 0}, got[2:])
				require.Equal(t, -1, p.Picks().Pick(r))
			}
		})
	}

	// With real nodes.
	spare := newOrigin(t, answering(ok))
	spare.Node.Priority = -1
	p := newPool(t, upstream.Config{Nodes: []upstream.Node{spare.Node, refusing(t), refusing(t)}}, nil)
	get(t, p, "http://a.test/")
	nodes := p.Nodes()
	require.Equal(t, []uint64{1, 1, 1}, []uint64{nodes[0].Requests, nodes[1].Requests, nodes[2].Requests})
	require.Equal(t, -1, nodes[0].Priority)
}

// Every balancer picks a node of weight 0 where it is the only one.
func TestSingleNode(t *testing.T) {
	for _, balancer := range []upstream.Balancer{"", upstream.BalancerRoundRobin, upstream.BalancerCHash, upstream.BalancerLeastConn, upstream.BalancerEWMA} {
		c := upstream.Config{Balancer: balancer, Nodes: []upstream.Node{{Host: "a.test"}}}
		if balancer == "chash" {
			c.HashKey = "uri"
		}
		r := withKey(t, "")
		p := newPool(t, c, nil)
		require.Zero(t, p.Picks().Pick(r))
		p.InFlight(0, 100)
		require.Zero(t, p.Picks().Pick(r))
		r.Add(0)
		require.Equal(t, -1, p.Picks().Pick(r))
	}
}

// fill picks n times, and each pick stays in flight.
func fill(p *upstream.Pool, n int) (got []int) {
	got = make([]int, len(p.Nodes()))
	for range n {
		i := p.Picks().Pick(&upstream.Request{})
		p.InFlight(i, 1)
		got[i]++
	}
	return got
}

// Requests that stay are in the proportion of the weights, exactly.
func TestLeastConnShares(t *testing.T) {
	for _, c := range []struct {
		weights []int
		n       int
		want    []int
	}{
		{[]int{1, 1, 1}, 300, []int{100, 100, 100}},
		{[]int{5, 1, 1}, 70, []int{50, 10, 10}},
		{[]int{3, 0, 2}, 50, []int{30, 0, 20}},
		{[]int{0, 0}, 10, []int{5, 5}},
		{[]int{math.MaxInt32, math.MaxInt32}, 10, []int{5, 5}},
		{[]int{math.MaxInt32, 1}, 100, []int{100, 0}},
	} {
		var nodes []upstream.Node
		for i, w := range c.weights {
			nodes = append(nodes, upstream.Node{Host: "a.test", Port: 1 + i, Weight: w})
		}
		p := newPool(t, upstream.Config{Balancer: "least_conn", Nodes: nodes}, nil)
		require.Equal(t, c.want, fill(p, c.n), "%v", c.weights)
	}
}

func TestLeastConn(t *testing.T) {
	p := newPool(t, upstream.Config{Balancer: "least_conn", Nodes: manyNodes(5)}, nil)
	for i, n := range []int64{3, 1, 4, 1, 5} {
		p.InFlight(i, n)
	}
	seen := make([]int, 5)
	for range 1000 {
		seen[p.Picks().Pick(&upstream.Request{})]++
	}
	require.Equal(t, 1000, seen[1]+seen[3])
	require.InDelta(t, 500, seen[1], 120, "ties are broken at random")

	many := newPool(t, upstream.Config{Balancer: "least_conn", Nodes: manyNodes(40)}, nil)
	counts := make([]int, 40)
	for i := range counts {
		many.InFlight(i, 1)
	}
	for range 40_000 {
		counts[many.Picks().Pick(&upstream.Request{})]++
	}
	for i, n := range counts {
		require.InDelta(t, 1000, n, 200, "node %d", i)
	}

	r := &upstream.Request{}
	var order []int
	for range 5 {
		i := p.Picks().Pick(r)
		r.Add(i)
		order = append(order, i)
	}
	require.ElementsMatch(t, []int{1, 3}, order[:2])
	require.Equal(t, []int{0, 2, 4}, order[2:])

	// What is in flight is known after a replacement.
	next := p.Replace(mustNew(t, upstream.Config{ID: "1", Balancer: "least_conn", Nodes: manyNodes(4)[1:]}), nil)
	p.InFlight(3, 1)
	require.Equal(t, 0, next.Picks().Pick(&upstream.Request{}))
}

// Whatever the weights, the counts and what has been tried: the node picked is one of those
// with the least load, as fractions have it, and each of them is picked.
func TestLeastConnOracle(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 300 {
		n := 1 + random.IntN(41)
		c := upstream.Config{Balancer: "least_conn"}
		weights := [][]int{{7}, {1, 2, 3, 0}, {60, 84, 90}, {math.MaxInt32, math.MaxInt32 - 1, 1}}[round%4]
		for i := range n {
			c.Nodes = append(c.Nodes, upstream.Node{Host: "a.test", Port: 1 + i, Weight: weights[random.IntN(len(weights))]})
		}
		p := newPool(t, c, nil)
		counts := make([]int64, n)
		for i := range counts {
			counts[i] = random.Int64N(4) * random.Int64N(4)
			p.InFlight(i, counts[i])
		}
		req := &upstream.Request{}
		for range random.IntN(3) {
			req.Add(random.IntN(n))
		}

		weight := func(i int) *big.Int { return big.NewInt(int64(c.Nodes[i].Weight)) }
		if !slices.ContainsFunc(c.Nodes, func(n upstream.Node) bool { return n.Weight > 0 }) {
			weight = func(int) *big.Int { return big.NewInt(1) }
		}
		var least *big.Rat
		var want []int
		for i := range n {
			if req.Has(i) || weight(i).Sign() == 0 {
				continue
			}
			load := new(big.Rat).SetFrac(big.NewInt(counts[i]+1), weight(i))
			if least == nil || load.Cmp(least) < 0 {
				least, want = load, nil
			}
			if load.Cmp(least) == 0 {
				want = append(want, i)
			}
		}
		if want == nil {
			require.Negative(t, p.Picks().Pick(req))
			continue
		}
		seen := map[int]int{}
		for range 60 * len(want) {
			seen[p.Picks().Pick(req)]++
		}
		require.ElementsMatch(t, want, slices.Collect(maps.Keys(seen)), "round %d: %v in flight, nodes %v", round, counts, c.Nodes)
	}
}

// Of nodes with the same load, each is picked about as often as the others, whatever their
// number and the places that they have among them.
func TestLeastConnTies(t *testing.T) {
	for _, n := range []int{2, 3, 4, 5, 6, 7, 9, 13} {
		c := upstream.Config{Balancer: "least_conn"}
		for i := range n {
			c.Nodes = append(c.Nodes, upstream.Node{Host: "a.test", Port: 1 + i})
		}
		p := newPool(t, c, nil)
		for i := range n {
			p.InFlight(i, 1)
		}
		const each = 2000
		seen := make([]int, n)
		for range each * n {
			seen[p.Picks().Pick(&upstream.Request{})]++
		}
		require.Greater(t, slices.Min(seen), each/2, "%d nodes: %v", n, seen)
		require.Less(t, slices.Max(seen), each*2, "%d nodes: %v", n, seen)
	}
}

// A node that has the connections of slow requests gets no more.
func TestLeastConnAtWork(t *testing.T) {
	release := make(chan struct{})
	slow := newOrigin(t, func(conn net.Conn) {
		readHead(bufio.NewReader(conn))
		<-release
		conn.Write([]byte(ok))
	})
	fast := newOrigin(t, answering(ok))
	p := newPool(t, upstream.Config{Balancer: "least_conn", Nodes: []upstream.Node{slow.Node, fast.Node}}, nil)
	p.InFlight(1, 1) // so that the first goes to the slow one
	done := make(chan struct{})
	go func() {
		defer close(done)
		if resp, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil)); err == nil {
			resp.Body.Close()
		}
	}()
	for p.Nodes()[0].InFlight == 0 {
		runtime.Gosched()
	}
	p.InFlight(1, -1)
	for range 10 {
		get(t, p, "http://a.test/")
	}
	require.EqualValues(t, 10, p.Nodes()[1].Requests)
	close(release)
	<-done
}

func TestEWMAChoosesTheFaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, upstream.Config{Balancer: "ewma", Nodes: manyNodes(3)}, nil)
		p.Observe(0, 30*time.Millisecond)
		p.Observe(1, 10*time.Millisecond)
		p.Observe(2, 20*time.Millisecond)
		const n = 6000
		got := make([]int, 3)
		for range n {
			got[p.Picks().Pick(&upstream.Request{})]++
		}
		// Of the three pairs, the fastest wins two, and the slowest none.
		require.Zero(t, got[0])
		require.InDelta(t, n*2/3, got[1], 250)
		require.InDelta(t, n/3, got[2], 250)

		// Requests in flight count: 10 ms for each of three is more than 20 for one.
		p.InFlight(1, 2)
		r := &upstream.Request{}
		r.Add(0)
		for range 20 {
			require.Equal(t, 2, p.Picks().Pick(r))
		}
		p.InFlight(1, -2)
		for range 20 {
			require.Equal(t, 1, p.Picks().Pick(r))
		}
		r.Add(1)
		require.Equal(t, 2, p.Picks().Pick(r), "the only one left")

		// What is old counts less: 40 ms ten seconds ago are 15.
		p = newPool(t, upstream.Config{Balancer: "ewma", Nodes: manyNodes(2)}, nil)
		p.Observe(0, 40*time.Millisecond)
		p.Observe(1, 30*time.Millisecond)
		for range 20 {
			require.Equal(t, 1, p.Picks().Pick(&upstream.Request{}))
		}
		time.Sleep(10 * time.Second)
		p.Observe(1, 30*time.Millisecond)
		for range 20 {
			require.Equal(t, 0, p.Picks().Pick(&upstream.Request{}))
		}
		p.Observe(0, 40*time.Millisecond)
		time.Sleep(10 * time.Second)
		p.Observe(0, 20*time.Millisecond) // 40/e + 20(1-1/e) are 27, the 30 are 11
		for range 20 {
			require.Equal(t, 1, p.Picks().Pick(&upstream.Request{}))
		}
	})
}

func TestEWMAWeights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := manyNodes(3)
		nodes[0].Weight, nodes[1].Weight, nodes[2].Weight = 5, 1, 0
		p := newPool(t, upstream.Config{Balancer: "ewma", Nodes: nodes}, nil)
		require.Equal(t, []int{50, 10, 0}, fill(p, 60), "never asked: by what is in flight and weight alone")
		p.InFlight(0, -50)
		p.InFlight(1, -10)
		p.Observe(0, 40*time.Millisecond)
		p.Observe(1, 10*time.Millisecond)
		require.Zero(t, p.Picks().Pick(&upstream.Request{}), "four times as slow, five times the weight")
	})
}

// The average follows its definition.
func TestEWMAAverage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, upstream.Config{Balancer: "ewma", Nodes: manyNodes(1)}, nil)
		within := func(want time.Duration) {
			t.Helper()
			require.InEpsilon(t, want, p.Latency(0), 1e-4)
		}
		require.Zero(t, p.Latency(0))
		p.Observe(0, 100*time.Millisecond)
		within(100 * time.Millisecond)
		p.Observe(0, time.Millisecond)
		within(100 * time.Millisecond) // no time has passed
		time.Sleep(10 * time.Second)
		within(36788 * time.Microsecond) // 100/e
		p.Observe(0, 10*time.Millisecond)
		within(43109 * time.Microsecond) // 100/e + 10(1-1/e)
		p.Observe(0, 50*time.Millisecond)
		within(50 * time.Millisecond) // a peak counts at once
		time.Sleep(time.Hour)
		require.Zero(t, p.Latency(0))
		p.Observe(0, 5*time.Millisecond)
		within(5 * time.Millisecond)
	})
}

// A node that refuses at once is not the fastest.
func TestEWMAAtWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var bad, good atomic.Int64
		answer := func(count *atomic.Int64, text string, after time.Duration) func(net.Conn) {
			return func(conn net.Conn) {
				if _, err := readHead(bufio.NewReader(conn)); err != nil {
					return
				}
				count.Add(1)
				time.Sleep(after)
				conn.Write([]byte(text))
			}
		}
		p := newPool(t, upstream.Config{Balancer: "ewma", Nodes: manyNodes(2)}, &upstream.Options{Dialer: inMemory(map[string]func(net.Conn){
			"10.0.0.0:8080": answer(&bad, "", 0),
			"10.0.0.1:8080": answer(&good, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 50*time.Millisecond),
		})})
		for range 100 {
			get(t, p, "http://a.test/")
		}
		require.LessOrEqual(t, bad.Load(), int64(1))
		require.EqualValues(t, 100, good.Load())
		p.Close()
		require.InEpsilon(t, 50*time.Millisecond, p.Latency(1), 0.01)
	})
}
