package http1

import (
	"net"
	"sync"
)

// An ahead reads more from a connection than was asked for, while it is on: crypto/tls
// asks for one record at a time, and a large body has many. It is the reader's.
type ahead struct {
	on   bool
	buf  *[aheadSize]byte // nil if there is nothing in it, and none is to come
	r, w int              // buf[r:w] was read and not used yet
}

const aheadSize = 128 << 10

var aheads = sync.Pool{New: func() any { return new([aheadSize]byte) }}

func (a *ahead) read(c net.Conn, p []byte) (n int, err error) {
	if a.buf == nil {
		if !a.on {
			return c.Read(p)
		}
		a.buf = aheads.Get().(*[aheadSize]byte)
	}
	if a.r == a.w {
		if !a.on {
			a.release()
			return c.Read(p)
		}
		a.r = 0
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
// buffer of 128 KiB while it is on.
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
// does not wait. It knows of those alone that were read ahead.
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

// leastData is how long a record is at least that is sure to hold data: with TLS 1.3 one
// that holds none, like a KeyUpdate (RFC 8446, section 4.6.3), cannot be told from it but by
// its length, and after it a read waits.
const leastData = 64

// recordSize returns how many bytes follow the header of a record.
func recordSize(header []byte) int { return int(header[3])<<8 | int(header[4]) }

func (a *ahead) rest() []byte {
	if a.buf == nil {
		return nil
	}
	return a.buf[a.r:a.w]
}
