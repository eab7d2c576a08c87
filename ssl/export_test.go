package ssl

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"time"
)

// What the tests of the external package see of the inside.

// ParseCRLs parses lists as a [ClientAuth] has them.
func ParseCRLs(data []byte) (lists []*x509.RevocationList, err error) {
	parsed, err := parseCRLs(data)
	for _, one := range parsed {
		lists = append(lists, one.list)
	}
	return lists, err
}

// MaxVerified bounds the chains that CacheVerified remembers.
const MaxVerified = maxVerified

// Verified returns how many chains a profile's CacheVerified remembers.
func Verified(p *Profile) int {
	p.client.verified.mu.RLock()
	defer p.client.verified.mu.RUnlock()
	return len(p.client.verified.m)
}

// VerifyClient verifies what a client presents, as a handshake does under
// CacheVerified.
func VerifyClient(p *Profile, presented []*x509.Certificate, now time.Time) ([][]*x509.Certificate, error) {
	return p.client.verify(presented, now)
}

// SatisfiedBy says why verified chains do not satisfy a profile.
func SatisfiedBy(p *Profile, chains [][]*x509.Certificate, now time.Time) error {
	_, _, err := p.client.satisfiedBy(chains, now)
	return err
}

// Mislead makes the chains that a profile's CacheVerified remembers end in another
// certificate: who is let in after that was verified anew.
func Mislead(p *Profile, anchor *x509.Certificate) {
	p.client.verified.mu.Lock()
	defer p.client.verified.mu.Unlock()
	for _, found := range p.client.verified.m {
		for _, chain := range found {
			chain[len(chain)-1].anchor = anchor
		}
	}
}

// Counted is of how many IDs handshakes are counted.
func Counted(tm *Terminator) int { return int(tm.counts.size.Load()) }

// CountHandshake returns what counts one handshake that succeeded.
func CountHandshake(tm *Terminator) func() {
	of, cs := tm.counts.of("1", tm.table), &tls.ConnectionState{Version: tls.VersionTLS13}
	return func() { tm.counts.succeeded(of, cs, time.Millisecond) }
}

// Procs is how many handshakes compute at a time, or zero if there is no bound.
func (s *Store) Procs() int { return cap(s.procs) }

// TakeProc and GiveProc are a handshake that computes, and its end.
func (s *Store) TakeProc() { s.procs.take() }
func (s *Store) GiveProc() { s.procs.give() }

// What the tests see of sharedCerts.
var NewSharedCerts = newSharedCerts

// Collide lets all certificates have the same hash.
func (s *sharedCerts) Collide() { s.hash = func([]byte) uint64 { return 1 } }

func (s *sharedCerts) Of(c *x509.Certificate) *x509.Certificate { return s.of(c) }
func (s *sharedCerts) Len() (n int) {
	for i := range s.shards {
		n += len(s.shards[i].m)
	}
	return n
}

// CRLCovers returns the names of where a list is published, by the extension that says so, and
// whether it is for a certificate with the extension cert.
func CRLCovers(list, cert, issuer []byte) (points [][]byte, covers bool, err error) {
	s, err := parseScope(list)
	return s.points, err == nil && s.covers(&x509.Certificate{RawIssuer: issuer, Extensions: []pkix.Extension{{Id: oidDistributionPoints, Value: cert}}}), err
}
