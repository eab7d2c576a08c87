package accesslog

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
)

// This file is how a record becomes a line. What appends reports whether the record is
// plain so far; if not, the line is of no use.

// A line is memory for one.
type line struct{ b []byte }

var lines = sync.Pool{New: func() any { return &line{make([]byte, 0, 1<<10)} }}

// appendAttrs appends attributes as a [slog.JSONHandler] formats them.
func appendAttrs(b []byte, attrs []slog.Attr) []byte {
	var text collected
	// It writes to memory, which does not fail.
	_ = slog.NewJSONHandler(&text, nil).WithAttrs(attrs).Handle(context.Background(), slog.Record{})
	const before, after = len(`{"level":"INFO","msg":""`), len("}\n")
	return append(b, text[before:len(text)-after]...)
}

type collected []byte

func (c *collected) Write(p []byte) (int, error) {
	*c = append(*c, p...)
	return len(p), nil
}

// appendLevel appends the level and the message to a line.
func appendLevel(b []byte, level slog.Level, message string) ([]byte, bool) {
	b = append(b, `"level":"`...)
	b = append(b, level.String()...)
	b = append(b, `","msg":`...)
	return appendText(b, message)
}

// appendAttr appends an attribute to a line.
func appendAttr(b []byte, a *slog.Attr) ([]byte, bool) {
	b = append(b, ',')
	b, ok := appendText(b, a.Key)
	if !ok {
		return b, false
	}
	b = append(b, ':')
	switch v := a.Value; v.Kind() {
	case slog.KindString:
		return appendText(b, v.String())
	case slog.KindInt64:
		return strconv.AppendInt(b, v.Int64(), 10), true
	case slog.KindUint64:
		return strconv.AppendUint(b, v.Uint64(), 10), true
	case slog.KindDuration:
		return strconv.AppendInt(b, int64(v.Duration()), 10), true
	case slog.KindBool:
		return strconv.AppendBool(b, v.Bool()), true
	}
	return b, false
}

// appendText appends a string to a line, unless a character of it must be escaped.
func appendText(b []byte, s string) ([]byte, bool) {
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"'), plain(s)
}

// plain reports whether the bytes of a string stand for themselves in a string of JSON. It
// looks at eight at a time; those of the end may be looked at twice.
func plain(s string) bool {
	n := len(s)
	switch {
	case n >= 8:
		for i := 0; i < n-8; i += 8 {
			if !plain8(uint64(four(s, i)) | uint64(four(s, i+4))<<32) {
				return false
			}
		}
		return plain8(uint64(four(s, n-8)) | uint64(four(s, n-4))<<32)
	case n >= 4:
		return plain8(uint64(four(s, 0)) | uint64(four(s, n-4))<<32)
	}
	x := uint64(spaces)
	for i := range n {
		x = x<<8 | uint64(s[i])
	}
	return plain8(x)
}

// four returns the four bytes at i.
func four(s string, i int) uint32 {
	return uint32(s[i]) | uint32(s[i+1])<<8 | uint32(s[i+2])<<16 | uint32(s[i+3])<<24
}

const (
	ones   = 0x0101010101010101
	highs  = 0x80 * ones
	spaces = ' ' * ones
)

// plain8 is plain for the eight bytes of x. A byte is less than another, or zero, if taking
// it away borrows from the bit above it.
func plain8(x uint64) bool {
	quote, backslash := x^'"'*ones, x^'\\'*ones
	return (x|(x-spaces)|(quote-ones)|(backslash-ones))&highs == 0
}
