package accesslog

import (
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/internal/jsonline"
)

// A clock formats times, of which many are of the same second.
type clock struct{ last atomic.Pointer[second] }

// A second is a time without its fraction.
type second struct {
	unix int64
	zone *time.Location

	text   string // "2006-01-02T15:04:05"
	offset string // "Z", "+02:00"
}

// append appends a time as time.RFC3339Nano has it, and reports whether its year has four
// digits, which that must have.
func (c *clock) append(b []byte, t time.Time) ([]byte, bool) {
	s := c.last.Load()
	if unix, zone := t.Unix(), t.Location(); s == nil || s.unix != unix || s.zone != zone {
		if y := t.Year(); y < 0 || y > 9999 {
			return b, false
		}
		s = &second{unix, zone, t.Format("2006-01-02T15:04:05"), t.Format("Z07:00")}
		c.last.Store(s)
	}
	b = append(b, s.text...)
	if n := uint32(t.Nanosecond()); n != 0 {
		b = jsonline.AppendFraction(append(b, '.'), n)
	}
	return append(b, s.offset...), true
}
