package gateway

import (
	"time"

	"github.com/sallyport/sallyport/ssl"
)

// A Refusal is a client that was refused: in the handshake behind [*Server.ServeTLS], by
// the guard, or because a route is not for it. It never changes.
//
// What comes from the client (ServerName, Host, Subject, Issuer) is cut after 255 bytes.
// It may be anything: whoever shows it must escape it.
type Refusal struct {
	At time.Time

	// Status is that of the answer to a request: 400, 403 or 421. It is zero for a
	// handshake that failed.
	Status int

	Reason ssl.Reason

	// Advice is a sentence for the operator: what was wrong, and what to do.
	Advice string

	ServerName string // of the connection, as the client sent it; empty without TLS
	Host       string // of the request, as the client sent it; empty for a handshake
	Remote     string // the address of the connection's peer, "10.0.0.1:40000"
	Client     string // of the client, if a trusted proxy named another; else that of Remote
	Profile    string // ID of the profile that refused it, if there is one
	Route      string // ID of the route that was not for the client, if one was found

	// The certificate that the client presented. They are empty if there was none, or it
	// was not looked at.
	Subject string // as RFC 2253 writes it
	Issuer  string // likewise
	Serial  string // in upper-case hexadecimal
	SHA256  string // in lower-case hexadecimal
}

// Handshake reports whether it was a handshake that failed, and not a request that was
// refused.
func (r *Refusal) Handshake() bool { return r.Status == 0 }

// Refusals returns the last refusals, the newest first. [Options.Refusals] bounds how many
// are kept, and [Stats.Refusals] counts all that ever were.
func (s *Server) Refusals() []Refusal { return nil }
