//go:build !unix

package http1

import "net"

// initProbe leaves the connection to watch: no descriptor can be read without waiting.
func (s *socket) initProbe(net.Conn) {}
