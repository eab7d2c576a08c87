// Package route finds the handler or the upstream that a request is for, by its
// host, its path and its method.
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
// The rules are those of Apache APISIX with its default router (host first):
//
//  1. Routes whose host is the name of the request go first, then those with a
//     wildcard that fits, the longest first, then those without a host. What
//     finds no route in one goes on to the next.
//  2. Within a host, an exact path goes before every prefix, and a longer prefix
//     before a shorter one.
//  3. Within a path, the higher priority goes first, then the older route. A
//     route that is replaced keeps its age.
//  4. The first route that takes the method of the request is the one.
//
// So Priority decides only between routes of the same host and the same path: a
// route for "*.a.test" and "/*" is found before one for "/login" without a host,
// whatever their priorities.
//
// # Hosts
//
//	a.test     // that name
//	*.a.test   // every name that ends in .a.test, however deep; not a.test
//	*a.test    // every name that ends in a.test: a.test, b.a.test, aa.test
//	*          // every name
//	a.test:80  // refused: the port is no part of the name
//	a.*.test   // refused: the star must be the first character
//
// A request that has no host (HTTP/1.0) finds only routes without one.
//
// # Paths
//
// A path is compared with that of the request after normalising: percent-decoded
// once, dot segments resolved, empty segments dropped, without the query. So it
// is written in that form, and what could never be found is refused. Two more are
// refused because they are hardly ever meant: a question mark, which a client must
// send as %3F, and an escape such as %20, which it must send as %2520. A prefix
// that ends before them finds such paths.
//
//	/a         // this path; not /a/
//	/a*        // /a and every path that begins so: /ab, /a/b
//	/a/*       // /a/ and every path below it; not /a
//	/*, *      // every path; as a prefix, "/" is the longer one
//	/file:list // this path: a colon within a segment is a byte like any other
//	/a b       // this path; the client sends /a%20b
//	a          // refused: every path begins with a slash
//	/a//b      // refused: write /a/b
//	/a%20b     // refused: write "/a b"
//	/a?b=c     // refused: write /a
//	/a/*/b     // refused: the star must be the last character
//	/a/:id     // refused: there are no parameters; write /a/*
//
// # Methods
//
// A route without Methods takes every method, one with Methods takes those alone:
// GET does not stand for HEAD, as it does in [http.ServeMux].
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
// no client is redirected to one with a slash at its end.
package route
