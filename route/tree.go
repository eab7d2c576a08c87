package route

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/sallyport/sallyport/internal/hamt"
)

// A node is the root of a radix tree over the bytes of paths: the routes of one
// host. What comes in a path behind the depth of the node decides which child it
// goes on to. The bytes that are skipped so are compared where there are
// candidates, once and for the whole path.
//
// A path is read in two steps a byte, see [digit], so that a node has up to 64
// children. Nearly always, the second step of a byte is among those that are skipped.
//
// The tree of a set of routes has one shape, whichever way it was reached: a node
// without candidates has two children or more, and the tree of no routes is nil.
//
// BenchmarkMatch at 100 000 routes counts misses of the CPU's cache, BenchmarkWith the bytes
// that are copied: the nodes on the way, each with pointers to its children (the values
// would be six times as long) and without what only a node with candidates has.
type node struct {
	// children are the nodes whose paths are longer, ordered by the digit after
	// the path of this one, which is depth steps long. has is the set of these
	// digits.
	has      uint64
	children []*node
	depth    uint32

	// owner is the edit that made the node. Only it may change the node.
	owner edit

	*lists // nil if there are no candidates
}

// Lists are the candidates of a node, and the path that they are for.
type lists struct {
	path string

	// all are in the order in which they are tried. The exact ones, which are for the path
	// of the node itself, go before those whose patterns are cut to it.
	all    []candidate
	exacts uint32 // how many are exact

	// owner is the edit that made the lists. Only it may change them.
	owner edit
}

// exact and prefix are the two lists.
func (l *lists) exact() []candidate  { return l.all[:l.exacts] }
func (l *lists) prefix() []candidate { return l.all[l.exacts:] }

// An edit is one call of With or Without. What it has copied is its own to change
// until it returns: it copies a node once, however many routes it puts there.
//
// It is the number of calls, itself included, that led to the table that it makes.
// Other tables may have nodes of the same number, but none that are in this one.
// [hamt.NoEdit] is the owner of a node that nobody may change: see [leafOf].
type edit = hamt.Edit

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

// compareCandidates is the order in which the routes of one path are tried: the exact ones,
// the higher priority, the longer pattern, the older route.
func compareCandidates(a, b candidate) int {
	if a.pattern.exact != b.pattern.exact {
		if a.pattern.exact {
			return -1
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(b.route.priority, a.route.priority),
		cmp.Compare(len(b.pattern.text), len(a.pattern.text)),
		cmp.Compare(a.age, b.age),
		cmp.Compare(a.pattern.text, b.pattern.text),
	)
}

// indexOf returns where c is in a list, or -1. The route that replaces another has its
// rank.
func indexOf(list []candidate, c candidate) int {
	i, there := slices.BinarySearchFunc(list, c, compareCandidates)
	if !there || list[i] != c {
		return -1
	}
	return i
}

// A digit is what one step reads of a path.
//
// Each byte takes two: six bits of it, and then the other two, which count only where
// there are bytes that have the six in common. The six are such that these are rare:
// none of letters, digits of hexadecimal numbers, and what stands between words.
//
//	/  0-9  a-z  A-L      // all different
//	-  M, .  N, /  O      // alike
//	0  P, 1  Q ... 9  Y
func digit(path string, depth uint32) uint8 {
	c := path[depth/2]
	if depth%2 != 0 {
		return c >> 6
	}
	return (c ^ ^c>>1&0x20) & 0x3f
}

// steps is the depth of what is cut to path.
func steps(path string) uint32 { return 2 * uint32(len(path)) }

// commonSteps returns how many steps a and b begin with that read the same.
func commonSteps(a, b string) uint32 {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			same := 2 * uint32(i)
			if digit(a, same) == digit(b, same) {
				same++
			}
			return same
		}
	}
	return 2 * uint32(n)
}

// Nodes with room for some children, or for a candidate, which are in one allocation with
// them. Most nodes are leaves, and most of these have one candidate: two lines of the CPU's
// cache, side by side.
type (
	node4 struct {
		node
		room [4]*node
	}
	node16 struct {
		node
		room [16]*node
	}
	leaf struct {
		node
		own  lists
		room [1]candidate
	}
)

// newNode returns a node without candidates that has room for some children.
func newNode(e edit, depth uint32, children int) *node {
	var n *node
	switch {
	case children <= 4:
		n4 := &node4{}
		n = &n4.node
		n.children = n4.room[:0]
	case children <= 16:
		n16 := &node16{}
		n = &n16.node
		n.children = n16.room[:0]
	default:
		n = &node{children: make([]*node, 0, children)}
	}
	n.depth, n.owner = depth, e
	return n
}

// newLeaf returns a node without children that has some candidates: all are for path.
func newLeaf(e edit, path string, exacts uint32, all ...candidate) *node {
	l := &leaf{}
	l.init(e, path, exacts, all...)
	return &l.node
}

func (l *leaf) init(e edit, path string, exacts uint32, all ...candidate) {
	l.own = lists{path, append(l.room[:0], all...), exacts, e}
	l.node = node{depth: steps(path), owner: e, lists: &l.own}
}

// leafOf returns the node of one candidate: that which the route has with it, unless another
// place has it already. There, it stays as it is, lest a route that is kept when its table is
// not keeps the nodes and routes that came to be below or beside it.
func leafOf(e edit, c candidate) *node {
	exacts := uint32(0)
	if c.pattern.exact {
		exacts = 1
	}
	if r := c.route; !r.placed.Load() && r.placed.CompareAndSwap(false, true) {
		r.leaf.init(hamt.NoEdit, c.pattern.cut, exacts, c)
		return &r.leaf.node
	}
	return newLeaf(e, c.pattern.cut, exacts, c)
}

// writable returns a node for e to change, with room for so many more children: n
// itself if it is e's, or else a copy. A leaf, with which its lists are, gets no children:
// who has the lists, as a copy may, would keep these and what is below them.
func (n *node) writable(e edit, more int) *node {
	children := len(n.children) + more
	if n.owner == e && (more == 0 || len(n.children) > 0) {
		return n
	}
	if children == 0 {
		return newLeaf(e, n.path, n.exacts, n.all...)
	}
	copied := newNode(e, n.depth, children)
	copied.has, copied.lists = n.has, n.lists
	copied.children = append(copied.children, n.children...)
	return copied
}

// rank returns how many children of n stand before that of a digit, and whether there
// is one.
func (n *node) rank(d uint8) (int, bool) {
	bit := uint64(1) << (d & 0x3f)
	return bits.OnesCount64(n.has & (bit - 1)), n.has&bit != 0
}

// flip notes that a child has come or gone.
func (n *node) flip(d uint8) { n.has ^= 1 << d }

// below returns a path that begins as all of n do.
func (n *node) below() string {
	for n.lists == nil {
		n = n.children[0]
	}
	return n.path
}

// nearest returns a path that begins with as much of a path as there is in the tree.
func (n *node) nearest(path string) string {
	for n.depth < steps(path) {
		i, ok := n.rank(digit(path, n.depth))
		if !ok {
			break
		}
		n = n.children[i]
	}
	return n.below()
}

// add returns the tree with c at the cut of its pattern.
func (n *node) add(e edit, c candidate) *node {
	if n == nil {
		return leafOf(e, c)
	}
	return n.addBelow(e, c, commonSteps(n.nearest(c.pattern.cut), c.pattern.cut))
}

// addBelow is the recursive part of add. So many steps of the cut are in the tree: they
// are compared once for all nodes, lest a tree of long paths takes a time that is
// quadratic in their length (BenchmarkBuildAdversarial).
func (n *node) addBelow(e edit, c candidate, common uint32) *node {
	cut := c.pattern.cut
	if common < n.depth {
		above := newNode(e, common, 2)
		above.flip(digit(n.below(), common))
		above.children = append(above.children, n)
		n = above
	}
	if n.depth == steps(cut) {
		if len(n.children) == 0 && len(n.all) == 1 && compareCandidates(n.all[0], c) == 0 {
			return leafOf(e, c) // instead of the one that it replaces
		}
		n = n.writable(e, 0)
		n.put(e, c)
		return n
	}
	d := digit(cut, n.depth)
	i, ok := n.rank(d)
	if !ok {
		n = n.writable(e, 1)
		n.flip(d)
		n.children = inserted(n.children, i, leafOf(e, c))
		return n
	}
	n = n.writable(e, 0)
	n.children[i] = n.children[i].addBelow(e, c, common)
	return n
}

// remove returns the tree without c, which must be there, unless add has put the one that
// replaces it in its place.
func (n *node) remove(e edit, c candidate) *node {
	if cut := c.pattern.cut; n.depth == steps(cut) {
		n = n.take(e, c)
	} else {
		d := digit(cut, n.depth)
		i, _ := n.rank(d)
		child := n.children[i].remove(e, c)
		n = n.writable(e, 0)
		if child != nil {
			n.children[i] = child
		} else {
			n.flip(d)
			n.children = slices.Delete(n.children, i, i+1)
		}
	}
	if n != nil && n.lists == nil && len(n.children) == 1 {
		return n.children[0]
	}
	return n
}

// put adds c to the candidates of n, which must be e's. It takes the place of one of the
// same rank: that of the route which it replaces.
func (n *node) put(e edit, c candidate) {
	if n.lists == nil {
		n.lists = &lists{path: c.pattern.cut, owner: e}
	}
	n.ownLists(e)
	i, there := slices.BinarySearchFunc(n.all, c, compareCandidates)
	if there {
		n.all[i] = c
		return
	}
	n.all = inserted(n.all, i, c)
	if c.pattern.exact {
		n.exacts++
	}
}

// inserted is [slices.Insert] for a list that nobody else has. What had no room for one more
// is cleared: where it is in a node, that would keep what the list has no more.
func inserted[E any](list []E, i int, e E) []E {
	longer := slices.Insert(list, i, e)
	if len(list) == cap(list) {
		clear(list)
	}
	return longer
}

// take returns n without the candidate c, unless another has taken its place, or nil if
// nothing is left.
func (n *node) take(e edit, c candidate) *node {
	i := indexOf(n.all, c)
	if i < 0 {
		return n
	}
	if len(n.all) == 1 {
		if len(n.children) == 0 {
			return nil
		}
		n = n.writable(e, 0)
		n.lists = nil
		return n
	}
	n = n.writable(e, 0)
	n.ownLists(e)
	n.all = slices.Delete(n.all, i, i+1)
	if c.pattern.exact {
		n.exacts--
	}
	return n
}

// ownLists makes the candidates of n, which must be e's, e's as well.
func (n *node) ownLists(e edit) {
	if n.lists.owner != e {
		n.lists = &lists{n.path, slices.Clone(n.all), n.exacts, e}
	}
}

// of returns the list of a pattern whose cut is the path of l.
func (l *lists) of(p *pattern) []candidate {
	if p.exact {
		return l.exact()
	}
	return l.prefix()
}
