package apisix

import (
	"github.com/sallyport/sallyport/route"
)

// Plugin is the only plugin that this gateway supports in part: its headers, by which
// APISIX's users pass on the client's identity.
const Plugin = "proxy-rewrite"

// rawTarget is the plugin's property for forwarding the target of a request as it came.
const rawTarget = "use_real_request_uri_unsafe"

// plugins decodes the plugins of a route or a service, and refuses by name what this
// gateway does not have.
func (d *decoding) plugins(doc map[string]any) (edits route.HeaderEdits) {
	plugins := objectOf(doc, "plugins")
	for _, name := range sortedKeys(plugins) {
		if len(d.faults) > maxFaults {
			break
		}
		if name != Plugin {
			d.refuse("plugins", "unknown plugin [%s]: this gateway has no plugins but the headers of %s", show(name), Plugin)
			continue
		}
		faults, path := d.faults, d.path
		d.faults, d.path = nil, path+"plugins."+Plugin+"."
		if conf, ok := asObject(plugins[name]); ok {
			edits = d.proxyRewrite(conf)
		} else {
			d.faults.add("wrong type: expected object, got %s", typeName(plugins[name]))
		}
		d.faults, d.path = append(faults, d.faults.in("failed to check the configuration of plugin "+Plugin+" err: ")...), path
	}
	return edits
}

// proxyRewrite decodes the configuration of the plugin.
func (d *decoding) proxyRewrite(conf map[string]any) (edits route.HeaderEdits) {
	disabled := false
	for _, name := range sortedKeys(conf) {
		switch name {
		case "headers":
			edits = d.headerEdits(conf[name])
		case "_meta":
			if meta, ok := asObject(conf[name]); ok {
				d.in(name, func() { disabled = d.pluginMeta(meta) })
			} else {
				d.refuse(name, "wrong type: expected object, got %s", typeName(conf[name]))
			}
		case rawTarget:
			// Set, it asks for what this gateway does with every request. APISIX up to 3.13
			// stored the default, false, with every configuration of the plugin.
			if _, ok := conf[name].(bool); !ok {
				d.refuse(name, "wrong type: expected boolean, got %s", typeName(conf[name]))
			}
		default:
			d.refuse(name, "this gateway changes headers alone")
		}
	}
	if disabled {
		return route.HeaderEdits{}
	}
	return edits
}

// pluginMeta reports whether a plugin is switched off.
func (d *decoding) pluginMeta(meta map[string]any) (disabled bool) {
	for _, name := range sortedKeys(meta) {
		if v, ok := meta[name].(bool); ok && name == "disable" {
			disabled = v
			continue
		}
		d.refuse(name, "it %s", unsupported)
	}
	return disabled
}

// headerEdits decodes headers in both of their forms: set, add and remove, or, from
// before there were these, names and values alone, which are set.
func (d *decoding) headerEdits(v any) (edits route.HeaderEdits) {
	headers, ok := asObject(v)
	if !ok {
		d.refuse("headers", "wrong type: expected object, got %s", typeName(v))
		return edits
	}
	if !isEditsForm(headers) {
		edits.Set = d.headerFields("headers", headers)
		return edits
	}
	d.in("headers", func() {
		edits.Set = d.headerFields("set", objectOf(headers, "set"))
		edits.Add = d.headerFields("add", objectOf(headers, "add"))
		for i, name := range arrayOf(headers, "remove") {
			s, ok := name.(string)
			if !ok {
				d.refuse("remove", "failed to validate item %d: wrong type: expected string, got %s", i+1, typeName(name))
			}
			edits.Remove = append(edits.Remove, s)
		}
	})
	return edits
}

// isEditsForm reports whether headers are set, add and remove. "set" with a text is
// the field of that name.
func isEditsForm(headers map[string]any) bool {
	for name, v := range headers {
		_, isObject := asObject(v)
		_, isArray := asArray(v)
		if ok := (name == "set" || name == "add") && isObject || name == "remove" && isArray; !ok {
			return false
		}
	}
	return true
}

// headerFields returns the fields of an object, sorted by name.
func (d *decoding) headerFields(property string, m map[string]any) (list []route.HeaderField) {
	for _, name := range sortedKeys(m) {
		value := stringOf(m, name)
		if n, ok := number(m[name]); ok {
			value = luaNumber(n)
		} else if _, ok := m[name].(string); !ok {
			d.refuse(property, "%s: wrong type: expected string or number, got %s", quote(name), typeName(m[name]))
			if len(d.faults) > maxFaults {
				break
			}
		}
		list = append(list, route.HeaderField{Name: name, Value: value})
	}
	return list
}
