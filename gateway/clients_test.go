package gateway

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// A client that wakes while Close ends the server is the last that a Shutdown has waited for,
// and not one that it waits for ever for.
func TestWokenWhileClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cs clients
		k := &client{}
		require.True(t, cs.retire(k))
		done := make(chan error, 1)
		go func() { done <- cs.wait(t.Context()) }()
		synctest.Wait()
		cs.closed = true // as closeAll does, which comes too late for who is woken
		require.False(t, cs.activate(k))
		synctest.Wait()
		require.Len(t, done, 1)
		require.NoError(t, <-done)
	})
}
