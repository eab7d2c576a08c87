// Package hamt is a persistent hash map from strings: a map that never changes, but of
// which a changed copy costs only a few small nodes, however large it is.
//
// With it, one route or certificate among 100 000 can be replaced while every reader
// continues with the map that it has.
package hamt

import (
	"hash/maphash"
	"iter"
	"math/bits"
	"slices"
)

// A Map is a persistent map from strings to values of type V. The zero Map is
// empty. A Map may be read by any number of goroutines, and copied.
type Map[V any] struct {
	root *node[V]
	n    int
}

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
type node[V any] struct {
	children *[fanout]*node[V] // nil if there are none
	nodeMap  uint16            // the slots that hold a child
	entryMap uint16            // and those that hold an entry
	entries  []entry[V]
}

// Nodes with children, or with room for some entries, which are in one allocation with
// them: to a garbage collection, an object more is more than some bytes. Nodes with more
// entries, or with both, have the entries apart.
type (
	inner[V any] struct {
		node[V]
		room [fanout]*node[V]
	}
	leaf2[V any] struct {
		node[V]
		room [2]entry[V]
	}
	leaf3[V any] struct {
		node[V]
		room [3]entry[V]
	}
)

// copy returns a copy of n, which has its entries, with children of its own.
func (n *node[V]) copy() *node[V] {
	if n.children == nil {
		c := *n
		return &c
	}
	return n.parent()
}

// parent is copy with room for children, if n has none.
func (n *node[V]) parent() *node[V] {
	c := &inner[V]{node: *n}
	if n.children != nil {
		c.room = *n.children
	}
	c.children = &c.room
	return &c.node
}

// copyFor returns a copy of n with children of its own, and with room for so many entries
// instead of those of n.
func (n *node[V]) copyFor(entries int) *node[V] {
	if n.children == nil {
		switch entries {
		case 1, 2:
			c := &leaf2[V]{node: *n}
			c.entries = c.room[:0]
			return &c.node
		case 3:
			c := &leaf3[V]{node: *n}
			c.entries = c.room[:0]
			return &c.node
		}
	}
	c := n.copy()
	c.entries = nil
	if entries > 0 {
		c.entries = make([]entry[V], 0, entries)
	}
	return c
}

// set puts a child into a slot, or takes it out. n must be a copy that is a parent.
func (n *node[V]) set(i uint64, child *node[V]) {
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

type entry[V any] struct {
	hash  uint64
	key   string
	value V
}

// Len returns the number of keys.
func (m Map[V]) Len() int { return m.n }

// Get returns the value of a key. It does not allocate.
func (m Map[V]) Get(key string) (v V, ok bool) {
	if p := m.Find(key); p != nil {
		return *p, true
	}
	return v, false
}

// Find returns where the map has the value of a key, or nil. What is there must not be
// changed.
func (m Map[V]) Find(key string) *V {
	n := m.root
	if n == nil {
		return nil
	}
	h := maphash.String(seed, key)
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
		if e := &n.entries[rank(n.entryMap, i)]; e.hash == h && e.key == key {
			return &e.value
		}
		return nil
	}
	if n.nodeMap|n.entryMap == 0 {
		if i := n.find(key); i >= 0 {
			return &n.entries[i].value
		}
	}
	return nil
}

// rank returns how many slots of a bitmap are before one.
func rank(bitmap uint16, i uint64) int { return bits.OnesCount16(bitmap & (1<<i - 1)) }

// With returns a map in which key has the value v, and everything else what it
// has in m.
func (m Map[V]) With(key string, v V) Map[V] {
	h := maphash.String(seed, key)
	root, added := m.root.with(entry[V]{hash: h, key: key, value: v}, 0)
	if added {
		m.n++
	}
	m.root = root
	return m
}

// with is the recursive part of [Map.With]. shift is the number of bits of the
// hash that the levels above have used.
func (n *node[V]) with(e entry[V], shift uint) (_ *node[V], added bool) {
	if n == nil {
		n = &node[V]{}
	}
	if shift >= 64 {
		i := n.find(e.key)
		if i < 0 {
			return n.inserted(len(n.entries), e), true
		}
		return n.replaced(i, e), false
	}
	i := e.hash >> shift % fanout
	at := rank(n.entryMap, i)
	switch {
	case n.nodeMap>>i&1 != 0:
		c := n.copy()
		c.children[i], added = n.children[i].with(e, shift+width)
		return c, added
	case n.entryMap>>i&1 == 0:
		c := n.inserted(at, e)
		c.entryMap |= 1 << i
		return c, true
	case n.entries[at].key == e.key:
		return n.replaced(at, e), false
	default:
		// Two keys want one slot: both go one level down, and further for as
		// long as their hashes agree.
		c := n.parent()
		c.entries = slices.Concat(n.entries[:at], n.entries[at+1:])
		c.entryMap ^= 1 << i
		c.set(i, pair(n.entries[at], e, shift+width))
		return c, true
	}
}

// pair returns the node of two entries.
func pair[V any](a, b entry[V], shift uint) *node[V] {
	if shift >= 64 {
		n := (&node[V]{}).copyFor(2)
		n.entries = append(n.entries, a, b)
		return n
	}
	i, j := a.hash>>shift%fanout, b.hash>>shift%fanout
	if i == j {
		n := (&node[V]{}).parent()
		n.set(i, pair(a, b, shift+width))
		return n
	}
	if i > j {
		a, b = b, a
	}
	n := (&node[V]{entryMap: 1<<i | 1<<j}).copyFor(2)
	n.entries = append(n.entries, a, b)
	return n
}

// Without returns a map without key. If m does not have it, that is m itself.
func (m Map[V]) Without(key string) Map[V] {
	if m.root == nil {
		return m
	}
	root, removed := m.root.without(key, maphash.String(seed, key), 0)
	if removed {
		m.root, m.n = root, m.n-1
	}
	return m
}

// without is the recursive part of [Map.Without]. It returns nil for a node
// that would be empty.
func (n *node[V]) without(key string, h uint64, shift uint) (_ *node[V], removed bool) {
	if shift >= 64 {
		i := n.find(key)
		if i < 0 {
			return n, false
		}
		return n.deleted(i).orNil(), true
	}
	i := h >> shift % fanout
	at := rank(n.entryMap, i)
	switch {
	case n.nodeMap>>i&1 != 0:
		child, removed := n.children[i].without(key, h, shift+width)
		if !removed {
			return n, false
		}
		if len(child.entries) == 1 && child.children == nil {
			// An entry that is alone moves up, so that a map has the same shape
			// whichever way it was reached.
			c := n.inserted(at, child.entries[0])
			c.set(i, nil)
			c.entryMap |= 1 << i
			return c, true
		}
		c := n.copy()
		c.children[i] = child
		return c, true
	case n.entryMap>>i&1 == 0 || n.entries[at].key != key:
		return n, false
	default:
		c := n.deleted(at)
		c.entryMap ^= 1 << i
		return c.orNil(), true
	}
}

// orNil returns n, or nil if it is empty. Only a root becomes empty: a node below
// has two entries or more, or a child that does.
func (n *node[V]) orNil() *node[V] {
	if len(n.entries) == 0 && n.children == nil {
		return nil
	}
	return n
}

// find searches the entries of a node below the last level.
func (n *node[V]) find(key string) int {
	return slices.IndexFunc(n.entries, func(e entry[V]) bool { return e.key == key })
}

// inserted, replaced and deleted return copies of n with changed entries, and children of
// their own. The bitmaps are those of n.

func (n *node[V]) inserted(i int, e entry[V]) *node[V] {
	c := n.copyFor(len(n.entries) + 1)
	c.entries = append(append(append(c.entries, n.entries[:i]...), e), n.entries[i:]...)
	return c
}

func (n *node[V]) replaced(i int, e entry[V]) *node[V] {
	c := n.copyFor(len(n.entries))
	c.entries = append(c.entries, n.entries...)
	c.entries[i] = e
	return c
}

func (n *node[V]) deleted(i int) *node[V] {
	c := n.copyFor(len(n.entries) - 1)
	c.entries = append(append(c.entries, n.entries[:i]...), n.entries[i+1:]...)
	return c
}

// All yields every key with its value, in no order that means anything.
func (m Map[V]) All() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		if m.root != nil {
			m.root.all(yield)
		}
	}
}

func (n *node[V]) all(yield func(string, V) bool) bool {
	for i := range n.entries {
		if !yield(n.entries[i].key, n.entries[i].value) {
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
