package h2

import (
	"errors"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"

	"github.com/sallyport/sallyport/internal/http1"
)

// A Stream is a request, and the answer to it.
type Stream struct {
	// Head is the head of the request, in the form of the HTTP/1.1 request with the same
	// meaning: it is forwarded to nodes that speak that. It is nil if Refusal is not.
	Head *http1.RequestHead

	// Refusal is why the request is not to be handled, and what is to be answered.
	Refusal *http1.RequestError

	// Hosts are the Host fields beside :authority, which should say the same.
	Hosts []string

	// Protocol is what an extended CONNECT asks for (RFC 8441), in which Head has
	// the method CONNECT.
	Protocol string

	c    *Conn
	id   uint32
	body body

	// BodyPatience is how long a read waits for more of the body, and a write for the
	// client to take more. It is [Options.BodyTimeout] unless the handler says otherwise;
	// zero is for ever.
	BodyPatience time.Duration

	// Lingers says that a client that is answered before it has sent everything may go on
	// sending for a while. Otherwise its stream is reset without an error, which it may ignore.
	// Set it before the last Send.
	Lingers bool

	trailer  http.Header // of the request; set before the body is at its end
	received int64       // bytes of the body that came; the reader's
	declared int64       // that were announced, or -1
	large    bool        // more came of the body than of most; the reader's
	bare     bool        // there is no body, and there was none from the beginning
	held     bool        // it is to have no body, but the client has still to end it; the reader's
	read     atomic.Int64

	// What follows is guarded by the connection's mutex.
	err        error     // why nothing more may be sent: it is over
	ended      bool      // the client has sent all
	forgotten  bool      // the connection knows it no more
	bulk       bool      // it counts among those whose bodies are large
	headSent   bool      // the head of the answer was given to Send
	sentEnd    bool      // the server has sent all
	tunnel     bool      // either side may go on when the other has sent all
	finished   bool      // the handler has returned
	lingerBy   time.Time // when it is over that all was sent, and the client sends on; zero: it does not
	lingered   int       // bytes that came of it since
	sending    sending
	sendWindow int64 // bytes of the body that the client takes
	recvWindow int64 // bytes that it may send
	window     int64 // that it has when nothing of it waits to be read
	granted    int64 // bytes that it could send from its beginning on
	padding    int64 // bytes that came, and are no part of the body
	consumed   int64 // bytes that were read, of which the client was not told
	progress   int64 // bytes that were read since the window was widened
	priority   priority
	watcher    Watcher
	writeBy    time.Time // when sending ends; zero: never
	waiting    bool
	wake       chan struct{}
	timer      *time.Timer

	queue      *queue // of the schedule's, in which it is; or nil
	prev, next *Stream
}

var streams = sync.Pool{New: func() any { return new(Stream) }}

// sending is what a stream has to say.
type sending struct {
	busy    bool
	head    []byte // a block
	data    []byte
	trailer []byte // a block
	end     bool   // nothing follows
}

// A Watcher wants to know that a stream has failed before its handler was done.
type Watcher interface {
	// Vanished is called when the client has taken the request back, or its connection
	// has ended. It must not block, nor call back.
	Vanished()
}

var (
	errReset    = errors.New("h2: the client has taken the request back")
	errAnswered = errors.New("h2: the answer is complete")
	errRefused  = errors.New("h2: the client has broken the protocol")
)

// Watch sets who is told, which may be nil. It reports false if it is too late.
func (st *Stream) Watch(w Watcher) bool {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	st.watcher = w
	return st.err == nil
}

// Tunnel says that the stream is a tunnel from now on: the end of what the client sends is
// then not the end of the request.
func (st *Stream) Tunnel() {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	st.tunnel = true
}

// Conn returns the connection of the stream.
func (st *Stream) Conn() *Conn { return st.c }

// Read reads from the body of the request, and tells the client that it may send more.
func (st *Stream) Read(p []byte) (int, error) {
	n, err := st.body.read(p, st.BodyPatience)
	if n > 0 {
		st.read.Add(int64(n))
		st.c.consume(st, n)
	}
	return n, err
}

// Window returns how many bytes of a body the client takes now.
func (st *Stream) Window() int64 {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	return min(st.sendWindow, st.c.sendWindow)
}

// Received returns how many bytes of the body were read.
func (st *Stream) Received() int64 { return st.read.Load() }

// ReadBy sets when reading ends, that which goes on included. Zero is never.
func (st *Stream) ReadBy(t time.Time) { st.body.setBy(t) }

// WriteBy sets when sending ends, that which goes on included. Zero is never.
func (st *Stream) WriteBy(t time.Time) {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	st.writeBy = t
	if st.waiting {
		st.wakeWriter()
	}
}

// Whole returns the body if all of it is there already, and not much. It is valid until
// CloseBody.
func (st *Stream) Whole() (p []byte, ok bool) {
	p, ok = st.body.whole()
	if len(p) > 0 {
		st.read.Add(int64(len(p)))
		st.c.consume(nil, len(p))
	}
	return p, ok
}

// CloseBody ends a read that goes on, and lets no other begin.
func (st *Stream) CloseBody() {
	if st.bare {
		return
	}
	if n := st.body.close(http.ErrBodyReadAfterClose); n > 0 {
		c := st.c
		c.mu.Lock()
		c.discard(st, n)
		c.unlockAndFlush(false)
	}
}

// Trailer returns the fields after the body, once Read has returned io.EOF.
func (st *Stream) Trailer() http.Header { return st.trailer }

// Send sends a head, a part of the body, and the trailer, any of which may be missing. end
// says that nothing follows. When Send returns, everything is on its way, and the memory is
// the caller's again. It fails if the client has gone away, or accepts nothing for too
// long.
func (st *Stream) Send(head *Block, data []byte, trailer *Block, end bool) error {
	c := st.c
	c.mu.Lock()
	if st.err != nil || st.sentEnd {
		defer c.mu.Unlock()
		return st.whyNot()
	}
	s := sending{busy: true, data: data, end: end}
	if head != nil {
		s.head, st.headSent = head.b, true
	}
	if trailer != nil {
		s.trailer = trailer.b
	}
	st.sending = s
	c.ready.add(st)
	c.send()
	if !st.sending.busy {
		c.unlockAndFlush(false)
		return nil
	}
	c.unlockAndFlush(false)
	return st.wait()
}

// Inform sends an informational head (RFC 9110, section 15.2), unless the head of the
// answer was sent. For a client that takes nothing, such heads are left out: it waits for
// no window and no room. It may be called while Send waits.
func (st *Stream) Inform(head *Block) error {
	c := st.c
	c.mu.Lock()
	switch {
	case st.err != nil:
		defer c.mu.Unlock()
		return st.err
	case !st.headSent && c.out.control < maxControlSize:
		c.out.control += frameHead + len(head.b)
		c.writeBlock(st, head.b, false)
	}
	c.unlockAndFlush(false)
	return nil
}

// whyNot returns why nothing may be sent. c.mu is held.
func (st *Stream) whyNot() error {
	if st.err != nil {
		return st.err
	}
	return errAnswered
}

// wait waits until what the stream has to say is in the output.
func (st *Stream) wait() error {
	c := st.c
	c.mu.Lock()
	stuck := st.waitForTurn()
	err := st.err
	c.unlockAndFlush(false)
	if stuck {
		c.owner.Reached(LimitBodyTimeout)
	}
	return err
}

// waitForTurn is wait. It reports whether it has ended the stream because its window did
// not open. c.mu is held, but not while it waits.
func (st *Stream) waitForTurn() (stuck bool) {
	c := st.c
	left := len(st.sending.data)
	var by time.Time
	for st.sending.busy && st.err == nil {
		if by.IsZero() && st.BodyPatience > 0 {
			by = time.Now().Add(st.BodyPatience)
		}
		if st.wake == nil {
			st.wake = make(chan struct{}, 1)
		}
		st.waiting = true
		until := earlier(by, st.writeBy)
		c.mu.Unlock()
		await(st.wake, &st.timer, until)
		c.mu.Lock()
		st.waiting = false
		now := time.Now()
		switch {
		case !st.sending.busy:
			return false
		case !st.writeBy.IsZero() && !now.Before(st.writeBy):
			c.resetStream(st, http2.ErrCodeInternal, os.ErrDeadlineExceeded)
			return false
		case by.IsZero() || now.Before(by):
			continue
		}
		// The transport bounds the time in which the client takes nothing at all.
		if now := len(st.sending.data); now < left || st.sendWindow > 0 && c.sendWindow > 0 {
			left, by = now, time.Time{}
			continue
		}
		c.resetStream(st, http2.ErrCodeCancel, os.ErrDeadlineExceeded)
		return true
	}
	return false
}

// earlier returns the earlier of two times of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// wakeWriter wakes who waits to send. c.mu is held.
func (st *Stream) wakeWriter() {
	if st.wake == nil {
		return
	}
	select {
	case st.wake <- struct{}{}:
	default:
	}
}

// Reset ends the stream in the middle of the answer, so that the client learns that it is
// incomplete.
func (st *Stream) Reset() { st.reset(http2.ErrCodeInternal) }

// Cancel is Reset for a tunnel, or a handler, that was ended from outside.
func (st *Stream) Cancel() { st.reset(http2.ErrCodeCancel) }

func (st *Stream) reset(code http2.ErrCode) {
	c := st.c
	c.mu.Lock()
	if st.err == nil && !st.finished && !(st.sentEnd && st.ended) {
		c.resetStream(st, code, errRefused)
	}
	c.unlockAndFlush(false)
}

// Finish is called when the handler has returned. The stream must not be used any more,
// but for what reads from its body. alone says that nobody does, nor has it for another
// reason.
func (st *Stream) Finish(alone bool) {
	st.CloseBody()
	defer func() {
		if alone && st.bare {
			*st = Stream{}
			streams.Put(st)
		}
	}()
	c := st.c
	c.mu.Lock()
	if st.finished {
		c.mu.Unlock()
		return
	}
	st.finished, st.watcher = true, nil
	switch {
	case st.err != nil:
	case !st.sentEnd:
		c.resetStream(st, http2.ErrCodeInternal, errRefused)
	case st.tunnel && !st.ended && !st.forgotten:
		c.resetStream(st, http2.ErrCodeNo, errAnswered) // nobody wants the rest
	}
	c.active--
	c.idles()
	more := len(c.queue) > 0
	c.unlockAndFlush(false)
	if more {
		c.startNext()
		c.mu.Lock()
		c.unlockAndFlush(false)
	}
}

// idles takes note that nothing is going on, if so. c.mu is held.
func (c *Conn) idles() {
	if c.active > 0 || len(c.queue) > 0 {
		return
	}
	if c.working {
		c.working = false
		c.owner.Rests()
	}
	c.idleSince = time.Now()
	if c.out.done != nil {
		c.out.done.Broadcast() // for Wait
	}
	if c.err == nil {
		c.t.Await(c.quiet())
	}
}

// Wait waits until all handlers have returned, after Serve.
func (c *Conn) Wait() { c.wait(func() bool { return c.active == 0 && !c.out.writing }) }
