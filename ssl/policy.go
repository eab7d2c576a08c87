package ssl

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"regexp"
	"slices"
	"time"

	"github.com/sallyport/sallyport/internal/regexpsize"
)

// A policy is a ClientAuth after checking: whose certificates a profile takes.
type policy struct {
	// The anchors are shared with other policies that have the same.
	*anchors

	depth int
	skips []*regexp.Regexp

	crls         *crls      // nil: revocation is not looked at
	allow        *allowList // nil: everybody
	authorizer   func(context.Context, *Identity) error
	authorizerID string
	verified     *verifiedChains // nil: no chain is remembered
	hideCAs      bool
}

// Why a client does not satisfy a policy.
var (
	errDepth         = errors.New("ssl: more intermediates than the profile's depth allows")
	errExpired       = errors.New("ssl: a certificate of the chain is not valid now")
	errKeyUsage      = errors.New("ssl: the key usage of the client's certificate does not permit signatures")
	errUnverified    = errors.New("ssl: the chain ends in none of the profile's roots")
	errNotAuthorized = errors.New("ssl: the profile's Authorize refuses the client")
)

// newPolicy checks a ClientAuth. Each fault is reported with its field.
func newPolicy(c *ClientAuth, fault func(field string, err error)) *policy {
	p := &policy{depth: c.Depth}
	switch {
	case c.Depth == 0:
		p.depth = DefaultDepth
	case c.Depth == NoIntermediates:
		p.depth = 0
	case c.Depth < 0:
		fault("Client.Depth", fmt.Errorf("%d is neither a number of intermediates nor NoIntermediates", c.Depth))
	}
	p.skips = newSkips(c.SkipPaths, fault)
	p.crls = newCRLs(c, fault)
	p.allow = newAllowList(c.Allow, fault)
	p.authorizer, p.authorizerID = c.Authorize, c.AuthorizeID
	p.hideCAs = c.HideCAs
	if c.Authorize != nil && c.AuthorizeID == "" {
		fault("Client.AuthorizeID", errors.New("is empty: sessions must end when Authorize changes, and it says when"))
	}
	if c.CacheVerified {
		p.verified = &verifiedChains{}
	}
	var err error
	if p.anchors, err = sharedAnchors(c.CAPEM, p.depth, c.DangerouslyAllowIntermediateAnchors); err != nil {
		fault("Client.CAPEM", err)
	} else if size := p.subjects(); size > maxSubjects && !p.hideCAs {
		fault("Client.CAPEM", fmt.Errorf("every client is sent the subjects of the certificates: they take %d bytes, and a handshake has room for %d (RFC 8446, section 4.2.4): leave some out, or set HideCAs", size, maxSubjects))
	}
	return p
}

// The limits of SkipPaths. A few bytes can ask for very many repetitions, and every request
// without a certificate is compared with all of it.
const (
	maxSkip        = 4096   // the bytes of one
	maxSkipProgram = 50_000 // the instructions of all together
)

// newSkips compiles SkipPaths.
func newSkips(paths []string, fault func(field string, err error)) (skips []*regexp.Regexp) {
	instructions := 0
	for i, s := range paths {
		field := fmt.Sprintf("Client.SkipPaths[%d]", i)
		if len(s) > maxSkip {
			fault(field, fmt.Errorf("%d bytes are over %d", len(s), maxSkip))
			continue
		}
		size, err := regexpsize.Of(s)
		if err != nil {
			fault(field, fmt.Errorf("%w (RE2 syntax: no lookaround, no back-references)", err))
			continue
		}
		if instructions += size; instructions > maxSkipProgram {
			fault("Client.SkipPaths", fmt.Errorf("the expressions compile to over %d instructions", maxSkipProgram))
			return nil
		}
		if re, err := regexp.Compile(s); err != nil {
			fault(field, err)
		} else {
			skips = append(skips, re)
		}
	}
	return skips
}

// maxSubjects bounds the subjects that a client is sent. Their length stands in two bytes,
// and some clients take no longer message than 64 KiB: beyond that, every handshake fails.
const maxSubjects = 64_000

// subjects returns the size of what is sent to clients of the anchors.
func (a *anchors) subjects() (size int) {
	for _, c := range a.certs {
		size += 2 + len(c.RawSubject)
	}
	return size
}

// satisfiedBy returns the first of some verified chains that satisfies the policy
// at a time, and how long it will: until a certificate of it expires, or a list
// that it was looked up in is out of date. The signatures of a chain that was
// verified do not change; the anchors, the depth, the lists and the time do.
func (p *policy) satisfiedBy(chains [][]*x509.Certificate, now time.Time) (chain []*x509.Certificate, until time.Time, err error) {
	err = errUnverified
	for _, chain := range chains {
		if len(chain) == 0 {
			continue
		}
		ways, known := p.ways[string(chain[len(chain)-1].Raw)]
		if known && len(ways) == 0 {
			err = errDepth
		}
		for _, w := range ways {
			if len(chain)-2 > w.allowed {
				err = errDepth
				continue
			}
			whole := chain
			if len(w.above) > 0 {
				whole = slices.Concat(chain, w.above)
			}
			until, ok := validUntil(whole, now)
			if !ok {
				err = errExpired
				continue
			}
			if err = w.permits(whole, now); err != nil {
				continue
			}
			if p.crls != nil {
				if until, err = p.crls.check(whole, now, until); err != nil {
					continue
				}
			}
			if !signs(chain[0]) {
				return nil, time.Time{}, errKeyUsage
			}
			if p.allow != nil && !p.allow.allows(chain[0]) {
				return nil, time.Time{}, errNotAllowed
			}
			return whole, until, nil
		}
	}
	return nil, time.Time{}, err
}

// signs reports whether a certificate permits what a client does with its key in a handshake
// (RFC 5280, section 4.2.1.3). x509.Verify does not look at the key usage of a leaf; OpenSSL
// does, and lets keyAgreement do as well, of the days of TLS 1.2 and static Diffie-Hellman.
func signs(c *x509.Certificate) bool {
	if c.KeyUsage == 0 { // which may also mean that it permits nothing
		return !slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidKeyUsage) })
	}
	return c.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageKeyAgreement) != 0
}

var oidKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 15}

// authorize asks Authorize.
func (p *policy) authorize(i *Identity, timeout time.Duration) (err error) {
	if p.authorizer == nil {
		return nil
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: it panicked: %v", errNotAuthorized, r)
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := p.authorizer(ctx, i); err != nil {
		return fmt.Errorf("%w: %w", errNotAuthorized, err)
	}
	return nil
}

// verify verifies what a client presented, as crypto/tls does where it verifies
// itself.
func (p *policy) verify(presented []*x509.Certificate, now time.Time) ([][]*x509.Certificate, error) {
	if p.verified == nil {
		return verifyClient(presented, p.pool, now)
	}
	return p.verified.verify(presented, p.pool, now)
}

func verifyClient(presented []*x509.Certificate, roots *x509.CertPool, now time.Time) ([][]*x509.Certificate, error) {
	opts := x509.VerifyOptions{
		Roots:         roots,
		CurrentTime:   now,
		Intermediates: x509.NewCertPool(),
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, cert := range presented[1:] {
		opts.Intermediates.AddCert(cert)
	}
	return presented[0].Verify(opts)
}

// maxTold is how many certificates a client may present for it to be told that there are too
// many: the chain is verified once more for that.
const maxTold = 12

// tooDeep reports whether what a client presented fails on the depth alone.
func (p *policy) tooDeep(presented []*x509.Certificate, now time.Time) bool {
	if len(presented) > maxTold {
		return false
	}
	roots := x509.NewCertPool()
	for _, a := range p.certs {
		roots.AddCert(a)
	}
	_, err := verifyClient(presented, roots, now)
	return err == nil
}

// skipped reports whether a normalised, plain path needs no certificate.
func (p *policy) skipped(path string) bool {
	for _, re := range p.skips {
		if re.MatchString(path) {
			return true
		}
	}
	return false
}

// digest writes everything that decides whose certificates are taken.
func (p *policy) digest(h hash.Hash) {
	writeInt(h, p.depth)
	anchors := make([]string, 0, len(p.certs))
	for _, a := range p.certs {
		anchors = append(anchors, string(a.Raw))
	}
	slices.Sort(anchors)
	writeStrings(h, slices.Compact(anchors))
	p.crls.digest(h)
	if p.allow != nil {
		writeStrings(h, []string{"allow"})
		p.allow.digest(h)
	}
	writeStrings(h, []string{p.authorizerID})
	patterns := make([]string, 0, len(p.skips))
	for _, re := range p.skips {
		patterns = append(patterns, re.String())
	}
	slices.Sort(patterns)
	writeStrings(h, patterns)
}

// policyDigest is what a session ticket is bound to: the profile's ID and its
// whole client policy. It holds nothing of this process, so that machines with
// the same configuration take each other's tickets.
func policyDigest(id string, p *policy) (sum [sha256.Size]byte) {
	h := sha256.New()
	writeStrings(h, []string{"sallyport session scope 1", id})
	if p != nil {
		p.digest(h)
	}
	h.Sum(sum[:0])
	return sum
}

// The fields are written with their lengths, so that no two lists read the same.
func writeStrings(h hash.Hash, list []string) {
	writeInt(h, len(list))
	for _, s := range list {
		writeInt(h, len(s))
		h.Write([]byte(s))
	}
}

func writeInt(h hash.Hash, n int) {
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
}

// validUntil returns the earliest end of validity in a chain. It reports false
// if a certificate of it is not valid now.
func validUntil(chain []*x509.Certificate, now time.Time) (until time.Time, ok bool) {
	until = chain[0].NotAfter
	for _, c := range chain {
		if now.Before(c.NotBefore) || now.After(c.NotAfter) {
			return time.Time{}, false
		}
		if c.NotAfter.Before(until) {
			until = c.NotAfter
		}
	}
	return until, true
}
