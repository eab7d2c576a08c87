package h2

import (
	"runtime"
	"sync"

	"golang.org/x/net/http2"

	"github.com/sallyport/sallyport/internal/buffers"
)

// An output is what is to be written to a connection. Who has put something into it
// writes what is there, unless somebody else does already: he will see to it. So nothing
// waits for a goroutine of its own, and much goes out in one write. c.mu guards it.
type output struct {
	buf     *buffers.Buffer // nil if nothing was put into it
	n       int             // bytes in buf
	more    []byte          // what did not fit: frames that are never held back
	full    bool            // it was, when it was written last: a larger one pays
	control int             // bytes in it that answer frames
	writing bool
	lost    bool // writing has failed
	done    *sync.Cond

	framer *frameWriter // nil while the connection rests
}

// A frameWriter makes frames in an output.
type frameWriter struct {
	*http2.Framer
	out *output
}

var frameWriters = sync.Pool{New: func() any {
	w := new(frameWriter)
	w.Framer = http2.NewFramer(w, nil)
	return w
}}

// Write is for the framer: it puts a frame into the output.
func (w *frameWriter) Write(frame []byte) (int, error) {
	w.out.append(frame)
	return len(frame), nil
}

// writer returns what makes frames. No frame is refused.
func (o *output) writer() *http2.Framer {
	if o.framer == nil {
		o.framer = frameWriters.Get().(*frameWriter)
		o.framer.out = o
	}
	return o.framer.Framer
}

func (o *output) append(frame []byte) {
	if o.buf == nil {
		o.buf = buffers.New()
		if o.full {
			o.buf = o.buf.Grow()
		}
	}
	n := 0
	if len(o.more) == 0 {
		n = copy(o.buf.B[o.n:], frame)
		o.n += n
	}
	o.more = append(o.more, frame[n:]...)
}

// room is how much may be put into the output by those who can wait.
func (o *output) room() int {
	if o.buf == nil {
		return buffers.Small
	}
	return len(o.buf.B) - o.n - len(o.more)
}

// waits reports whether there is something to be written, or is written.
func (o *output) waits() bool { return o.buf != nil || o.writing }

// release gives the framer back. There must be nothing to be written.
func (o *output) release() {
	if o.framer != nil {
		o.framer.out = nil
		frameWriters.Put(o.framer)
		o.framer = nil
	}
	o.more = nil
}

// maxRounds is how many writes one goroutine makes before another goes on with it: its own
// stream may be waiting for it.
const maxRounds = 8

// unlockAndFlush writes what is there, and unlocks c.mu. patient says that it must have
// been written when this returns, whoever does.
func (c *Conn) unlockAndFlush(patient bool) {
	switch {
	case c.out.lost, c.out.buf == nil && !c.out.writing:
		c.mu.Unlock()
		return
	case !c.out.writing:
		c.flush()
	}
	c.mu.Unlock()
	if patient {
		c.wait(func() bool { return !c.out.writing || c.out.lost })
	}
}

// unlockAndLeave lets another goroutine write what is there, and unlocks c.mu. It is for the
// reader: while a client takes nothing, what it says is to be heard.
func (c *Conn) unlockAndLeave() {
	if o := &c.out; o.buf != nil && !o.writing && !o.lost {
		o.writing = true
		go c.flushOn()
	}
	c.mu.Unlock()
}

// wait waits for something that who ends a write, or a request, brings about.
func (c *Conn) wait(until func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out.done == nil {
		c.out.done = sync.NewCond(&c.mu)
	}
	for !until() {
		c.out.done.Wait()
	}
}

// flush writes what is there, and what comes meanwhile. c.mu is held, but not while it
// writes.
func (c *Conn) flush() {
	o := &c.out
	o.writing = true
	c.mu.Unlock()
	runtime.Gosched() // others that are ready now have their say in the same write
	c.mu.Lock()
	for round := 0; o.buf != nil && !o.lost; round++ {
		if round == maxRounds {
			go c.flushOn()
			return
		}
		buf, n, more := o.buf, o.n, o.more
		o.full = n == len(buf.B)
		o.buf, o.n, o.more, o.control = nil, 0, nil, 0
		c.mu.Unlock()
		_, err := c.t.Write(buf.B[:n])
		if err == nil && len(more) > 0 {
			_, err = c.t.Write(more)
		}
		buf.Release()
		c.mu.Lock()
		if err != nil {
			c.lose()
			break
		}
		c.grantWithheld()
		c.send()
	}
	o.writing = false
	if o.done != nil {
		o.done.Broadcast()
	}
}

// flushOn is flush on a goroutine of its own, by one who has said that he writes.
func (c *Conn) flushOn() {
	c.mu.Lock()
	c.flush()
	c.mu.Unlock()
}

// lose ends the connection, which takes nothing more. c.mu is held.
func (c *Conn) lose() {
	o := &c.out
	o.lost = true
	if o.buf != nil {
		o.buf.Release()
	}
	o.buf, o.n, o.more = nil, 0, nil
	c.failStreams()
	c.t.Abort()
}

// send moves what streams have to say into the output, in the order of their priorities,
// as far as there is room and the client takes it. c.mu is held.
func (c *Conn) send() {
	for c.streamTable != nil {
		st := c.ready.first()
		if st == nil {
			return
		}
		room := c.out.room()
		if room < minRoom && c.out.buf != nil {
			return
		}
		s := &st.sending
		if s.head != nil {
			c.writeBlock(st, s.head, s.end && len(s.data) == 0 && s.trailer == nil)
			s.head = nil
			if st.sentEnd {
				c.sent(st)
				continue
			}
		}
		if len(s.data) > 0 {
			n := min(len(s.data), c.maxFrame, int(min(st.sendWindow, c.sendWindow)), max(c.out.room()-frameHead, 1))
			if n <= 0 {
				if st.sendWindow > 0 {
					c.ready.stall(st)
				} else {
					c.ready.remove(st) // until its window opens
				}
				continue
			}
			data := s.data[:n]
			s.data = s.data[n:]
			last := len(s.data) == 0
			end := last && s.end && s.trailer == nil
			_ = c.out.writer().WriteData(st.id, end, data)
			if last || n >= usefulData { // or else the client lets it through in drops
				c.budget.useful()
			}
			st.sendWindow -= int64(n)
			c.sendWindow -= int64(n)
			if !last {
				c.ready.rotate(st)
				continue
			}
			if end {
				st.sentEnd = true
			}
		}
		if s.trailer != nil {
			c.writeBlock(st, s.trailer, true)
			s.trailer = nil
		} else if s.end && !st.sentEnd {
			_ = c.out.writer().WriteData(st.id, true, nil)
			st.sentEnd = true
		}
		c.sent(st)
	}
}

const (
	frameHead = 9
	// minRoom is how much room in the output is worth a frame.
	minRoom = 1 << 10
)

// sent takes note that all is in the output that a stream had to say. c.mu is held.
func (c *Conn) sent(st *Stream) {
	c.ready.remove(st)
	st.sending = sending{}
	if st.waiting {
		st.waiting = false
		st.wakeWriter()
	}
	if st.sentEnd {
		c.answered(st)
	}
}

// writeBlock writes a block of HPACK as HEADERS, and CONTINUATION if it is long. c.mu is
// held.
func (c *Conn) writeBlock(st *Stream, block []byte, end bool) {
	w := c.out.writer()
	if c.resize {
		// RFC 7541, section 4.2: the table whose size the client has changed is not used.
		c.resize = false
		block = append(emptyTable(), block...)
	}
	first := true
	for first || len(block) > 0 {
		part := block[:min(len(block), c.maxFrame)]
		block = block[len(part):]
		if first {
			_ = w.WriteHeaders(http2.HeadersFrameParam{StreamID: st.id, BlockFragment: part, EndStream: end, EndHeaders: len(block) == 0})
			first = false
		} else {
			_ = w.WriteContinuation(st.id, len(block) == 0, part)
		}
	}
	if end {
		st.sentEnd = true
	}
	c.budget.useful()
}
