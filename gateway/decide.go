package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"

	"github.com/sallyport/sallyport/internal/urlpath"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// This file is what the gateway decides on each request, whichever door it came by. It
// takes no lock, and allocates nothing for a request without conditions.

// A decision is what there is to know of a request for it, and what was decided.
type decision struct {
	// Who asks for it fills these.
	snap      *snapshot
	tls       *tls.ConnectionState // nil without TLS
	authority string               // Host or :authority as it came
	path      urlpath.Path
	req       route.Request // Method, Host, Port and Path
	header    outgoing      // the arrival
	asker     asker
	visit     *visit

	// And decide these.
	identity *ssl.Identity // of the client; nil if none was verified
	found    route.Match
	pool     *upstream.Pool // where it goes; nil for a handler of the user's
	vars     upstream.Vars  // for pool; nil if it needs none
	rvars    requestVars
	certVars clientLookups // for values that ask for nothing else
}

// An asker gives a routing request what only the whole of the request can tell.
type asker interface {
	// ask sets Client and Lookups of d.req.
	ask(d *decision)

	// context returns the context of the request, which ends when its client goes away.
	context() context.Context

	// fields calls yield for each field of the client's header until it returns false.
	// What it is given is valid until then.
	fields(yield func(name, value string) bool)
}

// A denial is why a request goes nowhere.
type denial struct {
	status  int
	message string
	refusal *ssl.RequestError // the guard's, or nil
	err     error             // for the log: the mistake is the configuration's

	unauthorized error // for the log: the route is not for the client
}

var (
	noRoute    = &denial{status: http.StatusNotFound, message: "404 Route Not Found"}
	noUpstream = &denial{status: http.StatusBadGateway, message: "the upstream of the route does not exist", err: ErrNoUpstream}
)

// decide says where a request goes. It returns nil if there is such a place.
func (s *Server) decide(d *decision) *denial {
	why := s.find(d)
	if d.visit.event != nil {
		s.begun(d, why)
	}
	if why != nil {
		return why
	}
	return s.admit(d)
}

// find asks the guard, and finds the route.
func (s *Server) find(d *decision) *denial {
	guarded := d.path.Guard()
	identity, refused := s.term.Judge(d.snap.ssl, d.tls, d.authority, guarded)
	if refused != nil && d.tls != nil {
		return denied(refused)
	}
	d.identity = identity
	d.header.identityNames = &d.snap.identityNames
	if d.snap.routes.Conditional() {
		d.asker.ask(d)
	}
	d.found = d.snap.routes.Match(&d.req)
	match := d.found.Route
	if d.tls == nil && s.o.PlainHTTP != PlainOpen && (match == nil || !match.AllowPlain()) {
		if s.redirects(d) {
			return toHTTPS
		}
		if refused != nil {
			return denied(refused)
		}
		if match != nil && !urlpath.ACMEChallenge(guarded) {
			if why := d.snap.secluded(match, d.req.Host); why != "" {
				return denied(refusalOfPlain(why, d.authority))
			}
		}
	}
	if match == nil {
		return noRoute
	}
	return nil
}

// refusalOfPlain is why a route is not served over plain HTTP.
func refusalOfPlain(why, host string) *ssl.RequestError {
	return &ssl.RequestError{Status: http.StatusForbidden, Reason: ssl.ReasonPlainHTTP, Message: why, Host: host}
}

// admit finds the place that the route leads to, and says what goes there.
func (s *Server) admit(d *decision) *denial {
	match := d.found.Route
	if why := s.authorize(d); why != nil {
		return why
	}
	if match.Handler() == nil {
		pool, ok := d.snap.pools.Get(match.Upstream())
		if !ok {
			return noUpstream
		}
		d.pool = pool
		if pool.Upstream().NeedsVars() {
			d.lookups()
			d.rvars = requestVars{d.req, d.found}
			d.vars = &d.rvars
		}
	}
	d.header.edits = match.Headers()
	switch {
	case d.header.edits.NeedsVars():
		d.lookups()
	case d.req.Lookups == nil && len(d.header.edits.IdentityNames()) > 0:
		d.certVars = newClientLookups(d.tls, d.identity)
		d.req.Lookups = &d.certVars
	}
	d.header.write(&d.req, &d.found, d.identity, s.o.ClientCert)
	return nil
}

// lookups lets d.req have its Lookups.
func (d *decision) lookups() {
	if d.req.Lookups == nil {
		d.asker.ask(d)
	}
}

// denied makes a denial of the guard's error.
func denied(err error) *denial {
	var refusal *ssl.RequestError
	if !errors.As(err, &refusal) {
		panic("gateway: internal error: the guard's error is no RequestError")
	}
	return &denial{status: refusal.Status, message: refusal.Message, refusal: refusal}
}
