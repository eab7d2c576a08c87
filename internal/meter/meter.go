// Package meter counts what happens, where it happens often: without a lock, without
// allocating, by adding to an integer or three.
package meter

import (
	"slices"
	"sync/atomic"
	"time"
)

// bounds are those of a [Histogram]: fine where an answer of a near node or a handshake
// is, and wide enough for a timeout.
var bounds = []time.Duration{
	500 * time.Microsecond, 1 * time.Millisecond, 2500 * time.Microsecond,
	5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond,
	500 * time.Millisecond, 1 * time.Second, 2500 * time.Millisecond,
	5 * time.Second, 10 * time.Second, 30 * time.Second,
}

// Buckets is how many a [Histogram] has: one for each bound, and one for what is above.
const Buckets = 16

// Bounds returns the upper bounds of the buckets, each included. They must not be
// changed.
func Bounds() []time.Duration { return bounds }

// A Histogram counts how long something took. The zero Histogram is empty.
type Histogram struct {
	counts [Buckets]atomic.Uint64
	sum    atomic.Int64
}

// Observe counts one duration. A negative one counts as none.
func (h *Histogram) Observe(d time.Duration) {
	d = max(d, 0)
	i := 0
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

// A Distribution is what a Histogram has counted. The types called Histogram in the API
// have its fields.
type Distribution struct {
	Bounds []time.Duration
	Counts []uint64
	Sum    time.Duration
	Count  uint64
}

// Read returns what was counted. Counts are appended to room, so that those of many can
// be in one piece of memory.
func (h *Histogram) Read(room []uint64) (d Distribution, rest []uint64) {
	room = slices.Grow(room, Buckets)
	d = Distribution{Bounds: bounds, Sum: time.Duration(h.sum.Load())}
	start := len(room)
	for i := range h.counts {
		n := h.counts[i].Load()
		room = append(room, n)
		d.Count += n
	}
	d.Counts = room[start:len(room):len(room)]
	return d, room
}

// Classes is how many classes of status there are: see [Class].
const Classes = 6

// Class returns the class of a status: 1 for 100 to 199 and so on, and 0 for none. A status
// above 599 has no meaning, and counts as 500 (RFC 9110, section 15).
func Class(status int) int {
	if status < 100 {
		return 0
	}
	return min(status/100, Classes-1)
}

// Requests count requests by the class of their answer, and how long they took. The zero
// Requests is empty.
type Requests struct {
	answers  [Classes]atomic.Uint64
	duration Histogram
}

// Count counts a request.
func (r *Requests) Count(status int, took time.Duration) {
	r.CountAnswer(status)
	r.duration.Observe(took)
}

// CountAnswer counts a request of which it does not matter how long it took.
func (r *Requests) CountAnswer(status int) { r.answers[Class(status)].Add(1) }

// Answers returns the counts by class.
func (r *Requests) Answers() (counts [Classes]uint64) {
	for i := range counts {
		counts[i] = r.answers[i].Load()
	}
	return counts
}

// Duration returns how long they took, as [*Histogram.Read].
func (r *Requests) Duration(room []uint64) (Distribution, []uint64) { return r.duration.Read(room) }
