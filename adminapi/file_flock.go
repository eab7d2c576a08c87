//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package adminapi

import (
	"errors"
	"os"
	"syscall"
)

// lockFile makes a file that of this process, until it is closed.
func lockFile(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			return errors.New(f.Name() + ": another process has it open")
		case err != nil:
			return &os.PathError{Op: "flock", Path: f.Name(), Err: err}
		}
		return nil
	}
}
