package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/sallyport/sallyport/internal/jsonline"
	"github.com/sallyport/sallyport/internal/sample"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
)

// This file is what is said of requests: to Options.AccessLog of each that is over, or, if
// there is none, to Options.Logger of those that were refused or failed. Nothing is said
// twice.

// tells reports whether somebody wants to know what becomes of requests.
func (s *Server) tells() bool {
	return s.o.AccessLog != nil || s.traces()
}

// traces reports whether somebody wants to know of requests from the beginning, and may keep
// what it is told.
func (s *Server) traces() bool {
	t := s.o.Trace
	return t != nil && (t.RequestDone != nil || t.RequestBegun != nil)
}

// failuresLogged is how many records a second there may be of failures of one kind.
func (s *Server) failuresLogged() int { return sample.Limit(s.o.FailuresLogged) }

// tell tells that a request is over.
func (s *Server) tell(e *RequestEvent, v *visit, now int64) {
	if s.o.AccessLog != nil {
		s.logAccess(e, v, s.timeAt(now))
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
	p := &noPreface
	if v.client != nil {
		p = v.client.preface(handler, e.Identity, e.ClientAddr)
	}
	s.say(ctx, now, level, newRecord(e, v, p, unreported))
}

// say gives the handler of the access log a record. Not by a method of the Logger: it would look
// for its caller, which is always this. What a handler says of its troubles goes nowhere, as with
// slog.Logger.
func (s *Server) say(ctx context.Context, now time.Time, level slog.Level, r *record) {
	const message = "request"
	if s.lines != nil {
		r.keep()
		_ = s.lines.HandleMembers(now, level, message, r)
		return
	}
	handler := s.o.AccessLog.Handler()
	if r.preface.said {
		handler = r.preface.Handler
	}
	attrs := r.appendAttrs(make([]slog.Attr, 0, 24))
	r.release()
	record := slog.NewRecord(now, level, message, 0)
	record.AddAttrs(attrs...) // which copies them
	_ = handler.Handle(ctx, record)
}

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

// A preface is what the access log says of all requests of a connection, formatted once: by a
// handler that says it, or as the text that an [accesslog.Handler] gets with each. It does not
// change.
type preface struct {
	identity *ssl.Identity
	direct   bool // the client is at the other end of the connection
	said     bool // or else there is no preface

	slog.Handler
	json []byte
}

var noPreface preface

// preface returns what is said first of a request of the connection, by whom and from where.
func (k *client) preface(h slog.Handler, by *ssl.Identity, from string) *preface {
	direct := from == k.peer
	if p := k.access.Load(); p != nil && p.identity == by && p.direct == direct {
		return p
	}
	p := &preface{identity: by, direct: direct, said: true}
	serverName := ""
	if k.tls != nil {
		serverName = k.tls.ServerName
	}
	attrs := appendPeer(nil, k.remote, serverName, by)
	if direct && from != "" {
		attrs = append(attrs, slog.String("client", from))
	}
	if k.server.lines != nil {
		p.json = jsonline.AppendAttrs(nil, attrs)
	} else {
		p.Handler = h.WithAttrs(attrs)
	}
	k.access.Store(p)
	return p
}

// logFailure tells of a request that failed: to the log, or to the visit from which the
// access log is written. It is sampled for each route.
func (s *Server) logFailure(v *visit, r *http.Request, match *route.Route, err error, more ...slog.Attr) {
	if v.err == nil {
		v.err = err
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

// logNoWebSocket tells of a WebSocket that is not passed on: to the log, or to the visit from
// which the access log is written.
func (s *Server) logNoWebSocket(v *visit, r *http.Request, match *route.Route) {
	v.noWebSocket = true
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
