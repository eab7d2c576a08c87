package freeport_test

import (
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/freeport"
)

func TestHold(t *testing.T) {
	address, held, err := freeport.Hold()
	require.NoError(t, err)
	_, err = net.Dial("tcp", address)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)

	// Who is told to listen there can, and again.
	for range 2 {
		l, err := net.Listen("tcp", address)
		require.NoError(t, err)
		c, err := net.Dial("tcp", address)
		require.NoError(t, err)
		require.NoError(t, c.Close())
		require.NoError(t, l.Close())
	}
	require.NoError(t, held.Close())
}
