package http1

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A socket is the connection below TLS, or the connection itself without TLS.
//
// It has deadlines that cost next to nothing. To set a deadline is a lock and a
// timer in the runtime for each read and each write of each request, and nearly
// none of them ever passes. So a deadline is moved forward only when it passes:
// what the system knows is at most as late as what is due, and an expiry that
// comes too early sets the deadline anew and goes on.
type socket struct {
	net.Conn
	control syscall.RawConn // nil if the connection shows none

	readMu  sync.Mutex // guards the next two
	readDue time.Time  // zero: no limit
	readSet time.Time  // what the connection was told; zero: nothing

	writeMu  sync.Mutex // guards the next three, and is held while writing
	writeSet time.Time
	writeBy  time.Time // set by SetWriteDeadline
	corked   *[]byte   // if not nil, what is written is collected there

	sendLimit atomic.Int64 // of one write; zero: none
	written   atomic.Int64 // bytes

	eof     bool // reading came to the end
	probing bool // Read must not wait
	probe   func(fd uintptr)
	probed  int // what it read, or -1
	scratch [1]byte

	framed bool // TLS records come in: keep count of them
	header [recordHeader]byte
	nth    int // bytes of the header that came
	rest   int // bytes of the record that are to come
}

const recordHeader = 5 // bytes before each TLS record, the last two its length

func (s *socket) init(c net.Conn) {
	s.Conn = c
	if sc, ok := c.(syscall.Conn); ok {
		if control, err := sc.SyscallConn(); err == nil {
			s.control = control
		}
	}
	s.probe = s.readNow // bound once, so that a probe allocates nothing
}

// await gives the peer until d from now, for all reads until the next await. Zero is
// no limit. A connection that takes no deadline any more says why when it is read.
func (s *socket) await(d time.Duration) {
	s.readMu.Lock()
	defer s.readMu.Unlock()
	if d <= 0 {
		s.readDue = time.Time{}
		return
	}
	s.readDue = time.Now().Add(d)
	if s.readSet.IsZero() || s.readSet.After(s.readDue) {
		s.readSet = s.readDue
		_ = s.Conn.SetReadDeadline(s.readDue)
	}
}

// readOn reports whether a read that came to its deadline may go on.
func (s *socket) readOn() bool {
	s.readMu.Lock()
	defer s.readMu.Unlock()
	due := s.readDue
	if s.readSet.Equal(due) || !due.IsZero() && !time.Now().Before(due) {
		return false
	}
	s.readSet = due
	return s.Conn.SetReadDeadline(due) == nil
}

func (s *socket) Read(p []byte) (int, error) {
	if s.probing {
		return 0, s.peek()
	}
	for {
		n, err := s.Conn.Read(p)
		if err != nil {
			if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && s.readOn() {
				continue
			}
			s.eof = true
		}
		if s.framed {
			s.count(p[:n])
		}
		return n, err
	}
}

// errNothing is what a probe finds on a connection that is as it should be. To
// crypto/tls it is an error after which reading may go on.
var errNothing net.Error = nothingError{}

type nothingError struct{}

func (nothingError) Error() string   { return "http1: nothing to read" }
func (nothingError) Timeout() bool   { return true }
func (nothingError) Temporary() bool { return true }

var errSomething = errors.New("http1: the idle connection has something to read")

// peek looks for something to read without waiting. The connection's own Read
// cannot do that: with a deadline that has passed it does not look.
func (s *socket) peek() error {
	if s.control == nil {
		return errNothing // that can be seen
	}
	s.probed = -1
	if err := s.control.Control(s.probe); err != nil {
		return err
	}
	if s.probed >= 0 {
		return errSomething // data or the end, and neither was asked for
	}
	return errNothing
}

// count keeps track of where TLS records begin.
func (s *socket) count(p []byte) {
	for len(p) > 0 {
		if s.rest > 0 {
			n := min(s.rest, len(p))
			s.rest -= n
			p = p[n:]
			continue
		}
		s.header[s.nth] = p[0]
		p = p[1:]
		if s.nth++; s.nth == recordHeader {
			s.nth = 0
			s.rest = int(s.header[3])<<8 | int(s.header[4])
		}
	}
}

// between reports whether the last byte that was read ended a record.
func (s *socket) between() bool { return s.rest == 0 && s.nth == 0 }

func (s *socket) Write(p []byte) (int, error) {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	if s.corked != nil {
		*s.corked = append(*s.corked, p...)
		return len(p), nil
	}
	return s.send(p)
}

// send writes to the connection. s.writeMu is held.
func (s *socket) send(p []byte) (n int, err error) {
	due := s.writeBy
	if limit := s.sendLimit.Load(); limit > 0 && due.IsZero() {
		due = time.Now().Add(time.Duration(limit))
		if s.writeSet.IsZero() || s.writeSet.After(due) {
			s.writeSet = due
			_ = s.Conn.SetWriteDeadline(due)
		}
	}
	for {
		m, err := s.Conn.Write(p[n:])
		n += m
		s.written.Add(int64(m))
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if s.writeSet.Equal(due) || !due.IsZero() && !time.Now().Before(due) {
			return n, err
		}
		s.writeSet = due
		_ = s.Conn.SetWriteDeadline(due)
	}
}

// SetWriteDeadline is what crypto/tls calls before its last alert, and nobody else.
// It must not take as long as a request may.
func (s *socket) SetWriteDeadline(t time.Time) error {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	s.writeBy, s.writeSet = t, t
	return s.Conn.SetWriteDeadline(t)
}

// cork lets what is written be collected in b.
func (s *socket) cork(b *[]byte) {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	s.corked = b
}

// uncork sends what was collected.
func (s *socket) uncork() error {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	b := s.corked
	s.corked = nil
	_, err := s.send(*b)
	return err
}
