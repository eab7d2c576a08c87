package gatewayprom

import (
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/upstream"
)

// The states of nodes. One that is ejected may be healthy.
const (
	nodeHealthy = iota
	nodeUnhealthy
	nodeEjected
)

var nodeStates = [...]string{"healthy", "unhealthy", "ejected"}

// stateOf returns the state of a node.
func stateOf(n *upstream.NodeStatus) int {
	switch {
	case !n.EjectedUntil.IsZero():
		return nodeEjected
	case n.Health == upstream.MostlyUnhealthy || n.Health == upstream.Unhealthy:
		return nodeUnhealthy
	default:
		return nodeHealthy
	}
}

// upstreamSums adds up upstreams.
type upstreamSums struct {
	answers gateway.StatusCounts
	wait    histogram
	retries uint64
	nodes   [len(nodeStates)]int
	each    upstream.NodeStatus // the counts of all nodes
}

func (u *upstreamSums) add(st *gateway.UpstreamStats) {
	for class, n := range st.Answers {
		u.answers[class] += n
	}
	u.wait.add(&st.Wait)
	u.retries += st.Retries
	for i := range st.Nodes {
		n := &st.Nodes[i]
		u.nodes[stateOf(n)]++
		u.each.Requests += n.Requests
		u.each.Failures += n.Failures
		u.each.InFlight += n.InFlight
	}
}

// upstreams is about upstreams and their nodes.
func (c *collector) upstreams(s sink, list []gateway.UpstreamStats) {
	nodes := 0
	for i := range list {
		nodes += len(list[i].Nodes)
	}
	var sum upstreamSums
	each, eachNode := c.fits(len(list)), c.fits(nodes)
	for i := range list {
		id := label(list[i].ID)
		sum.add(&list[i])
		if eachNode {
			s.nodes(id, list[i].Nodes)
		}
		if each {
			s.upstream(id, &sum, eachNode)
			sum = upstreamSums{}
		}
	}
	if !each {
		s.upstream("", &sum, eachNode)
	}
}

// upstream shows the counts of an upstream or of all, and those of its nodes unless each has
// its own.
func (s sink) upstream(id string, u *upstreamSums, eachNode bool) {
	s.byClass(upstreamRequests, &u.answers, id)
	s.histogram(upstreamWait, &u.wait, id)
	s.counter(upstreamRetries, u.retries, id)
	for state, n := range u.nodes {
		s.gauge(upstreamNodes, float64(n), id, nodeStates[state])
	}
	if !eachNode {
		s.node(id, "", &u.each)
	}
}

// nodes shows the nodes of an upstream, each of which has an address of its own.
func (s sink) nodes(id string, list []upstream.NodeStatus) {
	for i := range list {
		n := &list[i]
		up := 0.0
		if stateOf(n) == nodeHealthy {
			up = 1
		}
		node := label(n.Address)
		s.gauge(nodeUp, up, id, node)
		s.node(id, node, n)
	}
}

// node shows the counts of a node, or of many.
func (s sink) node(id, node string, n *upstream.NodeStatus) {
	s.counter(nodeRequests, n.Requests, id, node)
	s.counter(nodeFailures, n.Failures, id, node)
	s.gauge(nodeInFlight, float64(n.InFlight), id, node)
}
