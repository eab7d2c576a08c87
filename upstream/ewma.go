package upstream

import (
	"math"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"
)

// The balancer ewma takes the faster of two nodes at random ("power of two choices"),
// by an average of their latencies in which the past fades (an exponentially
// weighted moving average), with APISIX's time of ten seconds. It departs from
// APISIX in this:
//
//   - A latency above the average replaces it at once ("peak"): a node that becomes
//     slow is noticed at its first slow answer, not after seconds.
//   - The average counts once for each request in flight, and one more: APISIX sends
//     a fast node whatever comes until the first answers show that it was too much.
//   - It is divided by the weight, which APISIX ignores. Weight 0 gets nothing.
//   - A failure counts as a slow answer. To APISIX a node that refuses connections is
//     the fastest of all.
//   - A node that was never asked is taken to be as fast as the one beside it, and
//     not to be infinitely fast.
//   - A latency lasts until the head of the answer: how long a body takes is more
//     often the client's doing.

const (
	// latencyDecay is after how long a latency counts 1/e.
	latencyDecay = 10 * time.Second

	// failurePenalty is what a failure counts as, if it did not take longer.
	failurePenalty = 10 * time.Second
)

// ewma is the balancer of a level.
type ewma struct{ nodes []int }

func (b *ewma) Pick(_ *http.Request, c *Candidates) int {
	first := b.any(c, -1)
	if first < 0 {
		return -1
	}
	second := b.any(c, first)
	if second < 0 {
		return first
	}
	m, n := &c.pool.members[first], &c.pool.members[second]
	costs := c.Weight(first) * float64(n.state.inFlight.Load()+1)
	than := c.Weight(second) * float64(m.state.inFlight.Load()+1)
	v, w := m.state.latency.word.Load(), n.state.latency.word.Load()
	if v != 0 && w != 0 {
		costs *= nanoseconds(w)
		than *= nanoseconds(v)
		// Both fade alike, so only what one is older than the other makes a
		// difference, and what time it is now makes none.
		if age := int32(uint32(w) - uint32(v)); age > 0 {
			than *= faded(age)
		} else if age < 0 {
			costs *= faded(-age)
		}
	}
	if costs < than {
		return second
	}
	return first
}

// any returns a usable node at random, other than one, or -1 if there is none.
func (b *ewma) any(c *Candidates, not int) int {
	n := len(b.nodes)
	at := 0
	for range 4 {
		at = rand.IntN(n)
		if i := b.nodes[at]; i != not && c.Usable(i) {
			return i
		}
	}
	// Few are left. Those behind a gap get more; that they are compared makes up
	// for it.
	for range n {
		if at++; at == n {
			at = 0
		}
		if i := b.nodes[at]; i != not && c.Usable(i) {
			return i
		}
	}
	return -1
}

// A latency is the average of one node. It is one word, so that it needs no lock:
// nanoseconds as a float32 in the upper half, and in the lower when that was, in
// milliseconds of the pool's clock. Zero is no average yet.
//
// The milliseconds begin again after seven weeks. An average more than half as old
// may be taken for a new one, once.
type latency struct{ word atomic.Uint64 }

// at returns the average, faded.
func (l *latency) at(now time.Duration) time.Duration {
	word := l.word.Load()
	return time.Duration(nanoseconds(word) * faded(age(word, now)))
}

// observe adds to the average.
func (l *latency) observe(took, now time.Duration) {
	for {
		word := l.word.Load()
		next := float64(max(took, 1))
		if average := nanoseconds(word); next < average {
			rest := faded(age(word, now))
			next = average*rest + next*(1-rest)
		}
		sum := uint64(math.Float32bits(float32(next)))<<32 | uint64(uint32(now/time.Millisecond))
		if l.word.CompareAndSwap(word, sum) {
			return
		}
	}
}

func nanoseconds(word uint64) float64 {
	return float64(math.Float32frombits(uint32(word >> 32)))
}

// age returns how old an average is, in milliseconds. Another core may just have
// written it: it is not older than nothing.
func age(word uint64, now time.Duration) int32 {
	return max(int32(uint32(now/time.Millisecond)-uint32(word)), 0)
}

// faded is what is left of an average after so many milliseconds.
func faded(millis int32) float64 {
	return math.Exp(-float64(millis) / float64(latencyDecay/time.Millisecond))
}
