package gatewayotel

import (
	"go.opentelemetry.io/otel/propagation"

	"github.com/sallyport/sallyport/gateway"
)

// A carrier is the header of a request: what is got is the client's, and what is set is for
// the target.
type carrier struct{ r *gateway.RequestStart }

var (
	_ propagation.TextMapCarrier = carrier{}
	_ propagation.ValuesGetter   = carrier{}
)

// Get implements [propagation.TextMapCarrier]. Of several fields the first counts, as in
// [propagation.HeaderCarrier].
func (c carrier) Get(name string) string {
	if values := c.r.Values(name); len(values) > 0 {
		return values[0]
	}
	return ""
}

// Values implements [propagation.ValuesGetter].
func (c carrier) Values(name string) []string { return c.r.Values(name) }

// Set implements [propagation.TextMapCarrier].
func (c carrier) Set(name, value string) { c.r.Set(name, value) }

// Keys implements [propagation.TextMapCarrier].
func (c carrier) Keys() []string { return c.r.Names() }
