package ssl

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"time"
)

// A session ticket of crypto/tls holds the client's certificates and nothing of
// what they were accepted for: under one key, a session of a.test resumes at
// b.test. So each ticket gets a mark: the scope of the profile, which is a digest
// of its ID and its whole client policy, and the time until which the client's
// chain is valid. A ticket whose mark does not fit is declined, not refused: the
// client gets a full handshake and whatever that says.

// markPrefix tells our part of SessionState.Extra from that of others.
var markPrefix = []byte("sallyport-session-1")

const markLen = len("sallyport-session-1") + sha256.Size + 8

// wrap makes the ticket of a finished handshake.
func (tm *Terminator) wrap(p *Profile, cs *tls.ConnectionState, s *tls.SessionState) ([]byte, error) {
	until := time.Unix(math.MaxInt64, 0) // without a chain nothing of it expires
	if p.client != nil && len(cs.PeerCertificates) > 0 {
		identity, err := tm.judge(p, cs)
		if err != nil {
			// A certificate that was shown and not verified gets no session.
			return ticketOfNothing(), nil
		}
		until = identity.until
	}
	mark := make([]byte, 0, markLen)
	mark = append(mark, markPrefix...)
	mark = append(mark, p.scope[:]...)
	mark = binary.BigEndian.AppendUint64(mark, uint64(until.Unix()))
	s.Extra = append(s.Extra, mark)
	ticket, err := tm.owner.EncryptTicket(*cs, s)
	if len(ticket) > maxTicket {
		return ticketOfNothing(), nil
	}
	return ticket, err
}

// maxTicket bounds a ticket, in bytes: it holds the client's certificates, and those of each
// chain to a root. From 64 KiB on no message has room for it, and with crypto/tls the
// handshake would end. A little below, there would be no room in the ClientHello that brings
// it back.
const maxTicket = 32 << 10

// ticketOfNothing returns a ticket that opens nothing: there is no way to send none.
func ticketOfNothing() []byte {
	nothing := make([]byte, 32)
	_, _ = rand.Read(nothing) // never fails
	return nothing
}

// SetTicketKeys replaces the keys of the session tickets, for a fleet whose machines accept
// each other's tickets: all machines must have the same keys. The first key encrypts, all
// of them decrypt. To rotate, more often than weekly, add a new one in front and drop the
// last. If it is not called, the keys are random and rotate by themselves. It may be called
// at any time; there must be at least one key.
func (tm *Terminator) SetTicketKeys(keys ...[32]byte) error {
	if len(keys) == 0 {
		return errors.New("ssl: SetTicketKeys: there is no key")
	}
	if slices.Contains(keys, [32]byte{}) {
		return errors.New("ssl: SetTicketKeys: a key is all zeros: anyone could make tickets")
	}
	tm.owner.SetSessionTicketKeys(keys)
	return nil
}

// unwrap opens a ticket, or declines it.
func (tm *Terminator) unwrap(p *Profile, ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
	s, err := tm.owner.DecryptTicket(ticket, cs)
	if err != nil || s == nil {
		return nil, nil // a ticket that cannot be read is no reason to refuse (RFC 5077, section 3.1)
	}
	for _, extra := range s.Extra {
		if len(extra) != markLen || !bytes.HasPrefix(extra, markPrefix) {
			continue
		}
		scope, until := extra[len(markPrefix):markLen-8], binary.BigEndian.Uint64(extra[markLen-8:])
		if bytes.Equal(scope, p.scope[:]) && tm.now().Unix() <= int64(until) {
			return s, nil
		}
	}
	return nil, nil
}
