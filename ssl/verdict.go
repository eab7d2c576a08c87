package ssl

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"
	"unsafe"
	"weak"
)

// judge returns the identity of a connection's client under a profile's policy,
// now, or why the client does not satisfy it. It is remembered for the connection
// for as long as nothing of the chain expires.
func (tm *Terminator) judge(p *Profile, cs *tls.ConnectionState) (*Identity, error) {
	if p.client == nil || len(cs.PeerCertificates) == 0 {
		return nil, errUnverified
	}
	now := tm.now()
	if v := tm.verdicts.find(cs); v != nil && v.profile == p && !now.After(v.until) {
		return v.identity, v.err
	}
	v := tm.verdictOf(p, cs, now)
	tm.verdicts.remember(cs, v)
	return v.identity, v.err
}

func (tm *Terminator) verdictOf(p *Profile, cs *tls.ConnectionState, now time.Time) *verdict {
	refused := func(err error) *verdict {
		return &verdict{profile: p, until: now.Add(refusalMemory), err: err}
	}
	chain, until, err := p.client.satisfiedBy(cs.VerifiedChains, now)
	if errors.Is(err, errUnverified) {
		// Not verified by crypto/tls, because the profile does not or did not ask
		// for it, or verified against other roots.
		chains, verifyErr := p.client.verify(cs.PeerCertificates, now)
		if verifyErr != nil {
			return refused(&tls.CertificateVerificationError{UnverifiedCertificates: slices.Clone(cs.PeerCertificates), Err: verifyErr})
		}
		chain, until, err = p.client.satisfiedBy(chains, now)
	}
	if err != nil {
		return refused(err)
	}
	identity := &Identity{profile: p, chain: slices.Clone(chain), until: until, resumed: cs.DidResume}
	if err := p.client.authorize(identity, tm.o.HandshakeTimeout); err != nil {
		return refused(err)
	}
	return &verdict{profile: p, identity: identity, until: until}
}

// satisfied reports whether the client of a connection was verified in its
// handshake, by crypto/tls or here.
func (tm *Terminator) satisfied(cs *tls.ConnectionState) bool {
	if len(cs.VerifiedChains) > 0 {
		return true // crypto/tls has verified it
	}
	if len(cs.PeerCertificates) == 0 {
		return false
	}
	v := tm.verdicts.find(cs)
	return v != nil && v.satisfied
}

// refusalMemory is how long it is remembered that a client does not satisfy a
// policy: long enough that requests cannot make us verify the same wrong chain
// over and over, short enough for a certificate that becomes valid.
const refusalMemory = time.Second

// verdicts remembers one verdict for each connection with a client certificate.
//
// A connection is known by where its certificates lie: crypto/tls makes the slice
// PeerCertificates once for each connection, and every ConnectionState of it has
// the same. Nothing else that a foreign http.Server passes on is the
// connection's own. An address alone would be reused for another connection
// after a collection, so the verdict also has a weak pointer to it, which is nil
// from then on.
type verdicts struct {
	shards [32]struct {
		mu sync.RWMutex // guards m
		m  map[uintptr]*verdict
		_  [32]byte // to keep the locks on lines of their own
	}
}

// Nothing in a verdict may lead to the slice by which it is found: it would never
// be forgotten.
type verdict struct {
	place    weak.Pointer[*x509.Certificate]
	profile  *Profile
	identity *Identity // nil: not satisfied, because of err
	err      error
	until    time.Time

	// satisfied says that the client has satisfied a profile that demands it of
	// every connection, such as that of the handshake, now or before.
	satisfied bool
}

func newVerdicts() *verdicts {
	vs := &verdicts{}
	for i := range vs.shards {
		vs.shards[i].m = map[uintptr]*verdict{}
	}
	return vs
}

func (vs *verdicts) find(cs *tls.ConnectionState) *verdict {
	place := &cs.PeerCertificates[0]
	key := uintptr(unsafe.Pointer(place))
	shard := &vs.shards[key>>4%uintptr(len(vs.shards))]
	shard.mu.RLock()
	v := shard.m[key]
	shard.mu.RUnlock()
	if v == nil || v.place.Value() != place {
		return nil
	}
	return v
}

func (vs *verdicts) remember(cs *tls.ConnectionState, v *verdict) {
	place := &cs.PeerCertificates[0]
	key := uintptr(unsafe.Pointer(place))
	v.place = weak.Make(place)
	shard := &vs.shards[key>>4%uintptr(len(vs.shards))]
	shard.mu.Lock()
	old := shard.m[key]
	another := old == nil || old.place != v.place
	v.satisfied = v.identity != nil && !v.profile.optional() || !another && old.satisfied
	shard.m[key] = v
	shard.mu.Unlock()
	if another {
		runtime.AddCleanup(place, vs.forget, forgotten{key, v.place})
	}
}

type forgotten struct {
	key   uintptr
	place weak.Pointer[*x509.Certificate]
}

// forget drops the verdict of a connection that is gone, unless its address is
// that of another by now.
func (vs *verdicts) forget(f forgotten) {
	shard := &vs.shards[f.key>>4%uintptr(len(vs.shards))]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if v := shard.m[f.key]; v != nil && v.place == f.place {
		delete(shard.m, f.key)
	}
}
