package route

import (
	"fmt"
	"slices"
	"strings"
)

// Warnings returns what does not work with a route the way it may seem to: that it is never
// found, because others are tried before it and take all its requests; that because of it
// others are no longer found; and what in its paths and Vars means something other than one
// may think. There are none for an ID that the table does not have.
//
// Of its paths, and of all else in the route itself, there are at most 16 each. It
// compares the route, one by one, with others of the same host and path: the last 256
// that are tried before it, and the first 256 that are tried after it, of which it names
// eight. It does not notice that several of them together, or routes with longer paths,
// leave nothing for another to find.
func (t *Table) Warnings(id string) []Warning {
	if t == nil {
		return nil
	}
	en, ok := t.byID.Get(id)
	if !ok {
		return nil
	}
	out := append(fewWarnings(id, t.pathWarnings(en.route)), en.route.warnings...)
	if by := t.shadowing(en); by != nil {
		out = append(out, Warning{ID: id, Text: "it is never found: " + beforeIt(by)})
	}
	for _, other := range t.behind(en) {
		if by := t.shadowing(other); slices.Contains(by, id) {
			out = append(out, Warning{ID: id, Text: fmt.Sprintf("route %q is never found any more: %s", other.route.id, beforeIt(by))})
		}
	}
	return out
}

// The limits of [*Table.Warnings], whose time is also that of loading a whole
// configuration.
const (
	maxCompared  = 256
	maxHidden    = 8
	maxOwn       = 16 // of the paths, and of all else in the route itself
	maxHostPairs = 1 << 16
)

// fewWarnings returns so many of some warnings as somebody may read, as those of a route.
func fewWarnings(id string, all []Warning) []Warning {
	if len(all) > maxOwn {
		all = append(slices.Clone(all[:maxOwn]), Warning{Text: "there are more warnings of this kind"})
	}
	for i := range all {
		all[i].ID = id
	}
	return all
}

func beforeIt(ids []string) string {
	if len(ids) == 1 {
		return fmt.Sprintf("route %q goes before it and takes all of its requests", ids[0])
	}
	return fmt.Sprintf("the routes %q go before it and take all of its requests", ids)
}

// shadowing returns the IDs of routes which leave nothing to be found for a route:
// one for each of its places. It is nil if there is a place where it may be found.
func (t *Table) shadowing(en entry) (ids []string) {
	for host, c := range t.places(en) {
		list := t.listOf(host, c.pattern)
		at := indexOf(list, c)
		list = list[max(0, at-maxCompared):at]
		i := slices.IndexFunc(list, func(o candidate) bool { return o.covers(&c) })
		switch {
		case i < 0:
			return nil
		case list[i].route != en.route: // by its own, it does not hide itself
			ids = append(ids, list[i].route.id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// behind returns some of the routes that a route covers in some place.
func (t *Table) behind(en entry) (others []entry) {
	for host, c := range t.places(en) {
		list := t.listOf(host, c.pattern)
		list = list[indexOf(list, c)+1:]
		for _, o := range list[:min(len(list), maxCompared)] {
			if len(others) == maxHidden {
				return others
			}
			if o.route != en.route && c.covers(&o) {
				if other, _ := t.byID.Get(o.route.id); !slices.Contains(others, other) {
					others = append(others, other)
				}
			}
		}
	}
	return others
}

// listOf returns the list that a pattern is in, which must be there.
func (t *Table) listOf(host string, p *pattern) []candidate {
	n := t.anyHost
	if host != "" {
		n, _ = t.hosts.Get(host)
	}
	for n.depth < steps(p.cut) {
		i, _ := n.rank(digit(p.cut, n.depth))
		n = n.children[i]
	}
	return n.of(p)
}

// covers reports whether c takes every request that o takes. Both are in one list
// of the tree of a host.
func (c *candidate) covers(o *candidate) bool {
	a, b := c.route, o.route
	same := c.pattern.text == o.pattern.text
	return a.coversMethods(b) &&
		(same || c.pattern.plain()) &&
		(a.addrs == nil || b.addrs != nil && a.addrs.covers(b.addrs)) &&
		(a.vars == nil || same && a.vars.equal(b.vars)) &&
		c.coversHosts(o)
}

func (r *Route) coversMethods(o *Route) bool {
	if r.methods == anyMethod {
		return true
	}
	return o.methods&^r.methods == 0 &&
		!slices.ContainsFunc(o.unusual, func(m string) bool { return !slices.Contains(r.unusual, m) })
}

// coversHosts reports whether every host that o takes, where it stands, c takes too. Of
// very many hosts it does not tell.
func (c *candidate) coversHosts(o *candidate) bool {
	hosts, others := c.hosts(), o.hosts()
	if len(hosts) == 0 || len(others) == 0 {
		return len(hosts) == 0
	}
	return len(hosts)*len(others) <= maxHostPairs && !slices.ContainsFunc(others, func(other hostPattern) bool {
		return !slices.ContainsFunc(hosts, func(h hostPattern) bool { return h.covers(other) })
	})
}

// pathWarnings are about paths that mean something else, or nothing, to the
// options of the table.
func (t *Table) pathWarnings(r *Route) (out []Warning) {
	for i, p := range r.paths {
		if len(out) > maxOwn {
			break // more than will be told
		}
		warn := func(format string, args ...any) {
			out = append(out, Warning{Field: fmt.Sprintf("Paths[%d]", i), Text: fmt.Sprintf(format, args...)})
		}
		if !t.o.Router.parameters() && hasParameter(p.text) {
			warn("the path %q has no parameter: a colon is one to the router %v alone, and this is the router %v", p.text, RouterURIWithParameter, t.o.Router)
		}
		if stars, colons := withoutBraces(p.text); stars != p.text {
			warn("the path %q has no parameter: braces stand for themselves; %s", p.text, t.o.Router.advice(stars, colons))
		}
		if !t.o.Paths.EncodedSlash && strings.Contains(p.text, "%2F") {
			warn("the path %q is found for %%252F alone: an encoded slash is matched as a slash", p.text)
		}
		if t.o.Paths.DeleteTailSlash && strings.HasSuffix(p.text, "/") && strings.Trim(p.text, "*") != "/" {
			warn("the path %q is never found: the slash at the end of a path is not matched", p.text)
		}
	}
	return out
}

// withoutBraces returns a path in which "{name}" is a parameter, as it is to
// [http.ServeMux], in words of ours: with stars, and with parameters where they can be.
// Of a path without braces, both are that path.
func withoutBraces(path string) (stars, colons string) {
	if !strings.Contains(path, "/{") {
		return path, path // the usual case: no words
	}
	with := strings.Split(path, "/")
	colon := slices.Clone(with)
	for i, segment := range with {
		name, open := strings.CutPrefix(segment, "{")
		name, closed := strings.CutSuffix(name, "}")
		if !open || !closed || name == "" {
			continue
		}
		name, rest := strings.CutSuffix(name, "...")
		with[i] = "*" + identifier(name)
		switch colon[i] = with[i]; {
		case name == "$": // the path ends here
			with[i], colon[i] = "", ""
		case !rest && name != "":
			colon[i] = ":" + name
		}
	}
	return strings.Join(with, "/"), strings.Join(colon, "/")
}

// advice says what to write instead of a path with braces.
func (r Router) advice(stars, colons string) string {
	switch {
	case stars == colons || r.parameters():
		return fmt.Sprintf("write %q", colons)
	default:
		return fmt.Sprintf("write %q, whose star takes slashes too, or %q with the router %v", stars, colons, RouterURIWithParameter)
	}
}
