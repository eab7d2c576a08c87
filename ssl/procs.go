package ssl

import (
	"errors"
	"net"
	"runtime"
)

// This file keeps the handshakes from having all processors. A full handshake computes for
// as long as tens of requests. With as many of them at work as there are processors, a
// connection that is open and has something to say waits for one of them, and Go's scheduler
// looks for it only when nobody else is ready to run: every request takes milliseconds, for
// as long as others connect as fast as they can. HAProxy lets one handshake be at work
// between others' turns for the same reason (its TASK_HEAVY).

// procs are the processors for handshakes. The nil procs has no bound.
type procs chan struct{}

func newProcs(option int) procs {
	switch {
	case option < 0:
		return nil
	case option == 0:
		option = max(runtime.GOMAXPROCS(0)-1, 1)
	}
	return make(procs, option)
}

// take waits for a processor. Whoever has one gives it back soon: nobody waits for anything
// but the next in turn meanwhile.
func (p procs) take() {
	if p != nil {
		p <- struct{}{}
	}
}

func (p procs) give() {
	if p != nil {
		<-p
	}
}

// A pacedConn is what the TLS of a connection is spoken over. During the handshake it has a
// processor for as long as it does not wait for the other end.
type pacedConn struct {
	net.Conn
	procs procs // nil after the handshake
	place *slot
}

func pace(c net.Conn, p procs, place *slot) *pacedConn {
	paced := &pacedConn{c, p, place}
	paced.take()
	return paced
}

// take waits for a processor. Whoever waits for that does not wait for its client.
func (c *pacedConn) take() {
	if c.procs == nil {
		return
	}
	select {
	case c.procs <- struct{}{}:
		return
	default:
	}
	c.place.queue(true)
	defer c.place.queue(false)
	c.procs.take()
}

// over ends the handshake.
func (c *pacedConn) over() {
	c.procs.give()
	c.procs, c.place = nil, nil
}

// Read implements [net.Conn].
func (c *pacedConn) Read(b []byte) (int, error) {
	if c.procs == nil {
		return c.Conn.Read(b)
	}
	c.procs.give()
	defer c.take()
	return c.Conn.Read(b)
}

// Write implements [net.Conn]. A client whose window is shut lets it wait.
func (c *pacedConn) Write(b []byte) (int, error) {
	if c.procs == nil {
		return c.Conn.Write(b)
	}
	c.procs.give()
	defer c.take()
	return c.Conn.Write(b)
}

// NetConn returns the connection that the listener below has yielded.
func (c *pacedConn) NetConn() net.Conn { return c.Conn }

// CloseWrite implements what [net.TCPConn] does, if there is one below.
func (c *pacedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
