package route

import "net/netip"

// A Request is what a [Table] must know about a request. [*Table.MatchHTTP] makes one from
// an [http.Request]; a server of another kind makes its own.
type Request struct {
	// Method is the method as it came. Methods are case-sensitive.
	Method string

	// Host is the name that the request is for in its canonical form: lower
	// case, without port and trailing dot. It is empty if the request has none,
	// and then finds only routes without hosts.
	Host string

	// Port is the port that stands behind the name, without leading zeros, or
	// empty if none does. Only routes whose host has a port ask for it.
	Port string

	// Path is the normalised path: percent-decoded once, dot segments resolved,
	// empty segments dropped, without the query. See [PathOptions].
	Path string

	// ClientAddr is the address of the client. The zero Addr is in no range: it finds
	// only routes without RemoteAddrs.
	ClientAddr netip.Addr

	// Lookups answers what Vars ask of the request beyond these fields. If nil, it
	// has nothing more.
	Lookups Lookups
}

// Var returns a variable of the request by nginx's name, without the dollar sign: any that
// [Config.Vars] can ask for. m has the captures of the path, and may be nil. A variable
// with several values stands for the first. ok is false if the request has none.
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

// Lookups answers what the Vars of routes ask about a request: see [Config.Vars] for the
// names. It is called during the search for a route, on the goroutine that searches, and
// perhaps many times for one variable.
type Lookups interface {
	// Lookup returns the value of a variable. ok is false if the request has none.
	Lookup(kind VarKind, name string) (value string, ok bool)

	// LookupAll returns the values of a variable that may have several, which is
	// [VarOther] alone: the names in a client's certificate. ok is false if it is not a
	// variable of that kind; Lookup is then asked.
	LookupAll(name string) (values []string, ok bool)
}

// A VarKind says where in a request the value of a variable is.
type VarKind int

// The kinds of variables, with the name that [Lookups] gets.
const (
	VarOther   VarKind = iota // any other: the whole name, such as "scheme" or "ssl_client_s_dn"
	VarHeader                 // http_x_id: the header field in its canonical form, "X-Id"
	VarArg                    // arg_id: the argument of the query, "id"
	VarCookie                 // cookie_id: the cookie, "id"
	VarPostArg                // post_arg_id: the argument of an urlencoded form, "id"
)
