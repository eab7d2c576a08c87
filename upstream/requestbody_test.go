package upstream_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/upstream"
)

// An attempt that is over reads nothing and closes nothing, however late it tries.
func TestRequestBodyIsLent(t *testing.T) {
	src := newBody(strings.NewReader("abc"))
	b := upstream.NewRequestBody(src)
	first := b.Lend()
	require.True(t, b.Revoke())
	second := b.Lend()

	_, err := first.Read(make([]byte, 1))
	require.Equal(t, http.ErrBodyReadAfterClose, err)
	require.NoError(t, first.Close())
	require.Zero(t, src.reads.Load())
	require.Zero(t, src.closed.Load())

	all, err := io.ReadAll(second)
	require.NoError(t, err)
	require.Equal(t, "abc", string(all))
	require.NoError(t, b.Failure())
	require.False(t, b.Revoke(), "it was read")
	_, err = b.Again()
	require.ErrorContains(t, err, "read already")

	b.Settle()
	require.Zero(t, src.closed.Load(), "the attempt has it still")
	require.NoError(t, second.Close())
	require.NoError(t, second.Close())
	require.EqualValues(t, 1, src.closed.Load())
}

func TestRequestBodySettles(t *testing.T) {
	for name, f := range map[string]func(b *upstream.RequestBody){
		"nobody had it":       func(b *upstream.RequestBody) {},
		"it was closed":       func(b *upstream.RequestBody) { b.Lend().Close() },
		"it was revoked":      func(b *upstream.RequestBody) { b.Lend(); b.Revoke() },
		"it was lent anew":    func(b *upstream.RequestBody) { b.Lend().Close(); v, _ := b.Again(); v.Close() },
		"it was settled once": func(b *upstream.RequestBody) { b.Settle() },
	} {
		src := newBody(strings.NewReader("abc"))
		b := upstream.NewRequestBody(src)
		f(b)
		b.Settle()
		require.EqualValues(t, 1, src.closed.Load(), name)
	}
	none := upstream.NewRequestBody(nil)
	require.True(t, none.Revoke())
	none.Settle()
}

func TestRequestBodyKnowsWhoFailed(t *testing.T) {
	broken := errors.New("broken")
	b := upstream.NewRequestBody(io.NopCloser(iotest.ErrReader(broken)))
	_, err := b.Lend().Read(make([]byte, 1))
	require.Equal(t, broken, err)
	require.Equal(t, broken, b.Failure())
}

// That a read ends because nothing more is wanted is nobody's fault.
func TestRequestBodyClosedDuringARead(t *testing.T) {
	src, client := io.Pipe()
	b := upstream.NewRequestBody(src)
	view := b.Lend()
	b.Settle()
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(io.Discard, view) })
	_, err := client.Write([]byte("a"))
	require.NoError(t, err)
	_, err = client.Write(nil) // which is taken by the next read: it goes on
	require.NoError(t, err)
	require.NoError(t, view.Close())
	wg.Wait()
	require.NoError(t, b.Failure())
}

// A late reader and a retry never both get the body.
func TestRequestBodyRace(t *testing.T) {
	for range 1000 {
		src := newBody(strings.NewReader("abc"))
		b := upstream.NewRequestBody(src)
		late := b.Lend()
		var got []byte
		var wg sync.WaitGroup
		wg.Go(func() {
			got, _ = io.ReadAll(late)
			late.Close()
		})
		again := b.Revoke()
		if again {
			all, err := io.ReadAll(b.Lend())
			require.NoError(t, err)
			require.Equal(t, "abc", string(all))
		}
		wg.Wait()
		require.Equal(t, again, len(got) == 0)
	}
}
