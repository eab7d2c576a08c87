//go:build unix

package http1

import (
	"net"
	"syscall"
)

func (s *socket) initProbe(c net.Conn) {
	if sc, ok := c.(syscall.Conn); ok {
		if control, err := sc.SyscallConn(); err == nil {
			s.control = control
			s.probe = s.readNow // bound once, so that a probe allocates nothing
		}
	}
}

// readNow reads a byte from a descriptor, which does not block as the runtime makes its
// sockets. Whoever finds one gives the connection up, so that it need not be left there.
func (s *socket) readNow(fd uintptr) {
	for {
		n, err := readByte(fd, &s.scratch)
		switch err {
		case 0:
			s.probed = n
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
		default:
			s.probed = 0 // reset
		}
		return
	}
}
