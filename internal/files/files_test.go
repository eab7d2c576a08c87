package files

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestState(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write := func(name, text string, age time.Duration) {
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		at := time.Now().Add(-age)
		require.NoError(t, os.Chtimes(name, at, at))
	}
	write(a, "1", time.Hour)
	before := Look(a, b)
	require.Nil(t, before[b])
	require.True(t, before.Same(Look(a, b)))
	require.False(t, before.Same(Look(a)))
	require.False(t, before.Young())
	write(b, "1", 0)
	require.False(t, before.Same(Look(a, b)), "there is one more")
	require.True(t, Look(a, b).Young())
	require.NoError(t, os.Remove(b))
	write(a, "12", time.Hour)
	require.False(t, before.Same(Look(a, b)), "another size")
	write(a, "1", 2*time.Hour)
	require.False(t, before.Same(Look(a, b)), "another time")
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a")
	require.NoError(t, os.WriteFile(name, []byte(strings.Repeat("x", 10)), 0o600))
	data, err := Read(name, 10)
	require.NoError(t, err)
	require.Len(t, data, 10)
	_, err = Read(name, 9)
	require.ErrorContains(t, err, "is larger than 9 bytes")
	_, err = Read(dir, 9)
	require.ErrorContains(t, err, "is no regular file")
	_, err = Read(name+"x", 9)
	require.ErrorIs(t, err, os.ErrNotExist)
}
