package h2_test

import (
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

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

// Who waits for a body is given it without a copy, and together with what is more.
func TestBodyDirect(t *testing.T) {
	type result struct {
		text string
		err  error
	}
	for name, c := range map[string]struct {
		size int // of what the reader wants
		play func(t *testing.T, b *h2.Body)
		want string
		err  error
	}{
		"little at a time": {16 << 10, func(t *testing.T, b *h2.Body) {
			for _, part := range []string{"one", "two", "three"} {
				require.True(t, b.Put(part, nil))
				require.False(t, b.Nudge(100))
			}
			require.False(t, b.Chunked())
			require.True(t, b.Nudge(11))
		}, "onetwothree", nil},
		"some late": {16 << 10, func(t *testing.T, b *h2.Body) {
			require.True(t, b.PutLate("one"))
			require.True(t, b.Chunked(), "it could not leave")
			require.True(t, b.Put("two", nil))
			require.True(t, b.PutLate("three"))
			require.True(t, b.Nudge(0))
		}, "onetwothree", nil},
		"as much as it can take": {16 << 10, func(t *testing.T, b *h2.Body) {
			require.True(t, b.Put(xs(16<<10+5), nil)) // of which the first part is taken
			require.False(t, b.Chunked())
			require.True(t, b.Put("later", nil))
			require.True(t, b.Nudge(1<<20))
		}, xs(16 << 10), nil},
		"a small reader": {100, func(t *testing.T, b *h2.Body) {
			require.True(t, b.Put(xs(200), nil))
			require.True(t, b.Chunked())
			require.True(t, b.Nudge(0))
		}, xs(100), nil},
		"too late": {16 << 10, func(t *testing.T, b *h2.Body) {
			require.True(t, b.Put("some", func() { time.Sleep(2 * time.Second) }))
		}, "some", nil},
		"never": {16 << 10, func(t *testing.T, b *h2.Body) {
			time.Sleep(2 * time.Second)
			require.True(t, b.Put("some", nil))
		}, "", os.ErrDeadlineExceeded},
		"closed between": {16 << 10, func(t *testing.T, b *h2.Body) {
			require.True(t, b.Put("some", nil))
			require.Equal(t, 4, b.Close())
		}, "", io.ErrClosedPipe},
		"closed meanwhile": {16 << 10, func(t *testing.T, b *h2.Body) {
			require.True(t, b.Put("some", nil))
			require.False(t, b.Put("more", func() { require.Equal(t, 4, b.Close()); synctest.Wait() }))
		}, "", io.ErrClosedPipe},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, results := new(h2.Body), make(chan result, 1)
				go func() {
					p := make([]byte, c.size)
					n, err := b.Read(p, time.Second)
					results <- result{string(p[:n]), err}
				}()
				synctest.Wait()
				c.play(t, b)
				require.Equal(t, result{c.want, c.err}, <-results)
			})
		})
	}
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
