// Package gateway is an SNI-routed mTLS gateway that a Go service imports.
//
// A [Server] holds one configuration: TLS profiles by server name (package [ssl]), routes
// by host, path and method ([route]), and upstreams ([upstream]). [*Server.Apply] changes
// it in one step, at any time. Requests come in by either of two doors, and are treated
// alike:
//
//   - [*Server.ServeTLS] and [*Server.Serve] serve a listener, with the gateway's own
//     engines for HTTP/1.1 and HTTP/2.
//   - [*Server.ServeHTTP] and [*Server.TLSConfig] are for an [net/http.Server] of your
//     own, for middleware, and for [net/http/httptest].
//
// [Limits], and the counts, log records and refusals of handshakes, exist only at the
// first.
//
// The shortest gateway:
//
//	gw, err := gateway.New(nil)
//	...
//	defer gw.Close()
//	report, err := gw.Apply(gateway.Change{Put: gateway.Config{
//		Profiles:  []ssl.Config{{ID: "1", Names: []string{"a.test"}, Certificates: pairs, Client: &ssl.ClientAuth{CAPEM: ca}}},
//		Upstreams: []upstream.Config{{ID: "1", Nodes: []upstream.Node{{Host: "127.0.0.1", Port: 8081, Weight: 1}}}},
//		Routes:    []route.Config{{ID: "1", Paths: []string{"/*"}, Upstream: "1"}},
//	}})
//	...
//	err = gw.ServeTLS(listener)
//
// What does not work the way it may seem to is no error, but stands in the [Report].
//
// # The way of a request
//
// The Host and the path are brought into their canonical form. The guard (see [ssl]) then
// says whether the client may ask for this Host: see [*ssl.Terminator.Judge] for its
// answers. Then the route is matched, and the request goes to a node of its upstream or
// to a handler of yours. These are the answers that the gateway itself gives:
//
//	308  plain HTTP, with [PlainRedirect]
//	400  the Host or the path is invalid, or a client certificate is missing
//	403  plain HTTP where client certificates are demanded; or the route demands one
//	     (RequireIdentity), or its Authorize returned an error
//	404  no route
//	405  CONNECT
//	421  the connection was made for another server name
//	500  the route's Authorize panicked; a panic of a Handler ends the connection, or
//	     with HTTP/2 the stream, as it does with net/http
//	502  the route's upstream does not exist, or its nodes cannot be reached
//	503  the upstream has no node
//	504  a node did not answer in time
//
// The body is JSON in APISIX's shape, or text for a client whose Accept prefers it, or
// what [Options.ErrorBody] makes.
//
// A gRPC call that no node has answered, or whose answer the node breaks off, is answered
// with 200 and a grpc-status: the one that clients would derive from the status above
// (UNAVAILABLE for 502, 503 and 504).
//
// # HTTP/1.1 at a listener of the Server
//
// A request that two readers could understand differently is refused, with 400 or the
// status below, and its connection is closed (RFC 9112). That includes Content-Length
// beside Transfer-Encoding, or twice, whatever they say; a coding other than "chunked"
// (501); a line that ends in a bare LF; a field that is folded, or has a space before its
// colon; a Host that is missing, repeated or not a name; a chunk whose size is not a
// number; and framing fields after a body. net/http accepts some of that, and so does
// ServeHTTP behind an [net/http.Server]; what reaches a node is unambiguous even so. One
// empty line before a request is ignored.
//
//	408  the head, or the body, did not come in time
//	413  the body is longer than [Limits.BodyBytes]
//	417  an Expect other than "100-continue"
//	431  the head is longer than [Limits.HeaderBytes], or has more than HeaderFields
//	501  an unknown transfer coding, or a method of more than 32 letters
//	505  a version other than 1.x
//
// An answer that comes before its request has ended is passed on at once, and is the last
// on its connection. A client that closes its direction after a request (a half-close)
// still gets an answer that comes within a second; after that it is taken to have gone
// away, and the request to the node is cancelled.
//
// Over TCP, an idle connection has no buffer and, on Linux, no goroutine. HTTP/2 is no
// exception.
//
// # HTTP/2 at a listener of the Server
//
// Clients with TLS choose HTTP/2 by ALPN; those of [*Server.Serve] choose it by their
// first bytes, if [Options.H2C] is set. A request is forwarded as the HTTP/1.1 request
// with the same meaning. One without such a counterpart is malformed, and its stream is
// reset with PROTOCOL_ERROR (RFC 9113, section 8.1.1): pseudo-fields that are missing,
// repeated, unknown or late; an :authority with user information; names in upper case;
// values with control characters, or with space around them; Connection,
// Transfer-Encoding and the like; a body whose length differs from Content-Length. A Host
// that differs from :authority is answered with 400. A Cookie that was split into several
// fields is joined.
//
// The guard judges each stream by its :authority: a 421 for one does not affect the
// others.
//
// WebSocket runs over a stream by an extended CONNECT (RFC 8441), on routes with
// [route.Config.WebSocket] whose upstream has the scheme http or https; to the conditions
// of routes it is a GET. Elsewhere, and for other protocols, the answer is 501.
//
// Answers that are ready together are sent in one write. Of those that wait for the
// client, the more urgent go first (RFC 9218: the field Priority, and PRIORITY_UPDATE);
// without such a wish of the client's, they share the connection.
//
// What a client can make the gateway do for nothing is bounded:
//
//   - requests at a time: [Limits.Streams]; those beyond are refused unprocessed.
//   - bodies that have not been read yet: 64 KiB a stream, or up to 1 MiB if it has been
//     read as fast as it came; 2 MiB a connection.
//   - requests that the client takes back ([LimitResets]): 100, and 2 for each of
//     Streams; each answered request adds one, and each second ten.
//   - frames that achieve nothing ([LimitFrames]): 1000 in a row, and 100 a second.
//
// A connection that exceeds one of the last two is closed with ENHANCE_YOUR_CALM. One that
// is silent while a request goes on is asked, by PING, whether it is still there.
// [*Server.Shutdown] tells clients by GOAWAY, and answers the requests that it says are
// processed. One that was on its way on a connection that had been idle is not among them: the
// client may send it again elsewhere (RFC 9113, section 6.8).
//
// # What is forwarded
//
// The request target goes to the node byte for byte, and the Host as it came (see
// [upstream.Config.PassHost]). Header fields that concern a single connection are dropped
// (RFC 9110, section 7.6.1), and so is every Upgrade except a WebSocket that the route
// allows. Trailers of an answer are forwarded, unless it has a Content-Length and the client
// speaks HTTP/1.1, which then has no place for them; those of a request are not.
//
// X-Forwarded-For, -Proto, -Host and -Port and X-Real-IP say what the gateway saw. What
// the client says in them or in Forwarded is dropped, in every spelling, unless
// [Options.TrustedProxies] names the client. The header fields that gateways use for
// client certificates are always dropped, whoever sent them. So is every field in which
// some route passes on a client's identity (a value of [route.Config.Headers] with a
// variable that begins with ssl_client_). The conditions of routes do not see what was
// dropped.
//
// A client's certificate is passed on only if the guard has verified it, in Client-Cert
// and Client-Cert-Chain (RFC 9440), Envoy's X-Forwarded-Client-Cert, or nginx's names, as
// [Options.ClientCert] and [route.Config.ClientCert] say; by default it is not. Fields
// that [Trace.RequestBegun] sets replace the client's. The changes of the route,
// [route.Config.Headers], come last and may replace anything but the framing. A handler of
// yours sees the same header as a node.
//
// # Observing it
//
// [*Server.Stats] returns the counts: handshakes by profile, version and reason, requests
// by route and class of status, upstreams with retries and health, connections, limits,
// the revision of the configuration. [*Server.History] has the last hour by minute, and
// [*Server.Refusals] the last clients that were refused, each with a sentence that says
// why and what to do about it. All of it is always on: it costs a request a few integer
// additions and no lock. The names in Stats and History are IDs of the configuration. The
// modules gateway/gatewayprom and gateway/gatewayotel export the counts to Prometheus and
// OpenTelemetry, and make spans of requests and handshakes.
//
// [*Server.Explain] says what would become of a request, and why.
//
// Every request ends in one place, whichever door it came by: there it is counted, logged,
// and reported to [Trace].
//
// # The access log
//
// [Options.AccessLog] receives one record, "request", for each request when its answer has
// been written. Its level is Warn if the request was refused, or if the client asked for a
// WebSocket that the route does not pass on; Error if no node answered, if the answer broke
// off while the client was still there, or if a handler panicked; and Info otherwise. The
// attributes are
//
//	status, method, host, path       the status is 0 if no answer was begun; no query
//	protocol, remote, client         the peer, and the client's address behind trusted proxies
//	server_name                      with TLS
//	identity                         profile, subject, serial, sha256, spiffe_id: of a verified client
//	route, upstream                  their IDs
//	node, attempts, waited           if one was tried; waited is the time up to the head of its answer
//	took, received, sent             from the head of the request on; bytes of the bodies
//	reason, profile, advice          if it was refused; advice also about a WebSocket
//	error                            why it failed
//	unreported                       how many records like this one were left out before it
//
// and those that do not apply are left out. Requests that were refused, and those without
// a route, are logged as far as [Options.FailuresLogged] allows, for each reason and each
// status; all others are logged without a bound. Durations are [time.Duration].
//
// Nothing is logged twice. Without AccessLog, [Options.Logger] receives a record for each
// request that was refused ("request refused") or failed ("request failed"), and for each
// WebSocket that is not passed on, as far as FailuresLogged allows, for each reason and each
// route. With AccessLog, these go to the access log only; to have them in both places, give
// both the same [slog.Handler], or one that passes records on. The same holds for handshakes:
// see [ssl.Options.HandshakeLog].
//
// What clients send is in the records as it came; quoting it is the handler's task, and
// those of package slog do so. Any [slog.Handler] will do; the one of package accesslog
// writes JSON for about an eighth of what [slog.JSONHandler] costs, if it is the handler itself
// and not one that passes records on to it.
// Attributes that all requests of a connection share are given to any other handler once
// (WithAttrs), so that it can format them once.
//
// # Restarting
//
// A new process can replace a gateway without losing a request, because two processes can
// hold the same listening socket: clients that connect wait in its queue until one of the
// two accepts them.
//
//  1. The new process is given the socket: by the old one, with [os/exec.Cmd.ExtraFiles]
//     and [net.TCPListener.File], or by systemd, whose .socket unit holds it for both. It
//     makes its configuration, makes a listener of the socket with [net.FileListener], and
//     serves that. From then on, clients reach either of the two.
//  2. It says that it is ready, by a byte in a pipe for example. A pipe also tells if it
//     ends before that, because its configuration is wrong: then the old process goes on
//     as if nothing had happened.
//  3. The old process calls [*Server.Shutdown].
//
// The example "restart" has the code of both sides.
//
// With a Unix socket it is the same ([net.UnixListener.File]), except that the listener
// which has made the socket removes it from the file system when it is closed, unless it
// was told not to: call [net.UnixListener.SetUnlinkOnClose] with false. Clients of a Unix
// socket have no address: they are not bounded by address, can be neither among
// [Options.TrustedProxies] nor [Options.ProxyProtocol], and the target of a request gets
// neither X-Forwarded-For nor X-Real-IP.
//
// One process at a time can have the file of an adminapi.File. The old process closes its
// adminapi.Handler and the File before it starts the new one: it serves what is in force
// all the same, and only the Admin API is away until the new one is ready. If that never
// is, open the File and make the Handler again.
//
// # Concurrency
//
// A Server may be used by any number of goroutines. A request that began under one
// configuration ends under it. No request waits for a change.
package gateway
