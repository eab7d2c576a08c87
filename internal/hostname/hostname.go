// Package hostname has the one canonical form of server names, and the index
// that finds what is configured for one.
//
// The name in a ClientHello (SNI), the Host of a request and every name in a
// configuration go through [Canonical], [CanonicalHost] and [CanonicalPattern],
// and are then looked up in the same kind of [Index]. Gateways in which the two
// sides disagreed about case, a trailing dot or a wildcard served a protected
// name without its protection (CVE-2022-23632, CVE-2026-48491, CVE-2026-53622).
package hostname

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// The limits of the domain name system (RFC 1035, section 2.3.4).
const (
	maxName  = 253
	maxLabel = 63
)

// Canonical returns the canonical form of a single name: lower case, without
// the trailing dot of an absolute name. An IPv6 address stands in brackets and
// is shortened (RFC 5952). It reports false for what is no name: empty, over 253
// bytes, an empty label or one over 63 bytes, or a byte that is none of
// a-z A-Z 0-9 - _ and the dot. Names beyond ASCII must come in their xn-- form.
//
//	a.test, A.TEST, a.test.   // a.test
//	10.0.0.1                  // 10.0.0.1
//	[2001:DB8:0::1]           // [2001:db8::1]
//	*.test, a..test, a b, ü   // no names
//
// The underscore is no part of a host name (RFC 952), but of names in use.
// A name that is canonical already is returned as it is, without allocation.
func Canonical(name string) (string, bool) {
	if strings.HasPrefix(name, "[") {
		return canonicalIPv6(name)
	}
	name = strings.TrimSuffix(name, ".")
	if len(name) == 0 || len(name) > maxName {
		return "", false
	}
	upper, ok := scan(name)
	if !ok {
		return "", false
	}
	if upper {
		name = strings.ToLower(name)
	}
	return name, true
}

// scan reports whether name has the bytes and the labels of one, and whether there
// are upper-case letters among them. It does not look at the length of the whole.
func scan(name string) (upper, ok bool) {
	label := 0 // where the current label begins
	for i := 0; i < len(name); i++ {
		switch kind[name[i]] {
		case lower:
		case upperCase:
			upper = true
		case dot:
			if i == label || i-label > maxLabel {
				return false, false
			}
			label = i + 1
		default:
			return false, false
		}
	}
	return upper, label < len(name) && len(name)-label <= maxLabel
}

// What a byte may be in a name.
const (
	forbidden = iota
	lower     // a byte that stays as it is
	upperCase
	dot
)

var kind = func() (k [256]uint8) {
	for c := range len(k) {
		switch c := byte(c); {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
			k[c] = lower
		case 'A' <= c && c <= 'Z':
			k[c] = upperCase
		case c == '.':
			k[c] = dot
		}
	}
	return k
}()

func canonicalIPv6(s string) (string, bool) {
	inner, ok := strings.CutSuffix(s[1:], "]")
	if !ok {
		return "", false
	}
	a, err := netip.ParseAddr(inner)
	if err != nil || !a.Is6() || a.Zone() != "" {
		return "", false
	}
	if c := a.String(); c != inner {
		return "[" + c + "]", true
	}
	return s, true
}

// CanonicalHost returns the canonical name in a Host header or an :authority:
// [Canonical] of what stands before the port. The port may be empty (RFC 3986,
// section 3.2.3) and is not looked at otherwise than that it is a number of at
// most five digits. User information is refused (RFC 9110, section 4.2.4), and
// so is a list: a host that two parties read differently is the first half of
// an attack.
func CanonicalHost(host string) (string, bool) {
	end := len(host)
	if strings.HasPrefix(host, "[") {
		if i := strings.IndexByte(host, ']'); i >= 0 {
			end = i + 1
		}
	} else if i := strings.IndexByte(host, ':'); i >= 0 {
		end = i
	}
	if end < len(host) {
		port := host[end:]
		if port[0] != ':' || len(port) > 1+5 {
			return "", false
		}
		for _, c := range []byte(port[1:]) {
			if c < '0' || c > '9' {
				return "", false
			}
		}
	}
	return Canonical(host[:end])
}

// CanonicalPattern returns the canonical form of a configured name: a name as
// for [Canonical], or one with a star before it. The error says which rule is
// broken, without repeating the name.
//
//	a.test     // that name
//	*.a.test   // what ends in .a.test
//	*a.test    // what ends in a.test, a.test included
//	*          // every name
func CanonicalPattern(pattern string) (string, error) {
	if pattern == "*" {
		return pattern, nil
	}
	rest, star := strings.CutPrefix(pattern, "*")
	name, dotted := rest, false
	if star {
		name, dotted = strings.CutPrefix(rest, ".")
	}
	canonical, ok := Canonical(name)
	if !ok || star && strings.HasPrefix(name, "[") {
		return "", patternError(name)
	}
	switch {
	case !star:
		return canonical, nil
	case dotted:
		return "*." + canonical, nil
	default:
		return "*" + canonical, nil
	}
}

func patternError(name string) error {
	switch {
	case name == "" || name == ".":
		return errors.New("is empty")
	case strings.Contains(name, "*"):
		return errors.New(`a star must be the first character, as in "*.example.com"`)
	case strings.HasPrefix(name, "["):
		return errors.New("is no IPv6 address")
	case strings.ContainsAny(name, ":/"):
		return errors.New("must be a name alone, without scheme, port or path")
	case len(name) > maxName+1:
		return fmt.Errorf("is longer than %d bytes", maxName)
	}
	for _, c := range []byte(name) {
		if c >= 0x80 {
			return errors.New(`has bytes beyond ASCII: write its "xn--" form`)
		}
		if kind[c] == forbidden {
			return errors.New("has a character that is none of a-z 0-9 - _ and the dot")
		}
	}
	return fmt.Errorf("has a label that is empty or longer than %d bytes", maxLabel)
}
