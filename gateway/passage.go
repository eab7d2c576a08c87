package gateway

import (
	"io"

	"github.com/sallyport/sallyport/internal/buffers"
	"github.com/sallyport/sallyport/internal/forward"
	"github.com/sallyport/sallyport/internal/http1"
)

// This file copies the answers of nodes. A head and as much of the body as there is go
// out together: one write, and with TLS one record if they are small. What comes late
// goes out as it comes.

// A framing is how the client learns where the body of an answer ends.
type framing uint8

const (
	noBody framing = iota
	sizedBody
	chunkedBody
	closedBody // with the connection
)

// A passage is an answer on its way from a node to the client.
type passage struct {
	to     *client
	how    framing
	buffer *buffers.Buffer

	from, end int   // what of the buffer is to be written
	n         int64 // bytes of the body that were passed on
	full      bool
}

// begin takes a head that was appended to the empty buffer. One that did not fit has
// brought its own.
func (p *passage) begin(head []byte) {
	if cap(head) != cap(p.buffer.B) { // it has outgrown the buffer
		p.buffer.Release()
		p.buffer = buffers.Of(head[:cap(head)])
	}
	p.end = len(head)
}

// flush writes what is in the buffer.
func (p *passage) flush() error {
	if p.from == p.end {
		return nil
	}
	err := p.to.write(p.buffer.B[p.from:p.end])
	p.from, p.end = 0, 0
	return err
}

// minRoom is how much room in the buffer is worth a read.
const minRoom = 2 << 10

// lastChunk ends a chunked body.
const lastChunk = "0\r\n\r\n"

// body passes on the body of an answer. What is left in the buffer then, the end of it,
// is still to be written.
func (p *passage) body(x forward.Exchange) error {
	for {
		if p.end > p.from && (!x.Ready() || len(p.buffer.B)-p.end < minRoom) {
			if err := p.flush(); err != nil {
				return err
			}
			if p.full {
				p.grow()
				p.full = false
			}
		}
		at, room := p.end, p.buffer.B[p.end:]
		if p.how == chunkedBody {
			at += http1.ChunkHead
			room = room[http1.ChunkHead : len(room)-http1.ChunkTail-len(lastChunk)]
		}
		waits := !x.Ready()
		if waits {
			p.to.waitsForMore()
		}
		n, err := x.ReadBody(room)
		if waits {
			p.to.waited()
		}
		if err != nil && err != io.EOF {
			return &answerError{err}
		}
		p.full = n == len(room)
		p.n += int64(n)
		switch {
		case n == 0:
		case p.how == chunkedBody:
			// The chunk ends where its room does, and begins later: what stands before
			// moves up to it.
			end := at + n + http1.ChunkTail
			gap := end - p.end - len(http1.Chunk(p.buffer.B[p.end:], n))
			copy(p.buffer.B[p.from+gap:], p.buffer.B[p.from:p.end])
			p.from, p.end = p.from+gap, end
		default:
			p.end += n
		}
		if err == io.EOF {
			return p.last(x.Trailer())
		}
	}
}

// last ends the body, after which fields may come.
func (p *passage) last(trailer *http1.Section) error {
	if p.how != chunkedBody {
		return nil
	}
	if trailer == nil {
		p.end += copy(p.buffer.B[p.end:], lastChunk)
		return nil
	}
	if err := p.flush(); err != nil {
		return err
	}
	b := append(p.buffer.B[:0], "0\r\n"...)
	for i := range trailer.Len() {
		if name, value := trailer.FieldView(i); !concernsOne(name) {
			b = appendField(b, name, value)
		}
	}
	b = append(b, "\r\n"...)
	p.begin(b)
	return nil
}

// grow takes a large buffer, if there is one. Nothing is lost only if there is nothing
// to be written.
func (p *passage) grow() {
	if p.from == p.end {
		p.buffer = p.buffer.Grow()
	}
}
