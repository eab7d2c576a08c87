// Package route finds the handler or the upstream for a request, by its host, its path, its
// method, the client's address, and conditions on the rest of it.
//
// A [Config] is what a person writes. [New] checks it and returns a [Route], which never
// changes. A [Table] holds routes and finds the one for a request. It never changes either:
// [*Table.With] and [*Table.Without] return changed copies, which share with the original
// everything that is the same. A change costs microseconds at 100 000 routes, and does not
// disturb readers of the original.
//
// The package is useful without the rest of the module if routes come at run time: from a
// database, an API, a watched file. To an [http.ServeMux] routes can only be added, you
// cannot choose their order, and its wildcards stand for whole segments. If the routes are
// known when the program is written, it is the better choice.
//
// # Which route is found
//
// The rules are those of Apache APISIX with its default router, [RouterHostURI]:
//
//  1. Routes with exactly the request's host come first, then those with a matching
//     wildcard, the longest first, then those without a host. A request that finds no
//     route in one of these groups goes on to the next.
//  2. Within a host, an exact path comes before every pattern. Of two patterns, the one
//     with more bytes before its first star or parameter comes first.
//  3. Where these are equal, the higher priority comes first, then the longer pattern,
//     then the older route. A route that is replaced keeps its age.
//  4. The first route whose conditions all hold is chosen: its methods, the client's
//     address, the whole of its pattern, Vars.
//
// So Priority only decides between routes with the same host and the same path: a route for
// "*.a.test" and "/*" is found before one for "/login" without a host, whatever their
// priorities. [*Table.Explain] tells which routes were tried for a request, in which order,
// and why each was passed over; [*Table.Warnings] reports routes that can never be found.
//
// With [RouterURI] and [RouterURIWithParameter] the first rule does not apply: the host is
// one of the conditions.
//
// # Hosts
//
//	a.test     // that name
//	*.a.test   // every name that ends in .a.test, however deep; not a.test
//	*a.test    // every name that ends in a.test: a.test, b.a.test, aa.test
//	*          // every name
//	a.test:80  // that name, if the request has the port with it
//	a.*.test   // refused: the star must be the first character
//
// A request without a host (HTTP/1.0) finds only routes without one. The port is that of the
// Host field or :authority, where clients leave out 80 for http and 443 for https; it is not
// the port that the request arrived at. In APISIX, with radixtree_host_uri, a host with a
// port matches no request.
//
// # Paths
//
// A path is compared with that of the request after normalisation: percent-decoded once, dot
// segments resolved, empty segments dropped, without the query. So write it in that form; a
// path that could never be found is refused. Two more things are refused because they are
// hardly ever meant: a question mark, which a client must send as %3F, and an escape such as
// %20, which it must send as %2520. A pattern whose star comes before them matches such
// paths.
//
//	/a         // this path; not /a/
//	/a*        // /a and every path that begins so: /ab, /a/b
//	/a/*       // /a/ and every path below it; not /a
//	/*, *      // every path; "/" is more than nothing before the star
//	/a/*/b     // the star stands for any bytes, slashes among them: /a/x/b, /a/x/y/b
//	/a/*.png   // the same: /a/x.png, /a/x/y.png
//	/a/*rest   // as /a/*, and what the star stands for has the name rest
//	/a/:id     // RouterURIWithParameter: one segment, which has the name id: /a/x
//	/a/:id     // the other routers: this path, with the colon
//	/a/{id}    // this path, with the braces, of which a warning tells: write /a/*id or /a/:id
//	/file:list // this path: a colon within a segment is a byte like any other
//	/a b       // this path; the client sends /a%20b
//	/a%2Fb     // the path that a client sends so, with PathOptions.EncodedSlash
//	a          // refused: every path begins with a slash
//	/a//b      // refused: write /a/b
//	/a%20b     // refused: write "/a b"
//	/a?b=c     // refused: write /a
//
// A star has a name if it follows a slash and the rest of the segment is a name: a letter or
// an underscore, then letters, underscores, digits and hyphens. [*Match.Param] returns what
// parameters and stars stand for. APISIX compares the rest of a pattern by a regular
// expression; this package departs from that where the result is surprising. Text that is no
// parameter is not an expression ("/a.b/*/c" does not match /axb/y/c), "/*.png" and "*b" do
// not match every path, and "/a*b" does not match everything that begins with /a.
//
// # Methods
//
// A route without Methods accepts every method, one with Methods accepts only those: GET
// does not include HEAD, as it does in [http.ServeMux].
//
// # Conditions
//
// Vars are conditions on the rest of a request, in the language of Apache APISIX
// (lua-resty-expr). All conditions of a list must hold. A condition is a variable, an
// operator and a value; "!" before the operator negates it. A group joins conditions, and
// groups can be nested.
//
//	["arg_v", "==", "2"]                 // the string "2"; without "==" too: ["arg_v", "2"]
//	["arg_v", "==", 2]                   // the number 2: "2", "2.0", "0x2", "2e0", " 2"
//	["arg_v", "==", null]                // there is none
//	["arg_v", "~=", "2"]                 // anything else, and none
//	["arg_v", ">=", 2]                   // both are numbers; also > < <=
//	["uri", "~~", "^/v[0-9]+/"]          // a regular expression finds something in it
//	["http_user_agent", "~*", "curl"]    // as before, whatever the case
//	["arg_v", "in", ["a", "b", 3]]       // it is one of them
//	["arg_v", "!", "in", ["a", "b"]]     // it is none of them, or there is none
//	["remote_addr", "ipmatch", ["10.0.0.0/8", "::1"]]
//	["ssl_client_dns_sans", "has", "a.test"]
//	["OR", ["arg_a", "1"], ["AND", ["arg_b", "2"], ["arg_c", "3"]]]
//	["!OR", ["arg_a", "1"], ["arg_b", "2"]]    // AND, OR, !AND, !OR
//
//	["arg_v", "=", "2"]                  // refused: write "=="
//	["OR", ["arg_a", "1"]]               // refused: a group has two conditions or more
//	["arg_v", "in", "a"]                 // refused: write ["a"]
//	["uri", "~~", "^/(?!admin)"]         // refused: RE2 has no lookahead
//	"arg_v", "==", "2"                   // refused: Vars is a list of conditions
//
// Operators and the words of groups may be in upper or lower case. A variable is a string:
// no boolean and no list equals one. It is compared with a number as Lua's tonumber reads
// it; if it is not a number, no comparison but "~=" holds. Regular expressions are those of
// [regexp] (RE2), and match anywhere unless they are anchored with ^ or $; what PCRE has
// beyond them (lookaround, back-references, possessive quantifiers, atomic groups) is
// refused. A variable with several values satisfies a condition if one of its values does;
// "~=" holds if "==" does not; and "has" holds for such a variable only. An absent variable
// equals null and nothing else: without "!", it satisfies only "== null", "in" with a null
// in the list, and "~=" with anything else.
//
// An expression has at most 1000 conditions, counting groups; groups are nested at most 32
// deep; all its lists together have at most 10 000 values; and a regular expression has at
// most 4096 bytes and 10 000 instructions, of which there are at most 50 000 in all.
//
// These variables are the request's own:
//
//	uri, host                  // the normalised path, and the canonical host without its port
//	method, request_method     // one thing
//	remote_addr                // the client's address: IPv4 as such, IPv6 without its zone
//	uri_param_NAME             // what a parameter of the path captured
//
// All others are answered by [Lookups]. [HTTPLookups] knows these, by the names and in the
// form of nginx:
//
//	http_NAME                  // a header field: http_x_id is X-Id
//	arg_NAME, cookie_NAME      // the first argument of the query and the first cookie of that name
//	post_arg_NAME              // the first argument of an urlencoded form up to MaxPostForm
//	request_uri, args, query_string, is_args, scheme, content_type, content_length
//	server_addr, server_port, remote_port, server_protocol
//	ssl_server_name, ssl_protocol, ssl_cipher
//	ssl_client_verify          // SUCCESS, NONE or FAILED:...
//	ssl_client_s_dn, ssl_client_i_dn, ssl_client_serial, ssl_client_fingerprint
//	ssl_client_escaped_cert     // the certificate in PEM, percent-encoded
//	ssl_client_dns_sans, ssl_client_uri_sans    // the names in the certificate: several values
//
// Names are case-sensitive, except that of a header field. Any other name is accepted, for
// [Lookups] of your own, with a warning that it is always absent otherwise. post_arg.PATH,
// which searches JSON in APISIX, is refused.
//
// # Concurrency
//
// Routes and tables may be shared freely. Keep the current table in a [sync/atomic.Pointer],
// and serialise those who replace it with a mutex that readers do not take: see the example
// "concurrency". A request should load the pointer once.
//
// # What it does not do
//
// It does not serve, and it does not change the request: it cleans no path, and redirects no
// client to a path with a trailing slash. What [HeaderEdits] ask for is for the forwarding
// side to do, with [*Edits.Removes] and [*Edits.Append]. The body is the one thing that may be
// read, if Vars ask for an argument of a form, and it is put back for whoever comes next.
package route
