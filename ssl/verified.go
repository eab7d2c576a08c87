package ssl

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"slices"
	"sync"
	"time"
)

// maxVerified bounds the chains that are remembered for one profile: about half a
// megabyte.
const maxVerified = 4096

// verifiedChains remembers the chains that were found for what clients presented.
// It belongs to one policy, and is gone with it.
//
// It never accepts what a fresh verification would refuse. What x509.Verify finds
// depends on the bytes that the client presented, which are the whole of the key;
// on the roots, which are the policy's and never change; and on the time, of
// which only the validity of each certificate counts. That, like the lists of
// revocation, the allow-list and the depth, is looked at anew by satisfiedBy each
// time. All that is saved are the signatures. That the client has the private key
// is shown in every handshake, and is crypto/tls's to check.
type verifiedChains struct {
	mu sync.RWMutex // guards m
	m  map[[sha256.Size]byte][]foundChain
}

// A foundChain is a chain without what the client presents, which comes again each
// time: parsed, it weighs some kilobytes.
type foundChain []place

// A place is that of one certificate of a chain.
type place struct {
	presented int               // in what the client presents, if anchor is nil
	anchor    *x509.Certificate // of the policy
}

func placesOf(chain, presented []*x509.Certificate) foundChain {
	places := make(foundChain, len(chain))
	for i, c := range chain {
		if n := slices.Index(presented, c); n >= 0 {
			places[i].presented = n
		} else {
			places[i].anchor = c
		}
	}
	return places
}

// in returns the chain with what a client presents.
func (f foundChain) in(presented []*x509.Certificate) []*x509.Certificate {
	chain := make([]*x509.Certificate, len(f))
	for i, p := range f {
		if chain[i] = p.anchor; chain[i] == nil {
			chain[i] = presented[p.presented]
		}
	}
	return chain
}

func (v *verifiedChains) verify(presented []*x509.Certificate, roots *x509.CertPool, now time.Time) ([][]*x509.Certificate, error) {
	key := presentedSum(presented)
	v.mu.RLock()
	found := v.m[key]
	v.mu.RUnlock()
	var chains [][]*x509.Certificate
	for _, f := range found {
		chains = append(chains, f.in(presented))
	}
	if anyValid(chains, now) {
		return chains, nil
	}
	chains, err := verifyClient(presented, roots, now)
	if err != nil {
		return nil, err
	}
	found = nil
	for _, chain := range chains {
		found = append(found, placesOf(chain, presented))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.m == nil {
		v.m = map[[sha256.Size]byte][]foundChain{}
	}
	if len(v.m) >= maxVerified {
		for other := range v.m { // whichever comes first: the order is random
			delete(v.m, other)
			break
		}
	}
	v.m[key] = found
	return chains, nil
}

// anyValid reports whether one of the chains is valid now. If none is, a fresh
// verification says why, or finds another.
func anyValid(chains [][]*x509.Certificate, now time.Time) bool {
	for _, chain := range chains {
		if _, ok := validUntil(chain, now); ok {
			return true
		}
	}
	return false
}

// presentedSum is the SHA-256 of certificates with their lengths.
func presentedSum(certs []*x509.Certificate) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, c := range certs {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(c.Raw))))
		h.Write(c.Raw)
	}
	h.Sum(sum[:0])
	return sum
}
