package upstream

import (
	"crypto"
	"fmt"
	"time"

	"github.com/sallyport/sallyport/internal/secret"
	"github.com/sallyport/sallyport/internal/signer"
)

// A Config is what a person writes about one upstream: its nodes and how to talk to them.
// [New] checks it and makes it an [Upstream].
type Config struct {
	// ID names the upstream in logs, in errors and for routes. Required.
	ID string

	// Scheme is how nodes are talked to. If empty, it is [SchemeHTTP].
	Scheme Scheme

	// Nodes are the servers. There may be none: every request then fails with [ErrNoNode],
	// as in APISIX.
	Nodes []Node

	// Balancer is how a node is picked among those of a priority level. If empty, it is
	// [BalancerRoundRobin].
	Balancer Balancer

	// HashOn says what HashKey is, for [BalancerCHash]: if empty, it is [HashOnVars]. For
	// other balancers it must be empty.
	HashOn HashOn

	// HashKey is what [BalancerCHash] hashes of a request: it is required for that, and must
	// be empty otherwise. A request without the key is hashed by its remote_addr, as in
	// APISIX; one without even that, as a client of your own may send, goes anywhere. For
	// where the variables come from, see [CallOptions.Vars].
	HashKey string

	// Picker, if not nil, is used in place of a Balancer, which must be empty then. A
	// Picker that keeps state may be passed on to the Config that replaces this one.
	Picker Picker

	// Checks, if not nil, take unhealthy nodes out.
	Checks *Checks

	// FailWhenUnhealthy fails a request with [ErrUnhealthy] if no node is healthy.
	// Otherwise, as in APISIX, all nodes are used then: a check may be mistaken.
	FailWhenUnhealthy bool

	// Outliers, if not nil, take out, for a while, nodes that fail too many requests.
	Outliers *Outliers

	// SlowStart is how long it takes until a node that returns, healthy again or no longer
	// ejected, gets its full share of the requests. The share grows evenly. Zero is at
	// once. [BalancerCHash] has no slow start.
	SlowStart time.Duration

	// PassHost is the Host that a node sees: [PassClient] (the default) that of
	// the client's request, [PassNode] the node's own, [PassRewrite] the one in
	// Host.
	PassHost PassHost

	// Host is sent with [PassRewrite], and must be empty otherwise.
	Host string

	// Retries is how many other nodes a request is tried on after the first.
	// Zero is every other node once, as in APISIX; [NoRetries] is none.
	Retries int

	// RetryTimeout stops retries after this time. Zero is no limit of its own.
	RetryTimeout time.Duration

	// ReplayBytes is the longest body that is kept so that its request can be sent again,
	// where the method allows that or nothing was sent. It is kept for each request, until
	// a node has begun to answer. Zero is none: a request then goes to another node only if
	// nothing of its body has been read.
	ReplayBytes int

	// RetryBudget bounds the retries of all requests together. Zero fields have defaults.
	RetryBudget RetryBudget

	// Timeout bounds the waiting for a node. Each zero field is [DefaultTimeout], except
	// that with [SchemeGRPC] and [SchemeGRPCS] a zero Send or Read is no limit: a call may
	// be silent for long, and is ended by its client's deadline.
	Timeout Timeout

	// KeepAlive bounds the idle connections. Zero fields have defaults.
	KeepAlive KeepAlive

	// TLS is for [SchemeHTTPS] and [SchemeGRPCS]. The zero TLS verifies the node against the
	// roots of the system.
	TLS TLS
}

// A Node is one server of an upstream.
type Node struct {
	// Host is a name or an IP address. IPv6 may stand in brackets. Required.
	Host string

	// Port is 1 to 65535. Zero is the port of the scheme: 443 with TLS, otherwise 80.
	Port int

	// Weight is the node's share of the requests in proportion to the others. As in
	// APISIX, a node with zero gets none, unless all nodes of its Priority have zero: so
	// set it for every node that is to get requests, or for none. [*Upstream.Warnings]
	// tells of nodes that get none.
	Weight int

	// Priority orders the nodes in levels, the highest first: a node is used only for a
	// request that has been tried on every node of higher priority, or if health checks
	// have taken those out. It may be negative.
	Priority int
}

// A Scheme is how nodes are talked to. Any request may be sent over each.
type Scheme string

const (
	SchemeHTTP  Scheme = "http"  // HTTP/1.1
	SchemeHTTPS Scheme = "https" // HTTP/1.1 over TLS
	SchemeH2C   Scheme = "h2c"   // HTTP/2 without TLS

	// SchemeGRPC is HTTP/2 without TLS, and SchemeGRPCS over TLS, which a node must offer
	// (ALPN "h2"). With them a zero [Timeout] means something else.
	SchemeGRPC  Scheme = "grpc"
	SchemeGRPCS Scheme = "grpcs"
)

// A Balancer is how a node is picked among those of a priority level.
type Balancer string

const (
	// BalancerRoundRobin picks by weight, in turn. Totals are exact.
	BalancerRoundRobin Balancer = "roundrobin"

	// BalancerCHash picks by a hash of [Config.HashKey], so that the same key goes to the
	// same node, here as in APISIX and in nginx ("hash ... consistent"). When a node comes
	// or goes, only the keys that it gets or had move.
	BalancerCHash Balancer = "chash"

	// BalancerLeastConn picks the node with the fewest requests in flight for its weight,
	// at random if several have equally few.
	BalancerLeastConn Balancer = "least_conn"

	// BalancerEWMA picks, of two nodes chosen at random, the one that has lately answered
	// faster, for its weight and its requests in flight.
	BalancerEWMA Balancer = "ewma"
)

// HashOn says what [Config.HashKey] is.
type HashOn string

const (
	// HashOnVars is a variable: uri, request_uri, query_string, host, hostname,
	// remote_addr, remote_port, server_addr, server_name, mqtt_client_id or arg_NAME.
	HashOnVars HashOn = "vars"

	HashOnHeader HashOn = "header" // the name of a header field
	HashOnCookie HashOn = "cookie" // the name of a cookie

	// HashOnVarsCombinations is a text with any variables in it: "$host$uri",
	// "${arg_id}-$remote_addr". An absent variable is empty.
	HashOnVarsCombinations HashOn = "vars_combinations"
)

// PassHost says which Host a node sees.
type PassHost int

const (
	// PassClient sends the Host of the client's request as it came.
	PassClient PassHost = iota

	// PassNode sends the node's name, with the port unless it is the scheme's.
	PassNode

	// PassRewrite sends [Config.Host].
	PassRewrite
)

// NoRetries is the [Config.Retries] with which a request is tried only once.
const NoRetries = -1

// DefaultTimeout is the value of each zero field of a [Timeout]; it is nginx's default.
const DefaultTimeout = 60 * time.Second

// Timeout bounds the waiting for a node.
type Timeout struct {
	Connect time.Duration // until the connection stands, TLS included
	Send    time.Duration // between two writes; with HTTP/2, until the head or a part of the body is taken
	Read    time.Duration // between two reads, and until the answer begins
}

// KeepAlive bounds the connections that are kept open between requests.
type KeepAlive struct {
	// Size is how many idle connections are kept for each node. Zero is 320 (APISIX). With
	// HTTP/2, where many requests share a connection, few are needed.
	Size int

	// IdleTimeout closes a connection that has been idle for that long. Zero is a minute.
	// With HTTP/2 it is at least a second, and includes the wait for a new connection's
	// SETTINGS.
	IdleTimeout time.Duration

	// Requests closes a connection after that many requests. Zero is 1000 (APISIX). With
	// HTTP/2 there is no such limit.
	Requests int
}

// TLS is how nodes are talked to over TLS.
type TLS struct {
	// CAPEM holds the certificates that a node's chain may end in. If nil, those of the
	// system are used. One that is empty but not nil is refused: an empty file must not widen
	// whom is trusted.
	CAPEM []byte

	// ServerName, if not empty, is the name or the address that every node is asked for (SNI)
	// and must prove, whatever the Host that it sees, as [tls.Config.ServerName] is: set it
	// where the nodes have certificates of their own and the Host stays the client's. If
	// empty, it is the name in that Host: see [PassHost].
	ServerName string

	// CertPEM and KeyPEM are the client certificate that is shown to nodes that
	// ask for one. Both or none, unless there is a Signer.
	CertPEM []byte
	KeyPEM  KeyPEM

	// Signer is the private key of CertPEM in place of KeyPEM: one in an HSM, a KMS or a
	// TPM, or a key that the program already has. [New] asks for its public key once; it
	// must be that of the certificate, and a panic or nil is refused.
	//
	// It signs when a connection to a node that asks for a certificate is made, for many at
	// once: for RSA with PSS in TLS 1.3 ([*rsa.PSSOptions], with a salt as long as the
	// hash), and perhaps PKCS #1 v1.5 below that. The time that it takes counts towards
	// [Timeout.Connect]. It gets no context, so nothing can interrupt it, and a request may
	// wait for it that long. If it returns an error or panics, that is a failure to connect
	// like any other: it counts against the node, and another is tried.
	//
	// [*Pool.Replace] keeps connections only if the Signer is the same by ==, not if it is
	// another one of the same key: that may be a new session with the HSM, and the old one
	// may be over. A Signer whose type has no == counts as new in each Upstream, except an
	// [ed25519.PrivateKey], which is compared by its bytes.
	//
	// Printing, logging or marshalling a TLS does not reveal it.
	Signer crypto.Signer `json:"-" xml:"-" yaml:"-"`

	// DangerouslySkipServerVerify accepts any certificate from a node: whoever sits in
	// between can read and change everything. It is what APISIX does.
	DangerouslySkipServerVerify bool
}

// Format implements [fmt.Formatter]: where the Signer is a key of the standard library, fmt
// would print what is in it.
func (c TLS) Format(s fmt.State, verb rune) {
	c.Signer = signer.Hide(c.Signer)
	type settings = TLS
	type TLS settings // without this method, and with the name for %#v
	fmt.Fprintf(s, fmt.FormatString(s, verb), TLS(c))
}

// KeyPEM is a private key in PEM. It prints as "[redacted]" everywhere.
// A []byte can be assigned to it.
type KeyPEM = secret.PEM

// A ConfigError says which field of a [Config] is wrong and why.
type ConfigError struct {
	ID    string // of the Config
	Field string // as in Go: "Nodes[1].Port"
	Err   error
}

// Error implements error.
func (e *ConfigError) Error() string {
	return fmt.Sprintf("upstream %q: %s: %v", e.ID, e.Field, e.Err)
}

// Unwrap returns the reason.
func (e *ConfigError) Unwrap() error { return e.Err }

// FieldPath returns the field, for those who map it to a document of their own.
func (e *ConfigError) FieldPath() string { return e.Field }

// A Warning says what does not work the way it may seem to: it is to a [Config] that is
// taken what a [ConfigError] is to one that is refused.
type Warning struct {
	ID    string // of the Config
	Field string // as in Go: "Timeout.Read"; "" if no one field is it
	Text  string
}

// String returns the text, after the upstream and the field that it is about.
func (w Warning) String() string {
	if w.Field == "" {
		return fmt.Sprintf("upstream %q: %s", w.ID, w.Text)
	}
	return fmt.Sprintf("upstream %q: %s: %s", w.ID, w.Field, w.Text)
}
