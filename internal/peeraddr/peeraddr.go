// Package peeraddr says what counts as one remote address where connections are
// limited.
package peeraddr

import (
	"net"
	"net/netip"
)

// Of returns the address of a TCP connection's end, an IPv4 address that is written as an
// IPv6 one as IPv4, without a zone, or the zero Addr for what is none.
func Of(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}

// Customer returns what is taken for one remote address: an IPv4 address, or an IPv6 /64,
// which is what one customer has. It is the zero Prefix for what is neither, such as the
// end of a Unix socket.
func Customer(a net.Addr) netip.Prefix {
	addr := Of(a)
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	prefix, _ := addr.Prefix(bits) // no error: there are as many bits
	return prefix
}

// Remote returns the address of a connection's other end. Some have none, such as what a
// program has wrapped, and net/http takes them: of those it is one that says nothing, and
// not nil.
func Remote(c net.Conn) net.Addr { return known(c.RemoteAddr()) }

// Local returns the address of a connection's own end, as Remote does.
func Local(c net.Conn) net.Addr { return known(c.LocalAddr()) }

func known(a net.Addr) net.Addr {
	if a == nil {
		return unknown{}
	}
	return a
}

type unknown struct{}

func (unknown) Network() string { return "" }
func (unknown) String() string  { return "" }
