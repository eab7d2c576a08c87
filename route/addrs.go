package route

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// addrs is a set of addresses: ranges of which none has an address of another, in
// order. IPv4 addresses are in it as such, never within IPv6.
type addrs []netip.Prefix

// newAddrs returns the set of all addresses of some ranges, whose order it changes.
func newAddrs(ranges []netip.Prefix) addrs {
	slices.SortFunc(ranges, netip.Prefix.Compare) // by address, then the larger first
	s := ranges[:0]
	for _, r := range ranges {
		if n := len(s); n == 0 || !s[n-1].Contains(r.Addr()) {
			s = append(s, r)
		}
	}
	return slices.Clip(s)
}

// contains reports whether the set has an address, which must be plain. The zero
// Addr is in no set.
func (s addrs) contains(addr netip.Addr) bool {
	r, ok := s.before(addr)
	return ok && r.Contains(addr)
}

// before returns the last range that begins at an address or before it, which alone
// can have it.
func (s addrs) before(addr netip.Addr) (r netip.Prefix, ok bool) {
	i, found := slices.BinarySearchFunc(s, addr, func(p netip.Prefix, addr netip.Addr) int {
		return p.Addr().Compare(addr)
	})
	switch {
	case found:
		return s[i], true
	case i > 0:
		return s[i-1], true
	}
	return netip.Prefix{}, false
}

// covers reports whether every range of o lies in one of s.
func (s addrs) covers(o addrs) bool {
	return !slices.ContainsFunc(o, func(r netip.Prefix) bool {
		p, ok := s.before(r.Addr())
		return !ok || p.Bits() > r.Bits() || !p.Contains(r.Addr())
	})
}

// plainAddr returns an address as nginx would have it: IPv4 as such, and no zone.
func plainAddr(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

// parseRange reads an address, or a range in CIDR notation, of which bits behind the
// prefix are dropped. What IPv6 says of IPv4 becomes IPv4.
func parseRange(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("%q is no IPv4 or IPv6 address, nor a range such as 10.0.0.0/8", s)
		}
		if a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q has a zone, which is one of this machine alone", s)
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is no range in CIDR notation, such as 10.0.0.0/8", s)
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, fmt.Errorf("%q is more than the IPv4 addresses, which it writes as IPv6", s)
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}
