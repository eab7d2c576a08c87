package apisix_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/apisix"
)

const (
	schemaError = "invalid configuration: "
	hostPattern = `"^\\*$|^\\*?[0-9a-zA-Z-._\\[\\]:]+$"`
	wrongCert   = "failed to parse cert: PEM_read_bio_X509_AUX() failed"
	wrongKey    = "failed to parse key: PEM_read_bio_PrivateKey() failed"
	wrongCipher = "failed to decrypt previous encrypted key"
	noTarget    = `object matches none of the required: ["plugins","uri"] or ["upstream","uri"] or ["upstream_id","uri"] or ["service_id","uri"] or ["plugins","uris"] or ["upstream","uris"] or ["upstream_id","uris"] or ["service_id","uris"] or ["script","uri"] or ["script","uris"]`
)

// A refusal is a document and the text with which APISIX refuses it.
type refusal struct{ doc, want string }

var refusals = map[apisix.Kind][]refusal{
	apisix.SSLs: {
		{`{}`, schemaError + `then clause did not match`},
		{`{"sni":"a"}`, schemaError + `then clause did not match`},
		{`{"sni":"a","cert":"@cert"}`, schemaError + `then clause did not match`},
		{`{"sni":"a","key":"@key"}`, schemaError + `then clause did not match`},
		{`{"cert":"@cert","key":"@key"}`, schemaError + `then clause did not match`},
		{`{"sni":"a","snis":["b"],"cert":"@cert","key":"@key"}`, schemaError + `then clause did not match`},
		{`{"sni":"a","certs":["@cert"],"keys":["@key"]}`, schemaError + `then clause did not match`},
		{`{"type":"client"}`, schemaError + `else clause did not match`},
		{`{"type":"client","cert":"@cert"}`, schemaError + `else clause did not match`},
		{`{"snis":[],"cert":"@cert","key":"@key"}`, schemaError + `property "snis" validation failed: expect array to have at least 1 items`},
		{`{"sni":"a","cert":"c","key":"@key"}`, schemaError + `property "cert" validation failed: string too short, expected at least 128, got 1`},
		{`{"sni":"a","cert":"@x65537","key":"@key"}`, schemaError + `property "cert" validation failed: string too long, expected at most 65536, got 65537`},
		{`{"sni":"a","cert":"@cert","key":"kü"}`, schemaError + `property "key" validation failed: string too short, expected at least 64, got 2`},
		{`{"sni":"a","cert":"@cert","key":1}`, schemaError + `property "key" validation failed: wrong type: expected string, got number`},
		{`{"sni":"a","cert":"@cert","key":"@key","certs":["29 characters, not more of it"],"keys":["@key"]}`, schemaError + `property "certs" validation failed: failed to validate item 1: string too short, expected at least 128, got 29`},
		{`{"sni":"a","cert":"@cert","key":"@key","certs":["@cert2"],"keys":["@key2","k"]}`, schemaError + `property "keys" validation failed: failed to validate item 2: string too short, expected at least 64, got 1`},
		{`{"sni":"a b","cert":"@cert","key":"@key"}`, schemaError + `property "sni" validation failed: failed to match pattern ` + hostPattern + ` with "a b"`},
		{`{"sni":"","cert":"@cert","key":"@key"}`, schemaError + `property "sni" validation failed: failed to match pattern ` + hostPattern + ` with ""`},
		{`{"sni":"**","cert":"@cert","key":"@key"}`, schemaError + `property "sni" validation failed: failed to match pattern ` + hostPattern + ` with "**"`},
		{`{"sni":"a.*.b","cert":"@cert","key":"@key"}`, schemaError + `property "sni" validation failed: failed to match pattern ` + hostPattern + ` with "a.*.b"`},
		{`{"sni":"a\"\\\n\r\u0000","cert":"@cert","key":"@key"}`, schemaError + `property "sni" validation failed: failed to match pattern ` + hostPattern + ` with "a\"\\\` + "\n" + `\r\000"`},
		{`{"snis":["a","b c"],"cert":"@cert","key":"@key"}`, schemaError + `property "snis" validation failed: failed to validate item 2: failed to match pattern ` + hostPattern + ` with "b c"`},
		{`{"sni":"a","cert":"@cert","key":"@key","client":{}}`, schemaError + `property "client" validation failed: property "ca" is required`},
		{`{"sni":"a","cert":"@cert","key":"@key","client":"@ca"}`, schemaError + `property "client" validation failed: wrong type: expected object, got string`},
		{`{"sni":"a","cert":"@cert","key":"@key","client":{"ca":"c"}}`, schemaError + `property "client" validation failed: property "ca" validation failed: string too short, expected at least 128, got 1`},
		{`{"sni":"a","cert":"@cert","key":"@key","client":{"ca":"@ca","depth":-1}}`, schemaError + `property "client" validation failed: property "depth" validation failed: expected -1 to be at least 0`},
		{`{"sni":"a","cert":"@cert","key":"@key","client":{"ca":"@ca","depth":1.5}}`, schemaError + `property "client" validation failed: property "depth" validation failed: wrong type: expected integer, got number`},
		{`{"sni":"a","cert":"@cert","key":"@key","client":{"ca":"@ca","skip_mtls_uri_regex":[]}}`, schemaError + `property "client" validation failed: property "skip_mtls_uri_regex" validation failed: expect array to have at least 1 items`},
		{`{"sni":"a","cert":"@cert","key":"@key","client":{"ca":"@ca","skip_mtls_uri_regex":["/a","/a"]}}`, schemaError + `property "client" validation failed: property "skip_mtls_uri_regex" validation failed: expected unique items but items 1 and 2 are equal`},
		{`{"sni":"a","cert":"@cert","key":"@key","type":"x"}`, schemaError + `property "type" validation failed: matches none of the enum values`},
		{`{"sni":"a","cert":"@cert","key":"@key","status":3}`, schemaError + `property "status" validation failed: matches none of the enum values`},
		{`{"sni":"a","cert":"@cert","key":"@key","status":"1"}`, schemaError + `property "status" validation failed: wrong type: expected integer, got string`},
		{`{"sni":"a","cert":"@cert","key":"@key","ssl_protocols":["TLSv1.0"]}`, schemaError + `property "ssl_protocols" validation failed: failed to validate item 1: matches none of the enum values`},
		{`{"sni":"a","cert":"@cert","key":"@key","ssl_protocols":["TLSv1.2","TLSv1.2"]}`, schemaError + `property "ssl_protocols" validation failed: expected unique items but items 1 and 2 are equal`},
		{`{"sni":"a","cert":"@cert","key":"@key","ssl_protocols":["TLSv1.1","TLSv1.2","TLSv1.3","TLSv1.3"]}`, schemaError + `property "ssl_protocols" validation failed: expect array to have at most 3 items`},
		{`{"sni":"a","cert":"@cert","key":"@key","labels":{"env":{"a":1}}}`, schemaError + `property "labels" validation failed: failed to validate env (matching ".*"): wrong type: expected string, got table`},
		{`{"sni":"a","cert":"@cert","key":"@key","labels":{"env":true}}`, schemaError + `property "labels" validation failed: failed to validate env (matching ".*"): wrong type: expected string, got boolean`},
		{`{"sni":"a","cert":"@cert","key":"@key","name":"n"}`, schemaError + `additional properties forbidden, found name`},
		{`{"sni":"a","cert":"@cert","key":"@key","exptime":1}`, schemaError + `additional properties forbidden, found exptime`},
		{`{"sni":"a","cert":"@cert","key":"@key","desc":"@x257"}`, schemaError + `property "desc" validation failed: string too long, expected at most 256, got 257`},
		{`{"sni":"a","cert":"@cert","key":"@key","id":"a b"}`, schemaError + `property "id" validation failed: object matches none of the required`},
		{`{"sni":"a","cert":"@cert","key":"@key","id":0}`, schemaError + `property "id" validation failed: object matches none of the required`},

		{`{"sni":"a","cert":"@x128","key":"@key"}`, wrongCert},
		{`{"sni":"a","cert":"@key","key":"@key"}`, "failed to parse cert: a private key stands in it, which belongs in the property for keys alone"},
		{`{"sni":"a","cert":"@cert","key":"@---"}`, wrongKey},
		{`{"sni":"a","cert":"@cert","key":"@cert"}`, wrongKey},
		{`{"sni":"a","cert":"@cert","key":"@x64"}`, wrongCipher},
		{`{"sni":"a","cert":"@cert","key":"@blank"}`, wrongCipher},
		{`{"type":"client","cert":"@x128","key":"@key"}`, wrongCert},
		{`{"sni":"a","cert":"@cert","key":"@key","certs":["@cert2"]}`, "mismatched number of certs and keys"},
		{`{"sni":"a","cert":"@cert","key":"@key","keys":["@key2"]}`, "mismatched number of certs and keys"},
		{`{"sni":"a","cert":"@cert","key":"@key","certs":["@cert2","@cert2"],"keys":["@key2"]}`, "mismatched number of certs and keys"},
		{`{"sni":"a","cert":"@cert","key":"@key","certs":["@x128"],"keys":["@key2"]}`, "failed to handle cert-key pair[1]: " + wrongCert},
		{`{"sni":"a","cert":"@cert","key":"@key","certs":["@cert2"],"keys":["@---"]}`, "failed to handle cert-key pair[1]: " + wrongKey},
		{`{"sni":"a","cert":"@cert","key":"@key","certs":["@cert","@cert2"],"keys":["@key","@x64"]}`, "failed to handle cert-key pair[2]: " + wrongCipher},
		{`{"sni":"a","cert":"@cert","key":"@key","client":{"ca":"@x128"}}`, "failed to validate client_cert: " + wrongCert},
	},

	apisix.Routes: {
		{`{"uri":"/","upstream_id":1,"host":"a","hosts":["b"]}`, "only one of host or hosts is allowed"},
		{`{"uri":"/","upstream_id":1,"remote_addr":"10.0.0.1","remote_addrs":["10.0.0.2"]}`, "only one of remote_addr or remote_addrs is allowed"},
		{`{}`, schemaError + "allOf 1 failed: value should match only one schema, but matches none"},
		{`{"upstream_id":1}`, schemaError + "allOf 1 failed: value should match only one schema, but matches none"},
		{`{"uri":"/","uris":["/"],"upstream_id":1}`, schemaError + "allOf 1 failed: value should match only one schema, but matches both schemas 1 and 2"},
		{`{"uri":"/"}`, schemaError + noTarget},
		{`{"uris":["/"]}`, schemaError + noTarget},
		{`{"uri":"","upstream_id":1}`, schemaError + `property "uri" validation failed: string too short, expected at least 1, got 0`},
		{`{"uris":[],"upstream_id":1}`, schemaError + `property "uris" validation failed: expect array to have at least 1 items`},
		{`{"uris":["/","/"],"upstream_id":1}`, schemaError + `property "uris" validation failed: expected unique items but items 1 and 2 are equal`},
		{`{"uris":["/","/a","/"],"upstream_id":1}`, schemaError + `property "uris" validation failed: expected unique items but items 1 and 3 are equal`},
		{`{"uri":"/","upstream_id":1,"host":"a b"}`, schemaError + `property "host" validation failed: failed to match pattern ` + hostPattern + ` with "a b"`},
		{`{"uri":"/","upstream_id":1,"hosts":[]}`, schemaError + `property "hosts" validation failed: expect array to have at least 1 items`},
		{`{"uri":"/","upstream_id":1,"methods":["get"]}`, schemaError + `property "methods" validation failed: failed to validate item 1: matches none of the enum values`},
		{`{"uri":"/","upstream_id":1,"methods":["GET","GET"]}`, schemaError + `property "methods" validation failed: expected unique items but items 1 and 2 are equal`},
		{`{"uri":"/","upstream_id":1,"remote_addr":"10.0.0"}`, schemaError + `property "remote_addr" validation failed: object matches none of the required`},
		{`{"uri":"/","upstream_id":1,"remote_addr":"10.0.0.0/33"}`, schemaError + `property "remote_addr" validation failed: object matches none of the required`},
		{`{"uri":"/","upstream_id":1,"remote_addrs":["::/0","x"]}`, schemaError + `property "remote_addrs" validation failed: failed to validate item 2: object matches none of the required`},
		{`{"uri":"/","upstream_id":"a/b"}`, schemaError + `property "upstream_id" validation failed: object matches none of the required`},
		{`{"uri":"/","upstream_id":""}`, schemaError + `property "upstream_id" validation failed: object matches none of the required`},
		{`{"uri":"/","upstream_id":1.5}`, schemaError + `property "upstream_id" validation failed: object matches none of the required`},
		{`{"uri":"/","upstream_id":1,"timeout":{"connect":1,"read":1}}`, schemaError + `property "timeout" validation failed: property "send" is required`},
		{`{"uri":"/","upstream_id":1,"timeout":{"connect":0,"send":1,"read":1}}`, schemaError + `property "timeout" validation failed: property "connect" validation failed: expected 0 to be greater than 0`},
		{`{"uri":"/","upstream_id":1,"priority":"1"}`, schemaError + `property "priority" validation failed: wrong type: expected integer, got string`},
		{`{"uri":"/","upstream_id":1,"priority":1.5}`, schemaError + `property "priority" validation failed: wrong type: expected integer, got number`},
		{`{"uri":1,"upstream_id":1}`, schemaError + `property "uri" validation failed: wrong type: expected string, got number`},
		{`{"uri":null,"upstream_id":1}`, schemaError + `property "uri" validation failed: wrong type: expected string, got userdata`},
		{`{"uri":["/"],"upstream_id":1}`, schemaError + `property "uri" validation failed: wrong type: expected string, got table`},
		{`{"uri":"/","upstream_id":1,"enable_websocket":"true"}`, schemaError + `property "enable_websocket" validation failed: wrong type: expected boolean, got string`},
		{`{"uri":"/","upstream_id":1,"labels":{"a":"b c"}}`, schemaError + `property "labels" validation failed: failed to validate a (matching ".*"): failed to match pattern "^\\S+$" with "b c"`},
		{`{"uri":"/","upstream_id":1,"labels":{"a":"@x257"}}`, schemaError + `property "labels" validation failed: failed to validate a (matching ".*"): string too long, expected at most 256, got 257`},
		{`{"uri":"/","upstream_id":1,"name":""}`, schemaError + `property "name" validation failed: string too short, expected at least 1, got 0`},
		{`{"uri":"/","upstream_id":1,"filter_func":"return true"}`, schemaError + `property "filter_func" validation failed: failed to match pattern "^function" with "return true"`},
		{`{"uri":"/","upstream_id":1,"vars":"x"}`, schemaError + `property "vars" validation failed: wrong type: expected array, got string`},
		{`{"uri":"/","upstream":{"nodes":{"a:80":-1}}}`, schemaError + `property "upstream" validation failed: property "nodes" validation failed: object matches none of the required`},
		{`{"uri":"/","upstream":{}}`, schemaError + `property "upstream" validation failed: value should match only one schema, but matches none`},
		{`{"uri":"/","upstream":[]}`, schemaError + `property "upstream" validation failed: value should match only one schema, but matches none`},
		{`{"uri":"/","upstream":[1]}`, schemaError + `property "upstream" validation failed: wrong type: expected object, got table`},
		{`{"uri":"/","upstream_id":1,"foo":1}`, schemaError + `additional properties forbidden, found foo`},
		{`{"uri":"/","plugins":{},"script":"return {} --"}`, schemaError + `value wasn't supposed to match schema`},
		{`{"uri":"/","plugin_config_id":1,"script":"return {} --"}`, schemaError + `value wasn't supposed to match schema`},

		{`{"uri":"/","upstream":{"nodes":{"a:65536":1}}}`, "invalid port 65536"},
		{`{"uri":"/","upstream":{"nodes":[{"host":"::1","port":80,"weight":1}]}}`, schemaError + "IPv6 address must be enclosed with '[' and ']'"},
		{`{"uri":"/","upstream":{"nodes":{},"pass_host":"rewrite"}}`, "`upstream_host` can't be empty when `pass_host` is `rewrite`"},
		{`{"uri":"/","upstream":{"nodes":{},"tls":{"client_cert":"@x128","client_key":"@key"}}}`, wrongCert},
	},

	apisix.Upstreams: {
		{`{}`, schemaError + `value should match only one schema, but matches none`},
		{`{"type":"roundrobin"}`, schemaError + `value should match only one schema, but matches none`},
		{`{"nodes":{},"service_name":"a","discovery_type":"dns"}`, schemaError + `value should match only one schema, but matches both schemas 1 and 2`},
		{`{"nodes":1}`, schemaError + `property "nodes" validation failed: object matches none of the required`},
		{`{"nodes":{"a:80":-1}}`, schemaError + `property "nodes" validation failed: object matches none of the required`},
		{`{"nodes":{"a:80":0.5}}`, schemaError + `property "nodes" validation failed: object matches none of the required`},
		{`{"nodes":{"a:80":"1"}}`, schemaError + `property "nodes" validation failed: object matches none of the required`},
		{`{"nodes":["a:80"]}`, schemaError + `property "nodes" validation failed: object matches none of the required`},
		{`{"nodes":[{"host":"a","port":0,"weight":1}]}`, schemaError + `property "nodes" validation failed: object matches none of the required`},
		{`{"nodes":[{"host":"a","port":65536,"weight":1}]}`, schemaError + `property "nodes" validation failed: object matches none of the required`},
		{`{"nodes":[{"host":"a","port":80}]}`, schemaError + `property "nodes" validation failed: object matches none of the required`},
		{`{"nodes":[{"port":80,"weight":1}]}`, schemaError + `property "nodes" validation failed: object matches none of the required`},
		{`{"nodes":[{"host":"a","weight":1,"priority":0.5}]}`, schemaError + `property "nodes" validation failed: object matches none of the required`},
		{`{"nodes":{},"retries":-1}`, schemaError + `property "retries" validation failed: expected -1 to be at least 0`},
		{`{"nodes":{},"retry_timeout":-0.5}`, schemaError + `property "retry_timeout" validation failed: expected -0.5 to be at least 0`},
		{`{"nodes":{},"scheme":"ftp"}`, schemaError + `property "scheme" validation failed: matches none of the enum values`},
		{`{"nodes":{},"pass_host":"x"}`, schemaError + `property "pass_host" validation failed: matches none of the enum values`},
		{`{"nodes":{},"hash_on":"x"}`, schemaError + `property "hash_on" validation failed: matches none of the enum values`},
		{`{"nodes":{},"tls":{"client_cert":"@cert"}}`, schemaError + `property "tls" validation failed: failed to validate dependent schema for "client_cert": property "client_key" is required`},
		{`{"nodes":{},"tls":{"client_key":"@key"}}`, schemaError + `property "tls" validation failed: failed to validate dependent schema for "client_key": property "client_cert" is required`},
		{`{"nodes":{},"tls":{"client_cert_id":"1","client_cert":"@cert","client_key":"@key"}}`, schemaError + `property "tls" validation failed: failed to validate dependent schema for "client_cert_id": value wasn't supposed to match schema`},
		{`{"nodes":{},"tls":{"verify":1}}`, schemaError + `property "tls" validation failed: property "verify" validation failed: wrong type: expected boolean, got number`},
		{`{"nodes":{},"keepalive_pool":{"size":0}}`, schemaError + `property "keepalive_pool" validation failed: property "size" validation failed: expected 0 to be at least 1`},
		{`{"nodes":{},"keepalive_pool":{"idle_timeout":-1}}`, schemaError + `property "keepalive_pool" validation failed: property "idle_timeout" validation failed: expected -1 to be at least 0`},
		{`{"nodes":{},"checks":{}}`, schemaError + `property "checks" validation failed: object matches none of the required: ["active"] or ["active","passive"]`},
		{`{"nodes":{},"checks":{"passive":{}}}`, schemaError + `property "checks" validation failed: object matches none of the required: ["active"] or ["active","passive"]`},
		{`{"nodes":{},"checks":{"active":{"type":"udp"}}}`, schemaError + `property "checks" validation failed: property "active" validation failed: property "type" validation failed: matches none of the enum values`},
		{`{"nodes":{},"checks":{"active":{"port":65536}}}`, schemaError + `property "checks" validation failed: property "active" validation failed: property "port" validation failed: expected 65536 to be at most 65535`},
		{`{"nodes":{},"checks":{"active":{"healthy":{"interval":0}}}}`, schemaError + `property "checks" validation failed: property "active" validation failed: property "healthy" validation failed: property "interval" validation failed: expected 0 to be at least 1`},
		{`{"nodes":{},"checks":{"active":{"healthy":{"successes":255}}}}`, schemaError + `property "checks" validation failed: property "active" validation failed: property "healthy" validation failed: property "successes" validation failed: expected 255 to be at most 254`},
		{`{"nodes":{},"checks":{"active":{"unhealthy":{"http_statuses":[199]}}}}`, schemaError + `property "checks" validation failed: property "active" validation failed: property "unhealthy" validation failed: property "http_statuses" validation failed: failed to validate item 1: expected 199 to be at least 200`},
		{`{"nodes":{},"checks":{"active":{"req_headers":[]}}}`, schemaError + `property "checks" validation failed: property "active" validation failed: property "req_headers" validation failed: expect array to have at least 1 items`},
		{`{"nodes":{},"checks":{"active":{"unhealthy":{"timeouts":0}}}}`, schemaError + `property "checks" validation failed: property "active" validation failed: property "unhealthy" validation failed: property "timeouts" validation failed: expected 0 to be at least 1`},
		{`{"nodes":{},"upstream_host":"a b"}`, schemaError + `property "upstream_host" validation failed: failed to match pattern ` + hostPattern + ` with "a b"`},
		{`{"nodes":{},"timeout":{"connect":1,"read":1}}`, schemaError + `property "timeout" validation failed: property "send" is required`},
		{`{"nodes":{},"foo":1}`, schemaError + `additional properties forbidden, found foo`},
		{`{"nodes":[{"host":"::1","port":80,"weight":1}]}`, schemaError + "IPv6 address must be enclosed with '[' and ']'"},
		{`{"nodes":[{"host":"::1","weight":-1}],"foo":1}`, schemaError + "IPv6 address must be enclosed with '[' and ']'"},

		{`{"nodes":{"a:65536":1}}`, "invalid port 65536"},
		{`{"nodes":{"a:0":1}}`, "invalid port 0"},
		{`{"nodes":{"[::1]:70000":1}}`, "invalid port 70000"},
		{`{"nodes":{},"type":"chash"}`, `missing key`},
		{`{"nodes":{},"type":"chash","key":"not_support"}`,
			`invalid configuration: failed to match pattern "^((uri|server_name|server_addr|request_uri|remote_port|remote_addr|query_string|host|hostname|mqtt_client_id)|arg_[0-9a-zA-z_-]+)$" with "not_support"`},
		{`{"nodes":{},"type":"chash","hash_on":"cookie","key":"$#^@"}`, `invalid configuration: failed to match pattern "^[a-zA-Z0-9-_]+$" with "$#^@"`},
		{`{"nodes":{},"pass_host":"rewrite"}`, "`upstream_host` can't be empty when `pass_host` is `rewrite`"},
		{`{"nodes":{},"tls":{"client_cert":"@x128","client_key":"@key"}}`, wrongCert},
		{`{"nodes":{},"tls":{"client_cert":"@cert","client_key":"@---"}}`, wrongKey},
		{`{"nodes":{},"tls":{"client_cert":"@cert","client_key":"@x64"}}`, wrongCipher},
	},

	apisix.Services: {
		{`{"foo":1}`, schemaError + `additional properties forbidden, found foo`},
		{`{"hosts":[]}`, schemaError + `property "hosts" validation failed: expect array to have at least 1 items`},
		{`{"hosts":["a","a"]}`, schemaError + `property "hosts" validation failed: expected unique items but items 1 and 2 are equal`},
		{`{"upstream_id":""}`, schemaError + `property "upstream_id" validation failed: object matches none of the required`},
		{`{"enable_websocket":1}`, schemaError + `property "enable_websocket" validation failed: wrong type: expected boolean, got number`},
		{`{"upstream":{}}`, schemaError + `property "upstream" validation failed: value should match only one schema, but matches none`},
		{`{"upstream":{"nodes":[{"host":"::1","weight":1}]}}`, schemaError + `IPv6 address must be enclosed with '[' and ']'`},
		{`{"upstream":{"nodes":{},"type":"chash"}}`, `missing key`},
	},
}

func TestValidateRefuses(t *testing.T) {
	f := newFixture(t)
	f.set("blank", "\n"+f.pem["key"])
	for kind, rows := range refusals {
		for _, c := range rows {
			doc := f.doc(c.doc)
			f.unchanged(doc, func() {
				require.Equal(t, c.want, asError(t, apisix.Validate(kind, doc)).Text, "%s %s", kind, c.doc)
				_, err := apisix.Decode(kind, "1", doc)
				require.Equal(t, c.want, asError(t, err).Text, "%s %s", kind, c.doc)
			})
		}
	}
}

// Documents that APISIX takes, whatever this gateway makes of them.
func TestValidateTakes(t *testing.T) {
	f := newFixture(t)
	f.set("bundle", "subject=CN=test.com\n"+f.pem["cert"]+"\nissuer\n"+f.pem["ca"]+"\n")
	f.set("keys", f.pem["cert"]+f.pem["key"])
	for kind, docs := range map[apisix.Kind][]string{
		apisix.SSLs: {
			`{"sni":"test.com","cert":"@cert","key":"@key"}`,
			`{"snis":["a","a","*.b.test","*c","*","*.","TEST.com.","[::1]","test_com"],"cert":"@cert","key":"@key"}`,
			`{"id":1,"sni":"a","cert":"@bundle","key":"@keys","client":{"ca":"@bundle","depth":0,"skip_mtls_uri_regex":["("],"more":1}}`,
			`{"sni":"a","cert":"@cert","key":"@key2"}`, // whose key it is, others find out
			`{"sni":"a","cert":"@cert","key":"@key","certs":["@cert2"],"keys":["@key2"],"ssl_protocols":[],"status":1.0,"type":"server"}`,
			`{"sni":"a","cert":"@cert","key":"@key","certs":{},"keys":[],"labels":[],"desc":"","create_time":1,"update_time":2}`,
			`{"type":"client","cert":"@cert","key":"@key","certs":["@x128"],"client":{"ca":"@x128"}}`,
			`{"sni":"a","cert":"$secret://vault/1/c","key":"@x64"}`,
			`{"sni":"a","cert":"@x128","key":"$env://KEY","client":{"ca":"$ENV://CA"}}`,
		},
		apisix.Routes: {
			`{"uri":"/ip","upstream":{"nodes":{"httpbin.org":1},"type":"roundrobin"}}`,
			`{"uris":["x",""],"plugins":{}}`,
			`{"uri":"/","service_id":"a","hosts":["a.test:80"],"methods":[],"vars":[["a","==","b"]],"remote_addrs":["10.0.0.0/8","::1"],"filter_func":"function(vars) return true end"}`,
			`{"uri":"/","upstream_id":"a","upstream":{"nodes":[]},"timeout":{"connect":0.5,"send":1,"read":1,"more":1},"priority":-1.0,"status":0,"enable_websocket":false}`,
			`{"uri":"/","script":"return {} --"}`,
		},
		apisix.Upstreams: {
			`{"nodes":{}}`, `{"nodes":[]}`, `{"nodes":{"":0,"a b":1,"a:b":1}}`,
			`{"nodes":[{"host":"[::1]","port":80,"weight":0,"priority":-1,"metadata":{},"more":1}],"service_name":"a"}`,
			`{"service_name":"a","discovery_type":"dns"}`,
			`{"nodes":{},"type":"no such thing","hash_on":"vars","key":"remote_addr","checks":{"active":{"more":1},"passive":{"healthy":{"successes":0}}}}`,
			`{"nodes":{},"tls":{"client_cert":"$env://A","client_key":"@x64","more":1},"pass_host":"rewrite","upstream_host":"a"}`,
			`{"nodes":{},"tls":{"client_cert_id":1}}`,
		},
	} {
		for _, text := range docs {
			doc := f.doc(text)
			f.unchanged(doc, func() { require.NoError(t, apisix.Validate(kind, doc), "%s %s", kind, text) })
		}
	}
}

// Where several things are wrong, all are named, in an order that is always the
// same.
func TestValidateNamesAllFaults(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		kind apisix.Kind
		refusal
	}{
		{apisix.Routes, refusal{`{"uri":1,"priority":"x","zzz":1,"aaa":2,"timeout":{"send":0}}`, schemaError +
			`property "priority" validation failed: wrong type: expected integer, got string; ` +
			`property "timeout" validation failed: property "connect" is required; ` +
			`property "timeout" validation failed: property "read" is required; ` +
			`property "timeout" validation failed: property "send" validation failed: expected 0 to be greater than 0; ` +
			`property "uri" validation failed: wrong type: expected string, got number; ` +
			`additional properties forbidden, found aaa, zzz`}},
		{apisix.SSLs, refusal{`{"snis":["a b","c","d e"],"cert":"c"}`, schemaError +
			`property "cert" validation failed: string too short, expected at least 128, got 1; ` +
			`property "snis" validation failed: failed to validate item 1: failed to match pattern ` + hostPattern + ` with "a b"; ` +
			`property "snis" validation failed: failed to validate item 3: failed to match pattern ` + hostPattern + ` with "d e"`}},
		{apisix.SSLs, refusal{`{"sni":"a","cert":"@x128","key":"@---","certs":["@cert"],"client":{"ca":"@x128"}}`,
			wrongCert + "; " + wrongKey + "; mismatched number of certs and keys; failed to validate client_cert: " + wrongCert}},
		{apisix.Upstreams, refusal{`{"nodes":{"b:0":1,"a:65536":1},"pass_host":"rewrite"}`,
			"invalid port 65536; invalid port 0; `upstream_host` can't be empty when `pass_host` is `rewrite`"}},
	} {
		for range 20 {
			require.Equal(t, c.want, asError(t, apisix.Validate(c.kind, f.doc(c.doc))).Text)
		}
	}
}

// An error stays readable however much is wrong.
func TestErrorsAreBounded(t *testing.T) {
	f := newFixture(t)
	many := func(format string) string {
		var parts []string
		for i := range 5000 {
			parts = append(parts, fmt.Sprintf(format, i))
		}
		return strings.Join(parts, ",")
	}
	for _, c := range []struct {
		kind apisix.Kind
		doc  string
	}{
		{apisix.SSLs, `{"snis":[` + many(`"a %d"`) + `]}`},
		{apisix.SSLs, `{"sni":"a","cert":"@cert","key":"@key",` + many(`"more%d":1`) + `}`},
		{apisix.Routes, `{"uri":"/","upstream_id":1,"labels":{` + many(`"l%d":1`) + `}}`},
		{apisix.Routes, `{"uri":"/","upstream_id":1,"plugins":{` + many(`"p%d":{}`) + `}}`},
		{apisix.Upstreams, `{"nodes":{` + many(`"a%d:0":1`) + `}}`},
		{apisix.Upstreams, `{"nodes":{` + many(`"a%d:x":1`) + `}}`},
		{apisix.Routes, `{"uri":"/","upstream_id":1,"host":"` + strings.Repeat(" ", 1<<20) + `"}`},
		{apisix.Routes, `{"uri":"/","upstream_id":1,"` + strings.Repeat("x", 1<<20) + `":1}`},
		{apisix.Routes, `{"uri":"/","upstream_id":1,"x` + strings.Repeat("é", 1<<10) + `":1}`},
		{apisix.Routes, `{"uri":"/","upstream_id":1,"host":"x` + strings.Repeat("é", 1<<10) + `"}`},
	} {
		_, err := apisix.Decode(c.kind, "1", f.doc(c.doc))
		require.Error(t, err)
		require.True(t, utf8.ValidString(err.Error()), "%.60s", c.doc)
		require.Less(t, len(err.Error()), 8192, "%.60s", c.doc)
	}
}

func TestHints(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		kind      apisix.Kind
		doc, want string
	}{
		{apisix.Routes, `{"upstream_id":1}`, "a route needs one of uri and uris"},
		{apisix.Routes, `{"uri":"/"}`, "a route needs one of upstream, upstream_id and service_id"},
		{apisix.Routes, `{"uri":"/","upstream_id":1,"methods":["get"]}`, "it must be one of GET POST PUT DELETE PATCH HEAD OPTIONS CONNECT TRACE PURGE"},
		{apisix.Routes, `{"uri":"/","upstream":{"nodes":{"a":"1"}}}`, `nodes are {"a.test:80": 1} or [{"host": "a.test", "port": 80, "weight": 1}], ports are 1 to 65535, weights integers from 0`},
		{apisix.Routes, `{"uri":"/","upstream_id":1,"host":"http://a.test"}`, "a host is a name alone, such as a.test or *.a.test"},
		{apisix.SSLs, `{"sni":"a"}`, "an ssl object needs cert, key, and one of sni and snis; one of type client needs cert and key"},
		{apisix.SSLs, `{"sni":"a","cert":"","key":"@key"}`, "it is empty: is the shell variable set?"},
		{apisix.SSLs, `{"sni":"a","cert":"${server_cert}","key":"@key"}`, "it is what the shell should have replaced: inside single quotes it does not"},
		{apisix.SSLs, `{"sni":"a","cert":"@cert","key":"$(cat server.key)"}`, "it is what the shell should have replaced: inside single quotes it does not"},
		{apisix.SSLs, `{"sni":"a","cert":"server.crt","key":"@key"}`, "it must be the text of the PEM file, not its name"},
		{apisix.SSLs, `{"sni":"a","cert":"@cert","key":"/etc/ssl/server"}`, "it must be the text of the PEM file, not its name"},
		{apisix.SSLs, `{"sni":"a","cert":"-----BEGIN CERTIFICATE-----\n","key":"@key"}`, "the PEM text is cut off"},
		{apisix.SSLs, `{"sni":"a","cert":"@cert","key":"secret"}`, "it must be the text of a PEM file"},
		{apisix.SSLs, `{"sni":"a","cert":"@cert","key":"@key","name":"x"}`, "known are cert, certs, client, create_time, desc, id, key, keys, labels, sni, snis, ssl_protocols, status, type, update_time"},
		{apisix.SSLs, `{"sni":"a","cert":"@key","key":"@key"}`, "certificates are shown to whoever may read"},
		{apisix.SSLs, `{"sni":"a","cert":"@cert","key":"@key","client":{"ca":"@key"}}`, "client.ca: certificates are shown to whoever may read"},
		{apisix.SSLs, `{"sni":"a","cert":"@cert","key":"@key","client":{"ca":"@x128"}}`, `client.ca: it has no line "-----BEGIN": it must be the text of a PEM file`},
		{apisix.Routes, `{"uri":"/","script":"return {} --","plugins":{}}`, "script stands alone: a route that has it has no plugins and no plugin_config_id"},
		{apisix.Routes, `{"uri":"/","upstream":{"nodes":{"::1":1}}}`, "upstream.nodes: as in [::1], or [::1]:80 with a port"},
		{apisix.Routes, `{"uri":"/","upstream":{"nodes":{"a:65536":1},"type":"chash"}}`,
			`upstream.nodes["a:65536"]: a port is 1 to 65535; upstream.key: the type "chash" needs one: "remote_addr", or with the hash_on "header" the name of a header field`},
		{apisix.Upstreams, `{"nodes":{"::1":1}}`, "nodes: as in [::1], or [::1]:80 with a port"},
		{apisix.Upstreams, `{"nodes":{"127.0.0.1:99999":1}}`, `nodes["127.0.0.1:99999"]: a port is 1 to 65535`},
		{apisix.Upstreams, `{"nodes":{},"type":"chash","key":"user"}`, `key: it is a variable such as "remote_addr", "uri" or "arg_user", or with the hash_on "header" or "cookie" any name`},
		{apisix.Upstreams, `{"nodes":{},"type":"chash","hash_on":"header","key":"a b"}`, "key: it is a name of letters, digits, hyphens and underscores"},
		{apisix.Upstreams, `{"nodes":{},"pass_host":"rewrite"}`, "upstream_host: give the host that the nodes are to see"},
		{apisix.Upstreams, `{"nodes":{},"tls":{"client_cert":"@x128","client_key":"@key"}}`, `tls.client_cert: it has no line "-----BEGIN": it must be the text of a PEM file`},
		{apisix.Upstreams, `{"nodes":{},"tls":{"client_cert":"@cert","client_key":"@cert"}}`, "tls.client_key: it has no PRIVATE KEY block"},
	} {
		err := asError(t, apisix.Validate(c.kind, f.doc(c.doc)))
		require.Equal(t, c.want, err.Hint, c.doc)
		require.Equal(t, err.Text+" ("+c.want+")", err.Error())
	}
	// Nothing to add.
	require.Empty(t, asError(t, apisix.Validate(apisix.SSLs, f.doc(`{"sni":"a","cert":"-----BEGIN CERTIFICATE-----`+strings.Repeat("A", 64<<10)+`","key":"@key"}`))).Hint)
	require.Empty(t, asError(t, apisix.Validate(apisix.Routes, f.doc(`{"uri":"","upstream_id":1}`))).Hint)
}

func TestDocument(t *testing.T) {
	doc, err := apisix.Document([]any{})
	require.NoError(t, err)
	require.Equal(t, map[string]any{}, doc)
	for body, typ := range map[any]string{"x": "string", 1.0: "number", nil: "userdata", true: "boolean"} {
		_, err := apisix.Document(body)
		require.EqualError(t, err, "invalid configuration: wrong type: expected object, got "+typ)
	}
	_, err = apisix.Document([]any{1.0})
	require.EqualError(t, err, "invalid configuration: wrong type: expected object, got table")
}
