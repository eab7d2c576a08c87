package ssl

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
	"weak"
)

// judge returns the identity of a connection's client under a profile's policy,
// now, or why the client does not satisfy it.
func (tm *Terminator) judge(p *Profile, cs *tls.ConnectionState) (*Identity, error) {
	v := tm.verdict(p, cs, false)
	return v.identity, v.err
}

// noCertificate is the verdict on a client that showed none.
var noCertificate = &verdict{err: errUnverified}

// verdict returns the verdict on a connection's client under a profile's policy,
// now. It is remembered for the connection for as long as nothing of the chain
// expires. unseen says that nobody has seen the slices of the state, which are the
// connection's own: see [sharedCerts.share].
func (tm *Terminator) verdict(p *Profile, cs *tls.ConnectionState, unseen bool) *verdict {
	if p.client == nil || len(cs.PeerCertificates) == 0 {
		return noCertificate
	}
	now := tm.now()
	if v := tm.verdicts.find(cs); v != nil && v.profile == p && !now.After(v.until) {
		return v
	}
	v := tm.verdictOf(p, cs, now, unseen)
	tm.verdicts.remember(cs, v)
	return v
}

func (tm *Terminator) verdictOf(p *Profile, cs *tls.ConnectionState, now time.Time, unseen bool) *verdict {
	memory := refusalMemory
	refused := func(err error) *verdict {
		return &verdict{profile: p, until: now.Add(memory), err: err, reason: policyReason(p, err, now)}
	}
	chain, until, err := p.client.satisfiedBy(cs.VerifiedChains, now)
	if errors.Is(err, errUnverified) {
		// Not verified by crypto/tls, because the profile does not or did not ask
		// for it, or verified against other roots.
		begun := time.Now()
		chains, verifyErr := p.client.verify(cs.PeerCertificates, now)
		memory = max(memory, refusalPart*time.Since(begun))
		if verifyErr != nil {
			return refused(&tls.CertificateVerificationError{UnverifiedCertificates: slices.Clone(cs.PeerCertificates), Err: verifyErr})
		}
		chain, until, err = p.client.satisfiedBy(chains, now)
	}
	if err != nil {
		return refused(err)
	}
	chain = slices.Clone(chain)
	if unseen {
		tm.shared.share(cs, chain)
	}
	identity := &Identity{profile: p, chain: chain, until: until, resumed: cs.DidResume, texts: new(identityTexts)}
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

// refusalPart is how much longer than it took to find out it is remembered at least: a chain
// may be long, and made to be slow to verify.
const refusalPart = 500

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

	// near has the verdicts of connections that are in use, each in the one place
	// that its address gives it, and so without a lock: a copy of what is in the
	// shards, written under their locks. BenchmarkJudge keeps watch.
	near [1 << nearBits]atomic.Pointer[verdict]
}

// nearBits makes room for 4096 verdicts, in 32 KiB.
const nearBits = 12

// nearest returns the place of an address in near.
func (vs *verdicts) nearest(key uintptr) *atomic.Pointer[verdict] {
	return &vs.near[uint64(key)*0x9e3779b97f4a7c15>>(64-nearBits)] // Fibonacci hashing
}

// Nothing in a verdict may lead to the slice by which it is found: it would never
// be forgotten.
type verdict struct {
	place    weak.Pointer[*x509.Certificate]
	profile  *Profile
	identity *Identity // nil: not satisfied, because of err
	err      error
	reason   Reason // of err
	until    time.Time

	// satisfied says that the client has satisfied a profile that demands it of
	// every connection, such as that of the handshake, now or before.
	satisfied bool

	// asked has the questions that the guard answered by this verdict, each in
	// the place that the length of its host gives it: some clients alternate
	// between two names.
	asked [4]atomic.Pointer[question]
}

// A question is what the guard's answer depends on, but for the client and the
// time, which are the verdict's.
type question struct {
	table            uint64 // version of the table: a pointer would keep it alive
	serverName, host string
}

// answers reports whether the guard let a request of the verdict's client through
// before that differs from this one in nothing that counts.
func (v *verdict) answers(t *Table, serverName, host string) bool {
	q := v.asked[len(host)%len(v.asked)].Load()
	return q != nil && q.table == t.number() && q.host == host && q.serverName == serverName
}

// remember notes a question. The host may be a part of a whole header block, which
// is not to be kept.
func (v *verdict) remember(t *Table, serverName, host string) {
	v.asked[len(host)%len(v.asked)].Store(&question{t.number(), serverName, strings.Clone(host)})
}

// lasts reports whether a verdict is good for a moment longer at least, by a
// cheap look at the time.
func (tm *Terminator) lasts(v *verdict) bool {
	if tm.base.Time != nil {
		return !tm.base.Time().After(v.until)
	}
	// The clock is behind by less than a second, and shows whole ones.
	return tm.clock.seconds()+2 <= v.until.Unix()
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
	if v := vs.nearest(uintptr(unsafe.Pointer(place))).Load(); v != nil && v.place.Value() == place {
		return v
	}
	return vs.findFar(place)
}

// findFar finds a verdict that is not near, and brings it there.
func (vs *verdicts) findFar(place **x509.Certificate) *verdict {
	key := uintptr(unsafe.Pointer(place))
	shard := &vs.shards[key>>4%uintptr(len(vs.shards))]
	shard.mu.RLock()
	defer shard.mu.RUnlock()
	v := shard.m[key]
	if v == nil || v.place.Value() != place {
		return nil
	}
	vs.nearest(key).Store(v)
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
	vs.nearest(key).Store(v)
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
		vs.nearest(f.key).CompareAndSwap(v, nil)
	}
}
