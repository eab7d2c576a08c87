package adminapi

import (
	"cmp"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/adminapi/statuspage"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/internal/apisix"
	"github.com/sallyport/sallyport/internal/statushtml"
	"github.com/sallyport/sallyport/upstream"
)

// reportUpstreams says how the nodes are, those first of which one is not well.
func (h *Handler) reportUpstreams(stats *gateway.Stats, q *statushtml.Query) statuspage.List[statuspage.Upstream] {
	fits := filter(q.Upstreams.Filter)
	matching := make([]*gateway.UpstreamStats, 0, len(stats.Upstreams))
	for i := range stats.Upstreams {
		s := &stats.Upstreams[i]
		if fits(s.ID) || slices.ContainsFunc(s.Nodes, func(n upstream.NodeStatus) bool { return fits(n.Address) }) {
			matching = append(matching, s)
		}
	}
	slices.SortFunc(matching, func(a, b *gateway.UpstreamStats) int {
		return cmp.Or(cmp.Compare(min(ailing(b.Nodes), 1), min(ailing(a.Nodes), 1)), strings.Compare(a.ID, b.ID))
	})
	return listed(len(stats.Upstreams), matching, q.Upstreams.Page, q.Size, func(s *gateway.UpstreamStats) (statuspage.Upstream, bool) {
		u := h.server.Upstream(s.ID)
		if u == nil {
			return statuspage.Upstream{}, false
		}
		out := statuspage.Upstream{
			ID: s.ID, Scheme: string(u.Scheme()), Balancer: cmp.Or(string(u.Balancer()), "the program's own"), Nodes: []statuspage.Node{},
			Answers: answersOf(s.Answers), Retries: s.Retries, MeanWaitSeconds: meanSeconds(s.Wait),
			Warnings: h.upstreamWarnings(u),
		}
		for _, n := range s.Nodes {
			out.Nodes = append(out.Nodes, reportNode(&n))
		}
		return out, true
	})
}

// upstreamWarnings returns what there is to say of an upstream, in the words of its document.
func (h *Handler) upstreamWarnings(u *upstream.Upstream) []string {
	kind, id, _ := upstreamIn(u.ID())
	h.mu.RLock()
	documented := h.docs.get(kind, id) != nil
	h.mu.RUnlock()
	warnings := slices.DeleteFunc(u.Warnings(), func(w upstream.Warning) bool { return documented && w.Field == weights })
	return mapped(warnings, func(w upstream.Warning) string { return h.inDocument(apisix.Upstreams, w.ID, w.Field, w.Text) })
}

// ailing counts the nodes that get no requests because of their health.
func ailing(nodes []upstream.NodeStatus) (n int) {
	for i := range nodes {
		if nodes[i].Health > upstream.MostlyHealthy || !nodes[i].EjectedUntil.IsZero() {
			n++
		}
	}
	return n
}

func reportNode(n *upstream.NodeStatus) statuspage.Node {
	return statuspage.Node{
		Address: n.Address, Weight: n.Weight, Priority: n.Priority, Health: n.Health.String(), Reason: n.Reason,
		InFlight: n.InFlight, Requests: n.Requests, Failures: n.Failures,
		LastError: n.LastError, LastErrorAt: n.LastErrorAt, EjectedUntil: n.EjectedUntil, SlowStart: n.SlowStart,
	}
}
