package upstream

import (
	"math/rand/v2"
	"time"
)

// A node that returns gets less at first: its weight grows from nothing to its whole
// in the course of Config.SlowStart.

// coldest is the least part of its weight that a node has where balancers divide by
// it.
const coldest = 0.01

// warm begins the slow start of a node.
func (p *Pool) warm(m *member) {
	if p.u.config.SlowStart > 0 {
		m.cond.warmingSince.Store(int64(p.now()))
		m.cond.word.Or(uint64(warmingMark))
	}
}

// warmth is the part of its weight that a node has now: 1 unless it has just
// returned.
func (p *Pool) warmth(m *member) float64 {
	if m.cond.tally()&warmingMark == 0 {
		return 1
	}
	since := time.Duration(m.cond.warmingSince.Load())
	if part := float64(p.now()-since) / float64(p.u.config.SlowStart); part < 1 {
		return max(part, coldest)
	}
	m.cond.word.And(^uint64(warmingMark))
	return 1
}

// warmEnough is true for as many of the times that a node's turn comes as its warmth
// says.
func (c *Candidates) warmEnough(i int) bool {
	part := c.pool.warmth(&c.pool.members[i])
	return part == 1 || rand.Float64() < part
}
