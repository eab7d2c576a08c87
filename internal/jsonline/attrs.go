package jsonline

import (
	"context"
	"log/slog"
)

// Whole returns the line of a record as a [slog.JSONHandler] formats it, but for what ends
// it: the brace and the newline.
func Whole(r slog.Record) []byte { return line(r, nil) }

// AppendAttrs appends attributes as members of an object, each with a comma before it, as a
// [slog.JSONHandler] formats those of WithAttrs.
func AppendAttrs(b []byte, attrs []slog.Attr) []byte {
	const before = len(`{"level":"INFO","msg":""`)
	return append(b, line(slog.Record{}, attrs)[before:]...)
}

func line(r slog.Record, attrs []slog.Attr) []byte {
	var text collected
	// It writes to memory, which does not fail.
	_ = slog.NewJSONHandler(&text, nil).WithAttrs(attrs).Handle(context.Background(), r)
	return text[:len(text)-len("}\n")]
}

type collected []byte

func (c *collected) Write(p []byte) (int, error) {
	*c = append(*c, p...)
	return len(p), nil
}
