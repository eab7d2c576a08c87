package route

import "github.com/sallyport/sallyport/internal/meter"

// Meter is where package gateway counts the requests for the route. It takes no lock.
func (r *Route) Meter() *meter.Cell {
	if c := r.cell.Load(); c != nil {
		return c
	}
	r.cell.CompareAndSwap(nil, new(meter.Cell))
	return r.cell.Load()
}

// Counted is what package gateway has counted for the route, or nil if nothing was.
func (r *Route) Counted() *meter.Route {
	if c := r.cell.Load(); c != nil {
		return c.Peek()
	}
	return nil
}

// Succeed lets package gateway go on counting for r where it has counted for old, which r
// replaces.
func (r *Route) Succeed(old *Route) { r.cell.Store(old.Meter()) }
