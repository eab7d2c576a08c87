package freeport_test

import (
	"net"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/freeport"
)

// A port that is held is given to nobody who takes any: to no listener and to no
// connection, even where it is the only one left.
func TestNotGivenAway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	address, held, err := freeport.Hold()
	require.NoError(t, err)
	defer held.Close()

	var narrowed error
	only := func(_, _ string, c syscall.RawConn) error {
		_, text, err := net.SplitHostPort(address)
		if err != nil {
			return err
		}
		port, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		const ipLocalPortRange = 51 // of Linux 6.3
		return c.Control(func(fd uintptr) {
			narrowed = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, ipLocalPortRange, port|port<<16)
		})
	}
	listener, dialer := net.ListenConfig{Control: only}, net.Dialer{Control: only}

	_, err = listener.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if narrowed != nil {
		t.Skip("the kernel has no range of ports for a socket: ", narrowed)
	}
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	_, err = dialer.Dial("tcp", l.Addr().String())
	require.ErrorIs(t, err, syscall.EADDRNOTAVAIL)

	// The same port is given to both when nobody holds it.
	require.NoError(t, held.Close())
	c, err := dialer.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	require.Equal(t, address, c.LocalAddr().String())
	require.NoError(t, c.(*net.TCPConn).SetLinger(0)) // or it is kept for a minute
	require.NoError(t, c.Close())
	other, err := listener.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.Equal(t, address, other.Addr().String())
	require.NoError(t, other.Close())
}
