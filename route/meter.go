package route

import "github.com/sallyport/sallyport/internal/meter"

// Meter is where package gateway counts the requests for the route. It takes no lock.
func (r *Route) Meter() *meter.Cell { return r.cell.Load() }

// Succeed lets package gateway go on counting for r where it has counted for old, which r
// replaces.
func (r *Route) Succeed(old *Route) { r.cell.Store(old.cell.Load()) }
