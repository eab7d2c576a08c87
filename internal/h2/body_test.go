package h2_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/h2"
)

// Of a body that is closed while the connection's reader is at work in it, all bytes are
// told of, by who closes it or to who fills it: or else the window would shrink.
func TestBodyClosedWhileFilled(t *testing.T) {
	b := new(h2.Body)
	require.True(t, b.Put("some", nil))
	held := 0
	require.False(t, b.Put("more", func() { held = b.Close() }))
	require.Equal(t, 4, held)
	require.False(t, b.Put("yet more", nil))
	require.Zero(t, b.Close())
}

// A block says of the table what its connection says, and nothing itself.
func TestBlockIsBare(t *testing.T) {
	for range 3 {
		b := h2.NewBlock()
		b.Status(200)
		require.Equal(t, []byte{0x88}, b.Bytes())
		b.Release()
	}
}
