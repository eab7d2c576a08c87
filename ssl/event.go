package ssl

import (
	"crypto/tls"
	"net"
	"time"
)

// A HandshakeEvent says how a handshake at [*Terminator.Listener] ended. It and everything
// in it never change, and may be kept.
type HandshakeEvent struct {
	Begun time.Time     // when the connection had been accepted and its PROXY header read
	Took  time.Duration // until the handshake was finished or refused

	RemoteAddr net.Addr
	ServerName string // as the client sent it: it may be any bytes
	Profile    string // its ID, if the name has one

	State *tls.ConnectionState // nil if the handshake failed
	Err   *HandshakeError      // nil if it succeeded
}

// over tells of a handshake that is over.
func (tm *Terminator) over(a *attempt, begun time.Time, took time.Duration, remote net.Addr, cs *tls.ConnectionState, e *HandshakeError) {
	if tm.o.Trace == nil || tm.o.Trace.HandshakeDone == nil {
		return
	}
	event := &HandshakeEvent{Begun: begun, Took: took, RemoteAddr: remote, ServerName: a.serverName, State: cs, Err: e}
	if a.profile != nil {
		event.Profile = a.profile.id
	}
	tm.o.Trace.HandshakeDone(event)
}
