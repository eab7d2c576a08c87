package apisix

import (
	"github.com/sallyport/sallyport/route"
)

func (d *decoding) route(o *Object) {
	doc := o.doc
	d.refuseRoute(doc)
	c := &route.Config{
		ID:          o.ID,
		Hosts:       oneOrMany(doc, "host", "hosts"),
		Paths:       oneOrMany(doc, "uri", "uris"),
		Methods:     stringsOf(doc, "methods"),
		RemoteAddrs: oneOrMany(doc, "remote_addr", "remote_addrs"),
		Disabled:    !o.Enabled,
		Priority:    d.integer(doc, "priority"),
	}
	o.Route = c
	if vars := arrayOf(doc, "vars"); len(vars) > 0 {
		c.Vars = vars
	}
	c.Headers = d.plugins(doc)
	c.WebSocket, _ = doc["enable_websocket"].(bool)
	if has(doc, "timeout") {
		c.Timeout.Connect, c.Timeout.Send, c.Timeout.Read = timeouts(doc)
	}
	o.Service = IDString(doc["service_id"])
	d.target(o)
	if c.Upstream == "" && o.Service == "" && len(d.faults) == 0 {
		// APISIX takes a route without a target for the sake of its plugins.
		d.faults.add("a route needs one of upstream, upstream_id and service_id: without plugins nothing else can answer")
	}
}

// refuseRoute refuses what APISIX does for a route and we do not.
func (d *decoding) refuseRoute(doc map[string]any) {
	for _, property := range []string{"filter_func", "script", "script_id"} {
		if has(doc, property) {
			d.refuse(property, "this gateway runs no Lua")
		}
	}
	if has(doc, "plugin_config_id") {
		d.refuse("plugin_config_id", "it %s", unsupported)
	}
}
