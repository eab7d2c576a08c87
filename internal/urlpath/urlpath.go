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
//
// [Options] change what is matched, never what is forwarded.
//
// # Laws
//
// Whatever the Options and whatever the bytes:
//
//   - Normal begins with a slash.
//   - Normal is read as itself: encoded as a client has to encode it (controls,
//     spaces and the bytes %#?; but under EncodedSlash "%2F" as it stands) and read
//     under the same Options, it is the same again.
//   - If Plain, then Raw, percent-decoded, is Normal, and whoever decodes once
//     more or resolves dot segments once more gets nothing else.
//   - If Plain, then Raw under any other Options has the same Normal and is plain
//     too, but for the trailing slash that DeleteTailSlash drops. So what a guard
//     reads in [Path.Guard] under the zero Options is what was matched.
//   - Under PlainOnly, each path that is read is plain.
//   - There is no other error than the Err values of this package, and no panic.
package urlpath

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Path is a path that was read.
type Path struct {
	// Raw is the path as the client sent it, without the query.
	Raw string

	// Normal is the normalised path. It begins with a slash.
	Normal string

	// Plain reports that Raw can mean nothing but Normal to any origin. It has no
	//
	//   - dot segment or empty segment, nor one of spaces, with or without dots
	//     (Windows takes spaces off the end of a name);
	//   - anything that [Options] had an effect on;
	//   - backslash or semicolon;
	//   - encoded byte that is reserved (RFC 3986, section 2.2), a percent sign, a
	//     backslash or a control character;
	//   - invalid UTF-8 (such as an overlong slash), encoded or not;
	//   - character that is compatible with a full stop, a slash or the like, as
	//     the fullwidth ones are.
	Plain bool
}

// Guard returns what a guard is to see that reads the path by itself, as package
// ssl does for its skip paths: the raw path if it is plain, and else "", which is no
// path, so that nothing can be skipped for it. Only of a plain path is it certain
// that the guard, the matcher under whatever [Options], and the origin read the same.
func (p Path) Guard() string {
	if !p.Plain {
		return ""
	}
	return p.Raw
}

// Options are for origins that read paths in ways of their own. The zero Options
// are nginx's reading. Any of them can be combined: first parameters are cut off,
// then the path is decoded and its dot segments resolved, then a trailing slash is
// dropped, and last, what is not plain is refused.
type Options struct {
	// DeleteTailSlash drops one trailing slash of the normalised path, which then
	// is not plain: the origin sees the slash. A slash that EncodedSlash keeps
	// encoded is not a trailing one.
	//
	// It is APISIX's delete_uri_tail_slash, but that "/" stays: APISIX leaves "" of
	// it, for which no route but "*" is found.
	DeleteTailSlash bool

	// Servlet cuts the parameters of each segment off, from its first semicolon
	// to the next slash, before anything is decoded, as a servlet container does.
	// An encoded semicolon or, in parameters, an encoded slash is data. Segments
	// that become another kind of segment by it are refused ([ErrDotParameters],
	// [ErrEncodedDotParameters] and, but for the last segment,
	// [ErrEmptyParameters]). A path of which something was cut off is not plain.
	//
	// It is APISIX's normalize_uri_like_servlet, but that in APISIX parameters
	// begin at an encoded semicolon too.
	Servlet bool

	// EncodedSlash keeps an encoded slash, as "%2F", and as a part of its segment.
	// Such a path is not plain. What reads like one without being one is refused
	// ([ErrEncodedSlashTwice]), and so are dot segments beside one
	// ([ErrEncodedSlashDot]): an origin that does separate at encoded slashes gets
	// at least no path outside the directory that was matched.
	//
	// It is APISIX's match_uri_encoded_slash.
	EncodedSlash bool

	// PlainOnly refuses every path that is not plain, with [ErrNotPlain]. Beside
	// DeleteTailSlash, that is every path with a trailing slash but "/".
	PlainOnly bool
}

// The reasons to refuse a path. Where there are several, any of them is returned.
var (
	ErrNotAbsolute = errors.New("path does not begin with a slash")
	ErrEscape      = errors.New("path has a percent sign that two hexadecimal digits do not follow")
	ErrControl     = errors.New("path has a control character")
	ErrFragment    = errors.New("path has a fragment")
	ErrQuery       = errors.New("path has a query")
	ErrAboveRoot   = errors.New("path has a dot segment that leads above the root")

	// Under Options.Servlet.
	ErrDotParameters        = errors.New("path has a dot segment with parameters")
	ErrEncodedDotParameters = errors.New("path has a dot segment, encoded twice, with parameters")
	ErrEmptyParameters      = errors.New("path has an empty segment with parameters")

	// Under Options.EncodedSlash.
	ErrEncodedSlashTwice = errors.New("path has a slash that is encoded twice")
	ErrEncodedSlashDot   = errors.New("path has a dot segment beside an encoded slash")

	// Under Options.PlainOnly.
	ErrNotPlain = errors.New("path can be read in more than one way")
)

// What a byte of a raw path asks for.
const (
	ordinary = iota
	dot
	backslash
	high  // part of UTF-8, or not
	slash // here begins what is not its own decoded form, or may not be
	percent
	semicolon
	control
	number
	question
)

var class = func() (t [256]uint8) {
	for c := range 0x20 {
		t[c] = control
	}
	t[0x7f], t[' '] = control, control
	for c := utf8.RuneSelf; c < len(t); c++ {
		t[c] = high
	}
	t['/'], t['.'], t['%'], t['#'], t['?'] = slash, dot, percent, number, question
	t['\\'], t[';'] = backslash, semicolon
	return t
}()

// Parse reads a raw path, without query, under the zero [Options].
func Parse(raw string) (Path, error) {
	return Options{}.Parse(raw)
}

// Parse reads a raw path, without query. A path that needs no normalising is
// read in one pass and without allocation.
func (o Options) Parse(raw string) (Path, error) {
	if raw == "" || raw[0] != '/' {
		return Path{}, ErrNotAbsolute
	}
	unchanged, plain, ascii := true, true, true
	for i := 1; i < len(raw); i++ {
		switch class[raw[i]] {
		case slash, dot:
			// A segment that begins with a dot may be a dot segment: let the
			// slow path see.
			if raw[i-1] == '/' {
				unchanged = false
			}
		case percent:
			unchanged = false
		case semicolon:
			plain = false
			if o.Servlet {
				unchanged = false
			}
		case backslash:
			plain = false
		case high:
			ascii = false
		case control:
			return Path{}, ErrControl
		case number:
			return Path{}, ErrFragment
		case question:
			return Path{}, ErrQuery
		}
	}
	normal := raw
	if !unchanged {
		var same, encodedASCII bool
		var err error
		if normal, same, encodedASCII, err = o.normalise(raw); err != nil {
			return Path{}, err
		}
		plain, ascii = plain && same, ascii && encodedASCII
	}
	if !ascii {
		plain = plain && unambiguous(normal)
	}
	if n := len(normal) - 1; o.DeleteTailSlash && n > 0 && normal[n] == '/' {
		normal, plain = normal[:n], false
	}
	if o.PlainOnly && !plain {
		return Path{}, ErrNotPlain
	}
	return Path{Raw: raw, Normal: normal, Plain: plain}, nil
}

// reserved are the bytes whose encoded form is not the same as they are
// (RFC 3986, section 2.2), and those that some origin decodes once more or
// takes for a separator.
const reserved = ":/?#[]@!$&'()*+,;=" + `%\`

// normalise is the slow path of Parse: it decodes raw, once, and drops empty
// segments and resolves dot segments (RFC 3986, section 5.2.4, with slashes merged
// first, as nginx does). raw has passed the first look: it begins with a slash.
// plain is for what the first look did not see; ascii tells whether all that was
// encoded is ASCII.
//
// BenchmarkParse keeps watch: out is on the stack as long as it is handed about by
// value.
func (o Options) normalise(raw string) (normal string, plain, ascii bool, err error) {
	var short [128]byte
	out := append(short[:0], '/') // and whole segments with a slash each, and what there is of one more
	start := len(out)             // where that one begins
	kept := 0                     // the encoded slashes in that one
	parameters := false           // the rest of that one is cut off
	plain, ascii = true, true
	for i := 1; i <= len(raw); i++ {
		run := i
		for i < len(raw) && class[raw[i]] < slash {
			i++
		}
		if !parameters {
			out = append(out, raw[run:i]...)
		}
		c := byte('/') // the end of the path ends its last segment
		if i < len(raw) {
			c = raw[i]
		}
		separator := c == '/'
		switch {
		case separator:
			parameters = false
		case c == ';' && o.Servlet && !parameters: // once a segment, lest time is quadratic
			parameters = true
			if err := checkCut(string(out[start:]), strings.IndexByte(raw[i:], '/') < 0); err != nil {
				return "", false, false, err
			}
		case c == '%':
			if i+2 >= len(raw) {
				return "", false, false, ErrEscape
			}
			hi, lo := unhex[raw[i+1]], unhex[raw[i+2]]
			if hi|lo > 0xf {
				return "", false, false, ErrEscape
			}
			c = hi<<4 | lo
			i += 2
			switch {
			case c == 0:
				return "", false, false, ErrControl
			case c < 0x20 || c == 0x7f || strings.IndexByte(reserved, c) >= 0:
				plain = false
			case c >= utf8.RuneSelf:
				ascii = false
			}
			separator = c == '/' && !o.EncodedSlash
		}
		switch {
		case parameters:
		case separator:
			if o.EncodedSlash && bytes.IndexByte(out[start:], '%') >= 0 {
				if err := checkSlashes(string(out[start:]), kept); err != nil {
					return "", false, false, err
				}
			}
			var same bool
			if out, same, err = end(out, start, i < len(raw)); err != nil {
				return "", false, false, err
			}
			plain = plain && same
			start, kept = len(out), 0
		case c == '/':
			out = append(out, encodedSlash...)
			kept++
		default:
			out = append(out, c)
		}
	}
	return string(out), plain, ascii, nil
}

// end ends the last segment of out, which begins at start. slash tells whether a
// slash ends it, or the path. same tells whether it stands for itself to everybody.
func end(out []byte, start int, slash bool) (_ []byte, same bool, err error) {
	segment := out[start:]
	switch string(segment) {
	case "":
		return out, !slash, nil
	case ".":
		return out[:start], false, nil
	case "..":
		if start == 1 {
			return nil, false, ErrAboveRoot
		}
		return out[:bytes.LastIndexByte(out[:start-1], '/')+1], false, nil
	}
	same = bytes.IndexByte(segment, ' ') < 0 || len(bytes.Trim(segment, ". ")) > 0
	if slash {
		out = append(out, '/')
	}
	return out, same, nil
}

const encodedSlash = "%2F"

// checkSlashes refuses a segment that has two readings once encoded slashes are
// kept, as kept ones of it are.
func checkSlashes(segment string, kept int) error {
	if strings.Count(segment, "%2F")+strings.Count(segment, "%2f") > kept {
		return ErrEncodedSlashTwice
	}
	if kept == 0 {
		return nil
	}
	for piece := range strings.SplitSeq(segment, encodedSlash) {
		if piece == "." || piece == ".." {
			return ErrEncodedSlashDot
		}
	}
	return nil
}

// checkCut refuses a segment that is another kind of segment without its
// parameters than with them. last tells whether it is the last one.
func checkCut(segment string, last bool) error {
	switch twice := strings.ReplaceAll(strings.ToLower(segment), "%2e", "."); {
	case segment == "." || segment == "..":
		return ErrDotParameters
	case twice == "." || twice == "..":
		return ErrEncodedDotParameters
	case segment == "" && !last:
		return ErrEmptyParameters
	}
	return nil
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

// unambiguous reports whether what is not ASCII in a path stands for itself to
// every origin.
func unambiguous(path string) bool {
	for _, r := range path {
		if r >= utf8.RuneSelf && unicode.Is(lookalikes, r) {
			return false
		}
	}
	return utf8.ValidString(path)
}

// lookalikes are the characters that Unicode's compatibility normalisation (NFKC)
// or the best fit of Windows turns into text with one of ./\%;?# in it. An origin
// that does so after it has checked the path finds a dot segment in it then.
var lookalikes = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x037e, Hi: 0x037e, Stride: 1}, // Greek question mark
		{Lo: 0x2024, Hi: 0x2026, Stride: 1}, // dot leaders, ellipsis
		{Lo: 0x2044, Hi: 0x2049, Stride: 1}, // fraction slash, pairs of question and exclamation mark
		{Lo: 0x2100, Hi: 0x2101, Stride: 1}, // a/c, a/s
		{Lo: 0x2105, Hi: 0x2106, Stride: 1}, // c/o, c/u
		{Lo: 0x2215, Hi: 0x2216, Stride: 1}, // division slash, set minus
		{Lo: 0x2488, Hi: 0x249b, Stride: 1}, // numbers with a full stop
		{Lo: 0x33c2, Hi: 0x33d8, Stride: 1}, // squared abbreviations
		{Lo: 0xfe10, Hi: 0xfe19, Stride: 1}, // vertical forms
		{Lo: 0xfe30, Hi: 0xfe30, Stride: 1}, // two dots, one above the other
		{Lo: 0xfe50, Hi: 0xfe6f, Stride: 1}, // small forms
		{Lo: 0xff01, Hi: 0xff5e, Stride: 1}, // fullwidth forms
	},
	R32: []unicode.Range32{{Lo: 0x1f100, Hi: 0x1f100, Stride: 1}}, // 0.
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
	// Not EqualFold, to which "ſ" is an s.
	if lower := strings.ToLower(scheme); !ok || lower != "http" && lower != "https" {
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
