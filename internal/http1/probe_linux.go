//go:build !386 && !s390x

package http1

import (
	"syscall"
	"unsafe"
)

// readByte reads a byte from a socket without waiting, even if somebody has let its descriptor
// block, as (*os.File).Fd does. So the scheduler need not be told of it, which is a tenth of
// what it takes.
func readByte(fd uintptr, p *[1]byte) (int, syscall.Errno) {
	n, _, err := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(p)), 1, syscall.MSG_DONTWAIT, 0, 0)
	return int(n), err
}
