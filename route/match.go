package route

// This file is the request path. It takes no lock and allocates nothing: what it
// reads never changes, and what it decides was sorted when the table was made.
// BenchmarkMatch keeps watch on time, TestMatchDoesNotAllocate on allocations.

import (
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/sallyport/sallyport/internal/hostname"
	"github.com/sallyport/sallyport/internal/urlpath"
)

// A Match is the result of a search in a [Table]. The zero Match has found nothing.
type Match struct {
	// Route is the route, or nil if there is none for the request.
	Route *Route

	pattern *pattern
	path    string
}

// Pattern returns the path of the route that matched, as it was configured.
func (m *Match) Pattern() string {
	if m.pattern == nil {
		return ""
	}
	return m.pattern.text
}

// Param returns what a parameter or a star of [*Match.Pattern] stands for in the normalised
// path: ":id" and "*rest" have the names id and rest, a star without a name has the name
// ":ext" (APISIX). If two have the same name, the last one counts. ok is false if there is
// none of that name.
func (m *Match) Param(name string) (value string, ok bool) {
	p := m.pattern
	if p == nil || len(p.names) == 0 {
		return "", false
	}
	var few [8]string
	values := few[:]
	if len(p.names) > len(few) {
		values = make([]string, len(p.names))
	}
	p.fits(m.path, values)
	for i, n := range slices.Backward(p.names) {
		if n == name {
			return values[i], true
		}
	}
	return "", false
}

// Params yields the parameters and stars of [*Match.Pattern] with what they stand for, from
// left to right.
func (m *Match) Params() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		if m.pattern == nil {
			return
		}
		values := make([]string, len(m.pattern.names))
		m.pattern.fits(m.path, values)
		for i, name := range m.pattern.names {
			if !yield(name, values[i]) {
				return
			}
		}
	}
}

// Match finds the route for a request: see the package documentation for which one. It
// takes Host and Path as they are: for a request that came from a client, use
// [*Table.MatchHTTP], or bring both into their canonical form first.
func (t *Table) Match(req *Request) Match {
	if t == nil {
		return Match{}
	}
	bit := methodBit(req.Method)
	if t.hosts.Len() > 0 {
		m := t.hosts.Match(req.Host)
		for m.Next() {
			if c := m.Value().match(req.Path, req, bit); c != nil {
				return Match{c.route, c.pattern, req.Path}
			}
		}
	}
	if c := t.anyHost.match(req.Path, req, bit); c != nil {
		return Match{c.route, c.pattern, req.Path}
	}
	return Match{}
}

// match returns the first candidate among those of n and below that takes a
// request, or nil.
//
// The recursion is what puts candidates in order: it reaches the end of the path,
// where the exact routes are, before it looks at any prefix, and on its way back
// it passes the prefixes from the longest to the shortest. It goes no deeper than
// configured paths are prefixes of each other.
func (n *node) match(path string, req *Request, bit methodBits) *candidate {
	if n == nil || steps(path) < n.depth {
		return nil
	}
	end := steps(path) == n.depth
	if !end {
		if i, ok := n.rank(digit(path, n.depth)); ok {
			if c := n.children[i].match(path, req, bit); c != nil {
				return c
			}
		}
	}
	if n.lists == nil || !strings.HasPrefix(path, n.path) {
		return nil
	}
	if end {
		return first(n.all, req, bit)
	}
	return first(n.prefix(), req, bit)
}

// first returns the first of the candidates that takes the request.
func first(candidates []candidate, req *Request, bit methodBits) *candidate {
	for i := range candidates {
		c := &candidates[i]
		if (c.methods&bit != 0 || bit == unusual && slices.Contains(c.route.unusual, req.Method)) &&
			(!c.conditional || c.holds(req)) {
			return c
		}
	}
	return nil
}

// conditional reports whether a route has more conditions than the tree of a router
// and the methods see to.
func (r *Route) conditional(router Router) bool {
	return r.addrs != nil || r.vars != nil ||
		len(r.hosts) > 0 && (!router.byHost() || slices.ContainsFunc(r.hosts, func(h hostPattern) bool { return h.port != "" }))
}

// holds reports whether the conditions of a candidate hold, other than the methods
// and the cut of its pattern. The last is the one that may cost most.
func (c *candidate) holds(req *Request) bool {
	r := c.route
	return (r.addrs == nil || r.addrs.contains(plainAddr(req.ClientAddr))) &&
		c.takesHost(req) &&
		c.pattern.fits(req.Path, nil) &&
		(r.vars == nil || r.vars.holds(req, &Match{r, c.pattern, req.Path}))
}

// takesHost reports whether the host of a request fits one of those that count, with
// the port.
func (c *candidate) takesHost(req *Request) bool {
	if len(c.route.hosts) == 0 {
		return true
	}
	hosts := c.hosts()
	for i := range hosts {
		if hosts[i].fits(req) {
			return true
		}
	}
	return false
}

// hosts returns the hosts of the route that count. Where the host goes first, they are
// those of the name that has led to the candidate: for another, the route stands in
// another place.
func (c *candidate) hosts() []hostPattern {
	if c.host == allHosts {
		return c.route.hosts
	}
	hosts := c.route.hosts[c.host:]
	n := 1
	for n < len(hosts) && hosts[n].name == hosts[0].name {
		n++
	}
	return hosts[:n]
}

var errHost = errors.New("route: the request's host is no name")

// MatchHTTP is [*Table.Match] for a request that a server has read. It brings host and path
// into their canonical form, and returns an error if that cannot be done; answer such a
// request with status 400. If there is no route for the request, the Match is zero: its
// Route is nil.
//
// The path is the one that the client sent, unless a handler in front has changed r.URL, as
// [http.StripPrefix] does. The client is the peer of the connection, r.RemoteAddr. Vars are
// answered by [HTTPLookups]: if they ask for an argument of a form, r.Body is replaced by
// one that begins anew.
func (t *Table) MatchHTTP(r *http.Request) (Match, error) {
	req, err := t.request(r)
	if err != nil {
		return Match{}, err
	}
	if t != nil && t.withVars > 0 {
		l := httpLookups.Get().(*HTTPLookups)
		l.request = r
		defer func() { *l = HTTPLookups{}; httpLookups.Put(l) }()
		req.Lookups = l
	}
	return t.Match(&req), nil
}

// httpLookups are those of nobody: no Match keeps what it was found with.
var httpLookups = sync.Pool{New: func() any { return new(HTTPLookups) }}

// request makes a Request of what a server has read, but for its Lookups.
func (t *Table) request(r *http.Request) (Request, error) {
	req := Request{Method: r.Method}
	if r.Host != "" {
		host, ok := hostname.CanonicalHost(r.Host)
		if !ok {
			return Request{}, errHost
		}
		req.Host, req.Port = host, PortOf(r.Host)
	}
	path, err := urlpath.Options(t.Options().Paths).Parse(urlpath.Raw(r))
	if err != nil {
		return Request{}, fmt.Errorf("route: the request's %w", err)
	}
	req.Path = path.Normal
	if !t.Conditional() {
		return req, nil
	}
	if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		req.ClientAddr = plainAddr(peer.Addr())
	}
	return req, nil
}
