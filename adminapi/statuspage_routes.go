package adminapi

import (
	"cmp"
	"slices"

	"github.com/sallyport/sallyport/adminapi/statuspage"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/internal/apisix"
	"github.com/sallyport/sallyport/internal/statushtml"
	"github.com/sallyport/sallyport/route"
)

// reportRoutes says what went through the routes, in the order that is asked for.
func (h *Handler) reportRoutes(stats *gateway.Stats, history *gateway.History, q *statushtml.Query) statuspage.List[statuspage.Route] {
	table := h.server.Routes()
	fits := filter(q.Routes.Filter)
	hours := make(map[string]*gateway.RouteHistory, len(history.Routes))
	for i := range history.Routes {
		hours[history.Routes[i].ID] = &history.Routes[i]
	}
	weight := weightOf(q.Sort)
	// They come by id, and stay so where nothing else decides. Of many routes, few have
	// had requests: those alone are sorted.
	var first, rest []*gateway.RouteStats
	for i := range stats.Routes {
		s := &stats.Routes[i]
		if q.Routes.Filter != "" && !fits(s.ID, s.Upstream) {
			r := table.Get(s.ID)
			if r == nil || !fits(r.Paths()...) && !fits(r.Hosts()...) {
				continue
			}
		}
		if hour := hours[s.ID]; hour != nil && weight(hour.Hour) > 0 {
			first = append(first, s)
		} else {
			rest = append(rest, s)
		}
	}
	slices.SortStableFunc(first, func(a, b *gateway.RouteStats) int {
		return cmp.Compare(weight(hours[b.ID].Hour), weight(hours[a.ID].Hour))
	})
	return listed(len(stats.Routes), append(first, rest...), q.Routes.Page, q.Size, func(s *gateway.RouteStats) (statuspage.Route, bool) {
		r := table.Get(s.ID)
		if r == nil {
			return statuspage.Route{}, false
		}
		var hour gateway.RouteHistory
		if known := hours[s.ID]; known != nil {
			hour = *known
		}
		out := statuspage.Route{
			ID: r.ID(), Hosts: append([]string{}, r.Hosts()...), Paths: mapped(r.Paths(), hidden), Methods: append([]string{}, r.Methods()...),
			Priority: r.Priority(), Disabled: r.Disabled(), Upstream: r.Upstream(),
			LastMinute: answersOf(hour.Minute), LastHour: answersOf(hour.Hour), Answers: answersOf(s.Requests),
			RequestsPerSecond: perSecond(hour.Minute.Total(), 60),
			ErrorShare:        share(hour.Hour[5], hour.Hour.Total()),
			ClientErrorShare:  share(hour.Hour[4], hour.Hour.Total()),
			MeanSeconds:       meanSeconds(s.Duration),
			Warnings:          mapped(table.Warnings(r.ID()), func(w route.Warning) string { return h.inDocument(apisix.Routes, w.ID, w.Field, w.Text) }),
		}
		if answers, ok := r.Handler().(unserved); ok {
			out.Target = answers.text
		} else if r.Upstream() == "" {
			out.Target = "the program itself"
		}
		return out, true
	})
}

// weightOf returns what routes are sorted by: the more, the earlier.
func weightOf(order string) func(gateway.StatusCounts) uint64 {
	switch order {
	case statushtml.ByTraffic:
		return func(c gateway.StatusCounts) uint64 { return c.Total() }
	case statushtml.ByErrors:
		return func(c gateway.StatusCounts) uint64 { return c[5] }
	default:
		return func(gateway.StatusCounts) uint64 { return 0 }
	}
}
