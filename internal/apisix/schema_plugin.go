package apisix

// PluginSchema returns the schema of [Plugin] as JSON Schema (draft 7). It is of what this
// gateway takes, where APISIX's has more.
func PluginSchema() map[string]any { return pluginSchema.json() }

// pluginSchema is for those who ask for it: what decodes the plugin has more to say about
// what is wrong. TestPluginSchema holds the two together.
var pluginSchema = func() *schema {
	fields := &schema{
		typ:    "object",
		values: &schema{anyOf: []*schema{stringSchema, {typ: "number"}}},
	}
	edits := &schema{
		typ: "object",
		properties: map[string]*schema{
			"set":    fields,
			"add":    fields,
			"remove": {typ: "array", items: stringSchema},
		},
		closed: true,
	}
	return &schema{
		typ: "object",
		properties: map[string]*schema{
			"headers": {anyOf: []*schema{edits, fields}},
			"_meta": {
				typ:        "object",
				properties: map[string]*schema{"disable": booleanSchema},
				closed:     true,
			},
			rawTarget: booleanSchema,
		},
		closed: true,
	}
}()
