package route

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/internal/hostname"
)

// A Route is a [Config] that was checked. It never changes, and may be shared
// freely. [New] is the only way to one.
type Route struct {
	id         string
	hosts      []string // canonical patterns
	paths      []pattern
	methods    methodBits
	unusual    []string // the methods that have no bit
	priority   int
	upstream   string
	handler    http.Handler
	allowPlain bool
	webSocket  bool
	timeout    *Timeout
}

// New checks a Config and makes a Route of it. It keeps nothing of c but the
// Handler. The error joins a [*ConfigError] for each fault.
func New(c Config) (*Route, error) {
	var faults []error
	fault := func(field string, err error) {
		faults = append(faults, &ConfigError{ID: c.ID, Field: field, Err: err})
	}
	r := &Route{
		id:         c.ID,
		priority:   c.Priority,
		upstream:   c.Upstream,
		handler:    c.Handler,
		allowPlain: c.AllowPlain,
		webSocket:  c.WebSocket,
	}
	if c.ID == "" {
		fault("ID", errors.New("is required"))
	}
	for i, s := range c.Hosts {
		field := fmt.Sprintf("Hosts[%d]", i)
		if host, err := parseHost(s); err != nil {
			fault(field, err)
		} else if slices.Contains(r.hosts, host) {
			fault(field, fmt.Errorf("%q is there twice", s))
		} else {
			r.hosts = append(r.hosts, host)
		}
	}
	if len(c.Paths) == 0 {
		fault("Paths", errors.New(`at least one is required: "/*" is every path`))
	}
	for i, s := range c.Paths {
		field := fmt.Sprintf("Paths[%d]", i)
		if p, err := parsePattern(s); err != nil {
			fault(field, err)
		} else if slices.Contains(r.paths, p) {
			fault(field, fmt.Errorf("%q is there twice", s))
		} else {
			r.paths = append(r.paths, p)
		}
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
	case c.Upstream == "" && c.Handler == nil:
		fault("Upstream", errors.New("either this or Handler must be set"))
	case c.Upstream != "" && c.Handler != nil:
		fault("Upstream", fmt.Errorf("%q is set, and Handler too: a route has one target", c.Upstream))
	}
	if c.Timeout != nil {
		t := *c.Timeout
		r.timeout = &t
		for _, d := range []struct {
			field string
			value time.Duration
		}{
			{"Timeout.Connect", t.Connect},
			{"Timeout.Send", t.Send},
			{"Timeout.Read", t.Read},
		} {
			if d.value <= 0 {
				fault(d.field, fmt.Errorf("%v is not over zero", d.value))
			}
		}
	}
	if faults != nil {
		return nil, errors.Join(faults...)
	}
	return r, nil
}

// parseHost returns the canonical form of a host pattern.
func parseHost(s string) (string, error) {
	host, err := hostname.CanonicalPattern(s)
	if err == nil {
		return host, nil
	}
	// APISIX takes a port here, and the route is then never found.
	if i := strings.LastIndexByte(s, ':'); i >= 0 && strings.Trim(s[i+1:], "0123456789") == "" {
		if name, err := hostname.CanonicalPattern(s[:i]); err == nil {
			return "", fmt.Errorf("%q has a port, which is no part of the name: write %q", s, name)
		}
	}
	return "", fmt.Errorf("%q: %w", s, err)
}

// ID returns [Config.ID].
func (r *Route) ID() string { return r.id }

// HasHosts reports whether the route is for certain hosts, and not for any.
func (r *Route) HasHosts() bool { return len(r.hosts) > 0 }

// Priority returns [Config.Priority].
func (r *Route) Priority() int { return r.priority }

// Upstream returns [Config.Upstream]. It is empty if there is a Handler.
func (r *Route) Upstream() string { return r.upstream }

// Handler returns [Config.Handler]. It is nil if there is an Upstream.
func (r *Route) Handler() http.Handler { return r.handler }

// AllowPlain returns [Config.AllowPlain].
func (r *Route) AllowPlain() bool { return r.allowPlain }

// WebSocket returns [Config.WebSocket].
func (r *Route) WebSocket() bool { return r.webSocket }

// Timeout returns [Config.Timeout]. ok is false if the upstream's holds.
func (r *Route) Timeout() (t Timeout, ok bool) {
	if r.timeout == nil {
		return Timeout{}, false
	}
	return *r.timeout, true
}
