package upstream_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/nginxtest"
	"github.com/sallyport/sallyport/upstream"
)

// A real nginx as a node, with each scheme. Its connections end after ten requests, as
// those of nginx do after a thousand: of HTTP/1.1 with "Connection: close", of HTTP/2
// with GOAWAY.
func TestNginxAsNode(t *testing.T) {
	n := nginxtest.New(t, "the schemes of HTTP/2 are not tried on it")
	ca := newAuthority(t)
	cert, key := ca.pair(t, "a.test")
	large := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	for name, data := range map[string][]byte{"large": large, "tls.crt": cert, "tls.key": key, "ca.crt": ca.pem} {
		n.Write(name, data)
	}
	var conf strings.Builder
	conf.WriteString("keepalive_requests 10;\nclient_max_body_size 0;\nssl_certificate tls.crt;\nssl_certificate_key tls.key;\nssl_verify_client on;\nssl_client_certificate ca.crt;\n")
	schemes := map[string]string{"http": "", "https": "ssl", "h2c": "http2", "grpc": "http2", "grpcs": "ssl http2"}
	for scheme, how := range schemes {
		fmt.Fprintf(&conf, "server {\nlisten unix:%s %s;\nroot %s;\nlocation = / { return 200 \"$server_protocol $request_method $host $ssl_client_verify\"; }\n}\n",
			n.Path(scheme), how, n.Dir)
	}
	n.Start(conf.String())

	for scheme := range schemes {
		t.Run(scheme, func(t *testing.T) {
			c := upstream.Config{Scheme: upstream.Scheme(scheme), Nodes: []upstream.Node{{Host: "node.test"}}}
			verify := ""
			if strings.HasSuffix(scheme, "s") {
				c.TLS.CAPEM = ca.pem
				c.TLS.CertPEM, c.TLS.KeyPEM = ca.pair(t, "client")
				verify = "SUCCESS"
			}
			protocol := "HTTP/2.0"
			if strings.HasPrefix(scheme, "http") {
				protocol = "HTTP/1.1"
			}
			p := newPool(t, c, &upstream.Options{Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", n.Path(scheme))
			}})
			for range 35 {
				for _, method := range []string{"GET", "POST"} {
					req := newRequest(t, method, "http://a.test/", nil)
					if method == "POST" {
						req = newRequest(t, method, "http://a.test/", strings.NewReader(strings.Repeat("x", 100_000)))
					}
					status, body := roundTrip(t, p, req)
					require.Equal(t, http.StatusOK, status)
					require.Equal(t, protocol+" "+method+" a.test "+verify, body)
				}
			}
			status, body := get(t, p, "http://a.test/large")
			require.Equal(t, http.StatusOK, status)
			require.Equal(t, string(large), body)
			require.Zero(t, p.Nodes()[0].Failures)
		})
	}
}
