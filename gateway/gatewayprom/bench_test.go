package gatewayprom_test

import (
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/gatewayprom"
)

// What a scrape costs the process beside reading the counts: with a series for each route,
// and where they are added up.
func BenchmarkCollect(b *testing.B) {
	for _, c := range []struct{ routes, most int }{{1000, 1000}, {100_000, 1000}} {
		b.Run(fmt.Sprintf("routes=%d/most=%d", c.routes, c.most), func(b *testing.B) {
			st := gateway.Stats{}
			for i := range c.routes {
				st.Routes = append(st.Routes, gateway.RouteStats{ID: fmt.Sprint(i), RequestStats: gateway.RequestStats{
					Requests: gateway.StatusCounts{2: 1}, Duration: measured(1, 0, 0),
				}})
			}
			registry := prometheus.NewRegistry()
			registry.MustRegister(gatewayprom.NewCollectorOf(st, &gatewayprom.Options{MaxObjects: c.most}))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := registry.Gather(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
