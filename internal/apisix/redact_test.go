package apisix_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/apisix"
	"github.com/sallyport/sallyport/internal/cjson"
)

func TestRedact(t *testing.T) {
	f := newFixture(t)
	f.set("both", f.pem["cert"]+f.pem["key"])
	for _, c := range []struct {
		kind      apisix.Kind
		doc, want string
	}{
		{apisix.SSLs, `{"id":1,"sni":"a","cert":"@cert","key":"@key","certs":["@cert2"],"keys":["@key2","k"],"client":{"ca":"@ca"},"status":1}`,
			`{"id":1,"sni":"a","cert":"@cert","key":"[redacted]","certs":["@cert2"],"keys":["[redacted]","[redacted]"],"client":{"ca":"@ca"},"status":1}`},
		{apisix.SSLs, `{"key":{"a":"k"},"keys":"k","certs":[],"labels":{}}`, `{"key":"[redacted]","keys":"[redacted]","certs":[],"labels":{}}`},
		{apisix.SSLs, `{"key":null,"keys":[]}`, `{"key":"[redacted]","keys":[]}`},
		{apisix.SSLs, `{"sni":"a"}`, `{"sni":"a"}`},
		{apisix.Upstreams, `{"key":"uri","nodes":{"a":1},"tls":{"client_cert":"@cert","client_key":"@key"}}`,
			`{"key":"uri","nodes":{"a":1},"tls":{"client_cert":"@cert","client_key":"[redacted]"}}`},
		{apisix.Upstreams, `{"tls":"x"}`, `{"tls":"x"}`},
		{apisix.Routes, `{"uri":"/","upstream":{"key":"uri","tls":{"client_cert":"@cert","client_key":"@key"}}}`,
			`{"uri":"/","upstream":{"key":"uri","tls":{"client_cert":"@cert","client_key":"[redacted]"}}}`},
		{apisix.Services, `{"upstream":{"tls":{"client_key":"k"}}}`, `{"upstream":{"tls":{"client_key":"[redacted]"}}}`},
		// A key in a place where none belongs.
		{apisix.SSLs, `{"cert":"@both","desc":"@key","labels":{"a":["@key"]}}`, `{"cert":"[redacted]","desc":"[redacted]","labels":{"a":["[redacted]"]}}`},
		{apisix.Routes, `{"upstream":{"tls":{"more":"@key"}},"plugins":{"p":{"k":"@key"}}}`, `{"upstream":{"tls":{"more":"[redacted]"}},"plugins":{"p":{"k":"[redacted]"}}}`},
		{apisix.Routes, `{"labels":{@key:"a"}}`, `{"labels":{"[redacted]":"a"}}`},
	} {
		doc := f.doc(strings.ReplaceAll(c.doc, "@key:", `"@key":`))
		f.unchanged(doc, func() {
			require.Equal(t, f.doc(c.want), apisix.Redact(c.kind, doc), c.doc)
		})
	}
	require.Nil(t, apisix.Redact(apisix.SSLs, nil))
}

// A redacted document can be changed, and the original does not notice.
func TestRedactCopies(t *testing.T) {
	f := newFixture(t)
	doc := f.doc(`{"snis":["a"],"keys":["k"],"client":{"ca":"c","skip_mtls_uri_regex":["/"]},"certs":[["x"]]}`)
	f.unchanged(doc, func() {
		out := apisix.Redact(apisix.SSLs, doc)
		out["snis"].([]any)[0] = "b"
		out["keys"].([]any)[0] = "b"
		out["certs"].([]any)[0].([]any)[0] = "b"
		out["client"].(map[string]any)["ca"] = "b"
		out["client"].(map[string]any)["skip_mtls_uri_regex"].([]any)[0] = "b"
		delete(out, "snis")
	})
}

// No byte of a key is left, wherever it was.
func TestRedactLeavesNothing(t *testing.T) {
	f := newFixture(t)
	lines := strings.Split(f.pem["key"], "\n")
	for _, kind := range apisix.Kinds {
		doc := f.doc(`{"key":"@key","keys":["@key"],"cert":"@key","x":{"y":[{"z":"@key"}]},"tls":{"client_key":"@key"},"upstream":{"tls":{"client_key":"@key"}}}`)
		out := string(cjson.Encode(apisix.Redact(kind, doc)))
		for _, line := range lines[1 : len(lines)-2] {
			require.NotContains(t, out, line, kind)
		}
	}
}
