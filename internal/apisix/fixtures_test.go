package apisix_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/apisix"
	"github.com/sallyport/sallyport/internal/cjson"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// A fixture reads documents in which "@cert" and the like stand for PEM.
type fixture struct {
	t     testing.TB
	names []string // as for strings.NewReplacer
	pem   map[string]string
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	ca := ssltest.NewCA(t, "MyTestCA")
	one, two := ca.Server("test.com"), ca.Server("test.com")
	f := &fixture{t: t, pem: map[string]string{
		"cert": string(one.CertPEM), "key": string([]byte(one.KeyPEM)),
		"cert2": string(two.CertPEM), "key2": string([]byte(two.KeyPEM)),
		"ca":  string(ca.PEM()),
		"x64": strings.Repeat("x", 64), "x128": strings.Repeat("x", 128), "x65537": strings.Repeat("x", 65537),
		"x256": strings.Repeat("x", 256), "x257": strings.Repeat("x", 257),
		"---": strings.Repeat("-", 64),
	}}
	for name, text := range f.pem {
		f.set(name, text)
	}
	return f
}

// set makes "@name" in a document stand for a text.
func (f *fixture) set(name, text string) {
	f.pem[name] = text
	f.names = append(f.names, `"@`+name+`"`, string(cjson.Encode(text)))
}

// doc reads a document.
func (f *fixture) doc(text string) map[string]any {
	f.t.Helper()
	body, err := cjson.Decode([]byte(strings.NewReplacer(f.names...).Replace(text)))
	require.NoError(f.t, err, text)
	doc, err := apisix.Document(body)
	require.NoError(f.t, err, text)
	return doc
}

// decode decodes a document that must be in order.
func (f *fixture) decode(kind apisix.Kind, id, text string) *apisix.Object {
	f.t.Helper()
	o, err := apisix.Decode(kind, id, f.doc(text))
	require.NoError(f.t, err, text)
	return o
}

// unchanged calls do, which must leave a document as it is.
func (f *fixture) unchanged(doc map[string]any, do func()) {
	f.t.Helper()
	before := string(cjson.Encode(doc))
	do()
	require.Equal(f.t, before, string(cjson.Encode(doc)))
}

func asError(t testing.TB, err error) *apisix.Error {
	t.Helper()
	require.Error(t, err)
	e, ok := err.(*apisix.Error)
	require.True(t, ok, "%T", err)
	return e
}
