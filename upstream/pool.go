package upstream

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/internal/hooks"
	"github.com/sallyport/sallyport/internal/sample"
)

// Options are the parts of the outside world that a [Pool] uses. A nil *Options and a zero
// Options mean the same. A negative number is the same as zero unless stated otherwise.
type Options struct {
	// Logger receives one record for each failure that the caller does not see, because
	// another node is tried, as far as FailuresLogged allows; and for each change of a
	// node's health and of its name. If nil, nothing is logged. A record in whose handler
	// something panics is lost, and standard error says why.
	Logger *slog.Logger

	// FailuresLogged bounds how many failures of one node are logged in a second, so that a
	// node that is down does not fill a disk. The next record of the node says how many
	// were left out ("unreported"). Zero is 10, and a negative number is no bound.
	FailuresLogged int

	// Resolver finds the addresses of nodes that are names. If it is nil,
	// [net.DefaultResolver] does, unless there is a Dialer: that then gets the names,
	// because it may want them.
	//
	// A name is resolved with the first request that needs it. When the answer is older
	// than ResolveTTL, the next request starts another lookup, and does not wait for it.
	// While lookups fail, the last addresses are used. If there are several, each new
	// connection begins with a different one, and goes on to the next if nobody answers;
	// connections to an address that has gone are closed once they are idle.
	Resolver Resolver

	// ResolveTTL is how long an answer of Resolver is valid: Go's resolver does not tell
	// what DNS says about it. Zero is 30 seconds. A failure is valid for a tenth of it.
	ResolveTTL time.Duration

	// Dialer connects to nodes. If nil, a zero [net.Dialer] does. If there is a Resolver,
	// it gets only addresses, otherwise names as they are configured. Anything that a node
	// sends over an idle connection closes it. A connection that is a [syscall.Conn] is
	// checked for that when it is about to be reused, and so must not read ahead; any other
	// has a goroutine that reads while it is idle. Connections that are taken over from
	// another pool were made by that pool's Dialer. A panic in it is an error, as is one in
	// Resolver.
	Dialer DialFunc

	// MaxResponseHeaderBytes limits the head of an answer, together with the
	// informational (1xx) ones before it. Zero is 256 KiB, and more than 1 GiB is 1 GiB.
	MaxResponseHeaderBytes int64

	// Transport, if not nil, talks to the nodes in place of the pool's own HTTP/1.1 client.
	// Each node gets a clone of it. In the clone, the pool decides how to connect (Dialer,
	// Config.TLS, names), what is kept (Config.KeepAlive, except its Requests) and how long a
	// head may be. It speaks HTTP/1.1, reads no proxy from the environment, and compresses
	// nothing. Other settings apply: MaxConnsPerHost (a request waits for a connection as long
	// as its context allows, whatever the Timeout), the sizes of buffers,
	// ExpectContinueTimeout. Nothing interrupts it while it reads the body of a request: if the
	// node breaks off, or the context ends, when the body has to wait for more, the call ends
	// once that has come. Do not change the Transport afterwards. If the address of a
	// connection goes (see Resolver) while the connection is in use, the clone keeps it,
	// because it cannot be told later; only connections that are idle then are closed. Nor does
	// it know of NTLM and Negotiate: a connection that they have authenticated is kept, and the
	// next client is taken for the one before.
	Transport *http.Transport
}

const (
	defaultMaxResponseHeaderBytes = 256 << 10
	maxMaxResponseHeaderBytes     = 1 << 30 // it must fit into an int
)

// A Pool is an [Upstream] at work: an [http.RoundTripper] that sends each request to one of
// the nodes. It may be used by any number of goroutines. Use [NewPool]: a zero Pool does
// not work.
type Pool struct {
	u       *Upstream
	members []member
	pickers []Picker // of the levels
	budget  *budget  // passed on to a pool with the same RetryBudget
	counts  *counts  // passed on
	log     *slog.Logger
	logged  int // Options.FailuresLogged, as package sample has it
	closed  atomic.Bool

	forwards bool // what forward.By.Forwards says

	probed   atomic.Bool   // probing has begun
	probing  chan struct{} // holds what probes now; passed on if the checks are the same
	ejecting *sync.Mutex   // serialises who is ejected, in this pool and those before it

	// epoch is when the clock of the pool began, and of those that it replaced.
	epoch time.Time
}

// now is what the pool's clock says. It is cheaper than time.Now, and its times fit
// into an atomic.
func (p *Pool) now() time.Duration { return time.Since(p.epoch) }

// A member is a node as one pool sees it.
type member struct {
	*target
	level  int        // its place among the levels
	weight int        // in its level
	state  *node      // passed on to a pool that has the node too
	conns  *conns     // passed on if the settings are the same as well
	dial   DialFunc   // connects to the node
	named  *namedNode // nil if the node is an address, or its name the Dialer's to resolve
	cond   *condition // passed on if the checks are the same
}

// A node is what is known of a server while it is in use, whatever pool it is in.
type node struct {
	inFlight atomic.Int64
	requests atomic.Uint64
	failures atomic.Uint64
	latency  latency

	// All of this is written for each request. A node has a cache line to itself, so
	// that cores do not wait for each other for requests to different nodes.
	_ [64 - 4*8]byte

	names  resolution     // of its name, if it has one that is resolved here
	failed sample.Sampler // failures that are logged
}

// NewPool puts an Upstream to work. A pool opens nothing until its first request.
func NewPool(u *Upstream, o *Options) *Pool { return newPool(u, o, nil) }

// Replace returns a pool that takes the place of this one, perhaps of another Upstream. It
// continues the counts of [*Pool.Stats]. Nodes with the same address keep their own counts
// and the addresses that their names have resolved to. They keep their connections if
// Scheme, TLS (see [TLS.Signer]), keep-alive, MaxResponseHeaderBytes and Transport are the
// same, and their health if [Config.Checks] are. An equal RetryBudget continues with what
// is left. This pool still works: close it once requests go to the new one.
//
// If this pool probes its nodes, the new pool begins to probe its own at once. The nodes
// that are in both are probed by one goroutine, which continues.
func (p *Pool) Replace(u *Upstream, o *Options) *Pool { return newPool(u, o, p) }

// newPool returns a pool that replaces prev, if that is not nil.
func newPool(u *Upstream, o *Options, prev *Pool) *Pool {
	if o == nil {
		o = &Options{}
	}
	p := &Pool{
		u:       u,
		members: make([]member, len(u.targets)),
		pickers: make([]Picker, len(u.levels)),
		log:     hooks.Logger(o.Logger),
		logged:  sample.Limit(o.FailuresLogged),
		epoch:   time.Now(),
	}
	p.ejecting, p.counts = new(sync.Mutex), new(counts)
	if prev != nil {
		p.epoch, p.ejecting, p.counts = prev.epoch, prev.ejecting, prev.counts
	}
	sameChecks := prev != nil && equalChecks(u.checks, prev.u.checks)
	switch {
	case u.checks == nil:
	case sameChecks:
		p.probing = prev.probing
	default:
		p.probing = make(chan struct{}, u.checks.concurrency)
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	settings := connSettings{u.settings, min(o.MaxResponseHeaderBytes, maxMaxResponseHeaderBytes), o.Transport}
	if settings.maxHeaderBytes <= 0 {
		settings.maxHeaderBytes = defaultMaxResponseHeaderBytes
	}

	p.forwards = !settings.http2 && settings.transport == nil && u.config.Picker == nil
	if prev != nil && prev.u.budget == u.budget {
		p.budget = prev.budget
	} else {
		p.budget = newBudget(u.budget)
	}
	// The Signer is no part of settings: its value may have no ==, and fmt would look into it.
	// What prev has of connections is of the Signer of prev, whether it made them or not.
	sameSigner := prev != nil && (u == prev.u || u.sameSigner(prev.u))
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
		if ok && sameSigner && old.conns.settings == settings {
			m.conns = old.conns
		} else {
			m.conns = &conns{client: newClient(t.address, u.tls, settings), settings: settings}
		}
		m.conns.pools.Add(1)
		m.connectBy(o, p.log.With(slog.String("upstream", u.ID()), slog.String("node", t.address)))
		if ok && sameChecks {
			m.cond = old.cond
		} else {
			m.cond = newCondition()
		}
		p.members[i] = m
		m.cond.prober.adopt(&probeJob{p, &p.members[i]})
	}
	for i := range u.levels {
		l := &u.levels[i]
		for k, n := range l.nodes {
			p.members[n].level, p.members[n].weight = i, l.weights[k]
		}
		p.pickers[i] = u.newPicker(l, p.members)
	}
	if prev != nil && prev.probed.Load() && !prev.closed.Load() {
		p.startProbing()
	}
	return p
}

// connectBy sets how the node is connected to.
func (m *member) connectBy(o *Options, log *slog.Logger) {
	dialer := o.Dialer
	if dialer == nil {
		dialer = new(net.Dialer).DialContext
	}
	m.dial = dialer.guarded()
	host, _, err := net.SplitHostPort(m.address)
	if err != nil {
		panic("upstream: internal error: a node's address is none: " + err.Error())
	}
	if _, err := netip.ParseAddr(host); err == nil || o.Resolver == nil && o.Dialer != nil {
		return
	}
	m.named = &namedNode{
		resolution: &m.state.names,
		name:       host,
		resolver:   net.DefaultResolver,
		ttl:        o.ResolveTTL,
		dial:       m.dial,
		conns:      m.conns,
		log:        log,
	}
	if o.Resolver != nil {
		m.named.resolver = guardedResolver{o.Resolver}
	}
	if m.named.ttl <= 0 {
		m.named.ttl = defaultResolveTTL
	}
	m.dial = m.named.connect
}

// equalChecks reports whether nodes keep their health.
func equalChecks(a, b *checks) bool {
	return a == b || a != nil && b != nil && *a == *b
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

// Upstream returns the Upstream that the pool was made from.
func (p *Pool) Upstream() *Upstream { return p.u }

// Close closes the idle connections to nodes that no other open pool uses. Requests in
// flight continue, and their connections are closed when they end. It stops probing the
// nodes that no other open pool has, and waits until that has ended. The pool itself still
// works for those who hold it, but keeps no connections and does not probe. Closing again
// does nothing.
func (p *Pool) Close() {
	if p.closed.Swap(true) {
		return
	}
	for i := range p.members {
		p.members[i].conns.release()
	}
	p.stopProbing()
}

// CloseIdleConnections closes the connections to nodes that are idle, and those that become
// idle before the next request to their node: also those that the pool shares with one that it
// has replaced or is replaced by. Requests in flight and checks continue.
//
// It is what [http.Client.CloseIdleConnections] calls.
func (p *Pool) CloseIdleConnections() {
	for i := range p.members {
		p.members[i].conns.closeIdle()
	}
}

// NodeStatus is what a pool knows about one node.
type NodeStatus struct {
	Address string // "10.0.0.1:80"
	Weight  int    // as configured

	Priority int // as configured

	// Since the node was first used, by this pool or those before it:
	InFlight int64  // requests now, up to the end of the answer's body
	Requests uint64 // all of them, even if they could not be sent
	Failures uint64 // those that failed for a reason on the node's side

	// Health is what the checks have found out; the counts are those that led to it: see
	// [Checks].
	Health       Health
	Successes    int
	HTTPFailures int
	TCPFailures  int
	Timeouts     int

	// Reason says why Health last changed, or why the node was ejected, whichever came last. It
	// is empty if neither has happened.
	Reason string

	// LastError is the error of the last request or check that failed for a reason on the
	// node's side, and LastErrorAt its time. They stay when the node has recovered.
	LastError   string
	LastErrorAt time.Time

	// EjectedUntil is when an ejected node may return. It is zero if the node is not ejected.
	EjectedUntil time.Time

	// SlowStart is the share of its weight, below 1, that the node has during a slow start. It
	// is zero if there is none.
	SlowStart float64
}

// Nodes returns the state of the nodes, in the order of [Config.Nodes]. The counts are read
// while requests go on, so they need not agree exactly.
func (p *Pool) Nodes() []NodeStatus {
	nodes := make([]NodeStatus, len(p.members))
	for i := range p.members {
		m := &p.members[i]
		t := m.cond.tally()
		nodes[i] = NodeStatus{
			Address:  m.address,
			Weight:   p.u.config.Nodes[i].Weight,
			Priority: p.u.config.Nodes[i].Priority,
			InFlight: m.state.inFlight.Load(),
			Requests: m.state.requests.Load(),
			Failures: m.state.failures.Load(),

			Health:       t.health(),
			Successes:    int(t.count(success)),
			HTTPFailures: int(t.count(httpFailure)),
			TCPFailures:  int(t.count(tcpFailure)),
			Timeouts:     int(t.count(timeout)),
		}
		if part := p.warmth(m); part < 1 {
			nodes[i].SlowStart = part
		}
		if reason := m.cond.reason.Load(); reason != nil {
			nodes[i].Reason = *reason
		}
		if last := m.cond.trouble.Load(); last != nil {
			nodes[i].LastError, nodes[i].LastErrorAt = last.text, last.at
		}
		if t&ejectedMark != 0 && !p.readmitted(m) {
			nodes[i].EjectedUntil = p.epoch.Add(time.Duration(m.cond.ejectedUntil.Load()))
		}
	}
	return nodes
}
