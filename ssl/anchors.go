package ssl

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"
	"weak"

	"github.com/sallyport/sallyport/internal/clientcert"
)

// anchors are the certificates that a client's chain may end in. They never
// change.
type anchors struct {
	// pool is what crypto/tls verifies against. The depth is a constraint of
	// each anchor in it, so that a chain that is too long gets the alert
	// unknown_ca, as OpenSSL gives, and not bad_certificate.
	pool *x509.CertPool

	// ways maps the DER of each anchor to the ways from it to a root, shortest
	// first: one, and of no length, for a root.
	ways map[string][]way

	certs []*x509.Certificate
}

// A way goes from an anchor up to a root, through the bundle. A chain that ends in
// an intermediate of the bundle is a chain to that root: what is above expires
// and is revoked like what is below, and restricts it.
type way struct {
	above   []*x509.Certificate // without the anchor
	allowed int                 // how many intermediates may stand below the anchor

	// restricts says that something above restricts what may stand below by more than the
	// length: see [way.permits].
	restricts bool
}

var errAbove = errors.New("ssl: a certificate above one of the profile's CAs does not permit the chain")

// permits reports whether the whole of a chain, up to the root, is one that the certificates
// above the anchor permit (RFC 5280, section 6.1): by their name constraints, their extended
// key usage, or a critical extension that nobody here understands. x509.Verify has looked at
// none of them, because for it the chain ends in the anchor.
func (w *way) permits(whole []*x509.Certificate, now time.Time) error {
	if !w.restricts {
		return nil
	}
	root := x509.NewCertPool()
	root.AddCert(whole[len(whole)-1])
	chains, err := verifyClient(whole[:len(whole)-1], root, now)
	if err == nil && !slices.ContainsFunc(chains, func(c []*x509.Certificate) bool { return slices.EqualFunc(c, whole, (*x509.Certificate).Equal) }) {
		err = errors.New("only another chain is permitted")
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errAbove, err)
	}
	return nil
}

// restricts reports whether a CA restricts what stands below it by more than the length.
func restricts(c *x509.Certificate) bool {
	named := slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidNameConstraints) })
	return named || len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage)+len(c.UnhandledCriticalExtensions) > 0
}

var oidNameConstraints = asn1.ObjectIdentifier{2, 5, 29, 30}

// An anchorsKey is what anchors are made of.
type anchorsKey struct {
	bundle  [sha256.Size]byte // of the PEM
	depth   int
	partial bool // DangerouslyAllowIntermediateAnchors
}

// known are the anchors that some policy has, by their anchorsKey. Thousands of
// names often take the clients of one CA: they share one parsed copy, which is
// more than half of what such a profile weighs. The pointers are weak: what no
// policy has any more is gone.
var known sync.Map // anchorsKey to weak.Pointer[anchors]

// sharedAnchors returns the anchors of a bundle, parsed or found.
func sharedAnchors(bundle []byte, depth int, partial bool) (*anchors, error) {
	key := anchorsKey{sha256.Sum256(bundle), depth, partial}
	if v, ok := known.Load(key); ok {
		if a := v.(weak.Pointer[anchors]).Value(); a != nil {
			return a, nil
		}
	}
	a, err := newAnchors(bundle, depth, partial)
	if err != nil {
		return nil, err
	}
	pointer := weak.Make(a)
	known.Store(key, pointer)
	runtime.AddCleanup(a, func(key anchorsKey) { known.CompareAndDelete(key, pointer) }, key)
	return a, nil
}

func newAnchors(bundle []byte, depth int, partial bool) (*anchors, error) {
	certs, err := parseCertificates(bundle)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	certs = slices.DeleteFunc(certs, func(c *x509.Certificate) bool {
		again := seen[string(c.Raw)]
		seen[string(c.Raw)] = true
		return again
	})
	above, signers, err := heights(certs)
	if err != nil {
		return nil, err
	}
	a := &anchors{pool: x509.NewCertPool(), ways: map[string][]way{}, certs: certs}
	find := &wayFinder{certs: certs, signers: signers, depth: depth}
	var faults []error
	for i, cert := range certs {
		if above[i] < 0 && !partial {
			fault := fmt.Errorf("certificate %d (%s) is an intermediate, and no root in the bundle signed it: add its root", i+1, clientcert.Subject(cert))
			if cert.Version == 3 && !cert.IsCA {
				fault = fmt.Errorf("certificate %d (%s) is not a CA's: give that of the CA which signed it", i+1, clientcert.Subject(cert))
			}
			faults = append(faults, fault)
			continue
		}
		ways, err := find.from(i)
		if err != nil {
			return nil, err
		}
		a.ways[string(cert.Raw)] = ways
		allowed := -2 // not even the anchor itself may be a client's certificate
		for _, w := range ways {
			allowed = max(allowed, w.allowed)
		}
		a.pool.AddCertWithConstraint(cert, func(chain []*x509.Certificate) error {
			// chain is the leaf and its intermediates, without the anchor.
			if len(chain)-1 > allowed {
				return errDepth
			}
			return nil
		})
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return a, nil
}

// A wayFinder finds the ways from the anchors of a bundle to its roots.
type wayFinder struct {
	certs   []*x509.Certificate
	signers [][]int
	depth   int
	steps   int
}

// from returns the ways from one certificate, shortest first.
func (f *wayFinder) from(start int) (ways []way, err error) {
	on := []int{start} // the way so far
	var climb func() error
	climb = func() error {
		if f.steps++; f.steps > maxSteps {
			return errors.New("has too many certificates that signed each other to find every way to a root")
		}
		last := on[len(on)-1]
		if len(f.signers[last]) == 0 {
			ways = append(ways, f.way(on))
			return nil
		}
		if len(on)-1 > f.depth {
			return nil // too deep even for the anchor itself
		}
		for _, i := range f.signers[last] {
			if slices.Contains(on, i) {
				continue
			}
			on = append(on, i)
			if err := climb(); err != nil {
				return err
			}
			on = on[:len(on)-1]
		}
		return nil
	}
	err = climb()
	slices.SortStableFunc(ways, func(a, b way) int { return len(a.above) - len(b.above) })
	return ways, err
}

func (f *wayFinder) way(on []int) way {
	w := way{allowed: f.depth - (len(on) - 1)}
	for below, i := range on[1:] {
		cert := f.certs[i]
		w.above = append(w.above, cert)
		w.restricts = w.restricts || restricts(cert)
		if cert.BasicConstraintsValid && cert.MaxPathLen >= 0 {
			// Below it are the anchor and those between (RFC 5280, section 4.2.1.9).
			w.allowed = min(w.allowed, cert.MaxPathLen-1-below)
		}
	}
	return w
}

// maxSteps bounds the work of a wayFinder.
const maxSteps = 10_000

// maxSignatureChecks bounds the work of [heights]: far more than a bundle of real
// roots and intermediates takes.
const maxSignatureChecks = 1000

// heights returns for each certificate how many steps it stands below a
// self-issued one of the bundle, itself included in the counting of
// intermediates: 0 for a root, 1 for what a root signed, -1 for what no root of
// the bundle leads to. OpenSSL counts an intermediate of the bundle like one
// that the client sends, and accepts it only if its root is there too. signers
// are those of the bundle that signed it and that a root leads to.
func heights(certs []*x509.Certificate) (above []int, signers [][]int, err error) {
	above, signers = make([]int, len(certs)), make([][]int, len(certs))
	issuedBy := map[string][]int{} // by the name of the issuer
	var reached []int              // nearest to a root first
	for i, c := range certs {
		if string(c.RawSubject) == string(c.RawIssuer) {
			reached = append(reached, i)
			continue
		}
		above[i] = -1
		issuedBy[string(c.RawIssuer)] = append(issuedBy[string(c.RawIssuer)], i)
	}
	checks := 0
	for ; len(reached) > 0; reached = reached[1:] {
		issuer := reached[0]
		for _, i := range issuedBy[string(certs[issuer].RawSubject)] {
			if checks++; checks > maxSignatureChecks {
				return nil, nil, errors.New("has too many certificates with the same subject to find out which of them signed which")
			}
			if certs[i].CheckSignatureFrom(certs[issuer]) != nil {
				continue
			}
			signers[i] = append(signers[i], issuer)
			if above[i] < 0 {
				above[i] = above[issuer] + 1
				reached = append(reached, i)
			}
		}
	}
	return above, signers, nil
}
