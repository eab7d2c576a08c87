// Package hamt is a persistent hash map from strings: a map that never changes,
// and of which a changed copy costs a few small nodes, however large it is.
//
// It is what lets one route or certificate among 100 000 be replaced while every
// reader goes on with the map that it has.
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

// An inner node has children, in the same allocation.
type inner[V any] struct {
	node[V]
	room [fanout]*node[V]
}

// copy returns a copy of n, which has its entries, with children of its own.
func (n *node[V]) copy() *node[V] {
	if n.children == nil {
		c := *n
		return &c
	}
	c := &inner[V]{*n, *n.children}
	c.children = &c.room
	return &c.node
}

// set puts a child into a slot, or takes it out. n must be a copy.
func (n *node[V]) set(i uint64, child *node[V]) {
	if child == nil {
		n.nodeMap &^= 1 << i
	} else {
		n.nodeMap |= 1 << i
	}
	if n.children == nil {
		n.children = new([fanout]*node[V])
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
	c := n.copy()
	if shift >= 64 {
		i := n.find(e.key)
		if i < 0 {
			c.entries = inserted(n.entries, len(n.entries), e)
			return c, true
		}
		c.entries = replaced(n.entries, i, e)
		return c, false
	}
	i := e.hash >> shift % fanout
	at := rank(n.entryMap, i)
	switch {
	case n.nodeMap>>i&1 != 0:
		c.children[i], added = n.children[i].with(e, shift+width)
		return c, added
	case n.entryMap>>i&1 == 0:
		c.entryMap |= 1 << i
		c.entries = inserted(n.entries, at, e)
		return c, true
	case n.entries[at].key == e.key:
		c.entries = replaced(n.entries, at, e)
		return c, false
	default:
		// Two keys want one slot: both go one level down, and further for as
		// long as their hashes agree.
		child, _ := (*node[V])(nil).with(n.entries[at], shift+width)
		child, _ = child.with(e, shift+width)
		c.entryMap ^= 1 << i
		c.entries = deleted(n.entries, at)
		c.set(i, child)
		return c, true
	}
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
		c := n.copy()
		c.entries = deleted(n.entries, i)
		return c.orNil(), true
	}
	i := h >> shift % fanout
	at := rank(n.entryMap, i)
	switch {
	case n.nodeMap>>i&1 != 0:
		child, removed := n.children[i].without(key, h, shift+width)
		if !removed {
			return n, false
		}
		c := n.copy()
		if len(child.entries) == 1 && child.children == nil {
			// An entry that is alone moves up, so that a map has the same shape
			// whichever way it was reached.
			c.set(i, nil)
			c.entryMap |= 1 << i
			c.entries = inserted(n.entries, at, child.entries[0])
		} else {
			c.children[i] = child
		}
		return c, true
	case n.entryMap>>i&1 == 0 || n.entries[at].key != key:
		return n, false
	default:
		c := n.copy()
		c.entryMap ^= 1 << i
		c.entries = deleted(n.entries, at)
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

// inserted, replaced and deleted return changed copies that have no room to spare.

func inserted[T any](list []T, i int, v T) []T {
	out := make([]T, len(list)+1)
	copy(out, list[:i])
	out[i] = v
	copy(out[i+1:], list[i:])
	return out
}

func replaced[T any](list []T, i int, v T) []T {
	out := make([]T, len(list))
	copy(out, list)
	out[i] = v
	return out
}

func deleted[T any](list []T, i int) []T {
	if len(list) == 1 {
		return nil
	}
	out := make([]T, len(list)-1)
	copy(out, list[:i])
	copy(out[i:], list[i+1:])
	return out
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
