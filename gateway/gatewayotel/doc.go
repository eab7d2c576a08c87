// Package gatewayotel tells OpenTelemetry what a gateway does: a span for each request and
// each handshake, and metrics.
//
//	durations, err := gatewayotel.Durations(nil) // http.server.request.duration
//	...
//	gw, err := gateway.New(&gateway.Options{
//		TLS:   ssl.Options{Trace: gatewayotel.HandshakeSpans(nil)},
//		Trace: gateway.JoinTraces(gatewayotel.RequestSpans(nil), durations),
//	})
//	...
//	registration, err := gatewayotel.Counters(gw, nil)
//
// Each of the four is useful alone, and beside a [gateway.Trace] or [ssl.Trace] of the
// program's own: see [gateway.JoinTraces] and [ssl.JoinTraces]. RequestSpans and Durations
// cost each request something, some microseconds and some allocations (BenchmarkRequest);
// Counters reads, once per interval, what the gateway counts anyway. Only the API of
// OpenTelemetry is needed: without a provider, which an SDK has, nothing is recorded.
//
// # Spans of requests
//
// A request has one span of the kind server, by the semantic conventions for HTTP, version
// 1.43.0, from its head to the end of its answer, or of its WebSocket. Its name is the
// method and the pattern of the route's path that matched ("GET /users/*"), which is also
// its http.route.
//
//	http.request.method, http.request.method_original, http.route, http.response.status_code
//	http.request.body.size, http.response.body.size
//	url.scheme, url.path                            without the query, which may hold a secret
//	server.address, server.port                     the Host
//	client.address                                  like the scheme, see gateway.Options.TrustedProxies
//	network.peer.address, network.peer.port, network.protocol.version, user_agent.original
//	tls.protocol.name, tls.protocol.version, tls.cipher, tls.curve, tls.resumed, tls.next_protocol
//	tls.client.subject, tls.client.issuer, tls.client.hash.sha256
//	error.type                                      the status if it is 5xx, "client_disconnected"
//	                                                if the client went away, or "_OTHER"
//	sallyport.server_name                           of the connection
//	sallyport.profile.id, sallyport.client.serial, sallyport.client.spiffe_id
//	sallyport.route.id, sallyport.upstream.id, sallyport.upstream.node
//	sallyport.upstream.attempts, sallyport.upstream.wait (seconds)
//	sallyport.refusal.reason                        see ssl.Reason
//
// The attributes of a client certificate are those of a verified one. What the client itself
// says is made valid UTF-8 and cut after 1024 bytes. Attributes that are known at the
// beginning are available to the sampler.
//
// The target of the route is told of the span in the header fields traceparent and
// tracestate (W3C Trace Context), or in those of [Options.Propagator]; what the client says
// in them is not passed on. All nodes that are tried for one request get the same. Handlers
// of yours, and [route.Config.Authorize], find the span in their context.
//
// # Whose trace it is
//
// A client can name a trace that the request belongs to. A client that may do so decides
// what is recorded, and can write into the traces of others. So only the peers among
// [gateway.Options.TrustedProxies] may, or those that [Options.Trust] chooses, such as
// clients with a verified certificate. For all others a new trace begins, with a link to the
// client's. If the request comes with a span in its context, because a middleware in front
// of [gateway.Server.ServeHTTP] has begun one, the span is a child of that.
//
// # Spans of handshakes
//
// A handshake behind [gateway.Server.ServeTLS] has a span of its own, "TLS handshake",
// because it belongs to no single request: many requests share a handshake, and a failed one
// has none. Its error.type is the reason, one of [ssl.HandshakeReasons], and the description
// of its status says what to do. Its attributes of the client's certificate are those of
// whatever was presented. By default only failed handshakes have a span: see
// [Options.AllHandshakes].
//
//	tls.established, tls.protocol.name, error.type, sallyport.server_name, sallyport.profile.id
//	client.address, network.peer.address, network.peer.port
//	tls.protocol.version, tls.cipher, tls.curve, tls.resumed, tls.next_protocol   if it succeeded
//	tls.client.subject, tls.client.issuer, tls.client.hash.sha256                 if it failed for them
//
// # Metrics
//
// [Durations] records http.server.request.duration, which the semantic conventions require of
// an HTTP server, with exemplars if the SDK has them. [Counters] observes [gateway.Server.Stats].
// The API of OpenTelemetry has no way to observe a histogram that was counted elsewhere, so
// of the histograms of Stats only the sum is there, in seconds. To have their buckets without
// the cost of Durations, let a bridge for Prometheus collectors read that of package
// gateway/gatewayprom.
//
//	sallyport.config.changes            counter         {change}
//	sallyport.config.last_change        gauge           s       since 1970
//	sallyport.config.objects            gauge           {object}      sallyport.object.kind
//	sallyport.connections.accepted      counter         {connection}
//	sallyport.connections.open          updowncounter   {connection}
//	sallyport.http.connections          updowncounter   {connection}  network.protocol.version, http.connection.state
//	sallyport.limits.reached            counter         {event}       sallyport.limit
//	sallyport.tls.handshakes            counter         {handshake}   sallyport.profile.id, tls.protocol.version, tls.resumed; or error.type
//	sallyport.tls.handshake.time        counter         s             sallyport.profile.id
//	sallyport.tls.turned_away           counter         {connection}
//	sallyport.tls.certificate.expiry    gauge           s             sallyport.profile.id, sallyport.certificate.index; since 1970
//	sallyport.tls.crl.next_update       gauge           s             sallyport.profile.id; since 1970
//	sallyport.http.requests             counter         {request}     sallyport.route.id, sallyport.http.status_class
//	sallyport.http.request.time         counter         s             sallyport.route.id
//	sallyport.http.requests.refused     counter         {request}     http.response.status_code, error.type
//	sallyport.http.requests.unrouted    counter         {request}
//	sallyport.http.requests.malformed   counter         {request}
//	sallyport.upstream.requests         counter         {request}     sallyport.upstream.id, sallyport.http.status_class
//	sallyport.upstream.wait.time        counter         s             sallyport.upstream.id
//	sallyport.upstream.retries          counter         {request}     sallyport.upstream.id
//	sallyport.upstream.nodes            updowncounter   {node}        sallyport.upstream.id, sallyport.node.state
//
// Attributes of metrics are IDs of the configuration and words of the gateway. If there are
// more objects of a kind than [Options.MaxObjects], their counts are added up, without an ID.
package gatewayotel
