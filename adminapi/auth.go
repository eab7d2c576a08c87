package adminapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/internal/hostname"
)

// A gate says who is let in.
type gate struct {
	shut        bool           // to everybody, but for the status page
	pageShut    bool           // that too
	keys        []hashedKey    // none: loopback alone
	clients     []netip.Prefix // none: any
	crossOrigin *http.CrossOriginProtection
}

// A hashedKey is a key of which only the hash is kept: the hashes are of one
// length, so that comparing them takes the same time for every key.
type hashedKey struct {
	sum  [sha256.Size]byte
	role Role
}

func newGate(o *Options) *gate {
	g := &gate{shut: o.Headless, pageShut: len(o.Keys) == 0 && !o.AllowUnauthenticated, crossOrigin: http.NewCrossOriginProtection()}
	for _, p := range o.AllowClients {
		if p.Addr().Is4In6() && p.Bits() >= 96 { // addresses are compared as what they are
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		g.clients = append(g.clients, p)
	}
	for _, k := range o.Keys {
		g.keys = append(g.keys, hashedKey{sha256.Sum256([]byte(k.Value)), k.Role})
	}
	return g
}

// check returns the refusal of a request, or nil.
func (g *gate) check(r *http.Request) *failure {
	if g.shut {
		return &failure{status: http.StatusForbidden, text: "this gateway has no Admin API"}
	}
	if f := g.checkAddr(r); f != nil {
		return f
	}
	if r.Method == http.MethodOptions {
		return nil // which is answered without a look at anything
	}
	if f := g.checkOrigin(r); f != nil {
		return f
	}
	return g.checkKey(r, r.Header.Get("X-API-KEY"))
}

// checkPage is check for the status page, whose key may also come as the password of HTTP's
// Basic authentication: see [*Handler.StatusPage].
func (g *gate) checkPage(r *http.Request) *failure {
	if g.pageShut {
		return &failure{status: http.StatusForbidden, text: "the status page needs a key: set Options.Keys"}
	}
	if f := g.checkAddr(r); f != nil {
		return f
	}
	// A link to the page may stand anywhere: whoever follows it sees the page, and where it
	// stood learns nothing. Whatever else a page of another origin does, is refused.
	if !followsLink(r) {
		if f := g.checkOrigin(r); f != nil {
			return f
		}
	}
	key := r.Header.Get("X-API-KEY")
	if _, password, ok := r.BasicAuth(); ok && key == "" {
		key = password
	}
	return g.checkKey(r, key)
}

// followsLink reports whether a browser asks for a page to show it in a window of its own
// (Fetch Metadata Request Headers, section 2).
func followsLink(r *http.Request) bool {
	return r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}

// checkAddr returns the refusal of a request for where it comes from, or nil.
func (g *gate) checkAddr(r *http.Request) *failure {
	if len(g.clients) > 0 && !g.allows(r.RemoteAddr) {
		return &failure{status: http.StatusForbidden, text: "requests from this address are refused"}
	}
	return nil
}

// checkOrigin returns the refusal of a request that a browser makes for a page of another
// origin, or nil.
func (g *gate) checkOrigin(r *http.Request) *failure {
	// The check lets GET pass, whose answer no page of another origin can read.
	// It could still time it, and has no business here.
	asWrite := r.WithContext(r.Context())
	asWrite.Method = http.MethodPost
	if err := g.crossOrigin.Check(asWrite); err != nil {
		return &failure{status: http.StatusForbidden, text: "cross-origin requests are refused"}
	}
	return nil
}

// checkKey returns the refusal of a request for the key that was sent, or nil.
func (g *gate) checkKey(r *http.Request, sent string) *failure {
	if len(g.keys) == 0 {
		if !loopbackHost(r.Host) {
			return &failure{
				status: http.StatusForbidden,
				text:   "without an API key, only requests for localhost or a loopback address are answered",
			}
		}
		return nil
	}
	if sent == "" {
		return unauthorized("missing apikey")
	}
	sum := sha256.Sum256([]byte(sent))
	// All keys are compared, whichever fits: how long it takes tells nothing.
	found, role := 0, 0
	for _, k := range g.keys {
		equal := subtle.ConstantTimeCompare(sum[:], k.sum[:])
		role = subtle.ConstantTimeSelect(equal, int(k.role), role)
		found |= equal
	}
	switch {
	case found == 0:
		return unauthorized("wrong apikey")
	case Role(role) == RoleViewer && r.Method != http.MethodGet && r.Method != http.MethodHead:
		return unauthorized("invalid method for role viewer")
	}
	return nil
}

// allows reports whether a client's address is one that requests may come from. What is
// no IP address is none.
func (g *gate) allows(remote string) bool {
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	addr := peer.Addr().Unmap().WithZone("")
	return slices.ContainsFunc(g.clients, func(p netip.Prefix) bool { return p.Contains(addr) })
}

func unauthorized(description string) *failure {
	return &failure{status: http.StatusUnauthorized, text: "failed to check token", description: description}
}

// loopbackHost reports whether a Host header is localhost or a loopback address.
func loopbackHost(host string) bool {
	name, ok := hostname.CanonicalHost(host)
	if !ok {
		return false
	}
	if name == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil && addr.Unmap().IsLoopback()
}
