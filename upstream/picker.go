package upstream

import "net/http"

// A picker chooses the node for a request. Each balancer is one, in a file of its
// own. It is used by many goroutines at once and allocates nothing.
type picker interface {
	// pick returns the index of a node that is not in tried, or -1 if there is
	// none that the balancer would use.
	pick(req *http.Request, tried *nodeSet) int
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
