package http1

import "syscall"

// Gone reports whether the other side has ended the connection, as far as the operating
// system knows, whatever came before that and was not read yet. A client that ends its
// direction alone counts as gone: it cannot be told from one that has closed. Gone may
// be called by any goroutine.
func (c *Conn) Gone() bool {
	s := &c.socket
	if s.control == nil {
		return false
	}
	gone := false
	err := s.control.Control(func(fd uintptr) {
		const established = 1 // TCP_ESTABLISHED of include/net/tcp_states.h
		// The state of the connection is the first byte of its struct tcp_info.
		info, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO)
		if err == nil {
			gone = byte(info) != established
			return
		}
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		gone = err == nil && n == 0
	})
	return gone || err != nil
}
