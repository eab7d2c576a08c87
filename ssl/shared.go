package ssl

import (
	"crypto/tls"
	"crypto/x509"
	"hash/maphash"
	"sync"
	"weak"
)

// sharedCerts lets connections whose clients present the same certificate have it once:
// parsed, it takes three kilobytes, a fifth of an idle connection, and services often have
// many connections from one client. crypto/tls itself shares what servers present and what
// comes with tickets, but parses what clients present anew for each connection.
//
// Nothing here keeps a certificate alive, and only those of clients that were verified come
// here. Two are the same if they have the same bytes.
type sharedCerts struct {
	hash func([]byte) uint64

	// shards, by hash. What is gone is looked for in one of them at a time: handshakes wait
	// for that.
	shards [16]certShard
}

// A certShard is some of the certificates.
type certShard struct {
	mu    sync.Mutex // guards what follows
	m     map[uint64]weak.Pointer[x509.Certificate]
	sweep int // how many there are when those are looked for that are gone
}

// leastSweep is how many certificates of a shard are not worth looking through.
const leastSweep = 64

func newSharedCerts() *sharedCerts {
	seed := maphash.MakeSeed()
	s := &sharedCerts{hash: func(b []byte) uint64 { return maphash.Bytes(seed, b) }}
	for i := range s.shards {
		s.shards[i].m, s.shards[i].sweep = map[uint64]weak.Pointer[x509.Certificate]{}, leastSweep
	}
	return s
}

// share puts certificates that other connections have in the place of those that are like
// them, in the state of a connection and in a chain that was found for it. crypto/tls says
// that the slices of the state should not be modified. But in a full handshake, before
// VerifyConnection of Options.Base is called, they are the connection's own and nobody else
// has seen them; and what is in them means the same afterwards. The state is that of the
// connection itself, as long as no other came with it (TestShared). At any other time it may
// be somebody else's too, or one that the caller of Judge has made.
func (s *sharedCerts) share(cs *tls.ConnectionState, chain []*x509.Certificate) {
	for i, own := range cs.PeerCertificates {
		same := s.of(own)
		if same == own {
			continue
		}
		cs.PeerCertificates[i] = same
		replace(chain, own, same)
		for _, chain := range cs.VerifiedChains {
			replace(chain, own, same)
		}
	}
}

func replace(chain []*x509.Certificate, old, new *x509.Certificate) {
	for i, c := range chain {
		if c == old {
			chain[i] = new
		}
	}
}

// of returns the certificate that others have with the same bytes, or c, for the next.
func (s *sharedCerts) of(c *x509.Certificate) *x509.Certificate {
	key := s.hash(c.Raw)
	in := &s.shards[key%uint64(len(s.shards))]
	in.mu.Lock()
	defer in.mu.Unlock()
	if known := in.m[key].Value(); known != nil && known.Equal(c) {
		return known
	}
	in.m[key] = weak.Make(c)
	if len(in.m) > in.sweep {
		for key, c := range in.m {
			if c.Value() == nil {
				delete(in.m, key)
			}
		}
		in.sweep = max(2*len(in.m), leastSweep)
	}
	return c
}
