package route

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/internal/meter"
)

// A Route is a checked [Config]. It never changes, and may be shared freely. Only [New]
// makes one.
type Route struct {
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
// is the larger part of BenchmarkWith.
type roomy struct {
	Route
	hosts [1]hostPattern
	paths [1]pattern
}

// maxPlaces bounds what one small document can make of a table: a route stands in it
// for each of its hosts with each of its paths.
const maxPlaces = 100_000

// New checks a Config and makes it a Route. Of c, it keeps only Handler and Authorize. The
// error joins a [*ConfigError] for each fault.
func New(c Config) (*Route, error) {
	var faults []error
	fault := func(field string, err error) {
		faults = append(faults, &ConfigError{ID: c.ID, Field: field, Err: err})
	}
	c = c.owned()
	room := &roomy{}
	r := &room.Route
	*r = Route{
		id:         c.ID,
		disabled:   c.Disabled,
		priority:   c.Priority,
		upstream:   c.Upstream,
		handler:    c.Handler,
		allowPlain: c.AllowPlain,
		webSocket:  c.WebSocket,
		clientCert: c.ClientCert,
		identified: c.RequireIdentity,
		authorize:  c.Authorize,
	}
	if c.ID == "" {
		fault("ID", errors.New("is required"))
	}
	twice, first := map[hostPattern]bool{}, map[string]int{}
	r.hosts = room.hosts[:0]
	for i, s := range c.Hosts {
		field := fmt.Sprintf("Hosts[%d]", i)
		host, err := parseHost(s)
		switch {
		case err != nil:
			fault(field, err)
			continue
		case twice[host]:
			fault(field, fmt.Errorf("%q is there twice", s))
			continue
		}
		if _, named := first[host.name]; !named {
			first[host.name] = i
		}
		twice[host] = true
		r.hosts = append(r.hosts, host)
	}
	slices.SortStableFunc(r.hosts, func(a, b hostPattern) int { return first[a.name] - first[b.name] })
	if len(c.Hosts)*len(c.Paths) > maxPlaces {
		fault("Hosts", fmt.Errorf("%d hosts with %d paths each are over %d places: make several routes of it", len(c.Hosts), len(c.Paths), maxPlaces))
	}
	if len(c.Paths) == 0 {
		fault("Paths", errors.New(`at least one is required: "/*" is every path`))
	}
	known, parameters := map[string]bool{}, false
	r.paths = room.paths[:0]
	if len(c.Paths) > len(room.paths) {
		r.paths = make([]pattern, 0, len(c.Paths))
	}
	for i, s := range c.Paths {
		field := fmt.Sprintf("Paths[%d]", i)
		p, err := parsePattern(s, false)
		if err != nil {
			fault(field, err)
			continue
		}
		if known[s] {
			fault(field, fmt.Errorf("%q is there twice", s))
			continue
		}
		known[s] = true
		r.paths = append(r.paths, p)
		parameters = parameters || hasParameter(s)
	}
	r.parameters = r.paths
	if parameters {
		r.parameters = make([]pattern, len(r.paths))
		for i := range r.paths {
			r.parameters[i], _ = parsePattern(r.paths[i].text, true) // what is wrong with a path, is so in either reading
		}
	}
	var prefixes []netip.Prefix
	for i, s := range c.RemoteAddrs {
		p, err := parseRange(s)
		if err != nil {
			fault(fmt.Sprintf("RemoteAddrs[%d]", i), err)
		}
		prefixes = append(prefixes, p)
	}
	r.addrs = newAddrs(prefixes)
	vars, warnings, wrong := parseVars(c.Vars)
	r.vars = vars
	for _, f := range wrong {
		fault(f.field, f.err)
	}
	for i, m := range c.Methods {
		field := fmt.Sprintf("Methods[%d]", i)
		if err := checkMethod(m); err != nil {
			fault(field, err)
		} else if slices.Contains(c.Methods[:i], m) {
			fault(field, fmt.Errorf("%q is there twice", m))
		}
	}
	r.methods, r.unusual = parseMethods(c.Methods)
	switch {
	case c.Upstream == "" && unset(c.Handler):
		fault("Upstream", errors.New("either this or Handler must be set"))
	case c.Upstream != "" && c.Handler != nil:
		fault("Upstream", fmt.Errorf("%q is set, and Handler too: a route has one target", c.Upstream))
	}
	if t := c.Timeout; t != (Timeout{}) {
		r.timeout = &t
		for _, d := range []struct {
			field string
			value time.Duration
		}{
			{"Timeout.Connect", t.Connect},
			{"Timeout.Send", t.Send},
			{"Timeout.Read", t.Read},
		} {
			switch {
			case d.value < 0:
				fault(d.field, fmt.Errorf("is %v, and must not be negative", d.value))
			case d.value > 0 && d.value < time.Millisecond: // most likely seconds were meant
				warnings = append(warnings, Warning{Field: d.field, Text: fmt.Sprintf("is %v (%v seconds), below a millisecond, in which hardly a node answers: is the unit right?", d.value, d.value.Seconds())})
			}
		}
	}
	edits, ofEdits := parseEdits(c.Headers, fault)
	r.edits = edits
	if c.RequireIdentity && c.AllowPlain {
		fault("AllowPlain", errors.New("is set, and RequireIdentity too: no client over plain HTTP has an identity"))
	}
	if err := c.ClientCert.Validate(); err != nil {
		fault("ClientCert", err)
	}
	r.warnings = fewWarnings(c.ID, append(warnings, ofEdits...))
	if faults != nil {
		return nil, errors.Join(faults...)
	}
	return r, nil
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
