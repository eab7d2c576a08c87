package route

import (
	"net/textproto"
	"strings"
)

// An AuthorizeRequest is a request that has found its route, for [Config.Authorize] to
// judge. It has the Request and the Match by which the route was found, so that a path
// cannot mean one thing to the route and another to Authorize. In a test, make one like
// this:
//
//	r := &route.AuthorizeRequest{Request: route.Request{Method: "GET", Path: "/users/alice"}}
//	r.Match = table.Match(&r.Request)
//
// Its fields, and what its methods return, do not change and may be kept. Changing them
// changes nothing else.
type AuthorizeRequest struct {
	// Request has the method, the canonical host, the normalised path and the client's
	// address: behind trusted proxies and the PROXY protocol, the address that RemoteAddrs
	// are compared with. Package gateway sets ClientAddr and Lookups for every route that
	// has an Authorize; its Lookups may be used by several goroutines at a time, and find
	// nothing once the call of Authorize is over.
	Request

	// Match has the route, and the captures of its path.
	Match
}

// NewAuthorizeRequest returns the argument of [Config.Authorize], for servers of your own.
// Its strings are copies: req and m may be parts of a buffer. Its Lookups are those of req.
func NewAuthorizeRequest(req *Request, m *Match) *AuthorizeRequest {
	r := &AuthorizeRequest{*req, *m}
	for _, s := range []*string{&r.Method, &r.Host, &r.Port, &r.Path, &r.Match.path} {
		*s = strings.Clone(*s)
	}
	return r
}

// Header returns a field of the client's header as conditions see it, whatever the case of
// name. A field with several lines has one value, in which they are joined by ", ", or for
// Cookie by "; ", so that no line is hidden behind the first. ok is false if there is no
// such field, or there are no Lookups.
//
// In package gateway, ok is also false for the fields in which only a gateway may speak of
// the client's certificate and, if the route has an Upstream, for a field that is not
// forwarded because Connection names it. Forwarding fields (X-Forwarded-For and the like)
// say what the gateway saw itself, unless the peer is a trusted proxy.
func (r *AuthorizeRequest) Header(name string) (value string, ok bool) {
	if r.Lookups == nil {
		return "", false
	}
	return r.Lookups.Lookup(VarHeader, textproto.CanonicalMIMEHeaderKey(name))
}

// Var returns a variable of the request, by the names that [Config.Vars] have: "args" is
// the query as it came, and "arg_id" an argument of it. It is [*Request.Var] with the
// captures of the path. Asking for post_arg_NAME reads the body, however long that takes.
func (r *AuthorizeRequest) Var(name string) (value string, ok bool) {
	return r.Request.Var(name, &r.Match)
}
