package upstream

import (
	"context"
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

// CallOptions are for one request. A nil *CallOptions and a zero CallOptions
// mean the same.
type CallOptions struct {
	// Timeout, if not nil, replaces that of the upstream. A zero field leaves the
	// upstream's.
	Timeout *Timeout

	// Vars, if not nil, has the variables that [Config.HashKey] names. If nil, the
	// pool takes them from the request, where it can: uri, request_uri, args,
	// query_string, request_method, host, remote_addr, remote_port, http_NAME,
	// arg_NAME and cookie_NAME. That is the request as it is given to Do, which
	// a gateway may have rewritten.
	Vars Vars
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

// Do sends a request to a node and returns its answer, of whatever status. Every
// error is an [*Error].
//
// The scheme and the host of req.URL do not matter, except that the host stands
// in for an empty req.Host. Its Opaque, if there is any, is sent in place of the
// path, byte for byte; it must begin with a slash or be "*". CONNECT is refused: a
// pool is no tunnel.
//
// As with any RoundTripper, req is not changed, its body is closed, possibly after
// Do returns, and the answer's body must be closed. If the node switches
// protocols (101), the answer's body is an [io.ReadWriteCloser], which ends with
// the request's context.
//
// No field is added to req.Header, not even a User-Agent.
func (p *Pool) Do(req *http.Request, o *CallOptions) (*http.Response, error) {
	c := &call{pool: p, req: req, timeout: p.u.timeout, nodes: Candidates{pool: p}}
	if o != nil {
		c.nodes.vars = o.Vars
		if o.Timeout != nil {
			c.timeout = o.Timeout.over(c.timeout)
		}
	}
	if req.Body != http.NoBody {
		c.body.src = req.Body
		if limit := p.u.config.ReplayBytes; req.ContentLength <= int64(limit) {
			c.body.limit = limit
		}
	}
	resp, failure := c.run()
	c.body.settle()
	if failure != nil {
		return nil, failure
	}
	return resp, nil
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
	req     *http.Request
	target  url.URL // what is sent of req.URL; scheme and host are to be set
	body    requestBody
	timeout Timeout
	begun   time.Time // set if there is a RetryTimeout
	nodes   Candidates
	tries   int
}

func (c *call) run() (*http.Response, *Error) {
	p := c.pool
	if status, err := c.check(); err != nil {
		return nil, &Error{Upstream: p.u.ID(), Status: status, Err: err}
	}
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
		return nil, &Error{Upstream: p.u.ID(), Status: http.StatusServiceUnavailable, Err: cause}
	}
	for {
		resp, far, failure := c.try(i)
		if failure == nil {
			return resp, nil
		}
		next := c.next(failure, far)
		if next < 0 {
			return nil, failure
		}
		p.log.LogAttrs(c.req.Context(), slog.LevelWarn, "upstream: a node failed, trying another",
			slog.String("upstream", p.u.ID()),
			slog.String("node", failure.Node),
			slog.String("error", failure.Error()))
		i = next
	}
}

// check refuses what no node could be sent, and sets the target.
func (c *call) check() (status int, err error) {
	switch {
	case c.req.URL == nil || c.req.Header == nil:
		return http.StatusBadRequest, errors.New("the request has no URL or no Header")
	case c.req.Method == http.MethodConnect:
		return http.StatusMethodNotAllowed, errors.New("CONNECT is not forwarded")
	case c.pool.u.settings.http2 && len(c.req.Header["Upgrade"]) > 0:
		return http.StatusBadGateway, errUpgrade
	}
	if c.target, err = requestTarget(c.req.URL); err != nil {
		return http.StatusBadRequest, err
	}
	return 0, nil
}

var errUpgrade = errors.New(`nodes with HTTP/2 take no Upgrade: WebSocket needs the scheme "http" or "https"`)

// try sends the request to one node.
func (c *call) try(i int) (*http.Response, progress, *Error) {
	p, m := c.pool, &c.pool.members[i]
	c.nodes.tried.add(i)
	c.tries++
	a := &attempt{call: c, member: m}
	m.state.requests.Add(1)
	m.state.inFlight.Add(1)
	if p.u.timed {
		a.begun = p.now()
	}
	if m.named != nil {
		m.named.keep()
	}

	out, err := c.outgoing(m)
	if err != nil {
		defer a.finish()
		return a.fail(refused, err)
	}
	resp, far, err := m.conns.do(out, m.dial, &c.timeout)
	if err != nil {
		defer a.finish()
		return a.fail(far, err)
	}
	resp.Request = c.req
	if p.u.timed {
		now := p.now()
		m.state.latency.observe(now-a.begun, now)
	}
	a.status = resp.StatusCode
	p.answered(m, resp.StatusCode)
	a.wrap(resp)
	return resp, answered, nil
}

// next returns the node to try after a failure, or -1.
func (c *call) next(failure *Error, far progress) int {
	u := c.pool.u
	again := far == unsent || far == sent && idempotent(c.req.Method)
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
	host, key, err := c.host(m)
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
	if c.body.src != nil {
		out.Body = c.body.lend()
		out.GetBody = c.body.again
	}
	return out, nil
}

// host returns the Host that the node is sent, and what its connections are kept
// by: over TLS the name that it must prove, in canonical form, otherwise always
// the same.
func (c *call) host(m *member) (host, key string, err error) {
	u := c.pool.u
	var name string
	switch u.config.PassHost {
	case PassNode:
		host, name = m.host, m.name
	case PassRewrite:
		host, name = u.config.Host, u.rewrite
	default:
		host = c.req.Host
		if host == "" {
			host = c.req.URL.Host
		}
		if host == "" { // HTTP/1.0, where it is optional
			host, name = m.host, m.name
			break
		}
		var ok bool
		if name, ok = hostname.CanonicalHost(host); !ok {
			return "", "", fmt.Errorf("the request's Host %q is no host", host)
		}
	}
	if u.settings.https {
		return host, name, nil
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
func (a *attempt) fail(far progress, err error) (*http.Response, progress, *Error) {
	c := a.call
	e := &Error{Upstream: c.pool.u.ID(), Node: a.member.address, Attempts: c.tries, Err: err}
	ctx, bodyErr := c.req.Context(), c.body.failure()
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
	case far == refused:
		e.Status = http.StatusBadRequest
	case isTimeout(err):
		e.Status = http.StatusGatewayTimeout
	default:
		e.Status = http.StatusBadGateway
	}
	if far != refused {
		a.member.state.failures.Add(1)
		c.pool.failed(a.member, a.status, err)
		if c.pool.u.timed {
			now := c.pool.now()
			a.member.state.latency.observe(max(now-a.begun, failurePenalty), now)
		}
	}
	return nil, far, e
}

func cancelled(ctx context.Context) (status int, err error) {
	err = ctx.Err()
	status = StatusClientClosedRequest
	if err == context.DeadlineExceeded {
		status = http.StatusGatewayTimeout
	}
	if cause := context.Cause(ctx); cause != err {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return status, err
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
