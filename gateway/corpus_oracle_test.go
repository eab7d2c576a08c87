package gateway_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/nginxtest"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// The oracles are proxies of others in front of the same origin, set up alike: a
// route for a.test, and for any host's /nohost. Where one of them takes what we
// refuse, refuses what we take, or sends the origin more or less, the corpus says why.

// A verdict is what an oracle makes of a case, and what the corpus says that we do:
// "accepts 2" if the origin got two requests and no answer is an error. What the
// recorder finds fault with is "malformed".
func verdict(refused bool, requests int, faults []string) string {
	word := "accepts"
	if refused {
		word = "refuses"
	}
	word += " " + strconv.Itoa(requests)
	if len(faults) > 0 {
		word += " malformed"
	}
	return word
}

// isRefusal reports whether an answer, or a pattern of some, says that a request is
// not served.
func isRefusal(answer string) bool {
	return answer[0] == '4' || answer[0] == '5' || strings.HasPrefix(answer, "reset")
}

// verdict is what we do.
func (w *corpusWant) verdict() string {
	refused, answered := false, w.answers == "open" // as a client wants it who has no answer
	for word := range strings.FieldsSeq(w.answers) {
		refused = refused || isRefusal(word)
		answered = answered || word[0] == '2'
	}
	return verdict(refused || !answered, len(w.origin), nil)
}

// verdict is what an oracle does.
func (r *corpusResult) verdict() string {
	refused, answered := r.end() == "waits", false
	for _, word := range r.answers {
		refused = refused || isRefusal(word)
		answered = answered || word[0] == '2'
	}
	// A probe that was answered is an answer to nothing else.
	return verdict(refused || !answered && r.end() != "open", len(r.whole), r.faults)
}

// compare plays all cases at an oracle, and fails for differences that the corpus does
// not explain, and explanations without a difference.
func compare(t *testing.T, f *front, cases []*corpusCase) {
	for _, c := range cases {
		t.Run(c.id(), func(t *testing.T) {
			got, ours := c.play(f), c.want.verdict()
			said, noted := c.oracles[f.name]
			want := ours
			if noted {
				require.NotEqual(t, ours, said.verdict, "%s, line %d: there is nothing to explain", c.file, c.line)
				want = said.verdict
			}
			if theirs := got.verdict(); !slices.Contains(strings.Split(want, " or "), theirs) {
				var texts []string
				for _, req := range got.whole {
					texts = append(texts, req.text())
				}
				t.Errorf("%s, line %d (%s)\n%s %s, and the corpus says that it %s\nanswers: %s\norigin:  %q\n%s",
					c.file, c.line, c.rule, f.name, theirs, want, strings.Join(got.answers, " "), texts, strings.Join(got.faults, "\n"))
			}
		})
	}
}

// oracleFront is a front at an address, over TLS for HTTP/2.
func oracleFront(t testing.TB, name, network, address string, http2 bool, origin *recorder) *front {
	return &front{name: name, http2: http2, origin: origin, open: func() *rawConn {
		conn, err := net.Dial(network, address)
		require.NoError(t, err)
		_ = conn.SetDeadline(time.Now().Add(patience))
		if http2 {
			config := ssltest.ClientConfig("a.test")
			config.NextProtos = []string{"h2"}
			secure := tls.Client(conn, config)
			require.NoError(t, secure.HandshakeContext(t.Context()))
			conn = secure
		}
		return &rawConn{conn, t, bufio.NewReader(conn)}
	}}
}

func TestCorpusNginx(t *testing.T) {
	t.Parallel()
	n := nginxtest.New(t, "the corpus is not compared with it")
	origin := newRecorder(t)
	pair := ssltest.NewCA(t, "servers").Server("a.test")
	n.Write("a.pem", slices.Concat(pair.CertPEM, pair.KeyPEM))
	n.Start(fmt.Sprintf(`
upstream origin { server %s; keepalive 4; }
client_header_timeout 1s;
client_body_timeout 1s;
keepalive_timeout 1s;
lingering_timeout 1s;
proxy_ignore_client_abort on; # half of a connection may end
proxy_http_version 1.1;
proxy_set_header Connection "";
proxy_set_header Host $host;
ssl_certificate a.pem;
ssl_certificate_key a.pem;
server {
	listen unix:%[2]s default_server;
	listen unix:%[3]s default_server ssl http2;
	server_name _;
	location / { return 404; }
	location = /nohost { proxy_pass http://origin; }
}
server {
	listen unix:%[2]s;
	listen unix:%[3]s ssl http2;
	server_name a.test;
	location / { proxy_pass http://origin; }
}
`, origin.address(), n.Path("http1.sock"), n.Path("http2.sock")))
	t.Run("http1", func(t *testing.T) {
		compare(t, oracleFront(t, "nginx", "unix", n.Path("http1.sock"), false, origin), corpus(t, "http1"))
	})
	t.Run("http2", func(t *testing.T) {
		compare(t, oracleFront(t, "nginx", "unix", n.Path("http2.sock"), true, origin), corpus(t, "http2"))
	})
}

func TestCorpusHAProxy(t *testing.T) {
	t.Parallel()
	origin := newRecorder(t)
	pair := ssltest.NewCA(t, "servers").Server("a.test")
	http1, http2 := startHAProxy(t, slices.Concat(pair.CertPEM, pair.KeyPEM), fmt.Sprintf(`
defaults
	mode http
	timeout connect 1s
	timeout client 1s
	timeout server 1s
	timeout http-request 1s
	timeout tunnel 100ms
	option http-buffer-request
frontend front
	bind fd@3
	bind fd@4 ssl crt a.pem alpn h2
	acl here req.hdr(host),host_only,lower -m str a.test
	acl anywhere path /nohost
	http-request return status 404 if !here !anywhere
	default_backend origin
backend origin
	http-reuse always
	server origin %s
`, origin.address()))
	t.Run("http1", func(t *testing.T) {
		compare(t, oracleFront(t, "haproxy", "tcp", http1, false, origin), corpus(t, "http1"))
	})
	t.Run("http2", func(t *testing.T) {
		compare(t, oracleFront(t, "haproxy", "tcp", http2, true, origin), corpus(t, "http2"))
	})
}

// startHAProxy runs HAProxy with a configuration until the end of the test, and
// returns the addresses of its descriptors 3 and 4. They are listening before HAProxy
// runs, so that nobody has to wait for it. It skips the test if there is none.
func startHAProxy(t testing.TB, pem []byte, config string) (fd3, fd4 string) {
	t.Helper()
	exe, err := exec.LookPath("haproxy")
	if err != nil {
		t.Skip("haproxy is not installed: the corpus is not compared with it")
	}
	cmd := exec.Command(exe, "-db", "-q", "-f", "haproxy.cfg")
	cmd.Dir = t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(cmd.Dir, "haproxy.cfg"), []byte(config), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(cmd.Dir, "a.pem"), pem, 0o600))
	inherited := func() string {
		listener := listen(t)
		defer listener.Close()
		socket, err := listener.(*net.TCPListener).File()
		require.NoError(t, err)
		cmd.ExtraFiles = append(cmd.ExtraFiles, socket) // from number 3
		return listener.Addr().String()
	}
	fd3, fd4 = inherited(), inherited()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	for _, socket := range cmd.ExtraFiles {
		socket.Close()
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("haproxy: %s", stderr.String())
		}
	})
	return fd3, fd4
}
