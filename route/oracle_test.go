package route_test

import (
	"cmp"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/sallyport/sallyport/route"
)

// An oracle is a table as the package doc has it in words: a list of routes, the
// oldest first, of which everything is asked anew for each request.
type oracle struct {
	router route.Router
	routes []route.Config
}

func (o oracle) with(c route.Config) oracle {
	o.routes = slices.Clone(o.routes)
	if i := o.find(c.ID); i >= 0 {
		o.routes[i] = c
		return o
	}
	o.routes = append(o.routes, c)
	return o
}

func (o oracle) without(id string) oracle {
	o.routes = slices.DeleteFunc(slices.Clone(o.routes), func(c route.Config) bool { return c.ID == id })
	return o
}

func (o oracle) find(id string) int {
	return slices.IndexFunc(o.routes, func(c route.Config) bool { return c.ID == id })
}

// A way is one host and one path of a route that fit a request, with the rank of
// each.
type way struct {
	route     route.Config // with the host, or the hosts, that the way is for
	path      string
	host, cut int
	length    int // of the pattern
	position  int
}

// ways returns those that a request has, in the order in which they are tried.
func (o oracle) ways(req route.Request) []way {
	var ways []way
	for i, c := range o.routes {
		if c.Disabled {
			continue
		}
		hosts := c.Hosts
		if o.router != route.RouterHostURI || len(hosts) == 0 {
			hosts = []string{""}
		}
		for _, host := range hosts {
			for _, path := range c.Paths {
				name, _ := cutPort(host)
				if host != "" {
					c.Hosts = []string{host}
				}
				w := way{c, path, hostRank(name, req.Host), cutRank(path, req.Path, o.router), len(path), i}
				if w.host >= 0 && w.cut >= 0 {
					ways = append(ways, w)
				}
			}
		}
	}
	slices.SortStableFunc(ways, func(a, b way) int {
		return cmp.Or(
			cmp.Compare(b.host, a.host),
			cmp.Compare(b.cut, a.cut),
			cmp.Compare(b.route.Priority, a.route.Priority),
			cmp.Compare(b.length, a.length),
			cmp.Compare(a.position, b.position),
			cmp.Compare(a.path, b.path),
		)
	})
	return ways
}

// match returns the ID of the route for a request, or "", and what its path has
// captured.
func (o oracle) match(req route.Request) (id string, params map[string]string) {
	for _, w := range o.ways(req) {
		params, fits := fullMatch(w.path, req.Path, o.router)
		if fits && takes(w.route, req) && varsHold(w.route.Vars, req, params) {
			return w.route.ID, params
		}
	}
	return "", nil
}

// takes reports whether the conditions of a route hold, but for its paths.
func takes(c route.Config, req route.Request) bool {
	if len(c.Methods) > 0 && !slices.Contains(c.Methods, req.Method) {
		return false
	}
	if len(c.RemoteAddrs) > 0 && !slices.ContainsFunc(c.RemoteAddrs, func(s string) bool {
		if !strings.Contains(s, "/") {
			return s == req.ClientAddr.String()
		}
		return netip.MustParsePrefix(s).Contains(req.ClientAddr)
	}) {
		return false
	}
	return len(c.Hosts) == 0 || slices.ContainsFunc(c.Hosts, func(s string) bool {
		name, port := cutPort(s)
		return hostRank(name, req.Host) > 0 && (port == "" || port == req.Port)
	})
}

// varsHold knows what each of varsOf means.
func varsHold(vars []any, req route.Request, params map[string]string) bool {
	if vars == nil {
		return true
	}
	for meaning, of := range varsOf {
		if !reflect.DeepEqual(of, vars) {
			continue
		}
		switch meaning {
		case "a=1":
			return req.Lookups == argA("1")
		case "a=2":
			return req.Lookups == argA("2")
		case "host has b":
			return strings.Contains(req.Host, "b")
		case "id=b":
			return params["id"] == "b"
		case "no b":
			return !strings.Contains(req.Path, "b")
		}
	}
	panic("unknown vars")
}

func cutPort(host string) (name, port string) {
	name, port, _ = strings.Cut(host, ":")
	return name, port
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

// cutRank is the same as hostRank for what stands before the first hole of a path.
func cutRank(pattern, path string, router route.Router) int {
	end := strings.IndexByte(pattern, '*')
	if router == route.RouterURIWithParameter {
		if at := parameters.FindStringIndex(pattern); at != nil && (end < 0 || at[0] < end) {
			end = at[0] + 1
		}
	}
	switch {
	case end < 0 && pattern == path:
		return exact
	case end >= 0 && strings.HasPrefix(path, pattern[:end]):
		return end
	default:
		return -1
	}
}

// fullMatch is what APISIX does, but that it escapes what is no hole: it makes a
// regular expression of the pattern.
func fullMatch(pattern, path string, router route.Router) (params map[string]string, ok bool) {
	type key struct {
		pattern string
		router  route.Router
	}
	type compiled struct {
		re    *regexp.Regexp
		names []string
	}
	c, cached := expressions.Load(key{pattern, router})
	if !cached {
		re, names := expression(pattern, router)
		// Bytes that are no UTF-8 are none to a regular expression either: as
		// Latin-1, each is a character.
		c = compiled{regexp.MustCompile("^" + latin1(re) + "$"), names}
		expressions.Store(key{pattern, router}, c)
	}
	m := c.(compiled).re.FindStringSubmatch(latin1(path))
	if m == nil {
		return nil, false
	}
	params = map[string]string{}
	for i, name := range c.(compiled).names {
		params[name] = fromLatin1(m[1+i])
	}
	return params, true
}

var expressions sync.Map

var (
	stars      = regexp.MustCompile(`\*+`)
	parameters = regexp.MustCompile(`/:[^/]`)
	name       = regexp.MustCompile(`^[A-Za-z_][-\w]*$`)
)

func expression(pattern string, router route.Router) (re string, names []string) {
	for i, s := range strings.Split(pattern, "/") {
		if i > 0 {
			re += "/"
		}
		afterStar, star := strings.CutPrefix(s, "*")
		switch {
		case router == route.RouterURIWithParameter && len(s) > 1 && s[0] == ':' && i > 0:
			names = append(names, s[1:])
			re += "([^/]+)"
		case star && i > 0 && name.MatchString(afterStar):
			names = append(names, afterStar)
			re += "((?s:.*))"
		default:
			for j, part := range stars.Split(s, -1) {
				if j > 0 {
					names = append(names, ":ext")
					re += "((?s:.*))"
				}
				re += regexp.QuoteMeta(part)
			}
		}
	}
	return re, names
}

func latin1(s string) string {
	var out strings.Builder
	for _, b := range []byte(s) {
		out.WriteRune(rune(b))
	}
	return out.String()
}

func fromLatin1(s string) string {
	var out []byte
	for _, r := range s {
		out = append(out, byte(r))
	}
	return string(out)
}
