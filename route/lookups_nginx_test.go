package route_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/nginxtest"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// nginxVariables are those that HTTPLookups answer as nginx does. Not among them are
// those of addresses, which are not the same here, and arg_NAME, which nginx does not
// decode and APISIX does.
var nginxVariables = []string{
	"request_uri", "args", "query_string", "is_args", "scheme", "server_protocol", "content_type", "content_length",
	"http_host", "http_x_a", "http_x_b", "http_cookie", "cookie_a", "cookie_b",
	"ssl_server_name", "ssl_protocol", "ssl_cipher",
	"ssl_client_verify", "ssl_client_s_dn", "ssl_client_i_dn", "ssl_client_serial", "ssl_client_fingerprint", "ssl_client_escaped_cert",
}

// HTTPLookups say of requests what nginx says of them.
func TestHTTPLookupsLikeNginx(t *testing.T) {
	n := nginxtest.New(t, "its variables are not compared with ours")
	ca := ssltest.NewCA(t, "CA, of \"all\" <clients>")
	servers := ssltest.NewCA(t, "servers").Server("a.test")
	pair, err := tls.X509KeyPair(servers.CertPEM, servers.KeyPEM)
	require.NoError(t, err)

	theirs := startNginx(n, map[string][]byte{"tls.crt": servers.CertPEM, "tls.key": servers.KeyPEM, "ca.crt": ca.PEM()})
	ours := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer(w, r, nginxVariables)
	}))
	ours.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: ca.Pool()}
	ours.StartTLS()
	defer ours.Close()

	odd := func(c *x509.Certificate) {
		c.Subject = pkix.Name{
			CommonName: " Ülrich #1; ", Organization: []string{"A+B, \"Ltd\""}, Country: []string{"DE"}, SerialNumber: "42",
			ExtraNames: []pkix.AttributeTypeAndValue{
				{Type: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, Value: "a@b.test"},
				{Type: asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}, Value: "test"},
				{Type: asn1.ObjectIdentifier{1, 2, 3, 4, 5}, Value: "unknown"},
			},
		}
	}
	compared := 0
	for _, client := range [][]tls.Certificate{nil, {ca.Client("alice")}, {ca.Client("", odd)}} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			for _, suite := range []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256} {
				for _, name := range []string{"a.test", ""} {
					for _, request := range []string{
						"GET / HTTP/1.1\n",
						"GET /a%20b/../c?x=1&y=%20+ HTTP/1.1\nX-A: 1\nX-B:\n",
						"GET /? HTTP/1.1\nX-A:   a b  \n",
						"GET http://a.test/a?x HTTP/1.1\n",
						"POST /?x HTTP/1.1\nContent-Type: text/plain; charset=utf-8\nContent-Length: 0\n",
						"GET / HTTP/1.1\nCookie: a=1; b=x y;c\nCookie: d={\"e\":1}\n",
						"GET / HTTP/1.1\nCookie: b=; a=1=2\n",
					} {
						config := ssltest.ClientConfig(name, client...)
						config.MinVersion, config.MaxVersion, config.CipherSuites = version, version, []uint16{suite}
						// In TLS 1.3 neither the client nor nginx's default order decides alike.
						hide := version == tls.VersionTLS13
						request = strings.ReplaceAll(request+"Host: a.test\nConnection: close\n\n", "\n", "\r\n")
						config.NextProtos = nil
						want := values(t, theirs, config, request, hide)
						require.Equal(t, want, values(t, ours.Listener.Addr(), config, request, hide), "%s", request)
						compared++
					}
				}
			}
		}
	}
	require.Equal(t, 3*2*2*2*7, compared)
}

// values sends a request and returns the variables that the server answers with.
// What is absent is empty, as in nginx.
func values(t testing.TB, addr net.Addr, config *tls.Config, request string, hideCipher bool) map[string]string {
	t.Helper()
	raw, err := net.Dial(addr.Network(), addr.String())
	require.NoError(t, err)
	c := tls.Client(raw, config)
	defer c.Close()
	_, err = io.WriteString(c, request)
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode, "%s", body)
	lines := strings.Split(strings.TrimSuffix(string(body), "\n"), "\n")
	require.Len(t, lines, len(nginxVariables))
	out := map[string]string{}
	for i, name := range nginxVariables {
		if lines[i] != "absent" && (name != "ssl_cipher" || !hideCipher) {
			out[name] = lines[i]
		} else {
			out[name] = ""
		}
	}
	return out
}

// startNginx starts a server that answers with nginxVariables, on a Unix socket.
func startNginx(n *nginxtest.Nginx, files map[string][]byte) net.Addr {
	for name, data := range files {
		n.Write(name, data)
	}
	socket := &net.UnixAddr{Name: n.Path("http.sock"), Net: "unix"}
	n.Start(fmt.Sprintf(`server {
listen unix:%s ssl;
ssl_protocols TLSv1.2 TLSv1.3;
ssl_certificate tls.crt;
ssl_certificate_key tls.key;
ssl_verify_client optional;
ssl_client_certificate ca.crt;
ssl_verify_depth 1;
location / { return 200 "$%s\n"; }
}
`, socket, strings.Join(nginxVariables, "\n$")))
	return socket
}
