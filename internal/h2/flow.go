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
// client: it is doubled, as far as all windows of streams together do not let more come
// than the connection's does. So a large upload is not slower than its reader, and the
// memory for bodies that nobody reads is that of one window of the connection.
func (c *Conn) consume(st *Stream, n int) {
	c.mu.Lock()
	c.consumed += int64(n)
	if c.err == nil && c.consumed >= maxWindow/4 {
		_ = c.out.writer().WriteWindowUpdate(0, uint32(c.consumed))
		c.recvWindow += c.consumed
		c.consumed = 0
	}
	if st != nil && st.err == nil && !st.ended {
		st.consumed += int64(n)
		st.progress += int64(n)
		if st.consumed >= st.window/4 {
			more := st.consumed
			if st.progress >= st.window && st.window < maxWindow && c.lent+st.window <= maxWindow {
				more += st.window
				c.lent += st.window
				st.window *= 2
				st.progress = 0
			}
			_ = c.out.writer().WriteWindowUpdate(st.id, uint32(more))
			st.recvWindow += more
			st.consumed = 0
		}
	}
	c.unlockAndFlush(false)
}

// received takes note of a DATA frame with n bytes, which may be the end of the body. The
// stream that it returns is nil if they are nobody's.
func (c *Conn) received(id uint32, n int64, end bool) (*Stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id == 0 || id > c.maxID || id%2 == 0 {
		return nil, http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if n > c.recvWindow {
		return nil, http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	c.recvWindow -= n
	if n >= usefulData {
		c.budget.useful()
	} else if n == 0 && !end && !c.budget.frame() {
		return nil, calm(LimitFrames)
	}
	st := c.streams[id]
	switch {
	case st == nil:
		if _, torn := c.closed.find(id); torn {
			return nil, nil // it was on its way
		}
		return nil, http2.StreamError{StreamID: id, Code: http2.ErrCodeStreamClosed}
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
