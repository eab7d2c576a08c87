package adminapi_test

import (
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
	"github.com/sallyport/sallyport/upstream"
)

// The status page of a large gateway: as it comes, with a filter that looks at every route,
// and as JSON. A page is bounded, whatever the size: the last column is its bytes.
func BenchmarkStatusPage(b *testing.B) {
	const names, routes, upstreams = 10_000, 100_000, 1000
	gw := must(gateway.New(nil))
	defer gw.Close()
	ca, people := ssltest.NewCA(b, "servers"), ssltest.NewCA(b, "people")
	pair := ca.Server("*.a.test")
	var c gateway.Change
	for i := range names {
		c.Put.Profiles = append(c.Put.Profiles, ssl.Config{
			ID: fmt.Sprintf("ssl-%d", i), Names: []string{fmt.Sprintf("n%d.a.test", i)}, Certificates: []ssl.KeyPair{pair},
			Client: &ssl.ClientAuth{CAPEM: people.PEM()},
		})
	}
	for i := range upstreams {
		c.Put.Upstreams = append(c.Put.Upstreams, upstream.Config{
			ID: fmt.Sprintf("upstream-%d", i), Nodes: []upstream.Node{{Host: "127.0.0.1", Port: 1, Weight: 1}, {Host: "127.0.0.2", Port: 1, Weight: 1}},
		})
	}
	for i := range routes {
		c.Put.Routes = append(c.Put.Routes, route.Config{
			ID: fmt.Sprintf("route-%d", i), Hosts: []string{fmt.Sprintf("n%d.a.test", i%names)}, Paths: []string{fmt.Sprintf("/service/%d/*", i)},
			Upstream: fmt.Sprintf("upstream-%d", i%upstreams),
		})
	}
	_, err := gw.Apply(c)
	require.NoError(b, err)
	h, err := adminapi.New(b.Context(), gw, &adminapi.Options{AllowUnauthenticated: true})
	require.NoError(b, err)
	page := h.StatusPage()
	for i := range 1000 { // some routes are used
		gw.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", fmt.Sprintf("http://n%d.a.test/service/%d/x", i*7%names, i*7), nil))
	}
	for name, query := range map[string]string{"plain": "", "filtered": "?routes=service/77&names=n77"} {
		for _, accept := range []string{"text/html", "application/json"} {
			b.Run(fmt.Sprintf("%s/%s", name, accept[len(accept)-4:]), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					rec := serveOne(page, pageRequest(query, "Accept", accept))
					if rec.Code != 200 {
						b.Fatal(rec.Code)
					}
					b.ReportMetric(float64(rec.Body.Len()), "bytes/page")
				}
			})
		}
	}
}
