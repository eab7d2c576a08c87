package upstream

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
)

// A DialFunc connects to a node, as [net.Dialer.DialContext] does. It must return when ctx
// ends.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// A client talks to one node and keeps its idle connections. It is a seam: http1.go
// has the one for HTTP/1.1, transport_h2.go that for HTTP/2, and transport.go one that
// stands on an [http.Transport] of the user's.
type client interface {
	// do sends a request and returns when the answer's head is there. The
	// request's URL.Host is the key that connections are kept by and, over TLS,
	// the name that the node must prove; Host is what the node is told.
	//
	// The client may keep req, and closes its body. It makes the answer's body
	// end with an error if the node pauses for longer than t.Read. For a 101 the
	// body is an [io.ReadWriteCloser] without that limit.
	//
	// What dial is given as address is the node's; or, if that is a name, one that
	// it was resolved to, to have it tried first.
	//
	// If there is an error, how far the request came decides about a retry.
	do(req *http.Request, dial DialFunc, t *Timeout) (*http.Response, progress, error)

	// closeIdle closes the connections that are idle, and those that are in use
	// when they become idle, until the next request.
	closeIdle()
}

// A progress is how far a request came that failed.
type progress int

const (
	refused  progress = iota // it cannot be sent, to no node
	unsent                   // no byte of it went out, or the node says that it did nothing
	sent                     // the node may have got it, and answered nothing
	answered                 // the node began to answer
)

// conns is the client of one node, in the hands of the pools that use it: after a
// replacement the old pool and the new.
type conns struct {
	client
	settings connSettings

	// pools counts the users that are not closed.
	pools atomic.Int64

	told   atomic.Pointer[addresses] // what the client knows of the node's name
	tellMu sync.Mutex                // serialises the telling
}

// connSettings are what a client was made with. It can be passed on to a pool
// that would make it with the same.
type connSettings struct {
	settings
	maxHeaderBytes int64
	transport      *http.Transport // in place of the client of our own
}

// newClient returns the client of one node.
func newClient(address string, template *tls.Config, s connSettings) client {
	switch {
	case s.http2:
		return newH2Client(address, template, s)
	case s.transport != nil:
		return newTransport(address, template, s)
	default:
		return newHTTP1Client(address, template, s)
	}
}

// tell tells the client what the last lookup has found for the node, unless it knows. A
// client that knows to where each of its connections goes gives up those to other
// addresses; one that does not gives up all that are idle, if an address is gone.
func (c *conns) tell(r *resolution) {
	if r.current.Load() == c.told.Load() {
		return
	}
	c.tellMu.Lock()
	defer c.tellMu.Unlock()
	a, before := r.current.Load(), c.told.Load()
	if a == before || len(a.list) == 0 {
		return
	}
	if knows, ok := c.client.(interface{ resolved([]netip.Addr) }); ok {
		knows.resolved(a.list)
	} else if before != nil && slices.ContainsFunc(before.list, func(addr netip.Addr) bool {
		return !slices.Contains(a.list, addr)
	}) {
		c.closeIdle()
	}
	c.told.Store(a)
}

// release is called once by each pool.
func (c *conns) release() {
	if c.pools.Add(-1) == 0 {
		c.closeIdle()
	}
}

// done is called after each request. One that ends after the pools were closed
// would otherwise leave its connection idle.
func (c *conns) done() {
	if c.pools.Load() == 0 {
		c.closeIdle()
	}
}
