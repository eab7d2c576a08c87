package gatewayprom

import "github.com/prometheus/client_golang/prometheus"

// descriptions are those of all metrics.
var descriptions []*prometheus.Desc

func describe(name, help string, labels ...string) *prometheus.Desc {
	d := prometheus.NewDesc("sallyport_"+name, help, labels, nil)
	descriptions = append(descriptions, d)
	return d
}

// Of the gateway as a whole.
var (
	buildInfo     = describe("build_info", "A metric with a constant '1' value, labelled by the version of the module and of Go.", "version", "goversion")
	startTime     = describe("start_time_seconds", "When the gateway was made, from which on its counters count, in seconds since 1970.")
	configChanges = describe("config_changes_total", "Changes of the configuration that were put into force.")
	configChanged = describe("config_last_change_timestamp_seconds", "When the configuration was changed last, in seconds since 1970.")
	configObjects = describe("config_objects", "Objects in the configuration.", "kind")

	connectionsAccepted = describe("connections_accepted_total", "Connections that were taken in.")
	connectionsOpen     = describe("connections_open", "Connections that are open, those in their handshake and those that were taken over included.")
	protocolAccepted    = describe("http_connections_accepted_total", "Connections that have come to speak a version of HTTP.", "protocol")
	protocolOpen        = describe("http_connections_open", "Connections that speak a version of HTTP, by whether a request goes on.", "protocol", "state")
	limitsReached       = describe("limits_reached_total", "Connections and requests that were ended by a limit.", "limit")
)

// Of handshakes and certificates.
var (
	handshakes        = describe("tls_handshakes_total", "Handshakes that succeeded.", "profile", "version", "resumed")
	handshakeFailures = describe("tls_handshake_failures_total", "Handshakes that failed, by the profile of their server name and the reason.", "profile", "reason")
	handshakeDuration = describe("tls_handshake_duration_seconds", "How long handshakes took that succeeded, from the accepted connection on.", "profile")
	turnedAway        = describe("tls_turned_away_total", "Connections that were closed without a handshake because their address had too many.")
	expiry            = describe("tls_certificate_expiry_timestamp_seconds", "When a certificate expires, in seconds since 1970.", "profile", "certificate")
	crlNextUpdate     = describe("tls_crl_next_update_timestamp_seconds", "When a revocation list is past its next update and clients are refused, in seconds since 1970.", "profile")
)

// Of requests.
var (
	requests         = describe("http_requests_total", "Requests, by route and the class of the status that they were answered with.", "route", "code")
	requestDuration  = describe("http_request_duration_seconds", "How long requests took, from their head to the end of the answer.", "route")
	requestsRefused  = describe("http_requests_refused_total", "Requests that were refused, for the guard or for a route that is not for the client.", "reason")
	requestsUnrouted = describe("http_requests_unrouted_total", "Requests for which there is no route.")
	malformed        = describe("http_requests_malformed_total", "What came in place of a request and was none.")
	routeInfo        = describe("route_info", "A metric with a constant '1' value, labelled by a route and the upstream that it leads to.", "route", "upstream")
)

// Of upstreams and their nodes.
var (
	upstreamRequests = describe("upstream_requests_total", "Requests to upstreams, by the class of the status that came of them in the end.", "upstream", "code")
	upstreamWait     = describe("upstream_response_wait_seconds", "How long it took until the head of the answer came, or the request was given up.", "upstream")
	upstreamRetries  = describe("upstream_retries_total", "Attempts beyond the first of each request.", "upstream")
	upstreamNodes    = describe("upstream_nodes", "Nodes by their state.", "upstream", "state")
	nodeUp           = describe("upstream_node_up", "Whether the node is healthy and not ejected, so that requests go there.", "upstream", "node")
	nodeRequests     = describe("upstream_node_requests_total", "Requests that were sent to the node, or tried.", "upstream", "node")
	nodeFailures     = describe("upstream_node_failures_total", "Requests to the node that failed for a reason on its side.", "upstream", "node")
	nodeInFlight     = describe("upstream_node_requests_in_flight", "Requests to the node that go on.", "upstream", "node")
)
