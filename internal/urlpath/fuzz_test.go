package urlpath_test

import (
	"bufio"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/urlpath"
)

// The obvious version of Parse: it takes a path apart and goes over the list of its
// segments once for each rule. faults are all the reasons to refuse it.
func oracle(o urlpath.Options, raw string) (normal string, plain bool, faults []error) {
	fault := func(wrong bool, err error) {
		if wrong {
			faults = append(faults, err)
		}
	}
	fault(!strings.HasPrefix(raw, "/"), urlpath.ErrNotAbsolute)
	fault(hasControl.MatchString(raw), urlpath.ErrControl)
	fault(strings.Contains(raw, "#"), urlpath.ErrFragment)
	fault(strings.Contains(raw, "?"), urlpath.ErrQuery)
	if len(faults) > 0 {
		return "", false, faults
	}
	decoded, err := url.PathUnescape(raw)
	if err != nil {
		return "", false, everyError // which of the faults comes first, is not said
	}

	segments := strings.Split(raw[1:], "/")
	cut := false
	if o.Servlet {
		for i, s := range segments {
			head, _, found := strings.Cut(s, ";")
			if !found {
				continue
			}
			cut = true
			segments[i] = head
			if !o.EncodedSlash { // then the parameters are those of the last of several
				pieces := anEncodedSlash.Split(head, -1)
				head = pieces[len(pieces)-1]
			}
			once, _ := url.PathUnescape(head)
			twice, err := url.PathUnescape(once)
			fault(isDots(once), urlpath.ErrDotParameters)
			fault(err == nil && once != twice && isDots(twice) && !anEncodedSlash.MatchString(head), urlpath.ErrEncodedDotParameters)
			fault(head == "" && i < len(segments)-1, urlpath.ErrEmptyParameters)
		}
	}
	if o.EncodedSlash {
		for i, s := range segments {
			pieces := anEncodedSlash.Split(s, -1)
			for j, piece := range pieces {
				pieces[j], _ = url.PathUnescape(piece)
				fault(len(pieces) > 1 && isDots(pieces[j]), urlpath.ErrEncodedSlashDot)
				fault(anEncodedSlash.MatchString(pieces[j]), urlpath.ErrEncodedSlashTwice)
			}
			segments[i] = strings.Join(pieces, "%2F")
		}
	} else {
		joined, _ := url.PathUnescape(strings.Join(segments, "/"))
		segments = strings.Split(joined, "/")
	}

	var out []string
	slash := false // what is found ends in a slash
	for i, s := range segments {
		last := i == len(segments)-1
		switch {
		case s == "..":
			if len(out) == 0 {
				fault(true, urlpath.ErrAboveRoot)
			} else {
				out = out[:len(out)-1]
			}
			slash = true
		case s == "" || s == ".":
			slash = true
		default:
			out = append(out, s)
			slash = !last
		}
	}
	normal = "/" + strings.Join(out, "/")
	if slash && len(out) > 0 {
		normal += "/"
	}
	plain = !cut && !isOdd.MatchString(raw) && utf8.ValidString(decoded) && !isLookalike.MatchString(decoded)
	if o.DeleteTailSlash && normal != "/" && strings.HasSuffix(normal, "/") {
		normal, plain = strings.TrimSuffix(normal, "/"), false
	}
	fault(o.PlainOnly && !plain, urlpath.ErrNotPlain)
	// An encoded NUL is a character of its segment for all of the above.
	fault(strings.Contains(decoded, "\x00"), urlpath.ErrControl)
	return normal, plain, faults
}

func isDots(s string) bool { return s == "." || s == ".." }

var (
	hasControl     = regexp.MustCompile(`[\x00-\x20\x7f]`)
	anEncodedSlash = regexp.MustCompile(`%2[Ff]`)
	isOdd          = regexp.MustCompile(`(?i)[;\\]|//|(/|%2f)((\.|%2e){1,2}|(\.|%2e)*%20(\.|%2e|%20)*)(/|%2f|$)|%([01].|7f|2[13456789abcf]|3[abdf]|40|5[bcd])`)
	isLookalike    = regexp.MustCompile(`[` +
		`\x{37e}\x{2024}-\x{2026}\x{2044}-\x{2049}\x{2100}\x{2101}\x{2105}\x{2106}\x{2215}\x{2216}\x{2488}-\x{249b}\x{33c2}-\x{33d8}` +
		`\x{fe10}-\x{fe19}\x{fe30}\x{fe50}-\x{fe6f}\x{ff01}-\x{ff5e}\x{1f100}]`)
)

func FuzzParse(f *testing.F) {
	const enough = 100 // bytes; longer ones only cost time
	for _, c := range corpus {
		if len(c.raw) <= enough {
			f.Add(c.raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if len(raw) > enough {
			return
		}
		for _, o := range everyOptions {
			checkParse(t, o, raw)
		}
	})
}

// The oracle's reading, of more paths than the corpus has.
func TestParseLikeOracle(t *testing.T) {
	for _, raw := range hostilePaths(3000) {
		for _, o := range everyOptions {
			checkParse(t, o, raw)
		}
	}
	for _, c := range corpus {
		for _, o := range everyOptions {
			checkParse(t, o, c.raw)
		}
	}
}

// checkParse compares the reading of a path with the oracle's and with the laws.
func checkParse(t *testing.T, o urlpath.Options, raw string) {
	t.Helper()
	normal, plain, faults := oracle(o, raw)
	p, err := o.Parse(raw)
	if len(faults) > 0 || err != nil {
		require.Contains(t, faults, err, "%q under %+v", raw, o)
	} else {
		require.Equal(t, urlpath.Path{Raw: raw, Normal: normal, Plain: plain}, p, "%q under %+v", raw, o)
	}
	checkLaws(t, o, raw)
}

// aTarget is what a target with a path looks like.
var aTarget = regexp.MustCompile(`(?s)^(?:([hH][tT][tT][pP][sS]?)://[^/?]*)?(/[^?]*)?(?:(\?)(.*))?$`)

func FuzzTarget(f *testing.F) {
	for _, target := range []string{
		"/a?b", "*", "a.test:443", "http://a.test", "HTTPS://u:p@a.test:1/x/../y?z", "http://a?/b", "httpſ://a/b", "http:///", "ftp://a/b", "//a//b?c?d", "", "?", "/\n?\n", "/\xff?\xff",
	} {
		f.Add(target)
	}
	f.Fuzz(func(t *testing.T, target string) {
		path, query, hasQuery, ok := urlpath.Target(target)
		m := aTarget.FindStringSubmatch(target)
		if m == nil || m[1] == "" && m[2] == "" {
			require.False(t, ok, "%q", target)
			require.Empty(t, path)
			return
		}
		require.True(t, ok, "%q", target)
		if m[2] == "" {
			m[2] = "/"
		}
		require.Equal(t, m[2:], []string{path, map[bool]string{true: "?"}[hasQuery], query}, "%q", target)
	})
}

// Whatever net/http reads and whatever a handler in front then makes of it, the raw
// path is a spelling of the path, and the client's own as long as that is one.
func FuzzRaw(f *testing.F) {
	f.Add("/a%2Fb?c", "/a/b", "")
	f.Add("/api/a%2Fb|c", "/a/b|c", "/a%2Fb|c")
	f.Add("http://u@a.test/x%20y#z", "/x y", "/x%zz")
	f.Add("*", "", "")
	f.Add("//a//b", "/a?b", "/a?b")
	f.Add("/%C3%A9", "/\u00e9", "/\u00e9")
	f.Add("http://a.test", "b", "%62")
	f.Fuzz(func(t *testing.T, target, path, rawPath string) {
		if strings.ContainsAny(target, " \t\r\n") { // it is the request line that ends there
			return
		}
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: a.test\r\n\r\n")))
		if err != nil {
			return
		}
		if sent, _, _, ok := urlpath.Target(target); ok {
			require.Equal(t, sent, urlpath.Raw(r), "%q", target)
		}

		r.URL.Path, r.URL.RawPath = path, rawPath
		raw := urlpath.Raw(r)
		decoded, err := url.PathUnescape(raw)
		require.NoError(t, err)
		if path == "" {
			path = "/"
		}
		require.Equal(t, path, decoded)
		sent, _, _, _ := urlpath.Target(target)
		require.True(t, slices.Contains([]string{sent, rawPath, "/", r.URL.EscapedPath()}, raw), "%q", raw)
		for _, spelling := range []string{rawPath, sent} {
			if again, err := url.PathUnescape(spelling); err == nil && spelling != "" && again == path && spelling[0] == '/' {
				require.Contains(t, []string{rawPath, sent}, raw, "the client's or the handler's own, since it fits")
			}
		}
	})
}
