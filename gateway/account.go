package gateway

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/internal/meter"
	"github.com/sallyport/sallyport/internal/sample"
	"github.com/sallyport/sallyport/route"
)

// This file is where every request ends, by whatever door it came: there it is counted,
// and told of to those who want to know. Counting adds to three integers of the route; it
// takes no lock and allocates nothing.

// A visit is what is kept of a request for its end.
type visit struct {
	client *client // of the engines; nil behind a server of one's own, or net/http's

	begun int64 // by the server's clock
	over  bool  // it was accounted for

	status int   // of the answer; 0 if none was begun
	sent   int64 // bytes of its body
	gone   bool  // the client went away before there was an answer

	match   *route.Route // that was found, or nil
	denied  *denial      // why it goes nowhere, or nil
	refusal *Refusal     // what was kept of that, or nil

	// What follows is for those who want to know more.

	node     string // the last one that was asked, and how many were
	attempts int
	waited   time.Duration // until the head of its answer
	received int64         // bytes of the request's body
	err      error         // why no node has answered, or an answer broke off

	noWebSocket bool // the client asked for one, and the route does not pass it on

	event *RequestEvent // nil as long as nobody has asked for it
}

// counts are those of a Server that are nobody else's.
type counts struct {
	unrouted            meter.Route // the requests that count for no route
	unroutedLogged      [len(unroutedStatuses)]sample.Sampler
	notFound, malformed atomic.Uint64
	accepted            atomic.Uint64 // connections
	http1, http2        protocolCounts
}

// note takes note of what was decided.
func (v *visit) note(d *decision, why *denial) {
	v.match, v.denied = d.found.Route, why
	if why != nil {
		v.err = cmp.Or(why.err, why.unauthorized)
	}
	if v.event != nil {
		v.event.note(d, why)
	}
}

// complete fills an event with what became of the request.
func (v *visit) complete(e *RequestEvent, took time.Duration) {
	e.Node, e.Attempts, e.Waited = v.node, v.attempts, v.waited
	e.Took, e.Status, e.Received, e.Sent = took, v.status, v.received, v.sent
	e.NoWebSocket, e.Err = v.noWebSocket, v.err
}

// meter returns where a request is counted.
func (s *Server) meter(match *route.Route) *meter.Route {
	if match == nil {
		return &s.counts.unrouted
	}
	return meter.OfRoute.Cell(match).Route()
}

// account ends a request, whose answer is written or never will be.
func (s *Server) account(v *visit) {
	now, took := s.count(v)
	if e := v.event; e != nil {
		v.complete(e, took)
		s.tell(e, v, now)
	}
}

// count counts a request that is over, and returns when that was, by the server's clock, and
// how long it took.
func (s *Server) count(v *visit) (now int64, took time.Duration) {
	now = s.clock()
	took = time.Duration(now - v.begun)
	if v.gone {
		v.status = 0
	}
	if of := s.meter(v.match); v.status == http.StatusSwitchingProtocols {
		of.CountAnswer(v.status) // how long a WebSocket was open says nothing
	} else {
		of.Count(v.status, took)
	}
	if v.denied == noRoute {
		s.counts.notFound.Add(1)
	}
	s.history.touch(s)
	return now, took
}

// account ends the request of a turn. Calling it again does nothing.
func (t *turn) account() {
	if t.own.over {
		return
	}
	t.own.over = true
	s := t.client.server
	if !s.tells() {
		s.count(&t.own)
		return
	}
	t.own.received = t.received()
	if t.own.event != nil || s.o.AccessLog == nil {
		s.account(&t.own)
		return
	}
	now, took := s.count(&t.own)
	var e RequestEvent // nobody has asked for it, and only the log will see it
	t.describe(&e)     // whose connection it is, its preface says
	if s.lines == nil {
		e.own() // a handler may keep what it is given
	}
	e.note(&t.decision, t.own.denied)
	t.own.complete(&e, took)
	s.logAccess(&e, &t.own, s.timeAt(now))
}

// illegal takes note that the target of the request has no meaning, for which it is
// answered with 400.
func (t *turn) illegal() {
	t.own.status = http.StatusBadRequest
	if t.own.event != nil || !t.client.server.tells() {
		return
	}
	e := t.newEvent()
	host, _ := t.head.Host()
	path, _, _ := strings.Cut(t.head.Target(), "?")
	e.Method, e.Host, e.Path = t.head.Method(), host, path
	e.own()
	t.own.event = e
}

// An attendance is a request of net/http that is accounted for.
type attendance struct {
	countedWriter
	visit visit
}

// attend lets a request of net/http be served, and accounts for it. That of the engine is
// its turn's to account for.
func (s *Server) attend(w http.ResponseWriter, r *http.Request, serve func(*Server, http.ResponseWriter, *http.Request, *visit)) {
	if engine, ok := w.(answerer); ok {
		v := engine.visit()
		if v.event == nil && s.tells() {
			v.event = eventOf(r)
		}
		serve(s, w, r, v)
		return
	}
	a := &attendance{countedWriter: countedWriter{wrapped: wrapped{w}}, visit: visit{begun: s.clock()}}
	received := func() int64 { return 0 }
	if s.tells() {
		a.visit.event = eventOf(r)
		r, received = countBody(r)
	}
	defer func() {
		a.visit.status, a.visit.sent = a.status, a.n
		a.visit.received = received()
		s.account(&a.visit)
	}()
	serve(s, &a.countedWriter, r, &a.visit)
	if a.status == 0 {
		a.status = http.StatusOK // which net/http answers for a handler that said nothing
	}
}

// countBody returns a request whose body is counted when it is read, and what asks for the
// count.
func countBody(r *http.Request) (_ *http.Request, received func() int64) {
	switch body := r.Body.(type) {
	case nil:
	case *deadlineBody:
		return r, body.n.Load
	default:
		if body == http.NoBody {
			break
		}
		counted := &countedBody{ReadCloser: body}
		r = r.WithContext(r.Context()) // net/http wants to find its own Body in its own request
		r.Body = counted
		return r, counted.n.Load
	}
	return r, func() int64 { return 0 }
}

// A toldBody is the body of a node's answer whose breaking off is told of, unless the
// client has gone away. If it has lost the right to the answer, that is why.
type toldBody struct {
	io.ReadCloser
	ctx   context.Context // of the request
	visit *visit
}

func (b *toldBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == nil || err == io.EOF || b.visit.err != nil {
		return n, err
	}
	if refusal := refusalIn(b.ctx); refusal != nil {
		b.visit.err = refusal
	} else if b.ctx.Err() == nil {
		b.visit.err = err
	}
	return n, err
}
