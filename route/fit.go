package route

import "strings"

// This file compares a path with a pattern that has parameters, or a star before
// its end. It is on the request path and allocates nothing. There are no regular
// expressions: APISIX makes one of such a pattern, in which the bytes between stand
// unescaped, so that "/a+b/*/c" does not fit "/a+b/x/c".

// A group is what stands in a pattern before the first star, or behind one up to
// the next: literal bytes and parameters.
type group []piece

// A piece is either literal bytes or, if they are empty, a parameter: one whole
// segment that is not empty.
type piece struct {
	literal string
	name    int // of a parameter, in pattern.names
}

// A starGroup is a star, which stands for any bytes or none, and what is behind it.
type starGroup struct {
	name int // in pattern.names
	group
}

// fits reports whether a path that begins with p.cut fits p. If values is not nil
// it gets what each of p.names stands for, and must be as long.
//
// Of several ways to fit, it takes the one that a regular expression would: each
// star, from the left, stands for as much as it can.
func (p *pattern) fits(path string, values []string) bool {
	rest, ok := p.head.fromLeft(path[len(p.cut):], values)
	if !ok || len(p.stars) == 0 {
		return ok && rest == ""
	}
	// From here it goes from the right, where the last group must end. Each other
	// one goes as far to the right as it can, which leaves most to the star before
	// it. Nothing is lost by that: a group begins further left only if it ends
	// further left, because its length is fixed or, as a parameter is a whole
	// segment, the number of its slashes.
	end := len(rest)
	for i := len(p.stars) - 1; i >= 0; i-- {
		last := i == len(p.stars)-1
		begin, behind, ok := p.stars[i].lastIn(rest[:end], last, values)
		if !ok {
			return false
		}
		if !last && values != nil {
			values[p.stars[i+1].name] = rest[behind:end]
		}
		end = begin
	}
	if values != nil {
		values[p.stars[0].name] = rest[:end]
	}
	return true
}

// fromLeft takes g from the beginning of s and returns what is left.
func (g group) fromLeft(s string, values []string) (rest string, ok bool) {
	for _, p := range g {
		if p.literal != "" {
			if s, ok = strings.CutPrefix(s, p.literal); !ok {
				return "", false
			}
			continue
		}
		end := strings.IndexByte(s, '/')
		if end < 0 {
			end = len(s)
		}
		if end == 0 {
			return "", false
		}
		if values != nil {
			values[p.name] = s[:end]
		}
		s = s[end:]
	}
	return s, true
}

// fromRight takes g from the end of s and returns where it begins.
func (g group) fromRight(s string, values []string) (begin int, ok bool) {
	for i := len(g) - 1; i >= 0; i-- {
		p := g[i]
		if p.literal != "" {
			if s, ok = strings.CutSuffix(s, p.literal); !ok {
				return 0, false
			}
			continue
		}
		begin := strings.LastIndexByte(s, '/') + 1
		if begin == len(s) {
			return 0, false
		}
		if values != nil {
			values[p.name] = s[begin:]
		}
		s = s[:begin]
	}
	return len(s), true
}

// lastIn finds the last place in s where g is, or, if atEnd is set, whether it is
// at the end of s.
func (g group) lastIn(s string, atEnd bool, values []string) (begin, end int, ok bool) {
	if atEnd {
		begin, ok = g.fromRight(s, values)
		return begin, len(s), ok
	}
	// Between two stars, a group ends in literal bytes: a parameter ends at a slash.
	tail := g[len(g)-1].literal
	for end = len(s); ; end-- {
		i := strings.LastIndex(s[:end], tail)
		if i < 0 {
			return 0, 0, false
		}
		end = i + len(tail)
		if begin, ok = g.fromRight(s[:end], values); ok {
			return begin, end, true
		}
	}
}
