package upstream

import (
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/sallyport/sallyport/internal/hooks"
)

// A requestBody lends the body of a request to one attempt after another, as long
// as all that was read of it is still there: by default, as long as nothing was read.
// Clients close the body when an attempt fails, and may do so, or read, in a
// goroutine that outlives it; so each attempt has a view of its own, which does
// nothing once it is replaced.
type requestBody struct {
	src    io.ReadCloser // nil if there is none
	length int64         // that the request says; zero or less if it is not known
	limit  int           // how much of it is kept for another attempt

	mu      sync.Mutex    // guards what follows
	view    *bodyView     // the current one
	kept    keptBytes     // what was read from src; once partial, what view has still to read
	partial bool          // something was read that is not kept
	reading chan struct{} // closed when the read of src ends that goes on; nil if none does
	read    int64         // how much was read from src
	end     error         // that reading from src ended with
	settled bool          // view is the last one
	closed  bool          // src is
	cut     bool          // it was closed while reading
}

// A bodyView is the body of one attempt.
type bodyView struct {
	of     *requestBody
	closed bool // guarded by of.mu, as is the next
	off    int  // in of.kept
}

var (
	errBodyRead = errors.New("the connection was lost when a part of the request's body was read already")
	errLength   = errors.New("it has another length than the request's ContentLength")
)

// lend returns the body for an attempt, in place of any that was lent before.
// There must be a body, and nothing of it may be lost: see revoke.
func (b *requestBody) lend() io.ReadCloser {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.view = &bodyView{of: b}
	return b.view
}

// revoke takes back what was lent, and reports true, if all of the body can be lent
// again. It is true for a request without a body.
func (b *requestBody) revoke() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.partial {
		return false
	}
	b.view = nil
	return true
}

// again is the request's GetBody, with which a client replaces a kept connection
// that it found dead.
func (b *requestBody) again() (io.ReadCloser, error) {
	if err := b.failure(); err != nil {
		return nil, err // as it would again
	}
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
	now := b.over()
	b.mu.Unlock()
	if now {
		_ = b.close()
	}
}

// over reports whether nobody will read any more. b.mu is held.
func (b *requestBody) over() bool {
	return b.settled && (b.view == nil || b.view.closed)
}

func (b *requestBody) close() error {
	b.mu.Lock()
	again, late := b.closed, b.reading != nil || b.read > 0 && b.end == nil
	b.closed, b.cut = true, b.cut || b.reading != nil
	b.kept.free()
	b.mu.Unlock()
	switch {
	case again:
		return nil
	case late:
		// A body may close only after a read that goes on, and one that has not come to its
		// end after some more, as with net/http's server: that may take its client's time.
		go b.closeSrc()
		return nil
	}
	return b.closeSrc()
}

// closeSrc and callSrc call what is the caller's, most often in goroutines of the clients', in
// which nobody else could recover from a panic.
func (b *requestBody) closeSrc() (err error) {
	if panicked := hooks.Recovered(func() { err = b.src.Close() }); panicked != nil {
		return panicked
	}
	return err
}

func (b *requestBody) callSrc(p []byte) (n int, err error) {
	if panicked := hooks.Recovered(func() { n, err = b.src.Read(p) }); panicked != nil {
		return 0, panicked
	}
	return n, err
}

// failure returns what reading from the body failed with: the fault of whoever
// sends it, not of a node.
func (b *requestBody) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.end == io.EOF {
		return nil
	}
	return b.end
}

// awaited reports whether whoever sends the body is waited for, or was when it was closed.
func (b *requestBody) awaited() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cut || b.reading != nil
}

func (v *bodyView) Read(p []byte) (int, error) {
	b := v.of
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		switch {
		case v.closed || b.view != v:
			return 0, http.ErrBodyReadAfterClose
		case v.off < b.kept.n:
			n := b.kept.copyAt(p, v.off)
			v.off += n
			v.letGo()
			return n, nil
		case b.end != nil:
			return 0, b.end
		case b.reading == nil:
			return v.readSrc(p)
		}
		// The view before is still at it. What it reads, it keeps for this one.
		reading := b.reading
		b.mu.Unlock()
		<-reading
		b.mu.Lock()
	}
}

// readSrc reads what no view has read. b.mu is held, but not while it waits.
func (v *bodyView) readSrc(p []byte) (int, error) {
	b := v.of
	// One byte over the limit: only so a body that ends at it is known to.
	keep := !b.partial && !b.settled && b.limit > 0
	if room := b.limit - b.kept.n; keep && room < len(p) {
		p = p[:room+1]
	} else if !keep {
		b.partial = true
	}
	b.reading = make(chan struct{})
	b.mu.Unlock()

	n, err := b.callSrc(p)

	b.mu.Lock()
	n, err = b.measure(n, err)
	close(b.reading)
	b.reading = nil
	if err != nil && !b.closed { // or else closing is what the read has ended with
		b.end = err
	}
	if keep && !b.over() {
		b.kept.append(p[:n])
		b.partial = b.partial || b.kept.n > b.limit
	}
	if v.closed || b.view != v {
		return 0, http.ErrBodyReadAfterClose
	}
	if keep {
		v.off += n
		v.letGo()
	}
	return n, err
}

// measure returns what a read of src has returned, or why that is not what the request
// says. The clients find out too, but do not say whose fault it is. b.mu is held.
func (b *requestBody) measure(n int, err error) (int, error) {
	if b.length > 0 {
		switch left := b.length - b.read; {
		case int64(n) > left:
			n, err = int(left), errLength
		case int64(n) < left && err == io.EOF:
			err = errLength
		}
	}
	b.read += int64(n)
	return n, err
}

// letGo frees what was kept, once this view has it all and no other can come.
// b.mu is held.
func (v *bodyView) letGo() {
	b := v.of
	if (b.partial || b.settled) && v.off == b.kept.n {
		b.partial = true
		b.kept.free()
		v.off = 0
	}
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

// dismiss closes the body of an attempt for whoever must not wait. That of a client's that has
// not come to its end may take the client's time to close, as with net/http's server, which
// reads on for a while.
func dismiss(body io.ReadCloser) {
	v, ok := body.(*bodyView)
	switch {
	case body == nil:
	case ok && v.over():
		_ = body.Close()
	default:
		go body.Close()
	}
}

// over reports whether the body was closed, or has come to its end.
func (v *bodyView) over() bool {
	b := v.of
	b.mu.Lock()
	defer b.mu.Unlock()
	return v.closed || b.end != nil
}

// keptBytes are the beginning of a body, in pieces that are used again.
type keptBytes struct {
	pieces []*[pieceSize]byte
	n      int
}

const pieceSize = 8 << 10

var pieces = sync.Pool{New: func() any { return new([pieceSize]byte) }}

func (k *keptBytes) append(p []byte) {
	for len(p) > 0 {
		if k.n == len(k.pieces)*pieceSize {
			k.pieces = append(k.pieces, pieces.Get().(*[pieceSize]byte))
		}
		n := copy(k.pieces[k.n/pieceSize][k.n%pieceSize:], p)
		k.n += n
		p = p[n:]
	}
}

// copyAt copies from off, which must be less than k.n, at least one byte if p has room.
func (k *keptBytes) copyAt(p []byte, off int) int {
	piece := k.pieces[off/pieceSize][off%pieceSize:]
	return copy(p, piece[:min(len(piece), k.n-off)])
}

func (k *keptBytes) free() {
	for _, piece := range k.pieces {
		pieces.Put(piece)
	}
	*k = keptBytes{}
}
