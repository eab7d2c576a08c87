package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
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
		maxHead: int(min(s.maxHeaderBytes, 1<<30)),
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
	defer func() {
		if cap(head) <= 8*headSize {
			*buffer = head
			heads.Put(buffer)
		}
	}()
	if err != nil {
		closeBody(body)
		return nil, refused, err
	}

	key := req.URL.Host
	conn := c.idle.Get(key)
	for kept := conn != nil; ; kept, conn = false, nil {
		if !kept {
			if conn, err = c.connect(req.Context(), dial, key, limit.Connect); err != nil {
				closeBody(body)
				return nil, unsent, err
			}
		}
		x := &http1Exchange{client: c, conn: conn, req: req, body: body, length: length, limit: *limit, key: key}
		resp, err := x.begin(head)
		if err == nil {
			return resp, answered, nil
		}
		far := x.progress()
		if !kept || !again(req, far, err) {
			if !x.sending {
				closeBody(body)
			}
			return nil, far, err
		}
		// The node has closed the connection, or was about to.
		if x.sending {
			whole, lost := req.GetBody()
			if lost != nil {
				return nil, far, err
			}
			body = whole
		}
	}
}

// again reports whether a request that failed on a kept connection goes out once more,
// over a new one: it had no effect, or may have it twice.
func again(req *http.Request, far progress, err error) bool {
	if isTimeout(err) || req.Context().Err() != nil {
		return false
	}
	return far == unsent ||
		far == sent && idempotent(req.Method) && (req.Body == nil || req.Body == http.NoBody || req.GetBody != nil)
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
