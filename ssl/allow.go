package ssl

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/internal/hostname"
)

var errNotAllowed = errors.New("ssl: the profile's allow-list does not name the client")

// An allowList is an Allow after checking.
type allowList struct {
	written  Allow // as it was, for the scope of sessions
	dns      []string
	uris     map[string]bool
	below    []string // prefixes of SPIFFE IDs, each with its last slash
	emails   map[string]bool
	networks []netip.Prefix
	names    map[string]bool
	keys     map[[sha256.Size]byte]bool
}

// newAllowList checks an Allow. nil lets everybody in whose chain is accepted.
func newAllowList(a *Allow, fault func(field string, err error)) *allowList {
	if a == nil {
		return nil
	}
	l := &allowList{
		written: Allow{
			DNSNames: slices.Clone(a.DNSNames), URIs: slices.Clone(a.URIs), Emails: slices.Clone(a.Emails),
			IPs: slices.Clone(a.IPs), CommonNames: slices.Clone(a.CommonNames), SPKISHA256: slices.Clone(a.SPKISHA256),
		},
		uris:   map[string]bool{},
		emails: map[string]bool{},
		names:  map[string]bool{},
		keys:   map[[sha256.Size]byte]bool{},
	}
	entries := 0
	each := func(field string, list []string, add func(string) error) {
		for i, s := range list {
			entries++
			if err := add(s); err != nil {
				fault(fmt.Sprintf("Client.Allow.%s[%d]", field, i), fmt.Errorf("%q: %w", s, err))
			}
		}
	}
	each("DNSNames", a.DNSNames, func(s string) error {
		pattern, err := hostname.CanonicalPattern(s)
		if err == nil && strings.HasPrefix(pattern, "*") && !strings.HasPrefix(pattern, "*.") {
			err = errors.New(`a star must stand for a whole label, as in "*.example.com"`)
		}
		l.dns = append(l.dns, pattern)
		return err
	})
	each("URIs", a.URIs, l.addURI)
	each("Emails", a.Emails, func(s string) error {
		email, ok := canonicalEmail(s)
		if !ok {
			return errors.New("is no email address")
		}
		l.emails[email] = true
		return nil
	})
	each("CommonNames", a.CommonNames, func(s string) error {
		if s == "" {
			return errors.New("is empty")
		}
		l.names[s] = true
		return nil
	})
	each("SPKISHA256", a.SPKISHA256, func(s string) error {
		sum, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
		if err != nil || len(sum) != sha256.Size {
			return errors.New("is no SHA-256 in hexadecimal")
		}
		l.keys[[sha256.Size]byte(sum)] = true
		return nil
	})
	for i, p := range a.IPs {
		entries++
		network, ok := canonicalNetwork(p)
		if !ok {
			fault(fmt.Sprintf("Client.Allow.IPs[%d]", i), fmt.Errorf("%q: is no network", p))
			continue
		}
		l.networks = append(l.networks, network)
	}
	if entries == 0 {
		// Nobody, or everybody? Whoever wrote it meant one of the two.
		fault("Client.Allow", errors.New("has no entry: leave it nil to let everybody in whose chain is accepted"))
	}
	return l
}

// addURI adds a URI, or the SPIFFE IDs of a trust domain or below a path.
func (l *allowList) addURI(s string) error {
	prefix, below := strings.CutSuffix(s, "/*")
	u, err := url.Parse(prefix)
	switch {
	case err != nil || u.Scheme == "":
		return errors.New("is no URI")
	case strings.Contains(prefix, "*"):
		return errors.New(`a star must be the last segment, as in "spiffe://domain/path/*"`)
	case u.Scheme == "spiffe":
		if !isSPIFFE(prefix) {
			return errors.New("is no SPIFFE ID")
		}
	case below:
		return errors.New(`only a SPIFFE ID may end in "/*"`)
	}
	if below {
		l.below = append(l.below, prefix+"/")
	} else {
		l.uris[u.String()] = true // as that of a certificate is written
	}
	return nil
}

// isSPIFFE reports whether a URI is a SPIFFE ID in the one form that there is of
// it (SPIFFE-ID, section 2): what is compared as text must be written one way.
func isSPIFFE(s string) bool {
	rest, ok := strings.CutPrefix(s, "spiffe://")
	if !ok || len(s) > 2048 {
		return false
	}
	domain, path, hasPath := strings.Cut(rest, "/")
	if domain == "" || len(domain) > 255 || strings.ContainsFunc(domain, func(r rune) bool {
		return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '.' || r == '-' || r == '_')
	}) {
		return false
	}
	if !hasPath {
		return true
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment == "." || segment == ".." || strings.ContainsFunc(segment, func(r rune) bool {
			return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '.' || r == '-' || r == '_')
		}) {
			return false
		}
	}
	return true
}

// spiffeID returns the SPIFFE ID of a certificate. There is one only if its sole
// URI is one: with two, nobody could say which is meant (X509-SVID, section 2).
// That of a CA names the CA and no workload (X509-SVID, section 5.2).
func spiffeID(c *x509.Certificate) (id string, ok bool) {
	if len(c.URIs) != 1 || c.IsCA || c.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0 {
		return "", false
	}
	if id = c.URIs[0].String(); !isSPIFFE(id) {
		return "", false
	}
	return id, true
}

// canonicalEmail folds the domain of an address. The part before is compared as
// it is (RFC 5321, section 2.4).
func canonicalEmail(s string) (string, bool) {
	i := strings.LastIndexByte(s, '@')
	if i <= 0 {
		return "", false
	}
	domain, ok := hostname.Canonical(s[i+1:])
	return s[:i+1] + domain, ok
}

// allows reports whether any entry fits a client's certificate.
func (l *allowList) allows(c *x509.Certificate) bool {
	if len(l.keys) > 0 && l.keys[sha256.Sum256(c.RawSubjectPublicKeyInfo)] {
		return true
	}
	for _, name := range c.DNSNames {
		if canonical, ok := hostname.Canonical(name); ok && slices.ContainsFunc(l.dns, func(p string) bool { return fitsDNS(p, canonical) }) {
			return true
		}
	}
	if id, ok := spiffeID(c); ok {
		if l.uris[id] || slices.ContainsFunc(l.below, func(prefix string) bool { return strings.HasPrefix(id, prefix) }) {
			return true
		}
	}
	for _, uri := range c.URIs {
		if uri.Scheme != "spiffe" && l.uris[uri.String()] {
			return true
		}
	}
	for _, email := range c.EmailAddresses {
		if canonical, ok := canonicalEmail(email); ok && l.emails[canonical] {
			return true
		}
	}
	for _, ip := range c.IPAddresses {
		addr, ok := netip.AddrFromSlice(ip)
		if ok && slices.ContainsFunc(l.networks, func(n netip.Prefix) bool { return n.Contains(addr.Unmap()) }) {
			return true
		}
	}
	name, ok := commonName(c)
	return ok && l.names[name]
}

// commonName returns the common name of a certificate that has one, and only one:
// of two, a CA may have checked the other.
func commonName(c *x509.Certificate) (name string, ok bool) {
	n := 0
	for _, attribute := range c.Subject.Names {
		if attribute.Type.Equal(oidCommonName) {
			n++
		}
	}
	return c.Subject.CommonName, n == 1
}

var oidCommonName = asn1.ObjectIdentifier{2, 5, 4, 3}

// canonicalNetwork makes an IPv4 network of one that is written as IPv6, as is
// done with addresses.
func canonicalNetwork(p netip.Prefix) (netip.Prefix, bool) {
	const mapped = 96 // bits before the IPv4 address
	if p.Addr().Is4In6() {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped) // invalid below none
	}
	return p.Masked(), p.IsValid()
}

// fitsDNS reports whether a pattern, of which the star stands for one label, fits
// a name. A wildcard in a certificate is no name, and fits nothing.
func fitsDNS(pattern, name string) bool {
	suffix, star := strings.CutPrefix(pattern, "*")
	if !star {
		return pattern == name
	}
	label, ok := strings.CutSuffix(name, suffix)
	return ok && label != "" && !strings.Contains(label, ".")
}

// digest writes the list as it was written.
func (l *allowList) digest(h hash.Hash) {
	for _, list := range [][]string{l.written.DNSNames, l.written.URIs, l.written.Emails, l.written.CommonNames, l.written.SPKISHA256} {
		sorted := slices.Clone(list)
		slices.Sort(sorted)
		writeStrings(h, sorted)
	}
	var networks []string
	for _, n := range l.networks {
		networks = append(networks, n.String())
	}
	slices.Sort(networks)
	writeStrings(h, networks)
}
