package gatewayprom

import (
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/ssl"
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

	s.refused(st.Refused)
	s.counter(requestsUnrouted, st.NotFound)
	s.counter(malformed, st.Malformed)
}

// guardReasons are the reasons why requests are refused.
var guardReasons = []ssl.Reason{
	ssl.ReasonMisdirected, ssl.ReasonPlainHTTP, ssl.ReasonBadHost,
	ssl.ReasonNoClientCert, ssl.ReasonUnknownCA, ssl.ReasonExpired, ssl.ReasonRevoked, ssl.ReasonDepth, ssl.ReasonKeyUsage, ssl.ReasonNotAllowed,
}

// refused shows every reason, as [sink.handshakes] does.
func (s sink) refused(list []gateway.RefusalCount) {
	counts := map[ssl.Reason]uint64{}
	for _, reason := range guardReasons {
		counts[reason] = 0
	}
	for _, r := range list {
		counts[r.Reason] += r.Count
	}
	for reason, n := range counts {
		s.counter(requestsRefused, n, string(reason))
	}
}
