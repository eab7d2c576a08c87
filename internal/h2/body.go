package h2

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/sallyport/sallyport/internal/buffers"
)

// A body is what came of the body of a request and was not read yet. Its window bounds
// it.
type body struct {
	mu      sync.Mutex // guards what follows
	head    *chunk
	tail    *chunk
	n       int       // bytes in them
	err     error     // that comes after them: io.EOF, if all came
	by      time.Time // when reading ends; zero: never
	waiting bool
	into    []byte        // where who waits wants it, or nil
	got     int           // bytes that are there already
	direct  bool          // the connection's reader is at work there
	leaving bool          // and who waits is to be told when it is not
	closed  bool          // nobody reads it any more
	filling bool          // the connection's reader is at work in the last chunk
	wake    chan struct{} // tells who waits that there is something
	timer   *time.Timer   // his
}

// A chunk is a part of a body.
type chunk struct {
	buf  *buffers.Buffer
	r, w int // buf[r:w] is not read yet
	next *chunk
}

var chunks = sync.Pool{New: func() any { return new(chunk) }}

func (k *chunk) release() {
	k.buf.Release()
	*k = chunk{}
	chunks.Put(k)
}

// room returns where more of the body is to be put, until fill. It is nil if nobody wants
// it. If what is put there is there already, who waits for it may have it without a copy;
// else he could not leave before it comes.
func (b *body) room(there bool) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	if there && b.waiting && b.n == 0 && b.got < len(b.into) {
		b.direct = true
		return b.into[b.got:]
	}
	if b.tail == nil || b.tail.w == len(b.tail.buf.B) {
		k := chunks.Get().(*chunk)
		k.buf = buffers.New()
		if b.tail == nil {
			b.head = k
		} else {
			b.tail.next = k
		}
		b.tail = k
	}
	b.filling = true
	return b.tail.buf.B[b.tail.w:]
}

// fill takes note that n bytes were put there. It reports false if nobody wants them any
// more. Who waits for them is told by nudge.
func (b *body) fill(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	direct := b.direct
	b.filling, b.direct = false, false
	if b.leaving {
		b.leaving = false
		b.signal()
	}
	switch {
	case b.closed:
		b.drop()
		return false
	case direct:
		b.got += n
	default:
		b.tail.w += n
		b.n += n
	}
	return true
}

// nudge wakes who waits, if there are that many bytes, or no fewer than he can take.
func (b *body) nudge(least int) (done bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting && b.got+b.n < least && (b.got == 0 || b.got < len(b.into)) {
		return false
	}
	b.tell()
	return true
}

// end says what comes after the body. What was said first holds.
func (b *body) end(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
		b.tell()
	}
}

// tell wakes who waits. b.mu is held.
func (b *body) tell() {
	if b.waiting {
		b.waiting = false
		b.signal()
	}
}

func (b *body) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// close lets nobody read any more. It returns how much was there.
func (b *body) close(err error) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0
	}
	b.closed = true
	if b.err == nil || b.err == io.EOF && b.n > 0 {
		b.err = err
	}
	n = b.n + b.got
	b.got = 0
	b.drop()
	b.tell()
	return n
}

// drop gives the chunks back. b.mu is held.
func (b *body) drop() {
	if b.filling {
		return // fill does it
	}
	for k := b.head; k != nil; {
		next := k.next
		k.release()
		k = next
	}
	b.head, b.tail, b.n = nil, nil, 0
}

// read waits until there is something, for d at most, and for ever if d is zero.
func (b *body) read(p []byte, d time.Duration) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var due time.Time
	for b.n == 0 || b.closed {
		if b.err != nil {
			return 0, b.err
		}
		if len(p) == 0 {
			return 0, nil
		}
		if due.IsZero() && d > 0 {
			due = time.Now().Add(d)
		}
		by := earlier(due, b.by)
		if !by.IsZero() && !time.Now().Before(by) {
			return 0, os.ErrDeadlineExceeded
		}
		if b.wake == nil {
			b.wake = make(chan struct{}, 1)
		}
		if n = b.wait(p, by); n > 0 {
			break
		}
	}
	for n < len(p) && b.head != nil {
		k := b.head
		m := copy(p[n:], k.buf.B[k.r:k.w])
		k.r += m
		b.n -= m
		n += m
		if k.r < k.w || k == b.tail && b.filling {
			break
		}
		if b.head = k.next; b.head == nil {
			b.tail = nil
		}
		k.release()
	}
	return n, nil
}

// directSize is how much a reader must be able to take to be given it directly: with less,
// he would be woken all too often.
const directSize = 4 << 10

// wait waits until there is something, or until a time that is not zero. It returns how
// much of it is in p already. b.mu is held, but for the time of the waiting.
func (b *body) wait(p []byte, by time.Time) (n int) {
	b.waiting = true
	if len(p) >= directSize {
		b.into = p
	}
	b.mu.Unlock()
	await(b.wake, &b.timer, by)
	b.mu.Lock()
	b.waiting = false
	for b.direct {
		b.leaving = true
		b.mu.Unlock()
		<-b.wake
		b.mu.Lock()
	}
	n = b.got
	b.into, b.got = nil, 0
	return n
}

// await waits for a word, or until a time that is not zero. The timer is made when it is
// wanted first.
func await(wake chan struct{}, timer **time.Timer, by time.Time) {
	if by.IsZero() {
		<-wake
		return
	}
	if *timer == nil {
		*timer = time.NewTimer(time.Until(by))
	} else {
		(*timer).Reset(time.Until(by))
	}
	select {
	case <-wake:
	case <-(*timer).C:
	}
	(*timer).Stop()
}

// setBy sets when reading ends, that which goes on included.
func (b *body) setBy(t time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.by = t
	b.tell()
}

// whole returns all of the body, if all came and is in one piece. It stays there until
// close, and counts as read.
func (b *body) whole() (p []byte, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.err != io.EOF || b.closed || b.head != b.tail:
		return nil, false
	case b.head == nil:
		return nil, true
	}
	b.n = 0
	return b.head.buf.B[b.head.r:b.head.w], true
}
