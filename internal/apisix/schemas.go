package apisix

import (
	"net/netip"
	"regexp"
	"strings"
)

// This file holds the schemas of the documents, as APISIX has them in its
// schema_def.lua. Its rules on the properties together are at the end of each.

var schemas = map[Kind]*schema{
	Routes:    routeSchema,
	Services:  serviceSchema,
	SSLs:      sslSchema,
	Upstreams: upstreamSchema,
}

var (
	idPattern   = regexp.MustCompile(`^[a-zA-Z0-9-_.]+$`)
	hostPattern = regexp.MustCompile(`^\*$|^\*?[0-9a-zA-Z-._\[\]:]+$`)
)

var (
	booleanSchema   = &schema{typ: "boolean"}
	integerSchema   = &schema{typ: "integer"}
	objectSchema    = &schema{typ: "object"}
	stringSchema    = &schema{typ: "string"}
	textSchema      = &schema{typ: "string", maxLength: 256}
	nameSchema      = &schema{typ: "string", minLength: 1, maxLength: 256}
	countSchema     = &schema{typ: "integer", minimum: new(0.0)}
	portSchema      = &schema{typ: "integer", minimum: new(1.0), maximum: new(65535.0)}
	durationSchema  = &schema{typ: "number", exclusiveMinimum: new(0.0)}
	timestampSchema = integerSchema
	statusSchema    = &schema{typ: "integer", enum: []any{1, 0}}

	idSchema = &schema{
		anyOf: []*schema{
			{typ: "string", minLength: 1, maxLength: 64, pattern: idPattern},
			{typ: "integer", minimum: new(1.0)},
		},
		hint: says("an id is 1 to 64 characters of a-z A-Z 0-9 - _ and the dot, or an integer from 1"),
	}

	hostSchema = &schema{
		typ: "string", pattern: hostPattern,
		hint: says("a host is a name alone, such as a.test or *.a.test"),
	}

	labelsSchema = &schema{
		typ:    "object",
		values: &schema{typ: "string", minLength: 1, maxLength: 256, pattern: regexp.MustCompile(`^\S+$`)},
	}

	timeoutSchema = &schema{
		typ: "object",
		properties: map[string]*schema{
			"connect": durationSchema,
			"send":    durationSchema,
			"read":    durationSchema,
		},
		required: []string{"connect", "read", "send"},
	}

	// A key may be the placeholder that is shown in its place, for the stored one.
	certificateSchema = &schema{typ: "string", minLength: 128, maxLength: maxPEM, reference: true, hint: noPEMHint}
	privateKeySchema  = &schema{typ: "string", minLength: 64, maxLength: maxPEM, reference: true, placeholder: true, hint: noPEMHint}
	methodSchema      = &schema{typ: "string", enum: []any{"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE", "PURGE"}}
	addressSchema     = &schema{typ: "string", format: isAddress, hint: says("an address is an IPv4 or IPv6 address, or a range such as 10.0.0.0/8")}
)

func isAddress(s string) bool {
	if strings.Contains(s, "/") {
		_, err := netip.ParsePrefix(s)
		return err == nil
	}
	a, err := netip.ParseAddr(s)
	return err == nil && a.Zone() == ""
}

// maxPEM is how long a certificate or a key may be.
const maxPEM = 64 * 1024

// noPEMHint says what a value is that is too short for PEM.
func noPEMHint(v any) string {
	s, ok := v.(string)
	trimmed := strings.TrimSpace(s)
	switch {
	case !ok, len(s) > maxPEM: // it is too long, or of another type
		return ""
	case trimmed == "":
		return "it is empty: is the shell variable set?"
	case strings.HasPrefix(trimmed, "$"):
		return "it is what the shell should have replaced: inside single quotes it does not"
	case strings.HasPrefix(trimmed, "-----BEGIN"):
		return "the PEM text is cut off"
	case strings.HasPrefix(trimmed, "/"), strings.HasPrefix(trimmed, "./"), strings.HasPrefix(trimmed, "@"),
		strings.HasSuffix(trimmed, ".pem"), strings.HasSuffix(trimmed, ".crt"), strings.HasSuffix(trimmed, ".cer"), strings.HasSuffix(trimmed, ".key"):
		return "it must be the text of the PEM file, not its name"
	}
	return "it must be the text of a PEM file"
}

// metadata are the properties that documents of several kinds have.
func metadata(properties map[string]*schema) map[string]*schema {
	properties["id"] = idSchema
	properties["desc"] = textSchema
	properties["labels"] = labelsSchema
	properties["create_time"] = timestampSchema
	properties["update_time"] = timestampSchema
	return properties
}

func requires(properties ...string) *schema { return &schema{required: properties} }

var sslSchema = &schema{
	typ: "object",
	properties: metadata(map[string]*schema{
		"type":  {typ: "string", enum: []any{"server", "client"}},
		"cert":  certificateSchema,
		"key":   privateKeySchema,
		"certs": {typ: "array", items: certificateSchema},
		"keys":  {typ: "array", items: privateKeySchema},
		"sni":   hostSchema,
		"snis":  {typ: "array", minItems: 1, items: hostSchema},
		"client": {
			typ: "object",
			properties: map[string]*schema{
				"ca":                  certificateSchema,
				"depth":               countSchema,
				"skip_mtls_uri_regex": {typ: "array", minItems: 1, uniqueItems: true, items: stringSchema},
			},
			required: []string{"ca"},
		},
		"status": statusSchema,
		"ssl_protocols": {
			typ: "array", maxItems: 3, uniqueItems: true,
			items: &schema{enum: []any{"TLSv1.1", "TLSv1.2", "TLSv1.3"}},
		},
	}),
	closed: true,

	when:   &schema{properties: map[string]*schema{"type": {enum: []any{"server"}}}},
	then:   &schema{oneOf: []*schema{requires("sni", "key", "cert"), requires("snis", "key", "cert")}},
	orElse: requires("key", "cert"),
	hint:   says("an ssl object needs cert, key, and one of sni and snis; one of type client needs cert and key"),
}

var routeSchema = &schema{
	typ: "object",
	properties: metadata(map[string]*schema{
		"name":             nameSchema,
		"uri":              {typ: "string", minLength: 1, maxLength: 4096},
		"uris":             {typ: "array", minItems: 1, uniqueItems: true, items: stringSchema},
		"host":             hostSchema,
		"hosts":            {typ: "array", minItems: 1, uniqueItems: true, items: hostSchema},
		"methods":          {typ: "array", uniqueItems: true, items: methodSchema},
		"remote_addr":      addressSchema,
		"remote_addrs":     {typ: "array", uniqueItems: true, items: addressSchema},
		"vars":             {typ: "array"},
		"filter_func":      {typ: "string", minLength: 10, pattern: regexp.MustCompile(`^function`)},
		"priority":         integerSchema,
		"timeout":          timeoutSchema,
		"enable_websocket": booleanSchema,
		"status":           statusSchema,
		"upstream":         upstreamSchema,
		"upstream_id":      idSchema,
		"service_id":       idSchema,
		"plugin_config_id": idSchema,
		"script_id":        idSchema,
		"plugins":          objectSchema,
		"script":           {typ: "string", minLength: 10, maxLength: 102400},
	}),
	closed: true,

	allOf: []*schema{{
		oneOf: []*schema{requires("uri"), requires("uris")},
		hint:  says("a route needs one of uri and uris"),
	}},
	anyOf: []*schema{
		requires("plugins", "uri"), requires("upstream", "uri"), requires("upstream_id", "uri"), requires("service_id", "uri"),
		requires("plugins", "uris"), requires("upstream", "uris"), requires("upstream_id", "uris"), requires("service_id", "uris"),
		requires("script", "uri"), requires("script", "uris"),
	},
	not: &schema{anyOf: []*schema{requires("script", "plugins"), requires("script", "plugin_config_id")}},
	hint: func(v any) string {
		if m, _ := asObject(v); has(m, "script") {
			return "script stands alone: a route that has it has no plugins and no plugin_config_id"
		}
		return "a route needs one of upstream, upstream_id and service_id"
	},
}

var serviceSchema = &schema{
	typ: "object",
	properties: metadata(map[string]*schema{
		"name":             nameSchema,
		"hosts":            {typ: "array", minItems: 1, uniqueItems: true, items: hostSchema},
		"enable_websocket": booleanSchema,
		"upstream":         upstreamSchema,
		"upstream_id":      idSchema,
		"plugins":          objectSchema,
		"script":           {typ: "string", minLength: 10, maxLength: 102400},
	}),
	closed: true,
}

var upstreamSchema = &schema{
	typ: "object",
	properties: metadata(map[string]*schema{
		"name": nameSchema,
		"nodes": {
			anyOf: []*schema{
				{typ: "object", values: countSchema},
				{typ: "array", items: &schema{
					typ: "object",
					properties: map[string]*schema{
						"host":     hostSchema,
						"port":     portSchema,
						"weight":   countSchema,
						"priority": integerSchema,
						"metadata": objectSchema,
					},
					required: []string{"host", "weight"},
				}},
			},
			hint: says(`nodes are {"a.test:80": 1} or [{"host": "a.test", "port": 80, "weight": 1}], ports are 1 to 65535, weights integers from 0`),
		},
		"type":           stringSchema,
		"hash_on":        {typ: "string", enum: []any{"vars", "header", "cookie", "consumer", "vars_combinations"}},
		"key":            stringSchema,
		"retries":        countSchema,
		"retry_timeout":  {typ: "number", minimum: new(0.0)},
		"timeout":        timeoutSchema,
		"scheme":         {enum: []any{"grpc", "grpcs", "http", "https", "tcp", "tls", "udp", "kafka"}},
		"pass_host":      {typ: "string", enum: []any{"pass", "node", "rewrite"}},
		"upstream_host":  hostSchema,
		"service_name":   nameSchema,
		"discovery_type": stringSchema,
		"discovery_args": objectSchema,
		"keepalive_pool": {
			typ: "object",
			properties: map[string]*schema{
				"size":         {typ: "integer", minimum: new(1.0)},
				"idle_timeout": {typ: "number", minimum: new(0.0)},
				"requests":     {typ: "integer", minimum: new(1.0)},
			},
		},
		"tls": {
			typ: "object",
			properties: map[string]*schema{
				"client_cert_id": idSchema,
				"client_cert":    certificateSchema,
				"client_key":     privateKeySchema,
				"verify":         booleanSchema,
			},
			dependent: map[string]*schema{
				"client_cert": requires("client_key"),
				"client_key":  requires("client_cert"),
				"client_cert_id": {
					not:  &schema{anyOf: []*schema{requires("client_cert"), requires("client_key")}},
					hint: says("client_cert_id stands for client_cert and client_key: give the one or the other two"),
				},
			},
		},
		"checks": checksSchema,
	}),
	closed: true,

	oneOf: []*schema{requires("nodes"), requires("service_name", "discovery_type")},
	hint:  says("an upstream needs nodes, or service_name and discovery_type, and not both"),
}

var checksSchema = func() *schema {
	limit := func(least float64) *schema {
		return &schema{typ: "integer", minimum: new(least), maximum: new(254.0)}
	}
	statuses := &schema{
		typ: "array", minItems: 1, uniqueItems: true,
		items: &schema{typ: "integer", minimum: new(200.0), maximum: new(599.0)},
	}
	interval := &schema{typ: "integer", minimum: new(1.0)}
	// Only an active check has an interval, only a passive one a limit of 0.
	checker := func(types []any, least float64, own, healthy, unhealthy map[string]*schema) *schema {
		own["type"] = &schema{typ: "string", enum: types}
		healthy["http_statuses"] = statuses
		healthy["successes"] = limit(least)
		unhealthy["http_statuses"] = statuses
		unhealthy["http_failures"] = limit(least)
		unhealthy["tcp_failures"] = limit(least)
		unhealthy["timeouts"] = limit(least)
		own["healthy"] = &schema{typ: "object", properties: healthy}
		own["unhealthy"] = &schema{typ: "object", properties: unhealthy}
		return &schema{typ: "object", properties: own}
	}
	types := []any{"http", "https", "tcp"}
	return &schema{
		typ: "object",
		properties: map[string]*schema{
			"active": checker(types, 1, map[string]*schema{
				"timeout":                  {typ: "number"},
				"concurrency":              integerSchema,
				"host":                     hostSchema,
				"port":                     portSchema,
				"http_method":              methodSchema,
				"http_path":                stringSchema,
				"http_req_body":            stringSchema,
				"https_verify_certificate": booleanSchema,
				"req_headers":              {typ: "array", minItems: 1, items: stringSchema},
			}, map[string]*schema{"interval": interval}, map[string]*schema{"interval": interval}),
			"passive": checker(types, 0, map[string]*schema{}, map[string]*schema{}, map[string]*schema{}),
		},
		anyOf: []*schema{requires("active"), requires("active", "passive")},
	}
}()
