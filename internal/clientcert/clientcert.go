// Package clientcert writes what is in a client's certificate as nginx does in its
// variables $ssl_client_..., which is what APISIX's users know.
package clientcert

import (
	"crypto/sha1"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
)

// Subject returns the subject as RFC 2253 writes it, which is $ssl_client_s_dn.
func Subject(c *x509.Certificate) string { return Name(c.RawSubject) }

// Issuer returns the issuer as RFC 2253 writes it, which is $ssl_client_i_dn.
func Issuer(c *x509.Certificate) string { return Name(c.RawIssuer) }

// ShownSubject and ShownIssuer are Subject and Issuer of an unverified certificate, for a
// log. Whoever presents one can make a name as long as they like, and it costs time to
// write; a name longer than any CA would sign is replaced by its length.
func ShownSubject(c *x509.Certificate) string { return shown(c.RawSubject) }
func ShownIssuer(c *x509.Certificate) string  { return shown(c.RawIssuer) }

func shown(der []byte) string {
	if len(der) > maxShown {
		return fmt.Sprintf("(a name of %d bytes)", len(der))
	}
	return Name(der)
}

// maxShown is more than a name in a certificate that was signed for somebody has.
const maxShown = 2 << 10

// Serial returns the serial number in upper-case hexadecimal, two digits a byte,
// which is $ssl_client_serial.
func Serial(c *x509.Certificate) string {
	n := c.SerialNumber
	if n == nil {
		return ""
	}
	s := strings.ToUpper(new(big.Int).Abs(n).Text(16))
	if len(s)%2 == 1 {
		s = "0" + s
	}
	if n.Sign() < 0 {
		s = "-" + s
	}
	return s
}

// Fingerprint returns the SHA-1 of the certificate in lower-case hexadecimal, which is
// $ssl_client_fingerprint. It is for those who already know certificates by this name; if
// you can choose, use SHA-256.
func Fingerprint(c *x509.Certificate) string {
	sum := sha1.Sum(c.Raw)
	return hex.EncodeToString(sum[:])
}

// URIs returns the URIs among the subject's alternative names.
func URIs(c *x509.Certificate) []string {
	uris := make([]string, len(c.URIs))
	for i, u := range c.URIs {
		uris[i] = u.String()
	}
	return uris
}

// Variables answers for the variables ssl_client_... that are in a certificate. It
// computes each once, and so must not be used by two goroutines at a time. Without a
// certificate, every variable is absent.
type Variables struct {
	Certificate *x509.Certificate

	subject, issuer, serial, fingerprint, escaped string
	uris                                          []string
}

// Lookup returns the value of ssl_client_s_dn, ssl_client_i_dn, ssl_client_serial,
// ssl_client_fingerprint or ssl_client_escaped_cert. ok is false for every other name.
func (v *Variables) Lookup(name string) (value string, ok bool) {
	if v.Certificate == nil {
		return "", false
	}
	var (
		known   *string
		compute func(*x509.Certificate) string
	)
	switch name {
	case "ssl_client_s_dn":
		known, compute = &v.subject, Subject
	case "ssl_client_i_dn":
		known, compute = &v.issuer, Issuer
	case "ssl_client_serial":
		known, compute = &v.serial, Serial
	case "ssl_client_fingerprint":
		known, compute = &v.fingerprint, Fingerprint
	case "ssl_client_escaped_cert":
		known, compute = &v.escaped, func(c *x509.Certificate) string { return EscapedPEM(c) }
	default:
		return "", false
	}
	if *known == "" {
		*known = compute(v.Certificate)
	}
	return *known, true
}

// LookupAll returns the values of ssl_client_dns_sans or ssl_client_uri_sans, which
// must not be changed. ok is false for every other name.
func (v *Variables) LookupAll(name string) (values []string, ok bool) {
	switch name {
	case "ssl_client_dns_sans":
		if v.Certificate == nil {
			return nil, true
		}
		return v.Certificate.DNSNames, true
	case "ssl_client_uri_sans":
		if v.uris == nil && v.Certificate != nil {
			v.uris = URIs(v.Certificate)
		}
		return v.uris, true
	default:
		return nil, false
	}
}
