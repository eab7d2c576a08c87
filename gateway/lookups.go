package gateway

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/sallyport/sallyport/internal/clientcert"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
)

// lookups answers what the Vars of routes ask of a request: as [route.HTTPLookups]
// does, but of the client's certificate what the guard says. crypto/tls verified it
// by the policy of the handshake; here the one counts that holds now.
type lookups struct {
	*route.HTTPLookups
	verify string
	client clientcert.Variables
}

// ask gives a routing request what conditions may ask for. The request that it
// returns is r, or a copy of which the body may be read.
func (s *Server) ask(req *route.Request, r *http.Request, identity *ssl.Identity) *http.Request {
	if client, err := netip.ParseAddr(s.senderOf(r).client); err == nil {
		req.Client = client.Unmap().WithZone("")
	}
	if r.ContentLength != 0 {
		// What reads ahead puts another body in its place, and net/http wants to
		// find its own in the request that it made.
		r = r.WithContext(r.Context())
	}
	l := &lookups{HTTPLookups: route.NewHTTPLookups(r), verify: "NONE"}
	switch {
	case identity != nil:
		l.verify = "SUCCESS"
		l.client.Certificate = identity.Certificate()
	case r.TLS != nil && len(r.TLS.PeerCertificates) > 0:
		l.verify = "FAILED:certificate not verified"
	}
	req.Lookups = l
	return r
}

// Lookup implements [route.Lookups].
func (l *lookups) Lookup(kind route.VarKind, name string) (string, bool) {
	switch {
	case kind != route.VarOther || !strings.HasPrefix(name, "ssl_client_"):
		return l.HTTPLookups.Lookup(kind, name)
	case name == "ssl_client_verify":
		return l.verify, true
	default:
		return l.client.Lookup(name)
	}
}

// LookupAll implements [route.Lookups].
func (l *lookups) LookupAll(name string) ([]string, bool) { return l.client.LookupAll(name) }
