package upstream

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// The doors of the tests into the package.

const MaxSlots = maxSlots

// An Order is an order, with what the tests look at.
type Order struct{ o *order }

func NewOrder(weights []int) Order {
	nodes := make([]Node, len(weights))
	for i, w := range weights {
		nodes[i].Weight = w
	}
	return Order{newOrder(newLevels(nodes)[0].weights)}
}

func (o Order) Period() uint64  { return o.o.period }
func (o Order) At(x uint64) int { return o.o.at(x) }
func (o Order) Written() bool   { return o.o.slots != nil }

// Picks are the choices of a pool, one after another.
type Picks struct{ p *Pool }

func (p *Pool) Picks() Picks { return Picks{p} }

// A Request is one that picks, with what it has tried.
type Request struct {
	*http.Request
	Vars  Vars
	nodes Candidates
}

func (r *Request) Add(i int)      { r.nodes.tried.add(i) }
func (r *Request) Has(i int) bool { return r.nodes.tried.has(i) }

// Pick returns a node for the request, which counts as tried only after Add.
func (p Picks) Pick(r *Request) int {
	r.nodes.pool, r.nodes.vars, r.nodes.hashed = p.p, r.Vars, false
	return r.nodes.pick(r.Request)
}

// NewRoundRobin begins at the first step.
func NewRoundRobin(weights []int) Picks {
	c := Config{ID: "1"}
	for i, w := range weights {
		c.Nodes = append(c.Nodes, Node{Host: fmt.Sprintf("10.0.%d.%d", i/256, i%256), Weight: w})
	}
	u, err := New(c)
	if err != nil {
		panic(err)
	}
	p := NewPool(u, nil)
	p.Rewind()
	return p.Picks()
}

// Start is the random place at which a pool begins.
func (p *Pool) Start() uint64 { return p.pickers[0].(*roundRobin).next.Load() }

// Rewind lets the pool begin with its first node.
func (p *Pool) Rewind() {
	for _, picker := range p.pickers {
		if r, ok := picker.(*roundRobin); ok {
			r.next.Store(^uint64(0))
		}
	}
}

// InFlight changes the count of a node.
func (p *Pool) InFlight(i int, by int64) { p.members[i].state.inFlight.Add(by) }

// Observe tells the balancer ewma of an answer that took so long.
func (p *Pool) Observe(i int, took time.Duration) {
	p.members[i].state.latency.observe(took, p.now())
}

// Latency is the average of a node.
func (p *Pool) Latency(i int) time.Duration {
	return p.members[i].state.latency.at(p.now())
}

// Ring returns the points of a level's ring, and the index of a node for each.
func (u *Upstream) Ring(level int) (hashes []uint32, nodes []int) {
	for _, p := range u.levels[level].ring.points {
		hashes, nodes = append(hashes, p.hash()), append(nodes, p.node())
	}
	return hashes, nodes
}

// After returns a tally after an event.
func After(t uint64, e, limit int) uint64 { return uint64(tally(t).after(event(e), uint8(limit))) }

// Tally returns what a tally says.
func Tally(t uint64) (h Health, counts [4]int) {
	for e := range counts {
		counts[e] = int(tally(t).count(event(e)))
	}
	return tally(t).health(), counts
}

// SharesConnections reports whether two pools use the same client for a node.
func (p *Pool) SharesConnections(q *Pool, i, j int) bool {
	return p.members[i].conns == q.members[j].conns
}

// NodeAddress returns the three forms of where a node is.
func NodeAddress(n Node, https bool) (address, host, name string, err error) {
	t, err := newTarget(n, https)
	return t.address, t.host, t.name, err
}

// Target returns what is written as the target for a URL.
func Target(u *url.URL) (string, error) {
	t, err := requestTarget(u)
	if err != nil {
		return "", err
	}
	t.Scheme, t.Host = "http", "10.0.0.1:80"
	return t.RequestURI(), nil
}

// A RequestBody is a body that is lent to one attempt after another.
type RequestBody struct{ b requestBody }

func NewRequestBody(src io.ReadCloser) *RequestBody {
	return &RequestBody{requestBody{src: src}}
}

// NewReplayedBody keeps as much as limit.
func NewReplayedBody(src io.ReadCloser, limit int) *RequestBody {
	return &RequestBody{requestBody{src: src, limit: limit}}
}

// Kept is how much is kept.
func (b *RequestBody) Kept() int {
	b.b.mu.Lock()
	defer b.b.mu.Unlock()
	return len(b.b.kept.pieces) * pieceSize
}

func (b *RequestBody) Lend() io.ReadCloser           { return b.b.lend() }
func (b *RequestBody) Revoke() bool                  { return b.b.revoke() }
func (b *RequestBody) Again() (io.ReadCloser, error) { return b.b.again() }
func (b *RequestBody) Settle()                       { b.b.settle() }
func (b *RequestBody) Failure() error                { return b.b.failure() }

// H2Groups is for how many names a node has connections, with HTTP/2.
func (p *Pool) H2Groups(i int) int {
	t := p.members[i].conns.client.(*h2Client)
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.groups)
}

// KeepName does what each request does for a node that is a name.
func (p *Pool) KeepName(i int) { p.members[i].named.keep() }

// A Budget is a budget of retries.
type Budget struct{ b *budget }

func NewBudget(limit RetryBudget) Budget { return Budget{newBudget(limit.withDefaults())} }
func (b Budget) Request()                { b.b.request() }
func (b Budget) Retry() bool             { return b.b.retry() }

func (p *Pool) SharesBudget(q *Pool) bool { return p.budget == q.budget }

// H2Wire returns what writes to an h2Wire, and what asks for a PING.
func H2Wire(below io.Writer) (write func([]byte) (int, error), ping func()) {
	w := &h2Wire{Conn: writeOnly{Writer: below}, settled: make(chan struct{})}
	return w.Write, func() { w.asks.Store(true); w.ping() }
}

type writeOnly struct {
	net.Conn
	io.Writer
}

func (w writeOnly) Write(p []byte) (int, error) { return w.Writer.Write(p) }

// Judge counts requests of a node, as their answers do.
func (p *Pool) Judge(node int, requests uint64, failed bool) {
	p.judge(&p.members[node], requests, failed)
}
