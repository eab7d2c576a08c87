package hostname_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/hostname"
)

var (
	label63 = strings.Repeat("l", 63)
	name253 = strings.Repeat(label63+".", 3) + strings.Repeat("x", 61)
)

func TestCanonical(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"a.test", "a.test"},
		{"A.TeSt", "a.test"},
		{"a.test.", "a.test"},
		{"localhost", "localhost"},
		{"a_b.test", "a_b.test"},
		{"-", "-"},
		{"xn--bcher-kva.test", "xn--bcher-kva.test"},
		{"127.0.0.1", "127.0.0.1"},
		{"[::1]", "[::1]"},
		{"[2001:DB8:0:0::1]", "[2001:db8::1]"},
		{"[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]"},
		{label63 + ".test", label63 + ".test"},
		{name253, name253},
		{name253 + ".", name253},

		{"", ""},
		{".", ""},
		{"..", ""},
		{"a.test..", ""},
		{".a.test", ""},
		{"a..test", ""},
		{"*.test", ""},
		{"a b", ""},
		{"a\x00b.test", ""},
		{"a,b", ""},
		{"a\nb", ""},
		{"a/b", ""},
		{"a@b", ""},
		{"a%62", ""},
		{"münchen.test", ""},
		{"ａ.test", ""},
		{"a.test:80", ""},
		{"l" + label63 + ".test", ""},
		{name253 + "x", ""},
		{"::1", ""},
		{"[::1", ""},
		{"[]", ""},
		{"[1.2.3.4]", ""},
		{"[fe80::1%eth0]", ""},
		{"[::1].", ""},
	} {
		got, ok := hostname.Canonical(c.in)
		require.Equal(t, c.want, got, "%q", c.in)
		require.Equal(t, c.want != "", ok, "%q", c.in)
	}
}

func TestCanonicalHost(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"a.test", "a.test"},
		{"A.test:443", "a.test"},
		{"a.test.:443", "a.test"},
		{"a.test:", "a.test"},
		{"127.0.0.1:9443", "127.0.0.1"},
		{"a.test:65535", "a.test"},
		{"a.test:80", "a.test"},
		{"[::1]:9443", "[::1]"},
		{"[::1]", "[::1]"},

		{"", ""},
		{":443", ""},
		{"a.test:x", ""},
		{"a.test:-1", ""},
		{"a.test:123456", ""},
		{"a.test:80:90", ""},
		{"u@a.test", ""},
		{"u:p@a.test", ""},
		{"a.test,b.test", ""},
		{"a.test b.test", ""},
		{"::1:443", ""},
		{"[::1]443", ""},
		{"[::1]:x", ""},
		{"*.a.test", ""},
	} {
		got, ok := hostname.CanonicalHost(c.in)
		require.Equal(t, c.want, got, "%q", c.in)
		require.Equal(t, c.want != "", ok, "%q", c.in)
	}
}

func TestCanonicalPattern(t *testing.T) {
	for _, c := range []struct{ in, want, err string }{
		{"A.test.", "a.test", ""},
		{"*.A.test.", "*.a.test", ""},
		{"*a.test", "*a.test", ""},
		{"*", "*", ""},
		{"[::1]", "[::1]", ""},
		{"", "", "is empty"},
		{"*.", "", "is empty"},
		{"**", "", "a star must be the first character"},
		{"a.*.test", "", "a star must be the first character"},
		{"*.*.test", "", "a star must be the first character"},
		{"*[::1]", "", "is no IPv6 address"},
		{"[::", "", "is no IPv6 address"},
		{"a.test:443", "", "without scheme, port or path"},
		{"https://a.test", "", "without scheme, port or path"},
		{"ü.test", "", "beyond ASCII"},
		{"a b", "", "has a character"},
		{"a..test", "", "has a label that is empty"},
		{name253 + "xy", "", "is longer than 253 bytes"},
	} {
		got, err := hostname.CanonicalPattern(c.in)
		require.Equal(t, c.want, got, "%q", c.in)
		if c.err == "" {
			require.NoError(t, err, "%q", c.in)
		} else {
			require.ErrorContains(t, err, c.err, "%q", c.in)
		}
	}
}

// slowly is the rule of [hostname.Canonical] for names, a byte at a time.
func slowly(name string) (string, bool) {
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > 253 {
		return "", false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return "", false
		}
	}
	for _, c := range []byte(name) {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", rune(c)) {
			return "", false
		}
	}
	return strings.ToLower(name), true
}

// Every byte at every place of names of every length, and every two dots.
func TestCanonicalByteByByte(t *testing.T) {
	check := func(name []byte) {
		want, wantOK := slowly(string(name))
		got, ok := hostname.Canonical(string(name))
		if want != got || wantOK != ok {
			t.Fatalf("%q: %q, %t", name, got, ok)
		}
	}
	for length := 1; length <= 70; length++ {
		for at := range length {
			name := []byte(strings.Repeat("az09-_m", 10)[:length])
			for c := range 256 {
				name[at] = byte(c)
				check(name)
			}
			for other := range length {
				name := []byte(strings.Repeat("l", length))
				name[at], name[other] = '.', '.'
				check(name)
			}
		}
	}
}

func TestCanonicalDoesNotAllocate(t *testing.T) {
	require.Zero(t, testing.AllocsPerRun(100, func() {
		hostname.Canonical("www.example.test.")
		hostname.CanonicalHost("www.example.test:443")
		hostname.CanonicalHost("[::1]x")
	}))
}

// The relations that every reader relies on, whatever the bytes.
func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"", "a.test", "A.TEST.", "*.a", "[::1]:80", "a:80", "a..b", "ü", name253, "1.2.3.4", "a\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, ok := hostname.Canonical(s)
		if !strings.HasPrefix(s, "[") {
			want, wantOK := slowly(s)
			require.Equal(t, want, c)
			require.Equal(t, wantOK, ok)
		}
		if !ok {
			require.Empty(t, c)
			return
		}
		again, ok := hostname.Canonical(c)
		require.True(t, ok, "%q", c)
		require.Equal(t, c, again, "idempotent")
		require.Equal(t, strings.ToLower(c), c)
		for _, variant := range []string{s, s + ":443", s + ":", strings.ToUpper(c), strings.ToUpper(c) + ":1"} {
			host, ok := hostname.CanonicalHost(variant)
			require.True(t, ok, "%q", variant)
			require.Equal(t, c, host, "the Host header and the SNI have one form")
		}
		p, err := hostname.CanonicalPattern(s)
		require.NoError(t, err)
		require.Equal(t, c, p, "a configured name and a requested one have one form")
		if !strings.HasPrefix(c, "[") {
			require.LessOrEqual(t, len(c), 253)
		} else {
			_, err := netip.ParseAddr(c[1 : len(c)-1])
			require.NoError(t, err)
		}
	})
}

// fits is the rule of the package doc, one pattern at a time.
func fits(pattern, name string) (labels int, ok bool) {
	suffix, star := strings.CutPrefix(pattern, "*")
	if !star {
		return 0, pattern == name
	}
	if name == "" || !strings.HasSuffix(name, suffix) {
		return 0, false
	}
	stands := strings.TrimSuffix(name, suffix)
	if stands == "" {
		return 0, suffix != "" && suffix[0] != '.'
	}
	return 1 + strings.Count(stands, "."), true
}

type match struct {
	value  int
	labels int
}

// oracle searches a list of patterns front to back.
func oracle(patterns map[string]int, name string) (found []match) {
	keys := make([]string, 0, len(patterns))
	for p := range patterns {
		keys = append(keys, p)
	}
	slices.SortFunc(keys, func(a, b string) int {
		if exactA, exactB := a[0] != '*', b[0] != '*'; exactA != exactB {
			if exactA {
				return -1
			}
			return 1
		}
		return len(b) - len(a)
	})
	for _, p := range keys {
		if labels, ok := fits(p, name); ok {
			found = append(found, match{patterns[p], labels})
		}
	}
	return found
}

func walk(x *hostname.Index[int], name string) (found []match) {
	m := x.Match(name)
	for m.Next() {
		found = append(found, match{m.Value(), m.Labels()})
	}
	return found
}

// checkAsSent compares the walks over the patterns for a name as it was sent with those
// for its canonical form.
func checkAsSent(t testing.TB, x *hostname.Index[int], sent string) {
	var want, got []match
	var wantPatterns, patterns []string
	if name, ok := hostname.Canonical(sent); ok {
		m := x.Match(name)
		for m.Next() {
			want, wantPatterns = append(want, match{m.Value(), m.Labels()}), append(wantPatterns, m.Pattern())
		}
	}
	m := x.MatchAsSent(sent)
	for m.Next() {
		got, patterns = append(got, match{m.Value(), m.Labels()}), append(patterns, m.Pattern())
	}
	require.Equal(t, want, got, "%q", sent)
	require.Equal(t, wantPatterns, patterns, "%q", sent)
	require.False(t, m.Next())
}

// A wildcard is found whatever its length, up to the longest that a name can have.
func TestSuffixesOfEveryLength(t *testing.T) {
	var all hostname.Index[int]
	for length := 1; length <= 251; length++ {
		suffix := name253[len(name253)-length:]
		if suffix[0] == '.' {
			suffix = "y" + suffix[1:]
		}
		alone := hostname.Index[int]{}.With("*."+suffix, length)
		all = all.With("*."+suffix, length)
		for _, x := range []*hostname.Index[int]{&alone, &all} {
			found := walk(x, "z."+suffix)
			require.NotEmpty(t, found, length)
			require.Equal(t, match{length, 1}, found[0])
			checkAsSent(t, x, "Z."+suffix)
		}
		require.Empty(t, walk(&alone, "z.z"+suffix[1:]), length)
	}
}

// sentAs returns a name, or what is none, as a client might send it.
func sentAs(rnd *rand.Rand, name string) string {
	b := []byte(name)
	for range rnd.IntN(3) {
		switch i := rnd.IntN(len(b)); rnd.IntN(5) {
		case 0, 1:
			b[i] = strings.ToUpper(string(b[i]))[0]
		case 2:
			b[i] = " .*[]:\x00\xc3"[rnd.IntN(8)]
		case 3:
			b = slices.Insert(b, i, '.')
		case 4:
			b = append(b, '.')
		}
	}
	return string(b)
}

func randomName(rnd *rand.Rand) string {
	labels := make([]string, 1+rnd.IntN(4))
	for i := range labels {
		labels[i] = []string{"a", "b", "aa", "ab", "test"}[rnd.IntN(5)]
	}
	return strings.Join(labels, ".")
}

func randomPattern(rnd *rand.Rand) string {
	switch rnd.IntN(8) {
	case 0:
		return "*"
	case 1, 2:
		return "*" + randomName(rnd)
	case 3, 4, 5:
		return "*." + randomName(rnd)
	}
	return randomName(rnd)
}

func TestIndexAgainstOracle(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	type version struct {
		x        hostname.Index[int]
		patterns map[string]int
	}
	var x hostname.Index[int]
	patterns := map[string]int{}
	check := func(v version) {
		require.Equal(t, len(v.patterns), v.x.Len())
		for range 20 {
			name := randomName(rnd)
			require.Equal(t, oracle(v.patterns, name), walk(&v.x, name), "%q in %v", name, v.patterns)
			checkAsSent(t, &v.x, sentAs(rnd, name))
		}
		for p, want := range v.patterns {
			got, ok := v.x.Get(p)
			require.True(t, ok)
			require.Equal(t, want, got)
		}
	}
	var versions []version
	for i := range 3000 {
		p := randomPattern(rnd)
		if rnd.IntN(2) == 0 {
			x = x.Without(p)
			delete(patterns, p)
		} else {
			x = x.With(p, i)
			patterns[p] = i
		}
		if i%20 == 0 {
			v := version{x, map[string]int{}}
			maps.Copy(v.patterns, patterns)
			check(v)
			versions = append(versions, v)
		}
	}
	for _, v := range versions { // the old ones still say what they said
		check(v)
	}
}

// What a wildcard fits as it was sent, is a name only if all of it is.
func TestMatchAsSent(t *testing.T) {
	var x hostname.Index[int]
	for i, p := range []string{"a.test", "*.a.test", "*b.test", "[::1]", "*.Label.test"} {
		canonical, err := hostname.CanonicalPattern(p)
		require.NoError(t, err)
		x = x.With(canonical, i)
	}
	long := strings.Repeat("l.", 123)
	for sent, want := range map[string]string{
		"a.test":                  "a.test",
		"A.test.":                 "a.test",
		"x.a.test":                "*.a.test",
		"X.a.test":                "*.a.test",
		"x.a.test.":               "*.a.test",
		"b.test":                  "*b.test",
		"xb.test":                 "*b.test",
		"x.xb.test":               "*b.test",
		"[::1]":                   "[::1]",
		"[0::1]":                  "[::1]",
		label63 + ".a.test":       "*.a.test",
		long + ".a.test"[1:]:      "*.a.test",
		"x." + label63 + "b.test": "",
		label63 + "b.test":        "",
		label63 + "x.a.test":      "",
		long + "l.a.test":         "",
		long + "l.a.test.":        "",
		".a.test":                 "",
		"x..a.test":               "",
		"x y.a.test":              "",
		"[::1].a.test":            "",
		"*.a.test":                "",
		"\xff.a.test":             "",
		"":                        "",
		".":                       "",
	} {
		m := x.MatchAsSent(sent)
		got := ""
		if m.Next() {
			got = m.Pattern()
		}
		require.Equal(t, want, got, "%q", sent)
		checkAsSent(t, &x, sent)
	}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		for _, sent := range []string{"a.test", "x.a.test.", "x.test", "a..test"} {
			m := x.MatchAsSent(sent)
			m.Next()
		}
	}))
	var none hostname.Index[int]
	checkAsSent(t, &none, "a.test")
}

func FuzzIndex(f *testing.F) {
	f.Add("a.test *.test *test *", "x.a.test")
	f.Add("*.b *b *ab", "a.ab.b")
	f.Add("*.a.test [::1] *", "[::1].a.test")
	f.Add("*.a.test *.b.a.test", "x.B.a.test.")
	f.Fuzz(func(t *testing.T, list, name string) {
		var x hostname.Index[int]
		patterns := map[string]int{}
		for i, s := range strings.Fields(list) {
			if p, err := hostname.CanonicalPattern(s); err == nil {
				x = x.With(p, i)
				patterns[p] = i
			}
		}
		if name, ok := hostname.Canonical(name); ok {
			require.Equal(t, oracle(patterns, name), walk(&x, name))
		}
		checkAsSent(t, &x, name)
		require.Empty(t, walk(&x, ""), "no name fits nothing")
	})
}

func BenchmarkCanonical(b *testing.B) {
	for _, name := range []string{"a.test", "www.example-host.test", "WWW.example-host.test", strings.Repeat("label.", 15) + "test"} {
		b.Run(fmt.Sprintf("bytes=%d/upper=%t", len(name), name != strings.ToLower(name)), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				hostname.Canonical(name)
			}
		})
	}
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{100, 10_000, 100_000} {
		var x hostname.Index[int]
		for i := range n {
			x = x.With(fmt.Sprintf("h%07d.bench.test", i), i).With(fmt.Sprintf("*.w%07d.bench.test", i), i)
		}
		for kind, name := range map[string]string{
			"exact":    fmt.Sprintf("h%07d.bench.test", n/2),
			"wildcard": fmt.Sprintf("a.w%07d.bench.test", n/2),
			"none":     "www.example.org",
		} {
			b.Run(fmt.Sprintf("names=%d/kind=%s", n, kind), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					m := x.MatchAsSent(name)
					m.Next()
				}
			})
		}
	}
}
