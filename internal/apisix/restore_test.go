package apisix_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/apisix"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

func TestRestore(t *testing.T) {
	f := newFixture(t)
	const origins = "tls.client_key is the one that was stored, and the nodes are others: they are shown a credential that was meant for those before"
	const up = `{"nodes":{"a:1":1},"tls":{"client_cert":"@cert","client_key":"@key"}}`
	const upShown = `{"nodes":{"a:1":5},"tls":{"client_cert":"@cert","client_key":"[redacted]"}}`
	for _, c := range []struct {
		kind              apisix.Kind
		stored, doc, want string
		warning           string
	}{
		{apisix.SSLs, `{"cert":"@cert","key":"@key"}`, `{"cert":"@cert","key":"[redacted]","sni":"b"}`, `{"cert":"@cert","key":"@key","sni":"b"}`, ""},
		{apisix.SSLs, `{"cert":"@cert","key":"@key"}`, `{"cert":"@cert","key":"other"}`, `{"cert":"@cert","key":"other"}`, ""},
		// By public key, wherever it was.
		{apisix.SSLs, `{"cert":"@cert","key":"@key","certs":["@cert2"],"keys":["@key2"]}`, `{"cert":"@cert2","key":"[redacted]","certs":["@cert"],"keys":["[redacted]"]}`,
			`{"cert":"@cert2","key":"@key2","certs":["@cert"],"keys":["@key"]}`, ""},
		{apisix.SSLs, `{"cert":"@cert","key":"@key","certs":["@cert2"],"keys":["@key2"]}`, `{"cert":"@cert","key":"[redacted]","certs":["@cert2","@cert"],"keys":["[redacted]","x"]}`,
			`{"cert":"@cert","key":"@key","certs":["@cert2","@cert"],"keys":["@key2","x"]}`, ""},
		{apisix.SSLs, `{"cert":"$env://C","key":"@key"}`, `{"cert":"@cert","key":"[redacted]"}`, `{"cert":"@cert","key":"@key"}`, ""},
		{apisix.SSLs, `{"cert":"$env://C","key":"@key"}`, `{"cert":"$env://C","key":"[redacted]"}`, `{"cert":"$env://C","key":"@key"}`, ""},
		{apisix.SSLs, `{"cert":"@cert","key":"$env://K"}`, `{"cert":"@cert","key":"[redacted]"}`, `{"cert":"@cert","key":"$env://K"}`, ""},
		{apisix.Upstreams, up, upShown, `{"nodes":{"a:1":5},"tls":{"client_cert":"@cert","client_key":"@key"}}`, ""},
		{apisix.Upstreams, up, `{"nodes":[{"host":"a","port":1,"weight":1}],"tls":{"client_cert":"@cert","client_key":"[redacted]"}}`,
			`{"nodes":[{"host":"a","port":1,"weight":1}],"tls":{"client_cert":"@cert","client_key":"@key"}}`, ""},
		{apisix.Upstreams, up, `{"nodes":{"b:1":1},"tls":{"client_cert":"@cert","client_key":"[redacted]"}}`, `{"nodes":{"b:1":1},"tls":{"client_cert":"@cert","client_key":"@key"}}`, origins},
		{apisix.Upstreams, up, `{"nodes":{"a:1":1,"a:2":1},"tls":{"client_cert":"@cert","client_key":"[redacted]"}}`, `{"nodes":{"a:1":1,"a:2":1},"tls":{"client_cert":"@cert","client_key":"@key"}}`, origins},
		{apisix.Routes, `{"uri":"/","upstream":` + up + `}`, `{"upstream":` + upShown + `}`, `{"upstream":{"nodes":{"a:1":5},"tls":{"client_cert":"@cert","client_key":"@key"}}}`, ""},
		{apisix.Services, `{"upstream":` + up + `}`, `{"upstream":{"nodes":{},"tls":{"client_cert":"@cert","client_key":"[redacted]"}}}`,
			`{"upstream":{"nodes":{},"tls":{"client_cert":"@cert","client_key":"@key"}}}`, "upstream." + origins},
		// What has no placeholder is not looked at.
		{apisix.Routes, `{}`, `{"upstream":1,"uri":"[redacted]"}`, `{"upstream":1,"uri":"[redacted]"}`, ""},
		{apisix.SSLs, `{}`, `{"keys":"[redacted]","certs":["[redacted]"]}`, `{"keys":"[redacted]","certs":["[redacted]"]}`, ""},
		{apisix.Upstreams, `{}`, `{"tls":"[redacted]"}`, `{"tls":"[redacted]"}`, ""},
	} {
		doc, stored := f.doc(c.doc), f.doc(c.stored)
		f.unchanged(doc, func() {
			f.unchanged(stored, func() {
				out, warnings, err := apisix.Restore(c.kind, doc, stored)
				require.NoError(t, err, c.doc)
				require.Equal(t, f.doc(c.want), out, c.doc)
				if c.warning == "" {
					require.Empty(t, warnings, c.doc)
				} else {
					require.Equal(t, []string{c.warning}, warnings)
				}
			})
		})
	}
}

// What it takes to find keys grows with the certificates, and not with their square.
func TestRestoreOfManyPairs(t *testing.T) {
	const most = 32
	ca := ssltest.NewCA(t, "many")
	var certs, shown, keys, hidden []any
	for range most {
		pair := ca.Server("a.test")
		certs, keys = append(certs, string(pair.CertPEM)), append(keys, string([]byte(pair.KeyPEM)))
		shown, hidden = append(shown, string(pair.CertPEM)+"\n"), append(hidden, "[redacted]")
	}
	allocs := func(n int) float64 {
		doc, stored := map[string]any{"certs": shown[:n], "keys": hidden[:n]}, map[string]any{"certs": certs[:n], "keys": keys[:n]}
		return testing.AllocsPerRun(1, func() {
			out, _, err := apisix.Restore(apisix.SSLs, doc, stored)
			require.NoError(t, err)
			require.Equal(t, keys[:n], out["keys"])
		})
	}
	require.Less(t, allocs(most), 3*allocs(most/2))
}

func TestRestoreRefuses(t *testing.T) {
	f := newFixture(t)
	const nothing, other = `"[redacted]" stands for a key that is stored, and none is`, `"[redacted]" stands for a key that is stored, and none is that of the certificate`
	key := func(property, why string) string {
		return fmt.Sprintf("invalid configuration: property %q validation failed: %s", property, why)
	}
	for _, c := range []struct {
		kind              apisix.Kind
		stored, doc, want string
	}{
		{apisix.SSLs, `{}`, `{"cert":"@cert","key":"[redacted]"}`, key("key", nothing)},
		{apisix.SSLs, `{"cert":"@cert","key":"@key"}`, `{"cert":"@cert2","key":"[redacted]"}`, key("key", other)},
		{apisix.SSLs, `{"cert":"@cert","key":"@key"}`, `{"cert":"x","key":"[redacted]"}`, key("key", other)},
		{apisix.SSLs, `{"cert":"@cert","key":"@key"}`, `{"key":"[redacted]"}`, key("key", other)},
		{apisix.SSLs, `{"cert":"@cert","key":"@key"}`, `{"cert":"@cert","key":"[redacted]","keys":["[redacted]","x","[redacted]"],"certs":["@cert2"]}`,
			key("keys", "failed to validate item 1: "+other) + `; property "keys" validation failed: failed to validate item 3: ` + other},
		{apisix.Upstreams, `{"tls":{"verify":true}}`, `{"tls":{"client_cert":"@cert","client_key":"[redacted]"}}`, key("tls", `property "client_key" validation failed: `+nothing)},
		{apisix.Upstreams, `{"tls":{"client_cert":"@cert","client_key":"@key"}}`, `{"tls":{"client_cert":"@cert2","client_key":"[redacted]"}}`, key("tls", `property "client_key" validation failed: `+other)},
		{apisix.Routes, `{"upstream_id":1}`, `{"upstream":{"tls":{"client_cert":"@cert","client_key":"[redacted]"}}}`,
			key("upstream", `property "tls" validation failed: property "client_key" validation failed: `+nothing)},
	} {
		_, _, err := apisix.Restore(c.kind, f.doc(c.doc), f.doc(c.stored))
		require.Equal(t, c.want, asError(t, err).Text, c.doc)
		_, _, err = apisix.Restore(c.kind, f.doc(c.doc), nil)
		require.ErrorContains(t, err, "stands for a key that is stored, and none is")
	}
}

func TestResolve(t *testing.T) {
	f := newFixture(t)
	resolve := func(reference string) (string, error) {
		if reference == "$env://NO" {
			return "", errors.New("is not there")
		}
		return "<" + reference + ">", nil
	}
	for _, c := range []struct {
		kind      apisix.Kind
		doc, want string
	}{
		{apisix.SSLs, `{"cert":"$env://C","key":"$secret://v/1/k","certs":["$env://C2","c"],"keys":["k","$ENV://K2/x"],"client":{"ca":"$env://CA","depth":1}}`,
			`{"cert":"<$env://C>","key":"<$secret://v/1/k>","certs":["<$env://C2>","c"],"keys":["k","<$ENV://K2/x>"],"client":{"ca":"<$env://CA>","depth":1}}`},
		{apisix.SSLs, `{"type":"client","cert":"$env://C","keys":["$env://NO"],"client":{"ca":"$env://NO"}}`, `{"type":"client","cert":"<$env://C>","keys":["$env://NO"],"client":{"ca":"$env://NO"}}`},
		{apisix.Upstreams, `{"key":"$env://NO","tls":{"client_cert":"$env://C","client_key":"$env://K"}}`, `{"key":"$env://NO","tls":{"client_cert":"<$env://C>","client_key":"<$env://K>"}}`},
		{apisix.Routes, `{"uri":"$env://NO","upstream":{"tls":{"client_key":"$env://K"}}}`, `{"uri":"$env://NO","upstream":{"tls":{"client_key":"<$env://K>"}}}`},
		{apisix.Services, `{"upstream":{"tls":{"client_key":"$env://K"}}}`, `{"upstream":{"tls":{"client_key":"<$env://K>"}}}`},
		// What is of another type is for the schema to refuse.
		{apisix.SSLs, `{"cert":1,"key":["$env://NO"],"certs":"$env://NO","client":"$env://NO"}`, `{"cert":1,"key":["$env://NO"],"certs":"$env://NO","client":"$env://NO"}`},
		{apisix.Routes, `{"upstream":"$env://NO"}`, `{"upstream":"$env://NO"}`},
		{apisix.Upstreams, `{"tls":"$env://NO"}`, `{"tls":"$env://NO"}`},
		{apisix.SSLs, `{"cert":"$env:/C","key":"env://K","desc":"$env://NO"}`, `{"cert":"$env:/C","key":"env://K","desc":"$env://NO"}`},
	} {
		doc := f.doc(c.doc)
		f.unchanged(doc, func() {
			out, err := apisix.Resolve(c.kind, doc, resolve)
			require.NoError(t, err, c.doc)
			require.Equal(t, f.doc(c.want), out)
		})
	}
	_, err := apisix.Resolve(apisix.SSLs, f.doc(`{"cert":"$env://NO","key":"$env://K","keys":["x","$env://NO"],"client":{"ca":"$env://NO"}}`), resolve)
	const no = `failed to resolve $env://NO: is not there`
	require.Equal(t, `invalid configuration: property "cert" validation failed: `+no+`; property "keys" validation failed: failed to validate item 2: `+no+
		`; property "client" validation failed: property "ca" validation failed: `+no, asError(t, err).Text)
	_, err = apisix.Resolve(apisix.Routes, f.doc(`{"upstream":{"tls":{"client_cert":"$env://NO"}}}`), resolve)
	require.Equal(t, `invalid configuration: property "upstream" validation failed: property "tls" validation failed: property "client_cert" validation failed: `+no, asError(t, err).Text)
}

func TestShowReference(t *testing.T) {
	f := newFixture(t)
	for reference, want := range map[string]string{
		"$env://NAME": "$env://NAME", "$ENV://a_b/c.d-e": "$ENV://a_b/c.d-e", "$secret://vault/1/x": "$secret://vault/1/x",
		"$env://": "$env://...", "$env://a b": "$env://...", "$secret://" + f.pem["key"]: "$secret://...", "$env://a\n": "$env://...",
	} {
		require.Equal(t, want, apisix.ShowReference(reference))
	}
}

func TestClientCertificate(t *testing.T) {
	f := newFixture(t)
	ssl := f.doc(`{"type":"client","cert":"c","key":"k","id":"1"}`)
	for _, c := range []struct {
		kind          apisix.Kind
		doc, id       string
		with, without string
	}{
		{apisix.Upstreams, `{"nodes":{},"tls":{"client_cert_id":1,"verify":true}}`, "1", `{"nodes":{},"tls":{"client_cert":"c","client_key":"k","verify":true}}`, `{"nodes":{},"tls":{"verify":true}}`},
		{apisix.Routes, `{"uri":"/","upstream":{"tls":{"client_cert_id":"a"}}}`, "a", `{"uri":"/","upstream":{"tls":{"client_cert":"c","client_key":"k"}}}`, `{"uri":"/","upstream":{"tls":{}}}`},
		{apisix.Services, `{"upstream":{"tls":{"client_cert_id":"a"}}}`, "a", `{"upstream":{"tls":{"client_cert":"c","client_key":"k"}}}`, `{"upstream":{"tls":{}}}`},
	} {
		doc := f.doc(c.doc)
		f.unchanged(doc, func() {
			require.Equal(t, c.id, apisix.ClientCertificateID(c.kind, doc))
			require.Equal(t, f.doc(c.with), apisix.WithClientCertificate(c.kind, doc, ssl))
			require.Equal(t, f.doc(c.without), apisix.WithClientCertificate(c.kind, doc, nil))
		})
	}
	for kind, docs := range map[apisix.Kind][]string{
		apisix.Upstreams: {`{}`, `{"tls":1}`, `{"tls":{"client_cert_id":true}}`, `{"tls":{"client_cert_id":1,"client_cert":"c"}}`, `{"tls":{"client_cert_id":1,"client_key":"k"}}`},
		apisix.Routes:    {`{"tls":{"client_cert_id":1}}`, `{"upstream":[]}`, `{"upstream":1}`},
		apisix.SSLs:      {`{"tls":{"client_cert_id":1}}`},
	} {
		for _, doc := range docs {
			require.Empty(t, apisix.ClientCertificateID(kind, f.doc(doc)), doc)
		}
	}
}
