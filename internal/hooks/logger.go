package hooks

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"github.com/sallyport/sallyport/internal/sample"
)

// Logger returns a logger like l whose handler may panic: the record is lost then, and
// standard error says why, at most once a second. Most of what is logged is logged where
// nobody else could recover, or while a lock is held. Nil stays nil.
func Logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		return nil
	}
	h := l.Handler()
	if _, guarded := h.(*handler); guarded {
		return l
	}
	return slog.New(&handler{h, &sample.Sampler{}})
}

// A handler is one of the user's, whose panic is an error.
type handler struct {
	slog.Handler
	told *sample.Sampler
}

// recovered is deferred. err may be nil.
func (h *handler) recovered(method string, err *error) {
	r := recover()
	if r == nil {
		return
	}
	if err != nil {
		*err = fmt.Errorf("panicked: %v", r)
	}
	// Not by package log: slog.SetDefault may have led that to the same handler.
	if more, ok := h.told.Next(time.Now(), 1); ok {
		fmt.Fprintf(os.Stderr, "sallyport: panic in %s of the logger's handler (%d more were not told): %v\n%s", method, more, r, debug.Stack())
	}
}

// Enabled implements [slog.Handler].
func (h *handler) Enabled(ctx context.Context, level slog.Level) (enabled bool) {
	defer h.recovered("Enabled", nil)
	return h.Handler.Enabled(ctx, level)
}

// Handle implements [slog.Handler].
func (h *handler) Handle(ctx context.Context, r slog.Record) (err error) {
	defer h.recovered("Handle", &err)
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler]. If it panics, the attributes are lost.
func (h *handler) WithAttrs(attrs []slog.Attr) (with slog.Handler) {
	with = h
	defer h.recovered("WithAttrs", nil)
	return &handler{h.Handler.WithAttrs(attrs), h.told}
}

// WithGroup implements [slog.Handler]. If it panics, the group is lost.
func (h *handler) WithGroup(name string) (with slog.Handler) {
	with = h
	defer h.recovered("WithGroup", nil)
	return &handler{h.Handler.WithGroup(name), h.told}
}
