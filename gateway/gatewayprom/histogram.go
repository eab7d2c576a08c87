package gatewayprom

import (
	"time"

	"github.com/sallyport/sallyport/upstream"
)

// A histogram adds up those of a gateway.
type histogram struct {
	bounds []time.Duration
	counts []uint64 // not cumulative; the last is of what is beyond the bounds
	sum    time.Duration
	n      uint64
}

func (h *histogram) add(other *upstream.Histogram) {
	if h.bounds == nil {
		h.bounds = other.Bounds
		h.counts = make([]uint64, len(other.Bounds)+1)
	}
	for i, n := range other.Counts {
		h.counts[i] += n
	}
	h.sum += other.Sum
	h.n += other.Count
}

// of makes a histogram of one alone.
func of(other upstream.Histogram) *histogram {
	h := &histogram{}
	h.add(&other)
	return h
}

// buckets returns the counts as Prometheus has them: by the upper bound in seconds, each
// with those below.
func (h *histogram) buckets() map[float64]uint64 {
	b := make(map[float64]uint64, len(h.bounds))
	var n uint64
	for i, bound := range h.bounds {
		n += h.counts[i]
		b[bound.Seconds()] = n
	}
	return b
}
