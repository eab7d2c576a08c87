package gateway

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/internal/clientcert"
	"github.com/sallyport/sallyport/internal/sample"
	"github.com/sallyport/sallyport/ssl"
)

// A Refusal is a client that was refused: in the handshake at [*Server.ServeTLS], by the
// guard, or because a route is not for it. It never changes.
//
// What comes from the client (ServerName, Host, Subject, Issuer) is truncated after 255
// bytes. It may be anything: escape it when you display it.
type Refusal struct {
	At time.Time

	// Status is the status of the answer to a request: 400, 403 or 421. It is zero for a
	// handshake that failed.
	Status int

	Reason ssl.Reason

	// Advice is a sentence for the operator: what was wrong, and what to do.
	Advice string

	ServerName string // of the connection, as the client sent it; empty without TLS
	Host       string // of the request, as the client sent it; empty for a handshake
	RemoteAddr string // the address of the connection's peer, "10.0.0.1:40000"
	ClientAddr string // of the client, if a trusted proxy named another; otherwise the address in RemoteAddr
	Profile    string // ID of the profile that refused the client, if there is one
	Route      string // ID of the route that was not for the client, if one was found

	// The certificate that the client presented. These are empty if there was none, or if it
	// was not examined.
	Subject string // as RFC 2253 writes it
	Issuer  string // likewise
	Serial  string // in upper-case hexadecimal
	SHA256  string // in lower-case hexadecimal
}

// Handshake reports whether a handshake failed, as opposed to a request that was refused.
func (r Refusal) Handshake() bool { return r.Status == 0 }

// Refusals returns the last refusals, the newest first. [Options.RefusalsKept] bounds how
// many are kept, and [Stats.RefusalsTotal] counts all that there ever were. If there are
// too many, the oldest with the most frequent reason is dropped first, so that a flood of
// one kind does not hide the others.
func (s *Server) Refusals() []Refusal {
	s.refusals.mu.Lock()
	defer s.refusals.mu.Unlock()
	list := slices.Clone(s.refusals.last)
	slices.Reverse(list)
	return list
}

// refusals keeps what [*Server.Refusals] returns, and counts all that there ever were.
// Nothing on the way of a request that is served comes here.
type refusals struct {
	total   atomic.Uint64
	reasons []ssl.Reason // that there are
	counts  []reasonCounts
	most    int // that are kept

	mu   sync.Mutex // guards what follows
	last []Refusal  // the oldest first
}

// refusalStatuses are those with which a request is refused.
var refusalStatuses = [...]int{http.StatusBadRequest, http.StatusForbidden, http.StatusMisdirectedRequest}

// reasonCounts are those of a reason.
type reasonCounts struct {
	requests [len(refusalStatuses)]atomic.Uint64 // refused, by status
	logged   sample.Sampler                      // of requests
}

const defaultRefusals = 64

func (rs *refusals) init(most int) {
	if most == 0 {
		most = defaultRefusals
	}
	rs.most = max(most, 0)
	rs.reasons = ssl.Reasons()
	rs.counts = make([]reasonCounts, len(rs.reasons))
}

func (rs *refusals) of(reason ssl.Reason) *reasonCounts {
	return &rs.counts[slices.Index(rs.reasons, reason)]
}

func (rs *refusals) sampler(reason ssl.Reason) *sample.Sampler { return &rs.of(reason).logged }

// add keeps a refusal. If there are too many, the oldest of the reason goes that has the
// most of them: a flood of scanners who name no server leaves the one client in place whose
// certificate has expired.
func (rs *refusals) add(r Refusal) {
	rs.total.Add(1)
	if i := slices.Index(refusalStatuses[:], r.Status); i >= 0 {
		rs.of(r.Reason).requests[i].Add(1)
	}
	if rs.most == 0 {
		return
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if len(rs.last) >= rs.most {
		i := rs.superfluous()
		rs.last = slices.Delete(rs.last, i, i+1)
	}
	rs.last = append(rs.last, r)
}

// superfluous returns the place of the oldest of the most frequent reason. rs.mu is held.
func (rs *refusals) superfluous() int {
	n := map[ssl.Reason]int{}
	for i := range rs.last {
		n[rs.last[i].Reason]++
	}
	most := 0
	for i := range rs.last {
		if n[rs.last[i].Reason] > n[rs.last[most].Reason] {
			most = i
		}
	}
	return most
}

// read returns what was counted of requests.
func (rs *refusals) read() (list []RefusalCount) {
	for i, status := range refusalStatuses {
		for k, reason := range rs.reasons {
			if n := rs.counts[k].requests[i].Load(); n > 0 {
				list = append(list, RefusalCount{status, reason, n})
			}
		}
	}
	return list
}

// tlsOptions returns Options.TLS, with handshakes that fail being kept.
func (s *Server) tlsOptions() *ssl.Options {
	o := s.o.TLS
	// Last, which is told first: who is told looks at what is kept.
	o.Trace = ssl.JoinTraces(o.Trace, &ssl.Trace{HandshakeDone: func(e *ssl.HandshakeEvent) {
		if e.Err != nil {
			s.handshakeFailed(e.Err)
		}
	}})
	return &o
}

// handshakeFailed keeps a handshake that failed.
func (s *Server) handshakeFailed(e *ssl.HandshakeError) {
	r := Refusal{
		At:         time.Now(),
		Reason:     e.Reason,
		Advice:     e.Advice(),
		ServerName: cut(e.ServerName),
		RemoteAddr: e.RemoteAddr.String(),
		ClientAddr: hostOf(e.RemoteAddr.String()),
		Profile:    e.Profile,
	}
	r.present(e.Certificate)
	s.refusals.add(r)
	s.history.touch(s)
}

// hostOf returns an address without its port.
func hostOf(remote string) string {
	if host, _, err := net.SplitHostPort(remote); err == nil {
		return host
	}
	return remote
}

// present notes the certificate that the client presented, if any.
func (r *Refusal) present(c *x509.Certificate) {
	if c == nil {
		return
	}
	sum := sha256.Sum256(c.Raw)
	r.Subject, r.Issuer = cut(clientcert.ShownSubject(c)), cut(clientcert.ShownIssuer(c))
	r.Serial, r.SHA256 = cut(clientcert.Serial(c)), hex.EncodeToString(sum[:])
}

// refused counts, keeps and logs a request that is refused.
func (s *Server) refused(r *http.Request, d *decision, why *denial) {
	refusal := Refusal{
		At:         time.Now(),
		Status:     why.status,
		Host:       cut(d.authority),
		RemoteAddr: r.RemoteAddr,
		ClientAddr: cut(d.header.from.client),
	}
	if d.tls != nil {
		refusal.ServerName = cut(d.tls.ServerName)
	}
	if refusal.ClientAddr == "" {
		refusal.ClientAddr = hostOf(r.RemoteAddr)
	}
	if match := d.found.Route; match != nil {
		refusal.Route = match.ID()
	}
	if guard := why.refusal; guard != nil {
		refusal.Reason, refusal.Advice, refusal.Profile = guard.Reason, guard.Advice(), guard.Profile
		refusal.present(guard.Certificate)
	} else {
		refusal.unauthorized(d, why)
	}
	s.refusals.add(refusal)
	d.visit.refusal = &refusal
	s.logRefused(r, &refusal, why.message, d.identity, why.unauthorized)
}

// unauthorized says why a route is not for the client.
func (r *Refusal) unauthorized(d *decision, why *denial) {
	cause, remedy := "", ""
	switch {
	case errors.Is(why.unauthorized, errNoIdentity):
		r.Reason = ssl.ReasonNoClientCert
		cause = fmt.Sprintf("the route %q takes only clients with a verified certificate, and ", r.Route)
		switch {
		case d.tls == nil:
			cause += "the request came over plain HTTP"
			remedy = "have the client use https"
		case !d.snap.ssl.Lookup(d.req.Host).DemandsClientCert():
			// Whatever the client has, it is never asked for it.
			cause += fmt.Sprintf("under the name %q no client is asked for one", d.req.Host)
			remedy = `set Client in the profile of that name, with SkipPaths "^/" if other routes do not need a certificate`
		default:
			cause += "this one has none"
		}
	case d.identity == nil:
		r.Reason = ssl.ReasonNotAllowed
		cause = fmt.Sprintf("Authorize of the route %q refuses the client, which has no verified certificate", r.Route)
	default:
		r.Reason, r.Profile = ssl.ReasonNotAllowed, d.identity.Profile().ID()
		cause = fmt.Sprintf("Authorize of the route %q refuses %s", r.Route, cut(d.identity.Subject()))
		r.present(d.identity.Certificate())
	}
	if remedy == "" {
		remedy = r.Reason.Remedy()
	}
	r.Advice = cause + ": " + remedy
}

// badHost is why a request goes nowhere whose Host is no name.
func badHost(host string) *denial {
	why := &denial{status: http.StatusBadRequest, message: "the Host is not a valid name"}
	why.refusal = &ssl.RequestError{Status: why.status, Reason: ssl.ReasonBadHost, Message: why.message, Host: host}
	return why
}

// refuseHost answers a request whose Host is no name.
func (s *Server) refuseHost(w http.ResponseWriter, r *http.Request, v *visit) {
	why := badHost(r.Host)
	d := &decision{tls: r.TLS, authority: r.Host, visit: v}
	if v.event != nil {
		v.event.note(d, why)
	}
	s.refused(r, d, why)
	s.answer(w, r, why.status, why.message)
}
