package gateway

import (
	"cmp"
	"net/http"

	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
)

// An Explanation says what would become of a request: see [*Server.Explain].
type Explanation struct {
	// ServerName is the name that Profile is looked for by: the server name of the connection
	// or, if it has none, FallbackName of [Options].TLS. It is empty without TLS.
	ServerName string

	// Profile is the one that serves the handshake. It is nil without TLS, and if the handshake
	// is refused with the alert unrecognized_name.
	Profile *ssl.Profile

	// Status and Message are the gateway's own answer to the request, of which the body is made
	// ([Options.ErrorBody]). Status is zero if there is none: the request then goes to the target
	// of the route, unless the route's Authorize has something against it.
	Status  int
	Message string

	// Refused is why the guard refuses the request, or nil if it does not.
	Refused *ssl.RequestError

	// Route says how a route was looked for, even if the guard refuses the request. It is nil if
	// nobody looks for one, because of the method (405), the path or the Host (400).
	Route *route.Explanation
}

// Explain says what would become of a request: what serves the handshake, what the guard says
// and which route is found, by the same rules and with the same configuration as if the
// request came to [*Server.ServeHTTP]. The request is sent nowhere, not counted and not
// logged. A client has the certificate that is in r.TLS, if any. Of your functions, only the
// Authorize of a profile is called, for such a certificate. Where a condition of a route asks
// for it, the body is read.
//
// It is for people: it takes time in proportion to the routes that are tried.
func (s *Server) Explain(r *http.Request) *Explanation {
	snap := s.snap.Load()
	x := &Explanation{}
	if r.TLS != nil {
		x.ServerName = cmp.Or(r.TLS.ServerName, s.o.TLS.FallbackName)
		x.Profile = snap.ssl.Lookup(x.ServerName)
	}
	path, why := s.pathOf(r)
	if why != nil {
		x.deny(why)
		return x
	}
	host, ok := canonicalHost(r)
	if !ok {
		x.deny(badHost(r.Host))
		return x
	}
	d := s.decisionOf(snap, &httpAsker{r}, path, host)
	why = s.find(d)
	d.header.identityNames = &snap.identityNames // find stops short of it where it refuses
	d.lookups()
	x.Route = snap.routes.Explain(&d.req)
	if why == nil {
		why = d.unidentified()
	}
	if why == nil && d.found.Route.Handler() == nil {
		if _, ok := snap.pools.Get(d.found.Route.Upstream()); !ok {
			why = noUpstream
		}
	}
	if why != nil {
		x.deny(why)
	}
	return x
}

func (x *Explanation) deny(why *denial) {
	x.Status, x.Message, x.Refused = why.status, why.message, why.refusal
}
