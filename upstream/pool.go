package upstream

import (
	"log/slog"
	"net"
	"sync/atomic"
	"time"
)

// Options are the parts of the world outside that a [Pool] uses.
// A nil *Options and a zero Options mean the same.
type Options struct {
	// Logger receives one record for each failure that the caller does not see,
	// because another node answered. If nil, nothing is logged.
	Logger *slog.Logger

	// Dialer connects to nodes, and resolves their names. If nil, a zero
	// [net.Dialer] does. Connections that are taken over from another pool were
	// made by its Dialer.
	Dialer DialFunc

	// MaxResponseHeaderBytes limits the head of an answer, together with the
	// informational (1xx) ones before it. Zero is 256 KiB.
	MaxResponseHeaderBytes int64
}

const defaultMaxResponseHeaderBytes = 256 << 10

// A Pool is an [Upstream] at work: an [http.RoundTripper] that sends each request
// to one of the nodes. It may be used by any number of goroutines.
type Pool struct {
	u       *Upstream
	members []member
	pickers []Picker // of the levels
	dial    DialFunc
	log     *slog.Logger
	closed  atomic.Bool

	// epoch is when the clock of the pool began, and of those that it replaced.
	epoch time.Time
}

// now is what the pool's clock says. It is cheaper than time.Now, and its times fit
// into an atomic.
func (p *Pool) now() time.Duration { return time.Since(p.epoch) }

// A member is a node as one pool sees it.
type member struct {
	*target
	level  int    // its place among the levels
	weight int    // in its level
	state  *node  // passed on to a pool that has the node too
	conns  *conns // passed on if the settings are the same as well
}

// A node is what is known of a server while it is in use, whatever pool it is in.
type node struct {
	inFlight atomic.Int64
	requests atomic.Uint64
	failures atomic.Uint64
	latency  latency
}

// NewPool puts an Upstream to work. If the pool replaces another, prev is that
// one, otherwise nil: nodes with the same address keep their counts, and their
// connections too if TLS, keep-alive and MaxResponseHeaderBytes are the same.
// Close prev once requests go to the new pool.
//
// A pool opens nothing until its first request.
func NewPool(u *Upstream, prev *Pool, o *Options) *Pool {
	if o == nil {
		o = &Options{}
	}
	p := &Pool{
		u:       u,
		members: make([]member, len(u.targets)),
		pickers: make([]Picker, len(u.levels)),
		dial:    o.Dialer,
		log:     o.Logger,
		epoch:   time.Now(),
	}
	if prev != nil {
		p.epoch = prev.epoch
	}
	if p.dial == nil {
		p.dial = new(net.Dialer).DialContext
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	settings := connSettings{u.settings, o.MaxResponseHeaderBytes}
	if settings.maxHeaderBytes <= 0 {
		settings.maxHeaderBytes = defaultMaxResponseHeaderBytes
	}

	known := prev.byAddress()
	for i := range p.members {
		t := &u.targets[i]
		m := member{target: t}
		old, ok := known[t.address]
		if ok {
			m.state = old.state
		} else {
			m.state = new(node)
		}
		if ok && old.conns.settings == settings {
			m.conns = old.conns
		} else {
			m.conns = &conns{client: newClient(t.address, u.tls, settings), settings: settings}
		}
		m.conns.pools.Add(1)
		p.members[i] = m
	}
	for i := range u.levels {
		l := &u.levels[i]
		for k, n := range l.nodes {
			p.members[n].level, p.members[n].weight = i, l.weights[k]
		}
		p.pickers[i] = u.newPicker(l, p.members)
	}
	return p
}

func (p *Pool) byAddress() map[string]*member {
	if p == nil {
		return nil
	}
	known := make(map[string]*member, len(p.members))
	for i := range p.members {
		known[p.members[i].address] = &p.members[i]
	}
	return known
}

// Upstream returns what the pool was made of.
func (p *Pool) Upstream() *Upstream { return p.u }

// Close closes the idle connections to nodes that no other open pool uses.
// Requests in flight go on, and their connections are closed when they end.
// The pool itself goes on to work, for those who still hold it, without keeping
// connections. Closing again does nothing.
func (p *Pool) Close() {
	if p.closed.Swap(true) {
		return
	}
	for i := range p.members {
		p.members[i].conns.release()
	}
}

// NodeStatus is what a pool knows of one node.
type NodeStatus struct {
	Address string // "10.0.0.1:80"
	Weight  int    // as configured

	Priority int // as configured

	// Since the node was first used, by this pool or those before it:
	InFlight int64  // requests now, up to the end of the answer's body
	Requests uint64 // all that were sent or tried
	Failures uint64 // those that failed for a reason on the node's side
}

// Nodes returns the state of the nodes, in the order of [Config.Nodes]. The counts
// are read one after another while requests go on.
func (p *Pool) Nodes() []NodeStatus {
	nodes := make([]NodeStatus, len(p.members))
	for i := range p.members {
		m := &p.members[i]
		nodes[i] = NodeStatus{
			Address:  m.address,
			Weight:   p.u.config.Nodes[i].Weight,
			Priority: p.u.config.Nodes[i].Priority,
			InFlight: m.state.inFlight.Load(),
			Requests: m.state.requests.Load(),
			Failures: m.state.failures.Load(),
		}
	}
	return nodes
}
