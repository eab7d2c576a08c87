package ssl

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/internal/clientcert"
	"github.com/sallyport/sallyport/internal/hostname"
	"github.com/sallyport/sallyport/internal/parallel"
)

// A Profile is a checked [Config]: what serves some server names. It never changes and may
// be shared freely. Two profiles are the same policy only if they are the same pointer.
type Profile struct {
	id         string
	names      []string // canonical patterns
	client     *policy  // nil: no client certificate is asked for
	minVersion uint16
	maxVersion uint16
	scope      [sha256.Size]byte
	warnings   []Warning

	// certs returns the certificates. A function is the one thing that no verb
	// of fmt looks into: an Ed25519 key is a plain slice of bytes to it.
	certs func() []tls.Certificate

	notAfter []time.Time // of certs
	staples  []period    // of certs

	// built is the tls.Config that some Terminator made of this profile. It is
	// only remembered work: whoever finds that of another Terminator makes its own.
	built atomic.Pointer[builtConfig]
}

// New checks a Config and makes it a Profile. The error joins a [*ConfigError] for each
// fault.
func New(c Config) (*Profile, error) {
	var faults []error
	fault := func(field string, err error) {
		faults = append(faults, &ConfigError{ID: c.ID, Field: field, Err: err})
	}
	p := &Profile{id: c.ID, minVersion: c.MinVersion, maxVersion: c.MaxVersion}
	if c.ID == "" {
		fault("ID", errors.New("is required"))
	}

	if len(c.Names) == 0 {
		fault("Names", errors.New("at least one is required"))
	}
	known := make(map[string]bool, len(c.Names))
	for i, name := range c.Names {
		pattern, err := hostname.CanonicalPattern(name)
		if err != nil {
			fault(fmt.Sprintf("Names[%d]", i), fmt.Errorf("%q: %w", name, err))
			continue
		}
		if !known[pattern] {
			p.names = append(p.names, pattern)
		}
		known[pattern] = true
	}

	if len(c.Certificates) == 0 {
		fault("Certificates", errors.New("at least one is required"))
	}
	certs := make([]tls.Certificate, 0, len(c.Certificates))
	for i, pair := range c.Certificates {
		cert, staple, ok := pair.certificate(func(part string, err error) {
			fault(fmt.Sprintf("Certificates[%d].%s", i, part), err)
		})
		if !ok {
			continue
		}
		certs = append(certs, cert)
		p.notAfter = append(p.notAfter, cert.Leaf.NotAfter)
		p.staples = append(p.staples, staple)
	}
	p.certs = func() []tls.Certificate { return certs }

	checkVersions("", c.MinVersion, c.MaxVersion, fault)

	if c.Client != nil {
		p.client = newPolicy(c.Client, fault)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	p.scope = policyDigest(p.id, p.client)
	p.warnings = p.findWarnings(time.Now())
	return p, nil
}

// Compile makes each Config a Profile, on all processors if there are many. Two with the
// same ID are an error. The error joins the faults of all.
func Compile(configs []Config) ([]*Profile, error) {
	profiles, errs := make([]*Profile, len(configs)), make([]error, len(configs))
	parallel.Do(len(configs), func(i int) { profiles[i], errs[i] = New(configs[i]) })
	var faults []error
	seen := map[string]bool{}
	for i, c := range configs {
		if seen[c.ID] {
			faults = append(faults, &ConfigError{ID: c.ID, Field: "ID", Err: errors.New("stands twice in one change")})
		}
		seen[c.ID] = true
		if errs[i] != nil {
			faults = append(faults, errs[i])
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return profiles, nil
}

// ID returns the profile's ID.
func (p *Profile) ID() string { return p.id }

// Names returns the profile's names in canonical form.
func (p *Profile) Names() []string { return slices.Clone(p.names) }

// DemandsClientCert reports whether the profile accepts only clients with a certificate, at
// least on some paths.
func (p *Profile) DemandsClientCert() bool { return p != nil && p.client != nil }

// optional reports whether a client may connect without a certificate, because
// some paths do not need it.
func (p *Profile) optional() bool { return p.client != nil && len(p.client.skips) > 0 }

// warning returns a warning about the profile.
func (p *Profile) warning(field, format string, args ...any) Warning {
	return Warning{ID: p.id, Field: field, Text: fmt.Sprintf(format, args...)}
}

func (p *Profile) findWarnings(now time.Time) (warnings []Warning) {
	for i, cert := range p.certs() {
		leaf := cert.Leaf
		warnOf := func(part, text string) {
			field := fmt.Sprintf("Certificates[%d].%s", i, part)
			warnings = append(warnings, p.warning(field, "the certificate (%s) %s", clientcert.Subject(leaf), text))
		}
		warn := func(text string) { warnOf("CertPEM", text) }
		if text, _ := validity(leaf, now); text != "" {
			warn(text)
		}
		if !slices.ContainsFunc(p.names, func(name string) bool { return covers(leaf, name) }) {
			warn("names none of the server names as a subject alternative name: clients that check will refuse it")
		}
		if clientcert.Forbids(leaf, x509.ExtKeyUsageServerAuth) {
			warn("is not for servers (its extended key usage has no serverAuth): clients that check will refuse it")
		}
		if text := chainGap(&cert); text != "" {
			warn(text)
		}
		if staple := p.staples[i]; len(cert.OCSPStaple) > 0 && !staple.contains(now) {
			if now.Before(staple.from) {
				warnOf("OCSPStaple", "has an OCSP staple that is not valid before "+staple.from.UTC().Format(time.RFC3339)+", and is not sent until then")
			} else {
				warnOf("OCSPStaple", "has an OCSP staple that expired on "+staple.until.UTC().Format(time.RFC3339)+", and is not sent")
			}
		}
	}
	for _, text := range p.client.findWarnings(now) {
		warnings = append(warnings, Warning{ID: p.id, Field: "Client.CAPEM", Text: text})
	}
	return warnings
}

// findWarnings warns of the certificates that a client's chain may end in. A bundle may be
// that of a whole company, with many that nobody has cleared away.
func (p *policy) findWarnings(now time.Time) (warnings []string) {
	if p == nil {
		return nil
	}
	more := 0
	for i, cert := range p.certs {
		text, valid := validity(cert, now)
		if text == "" {
			continue
		}
		if len(warnings) == maxListed {
			more++
			continue
		}
		if !valid {
			text += ": clients whose chain it is in are refused"
		}
		warnings = append(warnings, fmt.Sprintf("client CA %d (%s) %s", i+1, clientcert.Subject(cert), text))
	}
	if more > 0 {
		warnings = append(warnings, fmt.Sprintf("%d more client CAs have expired, are not valid yet or expire soon", more))
	}
	return warnings
}

// maxListed is how many things of one kind warnings tell of one by one. The rest is counted.
const maxListed = 10

// validity says what is worth a warning about the time in which a certificate is valid, or
// "", and whether that time is now.
func validity(c *x509.Certificate, now time.Time) (text string, valid bool) {
	if text := clientcert.Invalid(c, now); text != "" {
		return text, false
	}
	if left := c.NotAfter.Sub(now); left < expiresSoon && left < c.NotAfter.Sub(c.NotBefore)/3 {
		return "expires on " + c.NotAfter.UTC().Format(time.DateOnly), true
	}
	return "", true
}

// expiresSoon is when the end of a certificate is warned of, unless it is meant to be
// short-lived: then it has more than a third of its time left when it is new.
const expiresSoon = 30 * 24 * time.Hour

// chainGap says what is wrong with the chain of a certificate, or "". Whether its last
// certificate was issued by a root that clients know, only they can tell.
func chainGap(cert *tls.Certificate) string {
	below := cert.Leaf
	for _, der := range cert.Certificate[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return "is followed by one that cannot be read: " + err.Error()
		}
		if !bytes.Equal(below.RawIssuer, c.RawSubject) {
			return fmt.Sprintf("is followed by that of %s, which is not the issuer of %s: clients may find no way to a root",
				clientcert.Subject(c), clientcert.Subject(below))
		}
		below = c
	}
	if below == cert.Leaf && len(below.IssuingCertificateURL) > 0 && !bytes.Equal(below.RawIssuer, below.RawSubject) {
		return "stands alone, and says where the certificate of its issuer is to be had: append that, unless it is a root, or clients that do not fetch it find no way to a root"
	}
	return ""
}

// covers reports whether a certificate has a subject alternative name for a
// pattern.
func covers(leaf *x509.Certificate, pattern string) bool {
	suffix, star := strings.CutPrefix(pattern, "*")
	switch {
	case !star:
		return leaf.VerifyHostname(pattern) == nil
	case suffix == "":
		return len(leaf.DNSNames)+len(leaf.IPAddresses) > 0
	default:
		return leaf.VerifyHostname("any"+suffix) == nil
	}
}

// pick chooses the certificate for a client: the first that it can verify and
// that is valid now, else the first that it can verify, else the first.
//
// This is not left to crypto/tls, which takes a certificate only if it has a
// subject alternative name for the server name: with certificates that have
// none, or do not cover a wildcard, it would show an ECDSA certificate to
// clients that only know RSA.
func (p *Profile) pick(hello *tls.ClientHelloInfo, now time.Time) *tls.Certificate {
	certs := p.certs()
	if len(certs) == 1 {
		return p.stapled(0, now)
	}
	anyName := *hello
	anyName.ServerName = ""
	expired := -1
	for i := range certs {
		cert := &certs[i]
		if anyName.SupportsCertificate(cert) != nil {
			continue
		}
		if _, ok := validUntil([]*x509.Certificate{cert.Leaf}, now); ok {
			return p.stapled(i, now)
		}
		if expired < 0 {
			expired = i
		}
	}
	return p.stapled(max(expired, 0), now)
}
