package upstream

import (
	"cmp"
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
	nodes    []counted // those that have a weight
	heaviest []counted // those of the greatest

	// For glance: the nodes in fours of one weight, and the steps by which all fours are met.
	// There are none if the weights have no common scale.
	fours   []four
	strides []int
}

// A counted is a node and its count, side by side for the loop over all.
type counted struct {
	inFlight *atomic.Int64
	weight   uint64
	index    int
}

// A four is as many nodes of one weight, or fewer and what is never the least.
type four struct {
	inFlight [4]*atomic.Int64
	scale    uint64 // times the weight, it is the same number for all fours
	index    [4]int
}

// never is more than is ever in flight.
var never = func() *atomic.Int64 {
	n := new(atomic.Int64)
	n.Store(maxInFlight)
	return n
}()

// Their product fits into 64 bits.
const (
	maxInFlight = math.MaxUint32 - 1
	maxScale    = math.MaxUint32
)

func newLeastConn(l *level, members []member) *leastConn {
	b := &leastConn{}
	weights, _ := reduce(l.weights)
	greatest := slices.Max(weights)
	for k, i := range l.nodes {
		n := counted{&members[i].state.inFlight, weights[k], i}
		if n.weight > 0 {
			b.nodes = append(b.nodes, n)
		}
		if n.weight == greatest {
			b.heaviest = append(b.heaviest, n)
		}
	}
	if common := commonMultiple(weights, maxScale); common != 0 {
		b.fours = newFours(b.nodes, common)
	}
	for step := range len(b.fours) + 1 {
		if gcd(uint64(len(b.fours)), uint64(step)) == 1 {
			b.strides = append(b.strides, step)
		}
	}
	return b
}

// newFours returns nodes in fours. common is what all weights divide.
func newFours(nodes []counted, common uint64) (fours []four) {
	nodes = slices.Clone(nodes)
	slices.SortStableFunc(nodes, func(a, b counted) int { return cmp.Compare(a.weight, b.weight) })
	for len(nodes) > 0 {
		same := nodes
		if i := slices.IndexFunc(nodes, func(n counted) bool { return n.weight != nodes[0].weight }); i > 0 {
			same = nodes[:i]
		}
		nodes = nodes[len(same):]
		// As evenly as it goes: each is as likely to be looked at first, however few it has.
		number := (len(same) + 3) / 4
		for i := range number {
			f := four{inFlight: [4]*atomic.Int64{never, never, never, never}, scale: common / same[0].weight}
			for k, n := range same[i*len(same)/number : (i+1)*len(same)/number] {
				f.inFlight[k], f.index[k] = n.inFlight, n.index
			}
			fours = append(fours, f)
		}
	}
	return fours
}

func (b *leastConn) Pick(_ *http.Request, c *Candidates) int {
	// Nothing is less than an idle node of the greatest weight, so any of them that is
	// met at random is as good as one found by looking at all.
	random := rand.Uint64()
	for part := range 3 {
		n := &b.heaviest[below(random>>(21*part), len(b.heaviest))]
		if n.inFlight.Load() == 0 && c.usableInFull(n.index) {
			return n.index
		}
	}
	if i := b.glance(c, random); i >= 0 {
		return i
	}
	return b.search(c)
}

// below returns a number below n by 21 random bits.
func below(random uint64, n int) int {
	return int(random & (1<<21 - 1) * uint64(n) >> 21)
}

// usableInFull reports whether a node may be picked and has all of its weight.
func (c *Candidates) usableInFull(i int) bool {
	return c.Usable(i) && c.pool.warmth(&c.pool.members[i]) == 1
}

// glance returns a node with the least load if the counts alone tell of one, or -1.
//
// They do if the node that has the least by its count is usable and has all of its weight:
// other counts are as great, and those of nodes that are not warm count for more.
func (b *leastConn) glance(c *Candidates, random uint64) int {
	least := b.least()
	if least == math.MaxUint64 {
		return -1 // there are no fours
	}
	// Those that have it are met in a random order, or nearly: else all gateways of a fleet
	// would go on to the same node.
	at, stride := below(random, len(b.fours)), b.strides[below(random>>21, len(b.strides))]
	k, step := random>>62, random>>60|1
	for range b.fours {
		f := &b.fours[at]
		if f.least() == least {
			for range 4 {
				k = (k + step) % 4
				if f.load(k) != least {
					continue
				}
				if c.usableInFull(f.index[k]) {
					return f.index[k]
				}
				return -1
			}
		}
		if at += stride; at >= len(b.fours) {
			at -= len(b.fours)
		}
	}
	return -1
}

// least returns the least load, usable or not. It is the loop that takes the time: it calls
// nothing, no branch depends on what it reads, and a four need not wait for those before it
// (BenchmarkPick, busy=y).
func (b *leastConn) least() uint64 {
	least := uint64(math.MaxUint64)
	for i := range b.fours {
		least = min(least, b.fours[i].least())
	}
	return least
}

// least returns the least load of the four.
func (f *four) least() uint64 {
	n := &f.inFlight
	return uint64(min(min(n[0].Load(), n[1].Load()), min(n[2].Load(), n[3].Load()))+1) * f.scale
}

// load returns the load of a node.
func (f *four) load(k uint64) uint64 { return uint64(f.inFlight[k].Load()+1) * f.scale }

// search returns the usable node with the least load, or -1.
func (b *leastConn) search(c *Candidates) int {
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

// next returns the first node from k on that is not above a load, and its own. It calls
// nothing, so that all of it is in registers.
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
