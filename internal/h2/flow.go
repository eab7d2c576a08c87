package h2

import (
	"golang.org/x/net/http2"
)

// This file is how much may come, and how much may be sent (RFC 9113, section 5.2).

const maxInt31 = 1<<31 - 1

// consume tells the client that it may send n bytes more, when that is worth a frame: on
// the connection, and on a stream unless st is nil.
//
// A window that is used up as fast as it is opened is too narrow for the distance to the
// client: it becomes four times as wide, as far as what widens those of all streams is half
// of the connection's. So a large upload is not slower than its reader, the memory for
// bodies that nobody reads is that of one window of the connection, and a stream whose
// reader stops does not use it up.
func (c *Conn) consume(st *Stream, n int) {
	c.mu.Lock()
	c.credit(st, n)
	c.unlockAndFlush(false)
}

// credit is consume, and leaves the writing to others. c.mu is held.
//
// Of a client that takes nothing of what it is told, no more is told until it does: what
// waits for it must not grow by what it sends.
func (c *Conn) credit(st *Stream, n int) {
	c.consumed += int64(n)
	if st != nil {
		st.consumed += int64(n)
		st.progress += int64(n)
	}
	if c.out.control > maxControlSize/8 {
		c.withheld = true
		return
	}
	if st != nil {
		c.grantTo(st)
	}
	c.grant(connWindow / 4)
}

// grantWithheld tells what was withheld. c.mu is held.
func (c *Conn) grantWithheld() {
	if !c.withheld || c.streamTable == nil {
		return
	}
	c.withheld = false
	c.grant(connWindow / 4)
	for _, st := range c.streams {
		c.grantTo(st)
	}
}

// grant lets more come on the connection, if that is at least so much. c.mu is held.
func (c *Conn) grant(least int64) {
	if c.err != nil || c.consumed < least {
		return
	}
	c.writeWindow(0, c.consumed)
	c.recvWindow += c.consumed
	c.consumed = 0
}

// grantTo lets more come on a stream, if that is worth a frame, and is not more than is to
// come. c.mu is held.
func (c *Conn) grantTo(st *Stream) {
	if st.err != nil || st.ended || st.forgotten || st.consumed < st.window/2 {
		return
	}
	if st.declared >= 0 && st.granted >= st.declared+st.padding {
		return
	}
	more := st.consumed
	if st.lingerBy.IsZero() && st.progress >= st.window {
		if wider := min(4*st.window, maxWindow, st.window+maxWindow-c.lent); wider > st.window {
			more += wider - st.window
			c.lent += wider - st.window
			st.window = wider
			st.progress = 0
		}
	}
	c.writeWindow(st.id, more)
	st.recvWindow += more
	st.granted += more
	st.consumed = 0
	c.grant(connWindow / 32) // it goes out with the other
}

func (c *Conn) writeWindow(id uint32, more int64) {
	c.out.control += frameHead + 4
	_ = c.out.writer().WriteWindowUpdate(id, uint32(more))
}

// received takes note of a DATA frame with n bytes, of which size are no padding, and which
// may be the end of the body. The stream that it returns is nil if they are nobody's.
func (c *Conn) received(id uint32, n int64, size int, end bool) (*Stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id == 0 || id > c.maxID || id%2 == 0 {
		return nil, http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if n > c.recvWindow {
		return nil, http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	c.recvWindow -= n
	st := c.streams[id]
	switch {
	case size >= usefulData && st != nil:
		c.budget.useful()
	case size == 0 && (!end || st == nil) && !c.budget.frame():
		return nil, calm(LimitFrames)
	}
	switch {
	case st == nil:
		if c.closed.whole.has(id) {
			return nil, http2.StreamError{StreamID: id, Code: http2.ErrCodeStreamClosed}
		}
		return nil, nil // it was on its way, for all that is known
	case st.ended:
		return nil, http2.StreamError{StreamID: id, Code: http2.ErrCodeStreamClosed}
	case n > st.recvWindow:
		return nil, http2.StreamError{StreamID: id, Code: http2.ErrCodeFlowControl}
	}
	st.recvWindow -= n
	return st, nil
}

// widen takes note of a WINDOW_UPDATE frame.
func (c *Conn) widen(id uint32, n int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.budget.frame() {
		return calm(LimitFrames)
	}
	if id == 0 {
		if c.sendWindow+n > maxInt31 {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		c.sendWindow += n
		c.ready.resume()
		c.send()
		return nil
	}
	if id > c.maxID || id%2 == 0 {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	st := c.streams[id]
	if st == nil {
		return nil
	}
	if st.sendWindow+n > maxInt31 {
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeFlowControl}
	}
	st.sendWindow += n
	c.resume(st)
	c.send()
	return nil
}

// resume lets a stream go on that waits for its window. c.mu is held.
func (c *Conn) resume(st *Stream) {
	if st.sending.busy && st.sendWindow > 0 {
		c.ready.add(st)
	}
}

// usefulData is how much of a body makes a frame worth its while.
const usefulData = 64

// A calmError ends the connection of a client that has the server do too much for nothing.
type calmError struct{ limit Limit }

func calm(limit Limit) error { return &calmError{limit} }

func (e *calmError) Error() string { return "h2: the client asks for too much that is of no use" }
func (e *calmError) Unwrap() error { return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm) }
