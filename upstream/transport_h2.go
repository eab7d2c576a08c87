package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// This file is which connections a node with HTTP/2 has, and which of them a request takes.

// What every connection with HTTP/2 has.
const (
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
	protocols.SetUnencryptedHTTP2(true) // TLS is ours: see h2Wire
	t.maker = http.Transport{
		DialContext:            t.connect,
		Protocols:              protocols,
		DisableCompression:     true,
		IdleConnTimeout:        max(s.idleTimeout, h2MinIdle),
		MaxResponseHeaderBytes: s.maxHeaderBytes,
		ExpectContinueTimeout:  time.Second,
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream: h2StreamBuffer,
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

// unconnected returns an address to which the group has no connection, to connect to. It
// begins anywhere: if there are more than h2MaxSpread, the others of a fleet are not to leave
// out the same. t.mu is held.
func (t *h2Client) unconnected(g *h2Group) string {
	if len(g.conns) == 0 {
		return t.address // any: not everybody's first connection to the first address
	}
	_, port, _ := net.SplitHostPort(t.address)
	n := len(t.addrs)
	for i, begin := 0, rand.IntN(max(n, 1)); i < n; i++ {
		addr := t.addrs[(begin+i)%n]
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
	ctx, cancel := context.WithTimeoutCause(ctx, x.limit, &timeoutError{"no connection", x.limit})
	defer cancel()
	conn, err := t.maker.NewClientConn(context.WithValue(ctx, h2DialingKey{}, x), "http", t.address)
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
