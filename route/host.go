package route

import (
	"fmt"
	"strings"

	"github.com/sallyport/sallyport/internal/hostname"
)

// A hostPattern is a configured host: a canonical pattern and, unless it is empty,
// the port that must stand behind the name.
type hostPattern struct{ name, port string }

// parseHost reads a configured host.
func parseHost(s string) (hostPattern, error) {
	name, port := s, ""
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') && strings.Trim(s[i+1:], "0123456789") == "" {
		name, port = s[:i], strings.TrimLeft(s[i+1:], "0")
		if len(port) == 0 || len(port) > 5 || len(port) == 5 && port > "65535" {
			return hostPattern{}, fmt.Errorf("%q: %q is no port", s, s[i+1:])
		}
	}
	canonical, err := hostname.CanonicalPattern(name)
	if err != nil {
		return hostPattern{}, fmt.Errorf("%q: %w", s, err)
	}
	return hostPattern{canonical, port}, nil
}

// PortOf returns the [Request.Port] for a Host field or an :authority. The Host must be
// valid: a name and, perhaps, a port.
//
//	a.test:8080  // 8080
//	[::1]:0080   // 80
//	a.test       // nothing
func PortOf(host string) string {
	i := strings.LastIndexByte(host, ':')
	if i <= strings.LastIndexByte(host, ']') {
		return ""
	}
	return strings.TrimLeft(host[i+1:], "0")
}

// fits reports whether a pattern fits a request's host.
func (h hostPattern) fits(req *Request) bool {
	return (h.port == "" || h.port == req.Port) && nameFits(h.name, req.Host)
}

// nameFits is what an [hostname.Index] does for all patterns at once.
func nameFits(pattern, name string) bool {
	suffix, star := strings.CutPrefix(pattern, "*")
	if !star {
		return pattern == name
	}
	return name != "" && strings.HasSuffix(name, suffix)
}

// covers reports whether every host that fits o fits h.
func (h hostPattern) covers(o hostPattern) bool {
	if h.port != "" && h.port != o.port {
		return false
	}
	suffix, star := strings.CutPrefix(h.name, "*")
	if !star {
		return h.name == o.name
	}
	return strings.HasSuffix(o.name, suffix)
}

// hostNames returns the texts of hosts, as [New] has read them.
func hostNames(hosts []hostPattern) (names []string) {
	for _, h := range hosts {
		name := h.name
		if h.port != "" {
			name += ":" + h.port
		}
		names = append(names, name)
	}
	return names
}
