package upstream

import (
	"time"

	"github.com/sallyport/sallyport/internal/meter"
)

// Stats are the counts of a [Pool] and of the pools that it has replaced.
type Stats struct {
	// Answers counts the requests by their final answer, however many nodes were tried.
	// Answers[0] counts those without one.
	Answers StatusCounts

	// Wait is how long it took until the head of the answer came, or until the request was
	// given up.
	Wait Histogram

	// Retries counts the attempts beyond the first of each request.
	Retries uint64
}

// StatusCounts are counts by class of status: StatusCounts[2] counts 200 to 299, and
// StatusCounts[0] requests without an answer.
type StatusCounts [6]uint64

// Total returns the sum.
func (c StatusCounts) Total() (n uint64) {
	for _, v := range c {
		n += v
	}
	return n
}

// A Histogram says how long something took. The Histogram types of packages ssl, upstream
// and gateway can be converted to each other.
type Histogram struct {
	// Bounds are the upper bounds of the buckets, inclusive, in ascending order. They are the
	// same for every Histogram, and must not be changed.
	Bounds []time.Duration

	// Counts has a count for each of Bounds, and a last one for what took longer. A count does
	// not include the buckets below. Counts is nil as long as there is nothing to count.
	Counts []uint64

	Sum   time.Duration // of all
	Count uint64        // of all; the sum of Counts
}

// Stats returns the current counts. It takes no lock. The counts are read one after another
// while requests go on. [*Pool.Nodes] has those of each node.
func (p *Pool) Stats() Stats {
	s := Stats{Answers: p.counts.requests.Answers(), Wait: Histogram{Bounds: meter.Bounds()}, Retries: p.counts.retries.Load()}
	if s.Answers.Total() > 0 {
		wait, _ := p.counts.requests.Duration(nil)
		s.Wait = Histogram(wait)
	}
	return s
}
