package upstream_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/upstream"
)

// nginx as a node: plain, over TLS, and with a client certificate.
func TestNginx(t *testing.T) {
	program, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("nginx is not installed: the client is not tried on it")
	}
	ca := newAuthority(t)
	clientCert, clientKey := ca.pair(t, "client.test")
	dir := startNginx(t, program, ca)

	for name, config := range map[string]upstream.Config{
		"plain": {},
		"tls":   {Scheme: "https", TLS: upstream.TLS{CAPEM: ca.pem}},
		"mtls":  {Scheme: "https", TLS: upstream.TLS{CAPEM: ca.pem, CertPEM: clientCert, KeyPEM: clientKey}},
	} {
		t.Run(name, func(t *testing.T) {
			conns := 0
			dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
				conns++
				return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, name+".sock"))
			}
			config.Nodes = []upstream.Node{{Host: "a.test"}}
			p := newPool(t, config, &upstream.Options{Dialer: dial})
			large := strings.Repeat("0123456789abcdef", 64<<10)

			for range 20 {
				status, body := get(t, p, "http://a.test/who")
				require.Equal(t, 200, status)
				want := map[string]string{"plain": "a.test  NONE", "tls": "a.test TLSv1.3 NONE", "mtls": "a.test TLSv1.3 SUCCESS"}[name]
				require.Equal(t, want, strings.TrimSpace(body))
			}
			require.Equal(t, 1, conns)

			status, body := get(t, p, "http://a.test/large")
			require.Equal(t, 200, status)
			require.True(t, large == body)

			resp, err := p.RoundTrip(newRequest(t, "HEAD", "http://a.test/large", nil))
			require.NoError(t, err)
			require.EqualValues(t, len(large), resp.ContentLength)
			resp.Body.Close()

			resp, err = p.RoundTrip(newRequest(t, "GET", "http://a.test/chunked.html", nil))
			require.NoError(t, err)
			require.Equal(t, []string{"chunked"}, resp.TransferEncoding)
			all, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, "one a.test two", string(all))
			resp.Body.Close()

			req := newRequest(t, "GET", "http://a.test/large", nil)
			req.Header.Set("If-Modified-Since", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
			status, _ = roundTrip(t, p, req)
			require.Equal(t, 304, status)
			status, _ = roundTrip(t, p, newRequest(t, "GET", "http://a.test/empty", nil))
			require.Equal(t, 204, status)

			for _, length := range []int64{int64(len(large)), -1} {
				req = newRequest(t, "PUT", "http://a.test/upload/x", io.NopCloser(strings.NewReader(large)))
				req.ContentLength = length
				status, _ = roundTrip(t, p, req)
				require.Contains(t, []int{201, 204}, status)
				stored, err := os.ReadFile(filepath.Join(dir, "upload", "x"))
				require.NoError(t, err)
				require.True(t, large == string(stored))
			}
			require.Equal(t, 1, conns)

			// It answers by the head of the request, and closes.
			req = newRequest(t, "POST", "http://a.test/limited", io.NopCloser(strings.NewReader(large)))
			req.ContentLength = int64(len(large))
			status, _ = roundTrip(t, p, req)
			require.Equal(t, 413, status)

			// It closes after a number of requests, and says so.
			conns = 0
			for range 50 {
				status, _ = get(t, p, "http://a.test/few")
				require.Equal(t, 200, status)
			}
			require.InDelta(t, 10, conns, 2)
			require.Zero(t, p.Nodes()[0].Failures)
		})
	}

	t.Run("without the certificate", func(t *testing.T) {
		dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "mtls.sock"))
		}
		p := newPool(t, upstream.Config{Scheme: "https", Nodes: []upstream.Node{{Host: "a.test"}}, TLS: upstream.TLS{CAPEM: ca.pem}}, &upstream.Options{Dialer: dial})
		status, _ := get(t, p, "http://a.test/who")
		require.Equal(t, 400, status)
	})
}

// startNginx returns the directory with its sockets.
func startNginx(t *testing.T, program string, ca *authority) string {
	t.Helper()
	// Not t.TempDir: the path of a Unix socket has at most 107 bytes.
	dir, err := os.MkdirTemp("", "nginx")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	write := func(name string, data []byte) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, data, 0o600))
	}
	cert, key := ca.pair(t, "a.test")
	write("tls.crt", cert)
	write("tls.key", key)
	write("ca.pem", ca.pem)
	write("html/large", []byte(strings.Repeat("0123456789abcdef", 64<<10)))
	write("html/chunked.html", []byte(`one <!--#echo var="host" --> two`))
	write("upload/x", nil)

	var conf strings.Builder
	conf.WriteString("daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr notice;\nevents {}\nhttp {\naccess_log off;\nif_modified_since before;\n")
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&conf, "%s_temp_path %s;\n", kind, filepath.Join(dir, kind))
	}
	for name, extra := range map[string]string{
		"plain": "",
		"tls":   "ssl",
		"mtls":  "ssl",
	} {
		fmt.Fprintf(&conf, "server {\nserver_name a.test;\nlisten unix:%s %s;\nroot %s;\n", filepath.Join(dir, name+".sock"), extra, filepath.Join(dir, "html"))
		verified := "NONE"
		if extra != "" {
			conf.WriteString("ssl_certificate tls.crt;\nssl_certificate_key tls.key;\nssl_protocols TLSv1.2 TLSv1.3;\n")
		}
		if name == "mtls" {
			conf.WriteString("ssl_client_certificate ca.pem;\nssl_verify_client on;\n")
			verified = "$ssl_client_verify"
		}
		fmt.Fprintf(&conf, `
location /who { return 200 "$host $ssl_protocol %s\n"; }
location /empty { return 204; }
location /chunked.html { ssi on; ssi_types *; }
location /upload/ { alias %s/; dav_methods PUT; client_max_body_size 8m; }
location /limited { client_max_body_size 10; return 200; }
location /few { keepalive_requests 5; return 200 "few"; }
}
`, verified, filepath.Join(dir, "upload"))
	}
	conf.WriteString("}\n")
	write("nginx.conf", []byte(conf.String()))
	cmd := exec.Command(program, "-p", dir, "-c", filepath.Join(dir, "nginx.conf"), "-e", "stderr")
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	// It says how it waits for events once all its sockets are open.
	log := bufio.NewScanner(stderr)
	var said []string
	for log.Scan() {
		said = append(said, log.Text())
		if strings.Contains(log.Text(), "event method") {
			go func() {
				for log.Scan() { // lest it waits for somebody to read
				}
			}()
			return dir
		}
	}
	require.Fail(t, "nginx does not start", strings.Join(said, "\n"))
	return ""
}
