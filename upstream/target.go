package upstream

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/internal/hostname"
)

// A target is where a node is, in the three forms that are needed.
type target struct {
	address string // "10.0.0.1:80", "[::1]:80": what is dialled, and who the node is
	host    string // its Host under PassNode: without the port if it is the scheme's
	name    string // canonical, without the port: what a certificate must be for
}

// newTarget reads a node's host and port. The port is checked by the caller.
// The error does not repeat the host.
//
//	a.test, A.Test             // accepted: the same name
//	10.0.0.1, ::1, [::1]       // accepted: addresses
//	fe80::1%eth0               // accepted: the zone is for the dialler alone
//	a.test:80, http://a.test   // refused: the port has a field, the scheme too
//	127.1, 10.0.0.256          // refused: neither name nor address, to some an address
func newTarget(n Node, https bool) (target, error) {
	dial, name, err := parseNodeHost(n.Host)
	if err != nil {
		return target{}, err
	}
	schemes := 80
	if https {
		schemes = 443
	}
	port := n.Port
	if port == 0 {
		port = schemes
	}
	t := target{
		address: net.JoinHostPort(dial, strconv.Itoa(port)),
		host:    name,
		name:    name,
	}
	if port != schemes {
		t.host += ":" + strconv.Itoa(port)
	}
	return t, nil
}

// parseNodeHost returns what to dial, without brackets, and the canonical name,
// which has brackets around an IPv6 address and neither zone nor trailing dot.
func parseNodeHost(host string) (dial, name string, err error) {
	bare := host
	if inner, ok := strings.CutPrefix(host, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); ok && strings.Contains(inner, ":") {
			bare = inner
		}
	}
	if addr, err := netip.ParseAddr(bare); err == nil {
		if _, ok := hostname.Canonical(addr.Zone()); !ok && addr.Zone() != "" {
			return "", "", errors.New("has a zone that is no name of a network interface")
		}
		addr = addr.Unmap() // ::ffff:10.0.0.1 is 10.0.0.1
		name = addr.WithZone("").String()
		if addr.Is6() {
			name = "[" + name + "]"
		}
		return addr.String(), name, nil
	}

	switch {
	case strings.Contains(host, "/"):
		return "", "", errors.New("must be a name or an address, and not a URL: the scheme, the port and the path have their own places")
	case strings.Contains(host, ":"):
		return "", "", errors.New("must be a name or an address alone: the port goes into Port")
	}
	name, ok := hostname.Canonical(host)
	if !ok {
		return "", "", errors.New("is neither a name nor an address")
	}
	// What ends in a number is an address to a resolver that follows inet_aton
	// (127.1 is the loopback) and a name to one that does not.
	if last := name[strings.LastIndexByte(name, '.')+1:]; strings.Trim(last, "0123456789") == "" {
		return "", "", errors.New("is no IP address, and a name must not end in a number")
	}
	dial = name
	if strings.HasSuffix(host, ".") {
		dial += "." // absolute: the resolver must not try its search list
	}
	return dial, name, nil
}
