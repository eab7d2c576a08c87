package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"
)

// This file is how a connection with HTTP/2 comes to stand: to the address that was chosen,
// with TLS, and with the node's SETTINGS.

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
