package apisix

import (
	"strings"

	"github.com/sallyport/sallyport/route"
)

// service decodes what the routes of a service have from it.
func (d *decoding) service(o *Object) {
	doc := o.doc
	if has(doc, "script") {
		d.refuse("script", "this gateway runs no Lua")
	}
	o.Route = &route.Config{ID: o.ID, Hosts: stringsOf(doc, "hosts"), Headers: d.plugins(doc)}
	o.Route.WebSocket, _ = doc["enable_websocket"].(bool)
	d.target(o)
}

// target decodes where the requests of a route or a service go: to the upstream that
// it names, else to its own, else nowhere.
func (d *decoding) target(o *Object) {
	switch doc := o.doc; {
	case has(doc, "upstream_id"):
		o.Route.Upstream = IDString(doc["upstream_id"])
		if has(doc, "upstream") {
			d.warn("upstream", "has no effect: upstream_id goes before it")
		}
	case has(doc, "upstream"):
		o.Route.Upstream = InlineID(o.Kind, o.ID)
		d.in("upstream", func() { o.Upstream = d.upstream(o.Route.Upstream, objectOf(doc, "upstream")) })
	}
}

// Under returns the Config of a route that belongs to a service: what the route does not
// say itself, it takes from the service. A nil service has nothing. Upstream is empty if
// neither has one.
//
// The upstream of a route, named or its own, takes precedence over both of the service's:
// so it is in APISIX, which clears the service's upstream_id for a route's own upstream.
func (o *Object) Under(service *Object) *route.Config {
	c := *o.Route
	if service == nil {
		return &c
	}
	from := service.Route
	if len(c.Hosts) == 0 {
		c.Hosts = from.Hosts
	}
	if c.Upstream == "" {
		c.Upstream = from.Upstream
	}
	if !has(o.doc, "enable_websocket") {
		c.WebSocket = from.WebSocket
	}
	if FromService(o.doc, "Headers") {
		c.Headers = from.Headers
	}
	return &c
}

// FromService reports whether a route with this document has a field of which there may be
// warnings from its service, if it has one. A plugin of the route replaces that of the
// service, whole.
func FromService(doc map[string]any, field string) bool {
	return strings.HasPrefix(field, "Headers") && !has(objectOf(doc, "plugins"), Plugin)
}
