package ssl

import (
	"container/list"
	"crypto"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/sallyport/sallyport/internal/signer"
)

// This file bounds the handshakes of a listener, and says who goes when there are too many.
// A handshake costs the server little while it waits for its client, and the client
// nothing: whoever opens connections and says nothing would have all places until
// HandshakeTimeout, and everybody else none. So when all are taken and another connection
// waits for one, the handshake goes that has gone on for longest, if that is longer than a
// grace. One that does not wait for its client is left alone: its connection can be closed,
// but its place comes back no sooner.

// handshakeGrace is how long a handshake has its place for certain. It is many round trips
// to the other end of the world, and so much shorter than HandshakeTimeout that to take all
// places takes ten times the connections.
const handshakeGrace = time.Second

// errCrowdedOut is how a handshake ends that has lost its place.
var errCrowdedOut = errors.New("ssl: all places for handshakes were taken, and another connection waited for one")

// slots are the places of the connections on their way to Accept.
type slots struct {
	taken  chan struct{}   // one for each
	closed <-chan struct{} // ends the waiting for a place

	mu      sync.Mutex // guards what follows, and parts of each place
	over    bool       // nobody may come any more
	pending list.List  // the places of handshakes, each a *slot, by since
}

// A slot is one of them.
type slot struct {
	of      *slots
	conn    net.Conn
	begun   time.Time     // when it was taken
	element *list.Element // in pending
	paced   *pacedConn    // of the handshake that goes on

	// Guarded by the mutex of the places.
	since   time.Time // when the grace began
	working bool      // a function of the user's runs, and nobody waits for the client
	queued  bool      // it waits for a processor
	lost    bool
}

// take gives a connection a place for its handshake, and waits for one if there is none. It
// returns nil, and closes the connection, if it is over before that.
func (s *slots) take(c net.Conn) *slot {
	if !s.wait() {
		_ = c.Close()
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		_ = c.Close()
		return nil
	}
	now := time.Now()
	p := &slot{of: s, conn: c, begun: now, since: now}
	p.element = s.pending.PushBack(p)
	return p
}

// wait takes a place as soon as there is one. It reports false if it is over before that.
func (s *slots) wait() bool {
	select {
	case s.taken <- struct{}{}:
		return true
	default:
	}
	for {
		again := time.NewTimer(s.displace())
		select {
		case s.taken <- struct{}{}:
			again.Stop()
			return true
		case <-s.closed:
			again.Stop()
			return false
		case <-again.C:
		}
	}
}

// takeAll takes all places, for nobody. None is taken away for it.
func (s *slots) takeAll() {
	for range cap(s.taken) {
		select {
		case s.taken <- struct{}{}:
		case <-s.closed:
			return
		}
	}
}

func (s *slots) free() { <-s.taken }

// displace takes the place of the handshake away that has gone on for longest, if it has
// had its grace. It returns when it is worth looking again, should none be free until then.
func (s *slots) displace() time.Duration {
	s.mu.Lock()
	p, wait := s.longest()
	if p != nil {
		p.lost = true
		s.pending.Remove(p.element)
	}
	s.mu.Unlock()
	if p != nil {
		_ = p.conn.Close()
	}
	return wait
}

// longest finds the handshake that displace ends, or none. s.mu is held.
func (s *slots) longest() (*slot, time.Duration) {
	now := time.Now()
	for e := s.pending.Front(); e != nil; e = s.pending.Front() {
		p := e.Value.(*slot)
		if wait := p.since.Add(handshakeGrace).Sub(now); wait > 0 {
			return nil, wait
		}
		if !p.working && !p.queued {
			return p, handshakeGrace
		}
		p.again(now) // so that it is looked at once in a grace, and not by everybody who waits
	}
	return nil, handshakeGrace
}

// close ends the handshakes that go on, and those that come.
func (s *slots) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	for e := s.pending.Front(); e != nil; e = e.Next() {
		_ = e.Value.(*slot).conn.Close()
	}
}

// settle ends the handshake in a place, which nobody takes away from then on. It reports
// false if that was done before.
func (p *slot) settle() bool {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	p.of.pending.Remove(p.element)
	return !p.lost
}

// displaced reports whether the place was taken away.
func (p *slot) displaced() bool {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	return p.lost
}

// again lets the grace begin anew. The mutex of the places is held.
func (p *slot) again(now time.Time) {
	p.since = now
	p.of.pending.MoveToBack(p.element)
}

// keep returns a copy of a configuration with which the place is kept, and no processor is,
// while a function of the user's judges the client or signs: one that is slow for once would
// cost everybody the handshake who waits for it, and nobody would have a place for it.
func (p *slot) keep(config *tls.Config) *tls.Config {
	config = config.Clone()
	verify := config.VerifyConnection
	config.VerifyConnection = func(cs tls.ConnectionState) error {
		defer p.leave()()
		return verify(cs)
	}
	wrap := config.WrapSession // which judges where VerifyConnection does not: see SkipPaths
	config.WrapSession = func(cs tls.ConnectionState, s *tls.SessionState) ([]byte, error) {
		defer p.leave()()
		return wrap(cs, s)
	}
	config.Certificates = slices.Clone(config.Certificates)
	for i := range config.Certificates {
		config.Certificates[i].PrivateKey = p.keepKey(config.Certificates[i].PrivateKey)
	}
	if choose := config.GetCertificate; choose != nil {
		config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			chosen, err := choose(hello)
			if chosen == nil || !signer.Guarded(chosen.PrivateKey) {
				return chosen, err
			}
			kept := *chosen
			kept.PrivateKey = p.keepKey(kept.PrivateKey)
			return &kept, err
		}
	}
	return config
}

func (p *slot) keepKey(key crypto.PrivateKey) crypto.PrivateKey {
	if !signer.Guarded(key) {
		return key
	}
	return &keptSigner{key.(crypto.Signer), p}
}

// A keptSigner is a Signer of the user's in one handshake. It is a [crypto.MessageSigner],
// as what it signs with is.
type keptSigner struct {
	crypto.Signer
	slot *slot
}

// Sign implements [crypto.Signer].
func (k *keptSigner) Sign(rand io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	defer k.slot.leave()()
	return k.Signer.Sign(rand, digest, o)
}

// SignMessage implements [crypto.MessageSigner].
func (k *keptSigner) SignMessage(rand io.Reader, msg []byte, o crypto.SignerOpts) ([]byte, error) {
	defer k.slot.leave()()
	return crypto.SignMessage(k.Signer, rand, msg, o)
}

// leave leaves the handshake to a function of the user's, until what it returns is called.
func (p *slot) leave() (back func()) {
	p.work(true)
	p.paced.procs.give()
	return func() {
		p.paced.take()
		p.work(false)
	}
}

func (p *slot) work(working bool) {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	p.working = working
	p.again(time.Now())
}

// queue notes that a processor is waited for, or not any more. That is no new grace: a
// client that sends a byte at a time would have one with each.
func (p *slot) queue(waits bool) {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	p.queued = waits
}
