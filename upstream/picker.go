package upstream

import "net/http"

// This file is the choice of a node, for each attempt of each request. It takes no
// lock and allocates nothing. BenchmarkPick keeps watch on time, TestPickAllocs on
// allocations.

// A Picker is a balancer of your own: see [Config.Picker].
type Picker interface {
	// Pick returns the index of the node for the next attempt of a request. The node must be
	// usable (see [Candidates.Usable]). Any other number means that there is none, and the next
	// priority level is tried.
	//
	// It is called by many goroutines at once while a request waits, and must keep neither req
	// nor c.
	Pick(req *http.Request, c *Candidates) int
}

// Candidates are the nodes of a pool as seen by one attempt of one request. Their indexes
// are those of [Config.Nodes].
type Candidates struct {
	pool    *Pool
	tried   nodeSet // in this request
	level   int     // whose turn it is
	ejected bool    // who is ejected does not count: every healthy node is
	all     bool    // health does not count either: no node is healthy

	// For chash: see hashKey.
	vars   Vars
	hash   uint32
	hashed bool
}

// Len returns how many nodes there are, usable or not.
func (c *Candidates) Len() int { return len(c.pool.members) }

// Usable reports whether a node may be picked: it has not been tried for this request, its
// Weight is above zero, it is the turn of its priority level, and it is neither unhealthy
// (unless all nodes are) nor ejected (unless all healthy nodes are).
func (c *Candidates) Usable(i int) bool {
	if !c.inTurn(i) {
		return false
	}
	m := &c.pool.members[i]
	return c.all || c.pool.available(m) || c.ejected && !m.cond.tally().down()
}

// inTurn is Usable, but for the health of the node.
func (c *Candidates) inTurn(i int) bool {
	m := &c.pool.members[i]
	return m.level == c.level && m.weight > 0 && !c.tried.has(i)
}

// Weight returns the share of a node in proportion to the others of its level: its
// configured weight, or 1 if all of them have zero. During a slow start it is less.
func (c *Candidates) Weight(i int) float64 {
	m := &c.pool.members[i]
	return float64(m.weight) * c.pool.warmth(m)
}

// InFlight returns how many requests the node has now.
func (c *Candidates) InFlight(i int) int {
	return int(c.pool.members[i].state.inFlight.Load())
}

// Address returns what identifies a node, "10.0.0.1:80": its index may change when the pool
// is replaced.
func (c *Candidates) Address(i int) string { return c.pool.members[i].address }

// pick returns the node for the next attempt, or -1 if there is none.
func (c *Candidates) pick(req *http.Request) int {
	c.ejected, c.all = false, false
	i := c.byLevel(req)
	if i >= 0 || !c.pool.noneAvailable() {
		return i
	}
	if !c.pool.noneHealthy() {
		c.ejected = true
		return c.byLevel(req)
	}
	if c.pool.u.config.FailWhenUnhealthy {
		return -1
	}
	c.all = true
	return c.byLevel(req)
}

// byLevel returns a usable node. A level comes after every usable node of those
// before it.
func (c *Candidates) byLevel(req *http.Request) int {
	for c.level = range c.pool.pickers {
		if !c.any() {
			continue
		}
		i := c.pool.pickers[c.level].Pick(req, c)
		// A Picker may be mistaken. But that the node has become unhealthy just now is
		// no reason to do without one.
		if uint(i) < uint(len(c.pool.members)) && c.inTurn(i) {
			return i
		}
	}
	return -1
}

// any reports whether a node of the level is usable. Usually its first is. So a
// balancer need not be quick to find out that there is none.
func (c *Candidates) any() bool {
	for _, i := range c.pool.u.levels[c.level].nodes {
		if c.Usable(i) {
			return true
		}
	}
	return false
}

// A nodeSet is a set of indexes of nodes. The zero nodeSet is empty; it allocates
// for an index over 63 only.
type nodeSet struct {
	low  uint64
	high []uint64
}

func (s *nodeSet) add(i int) {
	if i < 64 {
		s.low |= 1 << i
		return
	}
	word := i/64 - 1
	for len(s.high) <= word {
		s.high = append(s.high, 0)
	}
	s.high[word] |= 1 << (i % 64)
}

func (s *nodeSet) has(i int) bool {
	if i < 64 {
		return s.low&(1<<i) != 0
	}
	word := i/64 - 1
	return word < len(s.high) && s.high[word]&(1<<(i%64)) != 0
}
