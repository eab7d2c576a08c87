package upstream

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/internal/hostname"
)

// This file is the request path. It takes no lock of its own and looks nothing up
// by name: a pool's nodes do not change, and which one it is comes from a picker.
// BenchmarkRoundTrip keeps watch on what it adds to the client below it.

// CallOptions are for a single request. A nil *CallOptions and a zero CallOptions mean the
// same.
type CallOptions struct {
	// Timeout bounds the waiting for a node, in place of the upstream's. If a field is zero or
	// less, the upstream's applies.
	Timeout Timeout

	// Vars, if not nil, has the variables that [Config.HashKey] names. If nil, the pool takes
	// what it can from the request: uri, request_uri, args, query_string, request_method, host,
	// remote_addr, remote_port, http_NAME, arg_NAME and cookie_NAME. This is the request as
	// passed to Do, which a gateway may have rewritten.
	Vars Vars

	// Report, if not nil, is filled in by Do, even if Do fails.
	Report *CallReport
}

// A CallReport says where a request was sent.
type CallReport struct {
	Node     string // the last one tried, "10.0.0.1:80"; empty if none was
	Attempts int    // how many nodes were tried
}

// Vars has the variables of a request, by nginx's names without the dollar sign:
// "remote_addr", "http_x_user".
type Vars interface {
	// Var returns the value of a variable. ok is false if it is absent.
	Var(name string) (value string, ok bool)
}

// RoundTrip implements [http.RoundTripper]. It is Do without options.
func (p *Pool) RoundTrip(req *http.Request) (*http.Response, error) {
	return p.Do(req, nil)
}

// Do sends a request to a node and returns its answer, whatever the status. Every error is
// an [*Error].
//
// The scheme and the host of req.URL are ignored, except that the host is used if req.Host
// is empty. A non-empty Opaque is sent in place of the path, byte for byte; it must begin
// with a slash or be "*". CONNECT is refused: a pool is not a tunnel.
//
// As with any RoundTripper, req is not changed, its body is closed, possibly after Do has
// returned, and the caller must close the answer's body. If the node switches protocols
// (101), that body is an [io.ReadWriteCloser], which ends with the request's context.
//
// No field is added to req.Header, not even a User-Agent. Only the context cancels a request,
// not its Cancel channel, and only [Config.ReplayBytes] lets a body be sent again, not its
// GetBody. Of an [httptrace.ClientTrace] in the context, Got1xxResponse is called for each
// informational answer, and ends the request if it returns an error, which is not the node's
// failure; if it panics, so does Do. The other hooks are called only where net/http talks to
// the nodes: with HTTP/2, and by [Options.Transport].
func (p *Pool) Do(req *http.Request, o *CallOptions) (*http.Response, error) {
	c := &call{pool: p, ctx: req.Context(), method: req.Method, req: req, timeout: p.u.timeout, nodes: Candidates{pool: p}}
	if o != nil {
		c.nodes.vars = o.Vars
		c.timeout = o.Timeout.over(c.timeout)
	}
	if req.Body != http.NoBody {
		c.body.src, c.body.length = req.Body, req.ContentLength
		if limit := p.u.config.ReplayBytes; req.ContentLength <= int64(limit) {
			c.body.limit = limit
		}
	}
	defer c.body.settle()
	failure := c.check()
	if failure == nil {
		failure = c.run()
	}
	if o != nil && o.Report != nil {
		*o.Report = CallReport{c.last, c.tries}
	}
	if failure != nil {
		return nil, failure
	}
	return c.resp, nil
}

// over returns t, with the fields of base where t has none.
func (t Timeout) over(base Timeout) Timeout {
	if t.Connect <= 0 {
		t.Connect = base.Connect
	}
	if t.Send <= 0 {
		t.Send = base.Send
	}
	if t.Read <= 0 {
		t.Read = base.Read
	}
	return t
}

// A call is one request and all its attempts.
type call struct {
	pool    *Pool
	ctx     context.Context
	method  string
	body    requestBody
	timeout Timeout
	begun   time.Time     // set if there is a RetryTimeout
	arrived time.Duration // by the pool's clock, as ended
	ended   time.Duration // when there was an answer, or would be none
	status  int           // of the answer; zero if there is none
	nodes   Candidates
	tries   int
	last    string // the node that was tried last

	// One of Do.
	req    *http.Request
	target url.URL // what is sent of req.URL; scheme and host are to be set
	resp   *http.Response

	lean *leanExchange // or else nil
}

// run sends the request until a node has answered.
func (c *call) run() *Error {
	p := c.pool
	c.arrived = p.now()
	defer c.count()
	if p.u.config.RetryTimeout > 0 {
		c.begun = time.Now()
	}
	p.budget.request()
	p.startProbing()
	i := c.nodes.pick(c.req)
	if i < 0 {
		cause := ErrNoNode
		if p.u.config.FailWhenUnhealthy && len(p.members) > 0 && p.noneHealthy() {
			cause = ErrUnhealthy
		}
		return &Error{Upstream: p.u.ID(), Status: http.StatusServiceUnavailable, Err: cause}
	}
	for {
		far, failure := c.try(i)
		if failure == nil {
			return nil
		}
		next := c.next(failure, far)
		if next < 0 {
			return failure
		}
		c.logRetry(&p.members[i], failure)
		i = next
	}
}

// logRetry logs a failure that the caller does not see, as far as there are not too many.
func (c *call) logRetry(m *member, failure *Error) {
	p := c.pool
	if !p.log.Enabled(c.ctx, slog.LevelWarn) {
		return
	}
	unreported, ok := m.state.failed.Next(time.Now(), p.logged)
	if !ok {
		return
	}
	attrs := []slog.Attr{
		slog.String("upstream", p.u.ID()),
		slog.String("node", failure.Node),
		slog.String("error", failure.Error()),
	}
	if unreported > 0 {
		attrs = append(attrs, slog.Int("unreported", unreported))
	}
	p.log.LogAttrs(c.ctx, slog.LevelWarn, "upstream: a node failed, trying another", attrs...)
}

// check refuses what no node could be sent, and sets the target.
func (c *call) check() *Error {
	var err error
	status := http.StatusBadRequest
	switch {
	case c.req.URL == nil || c.req.Header == nil:
		err = errors.New("the request has no URL or no Header")
	case c.req.Method == http.MethodConnect:
		status, err = http.StatusMethodNotAllowed, errors.New("CONNECT is not forwarded")
	case c.pool.u.settings.http2 && len(c.req.Header["Upgrade"]) > 0:
		status, err = http.StatusBadGateway, errUpgrade
	default:
		c.target, err = requestTarget(c.req.URL)
	}
	if err != nil {
		return &Error{Upstream: c.pool.u.ID(), Status: status, Err: err}
	}
	return nil
}

var errUpgrade = errors.New(`nodes with HTTP/2 take no Upgrade: WebSocket needs the scheme "http" or "https"`)

// try sends the request to one node.
func (c *call) try(i int) (far progress, failure *Error) {
	p, m := c.pool, &c.pool.members[i]
	c.nodes.tried.add(i)
	c.tries++
	c.last = m.address
	a := c.attempt(m)
	m.state.requests.Add(1)
	m.state.inFlight.Add(1)
	if p.u.timed {
		a.begun = p.now()
	}
	if m.named != nil {
		m.named.keep()
	}

	going := false
	defer func() {
		if !going { // or somebody whom the client calls has panicked
			a.finish()
		}
	}()
	far, err := a.send()
	if err != nil {
		return a.fail(far, err)
	}
	going = true
	if p.u.timed {
		now := p.now()
		m.state.latency.observe(now-a.begun, now)
	}
	c.status = a.status
	p.answered(m, a.status)
	if c.resp != nil {
		a.wrap(c.resp)
	}
	return answered, nil
}

// attempt returns a new attempt at a node.
func (c *call) attempt(m *member) *attempt {
	if c.lean != nil {
		return c.lean.attemptAt(m)
	}
	return &attempt{call: c, member: m}
}

// send sends the request and sets the status of the answer.
func (a *attempt) send() (progress, error) {
	c := a.call
	if c.lean != nil {
		return c.lean.send(a)
	}
	out, err := c.outgoing(a.member)
	if err != nil {
		return refused, err
	}
	resp, far, err := a.member.conns.do(out, a.member.dial, &c.timeout)
	if err != nil {
		return far, err
	}
	resp.Request = c.req
	c.resp, a.status = resp, resp.StatusCode
	return answered, nil
}

// next returns the node to try after a failure, or -1.
func (c *call) next(failure *Error, far progress) int {
	u := c.pool.u
	again := far == unsent || far == sent && idempotent(c.method)
	if !again || c.tries >= u.tries || !c.body.revoke() {
		return -1
	}
	next := c.nodes.pick(c.req)
	if limit := u.config.RetryTimeout; next >= 0 && limit > 0 && time.Since(c.begun) >= limit {
		failure.Status = http.StatusBadGateway // APISIX
		failure.Err = &tooLateError{failure.Err, limit}
		return -1
	}
	if next >= 0 && !failedAtOnce(failure.Err) && !c.pool.budget.retry() {
		failure.Err = &overBudgetError{failure.Err}
		return -1
	}
	return next
}

// failedAtOnce reports whether an attempt has cost its node nothing: there was no
// connection, and it did not take long to say so.
func failedAtOnce(err error) bool {
	if _, ok := errors.AsType[*connectError](err); !ok {
		return false
	}
	_, shaken := errors.AsType[*handshakeError](err)
	return !shaken && !isTimeout(err)
}

// idempotent reports whether doing it twice is as doing it once (RFC 9110, section
// 9.2.2).
func idempotent(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// outgoing returns the request for one node.
func (c *call) outgoing(m *member) (*http.Request, error) {
	asked := c.req.Host
	if asked == "" {
		asked = c.req.URL.Host
	}
	host, key, err := c.pool.u.hostFor(m, asked)
	if err != nil {
		return nil, err
	}
	target := c.target
	target.Scheme = "http"
	if c.pool.u.settings.https {
		target.Scheme = "https"
	}
	target.Host = key

	out := c.req.WithContext(c.req.Context()) // a shallow copy
	out.URL = &target
	out.Host = host
	out.Body, out.GetBody = nil, nil
	// An http.Client with a Timeout ends its request by this and by the context, at one time.
	// net/http would look at both, and if it saw this first, the node would be to blame.
	//lint:ignore SA1019 it is taken away
	out.Cancel = nil
	if c.body.src != nil {
		out.Body = c.body.lend()
		out.GetBody = c.body.again
	}
	return out, nil
}

// hostFor returns the Host that a node is sent, and what its connections are kept by:
// over TLS the name that it must prove, in canonical form, otherwise always the
// same. asked is the Host of the request, which is empty in some of HTTP/1.0.
func (u *Upstream) hostFor(m *member, asked string) (host, key string, err error) {
	var name string
	switch {
	case u.config.PassHost == PassRewrite:
		host, name = u.config.Host, u.rewrite
	case u.config.PassHost == PassNode, asked == "":
		host, name = m.host, m.name
	default:
		var ok bool
		if name, ok = hostname.CanonicalHost(asked); !ok {
			return "", "", fmt.Errorf("the request's Host %q is no host", asked)
		}
		host = asked
	}
	if u.settings.https {
		return host, cmp.Or(u.serverName, name), nil
	}
	return host, m.address, nil
}

// slashed reports whether path is one that may be sent: RFC 9112, section 3.2.
func slashed(path string) bool { return path == "" || path[0] == '/' || path == "*" }

// requestTarget returns what is sent of a URL: path and query. It refuses what would
// break the request line: net/http does not look.
func requestTarget(u *url.URL) (url.URL, error) {
	t := url.URL{
		Path:       u.Path,
		RawPath:    u.RawPath,
		Opaque:     u.Opaque,
		RawQuery:   u.RawQuery,
		ForceQuery: u.ForceQuery,
	}
	for _, part := range [...]string{t.Opaque, t.RawQuery} {
		for i := range len(part) {
			if part[i] <= ' ' || part[i] == 0x7f {
				return url.URL{}, errors.New("the request's target has a space or a control character")
			}
		}
	}
	switch {
	case t.Opaque == "" && (!slashed(t.Path) || !slashed(t.RawPath)):
		// As it stands it could be a URL, which names another host.
		return url.URL{}, fmt.Errorf("the request's target %q does not begin with a slash", t.EscapedPath())
	case t.Opaque == "", t.Opaque == "*":
		return t, nil
	case t.Opaque[0] != '/':
		return url.URL{}, fmt.Errorf("the request's target %q does not begin with a slash", t.Opaque)
	case !strings.HasPrefix(t.Opaque, "//"):
		return t, nil
	}

	// net/http writes scheme and colon before an Opaque with two slashes: the node
	// would see another host. A path with two slashes it writes as it is.
	raw := t.Opaque
	if t.RawQuery != "" || t.ForceQuery {
		raw += "?" + t.RawQuery
	}
	path, query, hasQuery := strings.Cut(raw, "?")
	unescaped, err := url.PathUnescape(path)
	if err != nil {
		return url.URL{}, fmt.Errorf("the request's target: %w", err)
	}
	return url.URL{
		Path:       unescaped,
		RawPath:    path,
		RawQuery:   query,
		ForceQuery: hasQuery && query == "",
	}, nil
}

// An attempt is a request at one node, from its beginning to the end of the
// answer's body.
type attempt struct {
	call   *call
	member *member
	begun  time.Duration // by the pool's clock, if latencies are measured
	status int           // of the answer, which may break off; zero if there is none
	over   atomic.Bool
}

// finish is called at the end, however often.
func (a *attempt) finish() {
	if a.over.Swap(true) {
		return
	}
	a.member.state.inFlight.Add(-1)
	a.member.conns.done()
}

// fail makes an [*Error] of what a client failed with. What is not the node's
// fault would fail everywhere: it counts as refused, and not against the node.
func (a *attempt) fail(far progress, err error) (progress, *Error) {
	c := a.call
	e := &Error{Upstream: c.pool.u.ID(), Node: a.member.address, Attempts: c.tries, Err: err}
	ctx, bodyErr := c.ctx, c.body.failure()
	var caller *callerError
	switch {
	case ctx.Err() != nil:
		far = refused
		e.Status, e.Err = cancelled(ctx)
	case bodyErr != nil:
		far = refused
		e.Status, e.Err = http.StatusBadRequest, &bodyError{bodyErr}
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(bodyErr, &tooLarge) {
			e.Status = http.StatusRequestEntityTooLarge
		}
	case errors.As(err, &caller):
		far = refused
		e.Status = caller.status
	case far == refused:
		e.Status = http.StatusBadRequest
	case isTimeout(err):
		e.Status = http.StatusGatewayTimeout
	default:
		e.Status = http.StatusBadGateway
	}
	if far != refused && !c.misnamed(err) && !c.clientAwaited(err) {
		a.member.state.failures.Add(1)
		c.pool.failed(a.member, a.status, err)
		if c.pool.u.timed {
			now := c.pool.now()
			a.member.state.latency.observe(max(now-a.begun, failurePenalty), now)
		}
	}
	return far, e
}

// clientAwaited reports whether a node has been silent for too long and may only have waited, as
// everybody does, for the client to send more of the body. Nodes that answer as they read could
// otherwise be taken out by a client that sends nothing.
func (c *call) clientAwaited(err error) bool { return isTimeout(err) && c.body.awaited() }

// misnamed reports whether a node has not the name that the client has chosen, by its Host.
// That says nothing about the node: a client could otherwise have all of them taken out by
// asking for a name that none has.
func (c *call) misnamed(err error) bool {
	if c.pool.u.config.PassHost != PassClient || c.pool.u.serverName != "" {
		return false
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return true
	}
	if _, shaken := errors.AsType[*handshakeError](err); !shaken {
		return false
	}
	// The alerts have no type in crypto/tls. The second is what a server in Go sends that has no
	// certificate for a name (autocert, Caddy), and APISIX.
	text := err.Error()
	return strings.Contains(text, "remote error: tls: unrecognized name") || strings.Contains(text, "remote error: tls: internal error")
}

func cancelled(ctx context.Context) (status int, err error) {
	err = ctx.Err()
	status = StatusClientClosedRequest
	if err == context.DeadlineExceeded {
		status = http.StatusGatewayTimeout
	}
	if cause := context.Cause(ctx); cause != err {
		err = &cancelledError{err, cause}
	}
	return status, err
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
