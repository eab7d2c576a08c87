// Package urlpath has the one reading of a request's path.
//
// A gateway decides by the path (which route, whether a client certificate is
// needed) and hands the path on. Where the two readings differ, a request passes
// as one thing and arrives as another (CVE-2025-66490, CVE-2025-54576). So:
//
//   - What is forwarded is the raw path, as the client sent it.
//   - What is matched is the normalised path: percent-decoded once, dot segments
//     resolved, empty segments dropped. It is nginx's $uri.
//   - Where an origin may read the raw path in another way than we do, the path
//     is not plain, and nothing that lowers a guard may rest on it.
//   - What has no reading at all is refused: an invalid percent-encoding, an
//     encoded NUL, a control character, a path above the root.
package urlpath

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// A Path is a path that was read.
type Path struct {
	// Raw is the path as the client sent it, without the query.
	Raw string

	// Normal is the normalised path. It begins with a slash.
	Normal string

	// Plain reports that Raw can mean nothing but Normal to any origin: it has
	// no dot segment, empty segment, backslash or semicolon, and no encoded byte
	// that is reserved (RFC 3986, section 2.2), a percent sign, a backslash, a
	// control character or part of invalid UTF-8.
	Plain bool
}

// The reasons to refuse a path.
var (
	ErrNotAbsolute = errors.New("path does not begin with a slash")
	ErrEscape      = errors.New("path has a percent sign that two hexadecimal digits do not follow")
	ErrControl     = errors.New("path has a control character")
	ErrFragment    = errors.New("path has a fragment")
	ErrAboveRoot   = errors.New("path has a dot segment that leads above the root")
)

// What a byte of a raw path asks for.
const (
	ordinary = iota
	slash
	dot
	percent
	unplain // stands for itself, but not to every origin
	control
	number
)

var class = func() (t [256]uint8) {
	for c := range 0x20 {
		t[c] = control
	}
	t[0x7f], t[' '] = control, control
	t['/'], t['.'], t['%'], t['#'] = slash, dot, percent, number
	t['\\'], t[';'] = unplain, unplain
	return t
}()

// Parse reads a raw path, without query. A path that needs no normalising is
// read in one pass and without allocation.
func Parse(raw string) (Path, error) {
	if raw == "" || raw[0] != '/' {
		return Path{}, ErrNotAbsolute
	}
	plain, normal := true, true
	afterSlash := false
	for i := 0; i < len(raw); i++ {
		c := class[raw[i]]
		switch c {
		case slash:
			if afterSlash {
				normal = false
			}
			afterSlash = true
			continue
		case dot:
			// A segment that begins with a dot may be a dot segment: let the
			// slow path see.
			if afterSlash {
				normal = false
			}
		case percent:
			normal = false
		case unplain:
			plain = false
		case control:
			return Path{}, ErrControl
		case number:
			return Path{}, ErrFragment
		}
		afterSlash = false
	}
	if normal {
		return Path{Raw: raw, Normal: raw, Plain: plain}, nil
	}
	decoded, decodedPlain, err := decode(raw)
	if err != nil {
		return Path{}, err
	}
	resolved, changed, err := resolve(decoded)
	if err != nil {
		return Path{}, err
	}
	return Path{Raw: raw, Normal: resolved, Plain: plain && decodedPlain && !changed}, nil
}

// reserved are the bytes whose encoded form is not the same as they are
// (RFC 3986, section 2.2), and those that some origin decodes once more or
// takes for a separator.
const reserved = ":/?#[]@!$&'()*+,;=" + `%\`

// decode resolves percent-encoding, once.
func decode(raw string) (decoded string, plain bool, err error) {
	if strings.IndexByte(raw, '%') < 0 {
		return raw, true, nil
	}
	plain = true
	high := false
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c == '%' {
			if i+2 >= len(raw) {
				return "", false, ErrEscape
			}
			hi, lo := unhex[raw[i+1]], unhex[raw[i+2]]
			if hi|lo > 0xf {
				return "", false, ErrEscape
			}
			c = hi<<4 | lo
			i += 2
			switch {
			case c == 0:
				return "", false, ErrControl
			case c < 0x20 || c == 0x7f || strings.IndexByte(reserved, c) >= 0:
				plain = false
			case c >= utf8.RuneSelf:
				high = true
			}
		}
		out = append(out, c)
	}
	decoded = string(out)
	if high && !utf8.ValidString(decoded) {
		plain = false // an overlong slash is no slash to us, but to others
	}
	return decoded, plain, nil
}

var unhex = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i, c := range []byte("0123456789abcdef") {
		t[c] = byte(i)
	}
	for i, c := range []byte("ABCDEF") {
		t[c] = byte(10 + i)
	}
	return t
}()

// resolve drops empty segments and resolves dot segments (RFC 3986, section
// 5.2.4, with slashes merged first, as nginx does). What it returns, it returns
// unchanged when given again.
func resolve(path string) (resolved string, changed bool, err error) {
	out := make([]byte, 1, len(path)) // always ends in a slash at this point
	out[0] = '/'
	for rest := path[1:]; rest != ""; {
		segment, after, more := strings.Cut(rest, "/")
		rest = after
		switch segment {
		case "", ".":
			continue
		case "..":
			if len(out) == 1 {
				return "", false, ErrAboveRoot
			}
			out = out[:bytes.LastIndexByte(out[:len(out)-1], '/')+1]
			continue
		}
		out = append(out, segment...)
		if more {
			out = append(out, '/')
		}
	}
	if string(out) == path {
		return path, false, nil
	}
	return string(out), true, nil
}

// Target splits a request target into path and query (RFC 9112, section 3.2),
// both as they came. The query is without its question mark; hasQuery tells an
// empty one from none. ok is false for the authority-form and the asterisk-form,
// which have no path.
func Target(target string) (path, query string, hasQuery, ok bool) {
	target, query, hasQuery = strings.Cut(target, "?")
	if strings.HasPrefix(target, "/") {
		return target, query, hasQuery, true
	}
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return "", "", false, false
	}
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		return rest[i:], query, hasQuery, true
	}
	return "/", query, hasQuery, true
}

// Raw returns the raw path of a request that net/http has read: the bytes of the
// client where r.URL still says the same, and what r.URL says where a handler
// in front (http.StripPrefix) has changed it. For "OPTIONS *" it is "*".
func Raw(r *http.Request) string {
	if path, _, _, ok := Target(r.RequestURI); ok && spells(path, r.URL.Path) {
		return path
	}
	switch {
	case r.URL.Path == "":
		return "/"
	case r.URL.RawPath != "" && spells(r.URL.RawPath, r.URL.Path):
		// Not EscapedPath, which gives RawPath up when it has so much as a "|".
		return r.URL.RawPath
	default:
		return r.URL.EscapedPath()
	}
}

// spells reports whether raw is a spelling of the decoded path.
func spells(raw, path string) bool {
	if raw == path && strings.IndexByte(raw, '%') < 0 {
		return true
	}
	decoded, err := url.PathUnescape(raw)
	return err == nil && (decoded == path || raw == "/" && path == "")
}
