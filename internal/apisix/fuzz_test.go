package apisix_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/apisix"
	"github.com/sallyport/sallyport/internal/cjson"
	"github.com/sallyport/sallyport/ssl"
)

// FuzzDecode feeds documents in which "@cert" and the like stand for PEM.
func FuzzDecode(f *testing.F) {
	for _, rows := range refusals {
		for _, c := range rows {
			f.Add(c.doc)
		}
	}
	f.Add(`{"snis":["a","*.b.test","*c"],"cert":"@cert","key":"@key","certs":["@cert2"],"keys":["@key2"],"client":{"ca":"@ca","depth":0,"skip_mtls_uri_regex":["/a"]},"ssl_protocols":["TLSv1.2"]}`)
	f.Add(`{"uris":["/a"],"hosts":["a.test"],"upstream":{"nodes":[{"host":"a","port":80,"weight":1}],"scheme":"https","tls":{"client_cert":"@cert","client_key":"@key"}},"timeout":{"connect":1,"send":1,"read":1}}`)
	f.Add(`{"hosts":["a.test"],"enable_websocket":true,"upstream":{"nodes":{},"tls":{"client_cert":"@cert","client_key":"@key"}},"plugins":{"proxy-rewrite":{"headers":{"set":{"A":"$b"},"add":{},"remove":["C"]}}}}`)
	f.Add(`{"cert":"@cert","key":"[redacted]","keys":["[redacted]"],"tls":{"client_key":"[redacted]"}}`)
	f.Add(`{"nodes":{"a.test:80":1,"[::1]":2},"keepalive_pool":{"size":1,"idle_timeout":0,"requests":1},"pass_host":"rewrite","upstream_host":"a","retries":0}`)

	fix := newFixture(f)
	pem := strings.NewReplacer(fix.names...)
	secret := strings.Split(fix.pem["key"], "\n")[1]
	f.Fuzz(func(t *testing.T, text string) {
		body, err := cjson.Decode([]byte(pem.Replace(text)))
		if err != nil {
			return
		}
		doc, err := apisix.Document(body)
		if err != nil {
			return
		}
		before := string(cjson.Encode(doc))
		for _, kind := range apisix.Kinds {
			invalid := apisix.Validate(kind, doc)
			o, err := apisix.Decode(kind, "1", doc)
			again, errAgain := apisix.Decode(kind, "1", doc)
			require.Equal(t, o, again)
			require.Equal(t, err, errAgain)
			if invalid != nil {
				require.Equal(t, invalid, err)
			}
			if err != nil {
				require.NotEmpty(t, asError(t, err).Text)
				require.NotContains(t, err.Error(), secret)
				require.Less(t, len(err.Error()), 16384)
			} else {
				require.NotNil(t, o.Translate(errors.New("x")))
				require.NotContains(t, strings.Join(o.Warnings, ""), secret)
			}
			require.Equal(t, before, string(cjson.Encode(doc)))

			shown := apisix.Redact(kind, doc)
			if strings.Contains(before, secret) && !strings.Contains(text, secret) {
				require.NotContains(t, string(cjson.Encode(shown)), secret)
			}
			require.Equal(t, shown, apisix.Redact(kind, shown))
			restores(t, kind, o, doc, shown)

			_, _ = apisix.PutID(kind, "", doc)
			_, _ = apisix.PutID(kind, "1", doc)
			_ = apisix.CheckNoID(kind, "", doc)
		}
		_ = apisix.CheckForbidden(doc)
	})
}

// restores checks that what is shown of a document can be put again, and means the same.
func restores(t *testing.T, kind apisix.Kind, o *apisix.Object, doc, shown map[string]any) {
	if o == nil {
		return
	}
	if o.SSL != nil {
		if _, err := ssl.New(*o.SSL); err != nil {
			return // nothing like it is stored
		}
	}
	again, warnings, err := apisix.Restore(kind, shown, doc)
	require.NoError(t, err)
	require.Empty(t, warnings)
	if strings.Contains(string(cjson.Encode(again)), "[redacted]") {
		return // a key stands where none belongs, and is lost
	}
	restored, err := apisix.Decode(kind, "1", again)
	require.NoError(t, err)
	for _, pair := range [][2]any{{o.SSL, restored.SSL}, {o.Route, restored.Route}, {o.Upstream, restored.Upstream}} {
		require.Equal(t, pair[0], pair[1])
	}
}

// FuzzFieldName looks for field paths that break it.
func FuzzFieldName(f *testing.F) {
	for _, field := range []string{"Names[0]", "Certificates[1].KeyPEM", "Upstream.Nodes[0].Port", "Upstream.Upstream.ID", "Nodes[", "[0]", "#", "Names[#]"} {
		f.Add(field)
	}
	doc := map[string]any{"snis": []any{"a"}, "nodes": map[string]any{"a:1": 1.0}, "upstream": map[string]any{"nodes": []any{}}}
	f.Fuzz(func(t *testing.T, field string) {
		for _, kind := range apisix.Kinds {
			name := apisix.FieldName(kind, doc, field)
			require.Equal(t, name, apisix.FieldName(kind, doc, field))
			require.Equal(t, field == "", name == "")
		}
	})
}
