package h2

import (
	"io"
	"time"

	"golang.org/x/net/http2"
)

// This file is how streams, and the connection, come to their ends.

// A drainStep is how far the end of the connection has come (RFC 9113, section 6.8).
type drainStep uint8

const (
	drainNone  drainStep = iota
	drainAsked           // the client was asked to begin no other request
	drainTold            // it was told which was the last that is answered
)

// drainPing is how it is found out that the client knows.
var drainPing = [8]byte{'s', 'a', 'l', 'l', 'y', 'o', 'u', 't'}

// Drain lets the connection end when all that the client has asked for is answered.
// Requests that are on their way are answered too. It may be called by any goroutine, and
// may take as long as a write.
func (c *Conn) Drain() {
	c.mu.Lock()
	if c.draining != drainNone || c.err != nil {
		c.mu.Unlock()
		return
	}
	c.draining = drainAsked
	if c.greeted {
		c.askToEnd()
	}
	c.t.Await(drainPatience)
	c.unlockAndFlush(false)
}

// askToEnd asks the client to begin nothing more. c.mu is held.
func (c *Conn) askToEnd() {
	w := c.out.writer()
	_ = w.WriteGoAway(maxInt31, http2.ErrCodeNo, nil)
	_ = w.WritePing(false, drainPing)
}

// goAway tells the client which of its requests was the last. c.mu is held.
func (c *Conn) goAway() {
	if c.draining == drainTold {
		return
	}
	c.draining = drainTold
	c.lastID, c.toldBy = c.maxID, time.Now().Add(c.o.HeaderTimeout)
	_ = c.out.writer().WriteGoAway(c.maxID, http2.ErrCodeNo, nil)
	if c.active == 0 {
		c.t.Await(c.quiet())
	}
}

// tooLate reports whether a request is later than the last of which the client was told
// that it is answered: it is as if it had never been (RFC 9113, section 6.8). c.mu is held.
func (c *Conn) tooLate(id uint32) bool { return c.draining == drainTold && id > c.lastID }

// lastAnswered is what a GOAWAY says: it never takes back what one before has said. c.mu
// is held.
func (c *Conn) lastAnswered() uint32 {
	if c.draining == drainTold {
		return c.lastID
	}
	return c.maxID
}

// Goodbye tells the client of a connection that rests that it ends.
func (c *Conn) Goodbye() {
	c.mu.Lock()
	if c.err == nil && c.begun {
		_ = c.out.writer().WriteGoAway(c.lastAnswered(), http2.ErrCodeNo, nil)
		c.failStreams()
	}
	c.unlockAndFlush(true)
}

// over ends a stream before both sides have said all. c.mu is held.
func (c *Conn) over(st *Stream, err error) {
	if st.err != nil {
		return
	}
	st.err = err
	if c.streams[st.id] == st {
		c.forget(st, err != errReset)
	}
	c.ready.remove(st)
	st.sending = sending{}
	st.wakeWriter()
	st.body.end(err)
	if st.watcher != nil {
		st.watcher.Vanished()
	}
}

// forget takes a stream off those that the client counts. torn says that it may still be
// sending, and knows no better. c.mu is held.
func (c *Conn) forget(st *Stream, torn bool) {
	st.forgotten = true
	if !st.lingerBy.IsZero() {
		c.lingering--
		if c.lingering == 0 {
			c.lingerBy = time.Time{}
		}
	}
	delete(c.streams, st.id)
	c.open--
	c.lent -= st.window - initialWindow
	if st.bulk {
		st.bulk = false
		c.bulk--
	}
	c.remember(st.id, torn && !st.ended)
}

// remember takes note of a stream that is over. c.mu is held.
func (c *Conn) remember(id uint32, torn bool) {
	c.tornTo = max(c.tornTo, c.closed.add(id, torn))
}

// resetStream ends a stream and tells the client so. c.mu is held.
func (c *Conn) resetStream(st *Stream, code http2.ErrCode, err error) {
	if st.err != nil {
		return
	}
	if c.streams[st.id] == st {
		_ = c.out.writer().WriteRSTStream(st.id, code)
	}
	c.over(st, err)
}

// answered is called when all of an answer is in the output. c.mu is held.
func (c *Conn) answered(st *Stream) {
	c.budget.answered()
	if c.streams[st.id] != st {
		return
	}
	if !st.ended && st.tunnel && !st.finished {
		return // until the client has said all
	}
	if !st.ended {
		st.body.end(errAnswered)
		if st.Lingers {
			c.linger(st)
			return
		}
		// RFC 9113, section 8.1: nobody wants the rest of the request.
		_ = c.out.writer().WriteRSTStream(st.id, http2.ErrCodeNo)
	}
	c.forget(st, true)
}

// Bounds of lingering, which are as with HTTP/1.1.
const (
	lingerTime  = 5 * time.Second
	lingerBytes = 1 << 20
)

// linger lets a client go on to send what nobody wants any more of its request, within
// bounds. c.mu is held.
func (c *Conn) linger(st *Stream) {
	st.lingerBy = time.Now().Add(lingerTime)
	c.lingering++
	if c.lingerBy.IsZero() {
		c.lingerBy = st.lingerBy
	}
	c.t.Await(c.quiet())
}

// discard takes note that nobody wants n bytes of a body. The stream may be nil. c.mu is
// held.
func (c *Conn) discard(st *Stream, n int) {
	if st != nil && !st.lingerBy.IsZero() && !st.forgotten {
		if st.lingered += n; st.lingered <= lingerBytes {
			c.credit(st, n)
			return
		}
	}
	c.credit(nil, n)
}

// endLingering ends the streams that have lingered for long enough. c.mu is held.
func (c *Conn) endLingering(now time.Time) {
	c.lingerBy = time.Time{}
	for _, st := range c.streams {
		switch {
		case st.lingerBy.IsZero():
		case !now.Before(st.lingerBy):
			_ = c.out.writer().WriteRSTStream(st.id, http2.ErrCodeNo)
			c.forget(st, true)
		default:
			c.lingerBy = earlier(c.lingerBy, st.lingerBy)
		}
	}
}

// clientEnded takes note that the client has sent all of a request.
func (c *Conn) clientEnded(st *Stream) error {
	if st.declared >= 0 && st.received != st.declared {
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeProtocol}
	}
	c.mu.Lock()
	st.ended = true
	if st.bulk {
		st.bulk = false
		c.bulk--
	}
	if st.sentEnd && c.streams[st.id] == st {
		c.forget(st, false)
	}
	c.mu.Unlock()
	st.body.end(io.EOF)
	if st.held {
		st.held = false
		c.starting = append(c.starting, st)
	}
	return nil
}

// refuse ends a stream whose client has broken the protocol on it. On one that is idle nothing
// may be said (RFC 9113, section 6.4): then the connection ends.
func (c *Conn) refuse(id uint32, code http2.ErrCode) error {
	if id > c.maxID || id%2 == 0 {
		return http2.ConnectionError(code)
	}
	c.mu.Lock()
	if !c.budget.reset() {
		err := calm(LimitResets)
		c.mu.Unlock()
		return err
	}
	if err := c.answersFrame(); err != nil {
		c.mu.Unlock()
		return err
	}
	_ = c.out.writer().WriteRSTStream(id, code)
	if st := c.streams[id]; st != nil {
		c.over(st, errRefused)
	} else if !c.closed.whole.has(id) && !c.closed.torn.has(id) {
		c.remember(id, true)
	}
	c.mu.Unlock() // it goes out before the reader waits
	return nil
}

// answersFrame takes note that a frame is answered with one that nothing holds back: a
// client that takes none of them must not make many. c.mu is held.
func (c *Conn) answersFrame() error {
	if c.out.control += frameHead + 8; c.out.control > maxControlSize {
		return calm(LimitFrames)
	}
	return nil
}

// takenBack takes note of a RST_STREAM frame.
func (c *Conn) takenBack(id uint32) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id > c.maxID || id%2 == 0 {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	st := c.streams[id]
	if st == nil {
		if !c.budget.frame() {
			return calm(LimitFrames)
		}
		return nil
	}
	c.over(st, errReset)
	if !st.sentEnd && !c.budget.reset() {
		return calm(LimitResets)
	}
	return nil
}
