package gateway

import (
	"context"
	"crypto/tls"
	"sync"
	"time"

	"github.com/sallyport/sallyport/internal/hostname"
	"github.com/sallyport/sallyport/ssl"
)

// tunnels are the WebSocket connections and the gRPC calls that go on: what outlives the
// judgement at its beginning. net/http leaves a connection to whoever has switched its
// protocol, and neither waits for it nor ends it. The zero tunnels is empty.
type tunnels struct {
	mu    sync.Mutex // guards what follows
	open  map[*tunnel]struct{}
	rest  rest        // when none is open
	timer *time.Timer // looks for what has expired; runs while any is open
}

// A tunnel is one of them, and what the guard judged.
type tunnel struct {
	cancel context.CancelFunc

	tls       *tls.ConnectionState // nil without TLS
	authority string
	guarded   string // the path, for the guard

	// profile is the one that was found for the authority when it was judged last.
	profile *ssl.Profile
	doomed  bool // it ends after the grace
}

// beginTunnel takes note of a tunnel. It ends with the context that is returned, and end
// must be called when it has.
func (s *Server) beginTunnel(parent context.Context, d *decision) (ctx context.Context, end func()) {
	ctx, cancel := context.WithCancel(parent)
	t := &tunnel{
		cancel:    cancel,
		tls:       d.tls,
		authority: d.authority,
		guarded:   d.path.Guard(),
		profile:   d.snap.ssl.Lookup(d.req.Host),
	}
	ts := &s.tunnels
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.open == nil {
		ts.open = map[*tunnel]struct{}{}
	}
	ts.open[t] = struct{}{}
	if ts.timer == nil {
		ts.timer = time.AfterFunc(judgeEvery, s.judgeAgain)
	}
	return ctx, func() { ts.end(t) }
}

func (ts *tunnels) end(t *tunnel) {
	t.cancel()
	ts.mu.Lock()
	defer ts.mu.Unlock()
	delete(ts.open, t)
	if len(ts.open) > 0 {
		return
	}
	if ts.timer != nil {
		ts.timer.Stop()
		ts.timer = nil
	}
	ts.rest.reach()
}

// judgeEvery is how often it is looked for clients whose certificates have expired while
// a tunnel of theirs goes on.
const judgeEvery = 30 * time.Second

// judgeAgain judges all tunnels by the configuration that there is, whenever it may have
// expired what was judged before.
func (s *Server) judgeAgain() {
	s.judgeTunnels(s.snap.Load(), false)
	ts := &s.tunnels
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.timer != nil {
		ts.timer.Reset(judgeEvery)
	}
}

// judgeTunnels ends the tunnels of clients who may not have them any more. changed says
// that only a change of their profile can be the reason.
func (s *Server) judgeTunnels(snap *snapshot, changed bool) {
	ts := &s.tunnels
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for t := range ts.open {
		host, ok := hostname.CanonicalHost(t.authority)
		if t.doomed || t.tls == nil || !ok {
			continue
		}
		profile := snap.ssl.Lookup(host)
		if changed && profile == t.profile {
			continue
		}
		t.profile = profile
		if _, refused := s.term.Judge(snap.ssl, t.tls, t.authority, t.guarded); refused == nil {
			continue
		}
		t.doomed = true
		if s.o.TunnelGrace > 0 {
			time.AfterFunc(s.o.TunnelGrace, t.cancel) // which does nothing to one that is over
		} else {
			t.cancel()
		}
	}
}

// wait waits until no tunnel is open, or ctx ends.
func (ts *tunnels) wait(ctx context.Context) error {
	return ts.rest.wait(ctx, &ts.mu, func() bool { return len(ts.open) == 0 })
}

// closeAll ends all tunnels that are open.
func (ts *tunnels) closeAll() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for t := range ts.open {
		t.cancel()
	}
}
