package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/internal/fieldname"
	"github.com/sallyport/sallyport/route"
)

// A sender is where a request came from.
type sender struct {
	peer    string // the address at the other end of the connection, or empty if there is none
	client  string // the address of the client: the right-most hop that is not trusted
	trusted bool   // whether the peer is a trusted proxy

	// Of a trusted proxy: what it says in X-Forwarded-For, and in which other fields
	// it says something that stays.
	hops                          string
	saysProto, saysHost, saysPort said
	scheme                        string // by X-Forwarded-Proto: "http", "https" or, if it says neither, empty
}

// said is what the first field of a name says.
type said uint8

const (
	saidNothing said = iota // there is none
	saidEmpty
	saidSomething
)

// senderOf returns where a request came from.
func (s *Server) senderOf(r *http.Request) sender {
	from := s.newSender(peerOf(r.RemoteAddr))
	if from.trusted {
		for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port"} {
			for _, value := range r.Header[name] {
				from.hear(name, value)
			}
		}
		s.findClient(&from)
	}
	return from
}

// peerOf returns the address of a connection's other end: without its port, which middleware
// may have taken off already, or "" if there is none, as with a Unix socket.
func peerOf(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	if _, err := netip.ParseAddr(host); err != nil {
		return ""
	}
	return host
}

// newSender returns the sender that a connection alone tells of. If it is trusted, it
// must then hear the fields of the header, and [*Server.findClient] be called.
func (s *Server) newSender(peer string) sender {
	return sender{peer: peer, client: peer, trusted: s.trusts(peer)}
}

// hear takes what a trusted proxy says in a field of the header, of whatever name.
func (s *sender) hear(name, value string) {
	if len(name) < len("x-forwarded-for") || len(name) > len("x-forwarded-proto") || name[0]|0x20 != 'x' {
		return
	}
	var said *said
	switch {
	case strings.EqualFold(name, "X-Forwarded-For"):
		if s.hops != "" {
			value = s.hops + ", " + value
		}
		s.hops = value
		return
	case strings.EqualFold(name, "X-Forwarded-Proto"):
		said = &s.saysProto
		if *said == saidNothing {
			s.scheme = schemeIn(value)
		}
	case strings.EqualFold(name, "X-Forwarded-Host"):
		said = &s.saysHost
	case strings.EqualFold(name, "X-Forwarded-Port"):
		said = &s.saysPort
	default:
		return
	}
	switch {
	case *said != saidNothing:
	case value == "":
		*said = saidEmpty
	default:
		*said = saidSomething
	}
}

// schemeIn returns the scheme that a field says, or "" if it says no other than http has. Some
// proxies say of a WebSocket, which is a request of http like any other, "wss" and "ws".
func schemeIn(value string) string {
	if len(value) > len("https") {
		return ""
	}
	switch strings.ToLower(value) { // not EqualFold, to which "ſ" is an s
	case "http", "ws":
		return "http"
	case "https", "wss":
		return "https"
	}
	return ""
}

// schemeOf returns the scheme that a connection alone tells of.
func schemeOf(https bool) string {
	if https {
		return "https"
	}
	return "http"
}

// findClient finds the client of a trusted proxy that was heard.
func (s *Server) findClient(from *sender) {
	for rest, more := from.hops, from.hops != ""; more; {
		var hop string
		if i := strings.LastIndexByte(rest, ','); i >= 0 {
			rest, hop = rest[:i], rest[i+1:]
		} else {
			hop, more = rest, false
		}
		if hop = strings.TrimSpace(hop); hop == "" {
			continue
		}
		if addr, err := netip.ParseAddr(hop); err != nil || addr.Zone() != "" {
			return // what stands left of nonsense, nobody vouches for
		}
		from.client = hop
		if !s.trusts(hop) {
			return
		}
	}
}

func (s *Server) trusts(addr string) bool {
	if len(s.o.TrustedProxies) == 0 {
		return false
	}
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return false
	}
	ip = ip.Unmap().WithZone("")
	return slices.ContainsFunc(s.o.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// keeps reports whether a field about forwarding stays as the sender says it. What the
// gateway writes itself does not, nor do other spellings: those are nobody's.
func (s *sender) keeps(name string) bool {
	if !s.trusted || !fieldname.IsPlain(name) {
		return false
	}
	switch {
	case strings.EqualFold(name, "X-Forwarded-For"), strings.EqualFold(name, "X-Real-Ip"):
		return false
	case strings.EqualFold(name, "X-Forwarded-Proto"):
		return s.saysProto == saidSomething
	case strings.EqualFold(name, "X-Forwarded-Host"):
		return s.saysHost == saidSomething
	case strings.EqualFold(name, "X-Forwarded-Port"):
		return s.saysPort == saidSomething
	default:
		return true
	}
}

// An arrival is what the gateway itself knows of a request.
type arrival struct {
	from  sender
	https bool
	host  string // the Host or :authority, as it came
	port  string // that the client connected to, or empty

	identityNames *nameSet // of the snapshot; decide sets it
}

// arrivalOf returns what the gateway saw of a request.
func (s *Server) arrivalOf(r *http.Request) arrival {
	a := arrival{from: s.senderOf(r), https: r.TLS != nil, host: r.Host}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if _, port, err := net.SplitHostPort(local.String()); err == nil {
			a.port = port
		}
	}
	return a
}

// appendForwarding appends the fields in which the target of a request is told what the
// gateway saw of it (X-Real-IP and X-Forwarded-*, as APISIX). What a trusted proxy said of
// scheme, host and port stays, and is not said again. Of a peer without an address, none is
// said: "@" is no hop.
func (a *arrival) appendForwarding(list []route.HeaderField) []route.HeaderField {
	hops := a.from.peer
	if a.from.hops != "" {
		hops = a.from.hops + ", " + a.from.peer
	}
	if hops != "" {
		list = append(list, route.HeaderField{Name: "X-Forwarded-For", Value: hops}, route.HeaderField{Name: "X-Real-Ip", Value: a.from.client})
	}
	port := "80"
	if a.https {
		port = "443"
	}
	if a.port != "" {
		port = a.port
	}
	if a.from.saysProto != saidSomething {
		list = append(list, route.HeaderField{Name: "X-Forwarded-Proto", Value: schemeOf(a.https)})
	}
	if a.from.saysHost != saidSomething {
		list = append(list, route.HeaderField{Name: "X-Forwarded-Host", Value: a.host})
	}
	if a.from.saysPort != saidSomething {
		list = append(list, route.HeaderField{Name: "X-Forwarded-Port", Value: port})
	}
	return list
}
