package route

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/sallyport/sallyport/internal/urlpath"
)

// A pattern is a configured path: one path or, if prefix is set, every path that
// begins so. The prefix of "*" is empty.
type pattern struct {
	path   string
	prefix bool
}

// parsePattern reads a configured path. What no normalised path can fit is
// refused.
func parsePattern(s string) (pattern, error) {
	path, prefix := strings.CutSuffix(s, "*")
	p := pattern{path, prefix}
	switch {
	case s == "*":
		return p, nil
	case s == "":
		return p, errors.New(`is empty: "/*" is every path`)
	case s[0] != '/' && s[0] != '*':
		return p, fmt.Errorf("%q does not begin with a slash, as every path does", s)
	}
	if i := strings.IndexByte(path, '*'); i >= 0 {
		return p, fmt.Errorf("%q: a star must be the last character, as in %q", s, s[:i+1])
	}
	if i := parameter(path); i >= 0 {
		return p, fmt.Errorf("%q has a parameter, and there are none: write %q for whatever stands there", s, s[:i]+"*")
	}
	if i := strings.IndexByte(path, '?'); i >= 0 {
		return p, fmt.Errorf("%q has a query, which is no part of the path: write %q", s, s[:i])
	}
	if hasEscape(path) {
		err := fmt.Errorf("%q is percent-encoded, and is compared with the decoded path", s)
		if n, ok := normalise(path, prefix); ok {
			if _, wrong := parsePattern(n); wrong == nil {
				err = fmt.Errorf("%w: write %q", err, n)
			}
		}
		return p, err
	}
	// Encoded and read again, a path must come out as it went in.
	n, ok := normalise((&url.URL{Path: path}).EscapedPath(), prefix)
	switch {
	case !ok:
		return p, fmt.Errorf("%q fits no path: it leads above the root or has a NUL", s)
	case n != s:
		return p, fmt.Errorf("%q has an empty or a dot segment, and is compared with a path that has none: write %q", s, n)
	}
	return p, nil
}

// normalise returns the pattern that fits what the client's path raw, or paths
// that begin so, become.
func normalise(raw string, prefix bool) (string, bool) {
	if prefix {
		// The last segment of a prefix is the beginning of one: "/.." fits
		// "/..a". Only a longer one shows what the others become.
		const more = "x"
		p, err := urlpath.Parse(raw + more)
		return strings.TrimSuffix(p.Normal, more) + "*", err == nil
	}
	p, err := urlpath.Parse(raw)
	return p.Normal, err == nil
}

// parameter returns where the first segment begins that is a colon and a name,
// or -1.
func parameter(path string) int {
	for at := 0; ; {
		i := strings.Index(path[at:], "/:")
		if i < 0 {
			return -1
		}
		at += i + 1
		if rest := path[at+1:]; rest != "" && rest[0] != '/' {
			return at
		}
	}
}

// hasEscape reports whether path has a percent sign that a client would have had
// to encode: one before two hexadecimal digits.
func hasEscape(path string) bool {
	for {
		_, after, ok := strings.Cut(path, "%")
		if !ok {
			return false
		}
		if len(after) >= 2 && isHex(after[0]) && isHex(after[1]) {
			return true
		}
		path = after
	}
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}
