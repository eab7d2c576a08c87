package hamt

import "iter"

// A Map is a persistent map from strings to values of type V. The zero Map is empty. A Map
// may be read by any number of goroutines, and copied.
type Map[V any] struct{ set Set[pair[V]] }

type pair[V any] struct {
	key   string
	value V
}

func (p pair[V]) Key() string { return p.key }

// Len returns the number of keys.
func (m Map[V]) Len() int { return m.set.n }

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
	// Not by [Set.Get], which calls Key through a table of methods.
	list := m.set.root.at(hashOf(key))
	for i := range list {
		if p := &list[i].value; p.key == key {
			return &p.value
		}
	}
	return nil
}

// With returns a map in which key has the value v, and everything else what it has in m.
func (m Map[V]) With(key string, v V) Map[V] { return Map[V]{m.set.With(NoEdit, pair[V]{key, v})} }

// Without returns a map without key. If m does not have it, that is m itself.
func (m Map[V]) Without(key string) Map[V] { return Map[V]{m.set.Without(NoEdit, key)} }

// All yields every key with its value, in no order that means anything.
func (m Map[V]) All() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for p := range m.set.All() {
			if !yield(p.key, p.value) {
				return
			}
		}
	}
}
