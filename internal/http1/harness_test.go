package http1

import (
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A script is a connection on which everything has been said already. It gives out
// at most step bytes at a time.
type script struct {
	net.Conn
	in      string
	step    int
	written strings.Builder
	closed  atomic.Bool
}

func (s *script) Read(p []byte) (int, error) {
	if s.in == "" {
		return 0, io.EOF
	}
	n := copy(p, s.in[:min(s.step, len(s.in))])
	s.in = s.in[n:]
	return n, nil
}

func (s *script) Write(p []byte) (int, error)      { return s.written.Write(p) }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }
func (s *script) Close() error                     { s.closed.Store(true); return nil }

// SyscallConn shows a descriptor over which nothing comes.
func (s *script) SyscallConn() (syscall.RawConn, error) { return quiet{}, nil }

type quiet struct{ syscall.RawConn }

func (quiet) Control(func(uintptr)) error { return nil }

// begin makes a connection that has begun an exchange, in which the server says that.
func begin(in string, step int) *Conn {
	c := NewConn(&script{in: in, step: step})
	c.Begin(time.Minute, 1<<12)
	return c
}

// steps are in what pieces a script is read: all at once, and byte by byte.
var steps = []int{1 << 20, 1, 7}

// readAll reads a body through a small buffer.
func readAll(c *Conn, size int) (string, error) {
	var all strings.Builder
	p := make([]byte, size)
	for {
		n, err := c.ReadBody(p)
		all.Write(p[:n])
		if err == io.EOF {
			return all.String(), nil
		}
		if err != nil {
			return all.String(), err
		}
	}
}

// rest is what comes after the response.
func rest(c *Conn) string {
	return string(c.in.buffered()) + c.socket.Conn.(*script).in
}

// pair returns the two ends of a connection over loopback.
func pair(t testing.TB) (ours, theirs *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	one, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	two, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() {
		one.Close()
		two.Close()
	})
	return one.(*net.TCPConn), two.(*net.TCPConn)
}
