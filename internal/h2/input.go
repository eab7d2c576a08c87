package h2

import (
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sallyport/sallyport/internal/buffers"
)

// An input is what was read from a connection and not understood yet, and what reads
// frames from it, up to a whole head. A connection that rests has none.
type input struct {
	conn   *Conn
	framer *http2.Framer
	buf    []byte // first, or that of large
	r, w   int    // buf[r:w] is not used yet
	fresh  bool   // nothing of the next frame was used yet

	first [firstInput]byte
	large *buffers.Buffer // which has a record of TLS; nil until so much came

	frameBy time.Time // when the frame or the head that has begun must be there; zero: none has
	block   block
	field   func(hpack.HeaderField) // of block: bound once, for it is many connections' in turn
}

// firstInput is enough for the heads of some requests. A connection has it for as long as
// it does not rest, and many have no more to say.
const firstInput = 1 << 10

var inputs = sync.Pool{New: func() any {
	in := new(input)
	in.buf = in.first[:]
	in.framer = http2.NewFramer(nil, in)
	in.framer.SetReuseFrames()
	in.framer.SetMaxReadFrameSize(maxReadFrame)
	in.field = in.block.field
	return in
}}

func newInput(c *Conn) *input {
	in := inputs.Get().(*input)
	in.conn, in.block.conn = c, c
	return in
}

// release gives the input back, with nothing that is the connection's. It must be empty, and
// between two frames, where nothing has begun that has to come to its end.
func (in *input) release() {
	in.conn, in.r, in.w = nil, 0, 0
	in.block = block{fields: in.block.fields}
	if in.large != nil {
		in.large.Release()
		in.large, in.buf = nil, in.first[:]
	}
	inputs.Put(in)
}

func (in *input) buffered() []byte { return in.buf[in.r:in.w] }

// space returns where to read to. It is called when nothing is buffered. While large bodies
// come, it is room for the head of a frame: what follows is read to where it belongs.
func (in *input) space() []byte {
	if in.large == nil && in.w == len(in.buf) { // the last read got all that it could take
		in.large = buffers.New()
		in.buf = in.large.B
	}
	in.r, in.w = 0, 0
	if in.conn.ahead {
		return in.buf[:frameHead]
	}
	return in.buf
}

// Read is for the framer. It waits if there is nothing.
func (in *input) Read(p []byte) (int, error) {
	if in.r == in.w {
		c := in.conn
		if !in.fresh && in.frameBy.IsZero() {
			in.frameBy = time.Now().Add(c.o.HeaderTimeout)
		}
		if c.ahead && len(p) > frameHead {
			// The rest of a frame that is no plain DATA: space is too small for it.
			return c.read(p)
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
