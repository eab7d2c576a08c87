package gatewayotel

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// observe tells the counts of a gateway.
func (m *instruments) observe(o metric.Observer, st *gateway.Stats) {
	m.server(o, st)
	m.tls(o, &st.TLS)
	m.http(o, st)
	m.upstreams(o, st.Upstreams)
}

// fits reports whether each of n objects of a kind is told by itself.
func (m *instruments) fits(n int) bool { return m.most < 0 || n <= m.most }

func with(attributes ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attributes...))
}

// server tells of the gateway as a whole.
func (m *instruments) server(o metric.Observer, st *gateway.Stats) {
	o.ObserveInt64(m.configChanges, int64(st.Config.Revision))
	if !st.Config.Changed.IsZero() {
		o.ObserveFloat64(m.configChanged, unix(st.Config.Changed))
	}
	o.ObserveInt64(m.configObjects, int64(st.Config.Profiles), with(kindKey.String("profile")))
	o.ObserveInt64(m.configObjects, int64(st.Config.Routes), with(kindKey.String("route")))
	o.ObserveInt64(m.configObjects, int64(st.Config.Upstreams), with(kindKey.String("upstream")))
	o.ObserveInt64(m.accepted, int64(st.Connections.Accepted))
	o.ObserveInt64(m.open, st.Connections.Open)
	for _, p := range []struct {
		version string
		stats   *gateway.ProtocolStats
	}{{"1.1", &st.Connections.HTTP1}, {"2", &st.Connections.HTTP2}} {
		version := semconv.NetworkProtocolVersion(p.version)
		active := max(p.stats.Open-p.stats.Idle, 0) // one was read before the other
		o.ObserveInt64(m.connections, active, with(version, semconv.HTTPConnectionStateActive))
		o.ObserveInt64(m.connections, p.stats.Idle, with(version, semconv.HTTPConnectionStateIdle))
	}
	for _, limit := range st.Limits {
		o.ObserveInt64(m.limits, int64(limit.Count), with(limitKey.String(string(limit.Limit))))
	}
}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// tls tells of handshakes, and of certificates.
func (m *instruments) tls(o metric.Observer, st *ssl.Stats) {
	none := newHandshakeSums(&st.NoProfile)
	var soonest time.Time
	each := m.fits(len(st.Profiles))
	for i := range st.Profiles {
		p := &st.Profiles[i]
		profile := profileKey.String(text(p.ID))
		for n, end := range p.NotAfter {
			if each {
				o.ObserveFloat64(m.expiry, unix(end), with(profile, certificateKey.Int(n)))
			} else if soonest.IsZero() || end.Before(soonest) {
				soonest = end
			}
		}
		if each {
			m.profile(o, newHandshakeSums(&p.Handshakes), profile)
		} else {
			none.add(&p.Handshakes)
		}
	}
	m.profile(o, none)
	if !soonest.IsZero() {
		o.ObserveFloat64(m.expiry, unix(soonest))
	}
	o.ObserveInt64(m.turnedAway, int64(st.TurnedAway))
}

// handshakeSums adds up what became of handshakes.
type handshakeSums struct {
	full, resumed ssl.VersionCounts
	failed        map[ssl.Reason]uint64
	took          time.Duration
}

func newHandshakeSums(st *ssl.HandshakeStats) *handshakeSums {
	h := &handshakeSums{failed: map[ssl.Reason]uint64{}}
	h.add(st)
	return h
}

func (h *handshakeSums) add(st *ssl.HandshakeStats) {
	h.full, h.resumed = plus(h.full, st.Full), plus(h.resumed, st.Resumed)
	for _, r := range st.Failed {
		h.failed[r.Reason] += r.Count
	}
	h.took += st.Duration.Sum
}

func plus(a, b ssl.VersionCounts) ssl.VersionCounts {
	return ssl.VersionCounts{TLS10: a.TLS10 + b.TLS10, TLS11: a.TLS11 + b.TLS11, TLS12: a.TLS12 + b.TLS12, TLS13: a.TLS13 + b.TLS13}
}

// profile tells what became of handshakes: only what has occurred.
func (m *instruments) profile(o metric.Observer, h *handshakeSums, profile ...attribute.KeyValue) {
	profile = profile[:len(profile):len(profile)]
	for _, kind := range []struct {
		counts  *ssl.VersionCounts
		resumed bool
	}{{&h.full, false}, {&h.resumed, true}} {
		for _, v := range []struct {
			name string
			n    uint64
		}{{"1.0", kind.counts.TLS10}, {"1.1", kind.counts.TLS11}, {"1.2", kind.counts.TLS12}, {"1.3", kind.counts.TLS13}} {
			if v.n > 0 {
				o.ObserveInt64(m.handshakes, int64(v.n), with(append(profile, semconv.TLSProtocolVersion(v.name), semconv.TLSResumed(kind.resumed))...))
			}
		}
	}
	for reason, n := range h.failed {
		o.ObserveInt64(m.handshakes, int64(n), with(append(profile, semconv.ErrorTypeKey.String(string(reason)))...))
	}
	if h.took > 0 {
		o.ObserveFloat64(m.handshakeTime, h.took.Seconds(), with(profile...))
	}
}

// http tells of requests.
func (m *instruments) http(o metric.Observer, st *gateway.Stats) {
	none, took := st.Unrouted.Requests, st.Unrouted.Duration.Sum
	each := m.fits(len(st.Routes))
	for i := range st.Routes {
		r := &st.Routes[i]
		if each {
			route := routeKey.String(text(r.ID))
			m.byClass(o, m.requests, &r.Requests, route)
			o.ObserveFloat64(m.requestTime, r.Duration.Sum.Seconds(), with(route))
			continue
		}
		for class, n := range r.Requests {
			none[class] += n
		}
		took += r.Duration.Sum
	}
	m.byClass(o, m.requests, &none)
	o.ObserveFloat64(m.requestTime, took.Seconds())
	for _, r := range st.Refused {
		o.ObserveInt64(m.refused, int64(r.Count), with(semconv.HTTPResponseStatusCode(r.Status), semconv.ErrorTypeKey.String(string(r.Reason))))
	}
	o.ObserveInt64(m.unrouted, int64(st.NotFound))
	o.ObserveInt64(m.malformed, int64(st.Malformed))
}

// classes are the values of the attribute for the class of a status.
var classes = [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

// byClass tells what has occurred.
func (m *instruments) byClass(o metric.Observer, i metric.Int64Observable, counts *gateway.StatusCounts, attributes ...attribute.KeyValue) {
	attributes = attributes[:len(attributes):len(attributes)]
	for class, n := range counts {
		if n > 0 {
			o.ObserveInt64(i, int64(n), with(append(attributes, classKey.String(classes[class]))...))
		}
	}
}

// The states of nodes. One that is ejected may be healthy.
var nodeStates = [...]string{"healthy", "unhealthy", "ejected"}

func stateOf(n *upstream.NodeStatus) int {
	switch {
	case !n.EjectedUntil.IsZero():
		return 2
	case n.Health == upstream.MostlyUnhealthy || n.Health == upstream.Unhealthy:
		return 1
	default:
		return 0
	}
}

// upstreamSums adds up upstreams.
type upstreamSums struct {
	answers gateway.StatusCounts
	waited  time.Duration
	retries uint64
	nodes   [len(nodeStates)]int64
}

func (u *upstreamSums) add(st *gateway.UpstreamStats) {
	for class, n := range st.Answers {
		u.answers[class] += n
	}
	u.waited += st.Wait.Sum
	u.retries += st.Retries
	for i := range st.Nodes {
		u.nodes[stateOf(&st.Nodes[i])]++
	}
}

// upstreams tells of upstreams and their nodes.
func (m *instruments) upstreams(o metric.Observer, list []gateway.UpstreamStats) {
	var sum upstreamSums
	each := m.fits(len(list))
	for i := range list {
		sum.add(&list[i])
		if each {
			m.upstream(o, &sum, upstreamKey.String(text(list[i].ID)))
			sum = upstreamSums{}
		}
	}
	if !each {
		m.upstream(o, &sum)
	}
}

func (m *instruments) upstream(o metric.Observer, u *upstreamSums, id ...attribute.KeyValue) {
	id = id[:len(id):len(id)]
	m.byClass(o, m.upstreamRequests, &u.answers, id...)
	o.ObserveFloat64(m.upstreamWait, u.waited.Seconds(), with(id...))
	o.ObserveInt64(m.upstreamRetries, int64(u.retries), with(id...))
	for state, n := range u.nodes {
		o.ObserveInt64(m.upstreamNodes, n, with(append(id, nodeStateKey.String(nodeStates[state]))...))
	}
}
