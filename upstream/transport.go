package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A transport is the client that stands on [http.Transport], one for each node, for
// those who ask for it with [Options.Transport].
//
// http.Transport keeps connections by scheme and URL.Host, and takes the name for
// SNI and verification from there as well. So URL.Host is that name and nothing
// else, and cannot say which node is meant: with one http.Transport for all
// nodes, a connection to one would be used for another. With one for each node
// the key is exactly the name, and KeepAlive.Size is exact for each node.
type transport struct {
	rt      *http.Transport
	address string
	tls     *tls.Config // nil without TLS
}

func newTransport(address string, template *tls.Config, s connSettings) *transport {
	t := &transport{address: address}
	if template != nil {
		t.tls = template.Clone()
		t.tls.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	t.rt = s.transport.Clone()
	t.rt.Proxy = nil // HTTP_PROXY is for the process's own requests
	t.rt.DialContext = t.connect
	t.rt.DialTLSContext = t.connect
	t.rt.Protocols = new(http.Protocols)
	t.rt.Protocols.SetHTTP1(true)
	t.rt.DisableCompression = true
	t.rt.MaxIdleConns = s.idleSize
	t.rt.MaxIdleConnsPerHost = s.idleSize
	t.rt.IdleConnTimeout = s.idleTimeout
	t.rt.MaxResponseHeaderBytes = s.maxHeaderBytes
	return t
}

func (t *transport) closeIdle() { t.rt.CloseIdleConnections() }

func (t *transport) do(req *http.Request, dial DialFunc, limit *Timeout) (*http.Response, progress, error) {
	x := &exchange{dial: dial, limit: *limit, body: req.Body}
	ctx, cancel := context.WithCancelCause(req.Context())
	x.cancel = cancel
	ctx = context.WithValue(ctx, exchangeKey{}, x)
	ctx = httptrace.WithClientTrace(x.informant.in(ctx, t.rt.MaxResponseHeaderBytes), &httptrace.ClientTrace{
		GetConn:              x.getConn,
		GotConn:              x.gotConn,
		WroteRequest:         x.wroteRequest,
		GotFirstResponseByte: x.gotFirstResponseByte,
	})
	req = req.WithContext(ctx)
	req.Header = anonymous(promise(req.Method, req.Header))
	resp, err := t.rt.RoundTrip(req)
	if err != nil {
		far := x.progress(err)
		return nil, far, x.informant.blame(x.end(err))
	}
	if resp.StatusCode == http.StatusSwitchingProtocols || resp.Body == http.NoBody {
		_ = x.end(nil)
		return resp, answered, nil
	}
	x.pause()
	resp.Body = &timedBody{resp.Body, x}
	return resp, answered, nil
}

// promise returns a header by which http.Transport sends a request again over a new
// connection, where a kept one turned out to be dead, exactly if it is idempotent.
// By itself it does not know of PUT and DELETE, and takes a client's word for
// a POST (Idempotency-Key), which the node may not understand. It looks for the
// canonical spelling, and sends no field that has no value.
func promise(method string, h http.Header) http.Header {
	const key, other = "Idempotency-Key", "X-Idempotency-Key"
	promised := len(h[key])+len(h[other]) > 0
	switch {
	case promised && !idempotent(method):
		h = maps.Clone(h)
		for _, name := range [...]string{key, other} {
			lower := strings.ToLower(name)
			h[lower] = slices.Concat(h[lower], h[name])
			delete(h, name)
		}
	case !promised && (method == http.MethodPut || method == http.MethodDelete):
		h = maps.Clone(h)
		h[key] = nil
	}
	return h
}

// anonymous returns a header to which net/http adds no User-Agent of its own.
func anonymous(h http.Header) http.Header {
	const name = "User-Agent"
	if _, ok := h[name]; ok {
		return h
	}
	h = maps.Clone(h)
	h[name] = nil
	return h
}

// connect is what http.Transport dials with, with TLS and without. It runs in a
// goroutine of http.Transport's, detached from the request that wanted it: that
// may be served by another connection in the meantime, and this one is kept then.
// Only the context's values are the request's.
func (t *transport) connect(ctx context.Context, network, key string) (net.Conn, error) {
	x := ctx.Value(exchangeKey{}).(*exchange)
	ctx, cancel := context.WithTimeout(ctx, x.limit.Connect)
	defer cancel()

	conn, err := x.dial(ctx, network, t.address)
	if err == nil {
		conn = &nodeConn{Conn: conn, over: make(chan struct{})}
		if t.tls != nil {
			conn, err = t.handshake(ctx, conn, key)
		}
	}
	if err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = &timeoutError{"no connection", x.limit.Connect}
		}
		return nil, &connectError{err}
	}
	return conn, nil
}

// handshake returns a *tls.Conn, which http.Transport knows how to handle. The
// name comes from the key under which the connection will be kept, so that the
// two cannot differ.
func (t *transport) handshake(ctx context.Context, conn net.Conn, key string) (net.Conn, error) {
	name, _, err := net.SplitHostPort(key)
	if err != nil {
		conn.Close()
		return nil, err
	}
	config := t.tls.Clone()
	config.ServerName = name
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, &handshakeError{err}
	}
	return secure, nil
}

type exchangeKey struct{}

// An exchange is one request on its way through http.Transport: the time limits
// that http.Transport has not, or only for all requests alike.
//
// Sending is limited by deadlines on the connection, since nothing else writes to
// it. Reading cannot be: a goroutine of http.Transport's reads at all times, and
// goes on to the next request while the last one's caller still clears up. So a
// timer cancels the request instead.
type exchange struct {
	dial   DialFunc
	limit  Timeout
	body   io.ReadCloser // of the request; nil if there is none
	cancel context.CancelCauseFunc

	informant informant

	mu       sync.Mutex // guards what follows
	phase    phase
	timer    *time.Timer
	due      time.Time // when the timer means it; zero while nothing is waited for
	expired  bool
	conn     *nodeConn
	written  int64 // by conn before this request
	received bool
}

type phase int

const (
	connecting phase = iota
	sending
	waiting // for the head of the answer
	reading // its body
	ended
)

// The next four are called by http.Transport, the latter two from goroutines of its
// own, and all of them again if it replaces a kept connection that turned out to
// be dead.

func (x *exchange) getConn(string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.phase = connecting // for which connect has a limit
	x.due = time.Time{}
}

func (x *exchange) gotConn(info httptrace.GotConnInfo) {
	c := info.Conn
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	conn := c.(*nodeConn)
	conn.limit.Store(int64(x.limit.Send))

	x.mu.Lock()
	defer x.mu.Unlock()
	x.phase = sending
	x.conn = conn
	x.written = conn.written.Load()
	conn.begun.Store(x.written)
}

func (x *exchange) wroteRequest(info httptrace.WroteRequestInfo) {
	x.mu.Lock()
	defer x.mu.Unlock()
	// The head of the answer may have come before the request's last byte was
	// sent. Then the waiting is over.
	if x.phase == sending && info.Err == nil {
		x.phase = waiting
		x.arm()
	}
}

func (x *exchange) gotFirstResponseByte() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.received = true
}

// arm gives the node until limit.Read from now. x.mu is held.
func (x *exchange) arm() {
	x.due = time.Now().Add(x.limit.Read)
	if x.timer == nil {
		x.timer = time.AfterFunc(x.limit.Read, x.expire)
	} else {
		x.timer.Reset(x.limit.Read)
	}
}

func (x *exchange) expire() {
	x.mu.Lock()
	defer x.mu.Unlock()
	// The timer may have fired just before it was stopped or set again.
	if x.due.IsZero() || time.Now().Before(x.due) {
		return
	}
	x.expired = true
	x.cancel(x.timeout())
}

func (x *exchange) timeout() error {
	if x.received {
		return &timeoutError{"nothing more of the answer", x.limit.Read}
	}
	return &timeoutError{"no answer", x.limit.Read}
}

// resume begins to wait for a part of the body.
func (x *exchange) resume() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.phase == reading {
		x.arm()
	}
}

// pause ends the waiting: the node's turn is over until more of the body is asked
// for. A slow reader is not the node's fault.
func (x *exchange) pause() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.phase == ended {
		return
	}
	x.phase = reading
	x.due = time.Time{}
	if x.timer != nil {
		x.timer.Stop()
	}
}

// end is called when nothing more is wanted of the exchange. It returns what to
// say for err.
func (x *exchange) end(err error) error {
	defer dismiss(x.body) // http.Transport may be reading from it still
	x.mu.Lock()
	defer x.mu.Unlock()
	x.phase = ended
	x.due = time.Time{}
	if x.timer != nil {
		x.timer.Stop()
	}
	x.cancel(nil)
	if err != nil && x.expired {
		return x.timeout()
	}
	return err
}

// progress says how far the request came that ended with err.
func (x *exchange) progress(err error) progress {
	x.mu.Lock()
	defer x.mu.Unlock()
	var failed *connectError
	switch {
	case x.received:
		return answered
	case errors.As(err, &failed):
		return unsent
	case x.conn == nil:
		return refused
	case x.conn.written.Load() == x.written:
		return unsent
	default:
		return sent
	}
}

// A timedBody is the body of an answer, in which the node must not pause for too
// long. It serves both clients that stand on net/http.
type timedBody struct {
	body io.ReadCloser
	x    interface {
		resume() // the reader waits for the node
		pause()
		end(err error) error // returns what to say for err
	}
}

func (b *timedBody) Read(p []byte) (int, error) {
	b.x.resume()
	n, err := b.body.Read(p)
	switch err {
	case nil:
		b.x.pause()
	case io.EOF: // all came, even if the timer fired just now
		_ = b.x.end(nil)
	default:
		err = b.x.end(err)
	}
	return n, err
}

func (b *timedBody) Close() error {
	err := b.body.Close()
	_ = b.x.end(nil)
	return err
}

// A nodeConn is a connection to a node, below TLS. A write that the node does not
// take in time fails.
type nodeConn struct {
	net.Conn
	limit   atomic.Int64 // of one write; zero before the first request and after the last
	written atomic.Int64 // bytes
	begun   atomic.Int64 // written before the current request

	over     chan struct{} // closed when nothing more will be read
	overOnce sync.Once
}

func (c *nodeConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.overOnce.Do(func() { close(c.over) })
	}
	return n, err
}

// SetWriteDeadline is what crypto/tls calls before its last alert, and nobody else.
// It must not take as long as a request may.
func (c *nodeConn) SetWriteDeadline(t time.Time) error {
	c.limit.Store(0)
	return c.Conn.SetWriteDeadline(t)
}

func (c *nodeConn) Close() error {
	c.overOnce.Do(func() { close(c.over) })
	return c.Conn.Close()
}

func (c *nodeConn) Write(p []byte) (int, error) {
	limit := time.Duration(c.limit.Load())
	if limit > 0 {
		if err := c.Conn.SetWriteDeadline(time.Now().Add(limit)); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	switch {
	case err == nil || limit <= 0:
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = &timeoutError{"the node took nothing more of the request", limit}
	case c.written.Load() > c.begun.Load():
		// A node that answers before it has read the request, and then closes, resets
		// the connection: the answer is there, and the write fails. http.Transport
		// takes whichever it hears of first, and lets a failed write break off the
		// answer's body. So it hears of the write last.
		ended := time.NewTimer(limit)
		defer ended.Stop()
		select {
		case <-c.over:
		case <-ended.C:
		}
	}
	return n, err
}

// CloseWrite ends one direction, for tunnels.
func (c *nodeConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
