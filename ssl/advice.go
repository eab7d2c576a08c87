package ssl

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/internal/clientcert"
)

// This file answers an operator's first question about mTLS: why was this client refused,
// and what is to be done? The README has the same as a table, and TestReadmeReasons
// compares them.

// words are what there is to say of a reason, whoever the client is.
var words = map[Reason]struct{ meaning, remedy string }{
	ReasonNoSNI: {
		"the client sent no server name, as happens when it connects to an IP address, and there is no fallback",
		"have the client connect by name, or set FallbackName",
	},
	ReasonUnknownSNI: {
		"no profile answers for the server name",
		"correct the name that the client connects to, or add the name to a profile",
	},
	ReasonNoClientCert: {
		"a client certificate is demanded, and the client sent none",
		"give the client a certificate and its key; a client that has them sends nothing if its certificate was issued by none of the CAs that the server names",
	},
	ReasonUnknownCA: {
		"the client's certificate does not lead to any of the profile's CAs",
		"have the client use a certificate of one of these CAs and send its intermediates along, or add the client's CA to the profile",
	},
	ReasonExpired: {
		"a certificate of the client's chain has expired, or is not valid yet",
		"renew that certificate; if it is new, compare the clocks",
	},
	ReasonRevoked: {
		"a CRL revokes a certificate of the client's chain, or a CRL that is needed is missing or out of date",
		"if the certificate was revoked, give the client a new one; otherwise renew the CRLs of the profile, one for each CA of the chain",
	},
	ReasonDepth: {
		"the client's chain has more intermediates than the profile allows",
		"raise the profile's depth, or have the client use a certificate issued closer to the root",
	},
	ReasonKeyUsage: {
		"the client's certificate is not for clients",
		"issue a certificate whose extended key usage includes clientAuth, and whose key usage digitalSignature",
	},
	ReasonNotAllowed: {
		"the client's certificate is good, but the policy refuses this client",
		"add the client to the allow-list, or find out why the function refuses it",
	},
	ReasonTimeout: {
		"the handshake did not finish in time",
		"look at the network and the load on both sides; a client that connects and says nothing is often a port scanner or a health check",
	},
	ReasonCrowdedOut: {
		"all places for handshakes were taken, another connection was waiting for one, and this handshake was the oldest and more than a second old",
		"find out who holds the places: connections that say nothing are an attack or a scanner, which a firewall keeps out, or MaxHandshakesPerAddr if there is no load balancer in front; if they are your clients, look at the network and the load, or raise MaxHandshakes",
	},
	ReasonProtocol: {
		"what the client sent was not TLS, or the two sides have no version, cipher suite or kind of key in common",
		"have the client speak TLS (https) in a version that the profile allows; the error says more",
	},
	ReasonClientAbort: {
		"the client ended the connection in the middle of the handshake",
		"look into the client's log: most often it does not trust the server's certificate, or does not find the name in it; if it sent no alert, it may be a port scanner or a health check",
	},
	ReasonMisdirected: {
		"the request is for a server name other than the one its connection was made for, and client certificates are demanded",
		"have the client open a connection for each name, with the same name in SNI and Host, as browsers do after a 421",
	},
	ReasonPlainHTTP: {
		"the request came over plain HTTP, and client certificates are demanded",
		"have the client use https; if the route is meant to be open, set AllowPlain in it",
	},
	ReasonBadHost: {
		"the Host of the request is not a valid name",
		"have the client send the name that it means in Host",
	},
}

// Meaning says in a few words what a reason means. It is empty for a text that is not a
// reason.
func (r Reason) Meaning() string { return words[r].meaning }

// Remedy says what an operator can do about a reason. It is empty for a text that is not a
// reason.
func (r Reason) Remedy() string { return words[r].remedy }

// Advice returns a sentence for the operator: what was wrong with this client, and the
// [Reason.Remedy]. What comes from the client is quoted in it, and truncated if it is long.
func (e *HandshakeError) Advice() string {
	return e.cause() + ": " + e.Reason.Remedy()
}

// cause says what was wrong.
func (e *HandshakeError) cause() string {
	switch e.Reason {
	case ReasonUnknownSNI:
		if e.below {
			return fmt.Sprintf("the server name %s is more than one label below a wildcard that demands client certificates, and a wildcard covers only one", quoted(e.ServerName))
		}
		return fmt.Sprintf("no profile answers for the server name %s", quoted(e.ServerName))
	case ReasonTimeout:
		return fmt.Sprintf("the handshake did not finish within %v", e.limit)
	case ReasonProtocol:
		return protocolCause(e.Err)
	case ReasonClientAbort:
		var alert *net.OpError
		if errors.As(e.Err, &alert) && alert.Op == "remote error" {
			return "the client ended the handshake with the alert " + quoted(strings.TrimPrefix(alert.Err.Error(), "tls: "))
		}
		if illegible(e.Err) {
			return "the client ended the handshake with something illegible, as OpenSSL does when it refuses the server's certificate"
		}
		return e.Reason.Meaning()
	}
	return certificateCause(e.Reason, e.profile, e.Certificate, e.Err, e.at)
}

func protocolCause(err error) string {
	var header tls.RecordHeaderError
	switch {
	case errors.As(err, &header) && bytes.Contains([]byte("GET  HEAD POST PUT  OPTI DELE PATC CONN"), header.RecordHeader[:4]):
		return "the client spoke HTTP without TLS"
	case errors.As(err, &header):
		return "what the client sent was not TLS"
	case strings.HasPrefix(err.Error(), "ssl: panic"):
		return "a function of the server's panicked: see the error"
	case strings.HasPrefix(err.Error(), "tls: failed to sign"): // crypto/tls keeps the text of a Signer's error alone
		return "the server's own key did not sign: see the error"
	}
	text := quoted(err.Error()) // in which there may be words of the client's
	return "client and server do not agree (" + text[1:len(text)-1] + ")"
}

// certificateCause says what was wrong with the certificate that a client presented, or
// with its absence.
func certificateCause(reason Reason, p *Profile, c *x509.Certificate, err error, now time.Time) string {
	if reason == ReasonNotAllowed && !errors.Is(err, errNotAllowed) && !errors.Is(err, errNotAuthorized) {
		return "VerifyConnection of Options.Base refuses the client"
	}
	if p == nil || p.client == nil || c == nil && reason != ReasonNoClientCert {
		return reason.Meaning()
	}
	switch reason {
	case ReasonNoClientCert:
		return fmt.Sprintf("the profile %q demands a certificate of %s, and the client sent none", p.id, p.client.names())
	case ReasonUnknownCA:
		return unknownCA(p, c, err)
	case ReasonExpired:
		var invalid x509.CertificateInvalidError
		if errors.As(err, &invalid) && invalid.Cert != nil {
			c = invalid.Cert // perhaps one above
		}
		switch {
		case now.After(c.NotAfter):
			return fmt.Sprintf("the certificate of %s expired on %s", subject(c), c.NotAfter.UTC().Format(time.RFC3339))
		case now.Before(c.NotBefore):
			return fmt.Sprintf("the certificate of %s is not valid before %s", subject(c), c.NotBefore.UTC().Format(time.RFC3339))
		}
		return fmt.Sprintf("a certificate above that of %s is not valid now", subject(c))
	case ReasonRevoked:
		switch {
		case errors.Is(err, errCRLMissing):
			return fmt.Sprintf("the profile %q has no CRL of an issuer in the chain of %s", p.id, subject(c))
		case errors.Is(err, errCRLScope):
			return fmt.Sprintf("the CRLs of the profile %q of an issuer in the chain of %s are for other certificates of it", p.id, subject(c))
		case errors.Is(err, errCRLExpired):
			return fmt.Sprintf("a CRL of the profile %q that the chain of %s needs is past its next update", p.id, subject(c))
		}
		return fmt.Sprintf("a CRL of the profile %q revokes a certificate in the chain of %s", p.id, subject(c))
	case ReasonDepth:
		return fmt.Sprintf("the chain of %s has more intermediates than the %d that the profile %q allows", subject(c), p.client.depth, p.id)
	case ReasonKeyUsage:
		if errors.Is(err, errKeyUsage) {
			return fmt.Sprintf("the key usage of the certificate of %s does not permit signatures", subject(c))
		}
		return fmt.Sprintf("the certificate of %s is not for clients", subject(c))
	case ReasonNotAllowed:
		if errors.Is(err, errNotAllowed) {
			return fmt.Sprintf("the allow-list of the profile %q does not name %s", p.id, subject(c))
		}
		return fmt.Sprintf("the function Authorize of the profile %q refuses %s", p.id, subject(c))
	}
	return reason.Meaning()
}

func unknownCA(p *Profile, c *x509.Certificate, err error) string {
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.CANotAuthorizedForThisName:
		return fmt.Sprintf("the name constraints of a CA above it do not permit a name in the certificate of %s", subject(c))
	case errors.Is(err, errAbove):
		return fmt.Sprintf("a certificate above the CAs of the profile %q does not permit the chain of %s", p.id, subject(c))
	case bytes.Equal(c.RawIssuer, c.RawSubject):
		return fmt.Sprintf("the certificate of %s is self-signed, and not among the CAs of the profile %q (%s)", subject(c), p.id, p.client.names())
	case p.client.named(c.RawIssuer):
		return fmt.Sprintf("the profile %q has a CA by the name of the client's issuer %s, but the certificate of %s is not signed with its key, as happens when the CA has a new key",
			p.id, issuer(c), subject(c))
	}
	return fmt.Sprintf("the client's issuer %s is not among the CAs of the profile %q (%s)", issuer(c), p.id, p.client.names())
}

// named reports whether one of the anchors has a name, in DER.
func (a *anchors) named(name []byte) bool {
	for _, c := range a.certs {
		if bytes.Equal(c.RawSubject, name) {
			return true
		}
	}
	return false
}

// shownCAs is how many CAs of a profile an advice names.
const shownCAs = 4

// names names the anchors.
func (a *anchors) names() string {
	var b strings.Builder
	for i, c := range a.certs {
		if i == shownCAs {
			return b.String() + " and " + strconv.Itoa(len(a.certs)-i) + " more"
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(subject(c))
	}
	return b.String()
}

// subject and issuer return the names of RFC 2253, which are printable ASCII with
// everything else escaped.

func subject(c *x509.Certificate) string { return orNone(cut(clientcert.ShownSubject(c))) }
func issuer(c *x509.Certificate) string  { return orNone(cut(clientcert.ShownIssuer(c))) }

func orNone(name string) string {
	if name == "" {
		return "(no name)"
	}
	return name
}

// shown bounds how much of what a client sent an advice repeats.
const shown = 255

func quoted(s string) string { return strconv.QuoteToASCII(cut(s)) }

func cut(s string) string {
	if len(s) > shown {
		return s[:shown] + "..."
	}
	return s
}

// Advice returns a sentence for the operator, as [*HandshakeError.Advice] does.
func (e *RequestError) Advice() string {
	return e.cause() + ": " + e.Reason.Remedy()
}

func (e *RequestError) cause() string {
	switch e.Reason {
	case ReasonMisdirected:
		if e.ServerName == "" {
			return fmt.Sprintf("the request is for %s, and its connection was made without a server name", quoted(e.Host))
		}
		return fmt.Sprintf("the request is for %s, and its connection was made for %s", quoted(e.Host), quoted(e.ServerName))
	case ReasonPlainHTTP:
		return fmt.Sprintf("the request for %s came over plain HTTP, and client certificates are demanded", quoted(e.Host))
	case ReasonBadHost:
		return fmt.Sprintf("the Host %s is not a valid name", quoted(e.Host))
	}
	cause := certificateCause(e.Reason, e.profile, e.Certificate, e.err, e.at)
	if e.Close {
		cause = "the client was accepted before and no longer is: " + cause
	}
	return cause
}
