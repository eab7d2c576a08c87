package ssl

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sallyport/sallyport/internal/clientcert"
)

// A Reason says why a handshake failed, or why the guard refused a request. There are no
// others than these constants.
type Reason string

// The reasons for handshakes to fail.
const (
	ReasonNoSNI        Reason = "no_sni"         // the client named no server, and there is no fallback
	ReasonUnknownSNI   Reason = "unknown_sni"    // no profile answers for the name
	ReasonNoClientCert Reason = "no_client_cert" // the profile demands a certificate
	ReasonUnknownCA    Reason = "unknown_ca"     // the chain ends in none of the profile's roots
	ReasonExpired      Reason = "expired"        // a certificate of the chain is not valid now
	ReasonRevoked      Reason = "revoked"        // a CRL revokes a certificate of the chain, or a CRL that is needed is missing or out of date
	ReasonDepth        Reason = "depth"          // more intermediates than the profile allows
	ReasonKeyUsage     Reason = "key_usage"      // the certificate is not for clients
	ReasonNotAllowed   Reason = "not_allowed"    // the policy refuses this client
	ReasonTimeout      Reason = "timeout"        // the handshake took too long
	ReasonCrowdedOut   Reason = "crowded_out"    // the handshake lost its place to another connection: see Options.MaxHandshakes
	ReasonProtocol     Reason = "protocol"       // not TLS; no version, cipher suite or kind of key in common; a panic; or a Signer that failed
	ReasonClientAbort  Reason = "client_abort"   // the client went away or sent an alert
)

// The reasons that only the guard has. For a fault of the client's certificate, it has the
// same reasons as a handshake.
const (
	ReasonMisdirected Reason = "misdirected" // the connection was made for another server name
	ReasonPlainHTTP   Reason = "plain_http"  // plain HTTP, where client certificates are demanded
	ReasonBadHost     Reason = "bad_host"    // the Host is not a valid name
)

// Reasons returns all reasons, those of handshakes first.
func Reasons() []Reason {
	return append(HandshakeReasons(), ReasonMisdirected, ReasonPlainHTTP, ReasonBadHost)
}

// HandshakeReasons returns the reasons for handshakes to fail, in the order of the
// documentation.
func HandshakeReasons() []Reason { return slices.Clone(handshakeReasons[:]) }

// A HandshakeError says why a handshake failed.
type HandshakeError struct {
	Reason     Reason
	ServerName string // as the client sent it: it may be any bytes
	RemoteAddr net.Addr
	Profile    string // its ID, if the name has one

	// Certificate is the one that the client presented, if it was refused.
	Certificate *x509.Certificate

	// Err is the error of crypto/tls, or says that the handshake was crowded out.
	Err error

	// What [*HandshakeError.Advice] needs to know beyond that.
	profile *Profile
	below   bool          // the name stands below a wildcard that demands client certificates
	limit   time.Duration // that a handshake may take
	at      time.Time     // by the clock that certificates are judged by
}

// Error implements error.
func (e *HandshakeError) Error() string {
	return fmt.Sprintf("ssl: handshake with %v for %q: %s: %v", e.RemoteAddr, e.ServerName, e.Reason, e.Err)
}

// Unwrap returns Err.
func (e *HandshakeError) Unwrap() error { return e.Err }

// LogValue implements [slog.LogValuer].
func (e *HandshakeError) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.String("reason", string(e.Reason)),
		slog.String("server_name", e.ServerName),
		slog.String("remote", e.RemoteAddr.String()),
		slog.String("profile", e.Profile),
	}
	if c := e.Certificate; c != nil {
		attrs = append(attrs,
			slog.String("subject", clientcert.ShownSubject(c)),
			slog.String("issuer", clientcert.ShownIssuer(c)),
			slog.String("serial", clientcert.Serial(c)),
			slog.String("sha256", fingerprint(c)))
	}
	return slog.GroupValue(append(attrs, slog.String("error", cut(e.Err.Error())), slog.String("advice", e.Advice()))...)
}

// An attempt is what is known of a handshake while it goes on. It travels in the
// context of the handshake.
type attempt struct {
	hello      bool // the ClientHello came
	serverName string
	profile    *Profile
	counts     *handshakeCounts // never nil
	slot       *slot            // its place; nil before the handshake itself
}

type attemptKey struct{}

// classify finds the reason in what crypto/tls returned.
func (tm *Terminator) classify(a *attempt, remote net.Addr, err error) *HandshakeError {
	e := &HandshakeError{
		ServerName: a.serverName, RemoteAddr: remote, Err: err,
		profile: a.profile, limit: tm.o.HandshakeTimeout, at: tm.now(),
	}
	if a.profile != nil {
		e.Profile = a.profile.id
	} else if a.hello {
		_, e.below = tm.find(tm.table(), a.serverName)
	}
	var invalid *tls.CertificateVerificationError
	var policy *policyError
	var alert *net.OpError
	switch {
	case errors.As(err, &policy):
		// Before all else: what a function of the user's returns may be of any
		// kind, such as the time that ran out on its way to a server of its own.
		e.Certificate, e.Reason = policy.presented, policy.reason
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		e.Reason = ReasonTimeout
	case errors.As(err, &invalid) && len(invalid.UnverifiedCertificates) > 0:
		e.Certificate = invalid.UnverifiedCertificates[0]
		e.Reason = certificateReason(a.profile, invalid, e.at)
	case strings.Contains(err.Error(), "client didn't provide a certificate"):
		e.Reason = ReasonNoClientCert
	case errors.Is(err, errCrowdedOut):
		e.Reason = ReasonCrowdedOut
	case errors.As(err, &alert) && alert.Op == "remote error", a.hello && illegible(err),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		e.Reason = ReasonClientAbort
	case a.hello && a.profile == nil && a.serverName == "":
		e.Reason = ReasonNoSNI
	case a.hello && a.profile == nil:
		e.Reason = ReasonUnknownSNI
	default:
		e.Reason = ReasonProtocol
	}
	return e
}

// illegible reports whether a handshake ended with a record that could not be decrypted.
// With TLS 1.3, that is the alert of a client that refuses the server's certificate:
// OpenSSL, and so curl, sends it in the clear.
func illegible(err error) bool {
	var alert *net.OpError
	return errors.As(err, &alert) && alert.Op == "local error" && alert.Err.Error() == "tls: bad record MAC"
}

// A policyError is what VerifyConnection refuses a client with.
type policyError struct {
	presented *x509.Certificate // nil if there was none
	reason    Reason
	err       error
}

func (e *policyError) Error() string { return e.err.Error() }
func (e *policyError) Unwrap() error { return e.err }

func presented(cs *tls.ConnectionState) *x509.Certificate {
	if len(cs.PeerCertificates) == 0 {
		return nil
	}
	return cs.PeerCertificates[0]
}

func policyReason(p *Profile, err error, now time.Time) Reason {
	var invalid *tls.CertificateVerificationError
	switch {
	case errors.Is(err, errNotAuthorized):
		return ReasonNotAllowed
	case errors.As(err, &invalid):
		return certificateReason(p, invalid, now)
	case errors.Is(err, errRevoked), errors.Is(err, errCRLMissing), errors.Is(err, errCRLScope), errors.Is(err, errCRLExpired):
		return ReasonRevoked
	case errors.Is(err, errExpired):
		return ReasonExpired
	case errors.Is(err, errDepth):
		return ReasonDepth
	case errors.Is(err, errAbove):
		return cmp.Or(invalidReason(err), ReasonUnknownCA)
	case errors.Is(err, errKeyUsage):
		return ReasonKeyUsage
	case errors.Is(err, errUnverified):
		return ReasonUnknownCA
	default:
		return ReasonNotAllowed
	}
}

// invalidReason is that of an error of x509.Verify which says it, or "".
func invalidReason(err error) Reason {
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) {
		switch invalid.Reason {
		case x509.Expired:
			return ReasonExpired
		case x509.IncompatibleUsage:
			return ReasonKeyUsage
		case x509.TooManyIntermediates:
			return ReasonDepth
		}
	}
	return ""
}

func certificateReason(p *Profile, e *tls.CertificateVerificationError, now time.Time) Reason {
	if reason := invalidReason(e); reason != "" {
		return reason
	}
	if p != nil && p.client != nil && p.client.tooDeep(e.UnverifiedCertificates, now) {
		return ReasonDepth
	}
	return ReasonUnknownCA
}
