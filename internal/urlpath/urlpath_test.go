package urlpath_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/urlpath"
)

// everyOptions are all there are.
var everyOptions = func() (all []urlpath.Options) {
	for i := range 16 {
		all = append(all, urlpath.Options{DeleteTailSlash: i&1 != 0, Servlet: i&2 != 0, EncodedSlash: i&4 != 0, PlainOnly: i&8 != 0})
	}
	return all
}()

func TestParse(t *testing.T) {
	seen := make(map[string]bool)
	for _, c := range corpus {
		require.False(t, seen[c.raw], "%q is there twice", c.raw)
		seen[c.raw] = true
		expect := map[urlpath.Options]reading{tail: c.reading, servlet: c.reading, slashes: c.reading}
		for o, r := range c.where {
			require.NotEqual(t, zero, o)
			expect[o] = r
		}
		expect[zero] = c.reading
		for o, want := range expect {
			require.Equal(t, want, read(t, o, c.raw), "%q under %+v", c.raw, o)
			o.PlainOnly = true
			if want.err == nil && !want.plain {
				want = refused(urlpath.ErrNotPlain)
			}
			require.Equal(t, want, read(t, o, c.raw), "%q under %+v", c.raw, o)
		}
		p, err := urlpath.Parse(c.raw)
		require.Equal(t, c.reading, reading{p.Normal, p.Plain, err}, "%q", c.raw)
	}
}

func read(t *testing.T, o urlpath.Options, raw string) reading {
	t.Helper()
	p, err := o.Parse(raw)
	if err != nil {
		require.Zero(t, p)
	} else {
		require.Equal(t, raw, p.Raw)
	}
	return reading{p.Normal, p.Plain, err}
}

// Every option makes a difference in the corpus, and every pair of them too.
func TestCorpusIsWide(t *testing.T) {
	rows := make(map[urlpath.Options]int)
	for _, c := range corpus {
		for o := range c.where {
			rows[o]++
		}
	}
	for _, o := range everyOptions {
		if o.PlainOnly || o == zero || o == (urlpath.Options{DeleteTailSlash: true, Servlet: true, EncodedSlash: true}) {
			continue
		}
		require.NotZero(t, rows[o], "%+v", o)
	}
}

// checkLaws checks what the package promises for whatever is read.
func checkLaws(t *testing.T, o urlpath.Options, raw string) {
	t.Helper()
	p, err := o.Parse(raw)
	if err != nil {
		require.Contains(t, everyError, err)
		require.Zero(t, p)
		require.Empty(t, p.Guard())
		return
	}
	require.Equal(t, raw, p.Raw)
	require.True(t, strings.HasPrefix(p.Normal, "/"), "%q", p.Normal)
	require.NotContains(t, p.Normal, "//")
	for _, dots := range []string{"/.", "/.."} {
		require.NotContains(t, p.Normal+"/", dots+"/")
	}

	again, err := o.Parse(encode(o, p.Normal))
	require.NoError(t, err, "%q of %q under %+v", p.Normal, raw, o)
	require.Equal(t, p.Normal, again.Normal, "%q under %+v", raw, o)

	if !p.Plain {
		require.False(t, o.PlainOnly, "%q under %+v", raw, o)
		require.Empty(t, p.Guard())
		return
	}
	require.Equal(t, raw, p.Guard())
	require.True(t, again.Plain, "%q under %+v", raw, o)
	decoded, err := url.PathUnescape(raw)
	require.NoError(t, err)
	require.Equal(t, p.Normal, decoded, "%q under %+v", raw, o)
	twice, err := url.PathUnescape(decoded)
	require.NoError(t, err)
	require.Equal(t, decoded, twice)
	require.NotContains(t, p.Normal, ";")
	require.NotContains(t, p.Normal, `\`)
	for _, other := range everyOptions {
		q, err := other.Parse(raw)
		if other.DeleteTailSlash && raw != "/" && strings.HasSuffix(raw, "/") {
			if other.PlainOnly {
				require.Equal(t, urlpath.ErrNotPlain, err, "%q under %+v", raw, other)
				continue
			}
			require.NoError(t, err)
			require.Equal(t, urlpath.Path{Raw: raw, Normal: strings.TrimSuffix(p.Normal, "/")}, q, "%q under %+v", raw, other)
			continue
		}
		require.NoError(t, err, "%q under %+v", raw, other)
		require.Equal(t, p, q, "%q under %+v", raw, other)
	}
}

var everyError = []error{
	urlpath.ErrNotAbsolute, urlpath.ErrEscape, urlpath.ErrControl, urlpath.ErrFragment, urlpath.ErrQuery, urlpath.ErrAboveRoot,
	urlpath.ErrDotParameters, urlpath.ErrEncodedDotParameters, urlpath.ErrEmptyParameters,
	urlpath.ErrEncodedSlashTwice, urlpath.ErrEncodedSlashDot, urlpath.ErrNotPlain,
}

// encode returns what a client has to send for a normalised path.
func encode(o urlpath.Options, normal string) string {
	if o.EncodedSlash {
		pieces := strings.Split(normal, "%2F")
		o.EncodedSlash = false
		for i, piece := range pieces {
			pieces[i] = encode(o, piece)
		}
		return strings.Join(pieces, "%2F")
	}
	var b strings.Builder
	for _, c := range []byte(normal) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte("%#?;", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func TestParseDoesNotAllocate(t *testing.T) {
	for _, o := range everyOptions {
		require.Zero(t, testing.AllocsPerRun(100, func() {
			_, _ = o.Parse("/an/ordinary/path.html")
			_, _ = o.Parse("/an/ordinary/path/")
			_, _ = o.Parse("/日本")
		}), "%+v", o)
	}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_, _ = urlpath.Parse("/an/ordinary/path.html")
		_, _ = urlpath.Parse("/a;b")
	}))
	// What has to be normalised is, but for the string that comes of it, on the
	// stack.
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		_, _ = urlpath.Parse("/a/rather/long/path/with/two/segments/%61%62%63/that/are/encoded/%61%62%63")
	}), 1.0)
}

func TestTarget(t *testing.T) {
	for _, c := range []struct {
		target, path, query string
		hasQuery, ok        bool
	}{
		{"/a?b=c", "/a", "b=c", true, true},
		{"/a?", "/a", "", true, true},
		{"/a", "/a", "", false, true},
		{"//evil/x", "//evil/x", "", false, true},
		{"//user@evil/x", "//user@evil/x", "", false, true},
		{"http://a.test/x?y", "/x", "y", true, true},
		{"HTTPS://a.test", "/", "", false, true},
		{"hTtP://a.test/x", "/x", "", false, true},
		{"http://a.test?x=http://b/c", "/", "x=http://b/c", true, true},
		{"/a?b?c", "/a", "b?c", true, true},
		{"/?/../a", "/", "/../a", true, true},
		{"/a#b?c", "/a#b", "c", true, true},

		// With user information, and with what is none.
		{"http://user:pw@a.test/x", "/x", "", false, true},
		{"http://user@a.test:80//x/../y", "//x/../y", "", false, true},
		{"http://a.test@b.test@c.test/x", "/x", "", false, true},
		{"http://a.test%2Fx@b.test/y", "/y", "", false, true},
		{`http://a.test\@b.test/x`, "/x", "", false, true},
		{"http://a.test;x/y", "/y", "", false, true},
		{"http://a.test#@b.test/x", "/x", "", false, true},
		{"http://a.test?@b.test/x", "/", "@b.test/x", true, true},
		{"http:///x", "/x", "", false, true},
		{"http://", "/", "", false, true},
		{"http://[::1]:80/x", "/x", "", false, true},
		{"http://a.test/http://b.test/x", "/http://b.test/x", "", false, true},

		{"*", "", "", false, false},
		{"a.test:443", "", "", false, false},
		{"ftp://a/b", "", "", false, false},
		{"http:/a/b", "", "", false, false},
		{"http:a/b", "", "", false, false},
		{"http?://a/b", "", "", false, false},
		{"httpſ://a/b", "", "", false, false},
		{" http://a/b", "", "", false, false},
		{"javascript://a/b", "", "", false, false},
		{`\\a\b`, "", "", false, false},
		{"://a/b", "", "", false, false},
		{"?x", "", "", false, false},
		{"", "", "", false, false},
	} {
		path, query, hasQuery, ok := urlpath.Target(c.target)
		require.Equal(t, c.path, path, "%q", c.target)
		require.Equal(t, c.query, query, "%q", c.target)
		require.Equal(t, c.hasQuery, hasQuery, "%q", c.target)
		require.Equal(t, c.ok, ok, "%q", c.target)
	}
}

func TestRaw(t *testing.T) {
	for _, c := range []struct{ target, want string }{
		{"/a", "/a"},
		{"/a|b", "/a|b"},
		{"/a%2Fb%7C?x=%2e", "/a%2Fb%7C"},
		{"//a/b", "//a/b"},
		{"http://a.test/x%20y?z", "/x%20y"},
		{"http://a.test", "/"},
	} {
		u, err := url.ParseRequestURI(c.target)
		require.NoError(t, err)
		r := &http.Request{RequestURI: c.target, URL: u}
		require.Equal(t, c.want, urlpath.Raw(r), "%q", c.target)
	}

	// A handler in front has the last word.
	var got string
	h := http.StripPrefix("/api", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = urlpath.Raw(r) }))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/api/a%2Fb|c", nil))
	require.Equal(t, "/a%2Fb|c", got)
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/api", nil))
	require.Equal(t, "/", got)
	require.Equal(t, "*", urlpath.Raw(&http.Request{RequestURI: "*", URL: &url.URL{Path: "*"}}))
	require.Equal(t, "/x%20y", urlpath.Raw(&http.Request{URL: &url.URL{Path: "/x y"}}), "a request that no server made")
}
