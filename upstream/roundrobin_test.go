package upstream_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/upstream"
)

// letters writes the first n picks as a, b, c...
func letters(weights []int, n int) string {
	r := upstream.NewRoundRobin(weights)
	var b strings.Builder
	for range n {
		b.WriteByte(byte('a' + r.Pick(&upstream.Request{})))
	}
	return b.String()
}

func TestRoundRobinOrder(t *testing.T) {
	for _, c := range []struct {
		weights []int
		want    string // two periods
	}{
		{[]int{1}, "aa"},
		{[]int{0}, "aa"},
		{[]int{7}, "aa"},
		{[]int{1, 1}, "abab"},
		{[]int{3, 3, 3}, "abcabc"},
		{[]int{2, 1}, "aabaab"},
		{[]int{3, 2, 1}, "ababacababac"},
		{[]int{5, 1, 1}, "aaabaacaaabaac"},
		{[]int{1, 0, 1}, "acac"},
		{[]int{0, 0, 0}, "abcabc"},
		{[]int{0, 4}, "bb"},
		{[]int{90, 10}, "aaaaaaaaabaaaaaaaaab"},
		{[]int{200, 100}, "aabaab"},
	} {
		t.Run(fmt.Sprint(c.weights), func(t *testing.T) {
			require.Equal(t, c.want, letters(c.weights, len(c.want)))
		})
	}
}

// shares is the slow oracle: how often each node stands in one period, by the rule
// as it is written.
func shares(weights []int) (turns []int, period int) {
	turns = slices.Clone(weights)
	if slices.Max(turns) == 0 {
		for i := range turns {
			turns[i] = 1
		}
	}
	for d := slices.Max(turns); d > 1; d-- {
		if !slices.ContainsFunc(turns, func(w int) bool { return w%d != 0 }) {
			for i := range turns {
				turns[i] /= d
			}
			break
		}
	}
	for _, w := range turns {
		period += w
	}
	return turns, period
}

// checkOrder compares one period with the oracle, and how it is spread: bound is how
// many turns a node may be early or late.
func checkOrder(t *testing.T, weights []int, bound float64) {
	t.Helper()
	want, period := shares(weights)
	o := upstream.NewOrder(weights)
	require.EqualValues(t, period, o.Period(), weights)

	turns := make([]int, len(weights))
	for x := range period {
		turns[o.At(uint64(x))]++
		for i, w := range want {
			ideal := float64(x+1) * float64(w) / float64(period)
			if math.Abs(float64(turns[i])-ideal) >= bound {
				t.Fatalf("weights %v, after %d steps: node %d had %d turns, ideally %.2f", weights, x+1, i, turns[i], ideal)
			}
		}
	}
	require.Equal(t, want, turns, weights)
	require.Equal(t, o.At(0), o.At(uint64(period)), "the next period is the same")
}

func TestRoundRobinIsExactAndSpread(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 400 {
		weights := make([]int, 1+random.IntN(12))
		for i := range weights {
			weights[i] = random.IntN(1 + random.IntN(60))
		}
		checkOrder(t, weights, 1)
	}
	checkOrder(t, []int{upstream.MaxSlots - 1, 1}, 1)
	checkOrder(t, slices.Repeat([]int{1}, 500), 1)
	checkOrder(t, append(slices.Repeat([]int{1}, 50), 1000), 1)
}

// A period that is too long to be written down is as exact, and still without bursts.
func TestRoundRobinLongPeriods(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 30 {
		weights := []int{upstream.MaxSlots + 1, 1}
		for range 1 + random.IntN(6) {
			weights = append(weights, random.IntN(9000))
		}
		require.False(t, upstream.NewOrder(weights).Written())
		checkOrder(t, weights, 4)
	}
	checkOrder(t, slices.Repeat([]int{1}, upstream.MaxSlots+1), 2)
}

func TestRoundRobinHugeWeights(t *testing.T) {
	weights := []int{math.MaxInt32, math.MaxInt32 - 1, math.MaxInt32 / 2, 1, 0}
	r := upstream.NewRoundRobin(weights)
	total := 0
	for _, w := range weights {
		total += w
	}
	const n = 100_000
	turns := make([]int, len(weights))
	last, run, longest := -1, 0, 0
	for range n {
		i := r.Pick(&upstream.Request{})
		turns[i]++
		if i == last {
			run++
		} else {
			last, run = i, 1
		}
		longest = max(longest, run)
	}
	for i, w := range weights {
		require.InDelta(t, float64(n)*float64(w)/float64(total), turns[i], 5, "node %d", i)
	}
	require.LessOrEqual(t, longest, 2, "none has more than 2 of 5")
}

func FuzzOrder(f *testing.F) {
	f.Add([]byte{5, 1, 1})
	f.Add([]byte{0, 0})
	f.Add([]byte{255, 254, 253, 1, 0, 17})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 || len(b) > 16 {
			return
		}
		weights := make([]int, len(b))
		for i, w := range b {
			weights[i] = int(w)
		}
		checkOrder(t, weights, 1)
	})
}

func TestRoundRobinStartsAnywhere(t *testing.T) {
	seen := map[uint64]bool{}
	u := mustNew(t, upstream.Config{ID: "1", Nodes: []upstream.Node{{Host: "a.test"}, {Host: "b.test"}, {Host: "c.test"}, {Host: "d.test"}}})
	for range 200 {
		seen[upstream.NewPool(u, nil).Start()] = true
	}
	require.Len(t, seen, 4)
}

func TestRoundRobinSkipsTheTried(t *testing.T) {
	for _, weights := range [][]int{
		{1, 1, 1},
		{1000, 1, 1},
		{1 << 30, 1, 1},
		slices.Repeat([]int{1}, 200),
		{0, 0, 0},
	} {
		r := upstream.NewRoundRobin(weights)
		for range 20 {
			tried := &upstream.Request{}
			for range weights {
				i := r.Pick(tried)
				require.GreaterOrEqual(t, i, 0)
				require.False(t, tried.Has(i), "twice")
				tried.Add(i)
			}
			require.Equal(t, -1, r.Pick(tried))
		}
	}

	one := upstream.NewRoundRobin([]int{0})
	tried := &upstream.Request{}
	require.Equal(t, 0, one.Pick(tried))
	tried.Add(0)
	require.Equal(t, -1, one.Pick(tried))

	// A node of weight 0 is no refuge either.
	r := upstream.NewRoundRobin([]int{1, 0, 1})
	tried = &upstream.Request{}
	tried.Add(0)
	tried.Add(2)
	require.Equal(t, -1, r.Pick(tried))
}

// What a node that is down would have got is shared by all the others.
func TestRoundRobinSpreadsRetries(t *testing.T) {
	r := upstream.NewRoundRobin([]int{1, 1, 1, 1})
	got := make([]int, 4)
	for range 300 {
		tried := &upstream.Request{}
		i := r.Pick(tried)
		if i == 0 { // down
			tried.Add(i)
			i = r.Pick(tried)
		}
		got[i]++
	}
	require.Equal(t, []int{0, 100, 100, 100}, got)
}

func TestRoundRobinParallelTotals(t *testing.T) {
	weights := []int{5, 3, 0, 2}
	r := upstream.NewRoundRobin(weights)
	const goroutines, each = 8, 10_000
	totals := make([]int, len(weights))
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			mine := make([]int, len(weights))
			for range each {
				mine[r.Pick(&upstream.Request{})]++
			}
			mu.Lock()
			defer mu.Unlock()
			for i, n := range mine {
				totals[i] += n
			}
		})
	}
	wg.Wait()
	require.Equal(t, []int{40_000, 24_000, 0, 16_000}, totals)
}

func TestPickAllocs(t *testing.T) {
	for _, c := range pickCases {
		p, request := pickPool(t, c.balancer, c.weights, c.busy)
		r := request()
		require.Zero(t, testing.AllocsPerRun(100, func() { p.Picks().Pick(r) }), c.name)
		r.Add(0)
		if len(c.weights) > 1 {
			require.Zero(t, testing.AllocsPerRun(100, func() { p.Picks().Pick(r) }), c.name)
		}
	}
	for _, key := range []string{"uri", "request_uri", "query_string", "host", "remote_addr", "remote_port", "arg_key"} {
		c := byKey(manyNodes(3)...)
		c.HashKey = key
		p := newPool(t, c, nil)
		r := withKey(t, "a")
		r.RemoteAddr, r.RequestURI, r.Host = "10.0.0.1:1234", "/a/b?key=a", "a.test:80"
		r.URL.Path = "/a/b"
		require.Zero(t, testing.AllocsPerRun(100, func() { p.Picks().Pick(r) }), key)
	}
	few := &upstream.Request{}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		few.Add(0)
		few.Add(63)
	}))
}

func TestNodeSet(t *testing.T) {
	var s upstream.Request
	in := map[int]bool{0: true, 1: true, 63: true, 64: true, 127: true, 128: true, 1000: true}
	for i := range in {
		s.Add(i)
	}
	for i := range 2000 {
		require.Equal(t, in[i], s.Has(i), i)
	}
}
