package route

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/sallyport/sallyport/internal/reqvar"
	"github.com/sallyport/sallyport/internal/urlpath"
)

// A pattern is a configured path in the form in which a tree holds it.
type pattern struct {
	text string // as it was configured

	// cut is what every path that fits begins with: all of an exact one, and
	// otherwise what stands before the first star or parameter.
	cut   string
	exact bool

	*rest
}

// A rest is what follows in a pattern: it never changes. Nearly all patterns have one of
// two, which they share: see noRest and oneStar.
type rest struct {
	// head and stars are what a path must fit behind the cut. A path that begins with
	// the cut of a prefix, which ends in its only star, fits: see plain.
	head  group
	stars []starGroup

	// names are those of the parameters and stars, in their order.
	names []string
}

// noRest is what an exact pattern has, and oneStar one that ends in its only star, without
// a name.
var (
	noRest  = &rest{}
	oneStar = &rest{stars: []starGroup{{}}, names: []string{starName}}
)

// starName is the name of a star that has none, as in APISIX.
const starName = ":ext"

// plain reports whether there is nothing to be compared but cut.
func (p *pattern) plain() bool { return p.exact || p.anything() }

// anything reports whether r is one star and nothing else.
func (r *rest) anything() bool {
	return len(r.head) == 0 && len(r.stars) == 1 && len(r.stars[0].group) == 0
}

// parsePattern reads a configured path, in which ":name" is a parameter or stands
// for itself. What no normalised path can fit is refused.
func parsePattern(s string, parameters bool) (pattern, error) {
	if err := checkPattern(s); err != nil {
		return pattern{}, err
	}
	p := pattern{text: s}
	var r rest
	last := &r.head // the group that goes on
	begin := 0      // and the literal bytes of it that are not in it yet
	literal := func(end int) {
		if begin < end {
			*last = append(*last, piece{literal: s[begin:end]})
		}
	}
	for i := 0; i < len(s); {
		name, next := "", i+1
		switch atSegment := i > 0 && s[i-1] == '/'; {
		case s[i] == '*':
			if name = starName; atSegment {
				if n := identifier(s[next:]); n != "" {
					name, next = n, next+len(n)
				}
			}
			for next < len(s) && s[next] == '*' {
				next++ // two are one
			}
			literal(i)
			r.stars = append(r.stars, starGroup{name: len(r.names)})
			last = &r.stars[len(r.stars)-1].group
		case s[i] == ':' && atSegment && parameters:
			name, _, _ = strings.Cut(s[next:], "/")
			if name == "" {
				i = next
				continue
			}
			next += len(name)
			literal(i)
			*last = append(*last, piece{name: len(r.names)})
		default:
			i = next
			continue
		}
		r.names = append(r.names, name)
		i, begin = next, next
	}
	literal(len(s))
	if len(r.head) > 0 && r.head[0].literal != "" {
		p.cut, r.head = r.head[0].literal, r.head[1:]
	}
	p.exact = len(r.names) == 0
	switch {
	case p.exact:
		p.rest = noRest
	case r.anything() && r.names[0] == starName:
		p.rest = oneStar
	default:
		own := r // here alone, it is allocated
		p.rest = &own
	}
	return p, nil
}

// A restRoom is a rest with room for what most have.
type restRoom struct {
	rest
	pieces [2]piece
	one    [1]starGroup
	few    [2]string
}

// copyOf makes a copy of r in the room, and what it has no room for beside it.
func (room *restRoom) copyOf(r *rest) *rest {
	room.rest = rest{
		head:  append(room.pieces[:0], r.head...),
		stars: append(room.one[:0], r.stars...),
		names: append(room.few[:0], r.names...),
	}
	return &room.rest
}

// identifier returns s if it is, up to the next slash or the end, the name of a
// star: a letter or underscore, then such, digits and hyphens.
func identifier(s string) string {
	name, _, _ := strings.Cut(s, "/")
	for i, c := range []byte(name) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c != '-' && (c < '0' || c > '9')) {
			return ""
		}
	}
	return name
}

// hasParameter reports whether a configured path has what is a parameter to
// [RouterURIWithParameter].
func hasParameter(s string) bool {
	for {
		_, after, ok := strings.Cut(s, "/:")
		if !ok {
			return false
		}
		if after != "" && after[0] != '/' {
			return true
		}
		s = after
	}
}

// checkPattern refuses what no normalised path can fit.
func checkPattern(s string) error {
	switch {
	case s == "":
		return errors.New(`is empty: "/*" is every path`)
	case s[0] != '/' && s[0] != '*':
		return fmt.Errorf("%q does not begin with a slash, as every path does", s)
	}
	if before, _, ok := strings.Cut(s, "?"); ok {
		return fmt.Errorf("%q has a query, which is no part of the path: write %q", s, before)
	}
	if hasEscape(s) {
		err := fmt.Errorf("%q is percent-encoded, and is compared with the decoded path", s)
		if n, ok := normalise(s, true); ok && checkPattern(n) == nil {
			err = fmt.Errorf("%w: write %q", err, n)
		}
		return err
	}
	// Encoded and read again, a path must come out as it went in.
	n, ok := normalise(s, false)
	switch {
	case !ok:
		return fmt.Errorf("%q fits no path: it leads above the root or has a NUL", s)
	case n != s:
		return fmt.Errorf("%q has an empty or a dot segment, and is compared with a path that has none: write %q", s, n)
	}
	return nil
}

// normalise returns the pattern that fits what the paths which fit s become, if
// encoded says so after decoding them. A star is an ordinary byte to it: it makes
// of "/..*" what it stands for, a segment that is no dot segment.
func normalise(s string, encoded bool) (string, bool) {
	path := s
	if s[0] == '*' {
		path = "/" + s
	}
	if !encoded {
		path = (&url.URL{Path: path}).EscapedPath()
	}
	p, err := urlpath.Parse(path)
	if err != nil {
		return "", false
	}
	if s[0] == '*' {
		return p.Normal[1:], true
	}
	return p.Normal, true
}

// hasEscape reports whether path has a percent sign that a client would have had
// to encode: one before two hexadecimal digits. Of "%2F" that is only so where the
// path is matched without [PathOptions.EncodedSlash], which is the table's to say.
func hasEscape(path string) bool {
	for {
		_, after, ok := strings.Cut(path, "%")
		if !ok {
			return false
		}
		if len(after) >= 2 && reqvar.HexDigit(after[0]) >= 0 && reqvar.HexDigit(after[1]) >= 0 && after[:2] != "2F" {
			return true
		}
		path = after
	}
}
