package gateway

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/internal/http1"
	"github.com/sallyport/sallyport/route"
)

// A RequestStart is a request at the point where it is known who asks for what. It and its
// methods may be used only during the call of [Trace.RequestBegun].
type RequestStart struct {
	// Event is what is known so far: what the client asked for, who it is, and either the route
	// and the upstream or the guard's refusal. Trace.RequestDone will get the same pointer.
	// Until then it must not be changed, nor read by other goroutines.
	Event *RequestEvent

	// TrustedProxy says that the peer is among [Options.TrustedProxies].
	TrustedProxy bool

	d *decision
}

// Values returns the values of a field of the client's header, in the order in which they
// came. They are unchecked.
func (r *RequestStart) Values(name string) []string {
	var values []string
	r.d.asker.fields(func(n, value string) bool {
		if strings.EqualFold(n, name) {
			values = append(values, strings.Clone(value))
		}
		return true
	})
	return values
}

// Names returns the names of the fields of the client's header, in lower case, without
// duplicates.
func (r *RequestStart) Names() []string {
	var names []string
	r.d.asker.fields(func(name, _ string) bool {
		names = append(names, strings.ToLower(name))
		return true
	})
	slices.Sort(names)
	return slices.Compact(names)
}

// Set sets a field of the header that the target of the request gets, in place of what the
// client says in it and of what was set before. An empty value leaves the field out. The
// changes of the route ([route.Config.Headers]) come later, and may replace it.
//
// Set ignores what cannot be a field: an invalid name, one that belongs to a single
// connection or to the framing of the request, and a value with a control character.
func (r *RequestStart) Set(name, value string) {
	if !http1.ValidName(name) || concernsOne(name) || kindOf(name) == fieldFraming || hasControl(value) {
		return
	}
	o := &r.d.header
	o.fields = slices.DeleteFunc(o.fields, func(f route.HeaderField) bool { return strings.EqualFold(f.Name, name) })
	o.replaced = append(o.replaced, name)
	if value != "" {
		o.fields = append(o.fields, route.HeaderField{Name: name, Value: value})
	}
}

// hasControl reports whether a value has a byte that no value of a field may have
// (RFC 9110, section 5.5).
func hasControl(value string) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
}

// replaces reports whether [Trace.RequestBegun] has set a field.
func (o *outgoing) replaces(name string) bool {
	return slices.ContainsFunc(o.replaced, func(n string) bool { return strings.EqualFold(n, name) })
}

// begun tells of a request whose way was found, or that has none. There must be an event.
func (s *Server) begun(d *decision, why *denial) {
	t := s.o.Trace
	if t == nil || t.RequestBegun == nil {
		return
	}
	e := d.visit.event
	e.note(d, why)
	start := &RequestStart{Event: e, TrustedProxy: d.header.from.trusted, d: d}
	returned := false
	defer func() {
		start.d = nil // the decision will be another request's
		if !returned {
			d.visit.err = errBegunPanicked // which goes on, and ends the request
		}
	}()
	if ctx := t.RequestBegun(d.asker.context(), start); ctx != nil {
		e.Context = context.WithoutCancel(ctx)
	}
	returned = true
}

// errBegunPanicked is what is told of a request in which [Trace.RequestBegun] panicked: it has
// no answer.
var errBegunPanicked = errors.New("gateway: Trace.RequestBegun panicked")

// contextOf returns the context of a request with the values that [Trace.RequestBegun] has
// given it. e may be nil.
func (e *RequestEvent) contextOf(ctx context.Context) context.Context {
	if e == nil || e.Context == nil {
		return ctx
	}
	return begunContext{ctx, e.Context}
}

// A begunContext is a context with the values of another, which never ends: context asks
// for its own keys as values, and would take one that ends for this one's parent.
type begunContext struct {
	context.Context
	values context.Context
}

func (c begunContext) Value(key any) any {
	if v := c.values.Value(key); v != nil {
		return v
	}
	return c.Context.Value(key)
}

// fields implements [asker]. The Host is no field to net/http.
func (t *turn) fields(yield func(name, value string) bool) {
	for i := range t.head.Len() {
		if name, value := t.head.FieldView(i); !strings.EqualFold(name, "host") && !yield(name, value) {
			return
		}
	}
}

// fields implements [asker].
func (a *httpAsker) fields(yield func(name, value string) bool) {
	for name, values := range a.r.Header {
		for _, value := range values {
			if !yield(name, value) {
				return
			}
		}
	}
}
