package route

import (
	"net/textproto"
	"strings"
)

// An AuthorizeRequest is a request that has found its route, for [Config.Authorize] to
// judge: the Request and the Match by which the route was found, so that no spelling of a
// path is one thing to the route and another to who judges. For a test, it is made as it
// stands:
//
//	r := &route.AuthorizeRequest{Request: route.Request{Method: "GET", Path: "/users/alice"}}
//	r.Match = table.Match(&r.Request)
//
// Its fields, and what its methods return, stay as they are and may be kept. To change them
// changes nothing else.
type AuthorizeRequest struct {
	// Request has the method, the canonical host, the normalised path and the address of
	// the client: behind trusted proxies and the PROXY protocol the address that
	// RemoteAddrs are compared with. Package gateway sets ClientAddr and Lookups for every
	// route that has an Authorize; its Lookups may be asked by several goroutines at a
	// time, and know nothing when the call of Authorize is over.
	Request

	// Match has the route, and what its path has captured.
	Match
}

// NewAuthorizeRequest returns what [Config.Authorize] is asked about, for those who serve
// themselves. Its strings are its own: req and m may be parts of a buffer. Its Lookups are
// those of req.
func NewAuthorizeRequest(req *Request, m *Match) *AuthorizeRequest {
	r := &AuthorizeRequest{*req, *m}
	for _, s := range []*string{&r.Method, &r.Host, &r.Port, &r.Path, &r.Match.path} {
		*s = strings.Clone(*s)
	}
	return r
}

// Header returns a field of the client's header as conditions see it, whatever the case of
// name: one with several lines has one value, in which they are joined by ", ", or for
// Cookie by "; ". So there is no line that is hidden behind the first. ok is false if there
// is none, and without Lookups. To package gateway, that is so of a field in which nobody
// but a gateway may speak of the client's certificate, and where the route has an Upstream
// of a field that does not go on to it, because Connection names it; and fields about forwarding
// (X-Forwarded-For and the like) say what it saw itself, unless the peer is a trusted
// proxy.
func (r *AuthorizeRequest) Header(name string) (value string, ok bool) {
	if r.Lookups == nil {
		return "", false
	}
	return r.Lookups.Lookup(VarHeader, textproto.CanonicalMIMEHeaderKey(name))
}

// Var returns a variable of the request, by the names that [Config.Vars] have: "args" is
// the query as it came, and "arg_id" an argument of it. It is [*Request.Var] with what the
// path has captured. Asking for post_arg_NAME reads the body, as long as that may take.
func (r *AuthorizeRequest) Var(name string) (value string, ok bool) {
	return r.Request.Var(name, &r.Match)
}
