package upstream

import (
	"sync/atomic"

	"github.com/sallyport/sallyport/internal/meter"
)

// counts are what is counted for a pool and those that it replaces, which share them. Each
// request adds to three integers.
type counts struct {
	requests meter.Requests
	retries  atomic.Uint64
}

// count counts a call that is over, but for the body of its answer.
func (c *call) count() {
	of := c.pool.counts
	c.ended = c.pool.now()
	of.requests.Count(c.status, c.ended-c.arrived)
	if c.tries > 1 {
		of.retries.Add(uint64(c.tries - 1))
	}
}
