package jsonline_test

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/jsonline"
)

// Only what stands for itself is appended, behind what there is.
func TestAppendText(t *testing.T) {
	for n := range 40 {
		plain := strings.Repeat("aZ09 ~/.-_", 4)[:n]
		b, ok := jsonline.AppendText([]byte("before"), plain)
		require.True(t, ok)
		require.Equal(t, `before"`+plain+`"`, string(b))
		for at := range n {
			for _, special := range "\"\\\x00\n\x1f\u00e9" {
				_, ok := jsonline.AppendText(nil, plain[:at]+string(special)+plain[at+1:])
				require.False(t, ok, "%q at %d of %d", special, at, n)
			}
		}
	}
}

func FuzzAppendText(f *testing.F) {
	f.Add("")
	f.Add("12345678\x7f")
	f.Fuzz(func(t *testing.T, s string) {
		b, ok := jsonline.AppendText(nil, s)
		if !ok {
			return
		}
		var got string
		require.NoError(t, json.Unmarshal(b, &got))
		require.Equal(t, s, got)
	})
}

func TestAppendAttrs(t *testing.T) {
	b := jsonline.AppendAttrs([]byte("{"), []slog.Attr{slog.String("a", "\n"), slog.Group("g", slog.Int("b", 1))})
	require.Equal(t, `{,"a":"\n","g":{"b":1}`, string(b))
	require.Empty(t, jsonline.AppendAttrs(nil, nil))
}

func TestWhole(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	require.Equal(t, `{"time":"2026-01-02T03:04:05Z","level":"WARN","msg":"\"x\""`, string(jsonline.Whole(slog.NewRecord(at, slog.LevelWarn, `"x"`, 0))))
}
