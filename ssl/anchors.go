package ssl

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"weak"
)

// anchors are the certificates that a client's chain may end in. They never
// change.
type anchors struct {
	// pool is what crypto/tls verifies against. The depth is a constraint of
	// each anchor in it, so that a chain that is too long gets the alert
	// unknown_ca, as OpenSSL gives, and not bad_certificate.
	pool *x509.CertPool

	// intermediates maps the DER of each anchor to the number of intermediates
	// that may stand below it.
	intermediates map[string]int

	certs []*x509.Certificate
}

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
	above, err := heights(certs)
	if err != nil {
		return nil, err
	}
	a := &anchors{pool: x509.NewCertPool(), intermediates: map[string]int{}, certs: certs}
	var faults []error
	for i, cert := range certs {
		if above[i] < 0 && partial {
			above[i] = 0
		}
		if above[i] < 0 {
			faults = append(faults, fmt.Errorf("certificate %d (%s) is an intermediate, and no root in the bundle signed it: add its root", i+1, subject(cert)))
			continue
		}
		allowed := depth - above[i]
		a.intermediates[string(cert.Raw)] = allowed
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

// maxSignatureChecks bounds the work of [heights]: far more than a bundle of real
// roots and intermediates takes.
const maxSignatureChecks = 1000

// heights returns for each certificate how many steps it stands below a
// self-issued one of the bundle, itself included in the counting of
// intermediates: 0 for a root, 1 for what a root signed, -1 for what no root of
// the bundle leads to. OpenSSL counts an intermediate of the bundle like one
// that the client sends, and accepts it only if its root is there too.
func heights(certs []*x509.Certificate) ([]int, error) {
	above := make([]int, len(certs))
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
			if above[i] >= 0 {
				continue
			}
			if checks++; checks > maxSignatureChecks {
				return nil, errors.New("has too many certificates with the same subject to find out which of them signed which")
			}
			if certs[i].CheckSignatureFrom(certs[issuer]) == nil {
				above[i] = above[issuer] + 1
				reached = append(reached, i)
			}
		}
	}
	return above, nil
}
