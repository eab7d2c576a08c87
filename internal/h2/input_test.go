package h2_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/h2"
)

// A connection has a small input until more comes at once than that takes, and keeps nothing
// of the large one when it rests: another has that then.
func TestInputGrows(t *testing.T) {
	const small, large, head = 1 << 10, 16 << 10, 9
	in := h2.NewInput()
	require.Equal(t, small, in.Take(small-1))
	require.Equal(t, small, in.Take(1))
	require.Equal(t, small, in.Take(small))
	require.Equal(t, large, in.Take(1))
	require.False(t, in.Own())
	in.Ahead(true)
	require.Equal(t, head, in.Take(head))
	require.Equal(t, head, in.Take(head))
	in.Ahead(false)
	require.Equal(t, large, in.Take(large))
	require.Equal(t, large, in.Take(large))
	in.Release()
	require.True(t, in.Own())
	require.True(t, in.Bare())

	in = h2.NewInput()
	in.Ahead(true) // which is no reason to grow
	require.Equal(t, head, in.Take(head))
	require.Equal(t, head, in.Take(head))
	require.True(t, in.Own())
	in.Release()
}
