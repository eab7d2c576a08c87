package adminapi

import (
	"cmp"
	"slices"

	"github.com/sallyport/sallyport/adminapi/statuspage"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/internal/statushtml"
)

// A routeRow is a route with what is known of it, before it is known whether it is shown.
type routeRow struct {
	stats *gateway.RouteStats
	hour  gateway.RouteHistory
}

// reportRoutes says what went through the routes, in the order that is asked for.
func (h *Handler) reportRoutes(stats *gateway.Stats, history *gateway.History, q *statushtml.Query) statuspage.List[statuspage.Route] {
	table := h.server.Routes()
	fits := filter(q.Routes.Filter)
	hours := make(map[string]gateway.RouteHistory, len(history.Routes))
	for _, r := range history.Routes {
		hours[r.ID] = r
	}
	rows := make([]routeRow, 0, len(stats.Routes))
	for i := range stats.Routes {
		s := &stats.Routes[i]
		if q.Routes.Filter != "" && !fits(s.ID, s.Upstream) {
			r, ok := table.Get(s.ID)
			if !ok || !fits(r.Paths()...) && !fits(r.Hosts()...) {
				continue
			}
		}
		rows = append(rows, routeRow{s, hours[s.ID]})
	}
	// They come by id, and stay so where nothing else decides.
	switch q.Sort {
	case statushtml.ByTraffic:
		slices.SortStableFunc(rows, func(a, b routeRow) int { return cmp.Compare(b.hour.Hour.Total(), a.hour.Hour.Total()) })
	case statushtml.ByErrors:
		slices.SortStableFunc(rows, func(a, b routeRow) int { return cmp.Compare(b.hour.Hour[5], a.hour.Hour[5]) })
	}
	return listed(len(stats.Routes), rows, q.Routes.Page, q.Size, func(row routeRow) (statuspage.Route, bool) {
		r, ok := table.Get(row.stats.ID)
		if !ok {
			return statuspage.Route{}, false
		}
		out := statuspage.Route{
			ID: r.ID(), Hosts: append([]string{}, r.Hosts()...), Paths: r.Paths(), Methods: append([]string{}, r.Methods()...),
			Priority: r.Priority(), Disabled: r.Disabled(), Upstream: r.Upstream(),
			LastMinute: answersOf(row.hour.Minute), LastHour: answersOf(row.hour.Hour), Answers: answersOf(row.stats.Requests),
			RequestsPerSecond: perSecond(row.hour.Minute.Total(), 60),
			ErrorShare:        share(row.hour.Hour[5], row.hour.Hour.Total()),
			ClientErrorShare:  share(row.hour.Hour[4], row.hour.Hour.Total()),
			MeanSeconds:       meanSeconds(row.stats.Duration),
			Warnings:          append([]string{}, table.Warnings(r.ID())...),
		}
		if answers, ok := r.Handler().(unserved); ok {
			out.Target = answers.text
		} else if r.Upstream() == "" {
			out.Target = "the program itself"
		}
		return out, true
	})
}
