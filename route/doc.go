// Package route finds the handler or the upstream that a request is for, by its
// host, its path, its method, the client's address, and conditions on the rest of
// it.
//
// A [Config] is what a person wrote. [New] checks it and returns a [Route], which
// never changes. A [Table] holds routes and finds the one for a request. It never
// changes either: [*Table.With] and [*Table.Without] return changed copies, which
// share with the old one all that is the same. A change costs microseconds at
// 100 000 routes, and those who read go on reading what they have.
//
// The package is useful without the rest of the module, to whoever takes routes
// at run time: from a database, an API, a watched file. [http.ServeMux] can be
// added to but not changed, has no order of the user's, and its wildcards stand
// for whole segments. If the routes are known when the program is written, it is
// the better choice.
//
// # Which route is found
//
// The rules are those of Apache APISIX with its default router, [RouterHostURI]:
//
//  1. Routes whose host is the name of the request go first, then those with a
//     wildcard that fits, the longest first, then those without a host. What
//     finds no route in one goes on to the next.
//  2. Within a host, an exact path goes before every pattern. Of two patterns, the
//     one goes first that has more bytes before its first star or parameter.
//  3. Where these are the same, the higher priority goes first, then the longer
//     pattern, then the older route. A route that is replaced keeps its age.
//  4. The first route whose conditions all hold is the one: its methods, the
//     client's address, the whole of its pattern, Vars.
//
// So Priority decides only between routes of the same host and the same path: a
// route for "*.a.test" and "/*" is found before one for "/login" without a host,
// whatever their priorities. [*Table.Explain] tells for a request which routes were
// tried, in which order, and why each was passed over; [*Table.Warnings] tells of a
// route that can never be found.
//
// With [RouterURI] and [RouterURIWithParameter], the first rule is not there: the
// host is one of the conditions.
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
// A request that has no host (HTTP/1.0) finds only routes without one. The port is
// that of the Host field or :authority, where clients leave out 80 for http and 443
// for https; it is not the one that the request came in by. To APISIX's
// radixtree_host_uri, a host with a port is one that no request has.
//
// # Paths
//
// A path is compared with that of the request after normalising: percent-decoded
// once, dot segments resolved, empty segments dropped, without the query. So it
// is written in that form, and what could never be found is refused. Two more are
// refused because they are hardly ever meant: a question mark, which a client must
// send as %3F, and an escape such as %20, which it must send as %2520. A pattern
// whose star begins before them finds such paths.
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
// A star has a name if it follows a slash and the rest of the segment is one: a letter
// or an underscore, then such, digits and hyphens. [*Match.Param] tells what parameters
// and stars stand for. APISIX compares the rest of a pattern by a regular
// expression, of which this departs where that surprises: what is no parameter is
// not an expression ("/a.b/*/c" does not fit /axb/y/c), "/*.png" does not fit every
// path, nor does "*b", and "/a*b" not all that begins with /a.
//
// # Methods
//
// A route without Methods takes every method, one with Methods takes those alone:
// GET does not stand for HEAD, as it does in [http.ServeMux].
//
// # Conditions
//
// Vars are conditions on the rest of a request, in the language of Apache APISIX
// (lua-resty-expr). All of a list must hold. A condition is a variable, an operator and
// a value; "!" before the operator turns it round. A group joins conditions, and groups
// nest.
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
// Operators and the words of groups may be in either case. A variable is a string: no
// boolean and no list equals one. It is compared with a number as Lua's tonumber reads
// it, and with what is no number, no comparison but "~=" holds. Regular expressions are
// those of [regexp] (RE2), which find what they are for anywhere unless they say ^ or $;
// what PCRE has beyond them (lookaround, back-references, possessive quantifiers, atomic
// groups) is refused. A variable that has several values satisfies a condition if one of
// its values does; "~=" holds if "==" does not; and "has" holds for such a variable
// alone. What is absent equals null and nothing else: without "!", it satisfies only
// "== null", "in" with a null in the list, and "~=" with anything else.
//
// An expression has at most 1000 conditions, counting groups, in groups at most 32 deep;
// 10 000 values in all its lists; and regular expressions of at most 4096 bytes and
// 10 000 instructions each.
//
// These variables are the request's own:
//
//	uri, host                  // the normalised path, and the canonical host without its port
//	method, request_method     // one thing
//	remote_addr                // the client's address: IPv4 as such, IPv6 without its zone
//	uri_param_NAME             // what a parameter of the path captured
//
// The others are answered by [Lookups]. [HTTPLookups] know these, by the names and in
// the form of nginx:
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
// Names are case-sensitive, but for that of a header field. Any other name is taken, for
// Lookups of your own, with a warning that it is always absent otherwise. post_arg.PATH,
// which in APISIX searches JSON, is refused.
//
// # Concurrency
//
// Routes and tables may be shared freely. Keep the current table in a
// [sync/atomic.Pointer], and serialise those who replace it with a mutex that
// readers do not take; an example shows it. A request should load the pointer
// once.
//
// # What it does not do
//
// It does not serve, and it does not change the request: no path is cleaned, and
// no client is redirected to one with a slash at its end. What [HeaderEdits] say of the
// header, [*Edits.Removes] and [*Edits.Append] tell to whoever forwards the request. The
// body alone is read, if Vars ask for an argument of a form, and is there again for who
// comes next.
package route
