//go:build unix && (!linux || 386 || s390x)

package http1

import "syscall"

// readByte reads a byte from a descriptor.
func readByte(fd uintptr, p *[1]byte) (int, syscall.Errno) {
	n, err := syscall.Read(int(fd), p[:])
	errno, _ := err.(syscall.Errno)
	return n, errno
}
