package ssl

import (
	"sync/atomic"
	"time"
)

// A coarseClock tells the time to the second, and a little late, at a fraction of
// what time.Now costs, which alone is more than twice the rest of the guard. It
// ticks while somebody looks at it, and then stops by itself: it has no goroutine,
// and needs no Close. The zero coarseClock is ready.
type coarseClock struct {
	shown  atomic.Int64 // Unix seconds, or 0 while it stands
	wanted atomic.Bool  // somebody has looked since the last tick
}

// coarseTick is how late the clock is at most, but for the lateness of timers.
const coarseTick = 100 * time.Millisecond

// seconds returns the Unix time.
func (c *coarseClock) seconds() int64 {
	if s := c.shown.Load(); s != 0 && c.wanted.Load() {
		return s
	}
	return c.start()
}

// start notes that somebody looks at the clock, and sets it going if it stands.
func (c *coarseClock) start() int64 {
	c.wanted.Store(true)
	if s := c.shown.Load(); s != 0 {
		return s
	}
	now := time.Now().Unix()
	if c.shown.CompareAndSwap(0, now) {
		time.AfterFunc(coarseTick, c.tick)
	}
	return now
}

func (c *coarseClock) tick() {
	if !c.wanted.Swap(false) {
		c.shown.Store(0)
		return
	}
	c.shown.Store(time.Now().Unix())
	time.AfterFunc(coarseTick, c.tick)
}
