package gateway

import (
	"time"

	"github.com/sallyport/sallyport/ssl"
)

// A History is what happened in the last hour.
type History struct {
	// Minutes has the last hour by minute, the oldest first and without gaps. The last
	// one goes on. There are 61 at most, and fewer if the Server is younger.
	Minutes []Minute

	// Routes are those that had a request in the last hour, by ID.
	Routes []RouteHistory
}

// A Minute is what happened in one.
type Minute struct {
	Begun time.Time     // by the clock on the wall, a whole minute, but for the first
	Took  time.Duration // a minute, but for the first and the one that goes on

	Handshakes uint64            // behind [*Server.ServeTLS], that succeeded
	Failed     []ssl.ReasonCount // that failed: only what occurred, in the order of [ssl.HandshakeReasons]
	Requests   StatusCounts      // of all routes, and of none
}

// A RouteHistory is about the requests for one route.
type RouteHistory struct {
	ID string

	Minute StatusCounts // of the last whole minute
	Hour   StatusCounts // of the last hour, up to now: between 55 and 60 minutes
}

// History returns what happened in the last hour.
func (s *Server) History() History { return History{} }
