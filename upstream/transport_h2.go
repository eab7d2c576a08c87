package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// What every connection with HTTP/2 has.
const (
	// A node that was silent for so long, with requests going on, is asked whether
	// it is there. gRPC servers take a client that asks more often than once in
	// five minutes for a nuisance, and hang up.
	h2PingAfter = 5*time.Minute + 10*time.Second

	// h2StreamBuffer is how much of an answer lies here while its reader is slow.
	// The window of the connection stays as wide as net/http has it: a narrow one
	// would let a few slow readers stop everybody else's answers.
	h2StreamBuffer = 256 << 10

	// h2MinIdle is how long a connection may be idle at least. For net/http it is so from
	// the beginning: it would close one that waits for the node's SETTINGS.
	h2MinIdle = time.Second

	// h2MaxSpread is to how many addresses of a node connections are held.
	h2MaxSpread = 16
)

// An h2Client is the client for a node that speaks HTTP/2. A connection is one of
// net/http's, an [http.ClientConn]; which one a request goes over, and how many
// there are, is decided here. Under [http.Transport.RoundTrip], a burst of
// requests to a new node would open a connection for each, all requests would go
// to one of the node's addresses, and what the node refuses would be repeated
// for minutes without another node being tried.
//
// There are as many connections as the node has addresses, and more only where
// those that there are take no more requests.
type h2Client struct {
	maker    http.Transport // makes connections and keeps none
	address  string
	tls      *tls.Config // nil without TLS
	idleSize int

	mu       sync.Mutex // guards what follows, and the fields of h2Group, h2Conn and h2Dial
	groups   map[string]*h2Group
	addrs    []netip.Addr // of the node, if it has a name that was resolved here
	idle     int          // connections without a request
	draining bool         // keep no connection that becomes idle
}

// An h2Group is the connections with one key, which over TLS is the name that the
// node has proved.
type h2Group struct {
	key     string
	conns   []*h2Conn
	dialing *h2Dial // nil if none is on its way
}

type h2Conn struct {
	*http.ClientConn
	group   *h2Group
	addr    netip.Addr // of the other end; zero if it is no IP address
	used    int        // requests that go on
	retired bool       // to be closed when they have ended
}

// An h2Dial is a connection that is being made, for all who wait for it.
type h2Dial struct {
	done    chan struct{}
	err     error
	waiting int
}

func newH2Client(address string, template *tls.Config, s connSettings) *h2Client {
	t := &h2Client{address: address, idleSize: s.idleSize, groups: map[string]*h2Group{}}
	if template != nil {
		t.tls = template.Clone()
		t.tls.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	t.maker = http.Transport{
		DialContext:            t.connect,
		DialTLSContext:         t.connect,
		Protocols:              protocols,
		DisableCompression:     true,
		IdleConnTimeout:        max(s.idleTimeout, h2MinIdle),
		MaxResponseHeaderBytes: s.maxHeaderBytes,
		ExpectContinueTimeout:  time.Second,
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream: h2StreamBuffer,
			SendPingTimeout:           h2PingAfter,
			WriteByteTimeout:          DefaultTimeout,
		},
	}
	return t
}

func (t *h2Client) do(req *http.Request, dial DialFunc, limit *Timeout) (*http.Response, progress, error) {
	for {
		conn, was, err := t.acquire(req.Context(), req.URL.Host, dial, limit.Connect)
		if err != nil {
			closeBody(req.Body)
			return nil, unsent, err
		}
		resp, far, err := t.roundTrip(conn, req, limit)
		if err == nil {
			return resp, answered, nil
		}
		// A connection that was open already had just been closed, or takes no more
		// requests. It is replaced where that does no harm; each time round, there
		// is one less.
		again := was != fresh && far == unsent || was == idle && far == sent && idempotent(req.Method)
		if !again || conn.Available() > 0 || req.Context().Err() != nil {
			return nil, far, err
		}
		if req.Body != nil {
			body, gone := req.GetBody()
			if gone != nil {
				return nil, far, err
			}
			req = req.WithContext(req.Context())
			req.Body = body
		}
	}
}

// What a connection was before a request came.
type h2Before int

const (
	fresh h2Before = iota // made for it
	idle
	shared // with other requests
)

// acquire returns a connection with room for a request, which roundTrip must follow.
func (t *h2Client) acquire(ctx context.Context, key string, dial DialFunc, limit time.Duration) (*h2Conn, h2Before, error) {
	for waited := false; ; waited = true {
		t.mu.Lock()
		t.draining = false
		g := t.groups[key]
		if g == nil {
			g = &h2Group{key: key}
		}
		conn := t.take(g)
		if g.dialing == nil && (conn == nil || g.open() < min(len(t.addrs), h2MaxSpread)) {
			t.groups[key] = g // take may have forgotten it
			g.dialing = &h2Dial{done: make(chan struct{})}
			x := &h2Dialing{key: key, dial: dial, limit: limit, wanted: t.unconnected(g)}
			go t.dial(context.WithoutCancel(ctx), g, g.dialing, x)
		}
		if conn != nil {
			was := fresh
			switch {
			case waited:
			case conn.used == 1:
				was = idle
			default:
				was = shared
			}
			t.mu.Unlock()
			return conn, was, nil
		}
		d := g.dialing
		d.waiting++
		t.mu.Unlock()

		if !waited {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeoutCause(ctx, limit, &timeoutError{"no connection", limit})
			defer cancel()
		}
		select {
		case <-d.done:
			if d.err != nil {
				return nil, fresh, d.err
			}
		case <-ctx.Done():
			t.mu.Lock()
			d.waiting--
			t.mu.Unlock()
			return nil, fresh, &connectError{context.Cause(ctx)}
		}
	}
}

// open returns how many connections are in use. t.mu of the client is held.
func (g *h2Group) open() (n int) {
	for _, c := range g.conns {
		if !c.retired {
			n++
		}
	}
	return n
}

// unconnected returns an address to which the group has no connection, to connect to.
// t.mu is held.
func (t *h2Client) unconnected(g *h2Group) string {
	if len(g.conns) == 0 {
		return t.address // any: not everybody's first connection to the first address
	}
	_, port, _ := net.SplitHostPort(t.address)
	for _, addr := range t.addrs {
		if !slices.ContainsFunc(g.conns, func(c *h2Conn) bool { return c.addr == addr }) {
			return net.JoinHostPort(addr.String(), port)
		}
	}
	return t.address
}

// take returns the connection of a group with the fewest requests, among those
// with room for one more, and nil if there is none. t.mu is held.
func (t *h2Client) take(g *h2Group) *h2Conn {
	for {
		var best *h2Conn
		for _, c := range slices.Clone(g.conns) {
			switch {
			case c.Err() != nil:
				t.remove(c)
			case c.used == 0 && c.takesNone():
				t.discard(c)
			case !c.retired && (best == nil || c.used < best.used) && c.Available() > 0:
				best = c
			}
		}
		if best == nil {
			return nil
		}
		if best.Reserve() == nil {
			if best.used == 0 {
				t.idle--
			}
			best.used++
			return best
		}
		if best.Err() == nil && best.Available() > 0 {
			return nil // refused for a reason that will not pass
		}
	}
}

// takesNone reports whether a connection without requests is open for none either: its
// node says so, or has said goodbye. t.mu of the client is held.
func (c *h2Conn) takesNone() bool {
	return c.Err() == nil && c.InFlight() == 0 && c.Available() == 0
}

// release is called when a request is over.
func (t *h2Client) release(c *h2Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.used--; c.used > 0 || !slices.Contains(c.group.conns, c) {
		return
	}
	t.idle++
	if c.retired || t.draining || t.idle > t.idleSize {
		t.discard(c)
	}
}

// retire lets a connection take no more requests.
func (t *h2Client) retire(c *h2Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.retired = true
}

// discard closes a connection without requests. t.mu is held.
func (t *h2Client) discard(c *h2Conn) {
	t.remove(c)
	go c.Close() // which may have to wait for a node that is stuck
}

// remove takes a connection out of its group, if it is there. t.mu is held.
func (t *h2Client) remove(c *h2Conn) {
	g := c.group
	i := slices.Index(g.conns, c)
	if i < 0 {
		return
	}
	g.conns = slices.Delete(g.conns, i, i+1)
	if c.used == 0 {
		t.idle--
	}
	t.tidy(g)
}

// tidy forgets a group without connections: over TLS, the keys can be what clients
// ask for. t.mu is held.
func (t *h2Client) tidy(g *h2Group) {
	if len(g.conns) == 0 && g.dialing == nil && t.groups[g.key] == g {
		delete(t.groups, g.key)
	}
}

func (t *h2Client) closeIdle() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.draining = true
	for _, g := range t.groups {
		for _, c := range slices.Clone(g.conns) {
			if c.used == 0 {
				t.discard(c)
			}
		}
	}
}

// resolved tells the addresses that a lookup has found for the node. Connections to
// others take no more requests.
func (t *h2Client) resolved(addrs []netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.addrs = addrs
	for _, g := range t.groups {
		for _, c := range slices.Clone(g.conns) {
			if !c.addr.IsValid() || slices.Contains(addrs, c.addr) {
				continue
			}
			c.retired = true
			if c.used == 0 {
				t.discard(c)
			}
		}
	}
}

// dial makes a connection for a group. It does not end with the request that wanted
// it: others may wait for the same.
func (t *h2Client) dial(ctx context.Context, g *h2Group, d *h2Dial, x *h2Dialing) {
	scheme := "http"
	if t.tls != nil {
		scheme = "https"
	}
	ctx, cancel := context.WithTimeoutCause(ctx, x.limit, &timeoutError{"no connection", x.limit})
	defer cancel()
	conn, err := t.maker.NewClientConn(context.WithValue(ctx, h2DialingKey{}, x), scheme, t.address)
	if err == nil {
		err = x.wire.settle(ctx, conn, min(x.limit, t.maker.IdleConnTimeout))
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	defer close(d.done)
	defer t.tidy(g)
	g.dialing = nil
	if err != nil {
		if !errors.As(err, new(*connectError)) {
			err = &connectError{err}
		}
		d.err = err
		return
	}
	c := &h2Conn{ClientConn: conn, group: g, addr: x.addr}
	if c.takesNone() {
		d.err = &connectError{errNoRoom}
		go c.Close()
		return
	}
	g.conns = append(g.conns, c)
	t.idle++
	if t.draining && d.waiting == 0 {
		t.discard(c)
	}
	// The hook may run where t.mu is held.
	conn.SetStateHook(func(*http.ClientConn) {
		if conn.Err() != nil {
			go t.forget(c)
		}
	})
	if conn.Err() != nil { // since before there was a hook to tell
		t.remove(c)
	}
}

func (t *h2Client) forget(c *h2Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.remove(c)
}

type h2DialingKey struct{}

// An h2Dialing is what connect has to know, beside what net/http tells it.
type h2Dialing struct {
	key    string
	dial   DialFunc
	limit  time.Duration
	wanted string

	// set by connect
	wire *h2Wire
	addr netip.Addr
}

// connect is what net/http dials with, with TLS and without.
func (t *h2Client) connect(ctx context.Context, network, _ string) (net.Conn, error) {
	x := ctx.Value(h2DialingKey{}).(*h2Dialing)
	conn, err := x.dial(ctx, network, x.wanted)
	if err == nil {
		x.wire = &h2Wire{Conn: conn, settled: make(chan struct{})}
		conn = x.wire
		if remote := conn.RemoteAddr(); remote != nil { // not every connection of a Dialer has one
			addr, _ := netip.ParseAddrPort(remote.String())
			x.addr = addr.Addr().Unmap()
		}
		if t.tls != nil {
			conn, err = t.handshake(ctx, conn, x.key)
		}
	}
	if err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = context.Cause(ctx)
		}
		return nil, &connectError{err}
	}
	x.wire.secured.Store(true)
	return conn, nil
}

// An h2Wire is a connection to a node, below TLS. It knows when net/http has taken in
// the node's SETTINGS: the first that net/http writes is what a connection begins
// with, and the second the acknowledgement.
//
// A request could be sent before (RFC 9113, section 3.4). But a burst of them would be
// more than many a node takes at a time; and what answers without SETTINGS is no node
// to send anything to.
type h2Wire struct {
	net.Conn
	secured atomic.Bool // net/http writes, and not crypto/tls for itself
	writes  atomic.Int32
	settled chan struct{}
	spoke   atomic.Bool // the node has sent something, or closed the connection
	closed  atomic.Bool // from this side
}

func (w *h2Wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if w.secured.Load() && (n > 0 || err != nil && !w.closed.Load()) {
		w.spoke.Store(true)
	}
	return n, err
}

func (w *h2Wire) Close() error {
	w.closed.Store(true)
	return w.Conn.Close()
}

func (w *h2Wire) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	if err == nil && w.secured.Load() && w.writes.Add(1) == 2 {
		close(w.settled)
	}
	return n, err
}

var errNoSettings = errors.New(`the node does not speak HTTP/2: is its scheme "http"?`)

// settle waits until requests may be sent over conn. If that is never, it closes conn.
func (w *h2Wire) settle(ctx context.Context, conn *http.ClientConn, limit time.Duration) error {
	closed, closing := context.WithCancel(context.Background())
	defer closing()
	conn.SetStateHook(func(*http.ClientConn) {
		if conn.Err() != nil {
			closing()
		}
	})
	select {
	case <-w.settled:
		return nil
	case <-closed.Done():
		if !w.spoke.Load() { // net/http has closed it, for being idle
			return &timeoutError{"no connection", limit}
		}
		return errNoSettings
	case <-ctx.Done():
		conn.Close()
		return context.Cause(ctx)
	}
}

func (t *h2Client) handshake(ctx context.Context, conn net.Conn, name string) (net.Conn, error) {
	config := t.tls.Clone()
	config.ServerName = serverName(name)
	secure := tls.Client(conn, config)
	err := secure.HandshakeContext(ctx)
	if err == nil && secure.ConnectionState().NegotiatedProtocol != "h2" {
		err = errNoH2
	}
	if err != nil {
		conn.Close()
		return nil, &handshakeError{err}
	}
	return secure, nil
}

var errNoRoom = errors.New("the node takes no requests over its connection")

// errNoH2 is also what the alert no_application_protocol means.
var errNoH2 = errors.New(`the node does not offer HTTP/2 (ALPN "h2"): is its scheme "https"?`)

// roundTrip sends a request over a connection that it was acquired for.
func (t *h2Client) roundTrip(conn *h2Conn, req *http.Request, limit *Timeout) (*http.Response, progress, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	x := &h2Exchange{client: t, conn: conn, cancel: cancel, limit: limit.Read}
	x.send = h2Wait{x: x, limit: limit.Send, what: "the node took nothing more of the request"}
	x.read = x.send // until the head of the request is written: one timer for both
	out := req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders:         x.wroteHeaders,
		WroteRequest:         x.wroteRequest,
		GotFirstResponseByte: x.gotFirstResponseByte,
	}))
	out.GetBody = nil
	out.Header = anonymous(req.Header)
	if req.Body != nil {
		x.body = &h2RequestBody{body: req.Body, x: x, closed: make(chan struct{})}
		out.Body = x.body
	}
	x.wait(&x.read)
	resp, err := conn.RoundTrip(out)
	if err != nil {
		far := x.progress(err)
		if x.stuck() {
			t.retire(conn)
		}
		return nil, far, x.end(err)
	}
	if req.Method == http.MethodHead || resp.ContentLength == 0 && resp.Header["Content-Length"] == nil {
		// The answer has ended with its head: no other has this length without
		// saying so.
		_ = x.end(nil)
		resp.Body = http.NoBody
		return resp, answered, nil
	}
	x.answered()
	resp.Body = &timedBody{resp.Body, x}
	return resp, answered, nil
}

// An h2Exchange is one request on its way over a connection. The connection is
// others' too, so nothing of its reading and writing can be limited for one
// request: what is limited is how long net/http takes between one call to the
// request's body and the next, and for the answer.
type h2Exchange struct {
	client *h2Client
	conn   *h2Conn
	cancel context.CancelCauseFunc
	limit  time.Duration  // of read, once the head of the request is written
	body   *h2RequestBody // nil if there is none

	mu       sync.Mutex // guards what follows
	send     h2Wait     // between two reads of the request's body, and after the last
	read     h2Wait     // for the heads of request and answer, and between two parts of its body
	wrote    bool       // the head of the request, or a part of it
	received bool       // a part of the answer
	head     bool       // the whole head of the answer
	ended    bool
	expired  error
}

func (x *h2Exchange) wroteHeaders() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.wrote = true
	if !x.head { // the answer may be there before net/http says this
		x.read.stop()
		x.read.limit, x.read.what = x.limit, "no answer"
	}
}

func (x *h2Exchange) wroteRequest(info httptrace.WroteRequestInfo) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.send.stop()
	if !x.head && info.Err == nil {
		x.read.start()
	}
}

func (x *h2Exchange) gotFirstResponseByte() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.received = true
}

// answered ends the waiting for the head.
func (x *h2Exchange) answered() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.head = true
	x.read.stop()
	x.read.limit, x.read.what = x.limit, "nothing more of the answer"
}

// wait starts one of the waits, and rest stops it.
func (x *h2Exchange) wait(w *h2Wait) {
	x.mu.Lock()
	defer x.mu.Unlock()
	w.start()
}

func (x *h2Exchange) rest(w *h2Wait) {
	x.mu.Lock()
	defer x.mu.Unlock()
	w.stop()
}

// resume and pause are for the body of the answer.
func (x *h2Exchange) resume() { x.wait(&x.read) }

func (x *h2Exchange) pause() { x.rest(&x.read) }

// end is called when nothing more is wanted of the exchange, however often. It
// returns what to say for err.
func (x *h2Exchange) end(err error) error {
	x.mu.Lock()
	again := x.ended
	x.ended = true
	x.send.stop()
	x.read.stop()
	if err != nil && x.expired != nil {
		err = x.expired
	}
	x.mu.Unlock()
	x.cancel(nil)
	if !again {
		if x.body != nil {
			_ = x.body.Close() // net/http reads on after a complete answer of 2xx
		}
		x.client.release(x.conn)
	}
	return err
}

// stuck reports whether the node has not even taken the head of the request in time, nor
// anything else over its connection.
func (x *h2Exchange) stuck() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return !x.wrote && x.expired != nil
}

// progress says how far the request came that ended with err.
func (x *h2Exchange) progress(err error) progress {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.received:
		return answered
	case !x.wrote && x.expired != nil:
		return sent // a part of the head may be
	case !x.wrote && (strings.HasPrefix(err.Error(), "http2: client conn") || x.conn.Err() != nil):
		return unsent
	case !x.wrote:
		return refused
	case notProcessed(err):
		return unsent
	default:
		return sent
	}
}

// notProcessed reports whether the node promises that it has done nothing about a
// request (RFC 9113, section 8.7).
func notProcessed(err error) bool {
	const refusedStream = 7
	if reset, ok := errors.AsType[h2StreamError](err); ok {
		return reset.Code == refusedStream
	}
	// A GOAWAY that does not cover the request. net/http has no other name for it:
	// TestH2GoAway fails if it calls it something else.
	return strings.Contains(err.Error(), "graceful shutdown GOAWAY")
}

// An h2StreamError is a stream that the node, or net/http, has ended. errors.As
// fills it from the error of net/http's that has the same fields.
type h2StreamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e h2StreamError) Error() string { return "stream error" }

// h2Codes are the names of error codes (RFC 9113, section 7).
var h2Codes = [...]string{
	"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
	"FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
	"INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
}

func (e h2StreamError) describe() string {
	code := fmt.Sprintf("code %d", e.Code)
	if int(e.Code) < len(h2Codes) {
		code = h2Codes[e.Code]
	}
	if e.Cause != nil && e.Cause.Error() != "received from peer" {
		return fmt.Sprintf("the node broke the rules of HTTP/2: %s (%v)", code, e.Cause)
	}
	return "the node reset the stream: " + code
}

// An h2Wait bounds the time for one thing that the node has to do.
// x.mu is held when a method is called.
type h2Wait struct {
	x     *h2Exchange
	limit time.Duration // none if zero
	what  string        // did not happen
	timer *time.Timer
	due   time.Time // when the timer means it; zero while nothing is waited for
}

func (w *h2Wait) start() {
	if w.limit <= 0 || w.x.ended {
		return
	}
	w.due = time.Now().Add(w.limit)
	if w.timer == nil {
		w.timer = time.AfterFunc(w.limit, w.expire)
	} else {
		w.timer.Reset(w.limit)
	}
}

func (w *h2Wait) stop() {
	w.due = time.Time{}
	if w.timer != nil {
		w.timer.Stop()
	}
}

func (w *h2Wait) expire() {
	w.x.mu.Lock()
	defer w.x.mu.Unlock()
	// The timer may have fired just before it was stopped or set again.
	if w.due.IsZero() || time.Now().Before(w.due) {
		return
	}
	w.x.expired = &timeoutError{w.what, w.limit}
	w.x.cancel(w.x.expired)
}

// An h2RequestBody is the body of a request, of which a Read ends when it is
// closed. net/http says that the node has reset the stream, or that the connection
// is gone, only after the Read that goes on has returned, and the client may send
// nothing more, but wait for an answer.
type h2RequestBody struct {
	body   io.ReadCloser
	x      *h2Exchange
	closed chan struct{}
	once   sync.Once
}

type readResult struct {
	buffer *[h2ReadSize]byte
	n      int
	err    error
}

// h2ReadSize is what a frame carries, unless the node asks for more.
const h2ReadSize = 16 << 10

var h2Buffers = sync.Pool{New: func() any { return new([h2ReadSize]byte) }}

func (b *h2RequestBody) Read(p []byte) (int, error) {
	b.x.rest(&b.x.send)
	size := min(len(p), h2ReadSize)
	result := make(chan readResult, 1)
	go func() {
		buffer := h2Buffers.Get().(*[h2ReadSize]byte)
		n, err := b.body.Read(buffer[:size])
		result <- readResult{buffer, n, err}
	}()
	select {
	case <-b.closed:
		return 0, http.ErrBodyReadAfterClose
	case r := <-result:
		n := copy(p, r.buffer[:r.n])
		h2Buffers.Put(r.buffer)
		if n > 0 || r.err == io.EOF {
			b.x.wait(&b.x.send)
		}
		return n, r.err
	}
}

func (b *h2RequestBody) Close() error {
	b.x.rest(&b.x.send)
	b.once.Do(func() { close(b.closed) })
	return b.body.Close()
}
