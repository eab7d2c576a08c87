package h2

import (
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// An input is what was read from a connection and not understood yet, and what reads
// frames from it. A connection that rests has none.
type input struct {
	conn   *Conn
	framer *http2.Framer
	buf    [inputSize]byte
	r, w   int  // buf[r:w] is not used yet
	fresh  bool // nothing of the next frame was used yet
}

// inputSize is a record of TLS.
const inputSize = 16 << 10

var inputs = sync.Pool{New: func() any {
	in := new(input)
	in.framer = http2.NewFramer(nil, in)
	in.framer.SetReuseFrames()
	in.framer.SetMaxReadFrameSize(maxReadFrame)
	return in
}}

func newInput(c *Conn) *input {
	in := inputs.Get().(*input)
	in.conn, in.r, in.w, in.fresh = c, 0, 0, true
	return in
}

// release gives the input back. It must be empty, and between two frames.
func (in *input) release() {
	in.conn = nil
	inputs.Put(in)
}

// drop forgets the input, whose framer may be in the middle of something.
func (in *input) drop() { in.conn = nil }

func (in *input) buffered() []byte { return in.buf[in.r:in.w] }

// space returns where to read to. It is called when nothing is buffered. While large bodies
// come, it is room for the head of a frame: what follows is read to where it belongs.
func (in *input) space() []byte {
	in.r, in.w = 0, 0
	if in.conn.ahead {
		return in.buf[:frameHead]
	}
	return in.buf[:]
}

// Read is for the framer. It waits if there is nothing.
func (in *input) Read(p []byte) (int, error) {
	if in.r == in.w {
		c := in.conn
		if !in.fresh && c.frameBy.IsZero() {
			c.frameBy = time.Now().Add(c.o.HeaderTimeout)
		}
		if c.ahead && len(p) > frameHead {
			// The rest of a frame that is no plain DATA: space is too small for it.
			n, err := c.read(p)
			in.fresh = in.fresh && n == 0
			return n, err
		}
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
	in.fresh = in.fresh && in.r == in.w
	n := copy(p, in.buffered())
	in.r += n
	return n, nil
}
