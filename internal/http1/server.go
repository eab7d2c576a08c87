package http1

import (
	"crypto/tls"
	"net"
	"os"
	"time"
)

// An Admitter is a connection that may have to do and read something before anybody else
// does, which is Admit. Afterwards it behaves like the connection below it, NetConn, except
// for its Close and its addresses.
type Admitter interface {
	net.Conn
	Admit() error
	NetConn() net.Conn
}

// Accepted returns an accepted connection for TLS to be put over it, or for [Server];
// secure says which. Until then it behaves like c, and has a method Admit if c is an
// [Admitter].
func Accepted(c net.Conn, secure bool) net.Conn {
	conn := &Conn{}
	conn.socket.init(c)
	conn.socket.owner = conn
	conn.socket.framed = secure
	conn.rw = &conn.socket
	return &conn.socket
}

// Server returns the server's side of a connection. It takes what [Accepted] has returned,
// a *tls.Conn over that whose handshake is done, or any other connection, which may have a
// method ConnectionState if there is TLS in it. One request follows another: Wait,
// ReadRequest, ReadBody and Write, EndRequest. What [Conn] says about goroutines applies
// here too.
//
// A write fails if nothing is accepted for as long as send, where zero is no limit.
func Server(c net.Conn, send time.Duration) *Conn {
	secure, _ := c.(*tls.Conn)
	s, ours := socketBelow(c)
	if !ours {
		s = Accepted(c, false).(*socket)
	}
	conn := s.owner
	if c, ok := c.(interface{ ConnectionState() tls.ConnectionState }); ok {
		state := c.ConnectionState()
		conn.state = &state
	}
	if secure != nil && ours {
		conn.rw, conn.tls = secure, secure
	}
	conn.socket.sendLimit.Store(int64(send))
	return conn
}

// HandOver returns the connection to code that does not know this package, as it was given
// to [Server], without deadlines, together with what was read from it but not used yet. The
// Conn must not be used any more.
func (c *Conn) HandOver() (conn net.Conn, ahead []byte) {
	if c.in != nil {
		ahead = append(ahead, c.in.buffered()...)
		c.releaseInput()
	}
	c.socket.handOver()
	if c.tls == nil {
		return c.socket.Conn, ahead // some look for the *net.TCPConn
	}
	return c.rw, ahead
}

// RemoteAddr returns the address of the client.
func (c *Conn) RemoteAddr() net.Addr { return c.socket.RemoteAddr() }

// NetConn returns the connection that TLS, or HTTP, is spoken over: of an [Admitter], the
// one below.
func (c *Conn) NetConn() net.Conn {
	if a, ok := c.socket.Conn.(Admitter); ok {
		return a.NetConn()
	}
	return c.socket.Conn
}

// Wait waits up to d for the first byte of a request. It fails with [io.EOF] if the
// client ends the connection, and with an error that is [os.ErrDeadlineExceeded] if
// nothing came: then it may be called again.
func (c *Conn) Wait(d time.Duration) error {
	if c.in == nil {
		c.in = inputs.Get().(*input)
	}
	if len(c.in.buffered()) > 0 {
		return nil
	}
	c.Await(d)
	if c.woken.Load() { // possibly before Await, which has forgotten it
		return os.ErrDeadlineExceeded
	}
	return c.fill()
}

// Wake makes a Wait in progress fail, and all later ones. It also ends any other read in
// progress. It may be called by any goroutine.
func (c *Conn) Wake() {
	c.woken.Store(true)
	_ = c.socket.reading.expire()
}

// Rest gives the buffer back until the next Wait. There must be nothing in it: it is
// called after a Wait that has failed.
func (c *Conn) Rest() { c.releaseInput() }

// WriteBy sets when all writes end, that which goes on included, in addition to the limit
// of each. Zero is never.
func (c *Conn) WriteBy(t time.Time) {
	s := &c.socket
	if t.IsZero() {
		s.sendBy.Store(0)
	} else {
		s.sendBy.Store(int64(now().after(time.Until(t))))
	}
	s.writing.begin(s.sendStep())
}

// preface is what a connection with HTTP/2 begins with (RFC 9113, section 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Preface reads for up to d, as long as what comes is the preface of HTTP/2, and reports
// whether it is. What it read is still to be read. It is called after the first Wait.
func (c *Conn) Preface(d time.Duration) (bool, error) {
	c.Await(d)
	for {
		got := c.in.buffered()
		n := min(len(got), len(preface))
		if string(got[:n]) != preface[:n] {
			return false, nil
		}
		if n == len(preface) {
			return true, nil
		}
		if err := c.fill(); err != nil {
			return false, err
		}
	}
}

// Read reads what comes, whatever it is, for another protocol than HTTP/1.1: in the time
// that [*Conn.Await] gives.
func (c *Conn) Read(p []byte) (int, error) {
	if b := c.in.buffered(); len(b) > 0 {
		n := copy(p, b)
		if c.in.r += n; n == len(b) {
			c.releaseInput()
		}
		return n, nil
	}
	return c.rw.Read(p)
}

// A RequestLimit bounds the head of a request.
type RequestLimit struct {
	Bytes  int
	Fields int
	Time   time.Duration
}

// ReadRequest reads the head of a request. An error is a *[RequestError] if there is
// something to answer. After any the connection is to be closed.
func (c *Conn) ReadRequest(l *RequestLimit) (*RequestHead, error) {
	r, err := c.readRequest(l)
	if err != nil {
		c.body = broken
		if err == errBareLF {
			err = bad("the head of the request has a line that ends without CR LF")
		}
		return nil, err
	}
	return r, nil
}

func (c *Conn) readRequest(l *RequestLimit) (*RequestHead, error) {
	c.Await(l.Time)
	c.maxHead, c.headLeft, c.maxFields = l.Bytes, l.Bytes, l.Fields
	c.body, c.excess = unread, 0
	in := c.in
	in.floor = 0
	in.compact()
	in.request.reset()
	in.trailer = in.trailer.emptied()
	if err := c.skipLine(); err != nil {
		return nil, err
	}
	if err := c.readLines(requestLines); err != nil {
		return nil, err
	}
	r := &in.request
	if err := r.check(); err != nil {
		return nil, err
	}
	in.floor = in.r
	switch {
	case r.Chunked:
		c.body, c.chunk = chunked, chunkSize
	case r.ContentLength > 0:
		c.body, c.left = sized, r.ContentLength
	default:
		c.body = complete
	}
	return r, nil
}

// skipLine passes over one empty line, which some clients send after a body (RFC 9112,
// section 2.2).
func (c *Conn) skipLine() error {
	in := c.in
	for in.w == 0 || in.w == 1 && in.buf[0] == '\r' {
		if err := c.fill(); err != nil {
			return err
		}
	}
	if in.w >= 2 && in.buf[0] == '\r' && in.buf[1] == '\n' {
		in.r = 2
		in.compact()
	}
	for in.w == 0 {
		if err := c.fill(); err != nil {
			return err
		}
	}
	return nil
}

// Buffered reports whether all of the body, which has a length, is there already, and
// returns it if it is: it is valid until EndRequest.
func (c *Conn) Buffered() (body []byte, ok bool) {
	if c.body != sized || c.left > int64(len(c.in.buffered())) {
		return nil, false
	}
	body = c.in.buffered()[:c.left]
	c.in.r += int(c.left)
	// What is read next must not take its place.
	c.in.floor = c.in.r
	c.left, c.body = 0, complete
	return body, true
}

// EndRequest ends a request whose body was read to its end.
func (c *Conn) EndRequest() {
	in := c.in
	in.floor = 0
	if len(in.buffered()) == 0 {
		in.r, in.w = 0, 0
		if len(in.buf) > keptInputSize {
			c.releaseInput()
		}
	}
}

// Linger ends a connection whose client may still be sending: an answer that is on its
// way is lost if the socket is closed with something to read, because the kernel then
// sends a reset. It takes up to d and n bytes.
func (c *Conn) Linger(d time.Duration, n int64) {
	if c.CloseWrite() == nil {
		c.Await(d)
		scratch := outputs.Get().(*[]byte)
		b := (*scratch)[:cap(*scratch)]
		for n > 0 {
			m, err := c.socket.Read(b)
			n -= int64(m)
			if err != nil {
				break
			}
		}
		outputs.Put(scratch)
	}
	c.Abort()
}

// HandOver makes a connection that [Accepted] has returned, or the *tls.Conn over one, fit
// for code that does not know this package.
func HandOver(c net.Conn) {
	if s, ok := socketBelow(c); ok {
		s.handOver()
	}
}

// socketBelow returns what [Accepted] has returned: c, or what lies below a *tls.Conn, with
// whatever the handshake has put between the two.
func socketBelow(c net.Conn) (s *socket, ours bool) {
	secure, ok := c.(*tls.Conn)
	if !ok {
		s, ours = c.(*socket)
		return s, ours
	}
	below := secure.NetConn()
	for {
		if s, ours = below.(*socket); ours {
			return s, true
		}
		paced, ok := below.(interface{ NetConn() net.Conn })
		if !ok {
			return nil, false
		}
		below = paced.NetConn()
	}
}
