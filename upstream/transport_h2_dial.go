package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
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

// connect is what net/http dials with. Whether there is TLS is not its business.
func (t *h2Client) connect(ctx context.Context, network, _ string) (net.Conn, error) {
	x := ctx.Value(h2DialingKey{}).(*h2Dialing)
	conn, err := x.dial(ctx, network, x.wanted)
	var secure *tls.Conn
	if err == nil {
		if remote := conn.RemoteAddr(); remote != nil { // not every connection of a Dialer has one
			addr, _ := netip.ParseAddrPort(remote.String())
			x.addr = addr.Addr().Unmap()
		}
		if t.tls != nil {
			secure, err = t.handshake(ctx, conn, x.key)
		}
	}
	if err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = context.Cause(ctx)
		}
		return nil, &connectError{err}
	}
	if secure == nil {
		x.wire = newH2Wire(conn, conn)
		return x.wire, nil
	}
	x.wire = newH2Wire(secure, conn)
	return h2SecureWire{x.wire, secure}, nil
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

func (t *h2Client) handshake(ctx context.Context, conn net.Conn, name string) (*tls.Conn, error) {
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
