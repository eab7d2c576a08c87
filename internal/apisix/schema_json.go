package apisix

// Schema returns the schema of a kind as JSON Schema (draft 7).
func Schema(kind Kind) map[string]any { return schemas[kind].json() }

// json writes a schema as JSON Schema does.
func (s *schema) json() map[string]any {
	out := map[string]any{}
	set := func(name string, v any, is bool) {
		if is {
			out[name] = v
		}
	}
	set("type", s.typ, s.typ != "")
	set("enum", s.enum, s.enum != nil)
	set("minLength", float64(s.minLength), s.minLength > 0)
	set("maxLength", float64(s.maxLength), s.maxLength > 0)
	if s.pattern != nil {
		out["pattern"] = s.pattern.String()
	}
	if s.format != nil {
		out["anyOf"] = []any{
			map[string]any{"format": "ipv4"},
			map[string]any{"format": "ipv6"},
			map[string]any{"pattern": "^[0-9a-fA-F.:]+/[0-9]{1,3}$"},
		}
	}
	for name, bound := range map[string]*float64{"minimum": s.minimum, "maximum": s.maximum, "exclusiveMinimum": s.exclusiveMinimum} {
		if bound != nil {
			out[name] = *bound
		}
	}
	if s.items != nil {
		out["items"] = s.items.json()
	}
	set("minItems", float64(s.minItems), s.minItems > 0)
	set("maxItems", float64(s.maxItems), s.maxItems > 0)
	set("uniqueItems", true, s.uniqueItems)
	setSchemas(out, "properties", s.properties)
	set("required", texts(s.required), s.required != nil)
	if s.values != nil {
		out["patternProperties"] = map[string]any{".*": s.values.json()}
	}
	setSchemas(out, "dependencies", s.dependent)
	set("additionalProperties", false, s.closed)
	for name, list := range map[string][]*schema{"allOf": s.allOf, "anyOf": s.anyOf, "oneOf": s.oneOf} {
		if list == nil {
			continue
		}
		var of []any
		for _, sub := range list {
			of = append(of, sub.json())
		}
		out[name] = of
	}
	for name, sub := range map[string]*schema{"if": s.when, "then": s.then, "else": s.orElse, "not": s.not} {
		if sub != nil {
			out[name] = sub.json()
		}
	}
	if s.reference {
		// The rules above are for what is no reference and no placeholder.
		alternatives := []any{out, map[string]any{"type": "string", "pattern": `^\$(secret|[eE][nN][vV])://`}}
		if s.placeholder {
			alternatives = append(alternatives, map[string]any{"enum": []any{"[redacted]"}})
		}
		return map[string]any{"anyOf": alternatives}
	}
	return out
}

func setSchemas(out map[string]any, name string, of map[string]*schema) {
	if of == nil {
		return
	}
	m := make(map[string]any, len(of))
	for property, sub := range of {
		m[property] = sub.json()
	}
	out[name] = m
}

func texts(list []string) (out []any) {
	for _, s := range list {
		out = append(out, s)
	}
	return out
}
