package upstream

import (
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync/atomic"
)

// Least connections is the node with the least (1 + requests in flight) / weight, as
// in APISIX. APISIX keeps a heap, which needs a lock; here the counts are looked
// through, which for a hundred nodes is faster than taking one. Ties, which the heap
// breaks by its own order, are broken at random: else all gateways of a fleet would
// send what comes first to the same node.

// leastConn is the balancer of a level.
type leastConn struct {
	nodes    []counted
	heaviest []counted // those of the greatest weight
}

// A counted is a node and its count, side by side for the loop over all.
type counted struct {
	inFlight *atomic.Int64
	weight   uint64
	index    int
}

func newLeastConn(l *level, members []member) *leastConn {
	b := &leastConn{}
	greatest := slices.Max(l.weights)
	for k, i := range l.nodes {
		n := counted{&members[i].state.inFlight, uint64(l.weights[k]), i}
		b.nodes = append(b.nodes, n)
		if l.weights[k] == greatest {
			b.heaviest = append(b.heaviest, n)
		}
	}
	return b
}

func (b *leastConn) Pick(_ *http.Request, c *Candidates) int {
	// Nothing is less than an idle node of the greatest weight, so any of them that is
	// met at random is as good as one found by looking at all.
	for range 3 {
		n := &b.heaviest[rand.IntN(len(b.heaviest))]
		if n.inFlight.Load() == 0 && c.Usable(n.index) && c.pool.warmth(&c.pool.members[n.index]) == 1 {
			return n.index
		}
	}

	// Most nodes are not the least: only those that may be are looked at closely.
	var (
		ties  [16]int // as many of them, each with the same chance to be here
		found int
		least = load{math.MaxUint32, 1}
	)
	for k := 0; ; k++ {
		var l load
		if k, l = b.next(k, least); k == len(b.nodes) {
			break
		}
		n := &b.nodes[k]
		if !c.Usable(n.index) {
			continue
		}
		if part := c.pool.warmth(&c.pool.members[n.index]); part < 1 {
			if l.requests = uint64(float64(l.requests) / part); least.less(l) {
				continue
			}
		}
		if l.less(least) {
			least, found = l, 0
		}
		at := found
		if found++; found > len(ties) {
			at = rand.IntN(found)
		}
		if at < len(ties) {
			ties[at] = n.index
		}
	}
	switch found {
	case 0:
		return -1
	case 1:
		return ties[0]
	default:
		return ties[rand.IntN(min(found, len(ties)))]
	}
}

// next returns the first node from k on that is not above a load, and its own. It is
// the loop that takes the time, and calls nothing, so that all of it is in
// registers (BenchmarkPick, busy=y).
func (b *leastConn) next(k int, least load) (int, load) {
	for ; k < len(b.nodes); k++ {
		n := &b.nodes[k]
		l := load{uint64(n.inFlight.Load() + 1), n.weight}
		if !least.less(l) {
			return k, l
		}
	}
	return k, load{}
}

// A load is a fraction: requests in flight and the one to come, by weight.
type load struct{ requests, weight uint64 }

// less compares without a division. Weights have 31 bits, and requests fewer than 32:
// nothing overflows.
func (l load) less(m load) bool { return l.requests*m.weight < m.requests*l.weight }
