package hooks_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/hooks"
)

// A moody handler panics in the method that is named.
type moody struct {
	slog.Handler
	in *string
}

func (m moody) may(method string) {
	if *m.in == method {
		panic("no " + method + " today")
	}
}

func (m moody) Enabled(ctx context.Context, level slog.Level) bool {
	m.may("Enabled")
	return m.Handler.Enabled(ctx, level)
}

func (m moody) Handle(ctx context.Context, r slog.Record) error {
	m.may("Handle")
	return m.Handler.Handle(ctx, r)
}

func (m moody) WithAttrs(attrs []slog.Attr) slog.Handler {
	m.may("WithAttrs")
	return moody{m.Handler.WithAttrs(attrs), m.in}
}

func (m moody) WithGroup(name string) slog.Handler {
	m.may("WithGroup")
	return moody{m.Handler.WithGroup(name), m.in}
}

// stderr returns what f writes to standard error.
func stderr(t *testing.T, f func()) string {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	before := os.Stderr
	os.Stderr = w
	defer func() { os.Stderr = before }()
	text := make(chan string)
	go func() {
		b, _ := io.ReadAll(r)
		text <- string(b)
	}()
	f()
	require.NoError(t, w.Close())
	return <-text
}

// A handler's panic costs what it was asked for. What it says otherwise, it says as before.
func TestLogger(t *testing.T) {
	const line = "level=INFO msg=hello g.a=1 g.b=2\n"
	for method, want := range map[string]string{
		"":          line,
		"Enabled":   "",
		"Handle":    "",
		"WithAttrs": "level=INFO msg=hello g.b=2\n",
		"WithGroup": "level=INFO msg=hello a=1 b=2\n",
	} {
		t.Run(method, func(t *testing.T) {
			var b bytes.Buffer
			text := slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
				if len(groups) == 0 && a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}})
			in := method
			l := hooks.Logger(slog.New(moody{text, &in}))
			told := stderr(t, func() {
				for range 3 {
					l.WithGroup("g").With("a", 1).Info("hello", "b", 2)
				}
			})
			require.Equal(t, strings.Repeat(want, 3), b.String())
			if method == "" {
				require.Empty(t, told)
				return
			}
			require.Contains(t, told, "panic in "+method+" of the logger's handler (0 more were not told): no "+method+" today\n")
			require.Contains(t, told, "hooks_test.moody.may", "where it was")
			require.Equal(t, 1, strings.Count(told, "panic in"), "a flood of records is none of panics")

			in = ""
			b.Reset()
			l.WithGroup("g").With("a", 1).Info("hello", "b", 2)
			require.Equal(t, line, b.String(), "it has recovered")
		})
	}
}

// A logger that is handed down is not made another each time, and one that is none stays none.
func TestLoggerOnce(t *testing.T) {
	require.Nil(t, hooks.Logger(nil))
	l := hooks.Logger(slog.New(slog.DiscardHandler))
	require.Same(t, l, hooks.Logger(l))
	with := l.With("a", 1)
	require.Same(t, with, hooks.Logger(with))
}
