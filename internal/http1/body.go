package http1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

var (
	errChunkEnd    = errors.New("malformed chunked encoding: no CR LF after the data")
	errChunkLine   = errors.New("malformed chunked encoding: the line with the size is too long")
	errChunkExcess = errors.New("malformed chunked encoding: more lines than data")
)

const (
	// maxChunkLine bounds a line with a size and extensions.
	maxChunkLine = 1 << 10

	// maxExcess bounds the bytes of chunk lines that no data justifies: 16 bytes,
	// and as much again as the data, do not count for each chunk.
	maxExcess = 16 << 10
)

// ReadBody reads from the body of the response, without its framing. At the end it
// returns [io.EOF], possibly together with the last bytes. Then Trailer has the
// fields that came after a chunked body. A body that ends too early is
// [io.ErrUnexpectedEOF].
//
// The slices of the Response are no longer valid.
func (c *Conn) ReadBody(p []byte) (n int, err error) {
	switch c.body {
	case sized:
		n, err = c.readSized(p)
	case chunked:
		n, err = c.readChunked(p)
	case endless, tunnel:
		if c.body == tunnel && len(c.in.buffered()) == 0 {
			c.releaseInput()
		}
		n, err = c.take(p)
		if err == io.EOF {
			// Over TLS an end that was not announced may be anyone's.
			if c.body == endless && c.tls != nil && c.socket.eof {
				err = io.ErrUnexpectedEOF
				break
			}
			c.body = complete
		}
		return n, err
	case complete:
		return 0, io.EOF
	default:
		return 0, io.ErrUnexpectedEOF
	}
	if err != nil && err != io.EOF {
		c.body, c.persists = broken, false
	}
	return n, err
}

// take reads bytes, from the buffer if it has some, otherwise straight from the
// connection.
func (c *Conn) take(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if b := c.in.buffered(); len(b) > 0 {
		n := copy(p, b)
		c.in.r += n
		return n, nil
	}
	return c.rw.Read(p)
}

func (c *Conn) readSized(p []byte) (int, error) {
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.take(p)
	c.left -= int64(n)
	switch {
	case c.left == 0:
		c.body = complete
		if err != nil {
			c.persists = false
		}
		return n, io.EOF
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// readChunked returns as many chunks as were received already, and waits only if
// there is nothing to return.
func (c *Conn) readChunked(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if c.chunk == chunkData {
			if n == len(p) || n > 0 && len(c.in.buffered()) == 0 {
				return n, nil
			}
			q := p[n:]
			if int64(len(q)) > c.left {
				q = q[:c.left]
			}
			if len(c.in.buffered()) == 0 && len(q) < inputSize/2 {
				// What follows a small chunk comes along with it.
				c.in.r, c.in.w = c.in.floor, c.in.floor
				if err := c.fill(); err != nil {
					return n, unexpected(err)
				}
			}
			m, err := c.take(q)
			n += m
			c.left -= int64(m)
			if err != nil {
				return n, unexpected(err)
			}
			if c.left == 0 {
				c.chunk = chunkEnd
			}
			continue
		}
		if n > 0 && !c.lineIsThere() {
			return n, nil
		}
		if err := c.readChunkLine(); err != nil {
			return n, unexpected(err)
		}
		if c.body == complete {
			return n, io.EOF
		}
	}
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// lineIsThere reports whether the next step of readChunkLine finds all that it needs
// in the buffer.
func (c *Conn) lineIsThere() bool {
	b := c.in.buffered()
	if c.chunk == chunkLast {
		return bytes.HasPrefix(b, []byte("\r\n")) || bytes.Contains(b, []byte("\r\n\r\n"))
	}
	return bytes.IndexByte(b, '\n') >= 0
}

// readChunkLine takes one step between the data of two chunks.
func (c *Conn) readChunkLine() error {
	switch c.chunk {
	case chunkEnd:
		line, err := c.line()
		if err != nil {
			return err
		}
		if len(line) > 0 {
			return errChunkEnd
		}
		c.chunk = chunkSize
	case chunkSize:
		line, err := c.line()
		if err != nil {
			return err
		}
		size, err := parseChunkSize(line)
		if err != nil {
			return err
		}
		c.excess = max(0, c.excess+int64(len(line))-16-size)
		if c.excess > maxExcess {
			return errChunkExcess
		}
		c.left, c.chunk = size, chunkData
		if size == 0 {
			c.chunk = chunkLast
		}
	case chunkLast:
		c.in.compact()
		c.in.trailer = c.in.trailer.emptied()
		c.headLeft = c.maxHead
		if err := c.readLines(trailerLines); err != nil {
			return err
		}
		c.body = complete
	}
	return nil
}

// line reads a line, without its end.
func (c *Conn) line() ([]byte, error) {
	in := c.in
	for {
		b := in.buffered()
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			switch {
			case i > maxChunkLine:
				return nil, errChunkLine
			case i == 0 || b[i-1] != '\r':
				return nil, errBareLF
			}
			in.r += i + 1
			return b[:i-1], nil
		}
		switch {
		case len(b) > maxChunkLine:
			return nil, errChunkLine
		case c.chunk == chunkEnd && len(b) > 0 && b[0] != '\r':
			return nil, errChunkEnd // longer than announced: no line end may ever come
		}
		in.compact()
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
}

// maxChunkDigits is how many digits a size has at most, zeros included.
const maxChunkDigits = 16

// parseChunkSize reads a line that begins a chunk. Extensions have no meaning here.
//
//	1f, 1F, 001f            // accepted
//	1f;name=value, 1f ; x   // accepted: an extension
//	0x1f, +1f, 1f_, "1f "   // refused
//	8000000000000000        // refused: it does not fit
//	00000000000000001       // refused: it might not fit elsewhere (as net/http)
func parseChunkSize(line []byte) (int64, error) {
	var size int64
	i := 0
	for ; i < len(line); i++ {
		var d byte
		switch c := line[i]; {
		case digit(c):
			d = c - '0'
		case 'a' <= c && c <= 'f':
			d = c - 'a' + 10
		case 'A' <= c && c <= 'F':
			d = c - 'A' + 10
		default:
			d = 0xff
		}
		if d == 0xff {
			break
		}
		if size > (1<<63-1)>>4 || i == maxChunkDigits {
			return 0, fmt.Errorf("malformed chunked encoding: the size %s is too large", quoted(line))
		}
		size = size<<4 | int64(d)
	}
	rest := bytes.TrimLeft(line[i:], " \t")
	if i == 0 || len(line) > i && (len(rest) == 0 || rest[0] != ';') || !validValue(rest) {
		return 0, fmt.Errorf("malformed chunked encoding: invalid size %s", quoted(line))
	}
	return size, nil
}

// Trailer returns the fields after a chunked body, once ReadBody has returned
// [io.EOF] and before End. It is nil if there are none.
func (c *Conn) Trailer() *Section {
	if c.in == nil || c.body != complete || c.in.trailer.Len() == 0 {
		return nil
	}
	return &c.in.trailer
}

// Ready reports whether ReadBody returns something without waiting. It may be
// mistaken, and then waits: what is there may be less than the beginning of a chunk.
func (c *Conn) Ready() bool {
	if c.in == nil {
		return false
	}
	b := c.in.buffered()
	if len(b) == 0 {
		return c.body == complete
	}
	if c.body != chunked || c.chunk == chunkData {
		return true
	}
	if c.chunk == chunkEnd {
		b = bytes.TrimPrefix(b, []byte("\r\n"))
	}
	if c.chunk == chunkLast || len(b) > 0 && b[0] == '0' {
		return bytes.HasSuffix(b, []byte("\r\n\r\n"))
	}
	i := bytes.IndexByte(b, '\n')
	return i >= 0 && i+1 < len(b)
}
