// Package gatewayprom shows Prometheus what a gateway does.
//
//	gw, err := gateway.New(options)
//	registry := prometheus.NewRegistry()
//	registry.MustRegister(gatewayprom.NewCollector(gw, nil))
//	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
//
// The counts are those of [gateway.Server.Stats], which the gateway keeps anyway: a scrape
// reads them, and requests cost nothing more. Whoever may scrape learns the IDs and the
// traffic of the configuration, so serve the metrics on a listener of their own and not
// behind a public route.
//
// # Metrics
//
// Labels are IDs of the configuration and words of the gateway, never something that a
// client has sent. A code is the class of a status, "2xx", or "none" if the client went away
// before an answer; "1xx" are WebSockets.
//
//	sallyport_build_info                              gauge      version, goversion
//	sallyport_start_time_seconds                      gauge
//	sallyport_config_changes_total                    counter    changes in force, since the start
//	sallyport_config_last_change_timestamp_seconds    gauge
//	sallyport_config_objects                          gauge      kind: profile, route, upstream
//
//	sallyport_connections_accepted_total              counter
//	sallyport_connections_open                        gauge      handshakes and WebSockets included
//	sallyport_http_connections_accepted_total         counter    protocol: http/1.1, h2
//	sallyport_http_connections_open                   gauge      protocol, state: active, idle
//	sallyport_limits_reached_total                    counter    limit: the name of the field of gateway.Limits
//
//	sallyport_tls_handshakes_total                    counter    profile, version, resumed
//	sallyport_tls_handshake_failures_total            counter    profile, reason: see ssl.Reason
//	sallyport_tls_handshake_duration_seconds          histogram  profile; of those that succeeded
//	sallyport_tls_turned_away_total                   counter    connections beyond MaxHandshakesPerAddr
//	sallyport_tls_certificate_expiry_timestamp_seconds gauge     profile, certificate: 0, 1, ...
//	sallyport_tls_crl_next_update_timestamp_seconds   gauge      profile; when clients are refused
//
//	sallyport_http_requests_total                     counter    route, code
//	sallyport_http_request_duration_seconds           histogram  route; WebSockets are not in it
//	sallyport_http_requests_refused_total             counter    reason: see ssl.Reason
//	sallyport_http_requests_unrouted_total            counter    answered with 404
//	sallyport_http_requests_malformed_total           counter    what was no request
//	sallyport_route_info                              gauge      route, upstream: for joins
//
//	sallyport_upstream_requests_total                 counter    upstream, code
//	sallyport_upstream_response_wait_seconds          histogram  upstream; until the head of the answer
//	sallyport_upstream_retries_total                  counter    upstream
//	sallyport_upstream_nodes                          gauge      upstream, state: healthy, unhealthy, ejected
//	sallyport_upstream_node_up                        gauge      upstream, node: 1 if requests go there
//	sallyport_upstream_node_requests_total            counter    upstream, node
//	sallyport_upstream_node_failures_total            counter    upstream, node
//	sallyport_upstream_node_requests_in_flight        gauge      upstream, node
//
// What belongs to no profile (a handshake without a known server name) has an empty profile
// label, which to Prometheus is the same as none; likewise what belongs to no route.
//
// # How many series there are
//
// Each object of the configuration has some, and a histogram once there is something in it:
// a route has 7, for example, and one that is used 25. If there are more objects of a kind
// than [Options.MaxObjects], their counts are added up, without an ID and without a series
// for each. Queries that sum over the label give the same result either way:
//
//	sum by (reason) (increase(sallyport_tls_handshake_failures_total[5m])) > 0
//	sum by (code) (rate(sallyport_http_requests_total[1m]))
//	histogram_quantile(0.99, sum by (le) (rate(sallyport_http_request_duration_seconds_bucket[5m])))
//	(sallyport_tls_certificate_expiry_timestamp_seconds - time()) / 86400 < 14
//	sum by (upstream) (increase(sallyport_upstream_node_failures_total[5m])) > 0
//
// Two metrics have no sum, and are then absent: sallyport_upstream_node_up, in place of which
// there is sallyport_upstream_nodes, and sallyport_route_info, without which this is empty:
//
//	sum by (upstream) (rate(sallyport_http_requests_total[1m]) * on (route) group_left (upstream) sallyport_route_info)
//
// The counts of a deleted object are gone. If those of routes, upstreams or nodes were added
// up, Prometheus takes the smaller sum for a restart.
package gatewayprom
