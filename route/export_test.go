package route

import (
	"fmt"
	"slices"
	"strings"
)

// Check verifies every invariant of a table.
func (t *Table) Check() error {
	if t == nil {
		return nil
	}
	want := 0
	for id, c := range t.byID.All() {
		if c.route.id != id || c.age >= t.next {
			return fmt.Errorf("route %q: stored as %q with age %d of %d", c.route.id, id, c.age, t.next)
		}
		for range t.places(c) {
			want++
		}
	}
	got := 0
	if err := t.anyHost.check("", &got); err != nil {
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
			if err := root.check("", &got); err != nil {
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

func (n *node) check(above string, candidates *int) error {
	if n == nil {
		return nil
	}
	path := n.path()
	fail := func(what string) error { return fmt.Errorf("node %q: %s", path, what) }
	switch {
	case !strings.HasPrefix(path, above):
		return fail("is not below " + above)
	case n.leaf == nil && len(n.children) < 2:
		return fail("is of no use")
	}
	if n.leaf != nil {
		switch l := n.leaf; {
		case l.path != path || len(l.exact)+len(l.prefix) == 0:
			return fail("has the leaf of " + l.path)
		case !slices.IsSortedFunc(l.exact, compareCandidates) || !slices.IsSortedFunc(l.prefix, compareCandidates):
			return fail("has candidates out of order")
		}
		for exact, list := range map[bool][]candidate{true: n.leaf.exact, false: n.leaf.prefix} {
			*candidates += len(list)
			for _, c := range list {
				if c.pattern.cut != path || c.pattern.exact != exact {
					return fail("has route " + c.route.id)
				}
			}
		}
	}
	for c := range 256 {
		i, ok := n.has.rank(byte(c))
		if !ok {
			continue
		}
		if i >= len(n.children) {
			return fail("has fewer children than bytes")
		}
		if err := n.children[i].check(path+string([]byte{byte(c)}), candidates); err != nil {
			return err
		}
	}
	if last, ok := n.has.rank(255); len(n.children) > last && !ok || len(n.children) > last+1 {
		return fail("has more children than bytes")
	}
	return nil
}
