package ssl

import (
	"cmp"
	"iter"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/sallyport/sallyport/internal/hamt"
	"github.com/sallyport/sallyport/internal/hostname"
)

// A Table is an immutable set of profiles, found by server name. With and Without return
// changed tables, which share with the original everything that is untouched: they cost in
// proportion to the change, whatever the size. A nil *Table is empty. A Table may be used
// by any number of goroutines.
type Table struct {
	byID  hamt.Map[claim]
	names hostname.Index[[]claim] // the claims of a pattern, the oldest first

	// next numbers the claims. demanding counts the profiles that demand client
	// certificates.
	next      uint64
	demanding int

	// version is this table's alone, in the whole process.
	version uint64
}

// versions counts the tables.
var versions atomic.Uint64

// A claim is a profile's place in a table. It stays the same when the profile is
// replaced by another with its ID.
type claim struct {
	profile *Profile
	age     uint64
}

// With returns a table that has some more profiles, each in the place of the one with the
// same ID, if there is one.
func (t *Table) With(profiles ...*Profile) *Table {
	next := t.copy()
	for _, p := range profiles {
		age := next.next
		if old, ok := next.byID.Get(p.id); ok {
			age = old.age
			next.drop(old)
		} else {
			next.next++
		}
		next.add(claim{p, age})
	}
	return next
}

// Without returns a table without the profiles of some IDs. IDs that it does not have are
// ignored.
func (t *Table) Without(ids ...string) *Table {
	next := t.copy()
	for _, id := range ids {
		if old, ok := next.byID.Get(id); ok {
			next.byID = next.byID.Without(id)
			next.drop(old)
		}
	}
	return next
}

func (t *Table) copy() *Table {
	c := Table{}
	if t != nil {
		c = *t
	}
	c.version = versions.Add(1)
	return &c
}

// number returns the table's version. Empty tables may have none.
func (t *Table) number() uint64 {
	if t == nil {
		return 0
	}
	return t.version
}

func (t *Table) add(c claim) {
	t.byID = t.byID.With(c.profile.id, c)
	for _, name := range c.profile.names {
		claims, _ := t.names.Get(name)
		i, _ := slices.BinarySearchFunc(claims, c, func(a, b claim) int { return cmp.Compare(a.age, b.age) })
		t.names = t.names.With(name, slices.Insert(slices.Clone(claims), i, c))
	}
	if c.profile.DemandsClientCert() {
		t.demanding++
	}
}

// drop takes a claim's names back. byID is the caller's to change.
func (t *Table) drop(c claim) {
	for _, name := range c.profile.names {
		claims, _ := t.names.Get(name)
		claims = slices.DeleteFunc(slices.Clone(claims), func(other claim) bool { return other.profile == c.profile })
		if len(claims) == 0 {
			t.names = t.names.Without(name)
		} else {
			t.names = t.names.With(name, claims)
		}
	}
	if c.profile.DemandsClientCert() {
		t.demanding--
	}
}

// Len returns the number of profiles.
func (t *Table) Len() int {
	if t == nil {
		return 0
	}
	return t.byID.Len()
}

// Get returns the profile with an ID, or nil.
func (t *Table) Get(id string) *Profile {
	if t == nil {
		return nil
	}
	c, _ := t.byID.Get(id)
	return c.profile
}

// All yields the profiles, the oldest first. It sorts them each time, so do not call it for
// each request.
func (t *Table) All() iter.Seq[*Profile] {
	return func(yield func(*Profile) bool) {
		claims := make([]claim, 0, t.Len())
		if t != nil {
			for _, c := range t.byID.All() {
				claims = append(claims, c)
			}
		}
		slices.SortFunc(claims, func(a, b claim) int { return cmp.Compare(a.age, b.age) })
		for _, c := range claims {
			if !yield(c.profile) {
				return
			}
		}
	}
}

// sorted returns the profiles by ID.
func (t *Table) sorted() []*Profile {
	list := make([]*Profile, 0, t.Len())
	if t != nil {
		for _, c := range t.byID.All() {
			list = append(list, c.profile)
		}
	}
	slices.SortFunc(list, func(a, b *Profile) int { return strings.Compare(a.id, b.id) })
	return list
}

// DemandsClientCert reports whether any profile demands client certificates.
func (t *Table) DemandsClientCert() bool { return t != nil && t.demanding > 0 }

// Lookup returns the profile that answers for a server name, or nil. The name may be in any
// case and end in a dot. Lookup allocates only for a name with upper-case letters.
func (t *Table) Lookup(name string) *Profile {
	p, _ := t.find(name)
	return p
}

// find looks up a name that a client sent. closed reports that no profile answers for
// the name, but that it stands below a wildcard that demands client certificates:
// routes may well treat it as part of that, so nothing may be served under it.
func (t *Table) find(name string) (p *Profile, closed bool) {
	if t == nil {
		return nil, false
	}
	m := t.names.MatchAsSent(name)
	return firstOf(&m)
}

// answering is find for a pattern: for the names of a wildcard that have no pattern of their
// own.
func (t *Table) answering(pattern string) (p *Profile, closed bool) {
	if t == nil {
		return nil, false
	}
	name := pattern
	if rest, star := strings.CutPrefix(pattern, "*"); star {
		name = "?" + rest // which no more specific pattern fits: none has such a byte
	}
	m := t.names.Match(name)
	return firstOf(&m)
}

// firstOf returns what find does, of the patterns that fit a name.
func firstOf(m *hostname.Matches[[]claim]) (p *Profile, closed bool) {
	for m.Next() {
		p := m.Value()[0].profile
		switch {
		case m.Labels() > 1 && !m.Any():
			closed = closed || p.DemandsClientCert()
		case closed && !p.DemandsClientCert():
			return nil, true
		default:
			return p, false
		}
	}
	return nil, closed
}

// Warnings returns what does not work with a profile the way it may seem to: about its
// certificates and client CAs, about names that an older profile has, and about names that
// it takes out of a wildcard that demands client certificates without demanding them
// itself.
func (t *Table) Warnings(id string) []Warning {
	p := t.Get(id)
	if p == nil {
		return nil
	}
	warnings := slices.Clone(p.warnings)
	for _, name := range p.names {
		claims, _ := t.names.Get(name)
		if oldest := claims[0].profile; oldest != p {
			warnings = append(warnings, p.warning("Names", "the server name %s is that of the older profile %q too, which answers for it", name, oldest.id))
			continue
		}
		if p.DemandsClientCert() {
			continue
		}
		if stricter := t.stricterAbove(p, name); stricter != nil {
			warnings = append(warnings, p.warning("Names", "the server name %s needs no client certificate, but stands below a wildcard of the profile %q, which demands them", name, stricter.id))
		}
	}
	return warnings
}

// stricterAbove returns the profile of a less specific wildcard that demands
// client certificates, which a pattern is taken out of.
func (t *Table) stricterAbove(p *Profile, pattern string) *Profile {
	name := pattern
	if pattern[0] == '*' {
		if pattern == "*" {
			return nil
		}
		name = "x" + pattern[1:] // some name that the pattern fits
	}
	below := false
	m := t.names.Match(name)
	for m.Next() {
		oldest := m.Value()[0].profile
		if below && oldest != p && oldest.DemandsClientCert() {
			return oldest
		}
		below = below || oldest == p
	}
	return nil
}
