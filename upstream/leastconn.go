package upstream

import (
	"math/rand/v2"
	"net/http"
)

// Least connections is the node with the least (1 + requests in flight) / weight, as
// in APISIX. APISIX keeps a heap, which needs a lock; here the counts are looked
// through, which for a hundred nodes is faster than taking one. Ties, which the heap
// breaks by its own order, are broken at random: else all gateways of a fleet would
// send what comes first to the same node.

// leastConn is the balancer of a level.
type leastConn struct {
	nodes    []int
	heaviest []int // those of the greatest weight
}

func newLeastConn(l *level) *leastConn {
	b := &leastConn{nodes: l.nodes}
	greatest := 0
	for k, w := range l.weights {
		if w > greatest {
			greatest, b.heaviest = w, nil
		}
		if w == greatest {
			b.heaviest = append(b.heaviest, l.nodes[k])
		}
	}
	return b
}

func (b *leastConn) Pick(_ *http.Request, c *Candidates) int {
	// Nothing is less than an idle node of the greatest weight, so any of them that is
	// met at random is as good as one found by looking at all.
	for range 3 {
		i := b.heaviest[rand.IntN(len(b.heaviest))]
		if c.pool.members[i].state.inFlight.Load() == 0 && c.Usable(i) {
			return i
		}
	}

	best, ties := -1, 0
	var least load
	for _, i := range b.nodes {
		if !c.Usable(i) {
			continue
		}
		switch l := c.load(i); {
		case best < 0 || l.less(least):
			best, least, ties = i, l, 1
		case !least.less(l):
			ties++
		}
	}
	if ties <= 1 {
		return best
	}
	// The counts may have changed since. Then best is still a good choice.
	skip := rand.IntN(ties)
	for _, i := range b.nodes {
		if !c.Usable(i) {
			continue
		}
		if l := c.load(i); !l.less(least) && !least.less(l) {
			if skip == 0 {
				return i
			}
			skip--
		}
	}
	return best
}

// A load is a fraction: requests in flight and the one to come, by weight.
type load struct{ requests, weight uint64 }

func (c *Candidates) load(i int) load {
	m := &c.pool.members[i]
	return load{uint64(1 + m.state.inFlight.Load()), uint64(m.weight)}
}

// less compares without a division. Weights have 31 bits: nothing overflows.
func (l load) less(m load) bool { return l.requests*m.weight < m.requests*l.weight }
