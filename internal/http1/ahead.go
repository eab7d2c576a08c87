package http1

import (
	"io"
	"sync"
)

// An ahead reads more from a connection than was asked for, while it is on: crypto/tls
// asks for one record at a time, and a large body has many. It is the reader's.
type ahead struct {
	on   bool
	much bool             // the last read got all that it could take: there is more
	buf  *[aheadSize]byte // nil if there is nothing in it, and none is to come
	r, w int              // buf[r:w] was read and not used yet
}

const (
	aheadSize  = 128 << 10
	aheadWorth = 16 << 10 // what the buffer must get to be kept: who sends little holds none
	muchRead   = 512      // what a read must have got to be followed by one with the buffer
)

var aheads = sync.Pool{New: func() any { return new([aheadSize]byte) }}

func (a *ahead) read(c io.Reader, p []byte) (n int, err error) {
	if a.r == a.w {
		if a.buf != nil && (!a.on || a.w < aheadWorth) {
			a.release()
		}
		if a.buf == nil {
			if !a.on || !a.much {
				n, err = c.Read(p)
				a.much = a.on && n == len(p) && n >= muchRead
				return n, err
			}
			a.buf = aheads.Get().(*[aheadSize]byte)
		}
		a.r, a.much = 0, false
		if a.w, err = c.Read(a.buf[:]); a.w == 0 {
			return 0, err
		}
	}
	n = copy(p, a.buf[a.r:a.w])
	a.r += n
	if a.r == a.w && !a.on {
		a.release()
	}
	return n, nil
}

func (a *ahead) release() {
	aheads.Put(a.buf)
	a.buf, a.r, a.w = nil, 0, 0
}

// ReadAhead says that a large body is to come over TLS, or that it came. It costs a
// buffer of 128 KiB while it is on and much comes.
func (c *Conn) ReadAhead(on bool) {
	a := &c.socket.ahead
	if c.tls == nil || a.on == on {
		return
	}
	if on && !c.socket.framed {
		return // where records begin is not known
	}
	a.on = on
	if !on && a.buf != nil && a.r == a.w {
		a.release()
	}
}

// RecordReady reports whether the next record of TLS is there, so that ReadBody, or Read,
// is not likely to wait. It knows of those alone that were read ahead.
func (c *Conn) RecordReady() bool {
	s := &c.socket
	b := s.ahead.rest()
	switch {
	case len(b) == 0:
		return false
	case c.body == chunked && c.chunk != chunkData:
		return false // it may have no more than a part of a line, after which ReadBody waits
	case s.rest > 0:
		return len(b) >= s.rest && recordSize(s.header[:]) >= leastData
	case s.nth > 0:
		return false // a part of a header is in crypto/tls: rare, and not worth it
	default:
		return len(b) >= recordHeader && len(b) >= recordHeader+recordSize(b) && recordSize(b) >= leastData
	}
}

// leastData is how long a record is at least that is likely to hold data: with TLS 1.3 one
// that holds none, like a KeyUpdate (RFC 8446, section 4.6.3), cannot be told from it but by
// its length, and after it a read waits. If it is padded (section 5.4), not even so.
const leastData = 64

// recordSize returns how many bytes follow the header of a record.
func recordSize(header []byte) int { return int(header[3])<<8 | int(header[4]) }

func (a *ahead) rest() []byte {
	if a.buf == nil {
		return nil
	}
	return a.buf[a.r:a.w]
}
