package route_test

import (
	"cmp"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/route"
)

// An oracle is a table as the package doc has it in words: a list of routes, the
// oldest first, of which everything is asked anew for each request.
type oracle []route.Config

func (o oracle) with(c route.Config) oracle {
	o = slices.Clone(o)
	if i := o.find(c.ID); i >= 0 {
		o[i] = c
		return o
	}
	return append(o, c)
}

func (o oracle) without(id string) oracle {
	return slices.DeleteFunc(slices.Clone(o), func(c route.Config) bool { return c.ID == id })
}

func (o oracle) find(id string) int {
	return slices.IndexFunc(o, func(c route.Config) bool { return c.ID == id })
}

// match returns the ID of the route for a request, or "".
func (o oracle) match(req route.Request) string {
	// A way is one host and one path of a route that fit, with the rank of each.
	type way struct {
		route              route.Config
		host, path         int
		priority, position int
	}
	var ways []way
	for i, c := range o {
		for _, host := range append(c.Hosts, "")[:max(1, len(c.Hosts))] {
			for _, path := range c.Paths {
				w := way{c, hostRank(host, req.Host), pathRank(path, req.Path), c.Priority, i}
				if w.host >= 0 && w.path >= 0 {
					ways = append(ways, w)
				}
			}
		}
	}
	slices.SortFunc(ways, func(a, b way) int {
		return cmp.Or(
			cmp.Compare(b.host, a.host),
			cmp.Compare(b.path, a.path),
			cmp.Compare(b.priority, a.priority),
			cmp.Compare(a.position, b.position),
		)
	})
	for _, w := range ways {
		if len(w.route.Methods) == 0 || slices.Contains(w.route.Methods, req.Method) {
			return w.route.ID
		}
	}
	return ""
}

const exact = 1 << 30

// hostRank is higher for the host that goes first, and negative for one that does
// not fit. No host at all is "".
func hostRank(pattern, name string) int {
	suffix, star := strings.CutPrefix(pattern, "*")
	switch {
	case pattern == "":
		return 0
	case !star && pattern == name:
		return exact
	case star && name != "" && strings.HasSuffix(name, suffix):
		return 1 + len(suffix)
	default:
		return -1
	}
}

// pathRank is the same for paths.
func pathRank(pattern, path string) int {
	prefix, star := strings.CutSuffix(pattern, "*")
	switch {
	case !star && pattern == path:
		return exact
	case star && strings.HasPrefix(path, prefix):
		return len(prefix)
	default:
		return -1
	}
}
