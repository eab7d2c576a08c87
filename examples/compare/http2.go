//go:build linux

package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"
)

// Frames, flags and settings of HTTP/2 (RFC 9113, sections 6 and 6.5.2).
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	frameReset        = 0x3
	frameSettings     = 0x4
	framePing         = 0x6
	frameGoAway       = 0x7
	frameWindowUpdate = 0x8
	frameContinuation = 0x9

	flagEndStream  = 0x1
	flagAck        = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20

	settingInitialWindow = 0x4

	defaultWindow = 65535
	maxFrame      = 16 << 10 // unless the server says otherwise, which is not looked at
)

// multiplexed keeps requests in flight on one HTTP/2 connection. It is no more of
// a client than these requests need: net/http's would be most of what the core
// of the load does.
func (l *load) multiplexed(t *tally) error {
	conn, err := l.dial(l.tls, "h2")
	if err != nil {
		return err
	}
	defer conn.Close()
	c := newH2Conn(conn, 64<<10, l.Work)
	for range l.Work.Streams {
		c.request()
	}
	// What is ready is read first, and the requests that follow go out in one write.
	var due time.Time
	for more := true; len(c.bodies) > 0; {
		c.upload()
		if _, err := conn.Write(c.out); err != nil {
			return err
		}
		for c.out = c.out[:0]; len(c.bodies) > 0 && (len(c.out) == 0 || c.r.Buffered() > 0); {
			body, ended, err := c.frame()
			if err != nil {
				return err
			}
			c.upload()
			if !ended {
				continue
			}
			if body != l.Work.Want {
				return fmt.Errorf("the answer has %d bytes, not %d", body, l.Work.Want)
			}
			if more = l.done(t, due) && more; more && l.jobs != nil {
				due, more = <-l.jobs
			}
			if more {
				c.request()
			}
		}
	}
	return nil
}

type h2Conn struct {
	r      *bufio.Reader
	out    []byte         // frames to be written
	block  []byte         // header block of every request
	bodies map[uint32]int // streams that are open: bytes of the answer so far, -1 before its head
	next   uint32
	got    int // bytes of DATA since the last WINDOW_UPDATE

	size    int        // of the body of each request
	uploads []h2Upload // that are not sent yet
	window  int        // of the connection
	initial int        // that of a stream
	zeros   []byte
}

// An h2Upload is the body of a request that is on its way.
type h2Upload struct {
	stream       uint32
	left, window int
}

// newH2Conn begins with HTTP/2 on a connection.
func newH2Conn(conn io.Reader, buffer int, w work) *h2Conn {
	c := &h2Conn{
		r: bufio.NewReaderSize(conn, buffer), block: requestBlock(w.Path, w.Upload), bodies: map[uint32]int{}, next: 1,
		size: w.Upload, window: defaultWindow, initial: defaultWindow,
	}
	if w.Upload > 0 {
		c.zeros = make([]byte, maxFrame)
	}
	c.preface()
	return c
}

// requestBlock is a header block that changes no table, so that it can be sent any
// number of times (RFC 7541, sections 6.1 and 6.2.2). Its values are short.
func requestBlock(path string, upload int) []byte {
	block := []byte{0x82, 0x87} // :method GET, :scheme https
	if upload > 0 {
		block[0] = 0x83 // :method POST
	}
	literal := func(value string, name ...byte) {
		block = append(append(append(block, name...), byte(len(value))), value...)
	}
	literal(path, 0x04)                 // :path
	literal(serverName, 0x01)           // :authority
	literal("compare/1", 0x0f, 58-0x0f) // user-agent
	literal("*/*", 0x0f, 19-0x0f)       // accept
	if upload > 0 {
		literal(strconv.Itoa(upload), 0x0f, 28-0x0f) // content-length
	}
	return block
}

func (c *h2Conn) preface() {
	c.out = append(c.out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"...)
	c.write(frameSettings, 0, 0, binary.BigEndian.AppendUint32([]byte{0, settingInitialWindow}, 1<<30))
	c.write(frameWindowUpdate, 0, 0, binary.BigEndian.AppendUint32(nil, 1<<30))
}

func (c *h2Conn) request() {
	flags := byte(flagEndHeaders)
	if c.size == 0 {
		flags |= flagEndStream
	} else {
		c.uploads = append(c.uploads, h2Upload{c.next, c.size, c.initial})
	}
	c.write(frameHeaders, flags, c.next, c.block)
	c.bodies[c.next] = -1
	c.next += 2
}

// upload writes as much of the bodies as the windows allow.
func (c *h2Conn) upload() {
	for i := 0; i < len(c.uploads); {
		u := &c.uploads[i]
		for n := 0; u.left > 0; u.left -= n {
			if n = min(u.left, u.window, c.window, maxFrame); n == 0 {
				break
			}
			flags := byte(0)
			if n == u.left {
				flags = flagEndStream
			}
			c.write(frameData, flags, u.stream, c.zeros[:n])
			u.window -= n
			c.window -= n
		}
		if u.left == 0 {
			c.uploads = slices.Delete(c.uploads, i, i+1)
		} else {
			i++
		}
	}
}

// widen takes note of a WINDOW_UPDATE frame.
func (c *h2Conn) widen(stream uint32, n int) {
	if stream == 0 {
		c.window += n
		return
	}
	for i := range c.uploads {
		if c.uploads[i].stream == stream {
			c.uploads[i].window += n
		}
	}
}

// set takes note of SETTINGS.
func (c *h2Conn) set(payload []byte) {
	for ; len(payload) >= 6; payload = payload[6:] {
		if binary.BigEndian.Uint16(payload) != settingInitialWindow {
			continue
		}
		initial := int(binary.BigEndian.Uint32(payload[2:]))
		for i := range c.uploads {
			c.uploads[i].window += initial - c.initial
		}
		c.initial = initial
	}
}

func (c *h2Conn) write(frame, flags byte, stream uint32, payload []byte) {
	c.out = append(c.out, byte(len(payload)>>16), byte(len(payload)>>8), byte(len(payload)), frame, flags)
	c.out = append(binary.BigEndian.AppendUint32(c.out, stream), payload...)
}

// frame reads one frame. If it ends an answer, frame returns the length of its
// body.
func (c *h2Conn) frame() (body int, ended bool, err error) {
	head, err := c.r.Peek(9)
	if err != nil {
		return 0, false, err
	}
	length := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
	frame, flags := head[3], head[4]
	stream := binary.BigEndian.Uint32(head[5:]) & (1<<31 - 1)
	_, _ = c.r.Discard(9)
	if length > c.r.Size() {
		return 0, false, fmt.Errorf("a frame of %d bytes", length)
	}
	payload, err := c.r.Peek(length)
	if err != nil {
		return 0, false, err
	}
	defer c.r.Discard(length)

	switch frame {
	case frameReset, frameGoAway, frameContinuation:
		return 0, false, fmt.Errorf("a frame of type %#x on stream %d", frame, stream)
	case frameSettings, framePing:
		if flags&flagAck == 0 {
			if frame == frameSettings {
				c.set(payload)
				payload = nil
			}
			c.write(frame, flagAck, 0, payload)
		}
		return 0, false, nil
	case frameWindowUpdate:
		if len(payload) == 4 {
			c.widen(stream, int(binary.BigEndian.Uint32(payload)&(1<<31-1)))
		}
		return 0, false, nil
	case frameData, frameHeaders:
	default:
		return 0, false, nil
	}

	so, open := c.bodies[stream]
	if !open {
		return 0, false, fmt.Errorf("a frame of type %#x on stream %d, which is not open", frame, stream)
	}
	if frame == frameHeaders && so < 0 {
		so, err = 0, status200(payload, flags)
	} else if frame == frameData {
		if c.got += length; c.got > 1<<28 {
			c.write(frameWindowUpdate, 0, 0, binary.BigEndian.AppendUint32(nil, uint32(c.got)))
			c.got = 0
		}
		payload, err = unpadded(payload, flags)
		so += len(payload)
	}
	c.bodies[stream] = so
	if ended = flags&flagEndStream != 0; ended {
		delete(c.bodies, stream)
	}
	return so, ended, err
}

func unpadded(payload []byte, flags byte) ([]byte, error) {
	if flags&flagPadded == 0 {
		return payload, nil
	}
	if len(payload) == 0 || int(payload[0]) >= len(payload) {
		return nil, io.ErrUnexpectedEOF
	}
	return payload[1 : len(payload)-int(payload[0])], nil
}

// status200 checks that a header block begins with ":status: 200", which is an
// entry of the static table (RFC 7541, appendix A), after changes of the size of
// the dynamic table (section 6.3).
func status200(payload []byte, flags byte) error {
	block, err := unpadded(payload, flags)
	if err == nil && flags&flagPriority != 0 && len(block) >= 5 {
		block = block[5:]
	}
	for len(block) > 0 && block[0]&0xe0 == 0x20 {
		more := block[0]&0x1f == 0x1f
		for block = block[1:]; more && len(block) > 0; block = block[1:] {
			more = block[0]&0x80 != 0
		}
	}
	if err != nil || len(block) == 0 || block[0] != 0x88 {
		return fmt.Errorf("the answer does not begin with status 200: %x", block[:min(len(block), 8)])
	}
	return nil
}
