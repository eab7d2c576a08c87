package gatewayotel

import (
	"context"

	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/sallyport/sallyport/gateway"
)

// ReaderOf returns a reader of the metrics that [Counters] makes of counts of any making.
func ReaderOf(st gateway.Stats) sdkmetric.Reader {
	reader := sdkmetric.NewManualReader()
	o := (&Options{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))}).withDefaults()
	m := &instruments{most: o.MaxObjects}
	all, err := m.make(meterOf(&o))
	if err != nil {
		panic(err)
	}
	_, err = meterOf(&o).RegisterCallback(func(_ context.Context, to metric.Observer) error {
		m.observe(to, &st)
		return nil
	}, all...)
	if err != nil {
		panic(err)
	}
	return reader
}
