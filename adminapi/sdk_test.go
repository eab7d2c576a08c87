package adminapi_test

import (
	"context"
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
)

// apisix-sdk, a client of APISIX for Node, does all that it can do with our kinds.
func TestSDK(t *testing.T) {
	if testing.Short() {
		t.Skip("installs a package")
	}
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s", program)
		}
	}
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

	w := newWorld(t, setup{})
	// It asks APISIX's control API for the version, which is no part of this.
	control := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		fmt.Fprint(rw, `{"version":"3.18.0"}`)
	}))
	defer control.Close()
	drive := exec.CommandContext(ctx, "node", "drive.mjs", w.admin.URL, control.URL, w.key, w.origins[0])
	drive.Dir = dir
	drive.Stdin = strings.NewReader(encode(t, map[string]any{"cert": string(w.pair.CertPEM), "key": string([]byte(w.pair.KeyPEM))}))
	out, err := drive.CombinedOutput()
	require.Empty(t, leak(string(out), w.pair.KeyPEM))
	require.NoError(t, err, "%s", out)
	require.Equal(t, "200 origin 1: GET /sdk/x", w.get("http://svc.test/sdk/x"))
	w.check()
}
