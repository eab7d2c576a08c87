package gateway

import (
	"context"
	"sync"
)

// tunnels are the WebSocket connections that go on. net/http leaves a connection
// to whoever has switched its protocol, and neither waits for it nor ends it. The
// zero tunnels is empty.
type tunnels struct {
	mu   sync.Mutex // guards what follows
	open map[*tunnel]struct{}
	idle chan struct{} // closed when none is open any more; nil unless awaited
}

type tunnel struct{ cancel context.CancelFunc }

// begin takes note of a tunnel. It ends with the context that is returned, and end
// must be called when it has.
func (ts *tunnels) begin(parent context.Context) (ctx context.Context, end func()) {
	ctx, cancel := context.WithCancel(parent)
	t := &tunnel{cancel}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.open == nil {
		ts.open = map[*tunnel]struct{}{}
	}
	ts.open[t] = struct{}{}
	return ctx, func() { ts.end(t) }
}

func (ts *tunnels) end(t *tunnel) {
	t.cancel()
	ts.mu.Lock()
	defer ts.mu.Unlock()
	delete(ts.open, t)
	if len(ts.open) == 0 && ts.idle != nil {
		close(ts.idle)
		ts.idle = nil
	}
}

// wait waits until no tunnel is open or ctx ends.
func (ts *tunnels) wait(ctx context.Context) error {
	ts.mu.Lock()
	if len(ts.open) == 0 {
		ts.mu.Unlock()
		return nil
	}
	if ts.idle == nil {
		ts.idle = make(chan struct{})
	}
	idle := ts.idle
	ts.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// closeAll ends all tunnels that are open.
func (ts *tunnels) closeAll() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for t := range ts.open {
		t.cancel()
	}
}
