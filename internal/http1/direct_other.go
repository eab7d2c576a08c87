//go:build !linux || 386 || s390x || race || msan || asan

package http1

import "net"

// direct is not there.
type direct struct{ net.Conn }

func newDirect(net.Conn) *direct { return nil }
