package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl/ssltest"
)

// apisix-sdk, a client of APISIX for Node, does all that it can do with our kinds.
func TestSDK(t *testing.T) {
	if testing.Short() {
		t.Skip("installs a package")
	}
	needs(t, "node", "npm")
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "drive.mjs"} {
		data, err := os.ReadFile(filepath.Join("testdata", "apisix-sdk", name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o644))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("npm cannot install apisix-sdk: %v: %s", err, out)
	}

	const key = "of-the-sdk"
	flags := []string{"-admin-key", key, "-plain", "open"}
	p := start(t, flags...)
	// The SDK takes any error whose text, URL included, has a 401 in it for a wrong key.
	for strings.Contains(p.addr["Admin API"], "401") {
		p.stop(t)
		p = start(t, flags...)
	}
	// It asks APISIX's control API for the version, which is no part of this.
	control := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		fmt.Fprint(rw, `{"version":"3.18.0"}`)
	}))
	defer control.Close()
	drive := exec.CommandContext(ctx, "node", "drive.mjs", "http://"+p.addr["Admin API"], control.URL, key, p.addr["Origin"])
	drive.Dir = dir
	pair := ssltest.NewCA(t, "servers").Server("a.test")
	sent, err := json.Marshal(map[string]string{"cert": string(pair.CertPEM), "key": string([]byte(pair.KeyPEM))})
	require.NoError(t, err)
	drive.Stdin = strings.NewReader(string(sent))
	out, err := drive.CombinedOutput()
	require.NoError(t, err, "%s", out)

	// What it left behind works.
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.addr["HTTP"]+"/anything/sdk/x", nil)
	require.NoError(t, err)
	r.Host = "svc.test"
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, http.StatusOK, res.StatusCode)
	log := p.stop(t)
	for line := range strings.Lines(string([]byte(pair.KeyPEM))) {
		require.NotContains(t, string(out)+log, strings.TrimSpace(line))
	}
}
