// Package hamt has persistent hash maps and sets by strings: they never change, but a changed
// copy costs only a few small nodes, however large it is.
//
// With it, one route or certificate among 100 000 can be replaced while every reader
// continues with what it has.
package hamt

import (
	"hash/maphash"
	"iter"
	"math/bits"
	"slices"
)

// A Set is a persistent set of elements that have a key each: no two have the same. It has
// no copy of the keys. The zero Set is empty. A Set may be read by any number of goroutines,
// and copied.
type Set[E Keyed] struct {
	root *node[E]
	n    int
}

// An Edit is a row of changes of which only the last set is kept. What it has copied it
// changes in place from then on: of many changes, each costs less.
//
// It is a number that no change has had which led to the set, unless it is of the same row.
// With NoEdit, a change is one of its own.
type Edit uint32

// NoEdit is no row.
const NoEdit Edit = 0

// Keyed is what an element must be. Its key never changes.
type Keyed interface{ Key() string }

// The hash is seeded for each process: keys that were chosen to collide here
// cannot be chosen from outside.
var seed = maphash.MakeSeed()

const (
	width  = 4 // bits of the hash that a level uses
	fanout = 1 << width
)

// A node has 16 slots, each with a child, an entry or neither. The entries are stored as
// a list of those that there are. The children are not: for a search, each level is two
// loads and no counting (BenchmarkMap). Most nodes have none. Below the last level of the
// hash, where keys have the same 64 bits, both bitmaps are zero and the entries are a
// list to be searched.
//
// A change copies the nodes on its way. The width is that for which they have the
// fewest bytes, but for narrower ones, on whose longer way a search misses the CPU's
// cache more often.
type node[E Keyed] struct {
	children *[fanout]*node[E] // nil if there are none
	nodeMap  uint16            // the slots that hold a child
	entryMap uint16            // and those that hold an entry
	owner    Edit              // which may change the node if it has children
	entries  []entry[E]
}

// Nodes with children, or with room for some entries, which are in one allocation with
// them: to a garbage collection, an object more is more than some bytes. Nodes with more
// entries, or with both, have the entries apart.
type (
	inner[E Keyed] struct {
		node[E]
		room [fanout]*node[E]
	}
	leaf2[E Keyed] struct {
		node[E]
		room [2]entry[E]
	}
	leaf3[E Keyed] struct {
		node[E]
		room [3]entry[E]
	}
)

// parent returns a copy of n, which has its entries, with children of its own and room for
// them: n itself if it has children and is the edit's.
func (n *node[E]) parent(by Edit) *node[E] {
	if n.children != nil && n.owner == by && by != NoEdit {
		return n
	}
	c := newInner[E](by)
	c.nodeMap, c.entryMap, c.entries = n.nodeMap, n.entryMap, n.entries
	if n.children != nil {
		*c.children = *n.children
	}
	return c
}

// newInner returns a node with room for children, which must get one.
func newInner[E Keyed](by Edit) *node[E] {
	n := &inner[E]{}
	n.children, n.owner = &n.room, by
	return &n.node
}

// withRoom returns n, or a copy, with children of its own, if there are any, and with room for
// so many entries instead of those of n.
func (n *node[E]) withRoom(by Edit, entries int) *node[E] {
	if n.children == nil {
		return newLeaf[E](n.entryMap, entries)
	}
	c := n.parent(by)
	c.entries = nil
	if entries > 0 {
		c.entries = make([]entry[E], 0, entries)
	}
	return c
}

// newLeaf returns a node without children that has room for so many entries.
func newLeaf[E Keyed](entryMap uint16, entries int) *node[E] {
	switch entries {
	case 1, 2:
		l := &leaf2[E]{}
		l.entryMap, l.entries = entryMap, l.room[:0]
		return &l.node
	case 3:
		l := &leaf3[E]{}
		l.entryMap, l.entries = entryMap, l.room[:0]
		return &l.node
	}
	n := &node[E]{entryMap: entryMap}
	if entries > 0 {
		n.entries = make([]entry[E], 0, entries)
	}
	return n
}

// set puts a child into a slot, or takes it out. n must be a copy that is a parent.
func (n *node[E]) set(i uint64, child *node[E]) {
	if child == nil {
		n.nodeMap &^= 1 << i
	} else {
		n.nodeMap |= 1 << i
	}
	n.children[i] = child
	if n.nodeMap == 0 {
		n.children = nil
	}
}

type entry[E Keyed] struct {
	hash  uint64
	value E
}

// Len returns the number of elements.
func (s Set[E]) Len() int { return s.n }

// Get returns the element of a key. It does not allocate.
func (s Set[E]) Get(key string) (e E, ok bool) {
	for _, found := range s.root.at(hashOf(key)) {
		if found.value.Key() == key {
			return found.value, true
		}
	}
	return e, false
}

func hashOf(key string) uint64 { return maphash.String(seed, key) }

// at returns the entries with a hash: one at most, unless keys have the same 64 bits.
func (n *node[E]) at(h uint64) []entry[E] {
	if n == nil {
		return nil
	}
	rest := h
	for n.children != nil {
		child := n.children[rest%fanout]
		if child == nil {
			break
		}
		n = child
		rest >>= width
	}
	if i := rest % fanout; n.entryMap>>i&1 != 0 {
		at := rank(n.entryMap, i)
		if n.entries[at].hash != h {
			return nil
		}
		return n.entries[at : at+1]
	}
	if n.nodeMap|n.entryMap == 0 {
		return n.entries // which have the same hash, be it h or not
	}
	return nil
}

// rank returns how many slots of a bitmap are before one.
func rank(bitmap uint16, i uint64) int { return bits.OnesCount16(bitmap & (1<<i - 1)) }

// With returns a set with e, instead of the element that has its key if there is one.
func (s Set[E]) With(by Edit, e E) Set[E] {
	root, added := s.root.with(by, entry[E]{hashOf(e.Key()), e}, 0)
	if added {
		s.n++
	}
	s.root = root
	return s
}

// with is the recursive part of [Set.With]. shift is the number of bits of the
// hash that the levels above have used.
func (n *node[E]) with(by Edit, e entry[E], shift uint) (_ *node[E], added bool) {
	if n == nil {
		n = newLeaf[E](1<<(e.hash>>shift%fanout), 1)
		n.entries = append(n.entries, e)
		return n, true
	}
	if shift >= 64 {
		i := n.find(e.value.Key())
		if i < 0 {
			return n.inserted(by, len(n.entries), e), true
		}
		return n.replaced(by, i, e), false
	}
	i := e.hash >> shift % fanout
	at := rank(n.entryMap, i)
	switch {
	case n.nodeMap>>i&1 != 0:
		c := n.parent(by)
		c.children[i], added = n.children[i].with(by, e, shift+width)
		return c, added
	case n.entryMap>>i&1 == 0:
		c := n.inserted(by, at, e)
		c.entryMap |= 1 << i
		return c, true
	case n.entries[at].value.Key() == e.value.Key():
		return n.replaced(by, at, e), false
	default:
		// Two keys want one slot: both go one level down, and further for as
		// long as their hashes agree.
		moved := n.entries[at]
		c := n.parent(by)
		c.entries = slices.Concat(n.entries[:at], n.entries[at+1:])
		c.entryMap ^= 1 << i
		c.set(i, nodeOf(by, moved, e, shift+width))
		return c, true
	}
}

// nodeOf returns the node of two entries.
func nodeOf[E Keyed](by Edit, a, b entry[E], shift uint) *node[E] {
	if shift >= 64 {
		n := newLeaf[E](0, 2)
		n.entries = append(n.entries, a, b)
		return n
	}
	i, j := a.hash>>shift%fanout, b.hash>>shift%fanout
	if i == j {
		n := newInner[E](by)
		n.set(i, nodeOf(by, a, b, shift+width))
		return n
	}
	if i > j {
		a, b = b, a
	}
	n := newLeaf[E](1<<i|1<<j, 2)
	n.entries = append(n.entries, a, b)
	return n
}

// Without returns a set without the element of a key. If s has none, that is s itself.
func (s Set[E]) Without(by Edit, key string) Set[E] {
	if s.root == nil {
		return s
	}
	root, removed := s.root.without(by, key, hashOf(key), 0)
	if removed {
		s.root, s.n = root, s.n-1
	}
	return s
}

// without is the recursive part of [Set.Without]. It returns nil for a node
// that would be empty.
func (n *node[E]) without(by Edit, key string, h uint64, shift uint) (_ *node[E], removed bool) {
	if shift >= 64 {
		i := n.find(key)
		if i < 0 {
			return n, false
		}
		return n.deleted(by, i).orNil(), true
	}
	i := h >> shift % fanout
	at := rank(n.entryMap, i)
	switch {
	case n.nodeMap>>i&1 != 0:
		child, removed := n.children[i].without(by, key, h, shift+width)
		if !removed {
			return n, false
		}
		if len(child.entries) == 1 && child.children == nil {
			// An entry that is alone moves up, so that a set has the same shape
			// whichever way it was reached.
			c := n.inserted(by, at, child.entries[0])
			c.set(i, nil)
			c.entryMap |= 1 << i
			return c, true
		}
		c := n.parent(by)
		c.children[i] = child
		return c, true
	case n.entryMap>>i&1 == 0 || n.entries[at].value.Key() != key:
		return n, false
	default:
		c := n.deleted(by, at)
		c.entryMap ^= 1 << i
		return c.orNil(), true
	}
}

// orNil returns n, or nil if it is empty. Only a root becomes empty: a node below
// has two entries or more, or a child that does.
func (n *node[E]) orNil() *node[E] {
	if len(n.entries) == 0 && n.children == nil {
		return nil
	}
	return n
}

// find searches the entries of a node below the last level.
func (n *node[E]) find(key string) int {
	return slices.IndexFunc(n.entries, func(e entry[E]) bool { return e.value.Key() == key })
}

// inserted, replaced and deleted return n, or a copy, with changed entries, which no other
// node has, and children of its own. The bitmaps are those of n.

func (n *node[E]) inserted(by Edit, i int, e entry[E]) *node[E] {
	old := n.entries
	c := n.withRoom(by, len(old)+1)
	c.entries = append(append(append(c.entries, old[:i]...), e), old[i:]...)
	return c
}

func (n *node[E]) replaced(by Edit, i int, e entry[E]) *node[E] {
	old := n.entries
	c := n.withRoom(by, len(old))
	c.entries = append(c.entries, old...)
	c.entries[i] = e
	return c
}

func (n *node[E]) deleted(by Edit, i int) *node[E] {
	old := n.entries
	c := n.withRoom(by, len(old)-1)
	c.entries = append(append(c.entries, old[:i]...), old[i+1:]...)
	return c
}

// All yields the elements, in no order that means anything.
func (s Set[E]) All() iter.Seq[E] {
	return func(yield func(E) bool) {
		if s.root != nil {
			s.root.all(yield)
		}
	}
}

func (n *node[E]) all(yield func(E) bool) bool {
	for i := range n.entries {
		if !yield(n.entries[i].value) {
			return false
		}
	}
	if n.children == nil {
		return true
	}
	for _, child := range n.children {
		if child != nil && !child.all(yield) {
			return false
		}
	}
	return true
}
