package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl/ssltest"
)

// A service that imports the gateway is tested like any other: real TLS, real
// certificates, no ports to choose, and no waiting. What a PUT answers with 201
// holds for the next connection.
func TestService(t *testing.T) {
	gw, mux, err := newService(t.Context(), "secret")
	require.NoError(t, err)
	defer gw.Close()

	front := httptest.NewUnstartedServer(gw)
	front.TLS = gw.TLSConfig()
	front.StartTLS()
	defer front.Close()
	admin := httptest.NewServer(mux)
	defer admin.Close()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "origin saw ", r.URL.Path)
	}))
	defer origin.Close()

	put := func(path string, document map[string]any) (int, string) {
		body, err := json.Marshal(document)
		require.NoError(t, err)
		req, err := http.NewRequest(http.MethodPut, admin.URL+path, strings.NewReader(string(body)))
		require.NoError(t, err)
		req.Header.Set("X-API-KEY", "secret")
		return do(t, admin.Client(), req)
	}
	get := func(client *http.Client, url string) (int, string) {
		req, err := http.NewRequest(http.MethodGet, url, nil)
		require.NoError(t, err)
		return do(t, client, req)
	}

	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	pair := servers.Server("a.test")
	status, body := put("/apisix/admin/ssls/1", map[string]any{
		"sni": "a.test", "cert": string(pair.CertPEM), "key": string(pair.KeyPEM),
		"client": map[string]any{"ca": string(people.PEM())},
	})
	require.Equal(t, http.StatusCreated, status, body)
	status, body = put("/apisix/admin/routes/1", map[string]any{
		"uri":      "/api/*",
		"upstream": map[string]any{"type": "roundrobin", "nodes": map[string]any{origin.Listener.Addr().String(): 1}},
	})
	require.Equal(t, http.StatusCreated, status, body)

	// What this service has configured itself, nobody takes from it.
	status, body = put("/apisix/admin/routes/hello", map[string]any{"uri": "/hello", "upstream": map[string]any{"nodes": map[string]any{}}})
	require.Equal(t, http.StatusConflict, status)
	require.Contains(t, body, "routes/hello is configured by the program")

	alice := ssltest.Client(t, front.Listener, "a.test", people.Client("alice"))
	status, body = get(alice, "https://a.test/hello")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "Hello, CN=alice.\n", body)
	status, body = get(alice, "https://a.test/api/x")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "origin saw /api/x", body)

	// Nobody gets in without a certificate, or with another CA's.
	_, err = ssltest.Client(t, front.Listener, "a.test").Get("https://a.test/hello")
	require.Error(t, err)
	_, err = ssltest.Client(t, front.Listener, "a.test", servers.Client("mallory")).Get("https://a.test/hello")
	require.Error(t, err)
}

func do(t *testing.T, client *http.Client, req *http.Request) (int, string) {
	t.Helper()
	res, err := client.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(body)
}
