package route

import (
	"fmt"
	"math/bits"
	"slices"
	"unsafe"
)

// Check verifies every invariant of a table.
func (t *Table) Check() error {
	if t == nil {
		return nil
	}
	want := 0
	for c := range t.byID.All() {
		if c.age >= t.next {
			return fmt.Errorf("route %q: has age %d of %d", c.route.id, c.age, t.next)
		}
		if found, _ := t.byID.Get(c.route.id); found != c {
			return fmt.Errorf("route %q: is not found", c.route.id)
		}
		for range t.places(c) {
			want++
		}
	}
	got := 0
	if err := t.anyHost.check(t.edits, &got); err != nil {
		return err
	}
	seen := map[string]bool{}
	for r := range t.All() {
		en, _ := t.byID.Get(r.id)
		for host := range t.places(en) {
			if seen[host] || host == "" {
				continue
			}
			seen[host] = true
			root, ok := t.hosts.Get(host)
			if !ok || root == nil {
				return fmt.Errorf("host %q: no tree", host)
			}
			if err := root.check(t.edits, &got); err != nil {
				return fmt.Errorf("host %q: %w", host, err)
			}
		}
	}
	if len(seen) != t.hosts.Len() {
		return fmt.Errorf("%d hosts, want %d", t.hosts.Len(), len(seen))
	}
	if got != want {
		return fmt.Errorf("%d candidates, want %d", got, want)
	}
	return nil
}

// check verifies a tree whose nodes are no younger than e.
func (n *node) check(e edit, candidates *int) error {
	if n == nil {
		return nil
	}
	path := n.below()
	fail := func(what string) error { return fmt.Errorf("node %q, %d steps: %s", path, n.depth, what) }
	switch {
	case n.depth > steps(path):
		return fail("is below its paths")
	case n.lists == nil && len(n.children) < 2:
		return fail("is of no use")
	case n.owner > e || n.lists != nil && n.lists.owner > e:
		return fail("is of a later edit")
	case len(n.children) != bits.OnesCount64(n.has):
		return fail("has not as many children as digits")
	}
	if n.lists != nil {
		switch {
		case n.depth != steps(n.path) || len(n.all) == 0:
			return fail("has the lists of " + n.path)
		case !slices.IsSortedFunc(n.all, compareCandidates):
			return fail("has candidates out of order")
		}
		for exact, list := range map[bool][]candidate{true: n.exact(), false: n.prefix()} {
			*candidates += len(list)
			for _, c := range list {
				if c.pattern.cut != path || c.pattern.exact != exact {
					return fail("has route " + c.route.id)
				}
			}
		}
	}
	for d := range uint8(64) {
		i, ok := n.rank(d)
		if !ok {
			continue
		}
		child := n.children[i]
		switch below := child.below(); {
		case child.depth <= n.depth:
			return fail("has a child above it")
		case commonSteps(path, below) < n.depth || digit(below, n.depth) != d:
			return fail("has a child of " + below)
		}
		if err := child.check(e, candidates); err != nil {
			return err
		}
	}
	return nil
}

// Age makes a table look as if it came of so many changes.
func (t *Table) Age(changes uint32) *Table {
	aged := *t
	aged.edits = edit(changes)
	return &aged
}

// RootIsLeafOf reports whether the tree of the routes without hosts is the leaf that a route
// has with it.
func (t *Table) RootIsLeafOf(r *Route) bool { return t.anyHost == &r.leaf.node }

// ReadPath reads a configured path, and CheckPath is the part of it that looks whether one
// may be so.
func ReadPath(s string)  { _, _ = parsePattern(s, true) }
func CheckPath(s string) { _ = checkPattern(s) }

// LeafOffset returns where in a line of the CPU's cache the leaf of a route begins.
func (r *Route) LeafOffset() uintptr { return uintptr(unsafe.Pointer(&r.leaf)) % 64 }
