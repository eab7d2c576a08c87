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
	o.ObserveInt64(m.turnedAway, int64(st.TurnedAway))
	if !m.fits(len(st.Profiles)) {
		m.profile(o, &st.All)
		end, update := st.Soonest()
		m.timestamp(o, m.expiry, end)
		m.timestamp(o, m.crlNextUpdate, update)
		return
	}
	m.profile(o, &st.NoProfile)
	for i := range st.Profiles {
		p := &st.Profiles[i]
		id := profileKey.String(text(p.ID))
		m.profile(o, &p.Handshakes, id)
		for n, end := range p.NotAfter {
			m.timestamp(o, m.expiry, end, id, certificateKey.Int(n))
		}
		m.timestamp(o, m.crlNextUpdate, p.CRLNextUpdate, id)
	}
}

// timestamp tells of a time, if there is one.
func (m *instruments) timestamp(o metric.Observer, gauge metric.Float64ObservableGauge, t time.Time, id ...attribute.KeyValue) {
	if !t.IsZero() {
		o.ObserveFloat64(gauge, unix(t), with(id...))
	}
}

// profile tells what became of handshakes: only what has occurred.
func (m *instruments) profile(o metric.Observer, st *ssl.HandshakeStats, id ...attribute.KeyValue) {
	id = id[:len(id):len(id)]
	m.byVersion(o, &st.Full, append(id, semconv.TLSResumed(false)))
	m.byVersion(o, &st.Resumed, append(id, semconv.TLSResumed(true)))
	for _, r := range st.Failed {
		o.ObserveInt64(m.handshakes, int64(r.Count), with(append(id, semconv.ErrorTypeKey.String(string(r.Reason)))...))
	}
	if st.Duration.Sum > 0 {
		o.ObserveFloat64(m.handshakeTime, st.Duration.Sum.Seconds(), with(id...))
	}
}

func (m *instruments) byVersion(o metric.Observer, c *ssl.VersionCounts, attributes []attribute.KeyValue) {
	attributes = attributes[:len(attributes):len(attributes)]
	for _, v := range []struct {
		name string
		n    uint64
	}{{"1.0", c.TLS10}, {"1.1", c.TLS11}, {"1.2", c.TLS12}, {"1.3", c.TLS13}} {
		if v.n > 0 {
			o.ObserveInt64(m.handshakes, int64(v.n), with(append(attributes, semconv.TLSProtocolVersion(v.name))...))
		}
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
