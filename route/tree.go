package route

import (
	"cmp"
	"math/bits"
	"slices"
)

// A node is the root of a radix tree over the bytes of paths: the routes of one
// host. The first byte of a path after that of the node decides which child it
// goes on to. The bytes that are skipped so are compared where there are
// candidates, once and for the whole path.
//
// The tree of a set of routes has one shape, whichever way it was reached: a node
// without candidates has two children or more, and the tree of no routes is nil.
//
// BenchmarkMatch at 100 000 routes counts misses of the CPU's cache. For that the
// children are values, which takes a third off its time, and the fields that a
// search reads on its way down come first and fill one line.
type node struct {
	// children are the nodes whose paths are longer, ordered by the first byte
	// after path. has is the set of these bytes.
	children []node
	path     string // what every path at or below this node begins with
	has      byteSet

	// exact are the routes for this path, prefix those for every path that
	// begins so. Both are in the order in which they are tried.
	exact, prefix []candidate

	// owner is the edit that made the node. Only it may change the node.
	owner *edit
}

// An edit is one call of With or Without. What it has copied is its own to change
// until it returns: it copies a node once, however many routes it puts there.
type edit struct {
	_ byte // pointers to distinct values without size may be equal
}

// A candidate is a route in a table.
type candidate struct {
	route *Route

	// age is lower for a route that was there earlier.
	age uint64

	// methods is that of the route: most routes that do not take the method are
	// passed over without a look at them (BenchmarkMatchAdversarial).
	methods methodBits
}

// compareCandidates is the order in which routes of one list are tried.
//
// Of two patterns that are cut to the same prefix, APISIX tries the longer one
// before the older one. Here the star is the last character of both: they are
// equally long.
func compareCandidates(a, b candidate) int {
	return cmp.Or(
		cmp.Compare(b.route.priority, a.route.priority),
		cmp.Compare(a.age, b.age),
	)
}

// writable returns a node for e to change: n itself if it is e's, or else a copy.
// For nil that is a new node with the given path.
func (n *node) writable(e *edit, path string) *node {
	switch {
	case n == nil:
		return &node{path: path, owner: e}
	case n.owner == e:
		return n
	}
	copied := *n
	return &copied
}

// own makes e the owner of n, which must be writable: its slices become copies,
// with room for so many more children.
func (n *node) own(e *edit, more int) {
	if n.owner == e {
		return
	}
	n.owner = e
	n.children = append(make([]node, 0, len(n.children)+more), n.children...)
	n.exact = slices.Clone(n.exact)
	n.prefix = slices.Clone(n.prefix)
}

// add puts c at p, which is at n or below. n must be writable.
func (n *node) add(e *edit, p pattern, c candidate) {
	if common := commonPrefix(n.path, p.path); common < len(n.path) {
		lower := *n
		*n = node{path: lower.path[:common], children: []node{lower}, owner: e}
		n.has.flip(lower.path[common])
	}
	at := len(n.path)
	if at == len(p.path) {
		n.own(e, 0)
		list := n.list(p)
		i, _ := slices.BinarySearchFunc(*list, c, compareCandidates)
		*list = slices.Insert(*list, i, c)
		return
	}
	i, ok := n.has.rank(p.path[at])
	if ok {
		n.own(e, 0)
	} else {
		n.own(e, 1)
		n.has.flip(p.path[at])
		n.children = slices.Insert(n.children, i, node{path: p.path, owner: e})
	}
	n.children[i].add(e, p, c)
}

// remove takes c from p, where it must be. n must be writable.
func (n *node) remove(e *edit, p pattern, c candidate) {
	n.own(e, 0)
	if at := len(n.path); at == len(p.path) {
		list := n.list(p)
		i := slices.Index(*list, c)
		*list = slices.Delete(*list, i, i+1)
	} else {
		i, _ := n.has.rank(p.path[at])
		n.children[i].remove(e, p, c)
		if n.children[i].isEmpty() {
			n.has.flip(p.path[at])
			n.children = slices.Delete(n.children, i, i+1)
		}
	}
	if len(n.exact)+len(n.prefix) == 0 && len(n.children) == 1 {
		*n = n.children[0]
	}
}

// list returns the candidates of p, whose path is that of n.
func (n *node) list(p pattern) *[]candidate {
	if p.prefix {
		return &n.prefix
	}
	return &n.exact
}

// isEmpty reports whether there is no route at n or below.
func (n *node) isEmpty() bool { return len(n.exact)+len(n.prefix)+len(n.children) == 0 }

// commonPrefix returns how many bytes a and b begin with that are the same.
func commonPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// A byteSet is a set of bytes.
type byteSet [4]uint64

// rank returns how many bytes of s are less than c, and whether c is one of s.
func (s *byteSet) rank(c byte) (int, bool) {
	word, bit := c>>6, uint64(1)<<(c&63)
	rank := bits.OnesCount64(s[word] & (bit - 1))
	for i := range word {
		rank += bits.OnesCount64(s[i])
	}
	return rank, s[word]&bit != 0
}

// flip puts c into s or takes it out.
func (s *byteSet) flip(c byte) { s[c>>6] ^= 1 << (c & 63) }
