package hamt

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
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
	require.Nil(t, m.root, "an empty map holds nothing")
}

// Keys with the same hash meet below the last level. No such keys can be made
// for a seeded hash, so the nodes are driven directly.
func TestEqualHashes(t *testing.T) {
	const h = 0x123456789abcdef0
	m := Map[int]{}
	var before Map[int]
	for i, key := range []string{"a", "b", "c", "b"} {
		before = m
		var added bool
		m.root, added = m.root.with(entry[int]{hash: h, key: key, value: i}, 0)
		if added {
			m.n++
		}
	}
	require.Equal(t, map[string]int{"a": 0, "b": 3, "c": 2}, collect(m))
	require.Equal(t, 3, m.Len())
	require.Equal(t, map[string]int{"a": 0, "b": 1, "c": 2}, collect(before), "the map before is as it was")

	root, removed := m.root.without("x", h, 0)
	require.False(t, removed)
	require.Same(t, m.root, root)
	root, removed = m.root.without("a", h, 0)
	require.True(t, removed)
	require.Equal(t, map[string]int{"b": 3, "c": 2}, collect(Map[int]{root: root}))
	require.Equal(t, map[string]int{"a": 0, "b": 3, "c": 2}, collect(m), "the old map is as it was")
	root, removed = root.without("b", h, 0)
	require.True(t, removed)
	require.Len(t, root.entries, 1)
	require.Empty(t, root.children, "an entry that is alone stands at the top")
}

// Hashes that differ in the highest bits alone meet on the last level.
func TestLastLevel(t *testing.T) {
	const h uint64 = 0x0123456789abcdef
	var root *node[int]
	hashes := []uint64{h, h ^ 1<<60, h ^ 1<<63}
	var before []*node[int]
	for i, hash := range hashes {
		before = append(before, root)
		root, _ = root.with(entry[int]{hash: hash, key: fmt.Sprint(i), value: i}, 0)
	}
	require.Equal(t, map[string]int{"0": 0, "1": 1, "2": 2}, collect(Map[int]{root: root}))
	last, shift := root, uint(0)
	for ; last.children != nil; shift += width {
		last = last.children[h>>shift%fanout]
	}
	require.EqualValues(t, 64-width, shift)
	require.Len(t, last.entries, 3)
	for i, hash := range slices.Backward(hashes) {
		var removed bool
		root, removed = root.without(fmt.Sprint(i), hash, 0)
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
	var m Map[int]
	for i, want := range []float64{1, 1, 1, 2} {
		e := entry[int]{hash: uint64(i), key: fmt.Sprint(i)}
		m.root, _ = m.root.with(e, 0)
		require.Equal(t, want, testing.AllocsPerRun(100, func() { m.root.with(e, 0) }), "%d entries", i+1)
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
