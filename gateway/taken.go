package gateway

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
)

// This file is what becomes of a connection whose protocol a handler of the user's switches,
// as those of WebSocket libraries do: it is a tunnel like one to a node, and ends when its
// client loses the right to it. Else nobody would look at it again.

// An upgradableWriter is the ResponseWriter of a request that asks for an upgrade.
type upgradableWriter struct {
	wrapped
	server   *Server
	decision *decision
}

// Hijack implements [http.Hijacker].
func (w *upgradableWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	ctx, end := w.server.beginTunnel(context.Background(), w.decision, true)
	stop := context.AfterFunc(ctx, func() {
		_ = conn.Close()
		end() // the handler may not notice
	})
	return &takenConn{conn, func() {
		stop() // or else it would close the connection too
		end()
	}}, rw, nil
}

// A takenConn is a connection that a handler has taken over. As with net/http, a Server that
// ends neither waits for it nor closes it.
type takenConn struct {
	net.Conn
	end func() // of the tunnel, before the connection is closed
}

// Close implements [net.Conn].
func (c *takenConn) Close() error {
	c.end()
	return c.Conn.Close()
}

// CloseWrite implements what [net.TCPConn] and [tls.Conn] do, if the connection below does: a
// handler may pass on that one direction has ended.
func (c *takenConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
