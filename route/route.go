package route

import (
	"context"
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/sallyport/sallyport/internal/meter"
)

// A Route is a checked [Config]. It never changes, and may be shared freely. Only [New]
// makes one.
type Route struct {
	// leaf is the node of the first place that the route gets in any table, and placed says
	// that it has one. It comes first: there it begins with a line of the CPU's cache.
	leaf   leaf
	placed atomic.Bool

	id string

	// hosts of one name, which differ in the port, stand together.
	hosts []hostPattern

	// paths are the patterns in which ":name" stands for itself, and parameters
	// those in which it does not. Without one, they are the same.
	paths, parameters []pattern

	methods    methodBits
	unusual    []string // the methods that have no bit
	addrs      addrs    // none is any
	vars       *vars
	disabled   bool
	priority   int
	upstream   string
	handler    http.Handler
	allowPlain bool
	webSocket  bool
	timeout    *Timeout // nil if it is zero, as most are
	edits      *Edits
	clientCert ClientCertHeaders
	identified bool
	authorize  func(context.Context, *AuthorizeRequest) error
	warnings   []Warning

	// cell is where package gateway counts the requests for the route. It is no part of
	// what the route is, and the one thing of it that changes: it is nil until there is
	// a request for the route, or the route takes the place of another.
	cell atomic.Pointer[meter.Cell]
}

// Most routes have one host and one path: they are in one allocation with it. There may be
// many routes, and each object is one more for every garbage collection to look for, which
// is the larger part of BenchmarkWith. An object of more than 512 bytes begins with a word of
// the allocator's: with that, the leaf would not begin with a line.
type roomy struct {
	Route
	hosts [1]hostPattern
	paths [1]pattern
}

// ID returns [Config.ID].
func (r *Route) ID() string { return r.id }

// EveryHost reports whether the route is for every host: whether it has none, or the host
// "*".
func (r *Route) EveryHost() bool {
	return len(r.hosts) == 0 || slices.ContainsFunc(r.hosts, func(h hostPattern) bool { return h.name == "*" })
}

// HostFor returns the route's most specific host for a canonical name, whatever its port:
// the name itself, or the longest wildcard that fits. ok is false if none does, which
// includes every name if the route has no hosts.
func (r *Route) HostFor(name string) (pattern string, ok bool) {
	for _, h := range r.hosts {
		switch {
		case !nameFits(h.name, name):
		case h.name == name:
			return name, true
		case len(h.name) > len(pattern):
			pattern = h.name
		}
	}
	return pattern, pattern != ""
}

// Disabled returns [Config.Disabled].
func (r *Route) Disabled() bool { return r.disabled }

// Priority returns [Config.Priority].
func (r *Route) Priority() int { return r.priority }

// Upstream returns [Config.Upstream]. It is empty if there is a Handler.
func (r *Route) Upstream() string { return r.upstream }

// Handler returns [Config.Handler]. It is nil if there is an Upstream.
func (r *Route) Handler() http.Handler { return r.handler }

// AllowPlain returns [Config.AllowPlain].
func (r *Route) AllowPlain() bool { return r.allowPlain }

// RequireIdentity returns [Config.RequireIdentity].
func (r *Route) RequireIdentity() bool { return r.identified }

// Authorize returns [Config.Authorize], or nil.
func (r *Route) Authorize() func(context.Context, *AuthorizeRequest) error { return r.authorize }

// WebSocket returns [Config.WebSocket].
func (r *Route) WebSocket() bool { return r.webSocket }

// Headers returns [Config.Headers]. It is nil if there are none.
func (r *Route) Headers() *Edits { return r.edits }

// ClientCert returns [Config.ClientCert].
func (r *Route) ClientCert() ClientCertHeaders { return r.clientCert }

// Timeout returns [Config.Timeout].
func (r *Route) Timeout() Timeout {
	if r.timeout == nil {
		return Timeout{}
	}
	return *r.timeout
}

// unset reports whether a handler is none: nil, or a nil function, which would panic at every
// request. A nil pointer may be a handler.
func unset(h http.Handler) bool {
	f, ok := h.(http.HandlerFunc)
	return h == nil || ok && f == nil
}
