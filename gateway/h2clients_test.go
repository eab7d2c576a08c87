package gateway_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// Clients with HTTP/2 that others have written get their answers: curl, and nghttp and
// h2load of nghttp2. Each is skipped where it is not installed.
func TestHTTP2Clients(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, content, 0o600))
		return path
	}
	o := &gateway.Options{}
	o.TLS.FallbackName = "pub.test" // nghttp and h2load connect to an address
	h := newHarness(t, o)
	early := route.Config{ID: "early", Paths: []string{"/early"}, Upstream: "1"}
	h.apply(gateway.Config{
		Profiles:  []ssl.Config{h.profile("pub", []string{"pub.test"}), h.profile("1", []string{"a.test"}, h.people)},
		Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)},
		Routes:    []route.Config{everything("1", "1"), early},
	})
	h.origin.on(func(v *visit) {
		status := "200 OK"
		if v.target() == "/early" {
			status = "403 Forbidden"
		} else if !v.readBody() {
			return
		}
		v.write(fmt.Sprintf("HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s", status, len("ok "+v.target()), "ok "+v.target()))
		v.close = v.target() == "/early"
	})
	ca := file("ca.pem", h.servers.PEM())
	alice := h.people.Client("alice")
	cert := file("alice.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: alice.Certificate[0]}))
	der, err := x509.MarshalPKCS8PrivateKey(alice.PrivateKey)
	require.NoError(t, err)
	key := file("alice.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	body := file("body", bytes.Repeat([]byte("x"), 2<<20))

	run := func(t *testing.T, program string, args ...string) string {
		t.Helper()
		exe, err := exec.LookPath(program)
		if err != nil {
			t.Skip(program + " is not installed")
		}
		out, err := exec.CommandContext(t.Context(), exe, args...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		return string(out)
	}
	port := h.http2.port()
	curl := func(t *testing.T, host, path string, args ...string) string {
		t.Helper()
		args = append(args, "-sS", "--max-time", "20", "--http2", "--cacert", ca, "--resolve", host+":"+port+":127.0.0.1",
			"-w", " %{http_version} %{http_code}\n", "https://"+host+":"+port+path)
		return run(t, "curl", args...)
	}
	t.Run("curl", func(t *testing.T) {
		require.Equal(t, "ok / 2 200\n", curl(t, "pub.test", "/"))
		require.Equal(t, "ok /a?b=c 2 200\n", curl(t, "a.test", "/a?b=c", "--cert", cert, "--key", key))
		require.Contains(t, curl(t, "pub.test", "/", "-H", "Host: a.test"), " 2 421\n")
		require.Equal(t, "ok /up 2 200\n", curl(t, "pub.test", "/up", "--data-binary", "@"+body))
		require.Equal(t, "ok /up 2 200\n", curl(t, "pub.test", "/up", "-T", body))
		require.True(t, strings.HasSuffix(curl(t, "pub.test", "/", "-I"), " 2 200\n"))
	})
	t.Run("curl, refused early", func(t *testing.T) {
		require.Equal(t, "ok /early 2 403\n", curl(t, "pub.test", "/early", "-H", "Expect:", "--data-binary", "@"+file("little", bytes.Repeat([]byte("x"), 500_000))))
	})
	t.Run("nghttp", func(t *testing.T) {
		out := run(t, "nghttp", "-v", "--no-dep", "-m", "20", "-d", body, "-H", ":authority: pub.test", "https://127.0.0.1:"+port+"/up")
		require.Equal(t, 20, strings.Count(out, ":status: 200"), out)
		require.NotContains(t, out, "RST_STREAM")
	})
	t.Run("h2load", func(t *testing.T) {
		out := run(t, "h2load", "-n", "2000", "-c", "4", "-m", "20", "https://127.0.0.1:"+port+"/", "-H", ":authority: pub.test")
		require.Contains(t, out, "2000 succeeded, 0 failed, 0 errored, 0 timeout")
	})
}
