//go:build !386 && !s390x

package http1

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A look at a connection does not wait, whatever has become of its descriptor: with
// [*net.TCPConn.File], whose Fd lets it block, somebody may have given it to another process.
func TestProbeOfBlockingDescriptor(t *testing.T) {
	here, there := pair(t)
	f, err := here.File()
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, syscall.SetNonblock(int(f.Fd()), false))
	c := NewConn(here)
	defer c.Abort()

	alive := make(chan bool, 1)
	go func() { alive <- c.Alive() }()
	select {
	case alive := <-alive:
		require.True(t, alive)
	case <-time.After(10 * time.Second):
		there.Close() // the process waits for it, once the collector is to begin
		t.Fatal("it waits")
	}
	there.Close()
	arrived(t, here)
	require.False(t, c.Alive())
}
