// Package sample keeps a flood of failures from becoming a flood of log records.
package sample

import (
	"sync"
	"time"
)

// Limit returns the bound of a [Sampler] that an option stands for: zero is 10, and a
// negative number is no bound.
func Limit(option int) int {
	if option == 0 {
		return 10
	}
	return option
}

// A Sampler lets so many through in a second. The zero Sampler is ready. It is for what is
// rare, or a failure: it has a lock.
type Sampler struct {
	mu    sync.Mutex
	begun time.Time // of the second that goes on; zero before the first
	n     int       // that were let through in it
	held  int       // that were not, since one was
}

// Next reports whether one that comes now is let through, if limit may be in a second, and
// how many were not since the last that was. A negative limit is none.
func (s *Sampler) Next(now time.Time, limit int) (held int, ok bool) {
	if limit < 0 {
		return 0, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if since := now.Sub(s.begun); s.begun.IsZero() || since >= time.Second || since < 0 {
		s.begun, s.n = now, 0
	}
	if s.n >= limit {
		s.held++
		return 0, false
	}
	s.n++
	held, s.held = s.held, 0
	return held, true
}
