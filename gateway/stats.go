package gateway

import (
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/internal/meter"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// Stats are the counts of a [Server]. Counts only grow, starting at [Stats.Since], except
// those described as current values. The counts of an object of the configuration belong to
// its ID: they continue when it is replaced, and are gone when it is deleted.
//
// All names are IDs of the configuration or words of this package, never anything that a
// client has sent: they are safe to use as labels.
type Stats struct {
	At    time.Time // when the counts were read
	Since time.Time // when the Server was made

	Config      ConfigStats
	Connections ConnectionStats

	// TLS has the handshakes at [*Server.ServeTLS], and when certificates expire, by profile.
	TLS ssl.Stats

	// Routes are those of the configuration, by ID. A request counts for the route that was
	// found for it, whatever became of it afterwards.
	Routes []RouteStats

	// Unrouted counts the requests that count for no route: those that were refused before a
	// route was looked for, and those that have none.
	Unrouted RequestStats

	// NotFound counts the requests in Unrouted that have no route (404).
	NotFound uint64

	// Malformed counts what came to [*Server.Serve] and [*Server.ServeTLS] and was not a valid
	// request: it is answered, or its stream reset, and is counted nowhere else except in
	// Limits.
	Malformed uint64

	// Refused counts the requests that were refused by the guard, or because the route is not
	// for the client. It has only what occurred, sorted by status and then reason.
	Refused []RefusalCount

	// RefusalsTotal counts everything that [*Server.Refusals] has ever had: the requests in
	// Refused, and the handshakes that failed.
	RefusalsTotal uint64

	// Upstreams are those of the configuration, by ID.
	Upstreams []UpstreamStats

	// Limits has how often each limit was reached, by name.
	Limits []LimitCount
}

// ConfigStats are about the configuration. All of them are current values.
type ConfigStats struct {
	// Revision counts the changes, since the Server was made, that put something or deleted
	// something that existed; Changed is the time of the last one. Revision is the Server's own
	// count, not a revision of a storage.
	Revision uint64
	Changed  time.Time

	Profiles, Routes, Upstreams int // how many there are
}

// ConnectionStats are about the connections that [*Server.Serve] and [*Server.ServeTLS]
// have accepted.
type ConnectionStats struct {
	// Accepted counts all of them. Open, a current value, counts those that are not closed yet,
	// including those still in their handshake, and those that a handler has taken over or that
	// became a WebSocket.
	Accepted uint64
	Open     int64

	HTTP1 ProtocolStats // HTTP/1.1 and HTTP/1.0
	HTTP2 ProtocolStats
}

// ProtocolStats are about the connections that use one protocol.
type ProtocolStats struct {
	Accepted uint64
	Open     int64 // a current value
	Idle     int64 // those of Open without a request in progress
}

// RequestStats count requests.
type RequestStats struct {
	Requests StatusCounts // by the answer that the client got

	// Duration is measured from the head of a request to the end of its answer. Requests that
	// became a WebSocket (101) are not included.
	Duration Histogram
}

// StatusCounts are counts by class of status: StatusCounts[2] counts 200 to 299, and
// StatusCounts[0] requests without an answer, because the client went away first.
type StatusCounts = upstream.StatusCounts

// A Histogram says how long something took. The Histogram types of packages ssl, upstream
// and gateway can be converted to each other.
type Histogram = upstream.Histogram

// RouteStats are about the requests for one route.
type RouteStats struct {
	ID       string
	Upstream string // the current one; empty if a handler of yours answers
	RequestStats
}

// UpstreamStats are about one upstream.
type UpstreamStats struct {
	ID string
	upstream.Stats
	Nodes []upstream.NodeStatus // in the order of [upstream.Config.Nodes]
}

// A RefusalCount says how often requests were refused with a status for a reason.
type RefusalCount struct {
	Status int
	Reason ssl.Reason
	Count  uint64
}

// A LimitCount says how often a limit was reached.
type LimitCount struct {
	Limit Limit
	Count uint64
}

// Stats returns the current counts. It takes no lock that a handshake or a request waits
// for, and may be called every second: with 10 000 profiles and 100 000 routes it takes
// some tens of milliseconds, and as much again in the first call after a change, which
// sorts the routes. The counts are read one after another while requests go on, so they
// need not add up exactly.
func (s *Server) Stats() Stats {
	snap := s.snap.Load()
	st := Stats{
		At:            time.Now(),
		Since:         s.epoch,
		Connections:   s.connectionStats(),
		TLS:           s.term.Stats(),
		NotFound:      s.counts.notFound.Load(),
		Malformed:     s.counts.malformed.Load(),
		Refused:       s.refusals.read(),
		RefusalsTotal: s.refusals.total.Load(),
	}
	st.Config = ConfigStats{
		Revision: snap.revision,
		Changed:  snap.changed,
		Profiles: snap.ssl.Len(), Routes: snap.routes.Len(), Upstreams: snap.pools.Len(),
	}
	st.Unrouted, _ = requestStats(&s.counts.unrouted, nil)
	routes := snap.sortedRoutes()
	st.Routes = make([]RouteStats, 0, len(routes))
	var room []uint64
	for i, r := range routes {
		rs := RouteStats{ID: r.ID(), Upstream: r.Upstream(), RequestStats: noRequests}
		if counted := meter.OfRoute.Counted(r); counted != nil {
			if cap(room)-len(room) < meter.Buckets {
				room = make([]uint64, 0, meter.Buckets*min(len(routes)-i, 1024))
			}
			rs.RequestStats, room = requestStats(counted, room)
		}
		st.Routes = append(st.Routes, rs)
	}
	st.Upstreams = make([]UpstreamStats, 0, snap.pools.Len())
	for id, pool := range snap.pools.All() {
		st.Upstreams = append(st.Upstreams, UpstreamStats{ID: id, Stats: pool.Stats(), Nodes: pool.Nodes()})
	}
	slices.SortFunc(st.Upstreams, func(a, b UpstreamStats) int { return strings.Compare(a.ID, b.ID) })
	for limit, n := range s.reached {
		st.Limits = append(st.Limits, LimitCount{limit, n.Load()})
	}
	slices.SortFunc(st.Limits, func(a, b LimitCount) int { return strings.Compare(string(a.Limit), string(b.Limit)) })
	return st
}

// noRequests is what there is before the first.
var noRequests = RequestStats{Duration: Histogram{Bounds: meter.Bounds()}}

// requestStats reads what was counted: see [*meter.Histogram.Read] about room.
func requestStats(r *meter.Route, room []uint64) (RequestStats, []uint64) {
	st := noRequests
	st.Requests = r.Answers()
	if st.Requests.Total() > 0 {
		var d meter.Distribution
		d, room = r.Duration(room)
		st.Duration = Histogram(d)
	}
	return st, room
}

// goOnCounting lets routes go on with the counts of those that they replace, and takes
// leave of those that are deleted. It is called with applyMu held, before anybody sees
// the new ones.
func (s *Server) goOnCounting(old *snapshot, p *Prepared) {
	stays := make(map[string]bool, len(p.routes))
	for _, r := range p.routes {
		stays[r.ID()] = true
		if before := old.routes.Get(r.ID()); before != nil {
			meter.OfRoute.Succeed(r, before)
		}
	}
	for _, id := range p.gone.Routes {
		if before := old.routes.Get(id); before != nil && !stays[id] {
			s.history.leave(before)
		}
	}
}

// changedBy reports whether a change puts something, or deletes what is there.
func (snap *snapshot) changedBy(p *Prepared) bool {
	return len(p.profiles)+len(p.routes)+len(p.upstreams) > 0 ||
		slices.ContainsFunc(p.gone.Profiles, func(id string) bool { return snap.ssl.Get(id) != nil }) ||
		slices.ContainsFunc(p.gone.Routes, func(id string) bool { return snap.routes.Get(id) != nil }) ||
		slices.ContainsFunc(p.gone.Upstreams, func(id string) bool { _, ok := snap.pools.Get(id); return ok })
}

// sortedRoutes returns the routes by ID. Sorting them takes most of the time that looking
// at 100 000 takes: it is done once for each configuration that is looked at.
func (snap *snapshot) sortedRoutes() []*route.Route {
	if list := snap.byID.Load(); list != nil {
		return *list
	}
	list := slices.AppendSeq(make([]*route.Route, 0, snap.routes.Len()), snap.routes.All())
	slices.SortFunc(list, func(a, b *route.Route) int { return strings.Compare(a.ID(), b.ID()) })
	snap.byID.Store(&list)
	return list
}
