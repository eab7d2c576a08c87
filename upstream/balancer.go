package upstream

import (
	"cmp"
	"slices"
)

// A level is the nodes of one priority, and what their balancer works with. It never
// changes.
type level struct {
	nodes   []int // indexes, in the order of Config.Nodes
	weights []int // theirs: as configured, or all 1 if all are 0 (APISIX)

	order *order // of the balancer roundrobin
	ring  *ring  // of chash
}

// newLevels returns the levels, the one that comes first first.
func newLevels(nodes []Node) []level {
	byPriority := make([]int, len(nodes))
	for i := range nodes {
		byPriority[i] = i
	}
	slices.SortStableFunc(byPriority, func(a, b int) int {
		return cmp.Compare(nodes[b].Priority, nodes[a].Priority)
	})
	var levels []level
	for k, i := range byPriority {
		if k == 0 || nodes[i].Priority != nodes[byPriority[k-1]].Priority {
			levels = append(levels, level{})
		}
		last := &levels[len(levels)-1]
		last.nodes = append(last.nodes, i)
		last.weights = append(last.weights, max(0, nodes[i].Weight)) // New refuses less
	}
	for i := range levels {
		if weights := levels[i].weights; slices.Max(weights) == 0 {
			for k := range weights {
				weights[k] = 1
			}
		}
	}
	return levels
}

// compileBalancer makes the levels. The nodes are checked already.
func (u *Upstream) compileBalancer(fault faultFunc) {
	c := &u.config
	switch c.Balancer {
	case "", BalancerRoundRobin, BalancerCHash, BalancerLeastConn, BalancerEWMA:
	default:
		fault("Balancer", `is %q, and must be "roundrobin", "chash", "least_conn" or "ewma"`, c.Balancer)
	}
	if c.Picker != nil && c.Balancer != "" {
		fault("Balancer", "is %q, and Picker is set as well: leave one of them out", c.Balancer)
	}
	u.timed = c.Balancer == BalancerEWMA
	u.compileHashKey(fault)

	u.levels = newLevels(c.Nodes)
	if c.Balancer != BalancerCHash {
		return
	}
	total := 0
	for i := range u.levels {
		l := &u.levels[i]
		_, sum := reduce(l.weights)
		total += int(sum)
	}
	if total > maxRingWeight {
		fault("Nodes", "have weights of %d in sum, without what they have in common, and chash keeps %d points for each: the most is %d", total, pointsPerWeight, maxRingWeight)
	}
}

// buildBalancers does the work that is only worth it for a Config without faults.
func (u *Upstream) buildBalancers() {
	for i := range u.levels {
		l := &u.levels[i]
		switch {
		case u.config.Picker != nil:
		case u.config.Balancer == BalancerCHash:
			l.ring = newRing(l, u.targets)
		case u.config.Balancer == "" || u.config.Balancer == BalancerRoundRobin:
			l.order = newOrder(l.weights)
		}
	}
}

// newPicker returns the balancer of a level at work.
func (u *Upstream) newPicker(l *level, members []member) Picker {
	if u.config.Picker != nil {
		return u.config.Picker
	}
	switch u.config.Balancer {
	case BalancerCHash:
		return &chash{ring: l.ring, key: &u.hashKey}
	case BalancerLeastConn:
		return newLeastConn(l, members)
	case BalancerEWMA:
		return &ewma{nodes: l.nodes}
	default:
		return newRoundRobin(l)
	}
}

// reduce returns the weights without what they have in common, and their sum. Not all
// are zero.
func reduce(weights []int) (reduced []uint64, sum uint64) {
	reduced = make([]uint64, len(weights))
	common := uint64(0)
	for _, w := range weights {
		common = gcd(common, uint64(w))
	}
	for i, w := range weights {
		reduced[i] = uint64(w) / common
		sum += reduced[i]
	}
	return reduced, sum
}

// commonMultiple returns the least number that every weight divides, or 0 if that is more
// than most. Weights that are zero do not count.
func commonMultiple(weights []uint64, most uint64) uint64 {
	multiple := uint64(1)
	for _, w := range weights {
		switch {
		case w == 0:
			continue
		case w > most:
			return 0
		}
		if multiple *= w / gcd(multiple, w); multiple > most {
			return 0
		}
	}
	return multiple
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
