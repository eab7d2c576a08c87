package upstream_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/nginxtest"
	"github.com/sallyport/sallyport/upstream"
)

// nginx as a node: plain, over TLS, and with a client certificate.
func TestNginx(t *testing.T) {
	n := nginxtest.New(t, "the client is not tried on it")
	ca := newAuthority(t)
	clientCert, clientKey := ca.pair(t, "client.test")
	startNginx(t, n, ca)

	for name, config := range map[string]upstream.Config{
		"plain": {},
		"tls":   {Scheme: "https", TLS: upstream.TLS{CAPEM: ca.pem}},
		"mtls":  {Scheme: "https", TLS: upstream.TLS{CAPEM: ca.pem, CertPEM: clientCert, KeyPEM: clientKey}},
	} {
		t.Run(name, func(t *testing.T) {
			conns := 0
			dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
				conns++
				return new(net.Dialer).DialContext(ctx, "unix", n.Path(name+".sock"))
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
				stored, err := os.ReadFile(n.Path("upload/x"))
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
			return new(net.Dialer).DialContext(ctx, "unix", n.Path("mtls.sock"))
		}
		p := newPool(t, upstream.Config{Scheme: "https", Nodes: []upstream.Node{{Host: "a.test"}}, TLS: upstream.TLS{CAPEM: ca.pem}}, &upstream.Options{Dialer: dial})
		status, _ := get(t, p, "http://a.test/who")
		require.Equal(t, 400, status)
	})
}

// startNginx starts three servers, on sockets of their names.
func startNginx(t *testing.T, n *nginxtest.Nginx, ca *authority) {
	t.Helper()
	cert, key := ca.pair(t, "a.test")
	n.Write("tls.crt", cert)
	n.Write("tls.key", key)
	n.Write("ca.pem", ca.pem)
	n.Write("html/large", []byte(strings.Repeat("0123456789abcdef", 64<<10)))
	n.Write("html/chunked.html", []byte(`one <!--#echo var="host" --> two`))
	n.Write("upload/x", nil)

	var http strings.Builder
	http.WriteString("if_modified_since before;\n")
	for name, extra := range map[string]string{
		"plain": "",
		"tls":   "ssl",
		"mtls":  "ssl",
	} {
		fmt.Fprintf(&http, "server {\nserver_name a.test;\nlisten unix:%s %s;\nroot %s;\n", n.Path(name+".sock"), extra, n.Path("html"))
		verified := "NONE"
		if extra != "" {
			http.WriteString("ssl_certificate tls.crt;\nssl_certificate_key tls.key;\nssl_protocols TLSv1.2 TLSv1.3;\n")
		}
		if name == "mtls" {
			http.WriteString("ssl_client_certificate ca.pem;\nssl_verify_client on;\n")
			verified = "$ssl_client_verify"
		}
		fmt.Fprintf(&http, `
location /who { return 200 "$host $ssl_protocol %s\n"; }
location /empty { return 204; }
location /chunked.html { ssi on; ssi_types *; }
location /upload/ { alias %s/; dav_methods PUT; client_max_body_size 8m; }
location /limited { client_max_body_size 10; return 200; }
location /few { keepalive_requests 5; return 200 "few"; }
}
`, verified, n.Path("upload"))
	}
	n.Start(http.String())
}
