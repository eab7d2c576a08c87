package statuspage

import "time"

// A Name is an ssl object: what serves some server names.
type Name struct {
	ID           string        `json:"id"`
	Names        []string      `json:"names"`
	Certificates []Certificate `json:"certificates"` // one for each pair
	Client       *Client       `json:"client"`       // null if no client certificate is asked for

	// Since the gateway or the object was made.
	Handshakes uint64            `json:"handshakes"` // that succeeded
	Resumed    uint64            `json:"resumed"`    // those of them that resumed a session of an earlier connection
	Failed     map[string]uint64 `json:"failed"`     // by reason

	Warnings []string `json:"warnings"`
}

// A Certificate is a certificate of a [Name].
type Certificate struct {
	Subject   string    `json:"subject"` // RFC 2253: "CN=a.test"
	Issuer    string    `json:"issuer"`
	Serial    string    `json:"serial"` // in hexadecimal
	SHA256    string    `json:"sha256"`
	Key       string    `json:"key"` // "ECDSA P-256", "RSA 2048", "Ed25519"
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`

	// State is "valid", "ends_soon", "ended" or "not_yet_valid". A certificate ends soon if
	// less than 30 days and less than a third of its time are left.
	State string `json:"state"`
}

// The states of a [Certificate].
const (
	Valid       = "valid"
	EndsSoon    = "ends_soon"
	Ended       = "ended"
	NotYetValid = "not_yet_valid"
)

// A Client says which client certificates are accepted.
type Client struct {
	// Required is false if some paths need no certificate: those in SkipPaths.
	Required  bool     `json:"required"`
	SkipPaths []string `json:"skip_paths"`

	Depth int      `json:"depth"` // how many intermediates a chain may have
	CAs   []string `json:"cas"`   // their subjects

	// Allow is how many clients are on the allow-list. It is left out if there is no list.
	Allow      *int   `json:"allow,omitempty"`
	Authorizer string `json:"authorizer,omitempty"` // the id of a function of the program
	CRLs       []CRL  `json:"crls"`                 // if there are none, revocation is not checked
}

// A CRL is a revocation list.
type CRL struct {
	Issuer     string    `json:"issuer"`
	NextUpdate time.Time `json:"next_update"`
	Revoked    int       `json:"revoked"` // how many certificates it revokes
	OutOfDate  bool      `json:"out_of_date"`
}

// A Route is a route, with its requests.
type Route struct {
	ID       string   `json:"id"`
	Hosts    []string `json:"hosts"`   // none: any
	Paths    []string `json:"paths"`   //
	Methods  []string `json:"methods"` // none: any
	Priority int      `json:"priority"`
	Disabled bool     `json:"disabled"`

	// Upstream is the id of the upstream. It is empty if the program itself answers; Target
	// then says so in words.
	Upstream string `json:"upstream,omitempty"`
	Target   string `json:"target,omitempty"`

	// The requests for the route.
	LastMinute Answers `json:"last_minute"` // the last whole minute
	LastHour   Answers `json:"last_hour"`
	Answers    Answers `json:"answers"` // since the gateway or the route was made

	RequestsPerSecond float64 `json:"requests_per_second"` // in the last minute
	ErrorShare        float64 `json:"error_share"`         // 5xx in the last hour
	ClientErrorShare  float64 `json:"client_error_share"`  // 4xx in the last hour
	MeanSeconds       float64 `json:"mean_seconds"`        // mean of all requests, from the head of the request to the end of the answer

	Warnings []string `json:"warnings"`
}

// An Upstream is an upstream, with its nodes.
type Upstream struct {
	ID       string `json:"id"`
	Scheme   string `json:"scheme"`
	Balancer string `json:"balancer"`
	Nodes    []Node `json:"nodes"`

	// Since the gateway or the upstream was made.
	Answers         Answers `json:"answers"`
	Retries         uint64  `json:"retries"`           // attempts beyond the first of each request
	MeanWaitSeconds float64 `json:"mean_wait_seconds"` // until the head of an answer

	Warnings []string `json:"warnings"`
}

// A Node is one server of an upstream.
type Node struct {
	Address  string `json:"address"`
	Weight   int    `json:"weight"`
	Priority int    `json:"priority"`
	Health   string `json:"health"` // "healthy", "mostly_healthy", "mostly_unhealthy", "unhealthy"
	Reason   string `json:"reason,omitempty"`

	InFlight int64  `json:"in_flight"`
	Requests uint64 `json:"requests"` // since the node was first used
	Failures uint64 `json:"failures"` // those of them that failed

	LastError    string    `json:"last_error,omitempty"`
	LastErrorAt  time.Time `json:"last_error_at,omitzero"`
	EjectedUntil time.Time `json:"ejected_until,omitzero"`
	SlowStart    float64   `json:"slow_start,omitempty"` // the share of its weight that it has during a slow start
}
