package gatewayotel_test

import (
	"context"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/trace"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/gatewayotel"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
	"github.com/sallyport/sallyport/upstream"
)

// collect returns what an SDK collects, by name.
func collect(t *testing.T, reader sdkmetric.Reader) map[string]metricdata.Metrics {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(context.Background(), &all))
	byName := map[string]metricdata.Metrics{}
	for _, scope := range all.ScopeMetrics {
		require.Equal(t, "https://opentelemetry.io/schemas/1.43.0", scope.Scope.SchemaURL)
		for _, m := range scope.Metrics {
			byName[m.Name] = m
		}
	}
	return byName
}

// ints returns the points of a metric by their attributes.
func ints(t *testing.T, m metricdata.Metrics) map[attribute.Set]int64 {
	t.Helper()
	points := map[attribute.Set]int64{}
	switch data := m.Data.(type) {
	case metricdata.Sum[int64]:
		require.Equal(t, metricdata.CumulativeTemporality, data.Temporality)
		for _, p := range data.DataPoints {
			points[p.Attributes] = p.Value
		}
	case metricdata.Gauge[int64]:
		for _, p := range data.DataPoints {
			points[p.Attributes] = p.Value
		}
	default:
		t.Fatalf("%s is a %T", m.Name, m.Data)
	}
	return points
}

func set(attributes ...attribute.KeyValue) attribute.Set { return attribute.NewSet(attributes...) }

// A request is one point of http.server.request.duration, and its trace is its exemplar.
func TestDurations(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	durations, err := gatewayotel.Durations(&gatewayotel.Options{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
	require.NoError(t, err)
	o := &gateway.Options{Trace: durations}
	h := newHarness(t, o, nil)
	client := ssltest.Client(t, h.front, "b.test")
	first := h.ask(client, "GET", "https://b.test/users/7", nil)
	second := h.ask(client, "GET", "https://b.test/users/8", nil)
	gone := h.ask(client, "PROPFIND", "https://b.test/gone", nil)
	require.Equal(t, 502, gone.status)

	o.Trace.RequestDone(&gateway.RequestEvent{Status: http.StatusSwitchingProtocols, Took: time.Hour})
	<-h.ended

	m := collect(t, reader)["http.server.request.duration"]
	require.Equal(t, "s", m.Unit)
	data := m.Data.(metricdata.Histogram[float64])
	require.Len(t, data.DataPoints, 2)
	for _, p := range data.DataPoints {
		if p.Attributes.HasValue("error.type") {
			require.Equal(t, set(
				attribute.String("http.request.method", "_OTHER"), attribute.String("url.scheme", "https"), attribute.String("network.protocol.version", "2"),
				attribute.Int("http.response.status_code", 502), attribute.String("http.route", "/gone"), attribute.String("error.type", "502"),
			), p.Attributes)
			require.InDelta(t, gone.event.Took.Seconds(), p.Sum, 1e-9)
			continue
		}
		require.Equal(t, set(
			attribute.String("http.request.method", "GET"), attribute.String("url.scheme", "https"), attribute.String("network.protocol.version", "2"),
			attribute.Int("http.response.status_code", 200), attribute.String("http.route", "/users/*id"),
		), p.Attributes)
		require.EqualValues(t, 2, p.Count)
		require.Equal(t, []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}, p.Bounds)
		require.NotEmpty(t, p.Exemplars)
		traces := []trace.TraceID{first.span.SpanContext().TraceID(), second.span.SpanContext().TraceID()}
		for _, e := range p.Exemplars {
			require.Contains(t, traces, trace.TraceID(e.TraceID))
		}
	}
}

// The counts of real handshakes and requests.
func TestCounters(t *testing.T) {
	h := newHarness(t, nil, nil)
	reader := sdkmetric.NewManualReader()
	registration, err := gatewayotel.Counters(h.gw, &gatewayotel.Options{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
	require.NoError(t, err)
	_, err = ssltest.Client(t, h.front, "a.test").Get("https://a.test/")
	require.Error(t, err)
	require.Equal(t, ssl.ReasonNoClientCert, (<-h.shaken).Err.Reason)
	client := ssltest.Client(t, h.front, "a.test", h.people.Client("alice"))
	h.ask(client, "GET", "https://a.test/users/7", nil)
	h.ask(client, "GET", "https://a.test/users/8", nil)
	h.ask(client, "GET", "https://a.test/nobody", nil)
	<-h.shaken

	m := collect(t, reader)
	partners, users, origin := attribute.String("sallyport.profile.id", "partners"), attribute.String("sallyport.route.id", "users"), attribute.String("sallyport.upstream.id", "origin")
	require.Equal(t, map[attribute.Set]int64{
		set(partners, attribute.String("error.type", "no_client_cert")):                                      1,
		set(partners, attribute.String("tls.protocol.version", "1.3"), attribute.Bool("tls.resumed", false)): 1,
	}, ints(t, m["sallyport.tls.handshakes"]))
	require.Equal(t, map[attribute.Set]int64{
		set(users, attribute.String("sallyport.http.status_class", "2xx")): 2,
		set(attribute.String("sallyport.http.status_class", "4xx")):        1,
	}, ints(t, m["sallyport.http.requests"]))
	require.Equal(t, map[attribute.Set]int64{set(origin, attribute.String("sallyport.http.status_class", "2xx")): 2}, ints(t, m["sallyport.upstream.requests"]))
	require.Equal(t, map[attribute.Set]int64{set(): 1}, ints(t, m["sallyport.http.requests.unrouted"]))
	require.Equal(t, map[attribute.Set]int64{set(): 1}, ints(t, m["sallyport.config.changes"]))
	require.EqualValues(t, 2, ints(t, m["sallyport.config.objects"])[set(attribute.String("sallyport.object.kind", "upstream"))])
	require.EqualValues(t, 1, ints(t, m["sallyport.upstream.nodes"])[set(origin, attribute.String("sallyport.node.state", "healthy"))])
	expiry := m["sallyport.tls.certificate.expiry"].Data.(metricdata.Gauge[float64])
	require.Len(t, expiry.DataPoints, 2)
	for _, p := range expiry.DataPoints {
		require.WithinDuration(t, time.Now().Add(24*time.Hour), time.Unix(int64(p.Value), 0), 2*time.Hour)
	}

	require.NoError(t, registration.Unregister())
	require.Empty(t, collect(t, reader))
}

// Where there are too many objects, they are told as one.
func TestCountersOfMany(t *testing.T) {
	h := newHarness(t, nil, nil)
	reader := sdkmetric.NewManualReader()
	_, err := gatewayotel.Counters(h.gw, &gatewayotel.Options{MaxObjects: 1, MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
	require.NoError(t, err)
	h.ask(ssltest.Client(t, h.front, "a.test", h.people.Client("alice")), "GET", "https://a.test/users/7", nil)
	h.ask(ssltest.Client(t, h.front, "b.test"), "GET", "https://b.test/local", nil)
	<-h.shaken
	<-h.shaken
	m := collect(t, reader)
	require.Equal(t, map[attribute.Set]int64{set(attribute.String("tls.protocol.version", "1.3"), attribute.Bool("tls.resumed", false)): 2}, ints(t, m["sallyport.tls.handshakes"]))
	class := attribute.String("sallyport.http.status_class", "2xx")
	require.Equal(t, map[attribute.Set]int64{set(class): 2}, ints(t, m["sallyport.http.requests"]))
	require.Equal(t, map[attribute.Set]int64{set(class): 1}, ints(t, m["sallyport.upstream.requests"]))
	require.EqualValues(t, 2, ints(t, m["sallyport.upstream.nodes"])[set(attribute.String("sallyport.node.state", "healthy"))])
	require.Len(t, m["sallyport.tls.certificate.expiry"].Data.(metricdata.Gauge[float64]).DataPoints, 1)
}

// The documentation has every metric that there can be, and what it says of each is so.
func TestTable(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	type row struct{ kind, unit, attributes string }
	documented := map[string]row{}
	for _, m := range regexp.MustCompile(`(?m)^//\t(sallyport\.[\w.]+) +(counter|gauge|updowncounter) +(\S+)(.*)$`).FindAllStringSubmatch(string(doc), -1) {
		documented[m[1]] = row{m[2], m[3], m[4]}
	}
	for name, m := range collect(t, gatewayotel.ReaderOf(busy())) {
		told, ok := documented[name]
		require.True(t, ok, "%s is not documented", name)
		delete(documented, name)
		require.Equal(t, m.Unit, told.unit, name)
		require.NotEmpty(t, m.Description)
		kind, sets := "gauge", []attribute.Set{}
		switch data := m.Data.(type) {
		case metricdata.Sum[int64]:
			kind = map[bool]string{true: "counter", false: "updowncounter"}[data.IsMonotonic]
			for _, p := range data.DataPoints {
				sets = append(sets, p.Attributes)
			}
		case metricdata.Sum[float64]:
			kind = map[bool]string{true: "counter", false: "updowncounter"}[data.IsMonotonic]
			for _, p := range data.DataPoints {
				sets = append(sets, p.Attributes)
			}
		case metricdata.Gauge[int64]:
			for _, p := range data.DataPoints {
				sets = append(sets, p.Attributes)
			}
		case metricdata.Gauge[float64]:
			for _, p := range data.DataPoints {
				sets = append(sets, p.Attributes)
			}
		}
		require.Equal(t, kind, told.kind, name)
		require.NotEmpty(t, sets, name)
		for _, s := range sets {
			for _, a := range s.ToSlice() {
				require.True(t, strings.Contains(told.attributes, string(a.Key)), "%s: %s is not documented", name, a.Key)
			}
		}
	}
	require.Empty(t, documented)
}

// busy are the counts of a gateway with something of everything.
func busy() gateway.Stats {
	now := time.Now()
	took := upstream.Histogram{Bounds: []time.Duration{time.Second}, Counts: []uint64{1, 0}, Sum: time.Second, Count: 1}
	return gateway.Stats{
		Config:      gateway.ConfigStats{Revision: 1, Changed: now, Profiles: 1, Routes: 1, Upstreams: 1},
		Connections: gateway.ConnectionStats{Accepted: 1, Open: 1, HTTP1: gateway.ProtocolStats{Accepted: 1, Open: 1, Idle: 1}},
		TLS: ssl.Stats{TurnedAway: 1, Profiles: []ssl.ProfileStats{{ID: "1", NotAfter: []time.Time{now}, CRLNextUpdate: now, Handshakes: ssl.HandshakeStats{
			Full: ssl.VersionCounts{TLS13: 1}, Resumed: ssl.VersionCounts{TLS12: 1}, Failed: []ssl.ReasonCount{{Reason: ssl.ReasonExpired, Count: 1}}, Duration: ssl.Histogram(took),
		}}}},
		Routes:    []gateway.RouteStats{{ID: "1", RequestStats: gateway.RequestStats{Requests: gateway.StatusCounts{2: 1}, Duration: took}}},
		NotFound:  1,
		Malformed: 1,
		Refused:   []gateway.RefusalCount{{Status: 421, Reason: ssl.ReasonMisdirected, Count: 1}},
		Limits:    []gateway.LimitCount{{Limit: gateway.LimitConnections, Count: 1}},
		Upstreams: []gateway.UpstreamStats{{ID: "1", Stats: upstream.Stats{Answers: gateway.StatusCounts{2: 1}, Wait: took, Retries: 1}, Nodes: []upstream.NodeStatus{{Address: "10.0.0.1:80"}}}},
	}
}
