// Package gateway is an SNI-routed mTLS gateway that a Go service imports.
//
// A [Server] holds one configuration: TLS profiles by server name ([ssl]), routes
// by host, path and method ([route]), and upstreams ([upstream]). [*Server.Apply]
// changes it in one step, at any time. There are two doors over one way of a
// request:
//
//   - [*Server.ServeTLS] and [*Server.Serve] serve a listener, with engines of the
//     gateway's own for HTTP/1.1 and HTTP/2.
//   - [*Server.ServeHTTP] and [*Server.TLSConfig] are for a server of one's own,
//     for middleware, and for [net/http/httptest].
//
// The shortest gateway:
//
//	gw := gateway.New(nil)
//	defer gw.Close()
//	_, err := gw.Apply(gateway.Change{Put: gateway.Config{
//		Profiles:  []ssl.Config{{ID: "1", Names: []string{"a.test"}, Certificates: pairs, Client: &ssl.ClientAuth{CAPEM: ca}}},
//		Upstreams: []upstream.Config{{ID: "1", Nodes: []upstream.Node{{Host: "127.0.0.1", Port: 8081, Weight: 1}}}},
//		Routes:    []route.Config{{ID: "1", Paths: []string{"/*"}, Upstream: "1"}},
//	}})
//	...
//	err = gw.ServeTLS(listener)
//
// # The way of a request
//
// The Host and the path are brought into their one form. The guard ([ssl]) then
// says whether the client may ask for this Host: see [*ssl.Terminator.Judge] for
// its answers. Then the route is matched, and the request goes to a node of its
// upstream or to a handler of the user's own.
//
//	308  plain HTTP, with [PlainRedirect]
//	400  the Host or the path has no reading, or a client certificate is missing
//	403  plain HTTP, where client certificates are demanded; or the route demands one
//	     (RequireIdentity), or its Authorize returned an error
//	404  no route
//	405  CONNECT
//	421  the connection was made for another server name
//	500  the route's Authorize panicked; the panic of a Handler ends the connection, or
//	     with HTTP/2 the stream, as it does with net/http
//	502  the route's upstream does not exist, or its nodes cannot be reached
//	503  the upstream has no node
//	504  a node did not answer in time
//
// The body is JSON in the shape of APISIX's, or text for a client whose Accept prefers it,
// or what [Options.ErrorBody] makes.
//
// A gRPC call that no node has answered is answered with 200 and a grpc-status: the
// one that clients would make of the status above (UNAVAILABLE for 502, 503 and
// 504). So is one whose answer the node breaks off.
//
// # HTTP/1.1 at a listener of the Server
//
// What two readers could understand differently is refused, with 400 or the status below,
// and its connection ends (RFC 9112): Content-Length beside Transfer-Encoding or twice,
// whatever they say; a coding other than "chunked" (501); a line that ends in a bare LF; a
// field that is folded, or has a space before its colon; a Host that is missing, doubled
// or no name; a chunk whose size is no number; fields about framing after a body. net/http
// takes some of that, and so does ServeHTTP behind a server of one's own: what reaches a
// node is unambiguous there as well. One empty line before a request is passed over.
//
//	408  the head, or the body, did not come in time
//	413  the body is longer than [Limits.BodyBytes]
//	417  an Expect that is not "100-continue"
//	431  the head is longer than [Limits.HeaderBytes], or has more than HeaderFields
//	501  a transfer coding that is not known, or a method of more than 32 letters
//	505  another version than 1.x
//
// An answer that comes before the end of its request is passed on at once and is the last
// of its connection. A client that ends its direction after its request gets an answer
// that comes within a second; later, it is taken for one that has gone away, and its
// request is given up at the node.
//
// An idle connection has no buffer, and on Linux no goroutine, over TCP. That is so with
// HTTP/2 too.
//
// # HTTP/2 at a listener of the Server
//
// Clients with TLS choose it by ALPN, those of [*Server.Serve] by its first bytes, with
// [Options.H2C]. A request goes on to nodes as the one of HTTP/1.1 that has the same
// meaning; what has none is malformed, and its stream is reset with PROTOCOL_ERROR (RFC
// 9113, section 8.1.1): pseudo-fields that are missing, doubled, unknown or late; an
// :authority with user information; names in upper case; values with control characters or
// space around them; Connection, Transfer-Encoding and their like; a body of another length
// than Content-Length says. A Host that says something else than :authority is answered
// with 400. The crumbs of Cookie are joined.
//
// The guard judges each stream by its :authority: a 421 for one leaves the others alone.
//
// WebSocket goes over a stream by an extended CONNECT (RFC 8441), on routes with
// [route.Config.WebSocket] to an upstream with the scheme http or https; for conditions it
// is a GET. Elsewhere, and for other protocols, it is answered with 501.
//
// Answers that are ready together go out in one write. Of those that wait for the client,
// the more urgent go first (RFC 9218: the field Priority, and PRIORITY_UPDATE), and those
// of a client that says nothing of it share.
//
// What a client can have the gateway do for nothing is bounded: requests at a time
// ([Limits.Streams], beyond which they are refused unprocessed); what comes of bodies that
// nobody reads yet (64 KiB a stream, or up to 1 MiB if it was read as fast as it came; 2 MiB
// a connection); requests that are taken back
// ([LimitResets]: a hundred and two for each of Streams, and one for each that was
// answered, and ten a second); and frames that get nothing done ([LimitFrames]: a thousand
// in a row, and a hundred a second). A connection beyond the last two ends with
// ENHANCE_YOUR_CALM. One that is silent while a request goes on is asked, by PING, whether
// it is there. [*Server.Shutdown] lets clients know, by GOAWAY, and answers what was on its
// way.
//
// # What is forwarded
//
// The request target goes to the node byte for byte, the Host as it came (see
// [upstream.Config.PassHost]). Headers that concern one connection alone are
// dropped (RFC 9110, section 7.6.1), and every Upgrade but a WebSocket that the
// route allows. Trailers of an answer are forwarded, those of a request are not.
// X-Forwarded-For, -Proto, -Host and -Port and X-Real-IP say what the gateway saw;
// what the client says in them or in Forwarded is dropped in every spelling, unless
// [Options.TrustedProxies] names the client. What anyone says in the header fields
// that gateways use for client certificates is always dropped, and so is what they say
// in a field in which any route tells of them (a value of [route.Config.Headers] with a
// variable that begins with ssl_client_). The conditions of routes see neither.
//
// The client's certificate, if the guard has verified it and not otherwise, is told in
// Client-Cert and Client-Cert-Chain (RFC 9440), Envoy's X-Forwarded-Client-Cert, or
// nginx's names, as [Options.ClientCert] and [route.Config.ClientCert] say; by default it
// is not told. Fields that [Trace.RequestBegun] sets stand in place of the client's. Last
// come the changes of the route, [route.Config.Headers], which may replace any of it but
// the framing. A handler of the user's sees the same.
//
// # What it tells
//
// [*Server.Stats] returns what is counted: handshakes by profile, version and reason,
// requests by route and class of status, upstreams with retries and health, connections,
// limits, the revision of the configuration. [*Server.History] has the last hour by
// minute, and [*Server.Refusals] the last clients that were refused, each with a sentence
// that says why and what to do. All of it is always there: a request costs some additions
// to integers, and no lock. Names in Stats and History are IDs of the configuration. The
// modules gateway/prometheus and gateway/otel show Prometheus and OpenTelemetry what is
// counted, and make spans of requests and handshakes.
//
// Each request ends in one place, whichever door it came by: there it is counted,
// logged, and told to [Trace].
//
// # The access log
//
// [Options.AccessLog] receives one record for each request, "request", when its answer is
// written. Its level is Warn if the request was refused, Error if no node has answered or
// its answer broke off while the client was still there, or a handler panicked, and else
// Info. The attributes are
//
//	status, method, host, path       the status is 0 if no answer was begun; no query
//	protocol, remote, client         the peer, and the client's address behind trusted proxies
//	server_name                      with TLS
//	identity                         profile, subject, serial, sha256, spiffe_id: of a verified client
//	route, upstream                  their IDs
//	node, attempts, waited           if one was tried; the time up to the head of its answer
//	took, received, sent             from the head of the request on; bytes of the bodies
//	reason, profile, advice          if it was refused
//	error                            why it failed
//	unreported                       how many like this one were left out before
//
// and what does not apply is left out. Requests that were refused, and those that no route
// serves, are logged as far as [Options.FailuresLogged] allows, for each reason and each
// status; all others are logged without a bound. Durations are [time.Duration].
//
// Nothing is logged twice. Without AccessLog, [Options.Logger] receives a record for each
// request that was refused ("request refused") or failed ("request failed"), as far as
// FailuresLogged allows, for each reason and each route. With it, these are in the access
// log alone: who wants them in both places gives both the same [slog.Handler], or one that
// hands records on. With handshakes it is the same: see [ssl.Options.HandshakeLog].
//
// What clients send stands in records as it came, for the handler to quote, as those of
// package slog do. Any [slog.Handler] will do; that of package accesslog writes JSON for
// about a third of what [slog.JSONHandler] costs. What the requests of a connection have in
// common is given to the handler once (WithAttrs), for it to format once.
//
// # Restarting
//
// A new process can take a gateway's place without a request lost, because a listener is
// a descriptor that two processes can have: who connects waits in its queue until one of
// them accepts. The new process is given it (by [os/exec.Cmd.ExtraFiles] from
// [net.TCPListener.File], or by systemd, whose .socket unit holds it for both), makes a
// listener of it with [net.FileListener], and serves it. Then the old one is told, by a
// signal for example, to call [*Server.Shutdown]. The example "restart" has the code of
// both sides.
//
// # Concurrency
//
// A Server may be used by any number of goroutines. A request that began under
// one configuration ends under it. Nothing on the way of a request waits for a
// change.
package gateway
