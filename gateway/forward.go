package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/sallyport/sallyport/internal/buffers"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/upstream"
)

// An exchange is one request on its way to a node and back. It travels in the
// context of the request.
type exchange struct {
	route   *route.Route
	pool    *upstream.Pool
	rawPath string
	vars    upstream.Vars // nil unless the balancer asks for some

	// deadline is that of a gRPC call, or zero.
	deadline time.Time

	header *outgoing
	visit  *visit
	told   bool        // somebody wants to know
	body   *clientBody // nil if the request has none

	// webSocket says that the request asks for an upgrade to WebSocket, and may.
	webSocket bool

	// call says that the request is a gRPC call, and bare that its answer has no
	// body: head and outcome must then go out in one.
	call, bare bool

	// For an answer that is an event stream:
	decision *decision
	cancel   context.CancelCauseFunc
	end      func() // of the tunnel; nil if there is none
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange {
	return ctx.Value(exchangeKey{}).(*exchange)
}

// forward sends a request to a node of a pool and its answer back.
func (s *Server) forward(w http.ResponseWriter, r *http.Request, d *decision) {
	match, pool := d.found.Route, d.pool
	x := &exchange{
		route:     match,
		pool:      pool,
		rawPath:   d.path.Raw,
		vars:      d.vars,
		header:    &d.header,
		visit:     d.visit,
		told:      s.tells(),
		webSocket: s.letsWebSocket(d.visit, r, match, websocket(r)),
		call:      calls(r),
	}
	if deadline, ok := callDeadline(r); ok {
		x.deadline = deadline
	}
	ctx, cancel := context.WithCancelCause(context.WithValue(r.Context(), exchangeKey{}, x))
	defer cancel(nil)
	x.decision, x.cancel = d, cancel
	defer func() {
		if x.end != nil {
			x.end()
		}
	}()
	if x.webSocket || x.call {
		// A call is a request of its server's until its end; a WebSocket is nobody's but ours.
		tunnel, end := s.beginTunnel(ctx, d, !x.webSocket)
		defer end()
		ctx = tunnel
	}
	r = r.WithContext(ctx)
	if r.ContentLength != 0 && r.Body != nil {
		if body, ok := r.Body.(interface{ bePatient() }); ok && x.call && mayPause(pool) {
			body.bePatient()
		}
		x.body = &clientBody{ReadCloser: r.Body}
		r.Body = x.body
	}
	if engine, ok := w.(answerer); ok {
		engine.goesOn()
	}
	s.proxy.ServeHTTP(&plainWriter{w, x}, r)
}

// letsWebSocket reports whether a client may have a WebSocket, if it asks for one. Where the
// route says no, as it does by default, the operator is told: the client may only be seen to
// get a strange answer.
func (s *Server) letsWebSocket(v *visit, r *http.Request, match *route.Route, asks bool) bool {
	if asks && !match.WebSocket() {
		s.logNoWebSocket(v, r, match)
	}
	return asks && match.WebSocket()
}

// newProxy returns the part that copies between client and node: hop-by-hop
// header fields, bodies, trailers, 1xx answers and upgrades.
func (s *Server) newProxy() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        rewrite,
		Transport:      poolTransport{},
		ModifyResponse: s.checkAnswer,
		FlushInterval:  -1, // what a node sends is passed on at once
		BufferPool:     bufferPool{},
		ErrorHandler:   s.forwardingFailed,
		ErrorLog:       s.httpLog(),
	}
}

// rewrite makes the request for the node out of the client's. It runs after the
// hop-by-hop header fields are gone, so that "Connection: x-real-ip" cannot take
// away what is set here (CVE-2024-45410).
func rewrite(p *httputil.ProxyRequest) {
	x := exchangeOf(p.In.Context())
	h := p.Out.Header
	// ReverseProxy has taken some of these out, and others if Connection names them. Whose
	// stay is said below.
	for name, values := range p.In.Header {
		if kindOf(name) == fieldForwarding {
			h[name] = values
		}
	}
	x.header.applyTo(h)

	// The server has answered "100-continue" by the time the body is read.
	h.Del("Expect")
	if !x.webSocket {
		// Any other Upgrade would turn the connection into a tunnel that nothing
		// here looks into (golang/go#80416).
		h.Del("Connection")
		h.Del("Upgrade")
	}
	// Trailers of a request may be dropped (RFC 9110, section 6.5.1), and could
	// hold whatever the header may not.
	p.Out.Trailer = nil
	h.Del("Trailer")

	p.Out.Host = p.In.Host
	p.Out.URL = target(x.rawPath, p.In.URL)
}

// target returns the URL that makes the client's request target again, byte for
// byte.
func target(rawPath string, in *url.URL) *url.URL {
	u := &url.URL{RawQuery: in.RawQuery, ForceQuery: in.ForceQuery}
	if path, err := url.PathUnescape(rawPath); err == nil {
		u.Path, u.RawPath = path, rawPath
	}
	if u.EscapedPath() != rawPath && !strings.HasPrefix(rawPath, "//") {
		// net/url would encode some bytes ("|", "^") that it need not. A path that
		// begins with two slashes cannot go this way: net/url would take the
		// first segment for a host.
		u.Opaque = rawPath
	}
	return u
}

// websocket reports whether a request asks for exactly one upgrade, to WebSocket
// (RFC 6455, section 4.1).
func websocket(r *http.Request) bool {
	upgrade := r.Header["Upgrade"]
	return r.Method == http.MethodGet && r.ProtoMajor == 1 && r.ProtoMinor == 1 &&
		len(upgrade) == 1 && strings.EqualFold(upgrade[0], "websocket") &&
		httpguts.HeaderValuesContainsToken(r.Header["Connection"], "Upgrade")
}

// poolTransport sends a request to the pool of its exchange.
type poolTransport struct{}

func (poolTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	x := exchangeOf(r.Context())
	if agent := r.Header["User-Agent"]; len(agent) == 1 && agent[0] == "" {
		delete(r.Header, "User-Agent") // ReverseProxy has put it there, against http.Transport's
	}
	o := &upstream.CallOptions{Vars: x.vars, Timeout: upstream.Timeout(x.route.Timeout())}
	v := x.visit
	if !x.told {
		return x.pool.Do(r, o)
	}
	var report upstream.CallReport
	o.Report = &report
	begun := time.Now()
	res, err := x.pool.Do(r, o)
	v.waited = time.Since(begun)
	v.node, v.attempts, v.err = report.Node, report.Attempts, err
	return res, err
}

// A clientBody is a request's body that remembers how reading it ended.
type clientBody struct {
	io.ReadCloser
	end atomic.Pointer[error] // io.EOF if all of it came
}

func (b *clientBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.end.CompareAndSwap(nil, &err)
	}
	return n, err
}

// all reports whether all of the body was read, or there is none.
func (b *clientBody) all() bool {
	if b == nil {
		return true
	}
	end := b.end.Load()
	return end != nil && *end == io.EOF
}

// late reports whether the client did not send the body in time. net/http cancels the
// request before the read of its body returns, which is on another goroutine.
func (b *clientBody) late() bool {
	if b == nil {
		return false
	}
	if end := b.end.Load(); end != nil {
		return errors.Is(*end, os.ErrDeadlineExceeded)
	}
	limited, ok := b.ReadCloser.(*deadlineBody)
	return ok && limited.late()
}

var errUnasked = errors.New("gateway: the node switched to a protocol that was not asked for")

// checkAnswer looks at the head of a node's answer before it goes on.
func (s *Server) checkAnswer(res *http.Response) error {
	out := res.Request
	x := exchangeOf(out.Context())
	if s.o.ServerHeader != "" {
		res.Header.Set("Server", s.o.ServerHeader)
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		// Without this, a node that answers any request with 101 and no Upgrade
		// gets a tunnel to the client.
		upgrade := res.Header["Upgrade"]
		if !x.webSocket || len(upgrade) != 1 || !strings.EqualFold(upgrade[0], "websocket") {
			return errUnasked
		}
		return nil
	}
	if res.StatusCode == http.StatusNoContent {
		// RFC 9110, section 8.6, forbids the field, and an HTTP/2 client that is
		// told of five bytes which do not come takes the answer for broken off.
		delete(res.Header, "Content-Length")
	}
	if out.ProtoMajor == 1 && !x.body.all() {
		// The answer came before the end of the request, and must be the last of
		// its connection. net/http would otherwise read the rest of the request,
		// to discard it, at the same time as it goes on to the node: the node
		// would get a body with holes.
		res.Header.Set("Connection", "close")
	}
	if !x.call && x.decision != nil && isEventStream(res.Header.Get("Content-Type")) {
		x.beginEvents(s)
	}
	if x.told {
		res.Body = &toldBody{res.Body, out.Context(), x.visit}
	}
	if x.call {
		x.bare = res.ContentLength == 0
		res.Body = &callBody{res.Body, res, s}
	}
	return nil
}

// forwardingFailed answers a request that no node has answered.
func (s *Server) forwardingFailed(w http.ResponseWriter, r *http.Request, err error) {
	x := exchangeOf(r.Context())
	if refusal := refusalIn(r.Context()); refusal != nil {
		// It is a tunnel, which the client lost before it was open: see judgeTunnel.
		if refusal.Closes(r) {
			w.Header().Set("Connection", "close")
		}
		s.answerFailure(w, r, refusal.Status, refusal.Message)
		return
	}
	late := x.body.late()
	if !late && errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		// The client has gone away: there is nobody to answer. The status that
		// nginx logs for it keeps the connection from being used again.
		x.visit.gone = true
		w.WriteHeader(499)
		return
	}
	if x.overdue() {
		s.logFailure(x.visit, r, x.route, err)
		s.answerCall(w, grpcDeadlineExceeded, msgOverdue)
		return
	}
	s.answerUpstreamFailure(w, r, x.visit, x.route, err, late)
}

// answerUpstreamFailure answers a request that no node has answered. late says that the
// client did not send the body in time.
func (s *Server) answerUpstreamFailure(w http.ResponseWriter, r *http.Request, v *visit, match *route.Route, err error, late bool) {
	s.logFailure(v, r, match, err)
	status := statusOf(err)
	if late {
		status = http.StatusRequestTimeout
	}
	message := "the upstream could not be reached"
	switch status {
	case http.StatusBadRequest:
		message = "the request could not be read"
	case http.StatusRequestTimeout:
		message = "the request's body did not come in time"
		if r.ProtoMajor == 1 {
			w.Header().Set("Connection", "close")
		}
	case http.StatusRequestEntityTooLarge:
		message = "the request's body is too large"
	case http.StatusServiceUnavailable:
		message = "the upstream has no node"
	case http.StatusGatewayTimeout:
		message = "the upstream did not answer in time"
	}
	s.answerFailure(w, r, status, message)
}

// plainWriter keeps net/http from adding a Content-Type of its own making to an
// answer that has none.
type plainWriter struct {
	http.ResponseWriter
	x *exchange
}

func (w *plainWriter) WriteHeader(status int) {
	if h := w.Header(); status >= 200 && h["Content-Type"] == nil {
		h["Content-Type"] = nil
	}
	w.ResponseWriter.WriteHeader(status)
}

// FlushError is for [http.ResponseController]. ReverseProxy flushes the head of each
// answer. Of a call's that ends with it, the end would come in a frame of its own,
// and gRPC clients take that for an answer without an outcome.
func (w *plainWriter) FlushError() error {
	if w.x.bare {
		return nil
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap is for [http.ResponseController].
func (w *plainWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// bufferPool lends [httputil.ReverseProxy] the buffers through which bodies are copied.
type bufferPool struct{}

func (bufferPool) Get() []byte  { return buffers.NewMedium().B }
func (bufferPool) Put(b []byte) { buffers.Put(b) }
