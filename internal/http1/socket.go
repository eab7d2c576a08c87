package http1

import (
	"errors"
	"io"
	"math"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A limit is a deadline, of reading or of writing, that costs next to nothing. To set
// one is a lock and a timer in the runtime for each read and each write of each
// request, and nearly none of them ever passes. So a connection is told of a later
// deadline only when the one that it knows has passed: what it knows is at most as
// late as what is due, and an expiry that comes too early sets it anew and goes on.
type limit struct {
	tell func(time.Time) error // sets the deadline of the connection

	mu    sync.Mutex // guards what follows
	due   moment     // zero: none
	told  moment     // what the connection knows; zero: nothing
	final bool       // due is the last that there will be
}

// A moment is a time by a clock of the process, in nanoseconds. To read it costs half of
// [time.Now], which reads two.
type moment int64

// epoch is before everything, so that no moment is zero.
var epoch = time.Now().Add(-time.Hour)

func now() moment { return moment(time.Since(epoch)) }

// after is the moment a time later, or the last or first that there is.
func (m moment) after(d time.Duration) moment {
	switch later := m + moment(d); {
	case d > 0 && later < m:
		return math.MaxInt64
	case d < 0 && later > m:
		return math.MinInt64
	default:
		return later
	}
}

// time is a moment as all others have it.
func (m moment) time(now moment) time.Time { return time.Now().Add(time.Duration(m - now)) }

// begin gives the peer until d from now. Zero is no limit. A connection that takes no
// deadline any more says why when it is used.
func (l *limit) begin(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.final:
	case d <= 0:
		l.due = 0
	default:
		now := now()
		l.due = now.after(d)
		if l.told == 0 || l.told > l.due {
			l.told = l.due
			_ = l.tell(l.due.time(now))
		}
	}
}

// early reports whether what ended with err came to a deadline that is not due, and
// may go on.
func (l *limit) early(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := now()
	if l.told == l.due || l.due != 0 && now >= l.due {
		return false
	}
	l.told = l.due
	if l.due == 0 {
		return l.tell(time.Time{}) == nil
	}
	return l.tell(l.due.time(now)) == nil
}

// expire ends the read or write that goes on.
func (l *limit) expire() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.due = now()
	l.told = l.due
	return l.tell(longAgo)
}

var longAgo = time.Unix(1, 0)

// end sets the last deadline.
func (l *limit) end(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.final, l.due = true, 0
	if !t.IsZero() {
		l.due = now().after(time.Until(t))
	}
	l.told = l.due
	return l.tell(t)
}

// A socket is the connection below TLS, or the connection itself without TLS.
type socket struct {
	net.Conn
	via     io.ReadWriter   // the same, by the shortest way
	owner   *Conn           // of a server's
	control syscall.RawConn // nil if the connection shows none that can be looked at

	reading limit
	writing limit

	sendLimit atomic.Int64 // of one write; zero: none
	sendBy    atomic.Int64 // the moment when all writes end; zero: never
	written   atomic.Int64 // bytes

	writeMu sync.Mutex // held while writing
	corked  *[]byte    // guarded by writeMu: if not nil, what is written is collected there

	eof     bool // reading came to the end
	probing bool // Read must not wait
	probe   func(fd uintptr)
	probed  int // what it read, or -1
	scratch [1]byte
	watched chan error // what the goroutine of watch found; nil if there is none

	handed atomic.Bool // somebody else has the connection: nothing here is between

	ahead ahead

	framed bool // TLS records come in: keep count of them
	header [recordHeader]byte
	nth    int // bytes of the header that came
	rest   int // bytes of the record that are to come
}

const recordHeader = 5 // bytes before each TLS record, the last two its length

func (s *socket) init(c net.Conn) {
	s.Conn, s.via = c, c
	if d := newDirect(c); d != nil {
		s.via = d
	}
	s.reading.tell = c.SetReadDeadline
	s.writing.tell = c.SetWriteDeadline
	s.initProbe(c)
}

// Admit lets an [Admitter] do what it has to.
func (s *socket) Admit() error {
	if a, ok := s.Conn.(Admitter); ok {
		return a.Admit()
	}
	return nil
}

func (s *socket) Read(p []byte) (int, error) {
	if s.probing {
		return 0, s.peek()
	}
	via := s.via
	if s.handed.Load() {
		via = s.Conn // whose Read may be called by several at a time
	}
	for {
		n, err := s.ahead.read(via, p)
		if err != nil && !s.handed.Load() {
			if n == 0 && s.reading.early(err) {
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

var (
	errSomething = errors.New("http1: the idle connection has something to read")
	errUnwatched = errors.New("http1: nobody knows what came over the idle connection")
)

// peek looks for something to read without waiting. The connection's own Read
// cannot do that: with a deadline that has passed it does not look.
func (s *socket) peek() error {
	if s.control == nil {
		return s.unwatch()
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

// watch begins to look for something to read, until peek asks for what was found. On a
// connection without a descriptor to look at, only a read that waits can find it.
func (s *socket) watch() {
	if s.control != nil {
		return
	}
	s.reading.begin(0)
	found := make(chan error, 1)
	s.watched = found
	go func() {
		for {
			n, err := s.Conn.Read(s.scratch[:])
			switch {
			case n > 0 || err == nil:
				err = errSomething
			case s.reading.early(err):
				continue
			case errors.Is(err, os.ErrDeadlineExceeded):
				err = errNothing
			}
			found <- err
			return
		}
	}()
}

// unwatch ends what watch began.
func (s *socket) unwatch() error {
	if s.watched == nil {
		return errUnwatched
	}
	if err := s.reading.expire(); err != nil {
		return err // the read ends when the connection is closed
	}
	err := <-s.watched
	s.watched = nil
	return err
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
			s.rest = recordSize(s.header[:])
		}
	}
}

// between reports whether the last byte that was read ended a record.
func (s *socket) between() bool { return s.rest == 0 && s.nth == 0 }

func (s *socket) Write(p []byte) (int, error) {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	if s.handed.Load() {
		return s.Conn.Write(p)
	}
	if s.corked != nil {
		*s.corked = append(*s.corked, p...)
		return len(p), nil
	}
	return s.send(p)
}

// writeSteps is in how many steps the time runs out in which the other side takes
// nothing: the runtime does not say when it took something last.
const writeSteps = 4

// send writes to the connection. s.writeMu is held. The limit is for the time in which
// the other side takes nothing: one that is slow may take long.
func (s *socket) send(p []byte) (n int, err error) {
	s.writing.begin(s.sendStep())
	for idle, progress := 0, 0; ; {
		m, err := s.via.Write(p[n:])
		n += m
		progress += m
		s.written.Add(int64(m))
		switch {
		case err == nil:
			return n, nil
		case s.writing.early(err):
			continue
		case !errors.Is(err, os.ErrDeadlineExceeded) || s.sendOver():
			return n, err
		case progress > 0:
			idle = 0
		}
		if idle++; idle == writeSteps {
			return n, err
		}
		progress = 0
		s.writing.begin(s.sendStep())
	}
}

// sendStep is the time for one step of a write; zero is no limit.
func (s *socket) sendStep() time.Duration {
	step := time.Duration(s.sendLimit.Load()) / writeSteps
	if by := moment(s.sendBy.Load()); by != 0 {
		left := time.Duration(1)
		if now := now(); by > now {
			left = max(time.Duration(by-now), left)
		}
		if step <= 0 || left < step {
			return left
		}
	}
	return step
}

// sendOver reports whether all writes are to have ended.
func (s *socket) sendOver() bool {
	by := moment(s.sendBy.Load())
	return by != 0 && now() >= by
}

// SetWriteDeadline is what crypto/tls calls before its last alert, and nobody else. It
// must not take as long as a request may, and ends a write that still waits.
func (s *socket) SetWriteDeadline(t time.Time) error {
	if s.handed.Load() {
		return s.Conn.SetWriteDeadline(t)
	}
	return s.writing.end(t)
}

// CloseWrite implements what net.TCPConn does, if there is one below.
func (s *socket) CloseWrite() error {
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// handOver makes the socket the connection below it, without deadlines.
func (s *socket) handOver() {
	s.handed.Store(true)
	s.sendLimit.Store(0)
	_ = s.reading.end(time.Time{})
	_ = s.writing.end(time.Time{})
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
