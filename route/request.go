package route

import "net/netip"

// A Request is what a [Table] needs to know about a request. [*Table.MatchHTTP] makes one
// from an [http.Request]; a server of another kind makes its own.
type Request struct {
	// Method is the method as it came. It is case-sensitive.
	Method string

	// Host is the name that the request is for, in canonical form: lower case, without port and
	// trailing dot. If the request has none, it is empty, and only routes without hosts are
	// found.
	Host string

	// Port is the port after the name, without leading zeros, or empty if there is none. Only
	// routes whose host has a port look at it.
	Port string

	// Path is the normalised path: percent-decoded once, dot segments resolved, empty segments
	// dropped, without the query. See [PathOptions].
	Path string

	// ClientAddr is the address of the client. The zero Addr is in no range: with it, only
	// routes without RemoteAddrs are found.
	ClientAddr netip.Addr

	// Lookups has the variables for Vars that are not in these fields. If nil, they are absent.
	Lookups Lookups
}

// Var returns a variable of the request by nginx's name, without the dollar sign: any that
// [Config.Vars] can use. m has the captures of the path, and may be nil. For a variable
// with several values, it returns the first. ok is false if the request does not have it.
func (r *Request) Var(name string, m *Match) (value string, ok bool) {
	v := variableOf(name)
	return v.first(r, m)
}

// first returns the value of a variable, and the first of several.
func (x *variable) first(r *Request, m *Match) (value string, ok bool) {
	if x.source == fromClient {
		addr := plainAddr(r.ClientAddr)
		if !addr.IsValid() {
			return "", false
		}
		return addr.String(), true
	}
	value, values, ok := x.lookup(r, m)
	if len(values) > 0 {
		value = values[0]
	}
	return value, ok
}

// Lookups has the variables of a request that the Vars of routes use: see [Config.Vars] for
// the names. It is called during the search for a route, on the goroutine that searches,
// and perhaps many times for one variable.
type Lookups interface {
	// Lookup returns the value of a variable. ok is false if the request does not have it.
	Lookup(kind VarKind, name string) (value string, ok bool)

	// LookupAll returns the values of a variable that can have several. Only variables of kind
	// [VarOther] can: the names in a client's certificate. ok is false if the variable is not
	// such a one; Lookup is then called.
	LookupAll(name string) (values []string, ok bool)
}

// A VarKind says where in a request a variable has its value.
type VarKind int

// The kinds of variables, each with the name that is passed to [Lookups].
const (
	VarOther   VarKind = iota // any other: the whole name, "scheme" or "ssl_client_s_dn"
	VarHeader                 // http_x_id: the header field in canonical form, "X-Id"
	VarArg                    // arg_id: the query argument, "id"
	VarCookie                 // cookie_id: the cookie, "id"
	VarPostArg                // post_arg_id: the argument of a urlencoded form, "id"
)
