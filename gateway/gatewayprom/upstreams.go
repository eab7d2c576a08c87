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
}

func (u *upstreamSums) add(st *gateway.UpstreamStats) {
	for class, n := range st.Answers {
		u.answers[class] += n
	}
	u.wait.add(&st.Wait)
	u.retries += st.Retries
	for i := range st.Nodes {
		u.nodes[stateOf(&st.Nodes[i])]++
	}
}

// upstreams is about upstreams and their nodes.
func (c *collector) upstreams(s sink, list []gateway.UpstreamStats) {
	var sum upstreamSums
	nodes, each := 0, c.fits(len(list))
	for i := range list {
		nodes += len(list[i].Nodes)
		sum.add(&list[i])
		if each {
			s.upstream(label(list[i].ID), &sum)
			sum = upstreamSums{}
		}
	}
	if !each {
		s.upstream("", &sum)
	}
	if c.fits(nodes) {
		for i := range list {
			s.nodes(label(list[i].ID), list[i].Nodes)
		}
	}
}

func (s sink) upstream(id string, u *upstreamSums) {
	s.byClass(upstreamRequests, &u.answers, id)
	s.histogram(upstreamWait, &u.wait, id)
	s.counter(upstreamRetries, u.retries, id)
	for state, n := range u.nodes {
		s.gauge(upstreamNodes, float64(n), id, nodeStates[state])
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
		s.counter(nodeRequests, n.Requests, id, node)
		s.counter(nodeFailures, n.Failures, id, node)
		s.gauge(nodeInFlight, float64(n.InFlight), id, node)
	}
}
