package route

import "github.com/sallyport/sallyport/internal/meter"

func init() {
	meter.OfRoute.Cell = func(r any) *meter.Cell { return r.(*Route).meter() }
	meter.OfRoute.Counted = func(r any) *meter.Route { return r.(*Route).counted() }
	meter.OfRoute.Succeed = func(r, old any) { r.(*Route).succeed(old.(*Route)) }
}

// meter is where the requests for the route are counted. It takes no lock.
func (r *Route) meter() *meter.Cell {
	if c := r.cell.Load(); c != nil {
		return c
	}
	r.cell.CompareAndSwap(nil, new(meter.Cell))
	return r.cell.Load()
}

// counted is what was counted for the route, or nil if nothing was.
func (r *Route) counted() *meter.Route {
	if c := r.cell.Load(); c != nil {
		return c.Peek()
	}
	return nil
}

// succeed lets r go on counting where was counted for old, which it replaces.
func (r *Route) succeed(old *Route) { r.cell.Store(old.meter()) }
