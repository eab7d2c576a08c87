package freeport

import (
	"fmt"
	"io"
	"os"
	"syscall"
)

// hold binds a socket and does not listen. The kernel then gives the port neither to a
// connection nor to a listener on port 0, and lets those share it who set SO_REUSEADDR
// too, as long as only one of them listens (socket(7), inet_csk_bind_conflict).
func hold() (address string, held io.Closer, err error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", nil, os.NewSyscallError("socket", err)
	}
	file := os.NewFile(uintptr(fd), "port")
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return "", nil, os.NewSyscallError("bind", err)
	}
	// After bind: two sockets that share alike might be given one port.
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return "", nil, os.NewSyscallError("setsockopt", err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return "", nil, os.NewSyscallError("getsockname", err)
	}
	return fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port), file, nil
}
