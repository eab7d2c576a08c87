package gateway

import (
	"sync"

	"github.com/sallyport/sallyport/internal/forward"
)

// A flight is what is to be ended when the client of a request goes away.
type flight struct {
	mu       sync.Mutex       // guards what follows
	exchange forward.Exchange // that goes on, or nil
	cancel   func()           // ends the request that goes on, or nil
	gone     bool             // the client went away while the request went on
	refused  error            // why the request was ended, if it was not that
}

// follow takes note of an exchange that begins.
func (f *flight) follow(x forward.Exchange) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.exchange = x
	if f.gone {
		x.Cancel()
	}
}

// close closes the exchange, which then is another's.
func (f *flight) close(x forward.Exchange) {
	f.mu.Lock()
	f.exchange = nil
	f.mu.Unlock()
	x.Close()
}

// ends takes note of what ends a request.
func (f *flight) ends(cancel func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cancel = cancel
	if f.gone {
		cancel()
	}
}

// interrupt ends what goes on, because the client is gone. f.mu is held.
func (f *flight) interrupt() {
	f.gone = true
	if f.exchange != nil {
		f.exchange.Cancel()
	}
	if f.cancel != nil {
		f.cancel()
	}
}

// refuse ends what goes on, because the client has lost the right to it.
func (f *flight) refuse(why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused = why
	f.interrupt()
}

// refusal returns why the client has lost the right to what went on, or nil.
func (f *flight) refusal() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refused
}

// reset makes the flight one in which nothing goes on.
func (f *flight) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.exchange, f.cancel, f.gone, f.refused = nil, nil, false, nil
}
