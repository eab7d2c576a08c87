// Package buffers has the buffers that the bodies of messages are copied through.
package buffers

import (
	"sync"
	"sync/atomic"

	"github.com/sallyport/sallyport/internal/http1"
)

// A Buffer is one of them.
type Buffer struct {
	B   []byte
	own bool // of no pool
}

// A small buffer is enough for most messages. For the others, the more goes out at once,
// the less it costs: with TLS, 256 KiB cost half of what 16 KiB at a time do. But a
// buffer is held for as long as a slow client takes, and so there are only so many
// large ones.
const (
	Small  = 16 << 10
	Medium = 64 << 10
	Large  = http1.LargeWrite

	maxLarge = 128 // 32 MiB
)

var (
	small  = sync.Pool{New: func() any { return &Buffer{B: make([]byte, Small)} }}
	medium = sync.Pool{New: func() any { return &Buffer{B: make([]byte, Medium)} }}
	large  = sync.Pool{New: func() any { return &Buffer{B: make([]byte, Large)} }}

	largeInUse atomic.Int64
)

// New returns a small buffer.
func New() *Buffer { return small.Get().(*Buffer) }

// NewMedium returns a medium one.
func NewMedium() *Buffer { return medium.Get().(*Buffer) }

// Put gives back what was in a buffer of a pool.
func Put(b []byte) { (&Buffer{B: b}).Release() }

// Of returns a buffer of the caller's own memory.
func Of(b []byte) *Buffer { return &Buffer{B: b, own: true} }

// Grow returns a larger buffer in place of one in which there is nothing, if there is
// one.
func (b *Buffer) Grow() *Buffer {
	switch len(b.B) {
	case Medium, Large:
		return b
	}
	b.Release()
	if largeInUse.Add(1) <= maxLarge {
		return large.Get().(*Buffer)
	}
	largeInUse.Add(-1)
	return NewMedium()
}

// Release gives the buffer back.
func (b *Buffer) Release() {
	if b.own {
		return
	}
	switch len(b.B) {
	case Small:
		small.Put(b)
	case Medium:
		medium.Put(b)
	case Large:
		largeInUse.Add(-1)
		large.Put(b)
	}
}
