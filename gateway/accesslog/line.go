package accesslog

import (
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/sallyport/sallyport/internal/jsonline"
)

// This file is how a record becomes a line: a head, the attributes of WithAttrs, its own, and
// the end.

var end = []byte("}\n")

// A room is memory for the attributes of a record.
type room struct{ b []byte }

var rooms = sync.Pool{New: func() any { return &room{make([]byte, 0, 1<<10)} }}

// appendHead appends what a line begins with.
func (o *output) appendHead(b []byte, t time.Time, level slog.Level, message string) []byte {
	n := len(b)
	b = append(b, '{')
	if !t.IsZero() {
		var ok bool
		b = append(b, `"time":"`...)
		if b, ok = o.clock.append(b, t); !ok {
			return append(b[:n], jsonline.Whole(slog.NewRecord(t, level, message, 0))...)
		}
		b = append(b, `",`...)
	}
	b = append(b, `"level":"`...)
	b = append(b, level.String()...)
	b = append(b, `","msg":`...)
	return jsonline.AppendText(b, message)
}

// appendAttr appends an attribute to a line, and reports whether it is of a kind that does not
// take a [slog.JSONHandler].
func appendAttr(b []byte, a *slog.Attr) ([]byte, bool) {
	b = append(jsonline.AppendText(append(b, ','), a.Key), ':')
	switch v := a.Value; v.Kind() {
	case slog.KindString:
		return jsonline.AppendText(b, v.String()), true
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
