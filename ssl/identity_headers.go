package ssl

import (
	"sync/atomic"

	"github.com/sallyport/sallyport/internal/clientcert"
)

// What an identity is called in the header fields of a request. Each form is made when it
// is first asked for, and kept: a connection has one Identity for all its requests.

// ClientCert returns the client's certificate in the form of the header field Client-Cert
// (RFC 9440).
func (i *Identity) ClientCert() string {
	return i.text(textClientCert, func(i *Identity) string { return clientcert.RFC9440(i.chain[0]) })
}

// ClientCertChain returns the rest of the client's verified chain, above its certificate
// and including the root, in the form of the header field Client-Cert-Chain (RFC 9440). If
// there is nothing above, it is empty, and the field must be left out.
func (i *Identity) ClientCertChain() string {
	return i.text(textClientCertChain, func(i *Identity) string { return clientcert.RFC9440Chain(i.chain) })
}

// XFCC says what X-Forwarded-Client-Cert has in addition to the names: see
// [*Identity.ForwardedClientCert].
type XFCC uint8

const (
	XFCCCert  XFCC = 1 << iota // Cert: the client's certificate, some 2 KB
	XFCCChain                  // Chain: the verified chain, from the client's certificate to the root
)

// ForwardedClientCert returns the value of Envoy's header field X-Forwarded-Client-Cert for
// the client: By with the URI in the profile's certificate, if there is one, Hash
// (SHA-256), Subject, and URI and DNS for each of the names in the client's certificate.
//
// It is Envoy's format, except that no name can be mistaken for another part of it: quotes
// and backslashes are written as "\22" and "\5C" in the subject, and percent-encoded in
// URIs; a DNS name with such characters is invalid, and is left out.
func (i *Identity) ForwardedClientCert(with XFCC) string {
	with &= XFCCCert | XFCCChain
	return i.text(textForwarded+int(with), func(i *Identity) string {
		x := clientcert.XFCC{By: i.profile.uri(), Chain: i.chain, Cert: with&XFCCCert != 0, Whole: with&XFCCChain != 0}
		return x.String()
	})
}

// Var returns the value of one of nginx's variables about the client, by its name without
// the dollar sign: ssl_client_verify, which is SUCCESS, ssl_client_s_dn, ssl_client_i_dn,
// ssl_client_serial, ssl_client_fingerprint (the SHA-1, in lower case) and
// ssl_client_escaped_cert. ok is false for every other name.
func (i *Identity) Var(name string) (value string, ok bool) {
	switch name {
	case "ssl_client_verify":
		return "SUCCESS", true
	case "ssl_client_s_dn":
		return i.Subject(), true
	case "ssl_client_i_dn":
		return i.text(textIssuer, func(i *Identity) string { return clientcert.Issuer(i.chain[0]) }), true
	case "ssl_client_serial":
		return i.Serial(), true
	case "ssl_client_fingerprint":
		return i.text(textSHA1, func(i *Identity) string { return clientcert.Fingerprint(i.chain[0]) }), true
	case "ssl_client_escaped_cert":
		return i.text(textEscaped, func(i *Identity) string { return clientcert.EscapedPEM(i.chain[0]) }), true
	default:
		return "", false
	}
}

// The texts that are kept.
const (
	textSubject = iota
	textIssuer
	textSerial
	textSHA1
	textSHA256
	textEscaped
	textClientCert
	textClientCertChain
	textForwarded // and the three behind it, by XFCC
	texts         = textForwarded + 4
)

// identityTexts are what was said of an identity before. Two goroutines may both make one
// for the first time: they make the same.
type identityTexts [texts]atomic.Pointer[string]

func (i *Identity) text(kind int, write func(*Identity) string) string {
	if s := i.texts[kind].Load(); s != nil {
		return *s
	}
	s := write(i)
	i.texts[kind].Store(&s)
	return s
}

// uri returns the first URI in the profile's certificates, which is how a service of a
// mesh is called.
func (p *Profile) uri() string {
	for _, pair := range p.certs() {
		if uris := clientcert.URIs(pair.Leaf); len(uris) > 0 {
			return uris[0]
		}
	}
	return ""
}
