package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/sallyport/sallyport/internal/urlpath"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
)

// tunnels are the WebSocket connections, the gRPC calls and the event streams that go on, of
// nodes and of handlers of the user's: what outlives the judgement at its beginning. net/http
// leaves a connection to whoever has switched its protocol, and neither waits for it nor ends
// it: of the WebSockets to nodes, that is the gateway. The zero tunnels is empty.
type tunnels struct {
	mu    sync.Mutex // guards what follows
	open  map[*tunnel]struct{}
	loose int         // how many of them are
	rest  rest        // when no other is open
	timer *time.Timer // looks for what has expired; runs while any is open
}

// A tunnel is one of them, and what the guard judged.
type tunnel struct {
	cancel context.CancelCauseFunc // with the guard's refusal, if that is why

	tls       *tls.ConnectionState // nil without TLS
	authority string
	host      string // the same as routes have it
	guarded   string // the path, for the guard
	route     *route.Route

	// What was found when it was judged last: the profile of the authority, and that of the
	// name that the connection was made for.
	profile, made *ssl.Profile

	doomed bool // it ends after the grace
	loose  bool // others wait for its end and close it, if anybody does: the server of its request, or its handler
}

// beginTunnel takes note of a tunnel. It ends with the context that is returned, and end
// must be called when it has.
func (s *Server) beginTunnel(parent context.Context, d *decision, loose bool) (ctx context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(parent)
	return ctx, s.noteTunnel(cancel, d, loose)
}

// noteTunnel is beginTunnel for a context that there is already.
func (s *Server) noteTunnel(cancel context.CancelCauseFunc, d *decision, loose bool) (end func()) {
	t := &tunnel{
		cancel:    cancel,
		tls:       d.tls,
		authority: strings.Clone(d.authority), // it is judged while others see to its end
		host:      strings.Clone(d.req.Host),
		guarded:   strings.Clone(d.path.Guard()),
		route:     d.found.Route,
		loose:     loose,
	}
	t.find(d.snap.ssl)
	ts := &s.tunnels
	ts.mu.Lock()
	if ts.open == nil {
		ts.open = map[*tunnel]struct{}{}
	}
	ts.open[t] = struct{}{}
	if loose {
		ts.loose++
	}
	if ts.timer == nil {
		ts.timer = time.AfterFunc(judgeEvery, s.judgeAgain)
	}
	ts.mu.Unlock()
	if s.snap.Load() != d.snap {
		// Whoever has made that change may have looked at the tunnels before this was one.
		s.judgeTunnel(t)
	}
	return func() { ts.end(t) }
}

// find takes note of the profiles that a table has for a tunnel. It reports whether the guard
// may say something else by them than by those before. Where there is none, it may: a name
// may have come to stand below a wildcard that demands certificates.
func (t *tunnel) find(table *ssl.Table) (changed bool) {
	profile, made := table.Lookup(t.host), (*ssl.Profile)(nil)
	if t.tls != nil {
		made = table.Lookup(t.tls.ServerName)
	}
	changed = profile == nil || made == nil || profile != t.profile || made != t.made
	t.profile, t.made = profile, made
	return changed
}

func (ts *tunnels) end(t *tunnel) {
	t.cancel(nil)
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if _, open := ts.open[t]; !open {
		return // whoever has taken it over closes it as often as he likes
	}
	delete(ts.open, t)
	if t.loose {
		ts.loose--
	}
	if len(ts.open) == 0 && ts.timer != nil {
		ts.timer.Stop()
		ts.timer = nil
	}
	if ts.atRest() {
		ts.rest.reach()
	}
}

// atRest reports whether whatever is open is loose. mu is held.
func (ts *tunnels) atRest() bool { return len(ts.open) == ts.loose }

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
// that only a change of their profiles can be the reason.
func (s *Server) judgeTunnels(snap *snapshot, changed bool) {
	for _, t := range s.tunnels.toJudge(snap, changed) {
		s.judgeTunnel(t)
	}
}

// toJudge returns the tunnels that may have to end.
func (ts *tunnels) toJudge(snap *snapshot, changed bool) (list []*tunnel) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for t := range ts.open {
		if t.doomed {
			continue
		}
		if t.find(snap.ssl) || !changed {
			list = append(list, t)
		}
	}
	return list
}

// judgeTunnel ends a tunnel whose client may not have it by the configuration that there is.
// The guard may ask the user's Authorize, which takes its time, and may have to go through
// the gateway to find its answer: so no lock is held meanwhile that a tunnel needs to begin
// or to end.
func (s *Server) judgeTunnel(t *tunnel) {
	var refused error
	for {
		snap := s.snap.Load()
		if refused = s.refuses(snap, t); refused == nil {
			return
		}
		if s.snap.Load() == snap {
			break // or else what refuses it is in force no more
		}
	}
	ts := &s.tunnels
	ts.mu.Lock()
	defer ts.mu.Unlock()
	switch {
	case t.doomed:
		return
	case s.o.TunnelGrace > 0:
		time.AfterFunc(s.o.TunnelGrace, func() { t.cancel(refused) }) // which does nothing to one that is over
	default:
		t.cancel(refused)
	}
	t.doomed = true
}

// refuses returns why a request like that which has opened a tunnel would be refused now, or
// nil: see [*Server.find].
func (s *Server) refuses(snap *snapshot, t *tunnel) error {
	if t.tls == nil && (s.o.PlainHTTP == PlainOpen || t.route.AllowPlain()) {
		return nil
	}
	_, refused := s.term.Judge(snap.ssl, t.tls, t.authority, t.guarded)
	if refused == nil && t.tls == nil && !urlpath.ACMEChallenge(t.guarded) {
		if why := snap.secluded(t.route, t.host); why != "" {
			return refusalOfPlain(why, t.authority)
		}
	}
	return refused
}

// refusalIn returns why the client has lost the right to the tunnel whose context that is, or
// nil.
func refusalIn(ctx context.Context) *ssl.RequestError {
	refusal, _ := errors.AsType[*ssl.RequestError](context.Cause(ctx))
	return refusal
}

// wait waits until no tunnel is open but loose ones, or ctx ends.
func (ts *tunnels) wait(ctx context.Context) error {
	return ts.rest.wait(ctx, &ts.mu, ts.atRest)
}

// closeAll ends all tunnels that are open, but loose ones.
func (ts *tunnels) closeAll() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for t := range ts.open {
		if !t.loose {
			t.cancel(nil)
		}
	}
}
