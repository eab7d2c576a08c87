package gatewayotel

import (
	"strings"

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

// Get implements [propagation.TextMapCarrier]. Several fields are one list (RFC 9110,
// section 5.2), as W3C Trace Context has it for tracestate; two of traceparent are none.
func (c carrier) Get(name string) string { return strings.Join(c.r.Values(name), ",") }

// Values implements [propagation.ValuesGetter].
func (c carrier) Values(name string) []string { return c.r.Values(name) }

// Set implements [propagation.TextMapCarrier].
func (c carrier) Set(name, value string) { c.r.Set(name, value) }

// Keys implements [propagation.TextMapCarrier].
func (c carrier) Keys() []string { return c.r.Names() }
