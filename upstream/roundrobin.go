package upstream

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"net/http"
	"sort"
	"sync/atomic"
)

// Weighted round robin is a walk through an order that is made once: in each
// period (the sum of the weights, divided by what they have in common) a node
// stands as often as its weight says, spread out. A pick is one step of a shared
// counter. So totals are exact over any number of whole periods, whoever picks,
// and nothing is locked.
//
// APISIX has the same totals in another order: it lets the heaviest nodes go
// first, in a burst.

// A roundRobin is the place in the order of a level.
type roundRobin struct {
	nodes []int // what the order's numbers stand for
	order *order
	next  atomic.Uint64
}

// newRoundRobin starts at a random place, so that many gateways with one
// configuration do not all begin with the same node.
func newRoundRobin(l *level) *roundRobin {
	r := &roundRobin{nodes: l.nodes, order: l.order}
	r.next.Store(rand.Uint64N(l.order.period))
	return r
}

func (r *roundRobin) Pick(_ *http.Request, c *Candidates) int {
	n := len(r.nodes)
	if n == 1 { // no counter that all cores would fight for
		return r.nodes[0]
	}
	// A retry takes a step as well: what a node that is down would have got
	// falls to all the others by their weights, not to its neighbour.
	at := 0
	for range 2 * n {
		at = r.order.at(r.next.Add(1))
		if i := r.nodes[at]; c.Usable(i) && c.warmEnough(i) {
			return i
		}
	}
	// The nodes that are left are light, or too many others pick at the same
	// time. Any of them will do.
	for range n {
		if at++; at == n {
			at = 0
		}
		if i := r.nodes[at]; c.Usable(i) {
			return i
		}
	}
	return -1
}

// An order says which node has its turn at each step. It never changes.
type order struct {
	weights []uint64 // a node with zero has no turn
	period  uint64

	// slots is one period, where that is short enough to be written down.
	slots []uint32

	// Otherwise step x falls on the number x*stride mod period, and so on the
	// node of which the share of 0...period-1 holds that number.
	stride uint64
	ends   []uint64 // where the share of each node ends
}

// maxSlots is the longest period that is written down: 16 KiB.
const maxSlots = 4096

// newOrder makes the order for weights, of which none is negative and not all are
// zero.
func newOrder(weights []int) *order {
	o := &order{}
	o.weights, o.period = reduce(weights)
	if o.period <= maxSlots {
		o.spread()
	} else {
		o.stretch()
	}
	return o
}

// at returns the node whose turn step x is.
func (o *order) at(x uint64) int {
	x %= o.period
	if o.slots != nil {
		return int(o.slots[x])
	}
	hi, lo := bits.Mul64(x, o.stride)
	_, y := bits.Div64(hi, lo, o.period)
	return sort.Search(len(o.ends), func(i int) bool { return y < o.ends[i] })
}

// spread writes the period down. In the ideal order a node of weight w has had
// t*w/period turns after t steps. Its k-th turn is therefore due before the step
// at which that passes k, and must not come before the step at which it passes
// k-1. Taking, among the nodes whose turn may come, the one that is due first
// keeps every due date (earliest deadline first is optimal, and the ideal order
// shows that there is a solution): at no step is a node a whole turn early or
// late. See Baruah et al., Proportionate Progress, 1996.
func (o *order) spread() {
	o.slots = make([]uint32, o.period)
	type turn struct{ number, may, due uint64 }
	next := make([]turn, len(o.weights))
	for i, w := range o.weights {
		if w == 0 {
			next[i].may = o.period // never
		} else {
			next[i].due = (o.period + w - 1) / w
		}
	}
	for t := range o.slots {
		first := -1
		for i := range next {
			if next[i].may <= uint64(t) && (first < 0 || next[i].due < next[first].due) {
				first = i
			}
		}
		o.slots[t] = uint32(first)

		n, w := &next[first], o.weights[first]
		n.number++
		n.may = n.number * o.period / w
		n.due = ((n.number+1)*o.period + w - 1) / w
	}
}

// stretch prepares for a period that is too long to be written down. With a
// stride that has no factor in common with the period, a period of steps falls on
// every number once, so the totals are exact here too. How evenly each share is
// hit on the way is a matter of the continued fraction of stride/period: the
// smaller its numbers, the better (Niederreiter, Random Number Generation and
// Quasi-Monte Carlo Methods, 1992, section 3.1). Those of the golden section are
// all 1, so the stride is looked for near there.
func (o *order) stretch() {
	golden := uint64(float64(o.period) * 0.6180339887498949)
	for best, s := uint64(math.MaxUint64), golden; s < golden+64 || best == math.MaxUint64; s++ {
		if q := largestQuotient(o.period, s); q < best {
			best, o.stride = q, s
		}
	}
	o.ends = make([]uint64, len(o.weights))
	var end uint64
	for i, w := range o.weights {
		end += w
		o.ends[i] = end
	}
}

// largestQuotient returns the largest number in the continued fraction of b/a, or
// the largest of all if a and b have a factor in common.
func largestQuotient(a, b uint64) uint64 {
	largest := uint64(0)
	for b != 0 {
		largest = max(largest, a/b)
		a, b = b, a%b
	}
	if a != 1 {
		return math.MaxUint64
	}
	return largest
}
