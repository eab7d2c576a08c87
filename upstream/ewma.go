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
	now := time.Now()
	x, y := c.load(first), c.load(second)
	p, q := &c.pool.members[first].state.latency, &c.pool.members[second].state.latency
	t, u := p.at(now), q.at(now)
	if t == 0 || u == 0 {
		t, u = 1, 1
	}
	if u*float64(y.requests)*float64(x.weight) < t*float64(x.requests)*float64(y.weight) {
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
// milliseconds since born. Zero is no average yet.
type latency struct {
	born time.Time
	word atomic.Uint64
}

// at returns the average in nanoseconds, faded.
func (l *latency) at(now time.Time) float64 {
	return fade(l.word.Load(), l.millis(now))
}

// observe adds what began at some time and has ended now, and counts for no less than
// least.
func (l *latency) observe(begun, now time.Time, least time.Duration) {
	took := float64(max(now.Sub(begun), least, 1))
	millis := l.millis(now)
	for {
		word := l.word.Load()
		next := took
		if average, faded := nanoseconds(word), fade(word, millis); took < average {
			// What has faded of the old is filled up with the new.
			next = faded + took*(1-faded/average)
		}
		sum := uint64(math.Float32bits(float32(next)))<<32 | uint64(millis)
		if l.word.CompareAndSwap(word, sum) {
			return
		}
	}
}

// millis is the time since born. It begins again after seven weeks; an average that
// old is then taken for a new one.
func (l *latency) millis(now time.Time) uint32 {
	return uint32(now.Sub(l.born) / time.Millisecond)
}

func nanoseconds(word uint64) float64 {
	return float64(math.Float32frombits(uint32(word >> 32)))
}

func fade(word uint64, millis uint32) float64 {
	// The clock of one core may be read a little before that of another: a
	// difference just below zero is none.
	age := max(int32(millis-uint32(word)), 0)
	return nanoseconds(word) * math.Exp(-float64(age)/float64(latencyDecay/time.Millisecond))
}
