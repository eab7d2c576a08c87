package http1

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// A Conn is a connection to a server. One exchange follows another: Begin, Write,
// ReadResponse, ReadBody, End.
//
// At most one goroutine at a time writes and one reads; they may be different ones,
// so that a response is read while the body of the request is still sent. Abort
// may be called by anyone at any time.
//
// After an error the connection is to be closed.
type Conn struct {
	socket socket
	rw     net.Conn // the socket, or TLS over it
	tls    *tls.Conn
	state  *tls.ConnectionState

	// What follows is the reader's.
	in        *input // nil between exchanges
	maxHead   int    // as given to Begin
	maxFields int    // of a request
	headLeft  int    // bytes of it that are left
	received  bool   // a byte came in this exchange
	persists  bool   // the connection may be used again
	body      bodyKind
	left      int64 // of the body, or of the chunk
	chunk     chunkState
	excess    int64 // bytes of chunk lines beyond what is in proportion
	one       [1]byte

	begun    int64       // written before this exchange
	flushing atomic.Bool // records are collected and sent
	woken    atomic.Bool // by Wake

	idle *links // nil on the server's side
}

type bodyKind uint8

const (
	unread   bodyKind = iota // there is no head yet
	sized                    // left bytes
	chunked                  //
	endless                  // up to the end of the connection
	tunnel                   // the same, after a 101
	complete                 // came to its end
	broken                   // err
)

type chunkState uint8

const (
	chunkSize chunkState = iota // a line with a size is next
	chunkData                   // left bytes are
	chunkEnd                    // the line end after them is
	chunkLast                   // the trailer is
)

// NewConn returns a Conn over c, which it takes over. If c is a [syscall.Conn], as
// those of package net are, Alive looks at its descriptor, on Unix: its Read must keep
// nothing back. Any other has a goroutine that reads while it is in an [Idle].
func NewConn(c net.Conn) *Conn {
	k := &keepable{}
	conn := &k.Conn
	conn.idle = &k.links
	conn.socket.init(c)
	conn.rw = &conn.socket
	return conn
}

// Handshake puts TLS over the connection. If it fails, the connection is closed.
func (c *Conn) Handshake(ctx context.Context, config *tls.Config) error {
	c.socket.framed = true
	secure := tls.Client(&c.socket, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		c.Abort()
		return err
	}
	state := secure.ConnectionState()
	c.rw, c.tls, c.state = secure, secure, &state
	return nil
}

// Key returns what the connection was kept by in an [Idle].
func (c *Conn) Key() string { return c.idle.key }

// TLS returns the state of TLS, or nil without TLS. It must not be changed.
func (c *Conn) TLS() *tls.ConnectionState { return c.state }

// Begin begins an exchange. A write may take as long as send, where zero is no
// limit, and a read as long as it likes until Await. The head of the response, with
// the informational ones before it, has at most maxHead bytes, and the fields after
// its body as many together.
func (c *Conn) Begin(send time.Duration, maxHead int) {
	c.idle.used++
	c.socket.sendLimit.Store(int64(send))
	c.Await(0) // the time of the exchange before is over with it
	c.begun = c.socket.written.Load()
	c.maxHead, c.headLeft = maxHead, maxHead
	c.received, c.persists = false, true
	c.body = unread
	c.excess = 0
}

// Sent reports whether a byte of this exchange left: what was not sent has had no
// effect.
func (c *Conn) Sent() bool { return c.socket.written.Load() != c.begun }

// Received reports whether a byte of a response came in this exchange.
func (c *Conn) Received() bool { return c.received }

// Await gives the server d from now, for all that is read until the next Await.
// Zero is no limit. A read that comes too late fails with an error that is
// [os.ErrDeadlineExceeded].
func (c *Conn) Await(d time.Duration) { c.socket.reading.begin(d) }

// Write sends a part of a request. A write that the server does not take in time
// fails with an error that is [os.ErrDeadlineExceeded].
func (c *Conn) Write(p []byte) (int, error) {
	// crypto/tls writes each record for itself, and begins a connection with
	// records that fit in a packet. Together they are one write.
	const record = 1 << 10
	if c.tls == nil || len(p) <= record || len(p) > LargeWrite {
		return c.rw.Write(p)
	}
	pool := &outputs
	if len(p) > outputSize {
		pool = &largeOutputs
	}
	b := pool.Get().(*[]byte)
	*b = (*b)[:0]
	c.flushing.Store(true)
	c.socket.cork(b)
	n, err := c.rw.Write(p)
	if flushed := c.socket.uncork(); err == nil && flushed != nil {
		n, err = 0, flushed
	}
	c.flushing.Store(false)
	pool.Put(b)
	return n, err
}

// Abort closes the connection at once. Reads and writes that go on fail.
func (c *Conn) Abort() { _ = c.socket.Close() }

// Close closes the connection, and says so first if there is TLS. That may take
// five seconds if the server takes nothing.
func (c *Conn) Close() error {
	if c.flushing.Load() {
		c.Abort() // as crypto/tls does if a Write goes on
		return nil
	}
	return c.rw.Close()
}

// CloseWrite ends the direction to the server.
func (c *Conn) CloseWrite() error {
	if c.tls != nil {
		return c.tls.CloseWrite()
	}
	return c.socket.CloseWrite()
}

// fill reads more into the buffer.
func (c *Conn) fill() error {
	n, err := c.rw.Read(c.in.space())
	c.in.w += n
	if n > 0 {
		c.received = true
		return nil
	}
	return err
}

// ReadResponse reads the head of a response to a request with that method. If
// Status is 1xx, and not 101, another head follows. After 101 the connection is a
// tunnel: ReadBody returns what comes, whatever it is.
//
// It fails with [io.EOF] if the server ends the connection before the first byte,
// and with [io.ErrUnexpectedEOF] if it does later.
func (c *Conn) ReadResponse(method string) (*Response, error) {
	if c.in == nil {
		c.in = inputs.Get().(*input)
	}
	c.in.compact()
	c.in.head.reset()
	// After an error the body stays unread, and so the connection is not used again.
	if err := c.readLines(responseLines); err != nil {
		if err == io.EOF && c.received {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	r := &c.in.head
	if err := r.check(); err != nil {
		return nil, err
	}
	if r.Close || r.bound {
		c.persists = false
	}
	c.body = complete
	switch {
	case r.Status == 101:
		c.body, c.persists = tunnel, false
	case r.Status < 200:
		c.body = unread
		if r.Chunked || r.ContentLength > 0 {
			return nil, fmt.Errorf("malformed response: a body with the status %d", r.Status)
		}
	case r.Status == 204, r.Status == 304, method == "HEAD":
		// They have no body, whatever the fields say. With a 204 nothing may be
		// said, and who says it may as well send it.
		if r.Status == 204 && (r.Chunked || r.ContentLength > 0) {
			c.persists = false
		}
	case r.Chunked:
		c.body, c.chunk = chunked, chunkSize
	case r.ContentLength > 0:
		c.body, c.left = sized, r.ContentLength
	case r.ContentLength < 0:
		c.body, c.persists = endless, false
	}
	return r, nil
}

// What readLines reads.
type lines int

const (
	responseLines lines = iota // a status line and fields
	trailerLines               // fields alone
	requestLines               // a request line and fields
)

// readLines reads lines up to an empty one.
func (c *Conn) readLines(kind lines) error {
	in := c.in
	at, from := in.r, in.r // where the line begins, and where to look for its end
	first := kind != trailerLines
	for {
		i := bytes.IndexByte(in.buf[from:in.w], '\n')
		if first {
			if err := c.early(kind); err != nil {
				return err // without waiting for more
			}
		}
		if i < 0 {
			if in.w-in.r > c.headLeft {
				return c.tooLong(kind)
			}
			from = in.w
			if err := c.fill(); err != nil {
				if err == io.EOF && in.w > in.r {
					err = io.ErrUnexpectedEOF
				}
				return err
			}
			continue
		}
		end := from + i
		if end-in.r >= c.headLeft {
			return c.tooLong(kind)
		}
		if end == at || in.buf[end-1] != '\r' {
			return errBareLF
		}
		line := in.buf[at : end-1]
		var err error
		switch {
		case first:
			first = false
			if kind == requestLines {
				err = in.request.parseLine(at, line)
			} else {
				err = in.head.parseStatus(line)
			}
		case len(line) == 0:
			c.headLeft -= end + 1 - in.r
			in.r = end + 1
			return nil
		case kind == requestLines:
			err = in.request.parseField(at, line, c.maxFields)
		case kind == responseLines:
			err = in.head.parseField(at, line)
		default:
			err = in.trailer.addTrailer(at, line)
		}
		if err != nil {
			return err
		}
		at, from = end+1, end+1
	}
}

// early refuses what cannot become a first line.
func (c *Conn) early(kind lines) error {
	in := c.in
	if kind == requestLines {
		return in.request.early(in.buffered())
	}
	if got := in.buffered(); !bytes.HasPrefix([]byte(protocol), got[:min(len(got), len(protocol))]) {
		line, _, _ := bytes.Cut(got, []byte("\r\n"))
		return fmt.Errorf("malformed HTTP response %s", quoted(line))
	}
	return nil
}

func (c *Conn) tooLong(kind lines) error {
	if kind == requestLines {
		return ErrHeadTooLarge
	}
	return fmt.Errorf("the response's headers exceeded %d bytes", c.maxHead)
}

// End ends the exchange and gives the buffer back. It reports whether the connection
// can be used for another: the response came to its end, nothing followed it, and
// nobody said that it is the last. The whole of the request must have been sent
// too, which the caller knows.
func (c *Conn) End() bool {
	clean := c.persists && c.body == complete && (c.in == nil || len(c.in.buffered()) == 0)
	c.releaseInput()
	return clean
}

func (c *Conn) releaseInput() {
	if c.in != nil {
		c.in.release()
		c.in = nil
	}
}

// HasBody reports whether there is something to read with ReadBody.
func (c *Conn) HasBody() bool { return c.body != complete }

// Skip passes over the rest of a body if that is short and was received already. It
// reports whether the body is at its end then.
func (c *Conn) Skip() bool {
	if c.body == sized && c.left <= int64(len(c.in.buffered())) {
		c.in.r += int(c.left)
		c.left, c.body = 0, complete
	}
	return c.body == complete
}

// AwaitBody is Await for a body, of which some may be there already: no time is needed for
// that.
func (c *Conn) AwaitBody(d time.Duration) {
	if c.body != sized || len(c.in.buffered()) == 0 {
		c.Await(d)
	}
}

// Alive reports whether an idle connection can be used: the server has neither
// closed it nor sent anything. What it sent without being asked would be taken for
// the answer to the next request, which may be another client's.
//
// It does not wait. It looks at the socket and, with TLS, at what was received with
// the last response and not decrypted yet: there the socket shows nothing. Without a
// descriptor it knows only what came since the connection was put into an [Idle].
func (c *Conn) Alive() bool {
	s := &c.socket
	s.probing = true
	var err error
	if c.tls == nil {
		err = s.peek()
	} else if s.between() {
		var n int
		if n, err = c.tls.Read(c.one[:]); n > 0 {
			err = errSomething
		}
	} else {
		err = errSomething
	}
	s.probing = false
	return err == errNothing
}
