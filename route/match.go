package route

// This file is the request path. It takes no lock and allocates nothing: what it
// reads never changes, and what it decides was sorted when the table was made.
// BenchmarkMatch keeps watch on time, TestMatchDoesNotAllocate on allocations.

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/internal/hostname"
	"github.com/sallyport/sallyport/internal/urlpath"
)

// Match returns the route for a request, or nil. See the package doc for which
// that is. It takes Host and Path as they are: for a request that came from a
// client, use [*Table.MatchHTTP] or bring both into their form first.
func (t *Table) Match(req *Request) *Route {
	if t == nil {
		return nil
	}
	bit := methodBit(req.Method)
	for m := t.hosts.Match(req.Host); m.Next(); {
		if r := m.Value().match(req.Path, req, bit); r != nil {
			return r
		}
	}
	return t.anyHost.match(req.Path, req, bit)
}

// match returns the route for a request among those of n and below.
//
// The recursion is what puts candidates in order: it reaches the end of the path,
// where the exact routes are, before it looks at any prefix, and on its way back
// it passes the prefixes from the longest to the shortest. It goes no deeper than
// configured paths are prefixes of each other.
func (n *node) match(path string, req *Request, bit methodBits) *Route {
	if n == nil || len(path) < len(n.path) {
		return nil
	}
	end := len(path) == len(n.path)
	if !end {
		if i, ok := n.has.rank(path[len(n.path)]); ok {
			if r := n.children[i].match(path, req, bit); r != nil {
				return r
			}
		}
	}
	if len(n.exact)+len(n.prefix) == 0 || !strings.HasPrefix(path, n.path) {
		return nil
	}
	if end {
		if r := first(n.exact, req, bit); r != nil {
			return r
		}
	}
	return first(n.prefix, req, bit)
}

// first returns the first of the candidates that takes the request.
func first(candidates []candidate, req *Request, bit methodBits) *Route {
	for i := range candidates {
		c := &candidates[i]
		if c.methods&bit != 0 || bit == unusual && slices.Contains(c.route.unusual, req.Method) {
			return c.route
		}
	}
	return nil
}

var errHost = errors.New("route: the request's host is no name")

// MatchHTTP is [*Table.Match] for a request that a server has read. It brings
// host and path into their form, and reports an error where that cannot be done:
// such a request should be answered with status 400. The route is nil if there
// is none for the request.
//
// The path is the one that the client sent, unless a handler in front has
// changed r.URL, as [http.StripPrefix] does.
func (t *Table) MatchHTTP(r *http.Request) (*Route, error) {
	req := Request{Method: r.Method}
	if r.Host != "" {
		host, ok := hostname.CanonicalHost(r.Host)
		if !ok {
			return nil, errHost
		}
		req.Host = host
	}
	path, err := urlpath.Parse(urlpath.Raw(r))
	if err != nil {
		return nil, fmt.Errorf("route: the request's %w", err)
	}
	req.Path = path.Normal
	return t.Match(&req), nil
}
