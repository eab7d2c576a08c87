package gateway

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"strings"

	"github.com/sallyport/sallyport/internal/clientcert"
	"github.com/sallyport/sallyport/internal/fieldname"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
)

// clientLookups answers what is asked about a client's certificate, by what the guard says:
// crypto/tls verified it by the policy of the handshake; here the one counts that holds
// now.
type clientLookups struct {
	identity *ssl.Identity        // nil if the client has none
	verify   string               // $ssl_client_verify: empty without TLS
	client   clientcert.Variables // the identity's
}

func newClientLookups(state *tls.ConnectionState, identity *ssl.Identity) clientLookups {
	l := clientLookups{identity: identity}
	switch {
	case state == nil:
	case identity != nil:
		l.verify = "SUCCESS"
		l.client.Certificate = identity.Certificate()
	case len(state.PeerCertificates) > 0:
		l.verify = "FAILED:certificate not verified"
	default:
		l.verify = "NONE"
	}
	return l
}

// Lookup implements [route.Lookups].
func (l *clientLookups) Lookup(_ route.VarKind, name string) (string, bool) {
	switch {
	case name == "ssl_client_verify":
		return l.verify, l.verify != ""
	case l.identity != nil:
		return l.identity.Var(name)
	default:
		return "", false
	}
}

// LookupAll implements [route.Lookups].
func (l *clientLookups) LookupAll(name string) ([]string, bool) { return l.client.LookupAll(name) }

// lookups answers what the Vars of routes ask of a request: as [route.HTTPLookups]
// does, but for two things that a client could lie about. Of its certificate it says
// what clientLookups say. And in the header it sees what the target of a route would
// get: a route that is chosen for "X-Client-Verify: SUCCESS" is one that everybody can
// choose.
type lookups struct {
	*route.HTTPLookups
	arrival *arrival
	client  clientLookups

	forwarding []route.HeaderField // the gateway's own, once they were asked for
}

// ask gives a routing request what conditions may ask for. The request that it
// returns is r, or a copy of which the body may be read.
func (a *arrival) ask(req *route.Request, r *http.Request, identity *ssl.Identity) *http.Request {
	req.ClientAddr = a.clientAddr()
	if r.ContentLength != 0 {
		// What reads ahead puts another body in its place, and net/http wants to
		// find its own in the request that it made.
		r = r.WithContext(r.Context())
	}
	req.Lookups = &lookups{HTTPLookups: route.NewHTTPLookups(r), arrival: a, client: newClientLookups(r.TLS, identity)}
	return r
}

// clientAddr returns the address of the client, or the zero Addr if it has none.
func (a *arrival) clientAddr() netip.Addr {
	client, err := netip.ParseAddr(a.from.client)
	if err != nil {
		return netip.Addr{}
	}
	return client.Unmap().WithZone("")
}

// Lookup implements [route.Lookups].
func (l *lookups) Lookup(kind route.VarKind, name string) (string, bool) {
	switch {
	case kind == route.VarHeader:
		return l.header(name)
	case kind == route.VarOther && strings.HasPrefix(name, "ssl_client_"):
		return l.client.Lookup(kind, name)
	default:
		return l.HTTPLookups.Lookup(kind, name)
	}
}

// header returns a header field.
func (l *lookups) header(name string) (string, bool) {
	switch l.arrival.kindOf(name) {
	case fieldIdentity:
		return "", false
	case fieldForwarding:
		switch {
		case !l.arrival.from.trusted:
			return l.forwardingField(name)
		case !fieldname.IsPlain(name):
			return "", false // in another spelling, it is nobody's
		}
	}
	return l.HTTPLookups.Lookup(route.VarHeader, name)
}

// forwardingField returns a field about forwarding as the gateway writes it.
func (l *lookups) forwardingField(name string) (string, bool) {
	if l.forwarding == nil {
		l.forwarding = l.arrival.appendForwarding(nil)
	}
	for _, f := range l.forwarding {
		if strings.EqualFold(f.Name, name) {
			return f.Value, f.Value != ""
		}
	}
	return "", false
}

// LookupAll implements [route.Lookups].
func (l *lookups) LookupAll(name string) ([]string, bool) { return l.client.LookupAll(name) }

// requestVars answers what the balancer of an upstream asks of a request.
type requestVars struct {
	request route.Request
	found   route.Match
}

// Var implements [upstream.Vars].
func (v *requestVars) Var(name string) (string, bool) { return v.request.Var(name, &v.found) }
