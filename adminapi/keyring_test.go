package adminapi_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/gateway"
)

// With a keyring no private key is stored in clear; what is stored either way is read, and
// what is put encrypted is taken as what it is.
func TestKeyring(t *testing.T) {
	w := newWorld(t, setup{})
	memory := &adminapi.Memory{}
	start := func(keys ...adminapi.Secret) (*gateway.Server, *adminapi.Handler, error) {
		gw := must(gateway.New(nil))
		t.Cleanup(func() { gw.Close() })
		h, err := adminapi.New(t.Context(), gw, &adminapi.Options{AllowUnauthenticated: true, Storage: memory, Keyring: keys})
		return gw, h, err
	}
	const first, second = "edd1c9f0985e76a2", "0123456789abcdef0123456789abcdef"
	up := w.upstreamDoc(1)
	up["tls"] = map[string]any{"client_cert": string(w.pair.CertPEM), "client_key": string([]byte(w.pair.KeyPEM))}
	two := w.sslDoc(w.pair)
	two["certs"], two["keys"] = list{string(w.pair2.CertPEM)}, list{string([]byte(w.pair2.KeyPEM))}

	gw, h, err := start(first)
	require.NoError(t, err)
	put := func(h *adminapi.Handler, path string, doc map[string]any) {
		status, body := ask(h, "PUT", "http://localhost/apisix/admin"+path, encode(t, doc))
		require.Contains(t, []int{200, 201}, status, body)
		require.Empty(t, leak(body, w.pair.KeyPEM, w.pair2.KeyPEM))
	}
	put(h, "/ssls/1", two)
	put(h, "/upstreams/1", up)
	put(h, "/routes/1", map[string]any{"uri": "/", "upstream": up})
	stored := load(t, memory)
	for key, r := range stored {
		require.Empty(t, leak(string(r.Value), w.pair.KeyPEM, w.pair2.KeyPEM), key)
		require.NotContains(t, string(r.Value), "PRIVATE KEY")
	}
	require.NotContains(t, handshake(gw, "a.test"), "unrecognized")

	// Another gateway, which encrypts by a newer key.
	gw, h, err = start(second, first)
	require.NoError(t, err)
	require.NotContains(t, handshake(gw, "a.test"), "unrecognized")
	// GET, edit, PUT keeps the key; so does what another gateway shows of its storage.
	_, body := ask(h, "GET", "http://localhost/apisix/admin/ssls/1", "")
	require.Contains(t, body, `"key":"[redacted]"`)
	put(h, "/ssls/1", decodeObject(t, string(stored["/ssls/1"].Value), "create_time", "update_time"))
	require.NotEqual(t, stored["/ssls/1"].Value, load(t, memory)["/ssls/1"].Value, "encrypted anew")

	_, _, err = start()
	require.ErrorContains(t, err, "Options.Keyring")
	_, _, err = start(first)
	require.ErrorContains(t, err, "/ssls/1")

	_, _, err = start("short", adminapi.Secret(strings.Repeat("x", 24)))
	require.EqualError(t, err, "adminapi: Options.Keyring[0]: must be 16 or 32 bytes long\nadminapi: Options.Keyring[1]: must be 16 or 32 bytes long")
}

func decodeObject(t *testing.T, text string, without ...string) map[string]any {
	var doc map[string]any
	require.NoError(t, json.Unmarshal([]byte(text), &doc))
	for _, name := range without {
		delete(doc, name)
	}
	return doc
}
