package apisix_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/apisix"
	"github.com/sallyport/sallyport/internal/cjson"
)

// The schemas are JSON, and say what the checks do.
func TestSchema(t *testing.T) {
	for _, kind := range apisix.Kinds {
		var s map[string]any
		require.NoError(t, json.Unmarshal(cjson.Encode(apisix.Schema(kind)), &s), kind)
		require.Equal(t, "object", s["type"])
		require.Equal(t, false, s["additionalProperties"])
		properties := s["properties"].(map[string]any)
		for name := range properties {
			// A property that the schema has is not refused as unknown, and one of a wrong
			// type is.
			err := apisix.ValidateSchema(kind, map[string]any{name: true})
			if err != nil {
				require.NotContains(t, err.Error(), "additional properties forbidden")
			}
		}
	}
	route := apisix.Schema(apisix.Routes)
	properties := route["properties"].(map[string]any)
	require.Equal(t, map[string]any{"type": "string", "minLength": 1.0, "maxLength": 4096.0}, properties["uri"])
	require.Equal(t, map[string]any{"type": "integer", "enum": []any{1, 0}}, properties["status"])
	require.Equal(t, []any{"connect", "read", "send"}, properties["timeout"].(map[string]any)["required"])
	require.Len(t, route["anyOf"], 10)
	require.Contains(t, properties["labels"], "patternProperties")
	require.Contains(t, apisix.Schema(apisix.SSLs), "if")
	tls := apisix.Schema(apisix.Upstreams)["properties"].(map[string]any)["tls"].(map[string]any)
	require.Contains(t, tls["dependencies"], "client_cert_id")
	require.Len(t, tls["properties"].(map[string]any)["client_key"].(map[string]any)["anyOf"], 3)
}

func TestValidateSchema(t *testing.T) {
	f := newFixture(t)
	for kind, docs := range map[apisix.Kind][]string{
		apisix.SSLs:      {`{"sni":"a","cert":"@x128","key":"@x64"}`, `{"sni":"a","cert":"$env://C","key":"[redacted]","certs":["@x128"],"keys":["[redacted]"]}`},
		apisix.Routes:    {`{"uri":"/","host":"a","hosts":["b"],"upstream_id":1}`, `{"uri":"/","plugins":{"none":1}}`},
		apisix.Services:  {`{}`, `[]`},
		apisix.Upstreams: {`{"nodes":{"a:70000":1},"type":"chash"}`, `{"nodes":{},"tls":{"client_cert":"@x128","client_key":"[redacted]"}}`},
	} {
		for _, doc := range docs {
			require.NoError(t, apisix.ValidateSchema(kind, f.doc(doc)), doc)
		}
	}
	for doc, want := range map[any]string{
		"x": "wrong type: expected object, got string",
		nil: "wrong type: expected object, got userdata",
		1.0: "wrong type: expected object, got number",
	} {
		require.Equal(t, want, asError(t, apisix.ValidateSchema(apisix.Routes, doc)).Text)
	}
	require.Equal(t, `property "key" validation failed: string too short, expected at least 64, got 11`,
		asError(t, apisix.ValidateSchema(apisix.SSLs, f.doc(`{"sni":"a","cert":"@x128","key":"[redacted]x"}`))).Text)
}

// What the schema of the plugin says is what is taken, but for what no schema can say: which
// names and values a header can have.
func TestPluginSchema(t *testing.T) {
	require.NoError(t, json.Unmarshal(cjson.Encode(apisix.PluginSchema()), &map[string]any{}))
	values := []string{
		"null", "true", "1", "1.5", `"x"`, "[]", "{}", "[1]", `["x"]`, `["x",1]`, `{"a":1}`, `{"a":"x"}`, `{"a":true}`, `{"a":[]}`, `{"a":{}}`,
		`{"disable":true}`, `{"disable":1}`, `{"disable":true,"a":1}`,
	}
	docs := slices.Clone(values)
	for _, v := range values {
		for _, name := range []string{"headers", "_meta", "use_real_request_uri_unsafe", "uri", "method"} {
			docs = append(docs, `{"`+name+`":`+v+`}`)
		}
		for _, name := range []string{"set", "add", "remove", "x"} {
			docs = append(docs, `{"headers":{"`+name+`":`+v+`}}`)
			for _, other := range []string{"set", "remove", "y"} {
				if other != name {
					docs = append(docs, `{"headers":{"`+other+`":{"a":1},"`+name+`":`+v+`}}`, `{"headers":{"`+other+`":["x"],"`+name+`":`+v+`}}`, `{"headers":{"`+other+`":"x","`+name+`":`+v+`}}`)
				}
			}
		}
	}
	fitting := 0
	for _, text := range docs {
		plugin, err := cjson.Decode([]byte(text))
		require.NoError(t, err, text)
		doc := map[string]any{"uri": "/", "upstream_id": "1", "plugins": map[string]any{apisix.Plugin: plugin}}
		_, err = apisix.Decode(apisix.Routes, "1", doc)
		require.Equal(t, apisix.FitsPlugin(plugin), err == nil, "%s: %v", text, err)
		if err == nil {
			fitting++
		}
	}
	require.Greater(t, fitting, 30)
}
