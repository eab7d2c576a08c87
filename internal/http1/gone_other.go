//go:build !linux

package http1

// Gone reports whether the other side has ended the connection, which cannot be seen
// here.
func (c *Conn) Gone() bool { return false }
