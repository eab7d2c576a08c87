package ssl

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"time"

	"github.com/sallyport/sallyport/internal/hostname"
	"github.com/sallyport/sallyport/internal/urlpath"
)

// This file is the guard: the way of every request. It takes no lock but that of
// a verdict that was not asked for lately, and works on the one table that it is
// given. BenchmarkJudge keeps watch on time, TestVerdictDoesNotAllocate on
// allocations.

// A RequestError says why the guard refuses a request, as a [HandshakeError] does of a
// handshake. It is the error of [*Terminator.Judge].
type RequestError struct {
	// Status is the status of the answer: 400, 403 or 421.
	Status int

	// Close says that the connection is of no more use to this client and should end after the
	// answer, by "Connection: close", which net/http turns into a GOAWAY with HTTP/2. See also
	// [*RequestError.Closes].
	Close bool

	// Message is for the client. It says what is wrong with the request, and nothing about the
	// configuration.
	Message string

	// Reason is [ReasonMisdirected], [ReasonPlainHTTP], [ReasonBadHost] or, for a fault of the
	// client's certificate, that of a handshake.
	Reason Reason

	// Certificate is the one that the client presented, if it was judged.
	Certificate *x509.Certificate

	// ServerName, Host and Profile are for the log: the name that the connection was made for,
	// the Host as it came, and the ID of the profile that governs the Host, if any.
	ServerName, Host, Profile string

	// What [*RequestError.Advice] needs to know beyond that.
	profile *Profile
	err     error     // why the client's certificate is not accepted
	at      time.Time // when that was judged
}

// Closes reports whether the answer to a request should end its connection: if Close says
// so, and for a 421 with HTTP/1.1. An HTTP/2 connection that is shared by several names
// continues for the others.
func (e *RequestError) Closes(req *http.Request) bool {
	return e.Close || e.Status == http.StatusMisdirectedRequest && req.ProtoMajor < 2
}

// Error implements error, for the log.
func (e *RequestError) Error() string {
	return fmt.Sprintf("ssl: %d: %s (server name %q, host %q, profile %q)", e.Status, e.Message, e.ServerName, e.Host, e.Profile)
}

// Messages to clients.
const (
	msgMisdirected = "this connection was made for another server name than that of the request; connect with the name of the request"
	msgNoCert      = "no required client certificate was sent"
	msgBadCert     = "the client certificate is not accepted for this server name"
	msgStaleCert   = "the client certificate is no longer accepted for this server name; connect again"
	msgPlain       = "this name is served over TLS only, with a client certificate; use https"
	msgHost        = "the Host is not a valid name"
)

// Judge is the guard. It decides whether a request may be served, according to the profiles
// of one table:
//
//   - host is the Host or :authority as it came. It may be empty, with HTTP/1.0.
//   - path is the path as it came, before any decoding, without the query.
//   - cs is the state of the connection, or nil for plain HTTP.
//
// The request is governed by the profile that its Host has in t. If the error is nil, the
// request may be served. The Identity is then the client's, if the governing profile
// demands certificates and accepts the client's. It is nil if the profile demands none, and
// on a path that needs none for a client without a certificate or with one that is not
// accepted. The error is a [*RequestError].
//
//   - The connection's server name and the Host have different profiles, or only one of
//     them has a profile, and either demands client certificates: 421 (RFC 9110, section
//     15.5.20), after which a browser opens the right connection.
//   - The client sent no certificate, or one that does not verify, and the path needs
//     one: 400, as with nginx and APISIX.
//   - The client's certificate was verified in the handshake, but no longer satisfies
//     the profile: 421, with Close, so that the next handshake gives the reason.
//   - Plain HTTP, and the Host's profile demands certificates: 403, except below
//     /.well-known/acme-challenge/ (RFC 8555, section 8.3).
//
// Judge may be called by any number of goroutines.
func (tm *Terminator) Judge(t *Table, cs *tls.ConnectionState, host, path string) (*Identity, error) {
	if cs != nil && len(cs.PeerCertificates) > 0 {
		// Most requests ask what the one before did.
		if v := tm.verdicts.find(cs); v != nil && v.answers(t, cs.ServerName, host) && tm.lasts(v) {
			return v.identity, nil
		}
	}
	var name string
	if host != "" {
		var ok bool
		if name, ok = hostname.CanonicalHost(host); !ok {
			return nil, &RequestError{Status: http.StatusBadRequest, Reason: ReasonBadHost, Message: msgHost, Host: host}
		}
	}
	governing, closed := t.find(name)
	if cs == nil {
		if (governing.DemandsClientCert() || closed) && !urlpath.ACMEChallenge(path) {
			return nil, refusal(http.StatusForbidden, ReasonPlainHTTP, msgPlain, cs, host, governing)
		}
		return nil, nil
	}
	made := governing
	if name == "" || cs.ServerName != name {
		var madeClosed bool
		made, madeClosed = tm.find(t, cs.ServerName)
		closed = closed || madeClosed
	}
	switch {
	case made != governing || closed:
		if made.DemandsClientCert() || governing.DemandsClientCert() || closed {
			return nil, refusal(http.StatusMisdirectedRequest, ReasonMisdirected, msgMisdirected, cs, host, governing)
		}
		return nil, nil
	case !governing.DemandsClientCert():
		return nil, nil
	}
	v := tm.verdict(governing, cs, false)
	if v.err == nil {
		v.remember(t, cs.ServerName, host)
		return v.identity, nil
	}
	switch {
	case tm.satisfied(cs):
		r := tm.unaccepted(http.StatusMisdirectedRequest, msgStaleCert, cs, host, governing, v)
		r.Close = true
		return nil, r
	case governing.skips(path):
		return nil, nil
	case len(cs.PeerCertificates) > 0:
		return nil, tm.unaccepted(http.StatusBadRequest, msgBadCert, cs, host, governing, v)
	default:
		return nil, refusal(http.StatusBadRequest, ReasonNoClientCert, msgNoCert, cs, host, governing)
	}
}

// unaccepted returns the refusal of a client with a certificate that a verdict was against.
func (tm *Terminator) unaccepted(status int, message string, cs *tls.ConnectionState, host string, p *Profile, v *verdict) *RequestError {
	now := tm.now()
	r := refusal(status, v.reason, message, cs, host, p)
	r.Certificate, r.err, r.at = presented(cs), v.err, now
	return r
}

func refusal(status int, reason Reason, message string, cs *tls.ConnectionState, host string, p *Profile) *RequestError {
	r := &RequestError{Status: status, Reason: reason, Message: message, Host: host, profile: p}
	if cs != nil {
		r.ServerName = cs.ServerName
	}
	if p != nil {
		r.Profile = p.id
	}
	return r
}

// skips reports whether a raw path needs no client certificate. Only a plain path
// can: of any other, the origin may have a reading that needs one.
func (p *Profile) skips(raw string) bool {
	if len(p.client.skips) == 0 {
		return false
	}
	path, err := urlpath.Parse(raw)
	return err == nil && path.Plain && p.client.skipped(path.Normal)
}

// Handler returns the guard in front of a handler: it answers the requests that
// [*Terminator.Judge] refuses, and passes on the others with the client's [Identity] in
// their context. Make it the outermost handler of everything that is served with
// [*Terminator.TLSConfig], so that it judges what the client sent.
func (tm *Terminator) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		identity, err := tm.Judge(tm.table(), r.TLS, r.Host, urlpath.Raw(r))
		if err != nil {
			refuse(w, r, err)
			return
		}
		if identity != nil {
			r = r.WithContext(NewContext(r.Context(), identity))
		}
		next.ServeHTTP(w, r)
	})
}

func refuse(w http.ResponseWriter, r *http.Request, err error) {
	refusal, ok := err.(*RequestError)
	if !ok {
		panic("ssl: internal error: the guard's error is no RequestError")
	}
	if refusal.Closes(r) {
		w.Header().Set("Connection", "close")
	}
	http.Error(w, refusal.Message, refusal.Status)
}
