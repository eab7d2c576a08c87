package gateway

import (
	"context"
	"sync"
)

// A rest lets others wait until nothing goes on any more of what is counted somewhere.
// The mutex of the count guards it. The zero rest is ready.
type rest struct{ reached chan struct{} } // nil unless awaited

// reach is called when nothing goes on.
func (r *rest) reach() {
	if r.reached != nil {
		close(r.reached)
		r.reached = nil
	}
}

// wait waits until nothing goes on, which is asked with mu held, or ctx ends.
func (r *rest) wait(ctx context.Context, mu *sync.Mutex, nothing func() bool) error {
	mu.Lock()
	if nothing() {
		mu.Unlock()
		return nil
	}
	if r.reached == nil {
		r.reached = make(chan struct{})
	}
	reached := r.reached
	mu.Unlock()
	select {
	case <-reached:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
