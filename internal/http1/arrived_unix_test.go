//go:build unix

package http1

import (
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// arrived waits until something can be read from a socket.
func arrived(t testing.TB, c *net.TCPConn) {
	t.Helper()
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Read(func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK)
		return err != syscall.EAGAIN
	}))
}
