package gateway_test

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// A memoryListener yields the other ends of connections that tests open.
type memoryListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newMemoryListener() *memoryListener {
	return &memoryListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// dial opens a connection.
func (l *memoryListener) dial() net.Conn {
	ours, theirs := memoryPipe()
	l.conns <- theirs
	return ours
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *memoryListener) Addr() net.Addr { return memoryAddr }

var memoryAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}

// A memoryConn is an end of a connection in memory. Unlike that of [net.Pipe] it
// has room for what is on its way, as a socket has, so that two sides that write
// do not wait for each other. All waiting is on channels: time passes meanwhile in
// a synctest bubble.
type memoryConn struct {
	in, out      chan []byte
	rest         []byte // of what was read from in
	closed, peer chan struct{}
	once         *sync.Once
	reads        *memoryDeadline
	writes       *memoryDeadline
}

func memoryPipe() (a, b *memoryConn) {
	const room = 1000 // writes
	ab, ba := make(chan []byte, room), make(chan []byte, room)
	aClosed, bClosed := make(chan struct{}), make(chan struct{})
	end := func(in, out chan []byte, closed, peer chan struct{}) *memoryConn {
		return &memoryConn{in: in, out: out, closed: closed, peer: peer, once: new(sync.Once), reads: newMemoryDeadline(), writes: newMemoryDeadline()}
	}
	return end(ba, ab, aClosed, bClosed), end(ab, ba, bClosed, aClosed)
}

func (c *memoryConn) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		select {
		case <-c.reads.passed():
			return 0, os.ErrDeadlineExceeded
		case <-c.closed:
			return 0, net.ErrClosed
		default:
		}
		select {
		case c.rest = <-c.in:
		case <-c.closed:
			return 0, net.ErrClosed
		case <-c.reads.passed():
			return 0, os.ErrDeadlineExceeded
		case <-c.peer:
			select {
			case c.rest = <-c.in: // what was written before
			default:
				return 0, io.EOF
			}
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *memoryConn) Write(p []byte) (int, error) {
	select {
	case <-c.writes.passed():
		return 0, os.ErrDeadlineExceeded
	case <-c.closed:
		return 0, net.ErrClosed
	case <-c.peer:
		return 0, io.ErrClosedPipe
	default:
	}
	select {
	case c.out <- append([]byte(nil), p...):
		return len(p), nil
	case <-c.closed:
		return 0, net.ErrClosed
	case <-c.peer:
		return 0, io.ErrClosedPipe
	case <-c.writes.passed():
		return 0, os.ErrDeadlineExceeded
	}
}

func (c *memoryConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (c *memoryConn) LocalAddr() net.Addr  { return memoryAddr }
func (c *memoryConn) RemoteAddr() net.Addr { return memoryAddr }

func (c *memoryConn) SetDeadline(t time.Time) error {
	c.reads.set(t)
	c.writes.set(t)
	return nil
}

func (c *memoryConn) SetReadDeadline(t time.Time) error {
	c.reads.set(t)
	return nil
}

func (c *memoryConn) SetWriteDeadline(t time.Time) error {
	c.writes.set(t)
	return nil
}

// A memoryDeadline is a channel that is closed when a time has come. A wait that
// goes on while the time is set anew sees the new one.
type memoryDeadline struct {
	mu    sync.Mutex // guards what follows
	timer *time.Timer
	over  chan struct{}
}

func newMemoryDeadline() *memoryDeadline { return &memoryDeadline{over: make(chan struct{})} }

func (d *memoryDeadline) passed() chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.over
}

func (d *memoryDeadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.over // by the timer, which has fired
	}
	d.timer = nil
	over := false
	select {
	case <-d.over:
		over = true
	default:
	}
	switch wait := time.Until(t); {
	case t.IsZero() || wait > 0:
		if over {
			d.over = make(chan struct{})
		}
		if !t.IsZero() {
			done := d.over
			d.timer = time.AfterFunc(wait, func() { close(done) })
		}
	case !over:
		close(d.over)
	}
}
