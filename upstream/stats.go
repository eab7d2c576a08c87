package upstream

import (
	"time"

	"github.com/sallyport/sallyport/internal/meter"
)

// Stats are the counts of a [Pool], and of those that it has replaced.
type Stats struct {
	// Answers counts the requests by the answer that came of them in the end, however
	// many nodes were tried. Answers[0] counts those without one.
	Answers StatusCounts

	// Wait is how long it took until the head of the answer came, or until the request
	// was given up.
	Wait Histogram

	// Retries counts the attempts beyond the first of each request.
	Retries uint64
}

// StatusCounts count by the class of a status: StatusCounts[2] counts 200 to 299, and
// StatusCounts[0] what has none.
type StatusCounts [6]uint64

// Total is the sum.
func (c StatusCounts) Total() (n uint64) {
	for _, v := range c {
		n += v
	}
	return n
}

// A Histogram says how long something took. The types of this name in the packages ssl,
// upstream and gateway convert to each other.
type Histogram struct {
	// Bounds are the upper bounds of the buckets, each included, in ascending order. They
	// are the same for every Histogram, and must not be changed.
	Bounds []time.Duration

	// Counts has a count for each of Bounds, which is not that of the buckets below as
	// well, and last one for what took longer. It is nil as long as there is nothing to
	// count.
	Counts []uint64

	Sum   time.Duration // of all
	Count uint64        // of all, which is the sum of Counts
}

// Stats returns the counts of the moment. It takes no lock. The counts are read one after
// another while requests go on. [*Pool.Nodes] has those of each node.
func (p *Pool) Stats() Stats {
	s := Stats{Answers: p.counts.requests.Answers(), Wait: Histogram{Bounds: meter.Bounds()}, Retries: p.counts.retries.Load()}
	if s.Answers.Total() > 0 {
		wait, _ := p.counts.requests.Duration(nil)
		s.Wait = Histogram(wait)
	}
	return s
}
