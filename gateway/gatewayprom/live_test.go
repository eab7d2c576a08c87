package gatewayprom_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/gatewayprom"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
	"github.com/sallyport/sallyport/upstream"
)

// Real handshakes and real requests, as Prometheus sees them.
func TestLive(t *testing.T) {
	servers, partners, strangers := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "partners"), ssltest.NewCA(t, "strangers")
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		w.WriteHeader(status)
	}))
	defer origin.Close()
	host, port, err := net.SplitHostPort(origin.Listener.Addr().String())
	require.NoError(t, err)
	number, err := strconv.Atoi(port)
	require.NoError(t, err)

	// What is over is counted before it is told of.
	handshakes, requests := make(chan struct{}, 100), make(chan struct{}, 100)
	gw := must(gateway.New(&gateway.Options{
		TLS:   ssl.Options{Trace: &ssl.Trace{HandshakeDone: func(*ssl.HandshakeEvent) { handshakes <- struct{}{} }}},
		Trace: &gateway.Trace{RequestDone: func(*gateway.RequestEvent) { requests <- struct{}{} }},
	}))
	defer gw.Close()
	pair := func(name string) []ssl.KeyPair { return []ssl.KeyPair{servers.Server(name)} }
	_, err = gw.Apply(gateway.Change{Put: gateway.Config{
		Profiles: []ssl.Config{
			{ID: "partners", Names: []string{"partners.test"}, Certificates: pair("partners.test"), Client: &ssl.ClientAuth{CAPEM: partners.PEM()}},
			{ID: "web", Names: []string{"www.test"}, Certificates: pair("www.test")},
		},
		Upstreams: []upstream.Config{{ID: "backend", Nodes: []upstream.Node{{Host: host, Port: number, Weight: 1}}}},
		Routes: []route.Config{
			{ID: "api", Hosts: []string{"partners.test"}, Paths: []string{"/*"}, Upstream: "backend"},
			{ID: "hello", Hosts: []string{"www.test"}, Paths: []string{"/hello"}, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, "hello")
			})},
		},
	}})
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- gw.ServeTLS(l) }()

	get := func(client *http.Client, url string, status int) {
		t.Helper()
		res, err := client.Get(url)
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		require.Equal(t, status, res.StatusCode)
		<-requests
	}
	alice := ssltest.Client(t, l, "partners.test", partners.Client("alice"))
	get(alice, "https://partners.test/200", 200)
	get(alice, "https://partners.test/204", 204)
	get(alice, "https://partners.test/503", 503)
	<-handshakes
	www := ssltest.Client(t, l, "www.test")
	get(www, "https://www.test/hello", 200)
	get(www, "https://www.test/none", 404)
	get(www, "https://partners.test/200", 421) // over a connection of its own, made for www.test
	<-handshakes
	<-handshakes
	refused := func(client *http.Client, url string) {
		t.Helper()
		_, err := client.Get(url)
		require.Error(t, err)
		<-handshakes
	}
	refused(ssltest.Client(t, l, "partners.test"), "https://partners.test/200")
	refused(ssltest.Client(t, l, "partners.test", strangers.Client("mallory")), "https://partners.test/200")
	refused(ssltest.Client(t, l, "partners.test", strangers.Client("mallory")), "https://partners.test/200")
	refused(ssltest.Client(t, l, "<script>.test"), "https://partners.test/200")

	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(gatewayprom.NewCollector(gw, nil))
	want, err := os.Open("testdata/live.txt")
	require.NoError(t, err)
	defer want.Close()
	require.NoError(t, testutil.GatherAndCompare(registry, want,
		"sallyport_config_changes_total", "sallyport_config_objects", "sallyport_connections_accepted_total",
		"sallyport_http_requests_total", "sallyport_http_requests_unrouted_total", "sallyport_route_info", "sallyport_upstream_requests_total"))
	all := exposition(t, gatewayprom.NewCollector(gw, nil))
	for _, sample := range []string{
		`sallyport_tls_handshake_failures_total{profile="partners",reason="no_client_cert"} 1`,
		`sallyport_tls_handshake_failures_total{profile="partners",reason="unknown_ca"} 2`,
		`sallyport_tls_handshake_failures_total{profile="",reason="unknown_sni"} 1`,
		`sallyport_tls_handshakes_total{profile="partners",resumed="false",version="1.3"} 1`,
		`sallyport_tls_handshakes_total{profile="web",resumed="false",version="1.3"} 2`,
		`sallyport_tls_handshake_duration_seconds_count{profile="partners"} 1`,
		`sallyport_http_request_duration_seconds_count{route="api"} 3`,
		`sallyport_http_requests_refused_total{reason="misdirected"} 1`,
		`sallyport_upstream_response_wait_seconds_count{upstream="backend"} 3`,
		`sallyport_upstream_node_requests_total{node="` + origin.Listener.Addr().String() + `",upstream="backend"} 3`,
	} {
		require.True(t, strings.Contains(all, sample+"\n"), sample)
	}
	require.NotContains(t, all, "script", "a client's words are no label")
	require.Regexp(t, `(?m)^sallyport_tls_certificate_expiry_timestamp_seconds\{certificate="0",profile="partners"\} 1\.\d+e\+09$`, all)

	// What is deleted is gone, and a closed gateway can still be read.
	_, err = gw.Apply(gateway.Change{Delete: gateway.IDs{Routes: []string{"hello"}}})
	require.NoError(t, err)
	require.NoError(t, gw.Close())
	require.ErrorIs(t, <-served, http.ErrServerClosed)
	all = exposition(t, gatewayprom.NewCollector(gw, nil))
	require.NotContains(t, all, `route="hello"`)
	require.Contains(t, all, `sallyport_http_requests_total{code="2xx",route="api"} 2`+"\n")
}
