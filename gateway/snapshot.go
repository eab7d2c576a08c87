package gateway

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/internal/hamt"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// A snapshot is one whole configuration at work. It never changes. It is one and
// not one for each package, because no order of two changes is safe: one that
// takes mTLS from a host and at the same time moves its route to a public origin
// would for a moment open the secret one, and the opposite change the other way.
type snapshot struct {
	ssl    *ssl.Table
	routes *route.Table
	pools  hamt.Map[*upstream.Pool]

	// users counts the routes of each upstream, so that one that is in use is
	// not deleted.
	users hamt.Map[int]

	// demanding counts the names that demand client certificates, by each of their
	// suffixes from a dot on: mtls.a.test is one of ".a.test" and one of ".test". Beside
	// those, "*" and names like "*a.test" are counted by themselves.
	demanding hamt.Map[int]

	// identityNames are the fields in which routes tell their targets who the client
	// is, beyond those that the gateway knows. A client that says such a thing to any
	// route is lying.
	identityNames nameSet

	// revision counts the changes up to this one, and changed is when it was made.
	revision uint64
	changed  time.Time

	byID atomic.Pointer[[]*route.Route] // see sortedRoutes; nil until somebody looks
}

// secluded returns why a route must not be found by a Host over plain HTTP, or "".
// Over TLS, such a route may be reached with a client certificate alone: by which name,
// a Host that anyone can write does not tell.
func (snap *snapshot) secluded(match *route.Route, host string) string {
	if !snap.ssl.DemandsClientCert() {
		return ""
	}
	if match.EveryHost() {
		return "this route is for every host, and some server names demand client certificates: it is served over TLS only; use https"
	}
	pattern, _ := match.HostFor(host)
	suffix, star := strings.CutPrefix(pattern, "*")
	if !star || snap.ssl.Lookup(host) != nil {
		return "" // what is served over TLS to everybody is no secret
	}
	if dot := strings.IndexByte(suffix, '.'); dot >= 0 { // or else it may be any name
		if n, _ := snap.demanding.Get(suffix[dot:]); n == 0 {
			return ""
		}
	}
	return "this route is also for server names that demand client certificates: it is served over TLS only; use https"
}

// Prepared is a [Change] that has been checked and can no longer fail: see
// [*Server.Prepare].
type Prepared struct {
	server    *Server
	gone      IDs // a copy: a Change is its maker's
	profiles  []*ssl.Profile
	routes    []*route.Route
	upstreams []*upstream.Upstream
}

// A ConfigError says which object of a [Change] does not fit the other objects, and why.
type ConfigError struct {
	Kind  Kind
	ID    string
	Field string // the path of the field, as in Go
	Err   error
}

// Error implements error.
func (e *ConfigError) Error() string {
	return fmt.Sprintf("gateway: %s %q: %s: %v", e.Kind, e.ID, e.Field, e.Err)
}

// Unwrap returns the reason.
func (e *ConfigError) Unwrap() error { return e.Err }

// FieldPath returns the field, for callers that map it to a document of their own.
func (e *ConfigError) FieldPath() string { return e.Field }

// ErrNoUpstream is the reason in a [ConfigError] about a route whose upstream does not
// exist, ErrInUse in one about an upstream that routes still use.
var (
	ErrNoUpstream = errors.New("there is no such upstream")
	ErrInUse      = errors.New("routes use it")
)

var errTwice = errors.New("stands twice in one change")

// Prepare checks a change without making it. The error joins one for each fault: a
// *ConfigError of [ssl], [route], [upstream] or this package. Prepare is for callers that
// have something to do between the check and the change, such as storing it; otherwise, use
// [*Server.Apply].
func (s *Server) Prepare(c Change) (*Prepared, error) {
	return s.prepare(s.snap.Load(), c)
}

func (s *Server) prepare(snap *snapshot, c Change) (*Prepared, error) {
	p := &Prepared{server: s}
	p.gone = IDs{slices.Clone(c.Delete.Profiles), slices.Clone(c.Delete.Routes), slices.Clone(c.Delete.Upstreams)}
	var faults []error
	var err error
	if p.profiles, err = ssl.Compile(c.Put.Profiles); err != nil {
		faults = append(faults, err)
	}
	if p.routes, err = compile(KindRoute, c.Put.Routes, route.New, (*route.Route).ID); err != nil {
		faults = append(faults, err)
	}
	if p.upstreams, err = compile(KindUpstream, c.Put.Upstreams, upstream.New, (*upstream.Upstream).ID); err != nil {
		faults = append(faults, err)
	}
	if len(faults) == 0 && !c.AllowDangling {
		faults = snap.dangling(p)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return p, nil
}

// compile makes a T of each Config, and refuses two with one ID.
func compile[C, T any](kind Kind, configs []C, compile func(C) (T, error), id func(T) string) ([]T, error) {
	var faults []error
	seen := map[string]bool{}
	list := make([]T, 0, len(configs))
	for _, c := range configs {
		t, err := compile(c)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if seen[id(t)] {
			faults = append(faults, &ConfigError{Kind: kind, ID: id(t), Field: "ID", Err: errTwice})
		}
		seen[id(t)] = true
		list = append(list, t)
	}
	return list, errors.Join(faults...)
}

// dangling returns what would be left dangling by a change: routes that it puts
// without their upstream being there, and upstreams that it deletes while other
// routes use them. It looks at what the change names, not at all routes.
func (snap *snapshot) dangling(p *Prepared) (faults []error) {
	put := map[string]bool{}
	for _, u := range p.upstreams {
		put[u.ID()] = true
	}
	deleted := map[string]bool{}
	for _, id := range p.gone.Upstreams {
		_, there := snap.pools.Get(id)
		deleted[id] = there && !put[id]
	}
	users := snap.usersAfter(p)
	for _, r := range p.routes {
		id := r.Upstream()
		if _, there := snap.pools.Get(id); id != "" && !put[id] && (!there || deleted[id]) {
			faults = append(faults, &ConfigError{Kind: KindRoute, ID: r.ID(), Field: "Upstream", Err: fmt.Errorf("%q: %w", id, ErrNoUpstream)})
			users = addTo(users, id, -1) // said once is enough
		}
	}
	for id, gone := range deleted {
		if n, _ := users.Get(id); gone && n > 0 {
			faults = append(faults, &ConfigError{Kind: KindUpstream, ID: id, Field: "ID", Err: fmt.Errorf("%w: %s", ErrInUse, snap.userOf(id, p))})
		}
	}
	return faults
}

// userOf names a route that uses an upstream and that a change leaves alone. It
// searches all routes, and so is for the error alone.
func (snap *snapshot) userOf(id string, p *Prepared) string {
	touched := map[string]bool{}
	for _, r := range p.routes {
		touched[r.ID()] = true
	}
	for _, id := range p.gone.Routes {
		touched[id] = true
	}
	for r := range snap.routes.All() {
		if r.Upstream() == id && !touched[r.ID()] {
			return fmt.Sprintf("route %q", r.ID())
		}
	}
	return "a route of the same change"
}

func (snap *snapshot) usersAfter(p *Prepared) hamt.Map[int] {
	users := snap.users
	for r, delta := range snap.routesMoved(p) {
		users = addTo(users, r.Upstream(), delta)
	}
	return users
}

func (snap *snapshot) identityNamesAfter(p *Prepared) nameSet {
	set := snap.identityNames
	for r, delta := range snap.routesMoved(p) {
		for _, name := range r.Headers().IdentityNames() {
			set = set.with(name, delta)
		}
	}
	return set
}

// routesMoved yields the routes that go with a change, each with -1, and those that come,
// with 1.
func (snap *snapshot) routesMoved(p *Prepared) iter.Seq2[*route.Route, int] {
	return func(yield func(*route.Route, int) bool) {
		released := map[string]bool{}
		release := func(id string) bool {
			old := snap.routes.Get(id)
			if old == nil || released[id] {
				return true
			}
			released[id] = true
			return yield(old, -1)
		}
		for _, id := range p.gone.Routes {
			if !release(id) {
				return
			}
		}
		for _, r := range p.routes {
			if !release(r.ID()) || !yield(r, 1) {
				return
			}
		}
	}
}

func (snap *snapshot) demandingAfter(p *Prepared) hamt.Map[int] {
	demanding := snap.demanding
	add := func(profile *ssl.Profile, delta int) {
		if !profile.DemandsClientCert() {
			return
		}
		for _, name := range profile.Names() {
			if strings.HasPrefix(name, "*") && !strings.HasPrefix(name, "*.") {
				demanding = addTo(demanding, name, delta)
			}
			for i, c := range []byte(name) {
				if c == '.' {
					demanding = addTo(demanding, name[i:], delta)
				}
			}
		}
	}
	released := map[string]bool{}
	release := func(id string) {
		if !released[id] {
			released[id] = true
			add(snap.ssl.Get(id), -1)
		}
	}
	for _, id := range p.gone.Profiles {
		release(id)
	}
	for _, profile := range p.profiles {
		release(profile.ID())
		add(profile, 1)
	}
	return demanding
}

// addTo adds delta to a count. There is none of "", and those that are zero are not
// kept.
func addTo(counts hamt.Map[int], key string, delta int) hamt.Map[int] {
	if key == "" {
		return counts
	}
	n, _ := counts.Get(key)
	if n+delta <= 0 {
		return counts.Without(key)
	}
	return counts.With(key, n+delta)
}

// Apply makes a change, all of it or nothing. When it returns, the next handshake and the
// next request see it, even on connections that are already open. If anything is wrong,
// everything stays as it was; the error is that of [*Server.Prepare].
//
// The cost is in proportion to the change, whatever the number of objects.
func (s *Server) Apply(c Change) (Report, error) {
	s.applyMu.Lock()
	defer s.applyMu.Unlock()
	p, err := s.prepare(s.snap.Load(), c)
	if err != nil {
		return Report{}, err
	}
	return p.commitLocked(), nil
}

// Configure replaces the whole configuration: it puts everything in c and deletes
// everything else, as one change. Nodes and profiles that stay keep what they have:
// connections, counts, and their place among objects of equal rank.
func (s *Server) Configure(c Config) (Report, error) {
	s.applyMu.Lock()
	defer s.applyMu.Unlock()
	snap := s.snap.Load()
	kept := map[Kind]map[string]bool{KindProfile: {}, KindRoute: {}, KindUpstream: {}}
	for _, c := range c.Profiles {
		kept[KindProfile][c.ID] = true
	}
	for _, c := range c.Routes {
		kept[KindRoute][c.ID] = true
	}
	for _, c := range c.Upstreams {
		kept[KindUpstream][c.ID] = true
	}
	var gone IDs
	for p := range snap.ssl.All() {
		if !kept[KindProfile][p.ID()] {
			gone.Profiles = append(gone.Profiles, p.ID())
		}
	}
	for r := range snap.routes.All() {
		if !kept[KindRoute][r.ID()] {
			gone.Routes = append(gone.Routes, r.ID())
		}
	}
	for id := range snap.pools.All() {
		if !kept[KindUpstream][id] {
			gone.Upstreams = append(gone.Upstreams, id)
		}
	}
	p, err := s.prepare(snap, Change{Put: c, Delete: gone})
	if err != nil {
		return Report{}, err
	}
	return p.commitLocked(), nil
}

// Commit makes the prepared change, and cannot fail. It does not check references again: if
// another change came in between, a route whose upstream no longer exists answers 502.
func (p *Prepared) Commit() Report {
	p.server.applyMu.Lock()
	defer p.server.applyMu.Unlock()
	return p.commitLocked()
}

// commitLocked is called with applyMu held.
func (p *Prepared) commitLocked() Report {
	s := p.server
	old := s.snap.Load()
	next := &snapshot{
		ssl:       old.ssl.Without(p.gone.Profiles...).With(p.profiles...),
		routes:    old.routes.Without(p.gone.Routes...).With(p.routes...),
		pools:     old.pools,
		users:     old.usersAfter(p),
		demanding: old.demandingAfter(p),

		identityNames: old.identityNamesAfter(p),

		revision: old.revision,
		changed:  old.changed,
	}
	if old.changedBy(p) {
		next.revision, next.changed = old.revision+1, time.Now()
	}
	s.goOnCounting(old, p)
	var replaced []*upstream.Pool
	for _, id := range p.gone.Upstreams {
		if pool, ok := next.pools.Get(id); ok {
			replaced = append(replaced, pool)
			next.pools = next.pools.Without(id)
		}
	}
	for _, u := range p.upstreams {
		var pool *upstream.Pool
		if prev, ok := next.pools.Get(u.ID()); ok {
			replaced = append(replaced, prev)
			pool = prev.Replace(u, &s.o.Upstream)
		} else {
			pool = upstream.NewPool(u, &s.o.Upstream)
		}
		if s.ended {
			pool.Close() // it works on, and probes nothing
		}
		next.pools = next.pools.With(u.ID(), pool)
	}
	s.snap.Store(next)
	if next.ssl != old.ssl {
		s.judgeTunnels(next, true)
	}
	// Only now: until the Store, requests went to the old pools. Those that still
	// do, end in peace.
	for _, pool := range replaced {
		pool.Close()
	}
	return p.report(old, next)
}
