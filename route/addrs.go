package route

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// addrs is a set of addresses: ranges that neither overlap nor touch, in order.
// IPv4 addresses are in it as such, never within IPv6.
type addrs []addrRange

type addrRange struct{ first, last netip.Addr }

// contains reports whether the set has an address. The zero Addr is in no set.
func (s addrs) contains(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	i, found := slices.BinarySearchFunc(s, a, func(r addrRange, a netip.Addr) int { return r.first.Compare(a) })
	return found || i > 0 && a.Compare(s[i-1].last) <= 0
}

// covers reports whether s has every address that o has.
func (s addrs) covers(o addrs) bool {
	return !slices.ContainsFunc(o, func(r addrRange) bool {
		// As ranges of s do not touch, it must be one of them.
		return !slices.ContainsFunc(s, func(mine addrRange) bool {
			return mine.first.Compare(r.first) <= 0 && r.last.Compare(mine.last) <= 0
		})
	})
}

// newAddrs returns the set of all addresses of some prefixes.
func newAddrs(prefixes []netip.Prefix) addrs {
	var s addrs
	for _, p := range prefixes {
		s = append(s, addrRange{p.Masked().Addr(), lastAddr(p)})
	}
	slices.SortFunc(s, func(a, b addrRange) int { return a.first.Compare(b.first) })
	merged := s[:0]
	for _, r := range s {
		if n := len(merged); n > 0 && touches(merged[n-1], r) {
			if r.last.Compare(merged[n-1].last) > 0 {
				merged[n-1].last = r.last
			}
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

// touches reports whether b, which does not begin before a, overlaps a or follows
// it without a gap.
func touches(a, b addrRange) bool {
	if a.first.BitLen() != b.first.BitLen() {
		return false
	}
	next := a.last.Next() // the zero Addr behind the last one
	return b.first.Compare(a.last) <= 0 || next.IsValid() && b.first == next
}

func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := range b {
		switch host := p.Bits() - 8*i; {
		case host <= 0:
			b[i] = 0xff
		case host < 8:
			b[i] |= 0xff >> host
		}
	}
	a, _ := netip.AddrFromSlice(b) // of 4 or 16 bytes, as it was
	return a
}

// parseAddrs reads an address or a range in CIDR notation.
func parseAddrs(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return p, fmt.Errorf("%q is no range in CIDR notation, such as 10.0.0.0/8", s)
		}
		if p.Addr().Is4In6() {
			if p.Bits() < 96 {
				return p, fmt.Errorf("%q is more than the IPv4 addresses, which it writes as IPv6", s)
			}
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		return p, nil
	}
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
