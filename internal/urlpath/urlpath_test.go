package urlpath_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/urlpath"
)

// The hostile corpus: what a client may send to be taken for another path.
var corpus = []struct {
	raw    string
	normal string
	plain  bool
	err    error
}{
	{"/", "/", true, nil},
	{"/a", "/a", true, nil},
	{"/a/", "/a/", true, nil},
	{"/a/b.c", "/a/b.c", true, nil},
	{"/a.", "/a.", true, nil},
	{"/.well-known/x", "/.well-known/x", true, nil},
	{"/...", "/...", true, nil},
	{"/..a/.b/c..", "/..a/.b/c..", true, nil},
	{"/caf%C3%A9", "/café", true, nil},
	{"/%7Euser", "/~user", true, nil},
	{"/a%20b", "/a b", true, nil},
	{"/%61dmin", "/admin", true, nil},
	{"/a|b{c}^\"<>`", "/a|b{c}^\"<>`", true, nil},
	{"/a:b@c=d&e+f,g!h$i'(j)*[k]", "/a:b@c=d&e+f,g!h$i'(j)*[k]", true, nil},

	// Empty segments.
	{"//", "/", false, nil},
	{"//admin", "/admin", false, nil},
	{"/a//b", "/a/b", false, nil},
	{"/a//", "/a/", false, nil},
	{"/a///b", "/a/b", false, nil},

	// Dot segments, in every spelling.
	{"/.", "/", false, nil},
	{"/./", "/", false, nil},
	{"/a/.", "/a/", false, nil},
	{"/a/./b", "/a/b", false, nil},
	{"/a/..", "/", false, nil},
	{"/a/../", "/", false, nil},
	{"/public/../admin", "/admin", false, nil},
	{"/public/%2e%2e/admin", "/admin", false, nil},
	{"/public/.%2E/admin", "/admin", false, nil},
	{"/public/%2E./admin", "/admin", false, nil},
	{"/public/%2e/admin", "/public/admin", false, nil},
	{"/a//../b", "/b", false, nil},
	{"/a/b/c/../../d", "/a/d", false, nil},
	{"/a%2f..%2fadmin", "/admin", false, nil},
	{"/public%2f..%2fadmin", "/admin", false, nil},
	{"/public/..%2fadmin", "/admin", false, nil},

	// Encoded once more than it seems: decoded once, and not plain.
	{"/public/%252e%252e/admin", "/public/%2e%2e/admin", false, nil},
	{"/%2561dmin", "/%61dmin", false, nil},

	// Separators to others.
	{"/a%2Fb", "/a/b", false, nil},
	{"/a%5cb", `/a\b`, false, nil},
	{`/a\b`, `/a\b`, false, nil},
	{`/public\..\admin`, `/public\..\admin`, false, nil},
	{"/public/..;/admin", "/public/..;/admin", false, nil},
	{"/public/..;x/admin", "/public/..;x/admin", false, nil},
	{"/public;x=/../admin", "/admin", false, nil},
	{"/a;b", "/a;b", false, nil},
	{"/a%3bb", "/a;b", false, nil},
	{"/a%3fb", "/a?b", false, nil},
	{"/a%23b", "/a#b", false, nil},
	{"/a%25b", "/a%b", false, nil},
	{"/a%3Ab", "/a:b", false, nil},
	{"/a%2Cb", "/a,b", false, nil},

	// Control characters and overlong forms.
	{"/a%0d%0ab", "/a\r\nb", false, nil},
	{"/a%7f", "/a\x7f", false, nil},
	{"/a%c0%afb", "/a\xc0\xafb", false, nil},
	{"/%c0%ae%c0%ae/admin", "/\xc0\xae\xc0\xae/admin", false, nil},
	{"/%ff", "/\xff", false, nil},
	{"/%E2%80%AE", "/\u202e", true, nil},
	{"/\xe2\x80\xae", "/\u202e", true, nil},

	// Refused.
	{"", "", false, urlpath.ErrNotAbsolute},
	{"*", "", false, urlpath.ErrNotAbsolute},
	{"a/b", "", false, urlpath.ErrNotAbsolute},
	{"%2fa", "", false, urlpath.ErrNotAbsolute},
	{"/%", "", false, urlpath.ErrEscape},
	{"/%4", "", false, urlpath.ErrEscape},
	{"/%zz", "", false, urlpath.ErrEscape},
	{"/%4g", "", false, urlpath.ErrEscape},
	{"/%u002e", "", false, urlpath.ErrEscape},
	{"/a%00b", "", false, urlpath.ErrControl},
	{"/a\x00b", "", false, urlpath.ErrControl},
	{"/a\tb", "", false, urlpath.ErrControl},
	{"/a b", "", false, urlpath.ErrControl},
	{"/a\x7f", "", false, urlpath.ErrControl},
	{"/a#b", "", false, urlpath.ErrFragment},
	{"/..", "", false, urlpath.ErrAboveRoot},
	{"/../a", "", false, urlpath.ErrAboveRoot},
	{"/a/../..", "", false, urlpath.ErrAboveRoot},
	{"/a/../../b", "", false, urlpath.ErrAboveRoot},
	{"/%2e%2e/a", "", false, urlpath.ErrAboveRoot},
	{"/./../a", "", false, urlpath.ErrAboveRoot},
	{"//../a", "", false, urlpath.ErrAboveRoot},
}

func TestParse(t *testing.T) {
	for _, c := range corpus {
		p, err := urlpath.Parse(c.raw)
		require.Equal(t, c.err, err, "%q", c.raw)
		require.Equal(t, c.normal, p.Normal, "%q", c.raw)
		require.Equal(t, c.plain, p.Plain, "%q", c.raw)
		if err == nil {
			require.Equal(t, c.raw, p.Raw)
		}
	}
}

func TestParseDoesNotAllocate(t *testing.T) {
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_, _ = urlpath.Parse("/an/ordinary/path.html")
		_, _ = urlpath.Parse("/a;b")
	}))
}

// What a path costs grows with its length alone: each step up must not copy what
// stands before it.
func TestParseIsLinear(t *testing.T) {
	hostile := "/" + strings.Repeat("a", 10_000) + strings.Repeat("/x/..", 2_000)
	require.LessOrEqual(t, testing.AllocsPerRun(10, func() { _, _ = urlpath.Parse(hostile) }), 2.0)
}

// The obvious version: decode, then handle the segments as a list.
func oracle(raw string) (string, bool) {
	decoded, err := url.PathUnescape(raw)
	if err != nil || !strings.HasPrefix(raw, "/") || strings.Contains(decoded, "\x00") {
		return "", false
	}
	var out []string
	segments := strings.Split(decoded[1:], "/")
	for i, s := range segments {
		last := i == len(segments)-1
		switch {
		case s == "..":
			if len(out) == 0 {
				return "", false
			}
			out = out[:len(out)-1]
		case s == "" || s == ".":
		default:
			out = append(out, s)
			if last {
				return "/" + strings.Join(out, "/"), true
			}
		}
	}
	if len(out) == 0 {
		return "/", true
	}
	return "/" + strings.Join(out, "/") + "/", true
}

func FuzzParse(f *testing.F) {
	for _, c := range corpus {
		f.Add(c.raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		p, err := urlpath.Parse(raw)
		want, ok := oracle(raw)
		if strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' }) {
			ok = false
		}
		require.Equal(t, ok, err == nil, "%q: %v", raw, err)
		if err != nil {
			return
		}
		require.Equal(t, want, p.Normal)
		require.Equal(t, raw, p.Raw)

		// What is plain, is itself: an origin that does not normalise, one that
		// decodes, and one that normalises twice all see the same.
		if p.Plain {
			decoded, err := url.PathUnescape(raw)
			require.NoError(t, err)
			require.Equal(t, p.Normal, decoded)
			twice, err := url.PathUnescape(decoded)
			require.NoError(t, err)
			require.Equal(t, decoded, twice)
			require.NotContains(t, p.Normal, "//")
			require.NotContains(t, p.Normal+"/", "/../")
			require.NotContains(t, p.Normal+"/", "/./")
			require.NotContains(t, p.Normal, ";")
			require.NotContains(t, p.Normal, `\`)
		}
		// The normalised path has no dot or empty segment left.
		if !strings.ContainsAny(p.Normal, "%# \x7f") {
			if again, err := urlpath.Parse(p.Normal); err == nil {
				require.Equal(t, p.Normal, again.Normal, "idempotent")
			}
		}
	})
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
		{"http://a.test/x?y", "/x", "y", true, true},
		{"HTTPS://a.test", "/", "", false, true},
		{"http://a.test?x=http://b/c", "/", "x=http://b/c", true, true},
		{"/a?b?c", "/a", "b?c", true, true},
		{"*", "", "", false, false},
		{"a.test:443", "", "", false, false},
		{"ftp://a/b", "", "", false, false},
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

func BenchmarkParse(b *testing.B) {
	for kind, raw := range map[string]string{
		"plain":   "/apisix/admin/routes/quickstart-ip",
		"encoded": "/apisix/caf%C3%A9/routes",
		"dots":    "/apisix/../admin/./routes",
	} {
		b.Run("kind="+kind, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = urlpath.Parse(raw)
			}
		})
	}
}
