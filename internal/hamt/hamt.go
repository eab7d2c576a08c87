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
	width  = 5 // bits of the hash that a level uses
	fanout = 1 << width
)

// A node has up to 32 slots, of which only those in use are stored. Below the
// last level of the hash, where two keys have the same 64 bits, bitmap is zero
// and the slots are a list to be searched.
type node[V any] struct {
	bitmap uint32
	slots  []slot[V]
}

// A slot holds a child or, if child is nil, one entry.
type slot[V any] struct {
	child *node[V]
	hash  uint64
	key   string
	value V
}

// Len returns the number of keys.
func (m Map[V]) Len() int { return m.n }

// Get returns the value of a key. It does not allocate.
func (m Map[V]) Get(key string) (v V, ok bool) {
	n := m.root
	if n == nil {
		return v, false
	}
	h := maphash.String(seed, key)
	for rest := h; n.bitmap != 0; rest >>= width {
		bit := uint32(1) << (rest % fanout)
		if n.bitmap&bit == 0 {
			return v, false
		}
		s := &n.slots[bits.OnesCount32(n.bitmap&(bit-1))]
		if s.child == nil {
			if s.hash == h && s.key == key {
				return s.value, true
			}
			return v, false
		}
		n = s.child
	}
	for i := range n.slots {
		if n.slots[i].key == key {
			return n.slots[i].value, true
		}
	}
	return v, false
}

// With returns a map in which key has the value v, and everything else what it
// has in m.
func (m Map[V]) With(key string, v V) Map[V] {
	h := maphash.String(seed, key)
	root, added := m.root.with(slot[V]{hash: h, key: key, value: v}, 0)
	if added {
		m.n++
	}
	m.root = root
	return m
}

// with is the recursive part of [Map.With]. shift is the number of bits of the
// hash that the levels above have used.
func (n *node[V]) with(e slot[V], shift uint) (_ *node[V], added bool) {
	if n == nil {
		n = &node[V]{}
	}
	if shift >= 64 {
		if i := slices.IndexFunc(n.slots, func(s slot[V]) bool { return s.key == e.key }); i >= 0 {
			return n.replaced(i, e), false
		}
		return &node[V]{slots: append(slices.Clip(n.slots), e)}, true
	}
	bit := uint32(1) << (e.hash >> shift % fanout)
	i := bits.OnesCount32(n.bitmap & (bit - 1))
	if n.bitmap&bit == 0 {
		slots := make([]slot[V], 0, len(n.slots)+1)
		slots = append(append(append(slots, n.slots[:i]...), e), n.slots[i:]...)
		return &node[V]{bitmap: n.bitmap | bit, slots: slots}, true
	}
	switch s := n.slots[i]; {
	case s.child != nil:
		child, added := s.child.with(e, shift+width)
		return n.replaced(i, slot[V]{child: child}), added
	case s.key == e.key:
		return n.replaced(i, e), false
	default:
		// Two keys want one slot: both go one level down, and further for as
		// long as their hashes agree.
		child, _ := (*node[V])(nil).with(s, shift+width)
		child, _ = child.with(e, shift+width)
		return n.replaced(i, slot[V]{child: child}), true
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
	var i int
	var bit uint32
	if shift >= 64 {
		i = slices.IndexFunc(n.slots, func(s slot[V]) bool { return s.key == key })
		if i < 0 {
			return n, false
		}
	} else {
		bit = 1 << (h >> shift % fanout)
		if n.bitmap&bit == 0 {
			return n, false
		}
		i = bits.OnesCount32(n.bitmap & (bit - 1))
		s := n.slots[i]
		if s.child != nil {
			child, removed := s.child.without(key, h, shift+width)
			switch {
			case !removed:
				return n, false
			case child != nil && len(child.slots) == 1 && child.slots[0].child == nil:
				// An entry that is alone moves up, so that a map has the same
				// shape whichever way it was reached.
				return n.replaced(i, child.slots[0]), true
			case child != nil:
				return n.replaced(i, slot[V]{child: child}), true
			}
		} else if s.key != key {
			return n, false
		}
	}
	if len(n.slots) == 1 {
		return nil, true
	}
	slots := make([]slot[V], 0, len(n.slots)-1)
	slots = append(append(slots, n.slots[:i]...), n.slots[i+1:]...)
	return &node[V]{bitmap: n.bitmap &^ bit, slots: slots}, true
}

// replaced returns a copy of n with another slot i.
func (n *node[V]) replaced(i int, s slot[V]) *node[V] {
	slots := slices.Clone(n.slots)
	slots[i] = s
	return &node[V]{bitmap: n.bitmap, slots: slots}
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
	for i := range n.slots {
		s := &n.slots[i]
		if s.child != nil {
			if !s.child.all(yield) {
				return false
			}
		} else if !yield(s.key, s.value) {
			return false
		}
	}
	return true
}
