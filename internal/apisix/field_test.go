package apisix_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/apisix"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

func TestFieldName(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		kind             apisix.Kind
		doc, field, want string
	}{
		{apisix.SSLs, `{"sni":"a"}`, "ID", "id"},
		{apisix.SSLs, `{"sni":"a"}`, "Names", "sni"},
		{apisix.SSLs, `{"sni":"a"}`, "Names[0]", "sni"},
		{apisix.SSLs, `{"snis":["a","b"]}`, "Names[1]", "snis[1]"},
		{apisix.SSLs, `{}`, "Certificates", "cert"},
		{apisix.SSLs, `{}`, "Certificates[0]", "cert"},
		{apisix.SSLs, `{}`, "Certificates[0].CertPEM", "cert"},
		{apisix.SSLs, `{}`, "Certificates[0].KeyPEM", "key"},
		{apisix.SSLs, `{}`, "Certificates[1]", "certs[0]"},
		{apisix.SSLs, `{}`, "Certificates[2].KeyPEM", "keys[1]"},
		{apisix.SSLs, `{}`, "Client.CAPEM", "client.ca"},
		{apisix.SSLs, `{}`, "Client.Depth", "client.depth"},
		{apisix.SSLs, `{}`, "Client.SkipPaths[2]", "client.skip_mtls_uri_regex[2]"},
		{apisix.SSLs, `{}`, "MinVersion", "ssl_protocols"},
		{apisix.Routes, `{"host":"a"}`, "Hosts[0]", "host"},
		{apisix.Routes, `{"hosts":["a"]}`, "Hosts[0]", "hosts[0]"},
		{apisix.Routes, `{"uri":"a"}`, "Paths[0]", "uri"},
		{apisix.Routes, `{"uris":["a","b"]}`, "Paths[1]", "uris[1]"},
		{apisix.Routes, `{"uris":["a","b"]}`, "Paths", "uris"},
		{apisix.Routes, `{}`, "Methods[1]", "methods[1]"},
		{apisix.Routes, `{}`, "WebSocket", "enable_websocket"},
		{apisix.Routes, `{}`, "Timeout.Read", "timeout.read"},
		{apisix.Routes, `{"plugins":{"proxy-rewrite":{"headers":{"add":{"a":"b"}}}}}`, "Headers.Add[0].Value", "plugins.proxy-rewrite.headers.add"},
		{apisix.Routes, `{"plugins":{"proxy-rewrite":{"headers":{"a":"b"}}}}`, "Headers.Set[0].Value", "plugins.proxy-rewrite.headers"},
		{apisix.Services, `{"plugins":{"proxy-rewrite":{"headers":{"a":"b"}}}}`, "Headers.Set[0].Name", "plugins.proxy-rewrite.headers"},
		{apisix.Routes, `{"upstream_id":"1"}`, "Upstream", "upstream_id"},
		{apisix.Routes, `{"upstream":{}}`, "Upstream", "upstream"},
		{apisix.Routes, `{"upstream":{"nodes":[{}]}}`, "Upstream.Nodes[0].Port", "upstream.nodes[0].port"},
		{apisix.Routes, `{"upstream":{"nodes":{"b:1":1,"a:1":1}}}`, "Upstream.Nodes[1].Port", `upstream.nodes["b:1"]`},
		{apisix.Upstreams, `{"nodes":{"b:1":1,"a\":1":1}}`, "Nodes[0]", `nodes["a\":1"]`},
		{apisix.Upstreams, `{"nodes":[{},{}]}`, "Nodes[1]", "nodes[1]"},
		{apisix.Upstreams, `{"nodes":{}}`, "Nodes[1].Host", "nodes[1].host"},
		{apisix.Upstreams, `{}`, "Nodes[99999999999999999999].Host", "nodes[99999999999999999999].host"},
		{apisix.Upstreams, `{}`, "Balancer", "type"},
		{apisix.Upstreams, `{}`, "Host", "upstream_host"},
		{apisix.Upstreams, `{}`, "KeepAlive.IdleTimeout", "keepalive_pool.idle_timeout"},
		{apisix.Upstreams, `{}`, "KeepAlive.Requests", "keepalive_pool.requests"},
		{apisix.Upstreams, `{}`, "TLS.KeyPEM", "tls.client_key"},
		{apisix.Upstreams, `{}`, "TLS.CertPEM", "tls.client_cert"},
		{apisix.Upstreams, `{"tls":{"client_cert":"@cert"}}`, "TLS.CertPEM", "tls.client_cert"},
		{apisix.Upstreams, `{"tls":{"client_cert_id":"1"}}`, "TLS.CertPEM", "tls.client_cert_id"},
		{apisix.Routes, `{"upstream":{"tls":{"client_cert_id":1}}}`, "Upstream.TLS.CertPEM", "upstream.tls.client_cert_id"},
		{apisix.Upstreams, `{}`, "TLS.DangerouslySkipServerVerify", "tls.verify"},
		{apisix.Routes, `{}`, "Handler", "Handler"},
		{apisix.Services, `{}`, "Names", "Names"},
	} {
		require.Equal(t, c.want, apisix.FieldName(c.kind, f.doc(c.doc), c.field), "%s %s %s", c.kind, c.doc, c.field)
	}
}

// What is said of a field is told of the property that the document has, if it is about one.
func TestInDocument(t *testing.T) {
	doc := newFixture(t).doc(`{"uris":["/a","/b"],"upstream":{"nodes":{}}}`)
	for field, want := range map[string]string{
		"":                      "it is odd",
		"Paths[1]":              "uris[1]: it is odd",
		"Upstream.Timeout.Read": "upstream.timeout.read: it is odd",
		"AllowPlain":            "AllowPlain: it is odd",
	} {
		require.Equal(t, want, apisix.InDocument(apisix.Routes, doc, field, "it is odd"))
	}
}

// Every field of a Config that a document can set has a name in the document.
func TestFieldNameKnowsEveryField(t *testing.T) {
	// What APISIX has nothing for, with all that stands below it.
	notInDocuments := []string{
		"Handler", "AllowPlain", "RequireIdentity", "Authorize", "ClientCert", "Picker", "RetryBudget", "FailWhenUnhealthy", "Outliers", "SlowStart", "ReplayBytes",
		"Certificates[0].OCSPStaple", "Certificates[0].Signer", "TLS.Signer", "TLS.ServerName", "Client.CRLs", "Client.Allow", "Client.Authorize", "Client.CacheVerified", "Client.HideCAs", "Client.Dangerously",
	}
	for kind, config := range map[apisix.Kind]any{
		apisix.SSLs: ssl.Config{}, apisix.Routes: route.Config{}, apisix.Upstreams: upstream.Config{},
	} {
		for _, field := range fieldPaths(reflect.TypeOf(config), "") {
			name := apisix.FieldName(kind, map[string]any{}, field)
			if slices.ContainsFunc(notInDocuments, func(prefix string) bool { return strings.HasPrefix(field, prefix) }) {
				require.Equal(t, field, name)
				continue
			}
			require.Equal(t, strings.ToLower(name), name, "%s: %s", kind, field)
			require.NotContains(t, name, "#")
		}
	}
}

func fieldPaths(typ reflect.Type, prefix string) (paths []string) {
	for field := range typ.Fields() {
		path := prefix + field.Name
		paths = append(paths, path)
		typ := field.Type
		if typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		if typ.Kind() == reflect.Slice && typ.Elem().Kind() != reflect.Uint8 {
			typ, path = typ.Elem(), path+"[0]"
			paths = append(paths, path)
		}
		if typ.Kind() == reflect.Struct {
			paths = append(paths, fieldPaths(typ, path+".")...)
		}
	}
	return paths
}

// Translating stops where telling does: to name the node of a fault takes all nodes.
func TestTranslateManyFaults(t *testing.T) {
	nodes := map[string]any{}
	var all []error
	for i := range 3_000 {
		nodes[fmt.Sprintf("/%d", i)] = 1.0
		all = append(all, &upstream.ConfigError{ID: "1", Field: fmt.Sprintf("Nodes[%d].Host", i), Err: errors.New("is wrong")})
	}
	o, err := apisix.Decode(apisix.Upstreams, "1", map[string]any{"nodes": nodes})
	require.NoError(t, err)
	allocs := testing.AllocsPerRun(1, func() { err = o.Translate(errors.Join(all...)) })
	require.Less(t, allocs, 9_000.0)
	require.Equal(t, 16, strings.Count(err.Error(), "is wrong"))
	require.ErrorContains(t, err, "; and more")
}

func TestTranslate(t *testing.T) {
	f := newFixture(t)
	reason := errors.New("is wrong")

	o := f.decode(apisix.SSLs, "1", `{"snis":["a"],"cert":"@cert","key":"@key"}`)
	require.NoError(t, o.Translate(nil))
	require.EqualError(t, o.Translate(errors.Join(
		&ssl.ConfigError{ID: "1", Field: "Names[0]", Err: reason},
		fmt.Errorf("gateway: %w", errors.Join(&ssl.ConfigError{ID: "1", Field: "Certificates[0].KeyPEM", Err: errors.Join(reason, reason)})),
	)), `invalid configuration: property "snis[0]" validation failed: is wrong; property "key" validation failed: is wrong
is wrong ("openssl x509 -noout -pubkey -in CERT" and "openssl pkey -pubout -in KEY" print the same for a certificate and its key)`)
	// Those of others stay as they are.
	require.EqualError(t, o.Translate(&ssl.ConfigError{ID: "2", Field: "Names[0]", Err: reason}), `invalid configuration: ssl: profile "2": Names[0]: is wrong`)
	require.EqualError(t, o.Translate(&route.ConfigError{ID: "1", Field: "Paths[0]", Err: reason}), `invalid configuration: route "1": Paths[0]: is wrong`)
	require.EqualError(t, o.Translate(fmt.Errorf("x: %w", reason)), `invalid configuration: x: is wrong`)

	o = f.decode(apisix.Routes, "1", `{"uri":"/","upstream":{"nodes":{"a:1":1}}}`)
	require.EqualError(t, o.Translate(errors.Join(
		&route.ConfigError{ID: "1", Field: "Paths[0]", Err: reason},
		&upstream.ConfigError{ID: "routes/1", Field: "Nodes[0].Port", Err: reason},
		&upstream.ConfigError{ID: "1", Field: "Nodes[0].Port", Err: reason},
	)), `invalid configuration: property "uri" validation failed: is wrong; property "upstream.nodes["a:1"]" validation failed: is wrong; upstream "1": Nodes[0].Port: is wrong`)

	o = f.decode(apisix.Upstreams, "1", `{"nodes":[{"host":"a","weight":1}]}`)
	require.EqualError(t, o.Translate(&upstream.ConfigError{ID: "1", Field: "Nodes[0].Host", Err: reason}),
		`invalid configuration: property "nodes[0].host" validation failed: is wrong`)
}

// The two things that only the packages themselves find out.
func TestTranslateRealErrors(t *testing.T) {
	f := newFixture(t)
	o := f.decode(apisix.SSLs, "1", `{"sni":"test.com","cert":"@cert","key":"@key2","client":{"ca":"@ca","skip_mtls_uri_regex":["(?=a)"]}}`)
	_, err := ssl.New(*o.SSL)
	text := o.Translate(err).Error()
	require.Contains(t, text, `invalid configuration: property "key" validation failed: `)
	require.Contains(t, text, `; property "client.skip_mtls_uri_regex[0]" validation failed: `)
}

// What APISIX refuses in vars is said in its words, and what it would take in ours.
func TestTranslateVars(t *testing.T) {
	f := newFixture(t)
	for vars, want := range map[string]string{
		`["host","==","a.test"]`:  `failed to validate the 'vars' expression: rule should be wrapped inside brackets (vars: Vars is a list of conditions: [["host", "==", "a.test"]])`,
		`[["host","=","a.test"]]`: `failed to validate the 'vars' expression: invalid operator '=' (vars[0]: write "==")`,
		`[["uri","~~","^/(?!admin)"]]`: `invalid configuration: property "vars[0][2]" validation failed: ` +
			`"^/(?!admin)" has lookahead, which RE2 does not: it is Go's regexp that runs here, not PCRE`,
		`[["OR",["arg_a","1"],["uri","~~","(?=a)"]],["host"]]`: `invalid configuration: property "vars[0][2][2]" validation failed: ` +
			`"(?=a)" has lookahead, which RE2 does not: it is Go's regexp that runs here, not PCRE; failed to validate the 'vars' expression: rule too short ` +
			`(vars[1]: a condition is [variable, operator, value] or [variable, "!", operator, value])`,
	} {
		o := f.decode(apisix.Routes, "1", `{"uri":"/*","upstream_id":"1","vars":`+vars+`}`)
		_, err := route.New(*o.Route)
		require.EqualError(t, o.Translate(err), want, vars)
	}
}
