package apisix_test

import (
	"crypto/tls"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/apisix"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

func TestDecodeSSL(t *testing.T) {
	f := newFixture(t)
	pair := ssl.KeyPair{CertPEM: []byte(f.pem["cert"]), KeyPEM: []byte(f.pem["key"])}
	pair2 := ssl.KeyPair{CertPEM: []byte(f.pem["cert2"]), KeyPEM: []byte(f.pem["key2"])}
	ca := []byte(f.pem["ca"])
	for _, c := range []struct {
		doc     string
		enabled bool
		want    ssl.Config
	}{
		{`{"sni":"test.com","cert":"@cert","key":"@key","client":{"ca":"@ca"}}`, true,
			ssl.Config{Names: []string{"test.com"}, Certificates: []ssl.KeyPair{pair}, Client: &ssl.ClientAuth{CAPEM: ca}}},
		{`{"id":"other","snis":["*.a.test","*test.com","*"],"cert":"@cert","key":"@key","certs":["@cert2"],"keys":["@key2"],"desc":"d","labels":{"a":"b"}}`, true,
			ssl.Config{Names: []string{"*.a.test", "*test.com", "*"}, Certificates: []ssl.KeyPair{pair, pair2}}},
		{`{"sni":"a","cert":"@cert","key":"@key","client":{"ca":"@ca","depth":0,"skip_mtls_uri_regex":["/a.*","/b"]}}`, true,
			ssl.Config{Names: []string{"a"}, Certificates: []ssl.KeyPair{pair}, Client: &ssl.ClientAuth{CAPEM: ca, Depth: ssl.NoIntermediates, SkipPaths: []string{"/a.*", "/b"}}}},
		{`{"sni":"a","cert":"@cert","key":"@key","client":{"ca":"@ca","depth":10},"status":1}`, true,
			ssl.Config{Names: []string{"a"}, Certificates: []ssl.KeyPair{pair}, Client: &ssl.ClientAuth{CAPEM: ca, Depth: 10}}},
		{`{"sni":"a","cert":"@cert","key":"@key","status":0}`, false,
			ssl.Config{Names: []string{"a"}, Certificates: []ssl.KeyPair{pair}}},
		{`{"type":"client","cert":"@cert","key":"@key"}`, false,
			ssl.Config{Certificates: []ssl.KeyPair{pair}}},
		{`{"type":"client","sni":"a","cert":"@cert","key":"@key","certs":["@x128"],"client":{"ca":"$env://CA"}}`, false,
			ssl.Config{Names: []string{"a"}, Certificates: []ssl.KeyPair{pair}}},
		{`{"sni":"a","cert":"@cert","key":"@key","ssl_protocols":[]}`, true,
			ssl.Config{Names: []string{"a"}, Certificates: []ssl.KeyPair{pair}}},
		{`{"sni":"a","cert":"@cert","key":"@key","ssl_protocols":["TLSv1.3"]}`, true,
			ssl.Config{Names: []string{"a"}, Certificates: []ssl.KeyPair{pair}, MinVersion: tls.VersionTLS13, MaxVersion: tls.VersionTLS13}},
		{`{"sni":"a","cert":"@cert","key":"@key","ssl_protocols":["TLSv1.2","TLSv1.1"]}`, true,
			ssl.Config{Names: []string{"a"}, Certificates: []ssl.KeyPair{pair}, MinVersion: tls.VersionTLS11, MaxVersion: tls.VersionTLS12}},
		{`{"sni":"a","cert":"@cert","key":"@key","ssl_protocols":["TLSv1.3","TLSv1.1","TLSv1.2"]}`, true,
			ssl.Config{Names: []string{"a"}, Certificates: []ssl.KeyPair{pair}, MinVersion: tls.VersionTLS11, MaxVersion: tls.VersionTLS13}},
	} {
		c.want.ID = "7"
		doc := f.doc(c.doc)
		f.unchanged(doc, func() {
			o, err := apisix.Decode(apisix.SSLs, "7", doc)
			require.NoError(t, err, c.doc)
			require.Equal(t, &c.want, o.SSL, c.doc)
			require.Equal(t, c.enabled, o.Enabled, c.doc)
			require.Nil(t, o.Route)
			require.Nil(t, o.Upstream)
			require.Empty(t, o.Warnings)
		})
	}
}

func TestDecodeRoute(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		doc  string
		want route.Config
	}{
		{`{"uri":"/ip","upstream":{"nodes":{"httpbin.org":1},"type":"roundrobin"}}`,
			route.Config{Paths: []string{"/ip"}, Upstream: "routes/7"}},
		{`{"id":7,"name":"n","desc":"d","labels":{"a":"b"},"uris":["/a","/b/*"],"hosts":["a.test","*.b.test","[::1]"],"methods":["GET","PURGE"],"priority":-3,
		   "enable_websocket":true,"timeout":{"connect":0.5,"send":6,"read":60},"upstream_id":9,"plugins":{},"vars":[],"remote_addrs":[],"status":1}`,
			route.Config{Paths: []string{"/a", "/b/*"}, Hosts: []string{"a.test", "*.b.test", "[::1]"}, Methods: []string{"GET", "PURGE"}, Priority: -3, WebSocket: true,
				Timeout:  route.Timeout{Connect: 500 * time.Millisecond, Send: 6 * time.Second, Read: time.Minute},
				Upstream: "9"}},
		{`{"uri":"x","host":"*","upstream_id":"up-1","methods":[],"plugins":[],"vars":{}}`,
			route.Config{Paths: []string{"x"}, Hosts: []string{"*"}, Upstream: "up-1"}},
		{`{"uri":"/a/*/:b","host":"a.test:80","remote_addr":"::1","upstream_id":"1","vars":[["arg_a","==",1],["OR",["host","~~","b"],["uri","!","in",["/c"]]]]}`,
			route.Config{Paths: []string{"/a/*/:b"}, Hosts: []string{"a.test:80"}, RemoteAddrs: []string{"::1"}, Upstream: "1",
				Vars: []any{[]any{"arg_a", "==", 1.0}, []any{"OR", []any{"host", "~~", "b"}, []any{"uri", "!", "in", []any{"/c"}}}}}},
		{`{"uri":"/","remote_addrs":["10.0.0.0/8","192.0.2.1"],"upstream_id":"1"}`,
			route.Config{Paths: []string{"/"}, RemoteAddrs: []string{"10.0.0.0/8", "192.0.2.1"}, Upstream: "1"}},
		{`{"uri":"/","host":"::1","upstream_id":"1","timeout":{"connect":0.001,"send":1e300,"read":9223372036}}`,
			route.Config{Paths: []string{"/"}, Hosts: []string{"::1"}, Upstream: "1",
				Timeout: route.Timeout{Connect: time.Millisecond, Send: math.MaxInt64, Read: 9223372036 * time.Second}}},
	} {
		c.want.ID = "7"
		doc := f.doc(c.doc)
		f.unchanged(doc, func() {
			o, err := apisix.Decode(apisix.Routes, "7", doc)
			require.NoError(t, err, c.doc)
			require.Equal(t, &c.want, o.Route, c.doc)
			require.True(t, o.Enabled)
			require.Nil(t, o.SSL)
			require.Empty(t, o.Warnings)
		})
	}

	// Zero would mean something else.
	o := f.decode(apisix.Routes, "7", `{"uri":"/","upstream_id":"1","timeout":{"connect":1e-12,"send":1,"read":1}}`)
	require.Equal(t, route.Timeout{Connect: 1, Send: time.Second, Read: time.Second}, o.Route.Timeout)

	o = f.decode(apisix.Routes, "7", `{"uri":"/ip","upstream":{"nodes":{"httpbin.org":1},"type":"roundrobin"},"status":0}`)
	require.False(t, o.Enabled)
	require.True(t, o.Route.Disabled)
	require.Equal(t, &upstream.Config{ID: "routes/7", Balancer: "roundrobin", Nodes: []upstream.Node{{Host: "httpbin.org", Weight: 1}}}, o.Upstream)
	require.Equal(t, apisix.InlineID(apisix.Routes, "7"), o.Upstream.ID)

	// upstream_id goes before an upstream of the route's own, whatever is in it.
	o = f.decode(apisix.Routes, "7", `{"uri":"/ip","upstream":{"nodes":{"a":1},"type":"best"},"upstream_id":"9"}`)
	require.Nil(t, o.Upstream)
	require.Equal(t, "9", o.Route.Upstream)
	require.Equal(t, []string{"upstream has no effect: upstream_id goes before it"}, o.Warnings)
}

// The headers of proxy-rewrite are the one thing that there is of plugins, in both of
// the forms that APISIX has.
func TestDecodeProxyRewrite(t *testing.T) {
	f := newFixture(t)
	for doc, want := range map[string]route.HeaderEdits{
		`{}`:             {},
		`{"headers":{}}`: {},
		`{"headers":[]}`: {},
		`{"_meta":{}}`:   {},
		`{"headers":{"set":{},"add":[],"remove":{}}}`:                             {},
		`{"headers":{"X-B":"$host","x-a":1.5}}`:                                   {Set: []route.HeaderField{{Name: "X-B", Value: "$host"}, {Name: "x-a", Value: "1.5"}}},
		`{"headers":{"set":"a"}}`:                                                 {Set: []route.HeaderField{{Name: "set", Value: "a"}}},
		`{"headers":{"set":{"B":"b","A":""},"add":{"C":7},"remove":["X-Y","Z"]}}`: {Set: []route.HeaderField{{Name: "A"}, {Name: "B", Value: "b"}}, Add: []route.HeaderField{{Name: "C", Value: "7"}}, Remove: []string{"X-Y", "Z"}},
		`{"headers":{"set":{"A":"a"}},"_meta":{"disable":false}}`:                 {Set: []route.HeaderField{{Name: "A", Value: "a"}}},
		`{"headers":{"set":{"A":"a"}},"_meta":{"disable":true}}`:                  {},
		`{"headers":{"A":"a"},"use_real_request_uri_unsafe":false}`:               {Set: []route.HeaderField{{Name: "A", Value: "a"}}}, // as stored by APISIX up to 3.13
		`{"use_real_request_uri_unsafe":true}`:                                    {},
	} {
		require.Equal(t, want, f.decode(apisix.Routes, "1", `{"uri":"/","upstream_id":1,"plugins":{"proxy-rewrite":`+doc+`}}`).Route.Headers, doc)
		require.Equal(t, want, f.decode(apisix.Services, "1", `{"plugins":{"proxy-rewrite":`+doc+`}}`).Route.Headers, doc)
	}
}

// A route has from its service what it does not say itself.
func TestUnder(t *testing.T) {
	f := newFixture(t)
	const inline = `"upstream":{"nodes":{"a":1}}`
	headers := func(name string) string { return `"plugins":{"proxy-rewrite":{"headers":{"` + name + `":"1"}}}` }
	set := func(name string) route.HeaderEdits {
		return route.HeaderEdits{Set: []route.HeaderField{{Name: name, Value: "1"}}}
	}
	for _, c := range []struct {
		route, service string
		want           route.Config
	}{
		{`{}`, `{}`, route.Config{}},
		{`{}`, `{"upstream_id":"u"}`, route.Config{Upstream: "u"}},
		{`{}`, `{` + inline + `}`, route.Config{Upstream: "services/s"}},
		{`{}`, `{"upstream_id":"u",` + inline + `}`, route.Config{Upstream: "u"}},
		{`{` + inline + `}`, `{"upstream_id":"u"}`, route.Config{Upstream: "routes/7"}},
		{`{"upstream_id":7}`, `{"upstream_id":"u"}`, route.Config{Upstream: "7"}},
		{`{"upstream_id":7}`, `{` + inline + `}`, route.Config{Upstream: "7"}},
		{`{}`, `{"hosts":["a.test"]}`, route.Config{Hosts: []string{"a.test"}}},
		{`{"host":"b.test"}`, `{"hosts":["a.test"]}`, route.Config{Hosts: []string{"b.test"}}},
		{`{"hosts":["b.test"]}`, `{"hosts":["a.test"]}`, route.Config{Hosts: []string{"b.test"}}},
		{`{}`, `{"enable_websocket":true}`, route.Config{WebSocket: true}},
		{`{"enable_websocket":false}`, `{"enable_websocket":true}`, route.Config{}},
		{`{"enable_websocket":true}`, `{"enable_websocket":false}`, route.Config{WebSocket: true}},
		{`{}`, `{` + headers("A") + `}`, route.Config{Headers: set("A")}},
		{`{` + headers("B") + `}`, `{` + headers("A") + `}`, route.Config{Headers: set("B")}},
		{`{"plugins":{"proxy-rewrite":{}}}`, `{` + headers("A") + `}`, route.Config{}},
		{`{"name":"r"}`, `{"name":"s","desc":"d","labels":{"a":"b"}}`, route.Config{}},
	} {
		doc := strings.Replace(`{"uri":"/","service_id":"s",`+c.route[1:], ",}", "}", 1)
		o := f.decode(apisix.Routes, "7", doc)
		before := *o.Route
		require.Equal(t, "s", o.Service)
		c.want.ID, c.want.Paths = "7", []string{"/"}
		require.Equal(t, &c.want, o.Under(f.decode(apisix.Services, "s", c.service)), "%s under %s", c.route, c.service)
		require.Equal(t, before, *o.Route)
		require.Equal(t, o.Route, o.Under(nil))
	}
}

func TestDecodeUpstream(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		doc  string
		want upstream.Config
	}{
		{`{"nodes":{}}`, upstream.Config{}},
		{`{"nodes":[],"name":"n","retries":2,"retry_timeout":0,"hash_on":"vars","key":"uri"}`, upstream.Config{Retries: 2}},
		{`{"nodes":{"b.test:81":2,"a.test":1,"[::1]:82":0,"[::2]":3,"":4},"retries":0,"retry_timeout":1.5}`, upstream.Config{
			Nodes:        []upstream.Node{{Host: "", Weight: 4}, {Host: "[::1]", Port: 82}, {Host: "[::2]", Weight: 3}, {Host: "a.test", Weight: 1}, {Host: "b.test", Port: 81, Weight: 2}},
			Retries:      upstream.NoRetries,
			RetryTimeout: 1500 * time.Millisecond}},
		{`{"nodes":[{"host":"b","port":81,"weight":2},{"host":"a","weight":0,"priority":0,"metadata":{"x":1}}],"scheme":"http","type":"roundrobin","pass_host":"pass"}`, upstream.Config{
			Nodes: []upstream.Node{{Host: "b", Port: 81, Weight: 2}, {Host: "a"}}, Scheme: "http", Balancer: "roundrobin"}},
		{`{"nodes":{},"pass_host":"node","timeout":{"connect":1,"send":2,"read":3},"keepalive_pool":{"size":4,"idle_timeout":5.5,"requests":6}}`, upstream.Config{
			PassHost:  upstream.PassNode,
			Timeout:   upstream.Timeout{Connect: time.Second, Send: 2 * time.Second, Read: 3 * time.Second},
			KeepAlive: upstream.KeepAlive{Size: 4, IdleTimeout: 5500 * time.Millisecond, Requests: 6}}},
		{`{"nodes":[{"host":"a","weight":1},{"host":"b","weight":1,"priority":-1}],"type":"chash","key":"arg_id"}`, upstream.Config{
			Nodes: []upstream.Node{{Host: "a", Weight: 1}, {Host: "b", Weight: 1, Priority: -1}}, Balancer: "chash", HashKey: "arg_id"}},
		{`{"nodes":{},"type":"chash","hash_on":"header","key":"X-User"}`, upstream.Config{Balancer: "chash", HashOn: "header", HashKey: "X-User"}},
		{`{"nodes":{},"type":"ewma","hash_on":"header","key":"$"}`, upstream.Config{Balancer: "ewma"}},
		{`{"nodes":{},"checks":{"active":{}}}`, upstream.Config{Checks: &upstream.Checks{
			Active: upstream.ActiveChecks{HealthyInterval: upstream.NoProbes, UnhealthyInterval: upstream.NoProbes}}}},
		{`{"nodes":{},"checks":{"active":{"healthy":{},"unhealthy":{"interval":2}},"passive":{}}}`, upstream.Config{Checks: &upstream.Checks{
			Active: upstream.ActiveChecks{UnhealthyInterval: 2 * time.Second}, Passive: &upstream.PassiveChecks{}}}},
		{`{"nodes":{},"checks":{"active":{"type":"https","timeout":0.5,"concurrency":3,"host":"h.test","port":81,"http_method":"HEAD","http_path":"/up","http_req_body":"x",
		   "https_verify_certificate":false,"req_headers":["X-A: b","X-A:c"],"healthy":{"interval":4,"http_statuses":[200,204],"successes":5},
		   "unhealthy":{"interval":6,"http_statuses":[500],"http_failures":7,"tcp_failures":8,"timeouts":9}},
		   "passive":{"type":"http","healthy":{"http_statuses":[200],"successes":0},"unhealthy":{"http_statuses":[503],"http_failures":0,"tcp_failures":3,"timeouts":254}}}}`,
			upstream.Config{Checks: &upstream.Checks{
				Active: upstream.ActiveChecks{Type: "https", Timeout: 500 * time.Millisecond, Concurrency: 3, Host: "h.test", Port: 81, Method: "HEAD", Path: "/up", Body: []byte("x"),
					DangerouslySkipServerVerify: true, Header: http.Header{"X-A": {"b", "c"}}, HealthyInterval: 4 * time.Second, HealthyStatuses: []int{200, 204}, Successes: 5,
					UnhealthyInterval: 6 * time.Second, UnhealthyStatuses: []int{500}, HTTPFailures: 7, TCPFailures: 8, Timeouts: 9},
				Passive: &upstream.PassiveChecks{HealthyStatuses: []int{200}, Successes: upstream.NotCounted, UnhealthyStatuses: []int{503}, HTTPFailures: upstream.NotCounted,
					TCPFailures: 3, Timeouts: 254}}}},
		{`{"nodes":{},"scheme":"grpcs","tls":{"verify":true}}`, upstream.Config{Scheme: "grpcs"}},
		{`{"nodes":{},"keepalive_pool":{"idle_timeout":0}}`, upstream.Config{KeepAlive: upstream.KeepAlive{IdleTimeout: 1}}},
		{`{"nodes":{},"pass_host":"rewrite","upstream_host":"h.test"}`, upstream.Config{PassHost: upstream.PassRewrite, Host: "h.test"}},
		{`{"nodes":{},"scheme":"https","tls":{"verify":true}}`, upstream.Config{Scheme: "https"}},
		{`{"nodes":{},"scheme":"https","tls":{"verify":true,"client_cert":"@cert","client_key":"@key"}}`, upstream.Config{Scheme: "https",
			TLS: upstream.TLS{CertPEM: []byte(f.pem["cert"]), KeyPEM: []byte(f.pem["key"])}}},
	} {
		c.want.ID = "7"
		doc := f.doc(c.doc)
		f.unchanged(doc, func() {
			o, err := apisix.Decode(apisix.Upstreams, "7", doc)
			require.NoError(t, err, c.doc)
			require.Equal(t, &c.want, o.Upstream, c.doc)
			require.True(t, o.Enabled)
			require.Nil(t, o.SSL)
			require.Nil(t, o.Route)
			require.Empty(t, o.Warnings)
		})
	}
}

// What of a document has no effect is told by name.
func TestWarnings(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		kind apisix.Kind
		doc  string
		want []string
	}{
		{apisix.Upstreams, `{"nodes":{},"tls":{"verify":true}}`, []string{`tls has no effect: scheme is not "https" or "grpcs"`}},
		{apisix.Upstreams, `{"nodes":{},"upstream_host":"a"}`, []string{`upstream_host has no effect: pass_host is not "rewrite"`}},
		{apisix.Upstreams, `{"nodes":{},"scheme":"https","tls":{"verify":true,"ca_certs":[]},"timeout":{"connect":1,"send":1,"read":1,"idle":1}}`,
			[]string{"timeout.idle is not known and has no effect", "tls.ca_certs is not known and has no effect"}},
		{apisix.SSLs, `{"sni":"a","cert":"@cert","key":"@key","client":{"ca":"@ca","dpeth":2}}`, []string{"client.dpeth is not known and has no effect"}},
		{apisix.Routes, `{"uri":"/","upstream":{"nodes":{},"keepalive_pool":{"sise":1}}}`, []string{"upstream.keepalive_pool.sise is not known and has no effect"}},
		{apisix.Upstreams, `{"nodes":{},"scheme":"https","timeout":{"connect":1,"send":1,"read":1e-12},"checks":{"active":{}}}`, nil}, // package upstream warns of it
	} {
		require.Equal(t, c.want, f.decode(c.kind, "1", c.doc).Warnings, c.doc)
	}
}

// A document means what it means in APISIX: nodes are verified if it says so.
func TestVerify(t *testing.T) {
	f := newFixture(t)
	require.True(t, f.decode(apisix.Upstreams, "1", `{"nodes":{},"scheme":"https"}`).Upstream.TLS.DangerouslySkipServerVerify)
	require.True(t, f.decode(apisix.Upstreams, "1", `{"nodes":{},"scheme":"https","tls":{"verify":false}}`).Upstream.TLS.DangerouslySkipServerVerify)
	require.False(t, f.decode(apisix.Upstreams, "1", `{"nodes":{},"scheme":"https","tls":{"verify":true}}`).Upstream.TLS.DangerouslySkipServerVerify)
	require.Zero(t, f.decode(apisix.Upstreams, "1", `{"nodes":{},"tls":{"verify":false}}`).Upstream.TLS)
}

// What APISIX does and this gateway does not do is refused by name.
func TestDecodeRefuses(t *testing.T) {
	f := newFixture(t)
	const later = " is not supported by this version"
	const unknownPlugin = `property "plugins" validation failed: unknown plugin [limit-count]: this gateway has no plugins but the headers of proxy-rewrite`
	const inPlugin = `failed to check the configuration of plugin proxy-rewrite err: `
	for _, c := range []struct {
		kind apisix.Kind
		refusal
	}{
		{apisix.Routes, refusal{`{"uri":"/","upstream_id":1,"plugins":{"proxy-rewrite":{},"limit-count":{}}}`, unknownPlugin}},
		{apisix.Services, refusal{`{"plugins":{"proxy-rewrite":{},"limit-count":{}}}`, unknownPlugin}},
		{apisix.Services, refusal{`{"script":"return {} --"}`, `property "script" validation failed: this gateway runs no Lua`}},
		{apisix.Routes, refusal{`{"uri":"/","upstream_id":1,"plugins":{"proxy-rewrite":{"use_real_request_uri_unsafe":1}}}`, inPlugin + `property "use_real_request_uri_unsafe" validation failed: wrong type: expected boolean, got number`}},
		{apisix.Routes, refusal{`{"uri":"/","upstream_id":1,"plugins":{"proxy-rewrite":{"uri":"/a","headers":{}}}}`, inPlugin + `property "uri" validation failed: this gateway changes headers alone`}},
		{apisix.Routes, refusal{`{"uri":"/","upstream_id":1,"plugins":{"proxy-rewrite":1}}`, inPlugin + `wrong type: expected object, got number`}},
		{apisix.Routes, refusal{`{"uri":"/","upstream_id":1,"plugins":{"proxy-rewrite":{"_meta":{"disable":1}}}}`, inPlugin + `property "_meta" validation failed: property "disable" validation failed: it` + later}},
		{apisix.Routes, refusal{`{"uri":"/","upstream_id":1,"plugins":{"proxy-rewrite":{"headers":"x"}}}`, inPlugin + `property "headers" validation failed: wrong type: expected object, got string`}},
		{apisix.Routes, refusal{`{"uri":"/","upstream_id":1,"plugins":{"proxy-rewrite":{"headers":{"a":null}}}}`, inPlugin + `property "headers" validation failed: "a": wrong type: expected string or number, got userdata`}},
		{apisix.Routes, refusal{`{"uri":"/","upstream_id":1,"plugins":{"proxy-rewrite":{"headers":{"set":{"a":[1]}}}}}`, inPlugin + `property "headers" validation failed: property "set" validation failed: "a": wrong type: expected string or number, got table`}},
		{apisix.Routes, refusal{`{"uri":"/","upstream_id":1,"plugins":{"proxy-rewrite":{"headers":{"remove":["a",1]}}}}`, inPlugin + `property "headers" validation failed: property "remove" validation failed: failed to validate item 2: wrong type: expected string, got number`}},
		{apisix.Routes, refusal{`{"uri":"/","upstream_id":1,"filter_func":"function() end"}`, `property "filter_func" validation failed: this gateway runs no Lua`}},
		{apisix.Routes, refusal{`{"uri":"/","upstream_id":1,"script":"return {} --"}`, `property "script" validation failed: this gateway runs no Lua`}},
		{apisix.Routes, refusal{`{"uri":"/","upstream_id":1,"script_id":"1"}`, `property "script_id" validation failed: this gateway runs no Lua`}},
		{apisix.Routes, refusal{`{"uri":"/","upstream_id":1,"service_id":"1","plugin_config_id":2}`,
			`property "plugin_config_id" validation failed: it` + later}},
		{apisix.Routes, refusal{`{"uri":"/","plugins":{}}`, `a route needs one of upstream, upstream_id and service_id: without plugins nothing else can answer`}},
		{apisix.Routes, refusal{`{"uri":"/","upstream_id":1,"priority":3000000000}`, `property "priority" validation failed: 3000000000 is beyond 2147483647`}},
		{apisix.Routes, refusal{`{"uri":"/","upstream":{"nodes":{"a":1},"type":"best"}}`,
			`property "upstream" validation failed: property "type" validation failed: "best"` + later + `: "roundrobin", "chash", "least_conn" and "ewma" are`}},
		{apisix.Upstreams, refusal{`{"nodes":{},"checks":{"active":{"timeout":0,"concurrency":0}}}`,
			`property "checks" validation failed: property "active" validation failed: property "timeout" validation failed: 0 is not above 0; ` +
				`property "checks" validation failed: property "active" validation failed: property "concurrency" validation failed: 0 is not above 0`}},
		{apisix.Upstreams, refusal{`{"nodes":{},"checks":{"active":{"timeout":-0.5,"concurrency":-1}}}`,
			`property "checks" validation failed: property "active" validation failed: property "timeout" validation failed: -0.5 is not above 0; ` +
				`property "checks" validation failed: property "active" validation failed: property "concurrency" validation failed: -1 is not above 0`}},
		{apisix.Upstreams, refusal{`{"nodes":{},"scheme":"kafka"}`, `property "scheme" validation failed: "kafka"` + later + `: "http", "https", "grpc" and "grpcs" are`}},
		{apisix.Upstreams, refusal{`{"nodes":{},"type":""}`, `property "type" validation failed: ""` + later + `: "roundrobin", "chash", "least_conn" and "ewma" are`}},
		{apisix.Upstreams, refusal{`{"service_name":"a","discovery_type":"dns"}`,
			`property "service_name" validation failed: service discovery` + later + `: list the nodes; property "discovery_type" validation failed: service discovery` + later + `: list the nodes`}},
		{apisix.Upstreams, refusal{`{"nodes":{},"tls":{"client_cert_id":1}}`,
			`property "tls" validation failed: property "client_cert_id" validation failed: the ssl object is not put in its place`}},
		{apisix.Upstreams, refusal{`{"nodes":{"a.test:http":1,"b.test:":1}}`,
			`property "nodes" validation failed: "a.test:http": the port is no number from 1 to 65535; property "nodes" validation failed: "b.test:": the port is no number from 1 to 65535`}},
		{apisix.Upstreams, refusal{`{"nodes":{"a":1e15}}`, `property "nodes" validation failed: 1e+15 is beyond 2147483647`}},
		{apisix.Upstreams, refusal{`{"nodes":{"::1":1}}`, `IPv6 address must be enclosed with '[' and ']'`}},
		{apisix.Upstreams, refusal{`{"nodes":{},"scheme":"https","tls":{"client_cert":"@cert","client_key":"$secret://vault/1/k"}}`,
			`property "tls" validation failed: property "client_key" validation failed: the reference $secret://vault/1/k is not resolved`}},
		{apisix.SSLs, refusal{`{"sni":"a","cert":"$env://CERT","key":"@key","client":{"ca":"$ENV://CA/x"}}`,
			`property "cert" validation failed: the reference $env://CERT is not resolved; ` +
				`property "client" validation failed: property "ca" validation failed: the reference $ENV://CA/x is not resolved`}},
		{apisix.SSLs, refusal{`{"sni":"a","cert":"@cert","key":"@key","certs":["@cert2"],"keys":["$env://K"]}`,
			`property "keys" validation failed: the reference $env://K is not resolved`}},
		{apisix.SSLs, refusal{`{"sni":"a","cert":"@cert","key":"@key","ssl_protocols":["TLSv1.3","TLSv1.1"]}`,
			`property "ssl_protocols" validation failed: TLSv1.1 and TLSv1.3 without TLSv1.2 cannot be had: list TLSv1.2 too, or leave out TLSv1.1`}},
		{apisix.SSLs, refusal{`{"sni":"a","cert":"@cert","key":"@key","client":{"ca":"@ca","depth":1e10}}`,
			`property "client" validation failed: property "depth" validation failed: 10000000000 is beyond 2147483647`}},
	} {
		doc := f.doc(c.doc)
		for range 5 {
			o, err := apisix.Decode(c.kind, "1", doc)
			require.Equal(t, schemaError+c.want, asError(t, err).Text)
			require.Nil(t, o)
		}
	}
	_, err := apisix.Decode(apisix.Routes, "a/b", f.doc(`{"uri":"/","upstream_id":1}`))
	require.Equal(t, schemaError+`property "id" validation failed: object matches none of the required`, asError(t, err).Text)
}

// What is decoded, the packages that it is for take.
func TestDecodeMakesWorkingConfigs(t *testing.T) {
	f := newFixture(t)
	o := f.decode(apisix.SSLs, "1", `{"snis":["test.com","*.test.com","*test.com"],"cert":"@cert","key":"@key","client":{"ca":"@ca","depth":2,"skip_mtls_uri_regex":["/a.*"]},"ssl_protocols":["TLSv1.2","TLSv1.3"]}`)
	_, err := ssl.New(*o.SSL)
	require.NoError(t, err)
	o = f.decode(apisix.Routes, "quickstart-ip", `{"uri":"/ip","hosts":["test.com"],"methods":["GET"],"upstream":{"nodes":{"127.0.0.1:8081":1},"type":"roundrobin","scheme":"https"}}`)
	_, err = route.New(*o.Route)
	require.NoError(t, err)
}
