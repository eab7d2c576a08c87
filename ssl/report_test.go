package ssl_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// Clients send no address as a server name: a profile with one is only found where it
// answers for those that send none.
func TestAddressWarnings(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	text := func(name string) string {
		return "the server name " + name + " is an IP address, and clients send none as a server name (RFC 6066, section 3): they get this profile only where FallbackName is one of its names"
	}
	for _, c := range []struct {
		name, fallback string
		names          []string
		want           []string
	}{
		{"IPv4", "", []string{"10.0.0.1"}, []string{text("10.0.0.1")}},
		{"IPv6", "", []string{"[2001:DB8::1]"}, []string{text("[2001:db8::1]")}},
		{"beside a name", "", []string{"a.test", "10.0.0.1", "[::1]"}, []string{text("10.0.0.1"), text("[::1]")}},
		{"a fallback of another profile", "b.test", []string{"10.0.0.1"}, []string{text("10.0.0.1")}},
		{"a fallback that nobody has", "nobody.test", []string{"10.0.0.1"}, []string{text("10.0.0.1")}},
		{"the fallback", "10.0.0.1", []string{"10.0.0.1"}, nil},
		{"the fallback, IPv6", "[::1]", []string{"[::1]", "10.0.0.1"}, nil},
		{"the fallback is another of its names", "A.test.", []string{"a.test", "10.0.0.1"}, nil},
		{"the fallback is below its wildcard", "x.a.test", []string{"*.a.test", "10.0.0.1"}, nil},
		{"no address", "", []string{"a.test", "1.test", "a.1", "*.2"}, nil},
		{"numbers that are no address", "", []string{"10.0.0.1.2", "10.0.0", "10.0.0.256"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := must(ssl.NewStore(&ssl.Options{FallbackName: c.fallback}))
			var covered []string
			for _, name := range c.names {
				covered = append(covered, strings.Trim(name, "[]"))
			}
			report, err := store.Put(
				server(ca, "other", nil, "b.test"),
				ssl.Config{ID: "1", Names: c.names, Certificates: []ssl.KeyPair{ca.Server(covered...)}},
			)
			require.NoError(t, err)
			var texts []string
			for _, w := range report.Warnings {
				require.Equal(t, ssl.Warning{ID: "1", Field: "Names", Text: w.Text}, w)
				texts = append(texts, w.Text)
			}
			require.Equal(t, c.want, texts)
		})
	}
}

// A name that is not closed to clients without a certificate any more is told of.
func TestOpenedNames(t *testing.T) {
	m := newMaker(t)
	m.pair = ssltest.NewCA(t, "root").Server("a.test", "b.test", "*.a.test", "x.a.test", "*.test")
	nobody := func(name string) string {
		return "the server name " + name + " demanded client certificates until this change, and no profile answers for it now: a request for it that comes over plain HTTP, or a connection made for another name, needs none"
	}
	by := func(name, id string) string {
		return fmt.Sprintf("the server name %s demanded client certificates until this change: the profile %q answers for it now, and demands none", name, id)
	}
	// The rules are as in TestTableWarnings. Of the change there are only warnings about names
	// that were opened.
	for _, c := range []struct {
		name, before, change string
		want                 []string // ID and text
	}{
		{"deleted", "1 + a.test", "del 1", []string{"1: " + nobody("a.test")}},
		{"deleted, one of many", "1 + a.test;2 + b.test;3 - *", "del 1", []string{"1: " + by("a.test", "3")}},
		{"several names", "1 + a.test b.test *.a.test", "del 1", []string{"1: " + nobody("a.test"), "1: " + nobody("b.test"), "1: " + nobody("*.a.test")}},
		{"demands no longer", "1 + a.test", "1 - a.test", []string{"1: " + by("a.test", "1")}},
		{"has the name no longer", "1 + a.test b.test", "1 + b.test", []string{"1: " + nobody("a.test")}},
		{"has it no longer, and a wildcard answers", "1 + a.test b.test;2 - *.test", "1 + b.test", []string{"1: " + by("a.test", "2")}},
		{"a wildcard", "1 + *.a.test", "1 + x.a.test", []string{"1: " + nobody("*.a.test")}},
		{"a wildcard, and one above is open", "1 + *.a.test;2 - *", "del 1", []string{"1: " + by("*.a.test", "2")}},
		{"a wildcard without a dot", "1 + *a.test;2 - *.test", "del 1", []string{"1: " + by("*a.test", "2")}},
		{"the star", "1 + *", "del 1", []string{"1: " + nobody("*")}},
		{"a name of a wildcard is closed", "1 + *.a.test;2 + x.a.test", "del 1", []string{"1: " + nobody("*.a.test")}},
		{"a younger one answers", "1 + a.test;2 - a.test", "del 1", []string{"1: " + by("a.test", "2")}},
		{"both that had it", "1 + a.test;2 + a.test", "del 1;del 2", []string{"1: " + nobody("a.test")}},
		{"it moves to one that does not demand", "1 + a.test", "del 1;2 - a.test", []string{"2: " + by("a.test", "2")}},
		{"deleted and put again", "1 + a.test", "del 1;1 - a.test", []string{"1: " + by("a.test", "1")}},
		{"an older one takes it", "1 - b.test;2 + a.test", "1 - a.test", []string{"1: " + by("a.test", "1")}},
		{"two at once", "1 + a.test;2 + b.test", "2 - b.test;del 1", []string{"2: " + by("b.test", "2"), "1: " + nobody("a.test")}},

		{"an older one takes it, and demands", "1 - b.test;2 + a.test", "1 + a.test", nil},
		{"a younger one wants it", "1 + a.test;2 - b.test", "2 - a.test", nil},
		{"nothing was closed", "1 - a.test", "del 1", nil},
		{"nothing was there", "", "del 1;2 - a.test", nil},
		{"new", "", "1 + a.test", nil},
		{"the same again", "1 + a.test", "1 + a.test", nil},
		{"a name more", "1 + a.test", "1 + a.test b.test", nil},
		{"it moves", "1 + a.test", "del 1;2 + a.test", nil},
		{"a younger one demands", "1 + a.test;2 + a.test", "del 1", nil},
		{"a wildcard demands", "1 + x.a.test;2 + *.a.test", "del 1", nil},
		{"a wildcard demands, and is not for so many labels", "1 + x.y.a.test;2 + *.a.test;3 - *", "del 1", nil},
		{"a wildcard below one that demands", "1 + *.y.a.test;2 + *.a.test;3 - *", "del 1", nil},
		{"the star demands", "1 + *.a.test;2 + *", "del 1", nil},
		{"an older one answered", "1 - a.test;2 + a.test", "del 2", nil},
		{"others are not looked at", "1 - a.test;2 + b.test", "del 1", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, _ := m.apply(nil, c.before)
			after, ids := m.apply(before, c.change)
			require.Equal(t, c.want, openings(must(ssl.NewTerminator(func() *ssl.Table { return nil }, nil)).Report(before, after, ids...)))
		})
	}
}

// apply makes a change of a table, which is written as "del 1;2 + a.test", and returns
// whom it touches: those that it puts before those that it deletes.
func (m *maker) apply(table *ssl.Table, rules string) (*ssl.Table, []string) {
	var put []*ssl.Profile
	var ids, gone []string
	for rule := range strings.SplitSeq(rules, ";") {
		switch words := strings.Fields(rule); {
		case len(words) == 0:
		case words[0] == "del":
			gone = append(gone, words[1])
		default:
			put = append(put, m.profile(words[0], words[1] == "+", words[2:]...))
			ids = append(ids, words[0])
		}
	}
	return table.Without(gone...).With(put...), append(ids, gone...)
}

// openings are the warnings of a report about names that were opened.
func openings(report ssl.Report) (texts []string) {
	for _, w := range report.Warnings {
		if w.Opened != strings.Contains(w.Text, "demanded client certificates until this change") {
			texts = append(texts, "Opened is wrong of "+w.Text)
		}
		if w.Opened {
			texts = append(texts, w.ID+": "+w.Text)
		}
	}
	return texts
}

// A change of everything does not bury what else there is to say.
func TestOpenedNamesOfMany(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	store := must(ssl.NewStore(nil))
	var ids []string
	for i := range 7 {
		id := fmt.Sprint(i)
		put(t, store, server(ca, id, &ssl.ClientAuth{CAPEM: ca.PEM()}, "a"+id+".test", "b"+id+".test"))
		ids = append(ids, id)
	}
	report := store.Delete(ids...)
	require.Len(t, report.Warnings, 11)
	require.Contains(t, report.Warnings[0].Text, "the server name a0.test demanded")
	require.Contains(t, report.Warnings[9].Text, "the server name b4.test demanded")
	require.Equal(t, ssl.Warning{ID: "5", Text: "4 more server names demanded client certificates until this change, and demand none now", Opened: true}, report.Warnings[10])
}

// Whatever the change: a name that the guard let nobody at without a certificate before it,
// and does after, is told of; and what is told of is so.
func TestOpenedNamesAreThose(t *testing.T) {
	m := newMaker(t)
	term := must(ssl.NewTerminator(func() *ssl.Table { return nil }, nil))
	open := func(table *ssl.Table, name string) bool {
		_, err := term.Judge(table, nil, name, "/")
		return err == nil
	}
	r := rand.New(rand.NewPCG(1, 2))
	rules := func() string {
		var list []string
		for id := range 4 {
			switch r.IntN(4) {
			case 0:
				list = append(list, fmt.Sprint("del ", id))
			case 1, 2:
				list = append(list, fmt.Sprint(id, " ", "+-"[r.IntN(2):][:1], " ", randomPattern(r), " ", randomPattern(r)))
			}
		}
		return strings.Join(list, ";")
	}
	told := 0
	for range 3000 {
		first, second := rules(), rules()
		before, _ := m.apply(nil, first)
		after, ids := m.apply(before, second)
		report := term.Report(before, after, ids...)
		var patterns, all []string // told of as opened, and in any way
		for _, w := range report.Warnings {
			pattern, found := strings.CutPrefix(w.Text, "the server name ")
			if !found {
				continue
			}
			pattern, rest, _ := strings.Cut(pattern, " ")
			all = append(all, pattern)
			if strings.HasPrefix(rest, "demanded") {
				patterns = append(patterns, pattern)
			}
		}
		told += len(patterns)
		for _, pattern := range patterns {
			name := strings.Replace(pattern, "*", "zz", 1) // which no other pattern has
			require.False(t, open(before, name), "%s; then %s: %s", first, second, pattern)
			require.True(t, open(after, name), "%s; then %s: %s", first, second, pattern)
		}
		for range 20 {
			name := randomName(r)
			if open(before, name) || !open(after, name) {
				continue
			}
			covered := false
			for _, pattern := range all {
				suffix, star := strings.CutPrefix(pattern, "*")
				covered = covered || name == pattern || star && strings.HasSuffix(name, suffix)
			}
			require.True(t, covered, "%s; then %s: %s is open, and there is only %v", first, second, name, report.Warnings)
		}
	}
	require.Greater(t, told, 1000, "the test says something")
}

// A Store that was not made with NewStore says so at the first change, not by a panic in the
// first handshake.
func TestZeroStore(t *testing.T) {
	var store ssl.Store
	_, err := store.Put(server(ssltest.NewCA(t, "root"), "1", nil, "a.test"))
	require.EqualError(t, err, "ssl: a zero Store takes no change: make it with NewStore")
	_, err = store.Apply(ssl.Change{})
	require.Error(t, err)
	require.Empty(t, store.Delete("1"))
	require.Zero(t, store.Table().Len())
}

// A profile that a change deletes and puts is one profile.
func TestReportOnce(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	store := newStore(t, nil, server(ca, "1", nil, "a.test"))
	report, err := store.Apply(ssl.Change{Delete: []string{"1", "none", "none"}, Put: []ssl.Config{server(ca, "1", nil, "a.test", "10.0.0.1")}})
	require.NoError(t, err)
	require.Len(t, report.Warnings, 1)
}
