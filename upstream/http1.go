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
	"net/netip"
	"net/textproto"
	"strings"
	"sync"
	"time"

	"github.com/sallyport/sallyport/internal/http1"
)

// An http1Client is the client for the schemes http and https, one for each node.
//
// A request is written and its answer read by the goroutine that wants it. Only a
// body is sent by another: nobody can tell whether to read from it will wait, and
// the node may answer before it has all of it, or answer as it reads. The head goes
// out before that goroutine begins, so that a dead connection is found while the
// body is still whole.
type http1Client struct {
	address string
	tls     *tls.Config // nil without TLS
	idle    http1.Idle
	maxHead int

	// addrs are those that the node's name was resolved to last, and gone those before
	// them: a connection may be in use for longer than an address is among either. Only
	// resolved, of which there is one call at a time, changes them.
	addrs []netip.Addr
	gone  map[netip.Addr]bool // replaced, never changed
}

// maxGone is how many addresses are remembered that a node no longer has. Some services
// have new ones all the time.
const maxGone = 1000

func newHTTP1Client(address string, template *tls.Config, s connSettings) *http1Client {
	c := &http1Client{
		address: address,
		idle:    http1.Idle{Size: s.idleSize, Timeout: s.idleTimeout, Requests: s.requests},
		maxHead: int(s.maxHeaderBytes),
	}
	if template != nil {
		c.tls = template.Clone()
		c.tls.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	return c
}

func (c *http1Client) closeIdle() { c.idle.CloseAll() }

// resolved drops the connections to addresses that the node no longer has. It looks
// for those and not for the ones that it has: with a Dialer of the user's, the other
// end may be a proxy.
func (c *http1Client) resolved(list []netip.Addr) {
	gone := make(map[netip.Addr]bool)
	if len(c.gone) < maxGone {
		maps.Copy(gone, c.gone)
	}
	for _, a := range c.addrs {
		gone[a] = true
	}
	for _, a := range list {
		delete(gone, a)
	}
	c.addrs, c.gone = list, gone
	if len(gone) == 0 {
		c.idle.Drop(nil)
		return
	}
	c.idle.Drop(func(remote net.Addr) bool {
		tcp, ok := remote.(*net.TCPAddr)
		return ok && gone[tcp.AddrPort().Addr().Unmap()]
	})
}

// keepHead gives the buffer of a head back.
func keepHead(buffer *[]byte, head []byte) {
	if cap(head) <= 8*headSize {
		*buffer = head
		heads.Put(buffer)
	}
}

// headSize is what most heads of requests fit in.
const headSize = 2 << 10

var heads = sync.Pool{New: func() any {
	b := make([]byte, 0, headSize)
	return &b
}}

func (c *http1Client) do(req *http.Request, dial DialFunc, limit *Timeout) (*http.Response, progress, error) {
	body := req.Body
	if body == http.NoBody {
		body = nil
	}
	if err := req.Context().Err(); err != nil {
		closeBody(body)
		return nil, refused, err
	}
	buffer := heads.Get().(*[]byte)
	head, length, err := appendHead((*buffer)[:0], req, body != nil)
	defer func() { keepHead(buffer, head) }()
	if err != nil {
		closeBody(body)
		return nil, refused, err
	}
	trace := httptrace.ContextClientTrace(req.Context())
	x := &http1Exchange{outbound: outbound{
		ctx:      req.Context(),
		method:   req.Method,
		key:      req.URL.Host,
		body:     body,
		length:   length,
		again:    req.GetBody,
		trailer:  req.Trailer,
		expects:  expectsContinue(req.Header),
		closes:   req.Close || http1.ClosesAfter(req.Header["Connection"]) || http1.Binds(req.Header["Authorization"]),
		upgrades: len(req.Header["Upgrade"]) > 0,
	}}
	if trace != nil && trace.Got1xxResponse != nil {
		x.early = func(r *http1.Response) error {
			return trace.Got1xxResponse(r.Status, textproto.MIMEHeader(r.Header()))
		}
	}
	x, r, far, err := c.exchange(x, head, dial, limit)
	if err != nil {
		return nil, far, err
	}
	return x.response(req, r), answered, nil
}

// An outbound is a request on its way to a node, whoever has made it.
type outbound struct {
	ctx    context.Context
	method string
	key    string // of the connection

	body    io.ReadCloser // nil if there is none
	length  int64         // of the body, -1 if it is not known
	again   func() (io.ReadCloser, error)
	trailer http.Header // after the body

	expects  bool // the node is to be asked whether it wants the body
	closes   bool // this is the last request of the connection, whether or not the node is told
	upgrades bool // it is asked for another protocol

	// early, if not nil, is given each head with a status of 1xx but 101, as net/http has it:
	// that of 100 too, even if it was waited for.
	early func(*http1.Response) error

	// lean, if not nil, ends the exchange when the context ends. To watch a context
	// costs memory.
	lean *leanExchange
}

// exchange sends a request and returns when the last head of the answer is there. The
// exchange that it returns is x, or another in its place where a kept connection
// turned out to be dead.
func (c *http1Client) exchange(x *http1Exchange, head []byte, dial DialFunc, limit *Timeout) (*http1Exchange, *http1.Response, progress, error) {
	conn := c.idle.Get(x.key)
	if conn != nil {
		x.key = conn.Key()
	} else {
		x.key = strings.Clone(x.key) // it will be kept, and may be part of a buffer
	}
	for kept := conn != nil; ; kept, conn = false, nil {
		if !kept {
			var err error
			if conn, err = c.connect(x.ctx, dial, x.key, limit.Connect); err != nil {
				closeBody(x.body)
				return x, nil, unsent, err
			}
		}
		x.client, x.conn, x.limit = c, conn, *limit
		r, err := x.begin(head)
		if err == nil {
			return x, r, answered, nil
		}
		far := x.progress()
		if !kept || !x.mayRepeat(far, err) {
			if !x.sending {
				closeBody(x.body)
			}
			return x, nil, far, err
		}
		// The node has closed the connection, or was about to.
		next := &http1Exchange{outbound: x.outbound}
		if x.sending {
			whole, lost := x.again()
			if lost != nil {
				return x, nil, far, err
			}
			next.body = whole
		}
		x = next
	}
}

// mayRepeat reports whether a request that failed on a kept connection goes out once
// more, over a new one: it had no effect, or may have it twice.
func (x *http1Exchange) mayRepeat(far progress, err error) bool {
	if isTimeout(err) || x.ctx.Err() != nil {
		return false
	}
	return far == unsent || far == sent && idempotent(x.method) && (x.body == nil || x.again != nil)
}

func closeBody(body io.ReadCloser) {
	if body != nil {
		_ = body.Close()
	}
}

// appendHead appends the head of a request, and returns the length of its body: -1 if
// it is not known.
func appendHead(b []byte, req *http.Request, hasBody bool) ([]byte, int64, error) {
	length := req.ContentLength
	switch {
	case !hasBody:
		length = 0
	case length <= 0:
		length = -1
	}
	head := http1.Request{
		Method:        req.Method,
		Target:        req.URL.RequestURI(),
		Host:          req.Host,
		Header:        req.Header,
		ContentLength: length,
		Trailer:       req.Trailer,
		Close:         req.Close,
	}
	b, err := head.AppendTo(b)
	return b, length, err
}

func (c *http1Client) connect(ctx context.Context, dial DialFunc, key string, limit time.Duration) (*http1.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, err := c.dial(ctx, dial, key)
	if err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = &timeoutError{"no connection", limit}
		}
		return nil, &connectError{err}
	}
	return conn, nil
}

// dial connects. Over TLS the name comes from the key under which the connection will
// be kept, so that the two cannot differ.
func (c *http1Client) dial(ctx context.Context, dial DialFunc, key string) (*http1.Conn, error) {
	raw, err := dial(ctx, "tcp", c.address)
	if err != nil {
		return nil, err
	}
	conn := http1.NewConn(raw)
	if c.tls == nil {
		return conn, nil
	}
	config := c.tls.Clone()
	config.ServerName = serverName(key)
	if err := conn.Handshake(ctx, config); err != nil {
		return nil, &handshakeError{err}
	}
	return conn, nil
}

// serverName is a name as crypto/tls wants it: an IPv6 address without brackets.
func serverName(name string) string {
	if n := len(name); n > 2 && name[0] == '[' && name[n-1] == ']' {
		return name[1 : n-1]
	}
	return name
}
