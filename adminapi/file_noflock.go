//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd)

package adminapi

import (
	"errors"
	"os"
)

// lockFile refuses: without a lock that ends with the process, two of them could write.
func lockFile(*os.File) error { return errors.ErrUnsupported }
