package ssl_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// An oracle is a table as a slice that is searched front to back. Its rules:
//
//   - The profile with the name itself answers, else that of the longest wildcard
//     that fits, else that of the star alone.
//   - The star of "*.a" and "*a" stands for what is in one label; the star alone
//     stands for everything.
//   - Of several profiles with the same pattern, the one that came first answers.
//     A profile that is replaced keeps its place; one that is removed and comes
//     again is the last.
//   - Where the star of a wildcard would have to stand for more than one label, the
//     next shorter pattern is asked. But if a profile passed over in this way demands
//     client certificates, one that does not demand them never answers.
type oracle []*ssl.Profile

func (o oracle) with(p *ssl.Profile) oracle {
	o = slices.Clone(o)
	if i := slices.IndexFunc(o, func(q *ssl.Profile) bool { return q.ID() == p.ID() }); i >= 0 {
		o[i] = p
		return o
	}
	return append(o, p)
}

func (o oracle) without(id string) oracle {
	return slices.DeleteFunc(slices.Clone(o), func(p *ssl.Profile) bool { return p.ID() == id })
}

func (o oracle) lookup(name string) *ssl.Profile {
	type candidate struct {
		profile *ssl.Profile
		pattern string
	}
	var fitting []candidate
	taken := map[string]bool{}
	for _, p := range o {
		for _, pattern := range p.Names() {
			suffix, star := strings.CutPrefix(pattern, "*")
			fits := pattern == name
			if star {
				fits = strings.HasSuffix(name, suffix)
				if strings.HasPrefix(suffix, ".") {
					fits = fits && len(name) > len(suffix)
				}
			}
			if fits && !taken[pattern] {
				taken[pattern] = true
				fitting = append(fitting, candidate{p, pattern})
			}
		}
	}
	slices.SortStableFunc(fitting, func(a, b candidate) int {
		if exact := cmp.Compare(strings.Count(a.pattern, "*"), strings.Count(b.pattern, "*")); exact != 0 {
			return exact
		}
		return cmp.Compare(len(b.pattern), len(a.pattern))
	})
	closed := false
	for _, c := range fitting {
		if suffix, star := strings.CutPrefix(c.pattern, "*"); star && suffix != "" {
			if strings.Contains(strings.TrimSuffix(name, suffix), ".") {
				closed = closed || c.profile.DemandsClientCert()
				continue
			}
		}
		if closed && !c.profile.DemandsClientCert() {
			return nil
		}
		return c.profile
	}
	return nil
}

// A maker makes profiles quickly: they all have one certificate.
type maker struct {
	t      testing.TB
	pair   ssl.KeyPair
	client *ssl.ClientAuth
}

func newMaker(t testing.TB) *maker {
	ca := ssltest.NewCA(t, "root")
	return &maker{t, ca.Server("a.test"), &ssl.ClientAuth{CAPEM: ca.PEM()}}
}

func (m *maker) profile(id string, demands bool, names ...string) *ssl.Profile {
	m.t.Helper()
	c := ssl.Config{ID: id, Names: names, Certificates: []ssl.KeyPair{m.pair}}
	if demands {
		c.Client = m.client
	}
	return profile(m.t, c)
}

// randomName makes names that often meet: few labels, few letters.
func randomName(r *rand.Rand) string {
	labels := make([]string, 1+r.IntN(4))
	for i := range labels {
		labels[i] = strings.Repeat(string("ab"[r.IntN(2)]), 1+r.IntN(2))
	}
	return strings.Join(labels, ".")
}

func randomPattern(r *rand.Rand) string {
	switch name := randomName(r); r.IntN(8) {
	case 0:
		return "*"
	case 1, 2, 3:
		return "*." + name
	case 4:
		return "*" + name
	default:
		return name
	}
}

func TestTableAgainstOracle(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	m := newMaker(t)

	type moment struct {
		table  *ssl.Table
		oracle oracle
	}
	var table *ssl.Table
	var plain oracle
	var past []moment
	check := func(at moment, names int) {
		for range names {
			name := randomName(r)
			require.Same(t, at.oracle.lookup(name), at.table.Lookup(name), "%q", name)
		}
		require.Equal(t, len(at.oracle), at.table.Len())
		require.True(t, slices.Equal(at.oracle, slices.Collect(at.table.All())))
		require.Equal(t, slices.ContainsFunc(at.oracle, (*ssl.Profile).DemandsClientCert), at.table.DemandsClientCert())
		for _, p := range at.oracle {
			require.Same(t, p, at.table.Get(p.ID()))
		}
	}
	for range 600 {
		id := fmt.Sprint(r.IntN(24))
		if r.IntN(3) == 0 {
			table, plain = table.Without(id, "no such profile"), plain.without(id)
		} else {
			names := make([]string, 1+r.IntN(3))
			for i := range names {
				names[i] = randomPattern(r)
			}
			p := m.profile(id, r.IntN(2) == 0, names...)
			table, plain = table.With(p), plain.with(p)
		}
		now := moment{table, plain}
		check(now, 30)
		if r.IntN(10) == 0 {
			past = append(past, now)
		}
	}
	// No later change reached an earlier table.
	for _, at := range past {
		check(at, 100)
	}
}

func FuzzTable(f *testing.F) {
	f.Add("1 + *.a.test;2 - *;1 - a.test", "x.y.a.test")
	f.Add("1 - *;2 + *.b;3 - *.a.b;del 2;2 + *b", "a.a.b")
	f.Add("1 + *.test;2 + *", "a.b.test")
	m := newMaker(f)
	f.Fuzz(func(t *testing.T, script, name string) {
		steps := strings.Split(script, ";")
		if len(steps) > 20 {
			return
		}
		var table *ssl.Table
		var plain oracle
		for _, step := range steps {
			words := strings.Fields(step)
			switch {
			case len(words) == 2 && words[0] == "del":
				table, plain = table.Without(words[1]), plain.without(words[1])
			case len(words) >= 3:
				c := ssl.Config{ID: words[0], Names: words[2:], Certificates: []ssl.KeyPair{m.pair}}
				if words[1] == "+" {
					c.Client = m.client
				}
				p, err := ssl.New(c)
				if err != nil {
					continue
				}
				table, plain = table.With(p), plain.with(p)
			}
		}
		got := table.Lookup(name)
		for _, p := range plain {
			for _, pattern := range p.Names() {
				// A name that is canonical is found as the oracle finds it, in
				// each of its spellings.
				if pattern == name && !strings.HasPrefix(name, "*") {
					require.Same(t, plain.lookup(name), got)
					require.Same(t, got, table.Lookup(name+"."))
					require.Same(t, got, table.Lookup(strings.ToUpper(name)))
				}
			}
		}
		if got != nil {
			require.Contains(t, []*ssl.Profile(plain), got)
		}
	})
}

// The rules one by one, as a reader would look for them.
func TestLookup(t *testing.T) {
	m := newMaker(t)
	label := strings.Repeat("l", 63)
	for _, c := range []struct {
		name  string
		rules string // profiles in the order in which they came: id, + if it demands certificates, names
		want  map[string]string
	}{
		{"exact", "1 - a.test", map[string]string{
			"a.test": "1", "A.Test": "1", "a.test.": "1", "b.test": "", "x.a.test": "", "test": "", "": "", ".": "", "a.test..": "",
		}},
		{"a wildcard", "1 - *.a.test", map[string]string{
			"x.a.test": "1", "X.A.TEST.": "1", "a.test": "", "x.y.a.test": "", "xa.test": "", "*.a.test": "", ".a.test": "",
		}},
		{"a wildcard without a dot", "1 - *a.test", map[string]string{
			"a.test": "1", "xa.test": "1", "x.a.test": "", "b.xa.test": "",
		}},
		{"the star", "1 - *", map[string]string{
			"a": "1", "a.test": "1", "x.y.a.test": "1", "10.0.0.1": "1", "[::1]": "1", "": "", "*": "", "a b": "", "a..b": "", "ü": "", "a,b": "", label + "l.test": "", strings.Repeat(label+".", 4): "",
		}},
		{"precedence", "1 - *;2 - *.test;3 - *.a.test;4 - x.a.test", map[string]string{
			"x.a.test": "4", "y.a.test": "3", "y.test": "2", "y.other": "1",
		}},
		{"precedence the other way round", "4 - x.a.test;3 - *.a.test;2 - *.test;1 - *", map[string]string{
			"x.a.test": "4", "y.a.test": "3", "y.test": "2", "y.other": "1",
		}},
		{"the older answers", "1 - a.test;2 + a.test", map[string]string{"a.test": "1"}},
		{"replacing keeps the place", "1 - a.test;2 - a.test;1 + a.test", map[string]string{"a.test": "1"}},
		{"removing gives it up", "1 - a.test;2 - a.test;del 1;1 - a.test", map[string]string{"a.test": "2"}},
		{"the next takes over", "1 - a.test;2 - a.test;del 1", map[string]string{"a.test": "2"}},
		{"a new name in an old place", "1 - a.test;2 - b.test;1 - b.test", map[string]string{"a.test": "", "b.test": "1"}},

		{"falls through between equals", "1 - *.a.test;2 - *", map[string]string{"x.y.a.test": "2"}},
		{"falls through to the stricter", "1 - *.a.test;2 + *", map[string]string{"x.y.a.test": "2"}},
		{"falls through between demanding ones", "1 + *.a.test;2 + *", map[string]string{"x.y.a.test": "2"}},
		{"never to the weaker", "1 + *.a.test;2 - *", map[string]string{"x.a.test": "1", "x.y.a.test": "", "a.test": "2", "b.test": "2"}},
		{"never to the weaker, over a weak one between", "1 + *.b.a.test;2 - *.a.test;3 - *", map[string]string{"x.y.b.a.test": "", "y.a.test": "2", "x.y.a.test": "3"}},
		{"never to the weaker, over two", "1 - *.b.a.test;2 + *.a.test;3 - *", map[string]string{"x.y.b.a.test": "", "x.b.a.test": "1", "b.a.test": "2"}},
		{"nor to the weaker without a dot", "1 + *a.test;2 - *", map[string]string{"x.a.test": "", "xa.test": "1", "a.test": "1"}},
		{"a name of its own is taken out", "1 + *.a.test;2 - x.y.a.test;3 - *", map[string]string{"x.y.a.test": "2", "z.y.a.test": ""}},
		{"a wildcard of its own is taken out", "1 + *.a.test;2 - *.y.a.test", map[string]string{"x.y.a.test": "2", "x.z.a.test": ""}},
		{"the older of the wildcard decides", "1 - *.a.test;2 + *.a.test;3 - *", map[string]string{"x.y.a.test": "3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var table *ssl.Table
			for step := range strings.SplitSeq(c.rules, ";") {
				words := strings.Fields(step)
				if words[0] == "del" {
					table = table.Without(words[1])
					continue
				}
				table = table.With(m.profile(words[0], words[1] == "+", words[2:]...))
			}
			for name, want := range c.want {
				id := ""
				if p := table.Lookup(name); p != nil {
					id = p.ID()
				}
				require.Equal(t, want, id, "%q", name)
			}
		})
	}
}

func TestEmptyTable(t *testing.T) {
	for _, table := range []*ssl.Table{nil, {}, (*ssl.Table)(nil).Without("1"), (*ssl.Table)(nil).With()} {
		require.Nil(t, table.Lookup("a.test"))
		require.Nil(t, table.Get("1"))
		require.Zero(t, table.Len())
		require.False(t, table.DemandsClientCert())
		require.Empty(t, slices.Collect(table.All()))
		require.Empty(t, table.Warnings("1"))
	}
	m := newMaker(t)
	a, b := m.profile("a", true, "a.test"), m.profile("b", false, "b.test")
	table := (*ssl.Table)(nil).With(a, b, a)
	require.Equal(t, 2, table.Len())
	for range table.All() {
		break // the loop may end early
	}
	require.False(t, table.Without("a").DemandsClientCert())
}

func TestLookupDoesNotAllocate(t *testing.T) {
	m := newMaker(t)
	var table *ssl.Table
	for i := range 1000 {
		table = table.With(m.profile(fmt.Sprint(i), i%2 == 0, fmt.Sprintf("n%d.test", i), fmt.Sprintf("*.w%d.test", i), fmt.Sprintf("*odd%d.test", i)))
	}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_ = table.Lookup("n500.test")
		_ = table.Lookup("n500.test.")
		_ = table.Lookup("x.w500.test")
		_ = table.Lookup("x.y.w500.test")
		_ = table.Lookup("nothing.test")
		_ = table.Lookup("not a name")
	}))
}

func TestTableWarnings(t *testing.T) {
	m := newMaker(t)
	m.pair = ssltest.NewCA(t, "root").Server("a.test", "*.a.test", "b.test", "pub.a.test", "*.y.a.test", "test", "*.test", "x.y.a.test")
	const older = `the server name %s is that of the older profile "1" too, which answers for it`
	const below = `the server name %s needs no client certificate, but stands below a wildcard of the profile "1", which demands them`
	for _, c := range []struct {
		name  string
		rules string
		want  []string // of the last
	}{
		{"apart", "1 + a.test;2 - b.test", nil},
		{"the same name", "1 - a.test;2 - a.test", []string{fmt.Sprintf(older, "a.test")}},
		{"the same name, stricter", "1 - a.test;2 + a.test", []string{fmt.Sprintf(older, "a.test")}},
		{"the same names", "1 - a.test *.a.test;2 + b.test *.a.test a.test", []string{fmt.Sprintf(older, "*.a.test"), fmt.Sprintf(older, "a.test")}},
		{"the older is replaced", "1 - a.test;2 - a.test;1 - a.test", nil},
		{"a hole in a wildcard", "1 + *.a.test;2 - pub.a.test", []string{fmt.Sprintf(below, "pub.a.test")}},
		{"a deeper hole", "1 + *.a.test;2 - x.y.a.test", []string{fmt.Sprintf(below, "x.y.a.test")}},
		{"a wildcard hole", "1 + *.a.test;2 - *.y.a.test", []string{fmt.Sprintf(below, "*.y.a.test")}},
		{"a hole in the star", "1 + *;2 - a.test", []string{fmt.Sprintf(below, "a.test")}},
		{"a wildcard without a dot", "1 + *;2 - *a.test", []string{fmt.Sprintf(below, "*a.test")}},
		{"no hole: it demands", "1 + *.a.test;2 + pub.a.test", nil},
		{"no hole: the wildcard does not demand", "1 - *.a.test;2 - pub.a.test", nil},
		{"no hole: its own wildcard", "2 - *.a.test pub.a.test", nil},
		{"the star itself", "1 + *.a.test;2 - *", nil},
		{"no such profile", "1 - a.test;del 1", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var table *ssl.Table
			last := ""
			for step := range strings.SplitSeq(c.rules, ";") {
				words := strings.Fields(step)
				last = words[0]
				if words[0] == "del" {
					table, last = table.Without(words[1]), words[1]
					continue
				}
				table = table.With(m.profile(words[0], words[1] == "+", words[2:]...))
			}
			var texts []string
			for _, w := range table.Warnings(last) {
				require.Equal(t, ssl.Warning{ID: last, Field: "Names", Text: w.Text}, w)
				texts = append(texts, w.Text)
			}
			require.Equal(t, c.want, texts)
		})
	}
}
