package gateway

import (
	"time"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// Stats are the counts of a [Server]. Counts only grow, from [Stats.Since] on, but for
// what is said to be of the moment. Those of an object of the configuration belong to its
// ID: they go on when it is replaced, and are gone when it is deleted.
//
// The names in it are IDs of the configuration and words of this package's, and nothing
// that a client has sent: it is safe to make labels of them.
type Stats struct {
	At    time.Time // when they were read
	Since time.Time // when the Server was made

	Config      ConfigStats
	Connections ConnectionStats

	// TLS has the handshakes behind [*Server.ServeTLS], and the expiry of certificates,
	// by profile.
	TLS ssl.Stats

	// Routes are those of the configuration, by ID. A request counts for the route that
	// was found, whatever became of it then.
	Routes []RouteStats

	// Unrouted counts the requests that count for no route: those that were refused
	// before one was looked for, and those for which there is none.
	Unrouted RequestStats

	// NotFound counts those of Unrouted for which there is no route (404).
	NotFound uint64

	// Malformed counts what came over HTTP/1.1 behind [*Server.Serve] and
	// [*Server.ServeTLS] and was no request: it is answered, and counts nowhere else but
	// in Limits.
	Malformed uint64

	// Refused counts the requests that were refused, for the guard or for a route that
	// was not for the client: only what occurred, by status and then reason.
	Refused []RefusalCount

	// Refusals counts all that [*Server.Refusals] ever had: Refused, and the handshakes
	// that failed.
	Refusals uint64

	// Upstreams are those of the configuration, by ID.
	Upstreams []UpstreamStats

	// Limits has how often each limit was reached, by name.
	Limits []LimitCount
}

// ConfigStats are about the configuration. All of it is of the moment.
type ConfigStats struct {
	// Revision counts the changes that put something, or deleted something that was
	// there, since the Server was made; and Changed is when the last one was. It is the
	// Server's own count, and not a revision of a storage.
	Revision uint64
	Changed  time.Time

	Profiles, Routes, Upstreams int // how many there are
}

// ConnectionStats are about the connections that [*Server.Serve] and [*Server.ServeTLS]
// have accepted.
type ConnectionStats struct {
	// Accepted counts those that were taken in, and Open, of the moment, those that are
	// not closed yet: also those whose handshake goes on, and those that a handler has
	// taken over or that became a WebSocket.
	Accepted uint64
	Open     int64

	HTTP1 ProtocolStats // HTTP/1.1 and HTTP/1.0
	HTTP2 ProtocolStats
}

// ProtocolStats are about the connections that speak one protocol.
type ProtocolStats struct {
	Accepted uint64
	Open     int64 // of the moment
	Idle     int64 // of those, on which no request goes on
}

// RequestStats count requests.
type RequestStats struct {
	Requests StatusCounts // by the answer that the client got
	Duration Histogram    // from the head of the request to the end of the answer
}

// StatusCounts count by the class of a status: StatusCounts[2] counts 200 to 299, and
// StatusCounts[0] what has no answer, because the client went away before.
type StatusCounts = upstream.StatusCounts

// A Histogram says how long something took. The types of this name in the packages ssl,
// upstream and gateway convert to each other.
type Histogram = upstream.Histogram

// RouteStats are about the requests for one route.
type RouteStats struct {
	ID       string
	Upstream string // that it has now; empty for a handler of the user's
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

// Stats returns the counts of the moment. It takes no lock that a handshake or a request
// waits for, and may be called each second: with 10 000 profiles and 100 000 routes it
// takes some tens of milliseconds. The counts are read one after another while requests go
// on, and so need not add up exactly.
func (s *Server) Stats() Stats {
	snap := s.snap.Load()
	st := Stats{At: time.Now(), TLS: s.term.Stats()}
	for r := range snap.routes.All() {
		st.Routes = append(st.Routes, RouteStats{ID: r.ID(), Upstream: r.Upstream()})
	}
	for id, pool := range snap.pools.All() {
		st.Upstreams = append(st.Upstreams, UpstreamStats{ID: id, Stats: pool.Stats(), Nodes: pool.Nodes()})
	}
	for limit, n := range s.reached {
		st.Limits = append(st.Limits, LimitCount{limit, n.Load()})
	}
	st.Config = ConfigStats{Profiles: snap.ssl.Len(), Routes: len(st.Routes), Upstreams: len(st.Upstreams)}
	return st
}
