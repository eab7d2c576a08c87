package hostname

import (
	"slices"
	"strings"

	"github.com/sallyport/sallyport/internal/hamt"
)

// An Index finds what is configured for a name. Its keys are canonical patterns
// (see [CanonicalPattern]): a name, "*.suffix", "*suffix" or "*". It never
// changes: With and Without return changed copies, which cost a few small nodes
// whatever the size. The zero Index is empty.
//
// [Index.Match] walks over all patterns that fit a name, the most specific
// first: the name itself, then the wildcards from the longest to the shortest.
// Which of them counts is the reader's to say. For a server name the star
// stands for one label; for a route's host for any number, and the next less
// specific one is tried when no route of the first matches.
type Index[V any] struct {
	names    hamt.Map[V]
	suffixes hamt.Map[V] // by what follows the star

	lengths *lengths // of the suffixes; nil if there never was one
}

// Lengths are what is known of suffixes by their length. They do not change.
type lengths struct {
	// all are the lengths of the suffixes, longest first, with how many there are of
	// each, and set is the same as a set: most parts of most names are as long as
	// none, and need not be looked up. BenchmarkMatch keeps watch.
	all []lengthCount
	set lengthSet

	// odd are the lengths of the suffixes that do not begin at a dot. Such patterns
	// are rare: for the others the dots of the name say where to look.
	odd []lengthCount
}

type lengthCount struct{ length, count int }

// A lengthSet has a bit for each length up to 254, and one for all above, which
// no canonical name has.
type lengthSet [4]uint64

func (s *lengthSet) has(length int) bool {
	length = min(length, 255)
	return s[length/64]>>(length%64)&1 != 0
}

func setOf(counts []lengthCount) (s lengthSet) {
	for _, c := range counts {
		length := min(c.length, 255)
		s[length/64] |= 1 << (length % 64)
	}
	return s
}

// Len returns the number of patterns.
func (x *Index[V]) Len() int { return x.names.Len() + x.suffixes.Len() }

// Get returns the value of a pattern, not of the names that fit it.
func (x *Index[V]) Get(pattern string) (V, bool) {
	if suffix, ok := strings.CutPrefix(pattern, "*"); ok {
		return x.suffixes.Get(suffix)
	}
	return x.names.Get(pattern)
}

// With returns an index in which pattern has the value v.
func (x Index[V]) With(pattern string, v V) Index[V] {
	suffix, star := strings.CutPrefix(pattern, "*")
	if !star {
		x.names = x.names.With(pattern, v)
		return x
	}
	before := x.suffixes.Len()
	x.suffixes = x.suffixes.With(suffix, v)
	if x.suffixes.Len() > before {
		x.count(suffix, 1)
	}
	return x
}

// Without returns an index without the pattern.
func (x Index[V]) Without(pattern string) Index[V] {
	suffix, star := strings.CutPrefix(pattern, "*")
	if !star {
		x.names = x.names.Without(pattern)
		return x
	}
	before := x.suffixes.Len()
	x.suffixes = x.suffixes.Without(suffix)
	if x.suffixes.Len() < before {
		x.count(suffix, -1)
	}
	return x
}

// count notes that a suffix has come or gone.
func (x *Index[V]) count(suffix string, delta int) {
	var l lengths
	if x.lengths != nil {
		l = *x.lengths
	}
	l.all = counted(l.all, len(suffix), delta)
	l.set = setOf(l.all)
	if suffix != "" && suffix[0] != '.' {
		l.odd = counted(l.odd, len(suffix), delta)
	}
	x.lengths = &l
}

// counted returns a copy of counts in which length is counted delta times more.
func counted(counts []lengthCount, length, delta int) []lengthCount {
	counts = slices.Clone(counts)
	i, found := slices.BinarySearchFunc(counts, length, func(c lengthCount, l int) int { return l - c.length })
	if !found {
		return slices.Insert(counts, i, lengthCount{length, delta})
	}
	counts[i].count += delta
	if counts[i].count == 0 {
		counts = slices.Delete(counts, i, i+1)
	}
	return counts
}

// Match returns the patterns that fit a canonical name. It does not allocate:
//
//	m := x.Match(name)
//	for m.Next() {
//		use(m.Value())
//	}
//
// Declared in the for statement, m would be copied for each turn, which takes as long
// as a lookup.
func (x *Index[V]) Match(name string) Matches[V] {
	return Matches[V]{index: x, name: name}
}

// MatchAsSent is [Index.Match] for a name that a client sent: it returns the patterns
// that fit the canonical form, and none if there is no such form. It allocates only
// for a name with upper-case letters or of an IPv6 address.
//
// It does not read the whole name to begin with. The patterns are canonical, and
// most names come as they are: what a pattern fits is canonical if what its star
// stands for is (BenchmarkMatch).
func (x *Index[V]) MatchAsSent(name string) Matches[V] {
	return Matches[V]{index: x, name: name, asSent: true}
}

// Matches is a walk over the patterns that fit a name.
type Matches[V any] struct {
	index  *Index[V]
	name   string
	asSent bool // the name may be in another form, or none
	begun  bool
	exact  bool // the current match is the name itself
	star   int  // how much of name the star of the current match stands for
	labels int  // and for how many labels of it
	next   int  // where the next suffix may begin
	dots   int  // how many dots stand before that
	odd    int  // the next of the odd lengths
	value  *V
}

// Next goes on to the next match. It reports false when there is none.
func (m *Matches[V]) Next() bool {
	if !m.begun {
		if m.asSent {
			return m.nextAsSent()
		}
		m.begun = true
		if m.name == "" {
			m.next = len(m.name) + 1
			return false
		}
		if m.value = m.index.names.Find(m.name); m.value != nil {
			m.exact = true
			return true
		}
	}
	m.exact = false
	if m.index.suffixes.Len() == 0 {
		return false
	}
	for m.next <= len(m.name) {
		at := m.nextSuffix()
		if !m.index.lengths.set.has(len(m.name) - at) {
			continue
		}
		if m.value = m.index.suffixes.Find(m.name[at:]); m.value != nil {
			m.star = at
			return true
		}
	}
	return false
}

// nextAsSent is the first Next of a name as it was sent. It makes m a walk for a name
// in the canonical form.
func (m *Matches[V]) nextAsSent() bool {
	m.asSent = false
	found := false
	if len(m.name) <= maxName {
		found = m.Next()
		if found && m.isCanonical() {
			return true
		}
	}
	name, ok := Canonical(m.name)
	if ok && name == m.name {
		return found
	}
	*m = m.index.Match(name) // which is empty if there is none
	return m.Next()
}

// isCanonical reports whether the name, of a canonical length, is canonical, as far as
// that is seen from the current match.
func (m *Matches[V]) isCanonical() bool {
	if m.exact {
		return true
	}
	if m.star == len(m.name) || m.name[m.star] != '.' {
		return false // what the star stands for ends within a label
	}
	upper, ok := scan(m.name[:m.star])
	return ok && !upper
}

// nextSuffix returns where the longest suffix begins that was not looked at yet,
// and moves on behind it. The last one is empty: the star alone.
func (m *Matches[V]) nextSuffix() int {
	// The star before a dot stands for one character at least: a canonical name
	// does not begin with a dot.
	m.labels = m.dots + 1
	at := len(m.name)
	if i := strings.IndexByte(m.name[m.next:], '.'); i >= 0 {
		at = m.next + i
		m.dots++
	}
	for odd := m.index.lengths.odd; m.odd < len(odd); m.odd++ {
		begin := len(m.name) - odd[m.odd].length
		if begin < m.next {
			continue
		}
		if begin < at {
			at, m.dots = begin, m.labels-1
		}
		break
	}
	m.next = at + 1
	return at
}

// Value returns the value of the current match.
func (m *Matches[V]) Value() V { return *m.value }

// Pattern returns the pattern of the current match.
func (m *Matches[V]) Pattern() string {
	if m.exact {
		return m.name
	}
	return "*" + m.name[m.star:]
}

// Labels returns for how many labels the star of the current match stands, a
// part of one included: 0 if there is no star, or if it stands for nothing.
func (m *Matches[V]) Labels() int {
	if m.star == 0 {
		return 0
	}
	return m.labels
}

// Any reports whether the current match is that of the star alone.
func (m *Matches[V]) Any() bool { return m.star > 0 && m.star == len(m.name) }
