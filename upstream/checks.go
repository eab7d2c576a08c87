package upstream

import (
	"crypto/tls"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/internal/hostname"
)

// Checks find out which nodes are healthy. Unhealthy nodes get no requests, unless all of
// them are unhealthy (see [Config.FailWhenUnhealthy]). The rules are APISIX's:
//
//   - A result is a success, an HTTP failure (by status), a TCP failure (no connection, a
//     broken one, or an answer that is not HTTP) or a timeout. Each kind is counted by
//     itself. A success resets the counts of failures, and a failure that of successes.
//   - A count that reaches its limit makes the node healthy or unhealthy. On the way there
//     it is mostly healthy, and used, or mostly unhealthy, and not used.
//   - Active and passive checks add to the same counts, but have limits of their own.
//
// A node is healthy until it is found not to be. The zero Checks send each node a "GET /"
// once a second.
type Checks struct {
	// Active probes the nodes.
	Active ActiveChecks

	// Passive, if not nil, also judges the answers to real requests.
	Passive *PassiveChecks
}

// NoProbes is an interval of [ActiveChecks] with which nodes are not probed.
const NoProbes time.Duration = -1

// NotCounted is the limit of a kind of result that is not counted.
const NotCounted = -1

// A CheckType says how a node is probed.
type CheckType string

const (
	CheckHTTP  CheckType = "http"
	CheckHTTPS CheckType = "https"
	CheckTCP   CheckType = "tcp" // only connects
)

// ActiveChecks say how nodes are probed. Probing begins with the first request to the pool,
// or at once if the pool replaces one that is probing already.
type ActiveChecks struct {
	// Type says how nodes are probed. If empty, it is [CheckHTTP]: it does not follow
	// [Config.Scheme].
	Type CheckType

	// Timeout bounds a whole probe. Zero is a second.
	Timeout time.Duration

	// Concurrency is how many nodes are probed at a time. Zero is 10.
	Concurrency int

	// Host is sent to nodes that are IP addresses. A node with a name is sent its name, and with
	// [PassRewrite] all nodes are sent [Config.Host]. If empty, a node that is an address is
	// sent its address. With [CheckHTTPS] a node must prove the name that it is sent, or
	// [TLS.ServerName] if there is one.
	Host string

	// Port is the port that is probed. Zero is the node's.
	Port int

	// Method is the request's method. If empty, it is "GET".
	Method string

	// Path is the request's path, and may include a query. If empty, it is "/".
	Path string

	// Header is sent in addition to Host, Connection and Content-Length, which it must not
	// contain.
	Header http.Header

	// Body is sent if it is not empty.
	Body []byte

	// DangerouslySkipServerVerify accepts any certificate with [CheckHTTPS]. Otherwise the
	// certificate is verified by [TLS.CAPEM], whether or not those of requests are, and
	// [TLS.CertPEM] is shown, if Config.Scheme is [SchemeHTTPS] too.
	DangerouslySkipServerVerify bool

	// HealthyInterval is the time between two probes of a node that is healthy, or mostly
	// so, and UnhealthyInterval that of other nodes. Zero is a second. With [NoProbes] such
	// nodes are not probed. The first probe comes after one interval.
	HealthyInterval   time.Duration
	UnhealthyInterval time.Duration

	// HealthyStatuses are successes; if empty, 200 and 302. UnhealthyStatuses are HTTP
	// failures; if empty, 429, 404, 500, 501, 502, 503, 504 and 505. All others are ignored.
	HealthyStatuses   []int
	UnhealthyStatuses []int

	// The limits are at most 254. Zero is the default, given here; [NotCounted] is no limit.
	Successes    int // 2
	HTTPFailures int // 5
	TCPFailures  int // 2
	Timeouts     int // 3
}

// PassiveChecks say how the answers to real requests count. A request that failed at a node
// counts there, even if another node then answered it. A [Timeout] does not count while the
// client has still to send more of its body, which the node may be waiting for.
//
// A node that they find unhealthy gets no more requests, and so cannot show that it has
// recovered: only active checks can find that out.
type PassiveChecks struct {
	// HealthyStatuses are successes; if empty, 200 to 208, 226 and 300 to 308.
	// UnhealthyStatuses are HTTP failures; if empty, 429, 500 and 503.
	HealthyStatuses   []int
	UnhealthyStatuses []int

	// The limits are at most 254. Zero is the default, given here; [NotCounted] is no limit.
	Successes    int // 5
	HTTPFailures int // 5
	TCPFailures  int // 2
	Timeouts     int // 7
}

// What APISIX has for lists that are not given.
var (
	activeHealthy    = []int{200, 302}
	activeUnhealthy  = []int{429, 404, 500, 501, 502, 503, 504, 505}
	passiveHealthy   = []int{200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 306, 307, 308}
	passiveUnhealthy = []int{429, 500, 503}
)

// checks are Checks without zero fields. Nodes keep their health where the new ones
// are the same, so they can be compared.
type checks struct {
	kind        CheckType
	timeout     time.Duration
	concurrency int
	host        string
	port        int
	method      string
	path        string
	header      string // as it is sent
	body        string
	skipVerify  bool

	every     [2]time.Duration // by whether the node is down; zero is never
	active    limits
	passive   limits
	isPassive bool
}

// limits say what counts, and up to where. A zero limit is not counted.
type limits struct {
	healthy, unhealthy statusSet
	counts             [events]uint8
}

// A statusSet holds HTTP statuses below 640.
type statusSet [10]uint64

func (s *statusSet) has(status int) bool {
	return uint(status) < 640 && s[status/64]&(1<<(status%64)) != 0
}

func newStatusSet(statuses, zero []int) (s statusSet) {
	if len(statuses) == 0 {
		statuses = zero
	}
	for _, status := range statuses {
		if uint(status) < 640 {
			s[status/64] |= 1 << (status % 64)
		}
	}
	return s
}

// compileChecks comes after compileTLS and compileBalancer.
func (u *Upstream) compileChecks(fault faultFunc) {
	c := &u.config
	if c.FailWhenUnhealthy && c.Checks == nil {
		fault("FailWhenUnhealthy", "is set, but without Checks no node is ever unhealthy")
	}
	switch {
	case c.SlowStart < 0:
		fault("SlowStart", "is %v, and must not be negative", c.SlowStart)
	case c.SlowStart > 0 && c.Balancer == BalancerCHash:
		fault("SlowStart", `is %v, and the balancer "chash" has none: a key belongs to a node or does not`, c.SlowStart)
	case c.SlowStart > 0 && c.Checks == nil && c.Outliers == nil:
		fault("SlowStart", "is %v, but without Checks or Outliers no node ever returns", c.SlowStart)
	}
	u.compileOutliers(fault)
	if c.Checks == nil {
		return
	}
	u.checks = &checks{}
	u.compileActive(&c.Checks.Active, fault)
	if p := c.Checks.Passive; p != nil {
		u.checks.isPassive = true
		u.checks.passive = newLimits(fault, "Checks.Passive", passiveDefaults, *p)
	}
}

func (u *Upstream) compileActive(a *ActiveChecks, fault faultFunc) {
	field := func(name string) string { return "Checks.Active." + name }
	k := u.checks
	switch a.Type {
	case "":
		k.kind = CheckHTTP
	case CheckHTTP, CheckHTTPS, CheckTCP:
		k.kind = a.Type
	default:
		fault(field("Type"), `is %q, and must be "http", "https" or "tcp"`, a.Type)
	}
	k.timeout = orDefault(a.Timeout, time.Second)
	if a.Timeout < 0 {
		fault(field("Timeout"), "is %v, and must not be negative", a.Timeout)
	}
	k.concurrency = orDefault(a.Concurrency, 10)
	if a.Concurrency < 0 {
		fault(field("Concurrency"), "is %d, and must not be negative", a.Concurrency)
	}
	if a.Host != "" {
		if _, ok := hostname.CanonicalHost(a.Host); !ok {
			fault(field("Host"), "%q is no host", a.Host)
		}
		k.host = a.Host
	}
	k.port = a.Port
	if a.Port < 0 || a.Port > 65535 {
		fault(field("Port"), "is %d, and must be 1 to 65535, or 0 for the node's", a.Port)
	}
	k.method = orDefault(a.Method, http.MethodGet)
	if !token.MatchString(k.method) {
		fault(field("Method"), "%q is no method", a.Method)
	}
	k.path = orDefault(a.Path, "/")
	if k.path[0] != '/' || strings.ContainsFunc(k.path, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		fault(field("Path"), "is %q, and must begin with a slash and have no space or control character", a.Path)
	}
	k.header = compileHeader(a.Header, field("Header"), fault)
	k.body = string(a.Body)
	k.skipVerify = a.DangerouslySkipServerVerify

	for i, every := range [...]struct {
		name     string
		interval time.Duration
	}{{"HealthyInterval", a.HealthyInterval}, {"UnhealthyInterval", a.UnhealthyInterval}} {
		switch {
		case every.interval == NoProbes:
		case every.interval < 0:
			fault(field(every.name), "is %v, and must not be negative (NoProbes is %d)", every.interval, NoProbes)
		default:
			k.every[i] = orDefault(every.interval, time.Second)
		}
	}
	k.active = newLimits(fault, "Checks.Active", activeDefaults, PassiveChecks{
		HealthyStatuses:   a.HealthyStatuses,
		UnhealthyStatuses: a.UnhealthyStatuses,
		Successes:         a.Successes,
		HTTPFailures:      a.HTTPFailures,
		TCPFailures:       a.TCPFailures,
		Timeouts:          a.Timeouts,
	})

	u.probeTLS = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if u.tls != nil {
		u.probeTLS.RootCAs, u.probeTLS.GetClientCertificate = u.tls.RootCAs, u.tls.GetClientCertificate
	}
	u.probeTLS.InsecureSkipVerify = k.skipVerify
}

// token is what a method and the name of a header field are (RFC 9110, section 5.6.2).
var token = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

// compileHeader returns the lines of a header, sorted.
func compileHeader(h http.Header, field string, fault faultFunc) string {
	var lines strings.Builder
	for _, name := range slices.Sorted(maps.Keys(h)) {
		switch http.CanonicalHeaderKey(name) {
		case "Host", "Connection", "Content-Length", "Transfer-Encoding":
			fault(field, "has %s, which the check sets itself", name)
		}
		if !token.MatchString(name) {
			fault(field, "has the name %q, which is none", name)
		}
		for _, value := range h[name] {
			if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
				fault(field, "has a value of %s with a control character: %q", name, value)
			}
			fmt.Fprintf(&lines, "%s: %s\r\n", name, value)
		}
	}
	return lines.String()
}

var (
	activeDefaults  = PassiveChecks{activeHealthy, activeUnhealthy, 2, 5, 2, 3}
	passiveDefaults = PassiveChecks{passiveHealthy, passiveUnhealthy, 5, 5, 2, 7}
)

// newLimits fills in defaults. Active checks have the same fields as passive ones.
func newLimits(fault faultFunc, path string, zero, c PassiveChecks) (l limits) {
	for _, list := range [...]struct {
		name     string
		statuses []int
	}{{"HealthyStatuses", c.HealthyStatuses}, {"UnhealthyStatuses", c.UnhealthyStatuses}} {
		for i, status := range list.statuses {
			if status < 200 || status > 599 {
				fault(fmt.Sprintf("%s.%s[%d]", path, list.name, i), "is %d, and must be 200 to 599", status)
			}
		}
	}
	l.healthy = newStatusSet(c.HealthyStatuses, zero.HealthyStatuses)
	l.unhealthy = newStatusSet(c.UnhealthyStatuses, zero.UnhealthyStatuses)
	for _, limit := range [...]struct {
		name    string
		of      event
		n, zero int
	}{
		{"Successes", success, c.Successes, zero.Successes},
		{"HTTPFailures", httpFailure, c.HTTPFailures, zero.HTTPFailures},
		{"TCPFailures", tcpFailure, c.TCPFailures, zero.TCPFailures},
		{"Timeouts", timeout, c.Timeouts, zero.Timeouts},
	} {
		switch {
		case limit.n == NotCounted:
		case limit.n < 0 || limit.n > 254:
			fault(path+"."+limit.name, "is %d, and must be 1 to 254 (NotCounted is %d)", limit.n, NotCounted)
		default:
			l.counts[limit.of] = uint8(orDefault(limit.n, limit.zero))
		}
	}
	return l
}

// orDefault returns v, or zero in place of the zero value.
func orDefault[T comparable](v, zero T) T {
	var none T
	if v == none {
		return zero
	}
	return v
}

// clone copies what c refers to.
func (c *Checks) clone() *Checks {
	if c == nil {
		return nil
	}
	d := *c
	d.Active.Header = c.Active.Header.Clone()
	d.Active.Body = slices.Clone(c.Active.Body)
	d.Active.HealthyStatuses = slices.Clone(c.Active.HealthyStatuses)
	d.Active.UnhealthyStatuses = slices.Clone(c.Active.UnhealthyStatuses)
	if c.Passive != nil {
		p := *c.Passive
		p.HealthyStatuses = slices.Clone(p.HealthyStatuses)
		p.UnhealthyStatuses = slices.Clone(p.UnhealthyStatuses)
		d.Passive = &p
	}
	return &d
}
