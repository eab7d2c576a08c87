package route

import (
	"cmp"
	"iter"
	"slices"

	"github.com/sallyport/sallyport/internal/hamt"
	"github.com/sallyport/sallyport/internal/hostname"
)

// A Table holds routes and finds the one for a request. It never changes: With
// and Without return changed copies. A nil Table and a zero Table are empty.
//
//	t.With(r).Get(r.ID())                     // r, true
//	t.With(r).Without(r.ID()).Get(r.ID())     // nil, false
//	t.With(a, b), t.With(a).With(b)           // the same routes in the same order
type Table struct {
	// The routes by path, in a tree for each host pattern and in one for the
	// routes without hosts.
	hosts   hostname.Index[*node]
	anyHost *node

	byID hamt.Map[*candidate]
	next uint64 // the age of the next new route
}

// With returns a table that has the routes too, each in the place of the one of
// the same ID, or else as the youngest. If nothing changes it returns t itself.
//
// A change costs in proportion to the routes that are given, not to those that
// are there: but those of the same host and the same path are one list, which is
// copied whole.
func (t *Table) With(routes ...*Route) *Table {
	next, e := t.clone(), new(edit)
	changed := false
	for _, r := range routes {
		c := &candidate{route: r, age: next.next, methods: r.methods}
		old, replaced := next.byID.Get(r.id)
		switch {
		case !replaced:
			next.next++
		case old.route == r:
			continue
		default:
			c.age = old.age
		}
		// What is in the same place in both stays there: the new one comes first.
		next.add(e, *c)
		if replaced {
			next.remove(e, *old)
		}
		next.byID = next.byID.With(r.id, c)
		changed = true
	}
	if !changed {
		return t
	}
	return next
}

// Without returns a table without the routes of the given IDs. IDs that it does
// not have are passed over. If nothing changes it returns t itself.
func (t *Table) Without(ids ...string) *Table {
	next, e := t.clone(), new(edit)
	changed := false
	for _, id := range ids {
		if old, ok := next.byID.Get(id); ok {
			next.remove(e, *old)
			next.byID = next.byID.Without(id)
			changed = true
		}
	}
	if !changed {
		return t
	}
	return next
}

// clone returns a table that may be changed until it is handed out.
func (t *Table) clone() *Table {
	if t == nil {
		return &Table{}
	}
	copied := *t
	return &copied
}

// add puts a route under each of its hosts and paths.
func (t *Table) add(e *edit, c candidate) {
	for _, p := range c.route.paths {
		if !c.route.HasHosts() {
			t.anyHost = t.anyHost.writable(e, p.path)
			t.anyHost.add(e, p, c)
		}
		for _, host := range c.route.hosts {
			old, _ := t.hosts.Get(host)
			root := old.writable(e, p.path)
			root.add(e, p, c)
			if root != old {
				t.hosts = t.hosts.With(host, root)
			}
		}
	}
}

// remove takes a route away from where add has put it.
func (t *Table) remove(e *edit, c candidate) {
	for _, p := range c.route.paths {
		if !c.route.HasHosts() {
			t.anyHost = t.anyHost.writable(e, p.path)
			t.anyHost.remove(e, p, c)
			if t.anyHost.isEmpty() {
				t.anyHost = nil
			}
		}
		for _, host := range c.route.hosts {
			old, _ := t.hosts.Get(host)
			root := old.writable(e, p.path)
			root.remove(e, p, c)
			switch {
			case root.isEmpty():
				t.hosts = t.hosts.Without(host)
			case root != old:
				t.hosts = t.hosts.With(host, root)
			}
		}
	}
}

// Get returns the route of an ID.
func (t *Table) Get(id string) (r *Route, ok bool) {
	if t == nil {
		return nil, false
	}
	c, ok := t.byID.Get(id)
	if !ok {
		return nil, false
	}
	return c.route, true
}

// Len returns the number of routes.
func (t *Table) Len() int {
	if t == nil {
		return 0
	}
	return t.byID.Len()
}

// All yields the routes, the oldest first. It sorts them each time.
func (t *Table) All() iter.Seq[*Route] {
	return func(yield func(*Route) bool) {
		if t == nil {
			return
		}
		all := make([]*candidate, 0, t.byID.Len())
		for _, c := range t.byID.All() {
			all = append(all, c)
		}
		slices.SortFunc(all, func(a, b *candidate) int { return cmp.Compare(a.age, b.age) })
		for _, c := range all {
			if !yield(c.route) {
				return
			}
		}
	}
}
