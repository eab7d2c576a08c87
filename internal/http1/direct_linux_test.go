//go:build linux && !386 && !s390x && !race && !msan && !asan

package http1

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whatever happens, it returns what the connection's own methods do.
func TestDirectAsConn(t *testing.T) {
	reset := func(there *net.TCPConn) {
		_ = there.SetLinger(0)
		there.Close()
	}
	// sees waits until the connection has heard of something from the other side.
	sees := func(here *net.TCPConn) {
		control, err := here.SyscallConn()
		require.NoError(t, err)
		require.NoError(t, control.Read(func(fd uintptr) bool {
			n, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
			return n > 0 || err != syscall.EAGAIN
		}))
	}
	small, large := make([]byte, 8<<10), make([]byte, 2*maxDirect)
	for name, do := range map[string]func(via io.ReadWriter, here, there *net.TCPConn) (int, error){
		"data": func(via io.ReadWriter, _, there *net.TCPConn) (int, error) {
			_, _ = there.Write([]byte("hello"))
			p := make([]byte, 10)
			n, err := via.Read(p)
			require.Equal(t, "hello", string(p[:n]))
			return n, err
		},
		"data that is waited for": func(via io.ReadWriter, _, there *net.TCPConn) (int, error) {
			time.AfterFunc(time.Millisecond, func() { _, _ = there.Write([]byte("hello")) })
			return via.Read(make([]byte, 10))
		},
		"more than there is room for": func(via io.ReadWriter, here, there *net.TCPConn) (int, error) {
			_, _ = there.Write([]byte("hello"))
			sees(here)
			n, err := via.Read(make([]byte, 2))
			require.Equal(t, 2, n)
			m, _ := via.Read(make([]byte, 9))
			return n*100 + m, err
		},
		"no room": func(via io.ReadWriter, _, there *net.TCPConn) (int, error) {
			there.Close()
			return via.Read(nil)
		},
		"the end": func(via io.ReadWriter, _, there *net.TCPConn) (int, error) {
			there.Close()
			return via.Read(small)
		},
		"the end, in large": func(via io.ReadWriter, _, there *net.TCPConn) (int, error) {
			there.Close()
			return via.Read(large)
		},
		"reset": func(via io.ReadWriter, _, there *net.TCPConn) (int, error) {
			reset(there)
			return via.Read(small)
		},
		"late": func(via io.ReadWriter, here, _ *net.TCPConn) (int, error) {
			_ = here.SetReadDeadline(time.Now().Add(time.Millisecond))
			return via.Read(small)
		},
		"too late": func(via io.ReadWriter, here, there *net.TCPConn) (int, error) {
			_, _ = there.Write([]byte("hello"))
			sees(here)
			_ = here.SetReadDeadline(time.Unix(1, 0))
			return via.Read(small)
		},
		"closed": func(via io.ReadWriter, here, _ *net.TCPConn) (int, error) {
			here.Close()
			return via.Read(small)
		},
		"closed while it waits": func(via io.ReadWriter, here, _ *net.TCPConn) (int, error) {
			time.AfterFunc(time.Millisecond, func() { here.Close() })
			return via.Read(small)
		},
		"write": func(via io.ReadWriter, _, there *net.TCPConn) (int, error) {
			n, err := via.Write([]byte("hello"))
			p := make([]byte, 10)
			m, _ := there.Read(p)
			require.Equal(t, "hello", string(p[:m]))
			return n, err
		},
		"write nothing": func(via io.ReadWriter, _, _ *net.TCPConn) (int, error) { return via.Write(nil) },
		"write to one that has reset": func(via io.ReadWriter, here, there *net.TCPConn) (int, error) {
			reset(there)
			sees(here)
			_, first := via.Write(small)
			_, second := via.Write(small) // EPIPE, and no signal
			return 0, fmt.Errorf("%w, then %w", first, second)
		},
		"write after the last": func(via io.ReadWriter, here, _ *net.TCPConn) (int, error) {
			_ = here.CloseWrite()
			return via.Write(small)
		},
		"write to a closed one": func(via io.ReadWriter, here, _ *net.TCPConn) (int, error) {
			here.Close()
			return via.Write(small)
		},
		"write too late": func(via io.ReadWriter, here, _ *net.TCPConn) (int, error) {
			_ = here.SetWriteDeadline(time.Unix(1, 0))
			return via.Write(small)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var want, got string
			for _, way := range []struct {
				told *string
				of   func(*net.TCPConn) io.ReadWriter
			}{
				{&want, func(c *net.TCPConn) io.ReadWriter { return c }},
				{&got, func(c *net.TCPConn) io.ReadWriter { return newDirect(c) }},
			} {
				here, there := pair(t)
				n, err := do(way.of(here), here, there)
				ends := strings.NewReplacer(here.LocalAddr().String(), "here", here.RemoteAddr().String(), "there")
				*way.told = ends.Replace(fmt.Sprintf("%d, %v, %T", n, err, err))
			}
			require.Equal(t, want, got)
		})
	}
}

// A write that the other side takes a part of at a time is one write, and one that it takes
// no more of says how much it has taken.
func TestDirectWritesAll(t *testing.T) {
	here, there := pair(t)
	require.NoError(t, here.SetWriteBuffer(4<<10))
	d := newDirect(here)
	message := bytes.Repeat([]byte("0123456789abcdef"), maxDirect/16)
	const times = 40
	sent := make(chan error, 1)
	go func() {
		for range times {
			if n, err := d.Write(message); n != len(message) || err != nil {
				sent <- fmt.Errorf("%d: %w", n, err)
				return
			}
		}
		sent <- nil
	}()
	got := make([]byte, times*len(message))
	for at := 0; at < len(got); {
		n, err := there.Read(got[at:min(len(got), at+3001)])
		require.NoError(t, err)
		at += n
	}
	require.NoError(t, <-sent)
	require.True(t, bytes.Equal(bytes.Repeat(message, times), got))

	require.NoError(t, here.SetWriteDeadline(time.Now().Add(20*time.Millisecond)))
	total := 0
	for {
		n, err := d.Write(message)
		total += n
		if err != nil {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			break
		}
	}
	require.NoError(t, here.CloseWrite())
	rest, err := io.ReadAll(there)
	require.NoError(t, err)
	require.Len(t, rest, total)
}

// Who wraps a connection may want to see what comes: nothing goes past it.
func TestDirectPassesNobody(t *testing.T) {
	here, _ := pair(t)
	require.NotNil(t, newDirect(here))
	require.NotNil(t, newDirect(admitter{here}))
	require.Nil(t, newDirect(struct{ *net.TCPConn }{here}))
	require.Nil(t, newDirect(admitter{struct{ *net.TCPConn }{here}}))
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	require.Nil(t, newDirect(a))
}

type admitter struct{ net.Conn }

func (admitter) Admit() error        { return nil }
func (a admitter) NetConn() net.Conn { return a.Conn }

func TestDirectAllocs(t *testing.T) {
	here, there := pair(t)
	h, o := newDirect(here), newDirect(there)
	p, q := make([]byte, 100), make([]byte, 1000)
	require.Zero(t, testing.AllocsPerRun(200, func() {
		_, err := h.Write(p)
		if err == nil {
			_, err = o.Read(q)
		}
		if err != nil {
			t.Error(err)
		}
	}))
}
