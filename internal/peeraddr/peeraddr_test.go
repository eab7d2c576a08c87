package peeraddr_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/peeraddr"
)

func TestCustomer(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1:1":              "192.0.2.1/32",
		"[::ffff:192.0.2.1]:1":     "192.0.2.1/32",
		"[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1:2::/64",
		"[fe80::1%lo]:1":           "fe80::/64",
	} {
		tcp := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr))
		require.Equal(t, netip.MustParsePrefix(want), peeraddr.Customer(tcp), addr)
	}
	for _, addr := range []net.Addr{nil, &net.UnixAddr{Name: "@"}, &net.TCPAddr{}, (*net.TCPAddr)(nil)} {
		require.False(t, peeraddr.Customer(addr).IsValid())
		require.False(t, peeraddr.Of(addr).IsValid())
	}
}
