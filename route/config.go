package route

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A Config is what a person writes about one route: which requests it is for and where they
// go. [New] checks it and makes it a [Route].
type Config struct {
	// ID names the route in a [Table], in logs and in errors. Required.
	ID string

	// Hosts are the names that a request must be for. None means any. The number of
	// Hosts times that of Paths is at most 100 000.
	//
	//	a.test     // accepted: this name, whatever the case, the port or a trailing dot
	//	*.a.test   // accepted: every name below a.test, however deep
	//	*          // accepted: every name
	//	a.test:80  // accepted: this name, if the request has the port with it
	Hosts []string

	// Paths are the paths that a request may have, at least one. They are
	// compared with the normalised path: decoded once, dot segments resolved,
	// empty segments dropped, without the query. See the package doc.
	//
	//	/a     // accepted: this path
	//	/a*    // accepted: /a and every path that begins so
	//	/a/    // accepted: this path, and none below it, unlike http.ServeMux
	//	/a/*   // accepted: /a/ and every path below, not /a
	//	/a/*/b // accepted: the star stands for any bytes
	//	/a/:id // accepted: a parameter with RouterURIWithParameter, else itself
	//	/*     // accepted: every path
	Paths []string

	// Methods are the methods that are taken, in upper case. None means any.
	Methods []string

	// RemoteAddrs are the addresses that a client may have: IPv4 or IPv6, or ranges of
	// them in CIDR notation. None means any.
	RemoteAddrs []string

	// Vars are conditions on the rest of a request, in APISIX's language
	// (lua-resty-expr), as JSON would be decoded into Go: a list of conditions that
	// must all hold, or one group of them. None means that there are none. See the
	// package doc for the language.
	//
	//	[]any{[]any{"http_x_canary", "==", "1"}, []any{"arg_v", ">=", 2}}
	//	[]any{"OR", []any{"cookie_beta", "==", "yes"}, []any{"remote_addr", "ipmatch", []any{"10.0.0.0/8"}}}
	Vars []any

	// Disabled takes the route out of service. As in APISIX, it keeps its place among the
	// others.
	Disabled bool

	// Priority orders routes of the same host and the same path: the higher comes first,
	// then the older. As in APISIX, it does not lift a shorter prefix over a longer one,
	// nor a prefix over an exact path.
	Priority int

	// Upstream is the id of the upstream that requests go to. Exactly one of
	// Upstream and Handler must be set.
	Upstream string

	// Handler answers the requests itself. Package gateway gives it the captures of the
	// path by [http.Request.PathValue], and your own server can do the same: see
	// [Match.Params].
	Handler http.Handler

	// AllowPlain lets requests over plain HTTP through even if the host, or any profile if
	// the route has no Hosts, demands client certificates over TLS.
	AllowPlain bool

	// RequireIdentity refuses clients without a verified certificate, whatever the TLS
	// profiles say: under names that demand none, on paths that need none, and over plain
	// HTTP, which is why it does not go together with AllowPlain. A client is asked for its
	// certificate only under a name whose profile has a ssl.Config.Client: under any other
	// name the route refuses everybody, and gateway.Server.Apply warns of it. Package gateway
	// answers 403.
	//
	// It is for what finds this route. If another route has the paths around it, as "/*" has
	// those around "/admin/*", and leads to the same nodes, then a path that they read in their
	// own way goes there, such as "/;x/admin/" or "/admin\\x": set [PathOptions.PlainOnly].
	RequireIdentity bool

	// Authorize, if not nil, has the last word on each request that finds the route. The
	// context is the request's. If it returns an error, package gateway answers 403; the
	// error goes to the log, and nothing of it to the client. If it panics, the answer is
	// 500. The client's identity is in the context, for ssl.FromContext, which returns nil
	// if there is none; the AuthorizeRequest is what the route was found by. Authorize is
	// called by many goroutines at a time, and the request waits for it.
	//
	// It sees the normalised path, but the path is forwarded as it came, and an Upstream
	// may read that in its own way: a servlet container takes "/users/alice/..;/bob" for
	// "/users/bob". If you authorize clients by their path, set [PathOptions.PlainOnly], or
	// be sure of how the nodes read paths.
	Authorize func(context.Context, *AuthorizeRequest) error

	// WebSocket lets "Upgrade: websocket" through. Every other Upgrade is dropped.
	WebSocket bool

	// Timeout bounds the waiting for a node, in place of the timeouts of the upstream. A
	// zero field leaves the one of the upstream.
	Timeout Timeout

	// Headers are changes to the header of a request on its way to the target of the route.
	// Package gateway makes them, and your own server can do the same: see
	// [*Route.Headers].
	Headers HeaderEdits

	// ClientCert are the header fields in which the target of the route is told who the
	// client is, if its certificate was verified. Zero is the default of the gateway;
	// [ClientCertNone] is none.
	ClientCert ClientCertHeaders
}

// owned returns c with texts of its own, all in one piece: they are one object to the
// garbage collector, and keep no document alive of which they were a part.
func (c Config) owned() Config {
	rest := strings.Join(slices.Concat([]string{c.ID, c.Upstream}, c.Hosts, c.Paths), "")
	own := func(s string) (owned string) {
		owned, rest = rest[:len(s)], rest[len(s):]
		return owned
	}
	ownAll := func(list []string) []string {
		owned := make([]string, len(list))
		for i, s := range list {
			owned[i] = own(s)
		}
		return owned
	}
	c.ID, c.Upstream = own(c.ID), own(c.Upstream)
	c.Hosts, c.Paths = ownAll(c.Hosts), ownAll(c.Paths)
	return c
}

// HeaderEdits are changes to the header of a request.
//
// The name of a field is a token (RFC 9110, section 5.6.2), in any case. Names are compared
// as by a reader that only knows letters and digits: to Set or Remove "X-User" also takes
// away the client's X_User and x.user. Fields that frame a message or concern a single
// connection (Content-Length, Transfer-Encoding, Connection, Upgrade and the like), Host
// and Expect are refused. A name may appear once in Set and Remove together, and then not
// in Add. There are at most 1000 names, and in all values together 1000 variables.
//
// A value may contain variables, "$name" or "${name}", with the names that Vars have: see
// the package documentation. An absent variable is empty, and a field with an empty value
// is sent, as in APISIX. A variable with several values stands for the first. A dollar sign
// that does not begin a variable stands for itself, and so does "\$name".
//
//	{Set: {{"X-Client-Dn", "$ssl_client_s_dn"}}}     // instead of what the client says
//	{Add: {{"X-Hop", "gate-1"}}}                     // and what the client says
//	{Set: {{"X-From", "${remote_addr}:$remote_port"}}}
//	{Remove: {"X-Debug"}}
type HeaderEdits struct {
	Set    []HeaderField // replace the fields with that name
	Add    []HeaderField // come after the fields with that name
	Remove []string      // the names of fields that are not passed on
}

// A HeaderField is a line of a header.
type HeaderField struct{ Name, Value string }

// Timeout bounds the waiting for a node. No field may be negative.
type Timeout struct {
	Connect time.Duration // until the connection is established, TLS included
	Send    time.Duration // between two writes
	Read    time.Duration // between two reads, and until the answer begins
}

// A ConfigError says which field of a [Config] is wrong and why.
type ConfigError struct {
	ID    string // of the Config
	Field string // as in Go: "Paths[1]"
	Err   error
}

// Error implements error.
func (e *ConfigError) Error() string {
	return fmt.Sprintf("route %q: %s: %v", e.ID, e.Field, e.Err)
}

// Unwrap returns the reason.
func (e *ConfigError) Unwrap() error { return e.Err }

// FieldPath returns the field, for callers that map it to a document of their own.
func (e *ConfigError) FieldPath() string { return e.Field }

// A Warning says what does not work the way it may seem to: it is to a [Config] that is
// taken what a [ConfigError] is to one that is refused.
type Warning struct {
	ID    string // of the Config
	Field string // as in Go: "Vars[0][2]"; "" if no one field is it
	Text  string
}

// String returns the text, after the route and the field that it is about.
func (w Warning) String() string {
	if w.Field == "" {
		return fmt.Sprintf("route %q: %s", w.ID, w.Text)
	}
	return fmt.Sprintf("route %q: %s: %s", w.ID, w.Field, w.Text)
}
