package route

import (
	"cmp"
	"iter"
	"slices"

	"github.com/sallyport/sallyport/internal/hamt"
	"github.com/sallyport/sallyport/internal/hostname"
)

// A Table holds routes and finds the one for a request. It never changes: With and Without
// return changed copies. A nil Table and a zero Table are empty.
//
//	t.With(r).Get(r.ID())                     // r
//	t.With(r).Without(r.ID()).Get(r.ID())     // nil
//	t.With(a, b), t.With(a).With(b)           // the same routes in the same order
type Table struct {
	o Options

	// The routes by path, in a tree for each host pattern and in one for the
	// routes without hosts. Where the host does not go first, that has all of them.
	hosts   hostname.Index[*node]
	anyHost *node

	byID hamt.Set[entry]
	next uint64 // the age of the next new route

	// edits is the number of the edit that made the table.
	edits edit

	// withAddrs and withVars count the routes with such conditions: without any,
	// nobody need look for what they ask.
	withAddrs, withVars int
}

// Conditional reports whether any route of the table has RemoteAddrs or Vars. If none does,
// a [Request] needs neither ClientAddr nor Lookups.
func (t *Table) Conditional() bool { return t != nil && t.withAddrs+t.withVars > 0 }

// An entry is a route with its age.
type entry struct {
	route *Route
	age   uint64
}

// Key is the ID: the text is the route's, and a garbage collection has nothing more to follow.
func (en entry) Key() string { return en.route.id }

// NewTable returns an empty table. With nil or zero Options, it is a zero Table. The error
// joins one for each invalid option; each names the field and the rule.
func NewTable(o *Options) (*Table, error) {
	if o == nil {
		return &Table{}, nil
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	return &Table{o: *o}, nil
}

// Options returns the options that the table was made with.
func (t *Table) Options() Options {
	if t == nil {
		return Options{}
	}
	return t.o
}

// With returns a table with some more routes, each in the place of the one with the same ID
// if there is one, and as the youngest otherwise. If nothing changes it returns t itself.
//
// A change costs in proportion to the routes that are given, not to those in the table,
// with one exception: routes with the same host and the same path are one list, which is
// copied.
func (t *Table) With(routes ...*Route) *Table {
	next := t.begin()
	changed := false
	for _, r := range routes {
		now := entry{route: r, age: next.next}
		old, replaced := next.byID.Get(r.id)
		switch {
		case !replaced:
			next.next++
		case old.route == r:
			continue
		default:
			now.age = old.age
		}
		// Where both have a place, that of the old one is taken already.
		next.add(now)
		switch {
		case !replaced:
		case samePlaces(old.route, r):
			next.count(old.route, -1)
		default:
			next.remove(old)
		}
		next.byID = next.byID.With(next.edits, now)
		changed = true
	}
	if !changed {
		return t
	}
	return next
}

// samePlaces reports whether two routes have the same places. Of routes that have them in
// another order it does not tell.
func samePlaces(a, b *Route) bool {
	return a.disabled == b.disabled && a.priority == b.priority && slices.Equal(a.hosts, b.hosts) &&
		slices.EqualFunc(a.paths, b.paths, func(a, b pattern) bool { return a.text == b.text })
}

// Without returns a table without the routes with the given IDs. IDs that it does not have
// are ignored. If nothing changes it returns t itself.
func (t *Table) Without(ids ...string) *Table {
	next := t.begin()
	changed := false
	for _, id := range ids {
		if old, ok := next.byID.Get(id); ok {
			next.remove(old)
			next.byID = next.byID.Without(next.edits, id)
			changed = true
		}
	}
	if !changed {
		return t
	}
	return next
}

// begin returns a table that may be changed until it is handed out, in an edit of its
// own.
func (t *Table) begin() *Table {
	next := &Table{}
	if t != nil {
		*next = *t
	}
	next.edits++
	if next.edits == 0 {
		// No number is left that no node has. Once in four thousand million changes,
		// all nodes are made anew.
		next = &Table{o: t.o, next: t.next, edits: 1}
		for en := range t.byID.All() {
			next.byID = next.byID.With(next.edits, en)
			next.add(en)
		}
	}
	return next
}

// places yields, for each place that a route has in the trees, the host pattern of
// the tree, "" for that of no host, and the candidate. A route that is disabled has
// none.
func (t *Table) places(en entry) iter.Seq2[string, candidate] {
	return func(yield func(string, candidate) bool) {
		r := en.route
		if r.disabled {
			return
		}
		patterns := r.paths
		if t.o.Router.parameters() {
			patterns = r.parameters
		}
		for i := range patterns {
			p := &patterns[i]
			c := candidate{route: r, pattern: p, age: en.age, methods: r.methods, conditional: r.conditional(t.o.Router) || !p.plain(), host: allHosts}
			if len(r.hosts) == 0 || !t.o.Router.byHost() {
				if !yield("", c) {
					return
				}
				continue
			}
			for i, host := range r.hosts {
				if i > 0 && r.hosts[i-1].name == host.name {
					continue
				}
				c.host = int32(i)
				if !yield(host.name, c) {
					return
				}
			}
		}
	}
}

// add puts a route in its places.
func (t *Table) add(en entry) {
	t.count(en.route, 1)
	for host, c := range t.places(en) {
		if host == "" {
			t.anyHost = t.anyHost.add(t.edits, c)
			continue
		}
		old, _ := t.hosts.Get(host)
		if root := old.add(t.edits, c); root != old {
			t.hosts = t.hosts.With(host, root)
		}
	}
}

// remove takes a route away from where add has put it.
func (t *Table) remove(en entry) {
	t.count(en.route, -1)
	for host, c := range t.places(en) {
		if host == "" {
			t.anyHost = t.anyHost.remove(t.edits, c)
			continue
		}
		old, _ := t.hosts.Get(host)
		switch root := old.remove(t.edits, c); root {
		case nil:
			t.hosts = t.hosts.Without(host)
		case old:
		default:
			t.hosts = t.hosts.With(host, root)
		}
	}
}

func (t *Table) count(r *Route, delta int) {
	if r.disabled {
		return
	}
	if r.addrs != nil {
		t.withAddrs += delta
	}
	if r.vars != nil {
		t.withVars += delta
	}
}

// Get returns the route with an ID, or nil.
func (t *Table) Get(id string) *Route {
	if t == nil {
		return nil
	}
	en, _ := t.byID.Get(id)
	return en.route
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
		all := make([]entry, 0, t.byID.Len())
		for c := range t.byID.All() {
			all = append(all, c)
		}
		slices.SortFunc(all, func(a, b entry) int { return cmp.Compare(a.age, b.age) })
		for _, c := range all {
			if !yield(c.route) {
				return
			}
		}
	}
}
