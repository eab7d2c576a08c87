package meter

import (
	"sync/atomic"

	"github.com/sallyport/sallyport/internal/sample"
)

// OfRoute is how package gateway reaches what is counted for a route, a *route.Route,
// without exported methods whose types nobody else can name. Package route sets it when it
// is initialised. None of it takes a lock.
var OfRoute struct {
	Cell    func(r any) *Cell
	Counted func(r any) *Route // nil if nothing was
	Succeed func(r, old any)   // lets r go on counting where was counted for old, which it replaces
}

// A Route is what package gateway keeps of the requests for one route, or for none. The
// zero Route is empty.
type Route struct {
	Requests

	// Failures keeps those of the route from flooding the log.
	Failures sample.Sampler

	// Recent is nil as long as there is nothing to remember. Whoever lets the time pass
	// guards it.
	Recent *Recent
}

// A Cell is where the Route of a route is, once there has been a request for it: most of
// 100 000 routes may never have one. The zero Cell is empty.
type Cell struct{ p atomic.Pointer[Route] }

// Route returns the Route, and makes it if there is none.
func (c *Cell) Route() *Route {
	if r := c.p.Load(); r != nil {
		return r
	}
	c.p.CompareAndSwap(nil, new(Route))
	return c.p.Load()
}

// Peek returns the Route, or nil.
func (c *Cell) Peek() *Route { return c.p.Load() }
