package route

import (
	"cmp"
	"math/bits"
	"slices"
)

// A node is the root of a radix tree over the bytes of paths: the routes of one
// host. The first byte of a path after those of the node decides which child it
// goes on to. The bytes that are skipped so are compared where there are
// candidates, once and for the whole path.
//
// The tree of a set of routes has one shape, whichever way it was reached: a node
// without candidates has two children or more, and the tree of no routes is nil.
//
// BenchmarkMatch at 100 000 routes counts misses of the CPU's cache. For that the
// children are values, which takes a third off its time, and what a search reads on
// its way down comes first and is as long as a line. BenchmarkWith counts what is
// copied: for that everything else is behind a pointer.
type node struct {
	// children are the nodes whose paths are longer, ordered by the first byte
	// after the path of this one, which is depth bytes long. has is the set of
	// these bytes.
	children []node
	has      byteSet
	depth    int

	leaf *leaf // nil if there are no candidates

	// owner is the edit that made the node. Only it may change the node.
	owner *edit
}

// A leaf has the candidates of a node.
type leaf struct {
	path string

	// exact are the routes for this path, prefix those whose patterns are cut to
	// it. Both are in the order in which they are tried.
	exact, prefix []candidate
}

// An edit is one call of With or Without. What it has copied is its own to change
// until it returns: it copies a node once, however many routes it puts there.
type edit struct {
	_ byte // pointers to distinct values without size may be equal
}

// A candidate is a route in a table, with one of its patterns.
type candidate struct {
	route   *Route
	pattern *pattern

	// age is lower for a route that was there earlier.
	age uint64

	// methods is that of the route: most routes that do not take the method are
	// passed over without a look at them (BenchmarkMatchAdversarial).
	methods methodBits

	// conditional says that method and cut are not all that counts.
	conditional bool

	// host is the first of the route's hosts with the name that has led to the tree, or
	// allHosts.
	host int32
}

// allHosts is [candidate.host] in a tree to which no host leads: there, each is as good.
const allHosts = -1

// compareCandidates is the order in which routes of one list are tried: the higher
// priority, the longer pattern, the older route.
func compareCandidates(a, b candidate) int {
	return cmp.Or(
		cmp.Compare(b.route.priority, a.route.priority),
		cmp.Compare(len(b.pattern.text), len(a.pattern.text)),
		cmp.Compare(a.age, b.age),
		cmp.Compare(a.pattern.text, b.pattern.text),
	)
}

// indexOf returns where c is in a list that has it. Where one route is being replaced by
// another, there are two of the same rank.
func indexOf(list []candidate, c candidate) int {
	i, _ := slices.BinarySearchFunc(list, c, compareCandidates)
	return i + slices.Index(list[i:], c)
}

// writable returns a node for e to change: n itself if it is e's, or else a copy.
// For nil that is a new node for what is cut to path.
func (n *node) writable(e *edit, path string) *node {
	switch {
	case n == nil:
		return newNode(e, path)
	case n.owner == e:
		return n
	}
	copied := *n
	return &copied
}

func newNode(e *edit, path string) *node {
	return &node{depth: len(path), leaf: &leaf{path: path}, owner: e}
}

// own makes e the owner of n, which must be writable: what it points to becomes a
// copy, with room for so many more children.
func (n *node) own(e *edit, more int) {
	if n.owner == e {
		return
	}
	n.owner = e
	n.children = append(make([]node, 0, len(n.children)+more), n.children...)
	if n.leaf != nil {
		n.leaf = &leaf{n.leaf.path, slices.Clone(n.leaf.exact), slices.Clone(n.leaf.prefix)}
	}
}

// path returns the path of n.
func (n *node) path() string {
	below := n
	for below.leaf == nil {
		below = &below.children[0]
	}
	return below.leaf.path[:n.depth]
}

// nearest returns the path at which the way of a path through the tree ends. Where
// the two part, it leaves the tree as well.
func (n *node) nearest(path string) string {
	for n.depth < len(path) {
		i, ok := n.has.rank(path[n.depth])
		if !ok {
			break
		}
		n = &n.children[i]
	}
	return n.path()
}

// add puts c at the cut of its pattern, which is at n or below. n must be writable.
func (n *node) add(e *edit, c candidate) {
	n.addBelow(e, c, commonPrefix(n.nearest(c.pattern.cut), c.pattern.cut))
}

// addBelow is the recursive part of add. So many bytes of the cut are in the tree: they
// are compared once for all nodes, lest a tree of long paths takes a time that is
// quadratic in their length (BenchmarkBuildAdversarial).
func (n *node) addBelow(e *edit, c candidate, common int) {
	cut := c.pattern.cut
	if common < n.depth {
		lower := *n
		*n = node{depth: common, children: []node{lower}, owner: e}
		n.has.flip(lower.path()[common])
	}
	if n.depth == len(cut) {
		n.own(e, 0)
		if n.leaf == nil {
			n.leaf = &leaf{path: cut}
		}
		list := n.leaf.list(c.pattern)
		i, _ := slices.BinarySearchFunc(*list, c, compareCandidates)
		*list = slices.Insert(*list, i, c)
		return
	}
	i, ok := n.has.rank(cut[n.depth])
	if ok {
		n.own(e, 0)
	} else {
		n.own(e, 1)
		n.has.flip(cut[n.depth])
		n.children = slices.Insert(n.children, i, *newNode(e, cut))
		common = len(cut)
	}
	n.children[i].addBelow(e, c, common)
}

// remove takes c from where it must be. n must be writable.
func (n *node) remove(e *edit, c candidate) {
	n.own(e, 0)
	if cut := c.pattern.cut; n.depth == len(cut) {
		list := n.leaf.list(c.pattern)
		i := indexOf(*list, c)
		*list = slices.Delete(*list, i, i+1)
		if len(n.leaf.exact)+len(n.leaf.prefix) == 0 {
			n.leaf = nil
		}
	} else {
		i, _ := n.has.rank(cut[n.depth])
		n.children[i].remove(e, c)
		if n.children[i].isEmpty() {
			n.has.flip(cut[n.depth])
			n.children = slices.Delete(n.children, i, i+1)
		}
	}
	if n.leaf == nil && len(n.children) == 1 {
		*n = n.children[0]
	}
}

// isEmpty reports whether there is no route at n or below.
func (n *node) isEmpty() bool { return n.leaf == nil && len(n.children) == 0 }

// list returns the list of a pattern whose cut is the path of l.
func (l *leaf) list(p *pattern) *[]candidate {
	if p.exact {
		return &l.exact
	}
	return &l.prefix
}

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
