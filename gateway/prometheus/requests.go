package gatewayprom

import (
	"strconv"

	"github.com/sallyport/sallyport/gateway"
)

// requests is about requests, by route.
func (c *collector) requests(s sink, st *gateway.Stats) {
	none := st.Unrouted.Requests
	duration := of(st.Unrouted.Duration)
	each := c.fits(len(st.Routes))
	for i := range st.Routes {
		r := &st.Routes[i]
		if !each {
			for class, n := range r.Requests {
				none[class] += n
			}
			duration.add(&r.Duration)
			continue
		}
		id := label(r.ID)
		s.byClass(requests, &r.Requests, id)
		s.histogram(requestDuration, of(r.Duration), id)
		s.gauge(routeInfo, 1, id, label(r.Upstream))
	}
	s.byClass(requests, &none, "")
	s.histogram(requestDuration, duration, "")

	for _, r := range st.Refused {
		s.counter(requestsRefused, r.Count, strconv.Itoa(r.Status), string(r.Reason))
	}
	s.counter(requestsUnrouted, st.NotFound)
	s.counter(malformed, st.Malformed)
}
