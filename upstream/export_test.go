package upstream

import (
	"io"
	"net/url"
)

// The doors of the tests into the package.

const MaxSlots = maxSlots

// An Order is an order, with what the tests look at.
type Order struct{ o *order }

func NewOrder(weights []int) Order { return Order{newOrder(weights)} }

func (o Order) Period() uint64  { return o.o.period }
func (o Order) At(x uint64) int { return o.o.at(x) }
func (o Order) Written() bool   { return o.o.slots != nil }

// A RoundRobin is a picker that begins at the first step.
type RoundRobin struct{ r *roundRobin }

func NewRoundRobin(weights []int) RoundRobin {
	r := newRoundRobin(newOrder(weights))
	r.next.Store(^uint64(0))
	return RoundRobin{r}
}

// Start is the random place of a new one.
func Start(weights []int) uint64 { return newRoundRobin(newOrder(weights)).next.Load() }

// A NodeSet is a set of nodes that were tried.
type NodeSet struct{ s nodeSet }

func (s *NodeSet) Add(i int)      { s.s.add(i) }
func (s *NodeSet) Has(i int) bool { return s.s.has(i) }

func (r RoundRobin) Pick(tried *NodeSet) int { return r.r.pick(nil, &tried.s) }

// Rewind lets the pool begin with its first node.
func (p *Pool) Rewind() { p.picker.(*roundRobin).next.Store(^uint64(0)) }

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

func (b *RequestBody) Lend() io.ReadCloser           { return b.b.lend() }
func (b *RequestBody) Revoke() bool                  { return b.b.revoke() }
func (b *RequestBody) Again() (io.ReadCloser, error) { return b.b.again() }
func (b *RequestBody) Settle()                       { b.b.settle() }
func (b *RequestBody) Failure() error                { return b.b.failure() }
