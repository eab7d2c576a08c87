package gateway

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/ssl"
)

// A Trace is told what happens. Its functions may be nil, and then cost nothing. They run
// on the goroutine of the request, the connection or the listener, and must not block. A
// panic in RequestBegun or RequestDone ends that request only; one in the others is logged.
type Trace struct {
	// RequestBegun is called as soon as it is known who asks for what, before anybody else
	// is asked: after the guard and the search for a route, before [route.Config.Authorize]
	// and the target. ctx is the context of the request. Only the values of the context
	// that it returns are used: Authorize, a route's handler and the [slog.Handler] of the
	// access log find them in their contexts, and RequestDone in [RequestEvent.Context].
	// Return ctx to change nothing.
	//
	// It is not called for requests that cannot be interpreted (400, 405); RequestDone is.
	RequestBegun func(ctx context.Context, r *RequestStart) context.Context

	// RequestDone is called when a request is over, whatever became of it.
	RequestDone func(*RequestEvent)

	// LimitReached is called when one of [Limits] ends a connection or a request. It is not
	// logged, so that a flood of connections does not become a flood of records.
	LimitReached func(LimitEvent)

	// ProxyHeaderRefused is called when a connection of a peer among
	// [Options.ProxyProtocol] is closed because its header did not come in time or is not
	// one. It is also logged, as far as [Options.FailuresLogged] allows.
	ProxyHeaderRefused func(peer net.Addr, err error)
}

// A Limit is the name of a limit that can be reached: a field of [Limits], or one of the
// two that cannot be set.
type Limit string

// The limits that [Trace.LimitReached] reports.
const (
	LimitConnections        Limit = "Connections"
	LimitConnectionsPerAddr Limit = "ConnectionsPerAddr"
	LimitHeaderBytes        Limit = "HeaderBytes"
	LimitHeaderFields       Limit = "HeaderFields"
	LimitHeaderTimeout      Limit = "HeaderTimeout"
	LimitBodyBytes          Limit = "BodyBytes"
	LimitBodyTimeout        Limit = "BodyTimeout" // of a request's body; with HTTP/2 also of an answer's
	LimitStreams            Limit = "Streams"

	// Limits of HTTP/2 that cannot be set: see "HTTP/2" in the package documentation.
	LimitResets Limit = "Resets" // requests that the client takes back
	LimitFrames Limit = "Frames" // frames that achieve nothing
)

// reached counts how often each limit was reached. It never changes, but for the counts.
type reached map[Limit]*atomic.Uint64

func newReached() reached {
	r := reached{}
	for _, limit := range []Limit{
		LimitConnections, LimitConnectionsPerAddr,
		LimitHeaderBytes, LimitHeaderFields, LimitHeaderTimeout, LimitBodyBytes, LimitBodyTimeout,
		LimitStreams, LimitResets, LimitFrames,
	} {
		r[limit] = new(atomic.Uint64)
	}
	return r
}

// limitReached tells of a limit that was reached.
func (s *Server) limitReached(limit Limit, remote net.Addr) {
	n := s.reached[limit].Add(1)
	if t := s.o.Trace; t != nil && t.LimitReached != nil {
		s.guarded("Trace.LimitReached", func() { t.LimitReached(LimitEvent{limit, remote, n}) })
	}
}

// guarded calls a function of the user's on a goroutine that others need as well: that of a
// listener, of a connection with HTTP/2, or of the client of a node, which sends a body.
func (s *Server) guarded(name string, call func()) {
	err := safely(context.Background(), func(context.Context) error {
		call()
		return nil
	})
	if err != nil && s.o.Logger != nil {
		s.o.Logger.Error(name+" failed", "error", err)
	}
}

// bodyFailed tells of a limit if one is why the body of a request was not read.
func (s *Server) bodyFailed(err error, remote net.Addr) {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		s.limitReached(LimitBodyBytes, remote)
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.limitReached(LimitBodyTimeout, remote)
	}
}

// A LimitEvent says that a limit was reached.
type LimitEvent struct {
	Limit      Limit
	RemoteAddr net.Addr // of the connection; nil with a server of your own that does not say
	Count      uint64   // how often it was reached since the Server was made, including this time
}

// A RequestEvent is what became of a request. It and everything in it never change, and may
// be kept.
type RequestEvent struct {
	Begun  time.Time
	Took   time.Duration // from its head to the end of its answer
	Waited time.Duration // of that, until the head of a node's answer

	// What the client asked for, as it came. It is unchecked, and may contain control
	// characters.
	Protocol string // "HTTP/1.1", "HTTP/2.0"
	Method   string
	Scheme   string // of the client's URL, "http" or "https": see [Options.TrustedProxies]
	Host     string
	Path     string // without the query

	RemoteAddr string               // the peer, "10.0.0.1:40000"
	ClientAddr string               // the address of the client: see [Options.TrustedProxies]
	ServerName string               // of the connection; empty without TLS
	TLS        *tls.ConnectionState // likewise nil without TLS; it must not be changed
	Identity   *ssl.Identity        // nil if there is none

	// Where the request went. These are empty if it did not get that far.
	Route    string
	Pattern  string // the one of the route's paths that matched: "/users/*id"
	Upstream string
	Node     string // the last one tried, "10.0.0.1:80"
	Attempts int    // how many were tried

	Status   int   // of the answer; 0 if none was begun
	Received int64 // bytes of the request's body that were read
	Sent     int64 // bytes of the answer's body that were written

	// NoWebSocket says that the client asked for a WebSocket, which is not passed on because
	// the route has no [route.Config.WebSocket]. What the target answers instead may be anything.
	NoWebSocket bool

	Refused *ssl.RequestError // by the guard, if it refused the request
	Err     error             // why no node answered, or an answer broke off

	// Context has the values of the context that [Trace.RequestBegun] returned, and never ends.
	// It is nil if RequestBegun was not called.
	Context context.Context
}

// note fills an event with what was decided.
func (e *RequestEvent) note(d *decision, why *denial) {
	e.Identity, e.ClientAddr = d.identity, d.header.from.client
	if d.header.from.trusted { // or else it is the peer's address, which is no part of a buffer
		e.ClientAddr = strings.Clone(e.ClientAddr)
		e.Scheme = cmp.Or(d.header.from.scheme, e.Scheme)
	}
	if match := d.found.Route; match != nil {
		e.Route, e.Upstream, e.Pattern = match.ID(), match.Upstream(), d.found.Pattern()
	}
	if why == nil {
		return
	}
	if e.Refused = why.refusal; why.refusal != nil {
		refusal := *why.refusal
		refusal.Host = strings.Clone(refusal.Host)
		e.Refused = &refusal
	}
}

// own lets an event have what the client asks for in memory of its own.
func (e *RequestEvent) own() {
	n := len(e.Host)
	both := e.Host + e.Path
	e.Host, e.Path = both[:n], both[n:]
	e.Method = keptMethod(e.Method)
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

// eventOf returns the event of a request of net/http.
func eventOf(r *http.Request) *RequestEvent {
	e := &RequestEvent{
		Begun:      time.Now(),
		Protocol:   r.Proto,
		Method:     r.Method,
		Scheme:     schemeOf(r.TLS != nil),
		Host:       r.Host,
		RemoteAddr: r.RemoteAddr,
	}
	if r.URL != nil {
		e.Path = r.URL.Path
	}
	if r.TLS != nil {
		e.ServerName, e.TLS = r.TLS.ServerName, r.TLS
	}
	return e
}
