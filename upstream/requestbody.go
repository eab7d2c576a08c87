package upstream

import (
	"errors"
	"io"
	"net/http"
	"sync"
)

// A requestBody lends the body of a request to one attempt after another, as long
// as none has read from it: what was read once is gone. Clients close the body
// when an attempt fails, and may do so, or read, in a goroutine that outlives it;
// so each attempt has a view of its own, which does nothing once it is replaced.
type requestBody struct {
	src io.ReadCloser // nil if there is none

	mu      sync.Mutex // guards what follows
	view    *bodyView  // the current one
	read    bool       // a view has read from src
	settled bool       // view is the last one
	closed  bool       // src is
	err     error      // that reading from src ended with; not io.EOF
}

// A bodyView is the body of one attempt.
type bodyView struct {
	of     *requestBody
	closed bool // guarded by of.mu
}

var errBodyRead = errors.New("the connection was lost when a part of the request's body was read already")

// lend returns the body for an attempt, in place of any that was lent before.
// There must be a body, and nobody may have read from it: see revoke.
func (b *requestBody) lend() io.ReadCloser {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.view = &bodyView{of: b}
	return b.view
}

// revoke takes back what was lent, and reports true, if nothing was read from it.
// It is true for a request without a body.
func (b *requestBody) revoke() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.read {
		return false
	}
	b.view = nil
	return true
}

// again is the request's GetBody, with which http.Transport replaces a kept
// connection that it found dead.
func (b *requestBody) again() (io.ReadCloser, error) {
	if !b.revoke() {
		return nil, errBodyRead
	}
	return b.lend(), nil
}

// settle is called when there will be no other attempt. Whoever has the body closes
// it; if nobody has, or it was closed already, settle does.
func (b *requestBody) settle() {
	if b.src == nil {
		return
	}
	b.mu.Lock()
	b.settled = true
	now := b.view == nil || b.view.closed
	b.mu.Unlock()
	if now {
		b.close()
	}
}

func (b *requestBody) close() error {
	b.mu.Lock()
	again := b.closed
	b.closed = true
	b.mu.Unlock()
	if again {
		return nil
	}
	return b.src.Close()
}

// failure returns what reading from the body failed with: the fault of whoever
// sends it, not of a node.
func (b *requestBody) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

func (v *bodyView) Read(p []byte) (int, error) {
	b := v.of
	b.mu.Lock()
	if v.closed || b.view != v {
		b.mu.Unlock()
		return 0, http.ErrBodyReadAfterClose
	}
	b.read = true
	b.mu.Unlock()

	n, err := b.src.Read(p)
	if err != nil && err != io.EOF {
		b.mu.Lock()
		b.err = err
		b.mu.Unlock()
	}
	return n, err
}

func (v *bodyView) Close() error {
	b := v.of
	b.mu.Lock()
	v.closed = true
	last := b.settled && b.view == v
	b.mu.Unlock()
	if !last {
		return nil
	}
	return b.close()
}
