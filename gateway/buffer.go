package gateway

import (
	"sync"
	"sync/atomic"

	"github.com/sallyport/sallyport/internal/http1"
)

// A buffer is what the body of a message is copied through.
type buffer struct {
	b   []byte
	own bool // of no pool
}

// A small buffer is enough for most messages. For the others, the more goes out at once,
// the less it costs: with TLS, 256 KiB cost half of what 16 KiB at a time do. But a
// buffer is held for as long as a slow client takes, and so there are only so many
// large ones.
const (
	smallBuffer  = 16 << 10
	mediumBuffer = 64 << 10
	largeBuffer  = http1.LargeWrite

	maxLarge = 128 // 32 MiB
)

var (
	smallBuffers  = sync.Pool{New: func() any { return &buffer{b: make([]byte, smallBuffer)} }}
	mediumBuffers = sync.Pool{New: func() any { return &buffer{b: make([]byte, mediumBuffer)} }}
	largeBuffers  = sync.Pool{New: func() any { return &buffer{b: make([]byte, largeBuffer)} }}

	largeInUse atomic.Int64
)

func newSmallBuffer() *buffer { return smallBuffers.Get().(*buffer) }

// grow returns a larger buffer in place of one in which there is nothing, if there is
// one.
func (b *buffer) grow() *buffer {
	switch len(b.b) {
	case mediumBuffer, largeBuffer:
		return b
	}
	b.release()
	if largeInUse.Add(1) <= maxLarge {
		return largeBuffers.Get().(*buffer)
	}
	largeInUse.Add(-1)
	return mediumBuffers.Get().(*buffer)
}

// release gives the buffer back.
func (b *buffer) release() {
	if b.own {
		return
	}
	switch len(b.b) {
	case smallBuffer:
		smallBuffers.Put(b)
	case mediumBuffer:
		mediumBuffers.Put(b)
	case largeBuffer:
		largeInUse.Add(-1)
		largeBuffers.Put(b)
	}
}
