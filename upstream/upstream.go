package upstream

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/internal/hostname"
)

// What zero means in a [KeepAlive].
const (
	defaultKeepAliveSize = 320 // APISIX
	defaultIdleTimeout   = time.Minute
	defaultRequests      = 1000 // APISIX
)

// maxWeight keeps sums of weights far from overflow.
const maxWeight = math.MaxInt32

// An Upstream is a checked [Config]. It never changes and owns nothing that runs, so it may
// be shared. Two of them are the same only if their pointers are.
type Upstream struct {
	config Config // a copy of our own, as it was written, but without its key

	// key returns what config has of the key: the one, the other or neither. A function is
	// the one thing that no verb of fmt looks into: of a field that is not exported, it
	// would print the bytes.
	key func() (KeyPEM, crypto.Signer)

	targets  []target // of config.Nodes
	levels   []level  // by falling priority
	hashKey  hashKey
	timed    bool        // latencies are measured
	checks   *checks     // nil if there are none
	outliers *Outliers   // without zero fields; nil if there are none
	tries    int         // at most, for one request
	timeout  Timeout     // a zero field is no limit
	budget   RetryBudget // without zero fields
	grpc     bool        // a zero Timeout means less
	settings settings
	tls      *tls.Config // a template; nil without TLS
	probeTLS *tls.Config // the same for checks
	rewrite  string      // canonical name of config.Host

	shown      *x509.Certificate // TLS.CertPEM; nil if there is none
	serverName string            // canonical form of config.TLS.ServerName
}

// settings are what connections depend on, but for the Signer. Where a new Upstream has the
// same, it may use the connections of the old.
type settings struct {
	https       bool // TLS, whatever goes over it
	http2       bool // HTTP/2, with TLS or without
	idleSize    int
	idleTimeout time.Duration
	requests    int // for each connection
	tls         tlsDigest
}

// New checks a Config and makes it an Upstream. The error joins a [*ConfigError] for each
// invalid field.
//
//	u, err := New(c)
//	v, err := New(u.Config()) // never fails; v is as u
func New(c Config) (*Upstream, error) {
	u := &Upstream{config: c.clone()}
	c = u.config

	var faults []error
	fault := func(field, format string, args ...any) {
		faults = append(faults, &ConfigError{ID: c.ID, Field: field, Err: fmt.Errorf(format, args...)})
	}

	if c.ID == "" {
		fault("ID", "is required")
	}
	switch c.Scheme {
	case "", SchemeHTTP:
	case SchemeHTTPS:
		u.settings.https = true
	case SchemeH2C:
		u.settings.http2 = true
	case SchemeGRPC:
		u.settings.http2, u.grpc = true, true
	case SchemeGRPCS:
		u.settings.https, u.settings.http2, u.grpc = true, true, true
	default:
		fault("Scheme", `is %q, and must be "http", "https", "h2c", "grpc" or "grpcs"`, c.Scheme)
	}
	u.compileNodes(fault)
	u.compileBalancer(fault)
	u.compileHost(fault)
	u.compileTimes(fault)
	u.compileTLS(fault)
	u.compileChecks(fault)

	if c.Retries < NoRetries {
		fault("Retries", "is %d, and must not be negative (NoRetries is %d)", c.Retries, NoRetries)
	}
	if c.ReplayBytes < 0 {
		fault("ReplayBytes", "is %d, and must not be negative", c.ReplayBytes)
	}
	if c.RetryBudget.Percent < 0 || c.RetryBudget.Percent > maxBudget {
		fault("RetryBudget.Percent", "is %d, and must be 0 to %d (NoRetries is for Retries)", c.RetryBudget.Percent, maxBudget)
	}
	if c.RetryBudget.PerSecond < 0 || c.RetryBudget.PerSecond > maxBudget {
		fault("RetryBudget.PerSecond", "is %d, and must be 0 to %d", c.RetryBudget.PerSecond, maxBudget)
	}
	u.budget = c.RetryBudget.withDefaults()
	switch c.Retries {
	case 0:
		u.tries = max(1, len(c.Nodes))
	default:
		u.tries = 1 + min(max(0, c.Retries), math.MaxInt-1)
	}

	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	u.buildBalancers()
	inPEM, elsewhere := u.config.TLS.KeyPEM, u.config.TLS.Signer
	u.key = func() (KeyPEM, crypto.Signer) { return inPEM, elsewhere }
	u.config.TLS.KeyPEM, u.config.TLS.Signer = nil, nil
	return u, nil
}

// A faultFunc takes note of what is wrong with one field.
type faultFunc func(field, format string, args ...any)

func (u *Upstream) compileNodes(fault faultFunc) {
	seen := make(map[string]int, len(u.config.Nodes))
	for i, n := range u.config.Nodes {
		field := func(name string) string { return fmt.Sprintf("Nodes[%d].%s", i, name) }
		t, err := newTarget(n, u.settings.https)
		port := 0 <= n.Port && n.Port <= math.MaxUint16
		switch {
		case n.Host == "":
			fault(field("Host"), "is required")
		case err != nil:
			fault(field("Host"), "%q %w", n.Host, err)
		}
		if !port {
			fault(field("Port"), "is %d, and must be 1 to 65535, or 0 for the port of the scheme", n.Port)
		}
		if err == nil && port {
			if first, again := seen[t.address]; again {
				fault(fmt.Sprintf("Nodes[%d]", i), "is %s, as is Nodes[%d]: give one of them the whole weight", t.address, first)
			}
			seen[t.address] = i
		}
		if n.Weight < 0 || n.Weight > maxWeight {
			fault(field("Weight"), "is %d, and must be 0 to %d", n.Weight, maxWeight)
		}
		u.targets = append(u.targets, t)
	}
}

func (u *Upstream) compileHost(fault faultFunc) {
	c := &u.config
	switch c.PassHost {
	case PassClient, PassNode:
		if c.Host != "" {
			fault("Host", "is %q, and is sent with PassRewrite only: set PassHost, or leave Host empty", c.Host)
		}
	case PassRewrite:
		name, ok := hostname.CanonicalHost(c.Host)
		switch {
		case c.Host == "":
			fault("Host", "is empty, and PassRewrite sends it: set it, or leave PassHost as it is")
		case !ok:
			fault("Host", `%q is no host: write a name or an address, with ":port" if the nodes expect one`, c.Host)
		}
		u.rewrite = name
	default:
		fault("PassHost", "is %d, and must be PassClient, PassNode or PassRewrite", c.PassHost)
	}
}

func (u *Upstream) compileTimes(fault faultFunc) {
	c := &u.config
	duration := func(field string, d, zero time.Duration) time.Duration {
		if d < 0 {
			fault(field, "is %v, and must not be negative", d)
		}
		if d == 0 {
			return zero
		}
		return d
	}
	var ofCall time.Duration = DefaultTimeout
	if u.grpc {
		ofCall = 0
	}
	u.timeout = Timeout{
		Connect: duration("Timeout.Connect", c.Timeout.Connect, DefaultTimeout),
		Send:    duration("Timeout.Send", c.Timeout.Send, ofCall),
		Read:    duration("Timeout.Read", c.Timeout.Read, ofCall),
	}
	duration("RetryTimeout", c.RetryTimeout, 0)
	u.settings.idleTimeout = duration("KeepAlive.IdleTimeout", c.KeepAlive.IdleTimeout, defaultIdleTimeout)

	u.settings.idleSize = c.KeepAlive.Size
	switch {
	case c.KeepAlive.Size < 0:
		fault("KeepAlive.Size", "is %d, and must not be negative", c.KeepAlive.Size)
	case c.KeepAlive.Size == 0:
		u.settings.idleSize = defaultKeepAliveSize
	}
	u.settings.requests = c.KeepAlive.Requests
	switch {
	case c.KeepAlive.Requests < 0:
		fault("KeepAlive.Requests", "is %d, and must not be negative", c.KeepAlive.Requests)
	case c.KeepAlive.Requests == 0:
		u.settings.requests = defaultRequests
	}
}

// NeedsVars reports whether the balancer needs variables of a request: see
// [CallOptions.Vars].
func (u *Upstream) NeedsVars() bool { return u.hashKey.hasVariable() }

// ID returns [Config.ID].
func (u *Upstream) ID() string { return u.config.ID }

// Scheme returns [Config.Scheme], or [SchemeHTTP] if that is empty.
func (u *Upstream) Scheme() Scheme { return cmp.Or(u.config.Scheme, SchemeHTTP) }

// Balancer returns [Config.Balancer], or [BalancerRoundRobin] if that is empty. With a
// [Config.Picker], it returns "".
func (u *Upstream) Balancer() Balancer {
	if u.config.Picker != nil {
		return ""
	}
	return cmp.Or(u.config.Balancer, BalancerRoundRobin)
}

// Warnings returns what does not work with the upstream the way it may seem to.
func (u *Upstream) Warnings() (warnings []Warning) {
	c := &u.config
	warn := func(field, format string, args ...any) {
		warnings = append(warnings, Warning{ID: c.ID, Field: field, Text: fmt.Sprintf(format, args...)})
	}
	if (c.Scheme == SchemeHTTPS || c.Scheme == SchemeGRPCS) && c.TLS.DangerouslySkipServerVerify {
		warn("TLS.DangerouslySkipServerVerify", "the certificates of its nodes are not verified: whoever sits between reads and changes everything")
	}
	if text := u.unshowable(time.Now()); text != "" {
		warn("TLS.CertPEM", "%s", text)
	}
	if text := u.unweighted(); text != "" {
		warn("Nodes", "%s", text)
	}
	short := func(field string, d time.Duration) {
		if 0 < d && d < time.Millisecond { // most likely seconds were meant
			warn(field, "is %v (%v seconds), below a millisecond, in which hardly a node answers: is the unit right?", d, d.Seconds())
		}
	}
	short("Timeout.Connect", c.Timeout.Connect)
	short("Timeout.Send", c.Timeout.Send)
	short("Timeout.Read", c.Timeout.Read)
	short("RetryTimeout", c.RetryTimeout)
	if c.Checks != nil {
		a := &c.Checks.Active
		short("Checks.Active.Timeout", a.Timeout)
		incessant := func(field string, d time.Duration) {
			if 0 < d && d < time.Millisecond {
				warn(field, "is %v, below a millisecond: its nodes are probed without a pause: is a unit missing?", d)
			}
		}
		incessant("Checks.Active.HealthyInterval", a.HealthyInterval)
		incessant("Checks.Active.UnhealthyInterval", a.UnhealthyInterval)
		if a.misses(c.Scheme) {
			warn("Checks.Active.Type", "is %q, and the nodes speak %s: a probe tells nothing of such a node, or finds it unhealthy: set %s",
				CheckHTTP, c.Scheme, c.Scheme.checkedBy())
		}
	}
	return warnings
}

// misses reports whether the probes are requests that nodes of a scheme do not take: in plain
// HTTP/1.1, which is the default. Another port may well take them, and with [SchemeH2C] many
// nodes take both.
func (a *ActiveChecks) misses(scheme Scheme) bool {
	plain := cmp.Or(a.Type, CheckHTTP) == CheckHTTP
	probes := a.HealthyInterval != NoProbes || a.UnhealthyInterval != NoProbes
	return plain && probes && a.Port == 0 && (scheme == SchemeHTTPS || scheme == SchemeGRPC || scheme == SchemeGRPCS)
}

// checkedBy names the types of checks that nodes of a scheme answer.
func (s Scheme) checkedBy() string {
	if s == SchemeHTTPS {
		return fmt.Sprintf("%q or %q", CheckHTTPS, CheckTCP)
	}
	return fmt.Sprintf("%q", CheckTCP)
}

// unweighted warns of the nodes that get no requests because of their Weight, or returns "":
// in Go, a Weight that was forgotten is zero.
func (u *Upstream) unweighted() string {
	const listed = 3
	var nodes []string
	for _, l := range u.levels {
		for k, i := range l.nodes {
			if l.weights[k] == 0 { // as none is where all have zero
				nodes = append(nodes, u.targets[i].address)
			}
		}
	}
	more := ""
	switch n := len(nodes); {
	case n == 0:
		return ""
	case n > listed:
		nodes, more = nodes[:listed], fmt.Sprintf(" and %d more", n-listed)
	}
	return "nodes of Weight 0 beside others with more get no requests: " + strings.Join(nodes, ", ") + more + " (set Weight, unless that is meant)"
}

// Config returns a copy of the configuration as it was written.
func (u *Upstream) Config() Config {
	c := u.config.clone()
	c.TLS.KeyPEM, c.TLS.Signer = u.key()
	c.TLS.KeyPEM = bytes.Clone(c.TLS.KeyPEM)
	return c
}

// clone copies c and everything that it refers to.
func (c Config) clone() Config {
	c.Nodes = slices.Clone(c.Nodes)
	c.Checks = c.Checks.clone()
	if c.Outliers != nil {
		o := *c.Outliers
		c.Outliers = &o
	}
	c.TLS.CAPEM = bytes.Clone(c.TLS.CAPEM)
	c.TLS.CertPEM = bytes.Clone(c.TLS.CertPEM)
	c.TLS.KeyPEM = bytes.Clone(c.TLS.KeyPEM)
	return c
}
