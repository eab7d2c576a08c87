package hamt

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func collect[V any](m Map[V]) map[string]V { return maps.Collect(m.All()) }

// The oracle is Go's own map. Every map along the way is kept and looked at
// again in the end: a persistent map that changes is the one bug that matters.
func TestMapAgainstGoMap(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	type version struct {
		m    Map[int]
		want map[string]int
	}
	var versions []version
	var m Map[int]
	want := map[string]int{}
	for i := range 4000 {
		key := fmt.Sprint("key", rnd.IntN(300))
		if rnd.IntN(3) == 0 {
			m = m.Without(key)
			delete(want, key)
		} else {
			m = m.With(key, i)
			want[key] = i
		}
		got, ok := m.Get(key)
		wanted, wantOK := want[key]
		require.Equal(t, wanted, got)
		require.Equal(t, wantOK, ok)
		require.Equal(t, len(want), m.Len())
		if i%200 == 0 {
			versions = append(versions, version{m, maps.Clone(want)})
		}
	}
	for _, v := range versions {
		require.Equal(t, v.want, collect(v.m))
		for key, value := range v.want {
			got, ok := v.m.Get(key)
			require.True(t, ok)
			require.Equal(t, value, got)
		}
	}
	for key := range want {
		m = m.Without(key)
	}
	require.Zero(t, m.Len())
	require.Nil(t, m.set.root, "an empty map holds nothing")
}

// Of a row of changes only the last set is kept: it is what as many changes one by one make,
// and the sets that were there before are as they were.
func TestEdits(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	type version struct {
		s    Set[pair[int]]
		want map[string]int
	}
	var versions []version
	var s Set[pair[int]]
	want := map[string]int{}
	for edit := range Edit(300) {
		for range 1 + rnd.IntN(40) {
			key, value := fmt.Sprint("key", rnd.IntN(600)), rnd.Int()
			if rnd.IntN(3) == 0 {
				s = s.Without(edit+1, key)
				delete(want, key)
			} else {
				s = s.With(edit+1, pair[int]{key, value})
				want[key] = value
			}
		}
		// Beside the row, as of a table from which two others are made.
		versions = append(versions, version{s, maps.Clone(want)})
		if edit%3 == 0 {
			other := s.With(edit+2, pair[int]{"beside", int(edit)}).Without(edit+2, "key7")
			_, there := other.Get("beside")
			require.True(t, there)
		}
	}
	for _, v := range versions {
		require.Equal(t, v.want, collect(Map[int]{v.s}))
		require.Equal(t, len(v.want), v.s.Len())
		for key, value := range v.want {
			got, there := v.s.Get(key)
			require.True(t, there)
			require.Equal(t, pair[int]{key, value}, got)
		}
	}
}

// The same with keys of which many have the same hash, or one that differs in few bits, and
// with several rows from one set: each makes the shape that it would have of nothing.
func TestEditsOfEqualHashes(t *testing.T) {
	type version struct {
		root *node[pair[int]]
		want map[int]int
		edit Edit
	}
	for name, hash := range map[string]func(key int) uint64{
		"the last level":   func(key int) uint64 { return uint64(key%7) << 60 },
		"the first levels": func(key int) uint64 { return uint64(key*7919) & 0x3f },
		"both":             func(key int) uint64 { return uint64(key/3)<<58 | uint64(key%2) },
	} {
		t.Run(name, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(7, 8))
			with := func(root *node[pair[int]], by Edit, key, value int) (*node[pair[int]], bool) {
				return root.with(by, entry[pair[int]]{hash(key), pair[int]{fmt.Sprint(key), value}}, 0)
			}
			versions := []version{{nil, map[int]int{}, NoEdit}}
			for range 300 {
				v := versions[max(0, len(versions)-1-rnd.IntN(3))]
				v.want, v.edit = maps.Clone(v.want), v.edit+1
				for range 1 + rnd.IntN(30) {
					key, value := rnd.IntN(40), rnd.Int()
					_, there := v.want[key]
					var changed bool
					if rnd.IntN(2) == 0 {
						v.root, changed = with(v.root, v.edit, key, value)
						v.want[key] = value
						require.Equal(t, !there, changed)
					} else if v.root != nil {
						v.root, changed = v.root.without(v.edit, fmt.Sprint(key), hash(key), 0)
						delete(v.want, key)
						require.Equal(t, there, changed)
					}
				}
				versions = append(versions, v)
			}
			for _, v := range versions {
				var fresh *node[pair[int]]
				for key, value := range v.want {
					fresh, _ = with(fresh, NoEdit, key, value)
				}
				require.Equal(t, shape(fresh), shape(v.root))
			}
		})
	}
}

// shape is what a node is, but for who may change it and the order of entries of one hash.
func shape(n *node[pair[int]]) any {
	if n == nil {
		return nil
	}
	var children []any
	if n.children != nil {
		for _, child := range n.children {
			children = append(children, shape(child))
		}
	}
	entries := slices.Clone(n.entries)
	slices.SortFunc(entries, func(a, b entry[pair[int]]) int { return strings.Compare(a.value.key, b.value.key) })
	return []any{n.nodeMap, n.entryMap, entries, children}
}

// A row of changes copies a node once.
func TestEditAllocations(t *testing.T) {
	var s Set[pair[int]]
	for i := range 10_000 {
		s = s.With(NoEdit, pair[int]{fmt.Sprint(i), i})
	}
	few := []pair[int]{{"1", 0}, {"2", 0}, {"3", 0}, {"4", 0}}
	change := func(by Edit) func() {
		return func() {
			changed := s
			for range 100 {
				for _, e := range few {
					changed = changed.With(by, e)
				}
			}
		}
	}
	require.Less(t, 2*testing.AllocsPerRun(10, change(7)), testing.AllocsPerRun(10, change(NoEdit)))
}

// Keys with the same hash meet below the last level. No such keys can be made
// for a seeded hash, so the nodes are driven directly.
func TestEqualHashes(t *testing.T) {
	const h = 0x123456789abcdef0
	m := Set[pair[int]]{}
	var before Set[pair[int]]
	for i, key := range []string{"a", "b", "c", "b"} {
		before = m
		var added bool
		m.root, added = m.root.with(NoEdit, entry[pair[int]]{h, pair[int]{key, i}}, 0)
		if added {
			m.n++
		}
	}
	collect := func(s Set[pair[int]]) map[string]int { return collect(Map[int]{s}) }
	require.Equal(t, map[string]int{"a": 0, "b": 3, "c": 2}, collect(m))
	require.Equal(t, 3, m.Len())
	require.Equal(t, map[string]int{"a": 0, "b": 1, "c": 2}, collect(before), "the map before is as it was")

	root, removed := m.root.without(NoEdit, "x", h, 0)
	require.False(t, removed)
	require.Same(t, m.root, root)
	root, removed = m.root.without(NoEdit, "a", h, 0)
	require.True(t, removed)
	require.Equal(t, map[string]int{"b": 3, "c": 2}, collect(Set[pair[int]]{root: root}))
	require.Equal(t, map[string]int{"a": 0, "b": 3, "c": 2}, collect(m), "the old map is as it was")
	root, removed = root.without(NoEdit, "b", h, 0)
	require.True(t, removed)
	require.Len(t, root.entries, 1)
	require.Empty(t, root.children, "an entry that is alone stands at the top")
}

// Hashes that differ in the highest bits alone meet on the last level.
func TestLastLevel(t *testing.T) {
	const h uint64 = 0x0123456789abcdef
	var root *node[pair[int]]
	hashes := []uint64{h, h ^ 1<<60, h ^ 1<<63}
	var before []*node[pair[int]]
	for i, hash := range hashes {
		before = append(before, root)
		root, _ = root.with(NoEdit, entry[pair[int]]{hash, pair[int]{fmt.Sprint(i), i}}, 0)
	}
	require.Equal(t, map[string]int{"0": 0, "1": 1, "2": 2}, collect(Map[int]{Set[pair[int]]{root: root}}))
	last, shift := root, uint(0)
	for ; last.children != nil; shift += width {
		last = last.children[h>>shift%fanout]
	}
	require.EqualValues(t, 64-width, shift)
	require.Len(t, last.entries, 3)
	for i, hash := range slices.Backward(hashes) {
		var removed bool
		root, removed = root.without(NoEdit, fmt.Sprint(i), hash, 0)
		require.True(t, removed)
		require.Equal(t, before[i], root, "the shape is that of a map that never had it")
	}
}

// A map has one shape, whichever way it was reached.
func TestShape(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		var a, b Map[int]
		keys := rnd.Perm(1 + rnd.IntN(400))
		for _, k := range keys {
			a = a.With(fmt.Sprint(k), k)
		}
		for i := range 400 {
			b = b.With(fmt.Sprint(i), -1)
		}
		for i := range 400 {
			if i < len(keys) {
				b = b.With(fmt.Sprint(i), i)
			} else {
				b = b.Without(fmt.Sprint(i))
			}
		}
		require.Equal(t, a, b)
	}
}

func TestAllStops(t *testing.T) {
	var m Map[int]
	for i := range 100 {
		m = m.With(fmt.Sprint(i), i)
	}
	n := 0
	for range m.All() {
		if n++; n == 7 {
			break
		}
	}
	require.Equal(t, 7, n)
}

func TestGetDoesNotAllocate(t *testing.T) {
	var m Map[int]
	for i := range 1000 {
		m = m.With(fmt.Sprint(i), i)
	}
	require.Zero(t, testing.AllocsPerRun(100, func() { m.Get("77"); m.Get("absent") }))
}

// A change of a small node is one allocation: its entries are in it.
func TestWithAllocations(t *testing.T) {
	var s Set[pair[int]]
	for i, want := range []float64{1, 1, 1, 2} {
		e := entry[pair[int]]{uint64(i), pair[int]{fmt.Sprint(i), i}}
		s.root, _ = s.root.with(NoEdit, e, 0)
		require.Equal(t, want, testing.AllocsPerRun(100, func() { s.root.with(NoEdit, e, 0) }), "%d entries", i+1)
	}
}

func BenchmarkMap(b *testing.B) {
	for _, n := range []int{100, 10_000, 100_000} {
		var m Map[int]
		keys := make([]string, n)
		for i := range n {
			keys[i] = fmt.Sprintf("h%07d.bench.test", i)
			m = m.With(keys[i], i)
		}
		b.Run(fmt.Sprintf("op=get/keys=%d/hit=y", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m.Get(keys[i*7919%n])
			}
		})
		b.Run(fmt.Sprintf("op=get/keys=%d/hit=n", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m.Get("absent.bench.test")
			}
		})
		b.Run(fmt.Sprintf("op=with/keys=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m.With(keys[i*7919%n], i)
			}
		})
	}
}
