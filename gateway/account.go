package gateway

import (
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

	match   *route.Route  // that was found, or nil
	denied  *denial       // why it goes nowhere, or nil
	refusal *Refusal      // what was kept of that, or nil
	event   *RequestEvent // nil unless somebody wants to know more
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
	if v.event != nil {
		v.event.note(d, why)
	}
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
	now := s.clock()
	took := time.Duration(now - v.begun)
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
	if v.event != nil {
		s.tell(v, now, took)
	}
}

// account ends the request of a turn. Calling it again does nothing.
func (t *turn) account() {
	if t.own.over {
		return
	}
	t.own.over = true
	if e := t.own.event; e != nil {
		e.Received = t.received()
	}
	t.client.server.account(&t.own)
}

// keptMethod returns a method that is no part of a buffer.
func keptMethod(method string) string {
	switch method {
	case http.MethodGet:
		return http.MethodGet
	case http.MethodPost:
		return http.MethodPost
	}
	return strings.Clone(method)
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
	e.Method, e.Host, e.Path = strings.Clone(t.head.Method()), strings.Clone(host), strings.Clone(t.head.Target())
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
		if e := a.visit.event; e != nil {
			e.Received = received()
		}
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

// A toldBody is the body of a node's answer whose breaking off an event tells, unless the
// client has gone away. If it has lost the right to the answer, that is why.
type toldBody struct {
	io.ReadCloser
	ctx   context.Context // of the request
	event *RequestEvent
}

func (b *toldBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == nil || err == io.EOF || b.event.Err != nil {
		return n, err
	}
	if refusal := refusalIn(b.ctx); refusal != nil {
		b.event.Err = refusal
	} else if b.ctx.Err() == nil {
		b.event.Err = err
	}
	return n, err
}
