package h2

import "io"

// ConnWindow is what may come of bodies on a connection before anybody has read.
const ConnWindow = connWindow

// Windows returns what may still come on the connection, with what the client is yet to
// be told of; and by how much windows of streams are wider than at first.
func (c *Conn) Windows() (recv, lent int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.recvWindow + c.consumed, c.lent
}

// A Body is a body.
type Body struct{ b body }

// Put puts something into the body as the connection's reader does, and meanwhile has
// something else happen. It reports whether the body took it.
func (b *Body) Put(s string, meanwhile func()) bool {
	room := b.b.room()
	if room == nil {
		return false
	}
	n := copy(room, s)
	if meanwhile != nil {
		meanwhile()
	}
	return b.b.fill(n)
}

// Close returns how much it held.
func (b *Body) Close() int { return b.b.close(io.ErrClosedPipe) }

// MayCome is how much of the body of a stream may come now.
func (c *Conn) MayCome(id uint32) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.streams[id]
	if st == nil {
		return 0
	}
	return int(min(c.recvWindow, st.recvWindow))
}

const (
	LingerTime  = lingerTime
	LingerBytes = lingerBytes
)
