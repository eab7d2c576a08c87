package jsonline_test

import (
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/jsonline"
)

// What there is to escape may be anywhere in a text of any length, and nothing happens to what
// was there before.
func TestAppendText(t *testing.T) {
	for n := range 40 {
		plain := strings.Repeat("aZ09 ~/.-_", 4)[:n]
		require.Equal(t, `before"`+plain+`"`, string(jsonline.AppendText([]byte("before"), plain)))
		for at := range n {
			for _, special := range []string{`"`, `\`, "\x00", "\n", "\r", "\t", "\x1f", "\x7f", "é", "\u2028", "\u2029", "\ufffd", "\xff", "\xe2\x80"} {
				s := plain[:at] + special + plain[at+1:]
				require.Equal(t, "before"+oracle(s), string(jsonline.AppendText([]byte("before"), s)), "%q", s)
			}
		}
	}
}

// oracle returns what a [slog.JSONHandler] writes of s.
func oracle(s string) string {
	text := string(jsonline.AppendAttrs(nil, []slog.Attr{slog.String("", s)}))
	return strings.TrimPrefix(text, `,"":`)
}

func FuzzAppendText(f *testing.F) {
	f.Add("")
	f.Add("12345678\x7f")
	f.Add("é\u2028\xff\"")
	f.Fuzz(func(t *testing.T, s string) {
		require.Equal(t, oracle(s), string(jsonline.AppendText(nil, s)))
	})
}

// Numbers of each length, and those beside where it changes.
func TestAppendInt(t *testing.T) {
	for power := int64(1); power > 0; power *= 10 {
		for _, n := range []int64{power - 1, power, power + 1, 9 * power / 7, -power} {
			require.Equal(t, "before"+strconv.FormatInt(n, 10), string(jsonline.AppendInt([]byte("before"), n)))
		}
	}
	for i := range 63 {
		for n := int64(1)<<i - 1; n <= 1<<i+1; n++ {
			require.Equal(t, strconv.FormatInt(n, 10), string(jsonline.AppendInt(nil, n)))
		}
	}
	for _, n := range []int64{math.MinInt64, math.MaxInt64, math.MinInt64 + 1, math.MaxInt64 - 1} {
		require.Equal(t, strconv.FormatInt(n, 10), string(jsonline.AppendInt(nil, n)))
	}
}

func TestAppendFraction(t *testing.T) {
	for _, n := range []uint32{0, 1, 10, 100, 123, 120_000_000, 999_999_999, 100_000_000, 5_000_000, 123_456_789} {
		want := strings.TrimRight(fmt.Sprintf("%09d", n), "0")
		require.Equal(t, "."+want, string(jsonline.AppendFraction([]byte("."), n)))
	}
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
