// Package accesslog has a handler for log/slog that writes what [slog.JSONHandler] writes,
// at a fraction of the cost if every request is logged:
//
//	log := accesslog.New(file, nil)
//	defer log.Close()
//	gw, err := gateway.New(&gateway.Options{AccessLog: slog.New(log)})
//
// Two things make the difference. Records are collected and written many at a time, as with
// nginx's "access_log FILE buffer=256k flush=1s": if the process dies, the records of up to
// a second may be lost, but none of a failure, because those are written at once. And those of
// the gateway are formatted many at a time too ([*Handler.HandleMembers]); others, unless they
// have plain values only, go to a slog.JSONHandler.
package accesslog

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/sallyport/sallyport/internal/jsonline"
)

// Options are for a [Handler]. A nil *Options and a zero Options mean the same.
type Options struct {
	// Level is the lowest level that is logged; nil is slog.LevelInfo.
	Level slog.Leveler

	// AtOnce is the lowest level of the records that are written, together with everything
	// collected so far, before Handle returns; nil is slog.LevelWarn.
	AtOnce slog.Leveler

	// Size is how many bytes are collected before they are written; zero or less is 256 KiB. A
	// longer record is written whole. Beside them, one record for each KiB of Size, and at most
	// 64, are kept that are not formatted yet.
	Size int

	// Interval is how long a record is held back at most; zero or less is a second.
	Interval time.Duration
}

// A Handler is a slog.Handler that writes one JSON object per line. Its methods, and those
// of the handlers derived from it, may be called by any number of goroutines.
//
// Each Write of the writer gets whole lines. It is called by one goroutine at a time, for
// which the others may have to wait. What it does not accept is lost. Neither a [slog.Logger]
// nor a gateway reports that, but Flush and Close do: each returns the first error since the
// one before.
//
// Use [New]: a zero Handler has nothing to write to.
type Handler struct {
	least, atOnce threshold
	out           *output
	attrs         []byte       // those of WithAttrs, each with a comma before it
	whole         slog.Handler // formats what is not plain
}

// New returns a handler that writes to w. Close or Flush it before you close w.
func New(w io.Writer, o *Options) *Handler {
	if o == nil {
		o = &Options{}
	}
	h := &Handler{least: thresholdOf(o.Level, slog.LevelInfo), atOnce: thresholdOf(o.AtOnce, slog.LevelWarn), out: newOutput(w, o)}
	h.whole = &wholeHandler{slog.NewJSONHandler(collector{h.out}, &slog.HandlerOptions{Level: o.Level}), h}
	return h
}

// Enabled implements [slog.Handler].
func (h *Handler) Enabled(_ context.Context, level slog.Level) bool { return h.least.reached(level) }

// Handle implements [slog.Handler]. It returns an error of the writer, which may concern
// records that were collected earlier; what the writer did not accept is lost.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	room := rooms.Get().(*room)
	defer rooms.Put(room)
	b, ok := room.b[:0], true
	r.Attrs(func(a slog.Attr) bool {
		b, ok = appendAttr(b, &a)
		return ok
	})
	if room.b = b; !ok {
		return h.whole.Handle(ctx, r)
	}
	var head [128]byte
	return h.out.write(h.writesAtOnce(r.Level), h.out.appendHead(head[:0], r.Time, r.Level, r.Message), h.attrs, b, end)
}

// Members are the attributes of a record that is not formatted until it is written.
type Members interface {
	// AppendJSON appends the attributes as members of a JSON object, each with a comma before
	// it. What it appends is written as it is, unchecked. It is called once, by whichever
	// goroutine has the records written, for which others may have to wait; it must not use the
	// Handler.
	AppendJSON(b []byte) []byte
}

// HandleMembers is Handle for a record that is formatted later, with others: that takes less
// time, because from one of them to the next no request displaces the code for it from the
// processor's caches. If it cannot wait, because of its level, it is formatted and
// written before HandleMembers returns.
func (h *Handler) HandleMembers(t time.Time, level slog.Level, message string, m Members) error {
	return h.out.later(h.writesAtOnce(level), record{h, t, level, message, m})
}

// WithAttrs implements [slog.Handler]. The attributes are formatted once.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	derived := *h
	derived.attrs = jsonline.AppendAttrs(h.attrs[:len(h.attrs):len(h.attrs)], attrs)
	derived.whole = h.whole.WithAttrs(attrs)
	return &derived
}

// WithGroup implements [slog.Handler]. What is logged in a group is formatted by a
// [slog.JSONHandler].
func (h *Handler) WithGroup(name string) slog.Handler { return h.whole.WithGroup(name) }

// Flush writes what has been collected. It returns the first error of the writer since the last
// Flush, also if Handle has returned it.
func (h *Handler) Flush() error { return h.out.flush() }

// Close is Flush. Later records are written at once.
func (h *Handler) Close() error { return h.out.close() }

// writesAtOnce reports whether records of a level are. Where a Leveler panics, nobody else may
// recover: package gateway calls HandleMembers as it is.
func (h *Handler) writesAtOnce(level slog.Level) (yes bool) {
	if h.atOnce.changes == nil {
		return h.atOnce.reached(level)
	}
	defer func() {
		if recover() != nil {
			yes = true
		}
	}()
	return h.atOnce.reached(level)
}

// A threshold is a level that others are compared with.
type threshold struct {
	fixed   slog.Level
	changes slog.Leveler // is asked each time, if it is not nil
}

func thresholdOf(l slog.Leveler, otherwise slog.Level) threshold {
	switch l := l.(type) {
	case nil:
		return threshold{fixed: otherwise}
	case slog.Level:
		return threshold{fixed: l}
	}
	return threshold{changes: l}
}

func (t *threshold) reached(level slog.Level) bool {
	if t.changes != nil {
		return level >= t.changes.Level()
	}
	return level >= t.fixed
}

// A wholeHandler formats records of all kinds.
type wholeHandler struct {
	slog.Handler // writes to the collector
	of           *Handler
}

func (h *wholeHandler) Handle(ctx context.Context, r slog.Record) error {
	if err := h.Handler.Handle(ctx, r); err != nil || !h.of.writesAtOnce(r.Level) {
		return err
	}
	return h.of.Flush()
}

func (h *wholeHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &wholeHandler{h.Handler.WithAttrs(attrs), h.of}
}

func (h *wholeHandler) WithGroup(name string) slog.Handler {
	return &wholeHandler{h.Handler.WithGroup(name), h.of}
}
