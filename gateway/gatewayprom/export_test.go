package gatewayprom

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sallyport/sallyport/gateway"
)

// NewCollectorOf is NewCollector for counts of any making.
func NewCollectorOf(stats gateway.Stats, o *Options) prometheus.Collector {
	gw, err := gateway.New(nil)
	if err != nil {
		panic(err)
	}
	c := NewCollector(gw, o).(*collector)
	c.stats = func() gateway.Stats { return stats }
	c.version = "v1.2.3"
	return c
}
