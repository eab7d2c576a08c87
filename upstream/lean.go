package upstream

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/sallyport/sallyport/internal/forward"
	"github.com/sallyport/sallyport/internal/http1"
)

// This file is the request path of package gateway's engine. Whatever a request and
// its answer need is in one piece that is used again. TestRelayAllocs of that package
// keeps watch.

func init() {
	forward.By.Forwards = func(pool any) bool { return pool.(*Pool).forwards }
	forward.By.Forward = func(pool any, r *forward.Request) forward.Exchange { return pool.(*Pool).forward(r) }
}

// forward is [*Pool.Do] for the engine, which has no [http.Request]. The request is sent by
// Do of what it returns.
func (p *Pool) forward(r *forward.Request) forward.Exchange {
	x := leanExchanges.Get().(*leanExchange)
	x.r = *r
	x.call.pool, x.call.ctx, x.call.lean = p, &x.ctx, x
	x.call.method = r.Method
	x.call.timeout = Timeout{r.Connect, r.Send, r.Read}.over(p.u.timeout)
	x.call.nodes = Candidates{pool: p, vars: r.Vars}
	x.failed, x.drained = false, false
	if r.Body != nil {
		x.call.body.src, x.call.body.length = r.Body, r.Length
		if limit := p.u.config.ReplayBytes; r.Length <= int64(limit) {
			x.call.body.limit = limit
		}
		x.shared = true // with the goroutine that sends the body
	}
	return x
}

var leanExchanges = sync.Pool{New: func() any { return new(leanExchange) }}

// A leanExchange is a [forward.Exchange].
type leanExchange struct {
	r       forward.Request
	call    call
	try     attempt        // the last
	sent    *http1Exchange // its; nil before
	room    http1Exchange  // the place for it
	ctx     leanContext
	shared  bool // somebody else may still have something of this
	failed  bool // there will be no answer, or no more of it
	drained bool // the body came to its end

	mu      sync.Mutex     // guards what follows
	current *http1Exchange // what Cancel ends
}

// Do implements [forward.Exchange].
func (x *leanExchange) Do() (*http1.Response, error) {
	failure := x.call.run()
	x.call.body.settle()
	if failure != nil {
		x.failed = true
		return nil, failure
	}
	x.drained = !x.sent.conn.HasBody()
	return x.sent.head, nil
}

// attemptAt returns the next attempt, in the place of the one before, which is over.
func (x *leanExchange) attemptAt(m *member) *attempt {
	x.try.call, x.try.member = &x.call, m
	x.try.begun, x.try.status = 0, 0
	x.try.over.Store(false)
	return &x.try
}

// send sends the request to the node of an attempt.
func (x *leanExchange) send(a *attempt) (progress, error) {
	c, m := &x.call, a.member
	if err := x.ctx.Err(); err != nil {
		return refused, err
	}
	host, key, err := c.pool.u.hostFor(m, x.r.Host)
	if err != nil {
		return refused, err
	}
	buffer := heads.Get().(*[]byte)
	head := x.r.Head.AppendHead((*buffer)[:0], host)
	defer keepHead(buffer, head)

	h := &x.room
	if x.shared && x.sent != nil {
		h = new(http1Exchange) // a goroutine may have the one before
	}
	x.attach(nil)
	*h = http1Exchange{outbound: outbound{
		ctx:    &x.ctx,
		method: c.method,
		key:    key,
		length: x.r.Length,
		closes: x.r.Binds,
		early:  x.r.Early,
		lean:   x,
	}}
	if c.body.src != nil {
		h.body, h.again = c.body.lend(), c.body.again
	}
	h, r, far, err := m.conns.client.(*http1Client).exchange(h, head, m.dial, &c.timeout)
	x.sent = h
	if err != nil {
		return far, err
	}
	h.head, a.status = r, r.Status
	return answered, nil
}

// attach lets Cancel end an exchange.
func (x *leanExchange) attach(h *http1Exchange) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.current = h
	if h != nil && x.ctx.Err() != nil {
		h.conn.Abort()
	}
}

// Cancel implements [forward.Exchange].
func (x *leanExchange) Cancel() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ctx.cancel()
	if h := x.current; h != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		if !h.over {
			h.conn.Abort()
		}
	}
}

// HasBody implements [forward.Exchange].
func (x *leanExchange) HasBody() bool { return !x.drained && !x.failed }

// ReadBody implements [forward.Exchange].
func (x *leanExchange) ReadBody(p []byte) (int, error) {
	if x.drained {
		return 0, io.EOF
	}
	n, err := x.sent.read(p)
	switch err {
	case nil:
	case io.EOF:
		x.drained = true
	default:
		x.failed = true
		_, failure := x.try.fail(answered, err)
		err = failure
	}
	return n, err
}

// Ready implements [forward.Exchange].
func (x *leanExchange) Ready() bool { return x.drained || x.sent.conn.Ready() }

// Trailer implements [forward.Exchange].
func (x *leanExchange) Trailer() *http1.Section {
	if x.failed || !x.drained {
		return nil
	}
	return x.sent.conn.Trailer()
}

// Node implements [forward.Exchange].
func (x *leanExchange) Node() string {
	if x.try.member == nil {
		return ""
	}
	return x.try.member.address
}

// Attempts implements [forward.Exchange].
func (x *leanExchange) Attempts() int { return x.call.tries }

// Answered implements [forward.Exchange].
func (x *leanExchange) Answered() time.Time { return x.call.pool.epoch.Add(x.call.ended) }

// Close implements [forward.Exchange].
func (x *leanExchange) Close() {
	switch h := x.sent; {
	case x.failed:
	case x.drained || h.conn.Skip():
		h.finish()
	default:
		_ = h.fail(http.ErrBodyReadAfterClose)
	}
	if x.try.member != nil {
		x.try.finish()
	}
	x.attach(nil)
	if x.shared || x.ctx.watched() {
		return
	}
	x.r, x.call, x.sent, x.room = forward.Request{}, call{}, nil, http1Exchange{}
	x.try.call, x.try.member = nil, nil
	leanExchanges.Put(x)
}

// A leanContext is the context of a leanExchange. It costs something only if somebody
// waits for its end, which connecting does.
type leanContext struct {
	mu   sync.Mutex // guards what follows
	err  error
	done chan struct{} // nil unless somebody asked
}

func (c *leanContext) Deadline() (time.Time, bool) { return time.Time{}, false }
func (c *leanContext) Value(any) any               { return nil }

func (c *leanContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *leanContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		}
	}
	return c.done
}

func (c *leanContext) cancel() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = context.Canceled
	if c.done != nil {
		close(c.done)
	}
}

// watched reports whether somebody has asked for Done, or cancel was called: it is not
// used again then.
func (c *leanContext) watched() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done != nil || c.err != nil
}
