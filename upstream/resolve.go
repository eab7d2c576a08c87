package upstream

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Resolver finds the addresses of a name, at least one, or returns an error. A
// [*net.Resolver] is one. It must return when ctx ends.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

const (
	defaultResolveTTL = 30 * time.Second

	// A lookup that failed is repeated after this part of the TTL.
	resolveAgain = 10

	// lookupTimeout ends a lookup, which goes on without the request that began it.
	lookupTimeout = 10 * time.Second

	// attemptDelay is how long one address of several has to answer before the next
	// is tried as well (RFC 8305, section 8).
	attemptDelay = 250 * time.Millisecond
)

// A resolution is what is known of the addresses of a node's name, whatever pool it
// is in. The zero resolution knows nothing.
type resolution struct {
	current atomic.Pointer[addresses] // replaced, never changed
	next    atomic.Uint64             // where the next connection begins

	mu      sync.Mutex // guards what follows
	running *lookup    // nil if none is
}

// addresses are what lookups have found.
type addresses struct {
	list  []netip.Addr // by the last lookup that has found any; empty if none has
	err   error        // of the last lookup
	until time.Time    // when there is to be another
}

// A lookup is closed when it is done.
type lookup struct{ done chan struct{} }

// A namedNode connects to a node by its name.
//
// Nothing runs for a name that nobody uses: the request that finds the addresses too
// old starts the next lookup, and goes on with the old ones. Only where they are very
// old, because there was no request for long, does it wait: they may be somebody
// else's by now.
type namedNode struct {
	*resolution
	name     string
	resolver Resolver
	ttl      time.Duration
	dial     DialFunc
	conns    *conns
	log      *slog.Logger // has the names of upstream and node
}

// keep is called for each request. It starts a lookup if one is due, and tells the
// client what the last one has found: not the lookup does, which may have been
// begun by the pool before, with another client.
func (n *namedNode) keep() {
	a := n.current.Load()
	if a == nil {
		return
	}
	n.conns.tell(n.resolution)
	if !time.Now().Before(a.until) {
		n.lookup()
	}
}

// connect is the node's DialFunc. It tries one address after another, each connection
// beginning with another; or with the wanted one, where a client knows them.
func (n *namedNode) connect(ctx context.Context, network, wanted string) (net.Conn, error) {
	list, err := n.resolve(ctx)
	if err != nil {
		return nil, err
	}
	// Before there is a connection to one of them: the next request may find the answer
	// of another lookup, which a check has begun.
	n.conns.tell(n.resolution)
	host, port, err := net.SplitHostPort(wanted)
	if err != nil {
		return nil, err
	}
	var first int
	addr, err := netip.ParseAddr(host)
	if i := slices.Index(list, addr); err == nil && i >= 0 {
		first = i
	} else {
		first = int(n.next.Add(1) % uint64(len(list)))
	}
	targets := make([]string, len(list))
	for i := range list {
		targets[i] = net.JoinHostPort(list[(first+i)%len(list)].String(), port)
	}
	return dialAny(ctx, n.dialAddress, network, targets)
}

// dialAddress says in its error which of the name's addresses it was.
func (n *namedNode) dialAddress(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := n.dial(ctx, network, address)
	if err != nil {
		return nil, &addressError{address, err}
	}
	return conn, nil
}

// resolve returns the addresses of the node, at least one.
func (n *namedNode) resolve(ctx context.Context) ([]netip.Addr, error) {
	a, now := n.current.Load(), time.Now()
	switch {
	case a == nil:
	case len(a.list) == 0 && now.Before(a.until):
		return nil, a.err
	case len(a.list) > 0 && now.Before(a.until.Add(n.ttl)):
		return a.list, nil
	}
	select {
	case <-n.lookup().done:
	case <-ctx.Done():
		return nil, &net.DNSError{Err: "no answer in time", Name: n.name, IsTimeout: true}
	}
	if a = n.current.Load(); len(a.list) == 0 {
		return nil, a.err
	}
	return a.list, nil
}

// lookup starts a lookup, unless one is running, and returns it.
func (n *namedNode) lookup() *lookup {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.running == nil {
		l := &lookup{make(chan struct{})}
		n.running = l
		go func() {
			n.look()
			n.mu.Lock()
			defer n.mu.Unlock()
			n.running = nil
			close(l.done)
		}()
	}
	return n.running
}

func (n *namedNode) look() {
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	list, err := n.resolver.LookupNetIP(ctx, "ip", n.name)
	list = canonicalAddrs(list)
	if err == nil && len(list) == 0 {
		err = &net.DNSError{Err: "no addresses", Name: n.name, IsNotFound: true}
	}
	if _, ok := errors.AsType[*net.DNSError](err); err != nil && !ok {
		err = &net.DNSError{Err: err.Error(), UnwrapErr: err, Name: n.name, IsTimeout: errors.Is(err, context.DeadlineExceeded)}
	}

	old := n.current.Load() // nobody replaces it while this lookup is running
	if old == nil {
		old = &addresses{}
		n.next.Store(rand.Uint64())
	}
	now := time.Now()
	next := &addresses{list: list, until: now.Add(n.ttl)}
	if err != nil {
		next = &addresses{list: old.list, err: err, until: now.Add(n.ttl / resolveAgain)}
	}
	n.current.Store(next)
	switch {
	case len(old.list) == 0: // whoever sends a request is told
	case err != nil && old.err == nil:
		n.log.Warn("upstream: a node's name does not resolve any more, the last addresses are used",
			slog.String("error", describe(err)), slog.Any("addresses", old.list))
	case err == nil && old.err != nil:
		n.log.Info("upstream: a node's name resolves again", slog.Any("addresses", list))
	}
}

// canonicalAddrs returns each address once, in an order that does not change with
// that of the answer, as that of most servers does.
func canonicalAddrs(list []netip.Addr) []netip.Addr {
	out := make([]netip.Addr, 0, len(list))
	for _, a := range list {
		if a.IsValid() {
			out = append(out, a.Unmap())
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

// dialAny connects to the first of several addresses that answers. The next one is
// tried as soon as one has failed, or was silent for long enough to have another
// tried beside it. The error is the first one's.
func dialAny(ctx context.Context, dial DialFunc, network string, targets []string) (net.Conn, error) {
	if len(targets) == 1 {
		return dial(ctx, network, targets[0])
	}
	type result struct {
		conn net.Conn
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	results := make(chan result)
	begun, ended := 0, 0
	begin := func() {
		target := targets[begun]
		begun++
		go func() {
			conn, err := dial(ctx, network, target)
			results <- result{conn, err}
		}()
	}
	// Those that are late are told to end, and what they made is closed.
	defer func() {
		cancel()
		if left := begun - ended; left > 0 {
			go func() {
				for range left {
					if r := <-results; r.conn != nil {
						r.conn.Close()
					}
				}
			}()
		}
	}()

	var firstErr error
	begin()
	patience := time.NewTimer(attemptDelay)
	defer patience.Stop()
	for {
		select {
		case r := <-results:
			ended++
			if r.err == nil {
				return r.conn, nil
			}
			if firstErr == nil {
				firstErr = r.err
			}
			if begun == len(targets) {
				if ended == begun {
					return nil, firstErr
				}
				continue
			}
		case <-patience.C:
			if begun == len(targets) {
				continue
			}
		}
		begin()
		patience.Reset(attemptDelay)
	}
}
