//go:build linux && !386 && !s390x && !race && !msan && !asan

package http1

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// direct reads from a TCP connection, and writes to it, as the connection's own methods do,
// but without telling the scheduler of each system call, which none of these can wait in.
// It costs a tenth of a microsecond to tell it, and more where all processors are in use: it
// gives that of a write that takes longer than 20 us, as those do that wake the other side,
// to another thread, and the two wake each other from then on. Small messages alone come
// here: nothing else runs on the processor meanwhile, nor does the collector begin.
//
// The race detector and the sanitizers are not told either of what is read and written: to
// MemorySanitizer it would be memory that nobody has written. With them, this is not there.
type direct struct {
	conn    *net.TCPConn
	control syscall.RawConn

	reading, writing  transfer
	receive, transmit func(fd uintptr) (done bool) // bound once, so that a call allocates nothing
}

// A transfer is a call of Read, of which there is one at a time, or of Write.
type transfer struct {
	p   []byte
	n   int
	err syscall.Errno
}

// maxDirect is how much one system call copies at most.
const maxDirect = 16 << 10

// newDirect returns nil if c is something else, or has something else in front: who wraps a
// connection may want to see what comes.
func newDirect(c net.Conn) *direct {
	if a, ok := c.(Admitter); ok {
		c = a.NetConn()
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	control, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	d := &direct{conn: tcp, control: control}
	d.receive, d.transmit = d.reading.receive, d.writing.transmit
	return d
}

// Read implements [io.Reader].
func (d *direct) Read(p []byte) (int, error) {
	if len(p) == 0 || len(p) > maxDirect {
		return d.conn.Read(p)
	}
	d.reading = transfer{p: p}
	err := d.control.Read(d.receive)
	t := d.reading
	d.reading.p = nil
	if err == nil && t.err == 0 && t.n == 0 {
		return 0, io.EOF
	}
	return t.n, d.failed("read", err, t.err)
}

// Write implements [io.Writer].
func (d *direct) Write(p []byte) (int, error) {
	if len(p) == 0 || len(p) > maxDirect {
		return d.conn.Write(p)
	}
	d.writing = transfer{p: p}
	err := d.control.Write(d.transmit)
	t := d.writing
	d.writing.p = nil
	return t.n, d.failed("write", err, t.err)
}

// failed returns the error that the connection's own methods return, or nil.
func (d *direct) failed(op string, err error, errno syscall.Errno) error {
	if op2, ok := err.(*net.OpError); ok {
		op2.Op = op // and not "raw-read"
	}
	if err == nil && errno != 0 {
		err = &net.OpError{Op: op, Net: "tcp", Source: d.conn.LocalAddr(), Addr: d.conn.RemoteAddr(), Err: os.NewSyscallError(op, errno)}
	}
	return err
}

// receive reports false if there is nothing to read, and it is to be called when there is.
func (t *transfer) receive(fd uintptr) (done bool) {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd,
			uintptr(unsafe.Pointer(unsafe.SliceData(t.p))), uintptr(len(t.p)), syscall.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			t.n = int(n)
			return true
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			t.err = errno
			return true
		}
	}
}

// transmit reports false if nothing more can be written now.
func (t *transfer) transmit(fd uintptr) (done bool) {
	for {
		p := t.p[t.n:]
		n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, fd,
			uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			if t.n += int(n); t.n == len(t.p) {
				return true
			}
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			t.err = errno
			return true
		}
	}
}
