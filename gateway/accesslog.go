package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/internal/hooks"
	"github.com/sallyport/sallyport/internal/sample"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
)

// This file is what is said of requests: to Options.AccessLog of each that is over, or, if
// there is none, to Options.Logger of those that were refused or failed. Nothing is said
// twice.

// tells reports whether somebody wants to know what becomes of requests.
func (s *Server) tells() bool {
	t := s.o.Trace
	return s.o.AccessLog != nil || t != nil && (t.RequestDone != nil || t.RequestBegun != nil)
}

// failuresLogged is how many records a second there may be of failures of one kind.
func (s *Server) failuresLogged() int { return sample.Limit(s.o.FailuresLogged) }

// tell tells that a request is over.
func (s *Server) tell(v *visit, now time.Time, took time.Duration) {
	e := v.event
	e.Took, e.Status, e.Sent = took, v.status, v.sent
	if s.o.AccessLog != nil {
		s.logAccess(e, v, now)
	}
	if t := s.o.Trace; t != nil && t.RequestDone != nil {
		t.RequestDone(e)
	}
}

// logAccess logs a request that is over.
func (s *Server) logAccess(e *RequestEvent, v *visit, now time.Time) {
	level := slog.LevelInfo
	switch {
	case v.refusal != nil:
		level = slog.LevelWarn
	case e.Err != nil && !errors.Is(e.Err, context.Canceled): // which it is if the client went away
		level = slog.LevelError
	case e.NoWebSocket:
		level = slog.LevelWarn
	}
	ctx := e.contextOf(context.Background())
	handler := s.o.AccessLog.Handler()
	if !handler.Enabled(ctx, level) {
		return
	}
	unreported := 0
	if sampler := s.floods(v); sampler != nil {
		var ok bool
		if unreported, ok = sampler.Next(now, s.failuresLogged()); !ok {
			return
		}
	}
	// Not by a method of the Logger: it would look for its caller, which is always this.
	const message = "request"
	room := accessRooms.Get().(*[accessRoom]slog.Attr)
	var attrs []slog.Attr
	if k := v.client; k != nil {
		direct, same := e.ClientAddr == k.peer, false
		handler, same = k.connectionLog(handler, e, direct).handler(e, v.match)
		if attrs = room[:0]; !direct {
			attrs = appendClient(attrs, e)
		}
		if !same {
			attrs = appendWay(attrs, e)
		}
	} else {
		attrs = appendWay(appendClient(appendPeer(room[:0], e), e), e)
	}
	attrs = appendAccess(attrs, e, v, unreported)
	// What a handler says of its troubles goes nowhere, as with slog.Logger.
	if h, ok := handler.(hooks.AttrsHandler); ok {
		_ = h.HandleAttrs(ctx, now, level, message, attrs)
	} else {
		record := slog.NewRecord(now, level, message, 0)
		record.AddAttrs(attrs...) // which copies them
		_ = handler.Handle(ctx, record)
	}
	clear(attrs)
	accessRooms.Put(room)
}

// accessRoom is how many attributes a record has at most.
const accessRoom = 24

var accessRooms = sync.Pool{New: func() any { return new([accessRoom]slog.Attr) }}

// floods returns what keeps requests like this one from flooding the log, or nil. Those
// that a route serves are logged all: whoever wants to know of each wants just that.
func (s *Server) floods(v *visit) *sample.Sampler {
	switch {
	case v.refusal != nil:
		return s.refusals.sampler(v.refusal.Reason)
	case v.match == nil:
		i := max(slices.Index(unroutedStatuses[:], v.status), 0)
		return &s.counts.unroutedLogged[i]
	}
	return nil
}

// unroutedStatuses are those of requests that no route serves, and first all others.
var unroutedStatuses = [...]int{
	0, http.StatusPermanentRedirect, http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge,
}

// A connectionLog is the handler of the access log with what all requests of a connection
// have in common: most handlers format that once.
type connectionLog struct {
	identity *ssl.Identity
	direct   bool // the client is at the other end of the connection
	slog.Handler

	last atomic.Pointer[wayLog]
}

// A wayLog is a connectionLog with the way of a request, which that of the next is likely to
// be. There is a handler from the second on: on a connection where they differ each time, it
// would cost more than it saves.
type wayLog struct {
	protocol, host string
	match          *route.Route
	slog.Handler
}

// connectionLog returns the handler for requests of the connection.
func (k *client) connectionLog(h slog.Handler, e *RequestEvent, direct bool) *connectionLog {
	known := k.access.Load()
	if known == nil || known.identity != e.Identity || known.direct != direct {
		attrs := appendPeer(nil, e)
		if direct {
			attrs = appendClient(attrs, e)
		}
		known = &connectionLog{identity: e.Identity, direct: direct, Handler: h.WithAttrs(attrs)}
		k.access.Store(known)
	}
	return known
}

// handler returns the handler for a request, and whether it knows its way.
func (l *connectionLog) handler(e *RequestEvent, match *route.Route) (_ slog.Handler, same bool) {
	way := l.last.Load()
	if way == nil || way.match != match || way.host != e.Host || way.protocol != e.Protocol {
		l.last.Store(&wayLog{protocol: e.Protocol, host: e.Host, match: match})
		return l.Handler, false
	}
	if way.Handler == nil {
		way = &wayLog{way.protocol, way.host, way.match, l.WithAttrs(appendWay(nil, e))}
		l.last.Store(way)
	}
	return way.Handler, true
}

// appendClient appends where the client is.
func appendClient(attrs []slog.Attr, e *RequestEvent) []slog.Attr {
	return appendText(attrs, "client", e.ClientAddr)
}

// appendPeer appends what the access log says of a connection, and of who has made it.
func appendPeer(attrs []slog.Attr, e *RequestEvent) []slog.Attr {
	attrs = append(attrs, slog.String("remote", e.RemoteAddr))
	attrs = appendText(attrs, "server_name", e.ServerName)
	if e.Identity != nil {
		attrs = append(attrs, slog.Any("identity", e.Identity))
	}
	return attrs
}

// appendText appends a text, if there is one.
func appendText(attrs []slog.Attr, key, value string) []slog.Attr {
	if value != "" {
		attrs = append(attrs, slog.String(key, value))
	}
	return attrs
}

// appendWay appends where the request was to go, and which way it went.
func appendWay(attrs []slog.Attr, e *RequestEvent) []slog.Attr {
	attrs = append(attrs, slog.String("protocol", e.Protocol), slog.String("host", e.Host))
	attrs = appendText(attrs, "route", e.Route)
	return appendText(attrs, "upstream", e.Upstream)
}

// appendAccess appends what the access log says of a request besides. What does not apply is
// left out.
func appendAccess(attrs []slog.Attr, e *RequestEvent, v *visit, unreported int) []slog.Attr {
	attrs = append(attrs,
		slog.Int("status", e.Status),
		slog.String("method", e.Method),
		slog.String("path", e.Path))
	if e.Attempts > 0 {
		attrs = append(attrs,
			slog.String("node", e.Node),
			slog.Int("attempts", e.Attempts),
			slog.Duration("waited", e.Waited))
	}
	attrs = append(attrs,
		slog.Duration("took", e.Took),
		slog.Int64("received", e.Received),
		slog.Int64("sent", e.Sent))
	if r := v.refusal; r != nil {
		attrs = appendText(attrs, "reason", string(r.Reason))
		attrs = appendText(attrs, "profile", r.Profile)
		attrs = appendText(attrs, "advice", r.Advice)
	}
	if e.NoWebSocket {
		attrs = append(attrs, slog.String("advice", noWebSocket))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.String("error", e.Err.Error()))
	}
	if unreported > 0 {
		attrs = append(attrs, slog.Int("unreported", unreported))
	}
	return attrs
}

// logFailure tells of a request that failed: to the log, or to the event from which the
// access log is written. It is sampled for each route.
func (s *Server) logFailure(v *visit, r *http.Request, match *route.Route, err error, more ...slog.Attr) {
	if v.event != nil && v.event.Err == nil {
		v.event.Err = err
	}
	if s.o.AccessLog != nil {
		return
	}
	s.logOnRoute(slog.LevelError, "request failed", r, match, append([]slog.Attr{slog.Any("error", err)}, more...)...)
}

// logOnRoute tells the log of a request. It is sampled for each route.
func (s *Server) logOnRoute(level slog.Level, message string, r *http.Request, match *route.Route, more ...slog.Attr) {
	attrs := append([]slog.Attr{
		slog.String("route", match.ID()), slog.String("method", r.Method), slog.String("host", r.Host),
		slog.String("path", r.URL.Path), slog.String("remote", r.RemoteAddr),
	}, more...)
	s.logUnlessFlooded(level, message, &s.meter(match).Failures, attrs...)
}

// noWebSocket is the advice for who wonders what has become of a WebSocket.
const noWebSocket = "the client asked for a WebSocket, which the route does not pass on: set its WebSocket (enable_websocket) if it should"

// logNoWebSocket tells of a WebSocket that is not passed on: to the log, or to the event from
// which the access log is written.
func (s *Server) logNoWebSocket(v *visit, r *http.Request, match *route.Route) {
	if v.event != nil {
		v.event.NoWebSocket = true
	}
	if s.o.AccessLog == nil {
		s.logOnRoute(slog.LevelWarn, "WebSocket not passed on", r, match, slog.String("advice", noWebSocket))
	}
}

// logPanicked tells of a request whose client an Authorize of the user's could not judge,
// because it panicked: that is no refusal.
func (s *Server) logPanicked(r *http.Request, d *decision, why *denial) {
	more := []slog.Attr{slog.Int("status", why.status)}
	if d.identity != nil {
		more = append(more, slog.Any("identity", d.identity))
	}
	s.logFailure(d.visit, r, d.found.Route, why.unauthorized, more...)
}

// logRefused tells the log of a request that was refused. err is why, if an Authorize of
// the user's has said so.
func (s *Server) logRefused(r *http.Request, refusal *Refusal, message string, identity *ssl.Identity, err error) {
	if s.o.AccessLog != nil || s.o.Logger == nil {
		return
	}
	attrs := []slog.Attr{
		slog.Int("status", refusal.Status), slog.String("reason", string(refusal.Reason)), slog.String("message", message),
		slog.String("remote", r.RemoteAddr), slog.String("path", r.URL.Path), slog.String("host", refusal.Host),
		slog.String("server_name", refusal.ServerName),
	}
	for _, a := range []slog.Attr{
		slog.String("profile", refusal.Profile), slog.String("route", refusal.Route), slog.String("advice", refusal.Advice),
	} {
		if a.Value.String() != "" {
			attrs = append(attrs, a)
		}
	}
	if identity != nil {
		attrs = append(attrs, slog.Any("identity", identity))
	}
	if err != nil {
		attrs = append(attrs, slog.Any("error", err))
	}
	s.logUnlessFlooded(slog.LevelWarn, "request refused", s.refusals.sampler(refusal.Reason), attrs...)
}

// logUnlessFlooded writes a record to Options.Logger, unless there were too many of its
// kind.
func (s *Server) logUnlessFlooded(level slog.Level, message string, sampler *sample.Sampler, attrs ...slog.Attr) {
	if s.o.Logger == nil || !s.o.Logger.Enabled(context.Background(), level) {
		return
	}
	unreported, ok := sampler.Next(time.Now(), s.failuresLogged())
	if !ok {
		return
	}
	if unreported > 0 {
		attrs = append(attrs, slog.Int("unreported", unreported))
	}
	s.o.Logger.LogAttrs(context.Background(), level, message, attrs...)
}

// cut bounds what is kept of a client's words, and lets go of what they stand in.
func cut(text string) string {
	const most = 255
	if len(text) > most {
		text = text[:most]
	}
	return string([]byte(text))
}
