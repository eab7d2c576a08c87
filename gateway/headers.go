package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Header names are compared as those read them who know letters and digits alone
// (CGI, WSGI, Rack: "-", "_" and ".", to some every other byte, become one): a
// header that is filtered by one spelling and read by another is no filter
// (CVE-2026-54763, CVE-2025-64484).

// identityNames are the header fields in which gateways tell an origin who the
// client is. A client that sends them itself is lying.
var identityNames = []string{
	"client-cert", "client-cert-chain", // RFC 9440
	"x-forwarded-client-cert",                         // Envoy
	"x-forwarded-tls-client-cert",                     // Traefik
	"x-forwarded-tls-client-cert-info",                //
	"x-client-verify", "x-client-dn", "x-client-cert", // nginx and Apache recipes
	"x-client-subject", "x-client-issuer", "x-client-serial", //
	"x-client-fingerprint", "x-verified", "ssl-client", //
	"x-client-cn", "x-client-san", "x-client-certificate", //
	"x-ssl-client", "x-ssl-cert", "x-ssl-issuer", //
	"x-arr-clientcert", // IIS
	"l5d-client-id",    // Linkerd
}

// identityPrefixes are the beginnings of families of such names.
var identityPrefixes = []string{
	"x-ssl-client-", "ssl-client-", // nginx's variables, and HAProxy's recipes
	"x-tls-client-", "tls-client-",
	"x-client-cert-", "x-mtls-",
	"x-amzn-mtls-", "cf-client-cert-", // load balancers of AWS and Cloudflare
}

// isForwarding reports whether a field is one in which a proxy tells what it saw, or
// who it let through. The gateway sets its own.
func isForwarding(name string) bool {
	return foldsTo(name, "forwarded") || foldsTo(name, "x-forwarded") || foldsTo(name, "x-real-ip") || beginsAs(name, "x-forwarded-")
}

// unwantedNames are never forwarded: HTTP2-Settings belongs to an upgrade that is
// not made (golang/go#80416), and Proxy becomes HTTP_PROXY (CVE-2016-5385).
var unwantedNames = []string{"http2-settings", "proxy"}

// foldsTo reports whether a name is, in the form in which names are compared, the
// given one.
func foldsTo(name, folded string) bool {
	return len(name) == len(folded) && beginsAs(name, folded)
}

// beginsAs is foldsTo for the beginning of a name.
func beginsAs(name, folded string) bool {
	if len(name) < len(folded) {
		return false
	}
	for i := range len(folded) {
		c := name[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		case !('a' <= c && c <= 'z' || '0' <= c && c <= '9'):
			c = '-'
		}
		if c != folded[i] {
			return false
		}
	}
	return true
}

// isIdentity reports whether a field is one in which a client would say who it is.
func isIdentity(name string) bool {
	return slices.ContainsFunc(identityNames, func(n string) bool { return foldsTo(name, n) }) ||
		slices.ContainsFunc(identityPrefixes, func(p string) bool { return beginsAs(name, p) })
}

// scrub deletes from the header of a request what a client cannot say of itself.
// trusted leaves it what a proxy in front says.
func scrub(h http.Header, trusted bool) {
	for name := range h {
		switch {
		case isIdentity(name), slices.ContainsFunc(unwantedNames, func(n string) bool { return foldsTo(name, n) }):
			delete(h, name)
		case isForwarding(name):
			// The other spellings are nobody's.
			if !trusted || !foldsTo(name, strings.ToLower(name)) {
				delete(h, name)
			}
		}
	}
}

// A sender is where a request came from.
type sender struct {
	peer    string // the address of the connection
	client  string // the address of the client: the right-most hop that is not trusted
	trusted bool   // whether the peer is a trusted proxy
}

func (s *Server) senderOf(r *http.Request) sender {
	peer, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		peer = r.RemoteAddr
	}
	from := sender{peer: peer, client: peer, trusted: s.trusts(peer)}
	if !from.trusted {
		return from
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		hop = strings.TrimSpace(hop)
		if hop == "" {
			continue
		}
		if addr, err := netip.ParseAddr(hop); err != nil || addr.Zone() != "" {
			break // what stands left of nonsense, nobody vouches for
		}
		from.client = hop
		if !s.trusts(hop) {
			break
		}
	}
	return from
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

// setForwarding writes what the gateway saw of a request into the header that
// goes to a node (X-Real-IP and X-Forwarded-*, as APISIX). What a trusted
// proxy said of scheme, host and port stays.
func setForwarding(out http.Header, in *http.Request, from sender) {
	hops := from.peer
	if from.trusted {
		if before := strings.Join(in.Header.Values("X-Forwarded-For"), ", "); before != "" {
			hops = before + ", " + from.peer
		}
	}
	out["X-Forwarded-For"] = []string{hops}
	out["X-Real-Ip"] = []string{from.client}
	scheme, port := "http", "80"
	if in.TLS != nil {
		scheme, port = "https", "443"
	}
	if local, ok := in.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if _, p, err := net.SplitHostPort(local.String()); err == nil {
			port = p
		}
	}
	for _, f := range []struct{ name, value string }{
		{"X-Forwarded-Proto", scheme},
		{"X-Forwarded-Host", in.Host},
		{"X-Forwarded-Port", port},
	} {
		if from.trusted && in.Header.Get(f.name) != "" {
			out[f.name] = in.Header[f.name]
			continue
		}
		out[f.name] = []string{f.value}
	}
}
