package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/sallyport/sallyport/internal/buffers"
	"github.com/sallyport/sallyport/internal/forward"
	"github.com/sallyport/sallyport/internal/h2"
	"github.com/sallyport/sallyport/internal/hostname"
	"github.com/sallyport/sallyport/internal/http1"
	"github.com/sallyport/sallyport/internal/urlpath"
	"github.com/sallyport/sallyport/route"
)

// This file is the way of a request that goes from a buffer of its client's connection
// to one of a node's, and of the answer back. Nothing on it allocates, for a request that
// is small and a route without variables: TestRelayAllocs keeps watch. Strings in a turn
// are parts of the client's buffer, and die with the request.

// A turn is one request on a connection, from its head to the end of its answer.
type turn struct {
	client *client
	stream *h2.Stream // nil with HTTP/1.1
	flight flight     // of the stream's
	head   *http1.RequestHead
	query  string // with its question mark, or empty
	decision
	fwd  forward.Request
	sent []byte        // the body of the request, if it was there with the head
	body *clientStream // or how it is read; nil if there is none, or with HTTP/2

	upload *streamBody // the same with HTTP/2

	last bool // the connection ends with this request

	exposed bool // to a handler, which may not have let go of it

	ctx    context.Context // for those who ask for one; or nil
	cancel func()          // ends it

	illegible bool // net/url finds no meaning in the target

	decided bool    // the decision was made
	denied  *denial // what it was, or nil

	adapted *http.Request // made of the request, once something asked for it

	own visit // of the decision
}

var turns = sync.Pool{New: func() any {
	t := new(turn)
	t.fwd.Head = t
	t.fwd.Early = t.early // bound once
	t.asker, t.visit = t, &t.own
	return t
}}

// release gives the turn back.
func (t *turn) release() {
	if t.cancel != nil {
		t.cancel()
		t.ctx, t.cancel = nil, nil
	}
	if t.exposed {
		return
	}
	fields := t.header.fields[:0]
	clear(t.header.fields)
	head, early := t.fwd.Head, t.fwd.Early
	t.client, t.stream, t.head, t.query, t.adapted = nil, nil, nil, "", nil
	t.sent, t.body, t.upload = nil, nil, nil
	t.flight.reset()
	t.decision, t.own = decision{asker: t, visit: &t.own}, visit{}
	t.header.fields = fields
	t.fwd = forward.Request{Head: head, Early: early}
	t.last, t.illegible, t.decided, t.denied = false, false, false, nil
	turns.Put(t)
}

// serve answers the request, and reports whether there may be another on its
// connection.
func (t *turn) serve() bool {
	t.last = t.client.last(t.head)
	t.own.client, t.own.begun = t.client, t.client.server.clock()
	defer t.account()
	if !t.relays() {
		return t.adapt()
	}
	return t.relay()
}

// last reports whether a request is the last of the connection by what was known
// before it.
func (k *client) last(head *http1.RequestHead) bool {
	if k.h2 != nil {
		return false
	}
	limit := k.server.o.Limits.Requests
	return head.Close || k.server.draining.Load() || limit > 0 && k.requests >= limit
}

// relays reports whether the request goes on as it is, and sets where. For everything
// else, and everything that is refused, there is the other way.
func (t *turn) relays() bool {
	k, s, head := t.client, t.client.server, t.head
	method, target := head.Method(), head.Target()
	if target[0] != '/' || head.Upgrade || method == http.MethodConnect {
		return false
	}
	if t.stream != nil && len(t.stream.Hosts) > 0 {
		return false // beside :authority: the other way compares
	}
	if limit := s.o.Limits.BodyBytes; limit > 0 && head.ContentLength > limit {
		return false
	}
	raw := target
	if i := strings.IndexByte(target, '?'); i >= 0 {
		raw, t.query = target[:i], target[i:]
	}
	var err error
	if t.path, err = urlpath.Options(s.o.Route.Paths).Parse(raw); err != nil {
		return false
	}
	authority, _ := head.Host()
	host, ok := hostname.CanonicalHost(authority)
	if !ok {
		return false // also without any, which HTTP/1.0 may be
	}

	t.snap = s.snap.Load()
	t.tls, t.authority = k.tls, authority
	t.req = route.Request{Method: method, Host: host, Port: route.PortOf(authority), Path: t.path.Normal}
	t.header.arrival = arrival{from: s.newSender(k.peer), https: k.tls != nil, host: authority, port: k.port}
	if from := &t.header.from; from.trusted {
		for i := range head.Len() {
			from.hear(head.FieldView(i))
		}
		s.findClient(from)
	}
	if s.traces() {
		t.own.event = t.newEvent()
	}
	t.decided, t.denied = true, s.decide(&t.decision)
	if t.denied != nil || t.pool == nil || !forward.By.Forwards(t.pool) {
		return false
	}
	// Whoever asks for variables may ask for what is in the body, and read it.
	return !t.illegible && (t.adapted == nil || head.ContentLength == 0)
}

// settle makes the decision fit for those who may keep what they are given: nothing of it
// is a part of the client's buffer any more.
func (t *turn) settle() {
	d := &t.decision
	for _, s := range []*string{&d.authority, &d.path.Raw, &d.path.Normal, &d.req.Method, &d.req.Host, &d.req.Port, &d.req.Path} {
		*s = strings.Clone(*s)
	}
	if found := d.snap.routes.Match(&d.req); found.Route == d.found.Route {
		d.found = found
	}
	if d.vars != nil {
		d.rvars = requestVars{d.req, d.found}
	}
	for i := range d.header.fields {
		d.header.fields[i].Value = strings.Clone(d.header.fields[i].Value)
	}
	if why := t.denied; why != nil && why.refusal != nil {
		settled, refusal := *why, *why.refusal // for the log
		refusal.Host = strings.Clone(refusal.Host)
		settled.refusal = &refusal
		t.denied = &settled
	}
	if t.own.event == nil && t.client.server.tells() {
		t.own.event = t.newEvent() // now: who takes the connection over lets others have the buffer
	}
}

// context implements [asker].
func (t *turn) context() context.Context {
	if t.ctx == nil {
		t.ctx, t.cancel = context.WithCancel(context.Background())
		t.handles(t.cancel, t.head.ContentLength == 0)
	}
	return t.ctx
}

// ask implements [asker].
func (t *turn) ask(d *decision) {
	r := t.withBody()
	if r == nil { // the other way refuses it
		r = &http.Request{URL: &url.URL{}, Header: http.Header{}}
		t.illegible = true
	}
	r = d.header.ask(&d.req, r, d.identity)
	if !t.illegible {
		t.adapted = r
	}
}

// relay sends the request to a node, and the answer back.
func (t *turn) relay() bool {
	t.takeBody()
	t.fwd.Method, t.fwd.Host, t.fwd.Vars = t.req.Method, t.authority, t.vars
	t.fwd.Binds = t.head.Binds
	timeout := t.found.Route.Timeout()
	t.fwd.Connect, t.fwd.Send, t.fwd.Read = timeout.Connect, timeout.Send, timeout.Read
	t.own.note(&t.decision, nil)
	x := forward.By.Forward(t.pool, &t.fwd)
	t.follow(x)
	answer, err := x.Do()
	t.waited()
	if t.client.server.tells() {
		t.asked(x, err)
	}
	switch {
	case err != nil:
		t.land(x)
		return t.failed(err)
	case x.HasBody() && eventStream(answer):
		defer t.beginEvents()()
	}
	if t.stream != nil {
		return t.answerStream(x, answer)
	}
	return t.answer(x, answer)
}

// newEvent returns the event of the request, which somebody may keep.
func (t *turn) newEvent() *RequestEvent {
	k := t.client
	e := &RequestEvent{Begun: time.Now(), RemoteAddr: k.remote, Scheme: schemeOf(k.tls != nil), TLS: k.tls}
	if k.tls != nil {
		e.ServerName = k.tls.ServerName
	}
	t.describe(e)
	e.own()
	return e
}

// describe fills an event with what the client asks for, whoever it is. Some of it is a part of
// the client's buffer.
func (t *turn) describe(e *RequestEvent) {
	e.Method, e.Host, e.Path = t.req.Method, t.authority, askedFor(t.path)
	switch {
	case t.stream != nil:
		e.Protocol = "HTTP/2.0"
	case t.head.Minor == 0:
		e.Protocol = "HTTP/1.0"
	default:
		e.Protocol = "HTTP/1.1"
	}
}

// askedFor returns a path as [url.URL] would have it: with what [urlpath.Options] took away.
func askedFor(p urlpath.Path) string {
	if p.Raw == p.Normal {
		return p.Raw
	}
	path, err := url.PathUnescape(p.Raw)
	if err != nil {
		return p.Raw
	}
	return path
}

// asked takes note of which node has answered, or why none has.
func (t *turn) asked(x forward.Exchange, err error) {
	v := &t.own
	// A clock that is coarse may not have gone on, and that of the server is never zero.
	v.waited = max(x.Answered().Sub(t.client.server.epoch)-time.Duration(v.begun), 0)
	v.node, v.attempts, v.err = x.Node(), x.Attempts(), err
}

// received returns how much of the request's body was read.
func (t *turn) received() int64 {
	switch {
	case t.stream != nil:
		return t.stream.Received()
	case t.body != nil:
		return t.body.n.Load()
	}
	return int64(len(t.sent))
}

// takeBody looks where the body of the request is.
func (t *turn) takeBody() {
	k := t.client
	if t.head.ContentLength == 0 {
		return
	}
	if t.stream != nil {
		t.takeStreamBody()
		return
	}
	if body, ok := k.conn.Buffered(); ok {
		t.sent = body
		return
	}
	t.body = k.stream(t.head)
	t.fwd.Body, t.fwd.Length = t.body, t.head.ContentLength
}

// inFlight returns the flight of the request.
func (t *turn) inFlight() *flight {
	if t.stream != nil {
		return &t.flight
	}
	return &t.client.flight
}

// follow takes note that the client waits for an answer.
func (t *turn) follow(x forward.Exchange) {
	if t.stream != nil {
		t.flight.follow(x)
		return
	}
	t.client.follow(x)
	t.client.waitsForMore()
}

// waited takes note that it does so no more.
func (t *turn) waited() {
	if t.stream == nil {
		t.client.waited()
	}
}

// land closes the exchange.
func (t *turn) land(x forward.Exchange) {
	if t.stream != nil {
		t.flight.close(x)
		return
	}
	t.client.close(x)
}

// waitsForMore takes note that it waits for more of an answer.
func (k *client) waitsForMore() { k.since.Store(k.server.clock()) }

// waited takes note that it does so no more.
func (k *client) waited() { k.since.Store(0) }

// clock is the time since the server was made, in nanoseconds and never zero. It is
// cheaper than time.Now, and fits into an atomic.
func (s *Server) clock() int64 { return int64(time.Since(s.epoch)) | 1 }

// A wallClock is what time it was at a moment of the server's clock.
type wallClock struct {
	moment int64
	time   time.Time
}

// timeAt returns what time it was at a moment of the server's clock, which is now. It asks
// ten times a second: if somebody sets the clock, it takes a tenth of a second to hear of it.
func (s *Server) timeAt(moment int64) time.Time {
	const trusted = 100 * time.Millisecond
	w := s.wall.Load()
	if w == nil || time.Duration(moment-w.moment) > trusted {
		now := time.Now()
		w = &wallClock{int64(now.Sub(s.epoch)), now}
		s.wall.Store(w)
	}
	return w.time.Add(time.Duration(moment - w.moment))
}

// early passes on an informational answer (RFC 9110, section 15.2). Of 100, which
// answers an expectation, nobody has asked the node.
func (t *turn) early(r *http1.Response) error {
	if t.head.Minor == 0 || r.Status == http.StatusContinue {
		return nil
	}
	if t.stream != nil {
		return t.informStream(r)
	}
	var room [512]byte
	b := appendStatus(room[:0], r.Status, r.Reason())
	for i := range r.Len() {
		name, value := r.FieldView(i)
		if !concernsOne(name) && !r.Names(name) {
			b = appendField(b, name, value)
		}
	}
	b = append(b, "\r\n"...)
	var err error
	if t.body != nil {
		err = t.body.inform(b, false)
	} else {
		err = t.client.write(b)
	}
	if err != nil {
		t.client.lost() // or else the node would be to blame
	}
	return err
}

// answer passes on the answer of a node.
func (t *turn) answer(x forward.Exchange, r *http1.Response) bool {
	how := noBody
	switch {
	case !x.HasBody():
	case r.ContentLength >= 0:
		how = sizedBody
	case t.head.Minor == 1:
		how = chunkedBody
	default:
		how, t.last = closedBody, true
	}
	if t.body != nil && t.body.isEarly() {
		t.last = true
	}
	t.own.status = r.Status
	p := passage{to: t.client, how: how, buffer: buffers.New()}
	if how == sizedBody && r.ContentLength > buffers.Small/2 {
		p.grow()
	}
	p.begin(t.appendAnswerHead(p.buffer.B[:0], r, how))
	var err error
	if how != noBody {
		err = p.body(x)
	}
	t.client.close(x)
	if err == nil {
		err = p.flush()
	}
	p.buffer.Release()
	t.own.sent = p.n
	if err != nil {
		return t.broken(err)
	}
	return t.end()
}

// An answerError is an answer that broke off at the node's side.
type answerError struct{ err error }

func (e *answerError) Error() string { return e.err.Error() }
func (e *answerError) Unwrap() error { return e.err }

// broken ends the connection in the middle of an answer: it is how the client learns of
// it.
func (t *turn) broken(err error) bool {
	t.giveUp()
	t.stopBody()
	var answered *answerError
	if errors.As(err, &answered) {
		err = answered.err
		if refused := t.inFlight().refusal(); refused != nil {
			err = refused
		}
		t.client.server.logFailure(&t.own, t.request(), t.found.Route, err)
	}
	return false
}

// An answerer is what an answer is written to that does not come from a node as bytes.
type answerer interface {
	http.ResponseWriter
	finish() bool // after the handler; it reports whether there may be another request
	abort() bool  // in the middle of the answer
	visit() *visit
	goesOn() // the request's body may be read while the answer is written
}

// answerer returns that of the request.
func (t *turn) answerer() answerer {
	if t.stream != nil {
		return t.streamWriter()
	}
	return t.writer()
}

// giveUp ends the connection, or the stream, without an answer.
func (t *turn) giveUp() {
	if t.stream != nil {
		t.stream.Reset()
	} else {
		t.client.conn.Abort()
	}
}

// end ends a request whose answer was written, and reports whether there may be
// another.
func (t *turn) end() bool {
	k := t.client
	t.account() // and not after the lingering
	if t.body != nil && !t.body.whole() {
		t.stopBody()
		k.linger()
		return false
	}
	if t.last {
		_ = k.conn.Close()
		return false
	}
	return true
}

// stopBody ends the reading of the request's body, and waits for it.
func (t *turn) stopBody() {
	switch {
	case t.body != nil:
		t.body.stop()
	case t.stream != nil:
		t.stream.CloseBody()
	}
}

// failed answers a request that no node has answered.
func (t *turn) failed(err error) bool {
	late := t.body != nil && t.body.late() || t.upload != nil && t.upload.late()
	if errors.Is(err, context.Canceled) && !late {
		t.stopBody()
		t.giveUp() // the client has gone away: there is nobody to answer
		return false
	}
	t.stopBody() // which may be writing to the buffer that the request is in
	w := t.answerer()
	t.client.server.answerUpstreamFailure(w, t.request(), &t.own, t.found.Route, err, late)
	return w.finish()
}
