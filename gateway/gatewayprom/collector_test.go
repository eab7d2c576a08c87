package gatewayprom_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/gatewayprom"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

var update = flag.Bool("update", false, "write testdata anew")

var started = time.Unix(1_700_000_000, 500_000_000)

// measured is a histogram with two buckets and what is beyond.
func measured(first, second, beyond uint64) upstream.Histogram {
	return upstream.Histogram{
		Bounds: []time.Duration{5 * time.Millisecond, time.Second},
		Counts: []uint64{first, second, beyond},
		Sum:    time.Duration(first)*time.Millisecond + time.Duration(second)*100*time.Millisecond + time.Duration(beyond)*2*time.Second,
		Count:  first + second + beyond,
	}
}

// busy are the counts of a gateway with something of everything.
func busy() gateway.Stats {
	return gateway.Stats{
		At: started.Add(time.Hour), Since: started,
		Config: gateway.ConfigStats{Revision: 3, Changed: started.Add(time.Minute), Profiles: 2, Routes: 2, Upstreams: 2},
		Connections: gateway.ConnectionStats{
			Accepted: 30, Open: 12,
			HTTP1: gateway.ProtocolStats{Accepted: 20, Open: 8, Idle: 6},
			HTTP2: gateway.ProtocolStats{Accepted: 5, Open: 1, Idle: 2}, // which was read later
		},
		TLS: ssl.Stats{
			All: ssl.HandshakeStats{ // a profile was deleted
				Full: ssl.VersionCounts{TLS10: 1, TLS12: 1, TLS13: 20}, Resumed: ssl.VersionCounts{TLS13: 4},
				Failed: []ssl.ReasonCount{
					{Reason: ssl.ReasonNoSNI, Count: 11}, {Reason: ssl.ReasonUnknownSNI, Count: 1}, {Reason: ssl.ReasonNoClientCert, Count: 2}, {Reason: ssl.ReasonUnknownCA, Count: 8},
				},
				Duration: ssl.Histogram(measured(3, 22, 1)),
			},
			Profiles: []ssl.ProfileStats{
				{ID: "partners", NotAfter: []time.Time{started.Add(48 * time.Hour), started.Add(24 * time.Hour)}, CRLNextUpdate: started.Add(6 * time.Hour), Handshakes: ssl.HandshakeStats{
					Full: ssl.VersionCounts{TLS12: 1, TLS13: 9}, Resumed: ssl.VersionCounts{TLS13: 4},
					Failed:   []ssl.ReasonCount{{Reason: ssl.ReasonNoClientCert, Count: 2}, {Reason: ssl.ReasonUnknownCA, Count: 7}},
					Duration: ssl.Histogram(measured(3, 10, 1)),
				}},
				{ID: "web\xff", NotAfter: []time.Time{started.Add(12 * time.Hour)}, Handshakes: ssl.HandshakeStats{
					Full:     ssl.VersionCounts{TLS10: 1, TLS13: 5},
					Duration: ssl.Histogram(measured(0, 6, 0)),
				}},
			},
			NoProfile: ssl.HandshakeStats{
				Failed: []ssl.ReasonCount{{Reason: ssl.ReasonNoSNI, Count: 11}, {Reason: ssl.ReasonUnknownSNI, Count: 1}},
			},
			TurnedAway: 4,
		},
		Routes: []gateway.RouteStats{
			{ID: "api", Upstream: "backend", RequestStats: gateway.RequestStats{Requests: gateway.StatusCounts{1, 0, 90, 0, 5, 4}, Duration: measured(50, 40, 10)}},
			{ID: "hello", RequestStats: gateway.RequestStats{Requests: gateway.StatusCounts{1: 2}}},
		},
		Unrouted:  gateway.RequestStats{Requests: gateway.StatusCounts{0, 0, 0, 0, 9, 0}, Duration: measured(9, 0, 0)},
		NotFound:  6,
		Malformed: 2,
		Refused: []gateway.RefusalCount{
			{Status: 400, Reason: ssl.ReasonNoClientCert, Count: 1},
			{Status: 421, Reason: ssl.ReasonMisdirected, Count: 2},
		},
		RefusalsTotal: 24,
		Upstreams: []gateway.UpstreamStats{
			{ID: "backend", Stats: upstream.Stats{Answers: gateway.StatusCounts{1, 0, 90, 0, 0, 4}, Wait: measured(60, 30, 5), Retries: 3},
				Nodes: []upstream.NodeStatus{
					{Address: "10.0.0.1:80", Requests: 60, Failures: 1, InFlight: 2},
					{Address: "10.0.0.2:80", Requests: 30, Failures: 30, Health: upstream.Unhealthy},
					{Address: "10.0.0.3:80", Requests: 8, Failures: 8, EjectedUntil: started.Add(2 * time.Hour)},
				}},
			{ID: "idle", Nodes: []upstream.NodeStatus{{Address: "10.0.0.1:80", Health: upstream.MostlyHealthy}}},
		},
		Limits: []gateway.LimitCount{{Limit: gateway.LimitConnections, Count: 1}, {Limit: gateway.LimitHeaderBytes}},
	}
}

// exposition is what Prometheus gets.
func exposition(t testing.TB, c prometheus.Collector) string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(c))
	families, err := registry.Gather()
	require.NoError(t, err)
	var b bytes.Buffer
	for _, f := range families {
		_, err := expfmt.MetricFamilyToText(&b, f)
		require.NoError(t, err)
	}
	return strings.ReplaceAll(b.String(), runtime.Version(), "go1.x")
}

// Each metric as Prometheus reads it, with a series for each object and without.
func TestExposition(t *testing.T) {
	for name, o := range map[string]*gatewayprom.Options{"each": nil, "sums": {MaxObjects: 1}} {
		t.Run(name, func(t *testing.T) {
			got, file := exposition(t, gatewayprom.NewCollectorOf(busy(), o)), "testdata/"+name+".txt"
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, string(want), got)
		})
	}
}

// Names, units and texts are as Prometheus wants them.
func TestLint(t *testing.T) {
	problems, err := testutil.CollectAndLint(gatewayprom.NewCollectorOf(busy(), nil))
	require.NoError(t, err)
	require.Empty(t, problems)
}

// The documentation has every metric that there is, with its type and its labels, and no
// other.
func TestTable(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	documented := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^//\t(sallyport_\w+) +(counter|gauge|histogram)\b(.*)$`).FindAllStringSubmatch(string(doc), -1) {
		documented[m[1]] = m[2] + " " + m[3]
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(gatewayprom.NewCollectorOf(busy(), nil))
	families, err := registry.Gather()
	require.NoError(t, err)
	for _, f := range families {
		text, ok := documented[f.GetName()]
		require.True(t, ok, "%s is not documented", f.GetName())
		require.True(t, strings.HasPrefix(text, strings.ToLower(f.GetType().String())), "%s: %s", f.GetName(), text)
		for _, l := range f.GetMetric()[0].GetLabel() {
			require.Regexp(t, `\b`+l.GetName()+`\b`, text, f.GetName())
		}
		delete(documented, f.GetName())
	}
	require.Empty(t, documented)
}

// A gateway with many objects is shown in few series, and sums are the same either way.
func TestManyObjects(t *testing.T) {
	var st gateway.Stats
	st.TLS.All = ssl.HandshakeStats{Full: ssl.VersionCounts{TLS13: 2000}, Failed: []ssl.ReasonCount{{Reason: ssl.ReasonExpired, Count: 2000}}, Duration: ssl.Histogram(measured(2000, 0, 0))}
	for i := range 2000 {
		id := fmt.Sprint(i)
		st.TLS.Profiles = append(st.TLS.Profiles, ssl.ProfileStats{ID: id, NotAfter: []time.Time{started}, Handshakes: ssl.HandshakeStats{
			Full: ssl.VersionCounts{TLS13: 1}, Failed: []ssl.ReasonCount{{Reason: ssl.ReasonExpired, Count: 1}}, Duration: ssl.Histogram(measured(1, 0, 0)),
		}})
		st.Routes = append(st.Routes, gateway.RouteStats{ID: id, RequestStats: gateway.RequestStats{Requests: gateway.StatusCounts{2: 1}, Duration: measured(0, 1, 0)}})
		st.Upstreams = append(st.Upstreams, gateway.UpstreamStats{ID: id, Stats: upstream.Stats{Answers: gateway.StatusCounts{2: 1}, Wait: measured(0, 1, 0)}, Nodes: []upstream.NodeStatus{{Address: "10.0.0.1:80", Requests: 1, Failures: 1, InFlight: 1}}})
	}
	few := gatewayprom.NewCollectorOf(st, nil)
	require.Less(t, testutil.CollectAndCount(few), 100)
	all := gatewayprom.NewCollectorOf(st, &gatewayprom.Options{MaxObjects: -1})
	require.Greater(t, testutil.CollectAndCount(all), 2000*20)
	for _, sample := range []string{
		`sallyport_http_requests_total{code="2xx",route=""} 2000`,
		`sallyport_http_request_duration_seconds_bucket{route="",le="1"} 2000`,
		`sallyport_tls_handshake_failures_total{profile="",reason="expired"} 2000`,
		`sallyport_tls_handshakes_total{profile="",resumed="false",version="1.3"} 2000`,
		`sallyport_upstream_requests_total{code="2xx",upstream=""} 2000`,
		`sallyport_upstream_nodes{state="healthy",upstream=""} 2000`,
		`sallyport_upstream_node_requests_total{node="",upstream=""} 2000`,
		`sallyport_upstream_node_failures_total{node="",upstream=""} 2000`,
		`sallyport_upstream_node_requests_in_flight{node="",upstream=""} 2000`,
	} {
		require.True(t, strings.Contains(exposition(t, few), sample+"\n"), sample)
	}
}

// If only the nodes are too many, those of each upstream are added up.
func TestManyNodes(t *testing.T) {
	got := exposition(t, gatewayprom.NewCollectorOf(busy(), &gatewayprom.Options{MaxObjects: 3}))
	for _, sample := range []string{
		`sallyport_upstream_node_requests_total{node="",upstream="backend"} 98`,
		`sallyport_upstream_node_failures_total{node="",upstream="backend"} 39`,
		`sallyport_upstream_node_requests_in_flight{node="",upstream="backend"} 2`,
		`sallyport_upstream_node_requests_total{node="",upstream="idle"} 0`,
		`sallyport_upstream_nodes{state="healthy",upstream="backend"} 1`,
	} {
		require.Contains(t, got, sample+"\n")
	}
	require.NotContains(t, got, "sallyport_upstream_node_up")
}

// must is for what is known to be right when the test is written.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
