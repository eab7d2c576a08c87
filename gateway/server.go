package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/gateway/accesslog"
	"github.com/sallyport/sallyport/internal/h2"
	"github.com/sallyport/sallyport/internal/hooks"
	"github.com/sallyport/sallyport/internal/http1"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// A Server is a gateway at work. Its methods may be called by any number of goroutines. Use
// [New]: a zero Server does not work.
type Server struct {
	// snap is replaced, never changed. Load it once for each handshake or request.
	snap atomic.Pointer[snapshot]

	// applyMu serialises writers. Nothing on the way of a request takes it.
	applyMu sync.Mutex
	ended   bool // new pools keep nothing; guarded by applyMu

	o     Options
	term  *ssl.Terminator
	proxy *httputil.ReverseProxy

	requestLimit http1.RequestLimit
	h2Limits     h2.Options
	reached      reached // how often the limits were
	counts       counts
	refusals     refusals
	history      history
	clients      clients
	workers      workers
	poller       poller
	epoch        time.Time // when the server's clock began
	wall         atomic.Pointer[wallClock]
	lines        *accesslog.Handler // that of the access log, if it is one; or nil
	draining     atomic.Bool        // each request is the last of its connection

	http *http.Server // for connections with HTTP/2, with Options.NetHTTP2
	h2   handOver     // its listener, with Options.NetHTTP2

	listeners listeners
	inbounds  inbounds
	tunnels   tunnels
}

// New returns a Server without a configuration: it refuses every handshake and answers
// every request with 404. It runs nothing until it is given something to do;
// [*Server.Shutdown] or [*Server.Close] ends that. The error joins one for each invalid
// option, including those of TLS and Route; each names the field and the rule.
func New(o *Options) (*Server, error) {
	s := &Server{}
	if o != nil {
		s.o = *o
	}
	s.o.TrustedProxies = slices.Clone(s.o.TrustedProxies)
	s.o.ProxyProtocol = slices.Clone(s.o.ProxyProtocol)
	s.o.Limits = s.o.Limits.withDefaults()
	if s.o.AccessLog != nil {
		s.lines, _ = s.o.AccessLog.Handler().(*accesslog.Handler)
	}
	s.o.Logger, s.o.AccessLog = hooks.Logger(s.o.Logger), hooks.Logger(s.o.AccessLog)
	if s.o.TLS.Logger == nil {
		s.o.TLS.Logger = s.o.Logger
	}
	if s.o.TLS.FailuresLogged == 0 {
		s.o.TLS.FailuresLogged = s.o.FailuresLogged
	}
	if s.o.Upstream.Logger == nil {
		s.o.Upstream.Logger = s.o.Logger
	}
	s.o.Upstream.Logger = hooks.Logger(s.o.Upstream.Logger) // for all pools one
	if s.o.Upstream.FailuresLogged == 0 {
		s.o.Upstream.FailuresLogged = s.o.FailuresLogged
	}
	routes, routeErr := route.NewTable(&s.o.Route)
	term, tlsErr := ssl.NewTerminator(func() *ssl.Table { return s.snap.Load().ssl }, s.tlsOptions())
	if err := errors.Join(within("TLS", tlsErr), within("Route", routeErr), s.o.check()); err != nil {
		return nil, err
	}
	s.snap.Store(&snapshot{routes: routes})
	s.term = term
	s.refusals.init(s.o.RefusalsKept)
	s.proxy = s.newProxy()
	s.epoch = time.Now()
	s.clients.trim = s.workers.trim
	s.reached = newReached()
	l := &s.o.Limits
	s.requestLimit = http1.RequestLimit{Bytes: l.HeaderBytes, Fields: l.HeaderFields, Time: l.HeaderTimeout}
	s.h2Limits = l.h2Options()
	s.http = s.newHTTPServer()
	return s, nil
}

// TLSConfig returns the TLS configuration for an [net/http.Server] of your own in front of
// [*Server.ServeHTTP]: see [*ssl.Terminator.TLSConfig].
func (s *Server) TLSConfig() *tls.Config { return s.term.TLSConfig() }

// Shutdown stops accepting, closes idle connections, and waits for requests and WebSocket
// connections to finish, until ctx ends; then it returns the error of ctx. Any other error
// means that a listener could not be closed. Handshakes in progress are completed, and
// clients that have just connected have a second to send a request, so that no connection
// that the listener has accepted is turned away. Finally it closes the remaining connections
// and the idle connections to the nodes. A Server that was shut down cannot serve again.
//
// It does not wait for connections that a handler of yours has taken over, nor for the
// requests that come to ServeHTTP: shut your own server down first. That server leaves the
// WebSocket connections to nodes alone, because net/http knows no more of a connection that
// was hijacked: Shutdown waits for these as for its own, and closes them at the end of ctx.
func (s *Server) Shutdown(ctx context.Context) error {
	s.draining.Store(true)
	closed := s.listeners.drain()
	s.clients.drain()
	err := s.listeners.wait(ctx)
	if err == nil {
		err = s.h2.settle(ctx)
	}
	if err == nil {
		err = s.http.Shutdown(ctx)
	}
	if err == nil {
		err = s.clients.wait(ctx)
	}
	if err == nil {
		err = s.tunnels.wait(ctx)
	}
	if ended := s.end(); closed == nil {
		closed = ended
	}
	if err == nil {
		err = closed
	}
	return err
}

// Close ends everything at once: Serve and ServeTLS return [http.ErrServerClosed], and
// requests in progress are broken off; of those that came to ServeHTTP, only the WebSocket
// connections to nodes are. Closing again does nothing. The Server can still be changed, and
// ServeHTTP still works, but connections to nodes are no longer kept, nor nodes probed. An
// error means that a listener could not be closed.
func (s *Server) Close() error {
	s.draining.Store(true)
	return s.end()
}

// end ends what is left.
func (s *Server) end() error {
	err := s.listeners.closeAll()
	_ = s.http.Close() // whose listener is ours
	s.inbounds.closeArriving()
	s.clients.closeAll()
	s.tunnels.closeAll()
	s.workers.close()
	s.poller.stop()
	s.history.stop()
	s.closePools()
	return err
}

// closePools closes the pools that there are, and not in the middle of a change: its new
// pools go on with the probing of those that they replace.
func (s *Server) closePools() {
	s.applyMu.Lock()
	defer s.applyMu.Unlock()
	s.ended = true
	for _, pool := range s.snap.Load().pools.All() {
		pool.Close()
	}
}

// newHTTPServer returns what runs the connections of [*Server.Serve] and
// [*Server.ServeTLS] that speak HTTP/2 where [Options.NetHTTP2] wants it so. Handlers
// find it in their context, whoever serves them (http.ServerContextKey).
func (s *Server) newHTTPServer() *http.Server {
	l := s.o.Limits
	server := &http.Server{
		Handler:                      http.HandlerFunc(s.serveStream),
		DisableGeneralOptionsHandler: true, // "OPTIONS *" gets the same answer through every door
		ReadHeaderTimeout:            l.HeaderTimeout,
		IdleTimeout:                  l.IdleTimeout,
		MaxHeaderBytes:               l.HeaderBytes,
		Protocols:                    &http.Protocols{},
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: l.Streams,
			WriteByteTimeout:     l.BodyTimeout,
			SendPingTimeout:      l.BodyTimeout,
		},
		ConnState: s.connState,
		ErrorLog:  s.httpLog(),
	}
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(s.o.H2C)
	return server
}

// connState is told by net/http of what becomes of a connection.
func (s *Server) connState(c net.Conn, state http.ConnState) {
	s.counts.http2.turns(c, state)
	if state == http.StateClosed {
		s.inbounds.takeBack(c)
	}
}

// httpLog returns the logger for what net/http says of single connections.
func (s *Server) httpLog() *log.Logger { return log.New(logWriter{s.o.Logger}, "", 0) }

type logWriter struct{ logger *slog.Logger }

func (w logWriter) Write(line []byte) (int, error) {
	if w.logger != nil {
		level := slog.LevelDebug
		if bytes.Contains(line, []byte(": panic serving ")) { // a mistake in a handler of the user's
			level = slog.LevelError
		}
		w.logger.Log(context.Background(), level, "http server", "text", string(line))
	}
	return len(line), nil
}

// statusOf is the answer to a request whose upstream failed.
func statusOf(err error) int {
	var failed *upstream.Error
	if errors.As(err, &failed) && failed.Status != 0 {
		return failed.Status
	}
	return http.StatusBadGateway
}

// Routes returns the route table that requests are matched with now. It is for inspection,
// with [route.Table.ExplainHTTP] for example; use [*Server.Apply] to change it. ExplainHTTP
// takes the client's address and certificate from the connection: it knows neither
// [Options.TrustedProxies] nor the guard, which the gateway relies on. [*Server.Explain] does.
func (s *Server) Routes() *route.Table { return s.snap.Load().routes }
