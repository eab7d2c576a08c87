package ssl_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// A comparison is a policy as nginx writes it, and a client.
type comparison struct {
	name   string
	cas    []byte
	depth  int // as ssl_verify_depth
	crls   []byte
	client tls.Certificate
}

// auth is the same policy as this package writes it. nginx's depth of 0 is
// NoIntermediates. Both count intermediates alone: OpenSSL has done so since
// 1.1.0, and nginx hands its number on as it is.
func (c comparison) auth() *ssl.ClientAuth {
	auth := &ssl.ClientAuth{CAPEM: c.cas, Depth: c.depth}
	if c.depth == 0 {
		auth.Depth = ssl.NoIntermediates
	}
	if c.crls != nil {
		auth.CRLs = [][]byte{c.crls}
	}
	return auth
}

// What nginx takes is taken here, and nothing else: chains of every length at
// every depth, and with revocation lists of every kind.
func TestLikeNginx(t *testing.T) {
	program, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("nginx is not installed: its reading of depth and revocation lists is not compared with ours")
	}
	root := newAuthority(t, nil, ca("root"))
	chain := []*authority{root}
	for i := range 4 {
		chain = append(chain, newAuthority(t, chain[i], ca(fmt.Sprintf("middle %d", i+1))))
	}
	// client returns one below some intermediates. It shows those that are not
	// among the CAs.
	client := func(intermediates, known int) (*authority, tls.Certificate) {
		alice := newAuthority(t, chain[intermediates], leaf("alice"))
		var shown []*authority
		for i := intermediates; i > known; i-- {
			shown = append(shown, chain[i])
		}
		return alice, alice.pair(shown...)
	}
	var all []comparison
	for n := range 5 {
		for depth := range 5 {
			_, pair := client(n, 0)
			all = append(all, comparison{name: fmt.Sprintf("intermediates=%d depth=%d", n, depth), cas: root.pem(), depth: depth, client: pair})
			if n > 0 {
				_, pair := client(n, 1)
				all = append(all, comparison{name: fmt.Sprintf("intermediates=%d depth=%d, one among the CAs", n, depth), cas: join(root.pem(), chain[1].pem()), depth: depth, client: pair})
			}
		}
	}
	_, orphan := client(2, 1)
	all = append(all, comparison{name: "an intermediate among the CAs without its root", cas: chain[1].pem(), depth: 4, client: orphan})

	middle := chain[1]
	alice, pair := client(1, 0)
	list := x509.RevocationList{}
	old := x509.RevocationList{ThisUpdate: time.Now().Add(-3 * time.Hour)}
	stale := x509.RevocationList{ThisUpdate: time.Now().Add(-3 * time.Hour), NextUpdate: time.Now().Add(-time.Minute)}
	future := x509.RevocationList{ThisUpdate: time.Now().Add(30 * time.Minute)}
	namesake := newAuthority(t, nil, ca("middle 1"))
	forged := middle.crl(list)
	forged[len(forged)-1] ^= 1
	for name, lists := range map[string][][]byte{
		"clean":                                  {root.crl(list), middle.crl(list)},
		"leaf revoked":                           {root.crl(list), middle.crl(list, alice.cert)},
		"intermediate revoked":                   {root.crl(list, middle.cert), middle.crl(list)},
		"the serial of another issuer's list":    {root.crl(list, alice.cert), middle.crl(list)},
		"none of the intermediate":               {root.crl(list)},
		"none of the root":                       {middle.crl(list)},
		"the intermediate's expired":             {root.crl(list), middle.crl(stale)},
		"the root's expired":                     {root.crl(stale), middle.crl(list)},
		"not valid yet":                          {root.crl(list), middle.crl(future)},
		"a namesake's":                           {root.crl(list), namesake.crl(list)},
		"forged":                                 {root.crl(list), forged},
		"the newest revokes":                     {root.crl(list), middle.crl(old), middle.crl(list, alice.cert)},
		"the newest revokes, in the other order": {root.crl(list), middle.crl(list, alice.cert), middle.crl(old)},
		"the newest no longer revokes":           {root.crl(list), middle.crl(old, alice.cert), middle.crl(list)},
	} {
		var crls []byte
		for _, der := range lists {
			crls = append(crls, crlPEM(der)...)
		}
		all = append(all,
			comparison{name: name, cas: root.pem(), depth: 2, crls: crls, client: pair},
			comparison{name: name + ", the intermediate among the CAs", cas: join(middle.pem(), root.pem()), depth: 2, crls: crls, client: alice.pair()})
	}

	dying := ssltest.NewCA(t, "dying", func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	})
	below := dying.Intermediate("below")
	fromBelow := below.Client("alice")
	all = append(all,
		comparison{name: "expired root", cas: dying.PEM(), depth: 2, client: fromBelow},
		comparison{name: "expired root, the intermediate among the CAs", cas: join(below.PEM(), dying.PEM()), depth: 2, client: fromBelow})

	addrs := startNginx(t, program, all)
	servers := ssltest.NewCA(t, "servers")
	taken := 0
	for i, c := range all {
		theirs := nginxTakes(t, addrs[i], c.client)
		var ours bool
		if p, err := ssl.New(server(servers, "1", c.auth(), "a.test")); err == nil {
			d := newDoor(t, nil, server(servers, "1", c.auth(), "a.test"))
			_, passage := d.visit(t, ssltest.ClientConfig("a.test", c.client))
			ours = passage.err == nil
			d.Close()
		} else {
			require.Nil(t, p)
		}
		require.Equal(t, theirs, ours, "%s: nginx takes it: %t, we: %t", c.name, theirs, ours)
		if ours {
			taken++
		}
	}
	require.Greater(t, taken, 10, "the comparison says something")
	require.Less(t, taken, len(all)-10)
}

// startNginx starts a server for each policy, on a socket of its own.
func startNginx(t *testing.T, program string, all []comparison) (addrs []net.Addr) {
	t.Helper()
	// Not t.TempDir: the path of a Unix socket has at most 107 bytes.
	dir, err := os.MkdirTemp("", "nginx")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		return path
	}
	pair := ssltest.NewCA(t, "servers").Server("a.test")
	cert, key := write("tls.crt", pair.CertPEM), write("tls.key", pair.KeyPEM)
	var conf strings.Builder
	conf.WriteString("daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr notice;\nevents {}\nhttp {\naccess_log off;\n")
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&conf, "%s_temp_path %s;\n", kind, filepath.Join(dir, kind))
	}
	for i, c := range all {
		socket := filepath.Join(dir, fmt.Sprintf("%d.sock", i))
		addrs = append(addrs, &net.UnixAddr{Name: socket, Net: "unix"})
		fmt.Fprintf(&conf, "server {\nlisten unix:%s ssl;\nssl_certificate %s;\nssl_certificate_key %s;\nssl_verify_client on;\nssl_client_certificate %s;\nssl_verify_depth %d;\n",
			socket, cert, key, write(fmt.Sprintf("%d.ca", i), c.cas), c.depth)
		if c.crls != nil {
			fmt.Fprintf(&conf, "ssl_crl %s;\n", write(fmt.Sprintf("%d.crl", i), c.crls))
		}
		conf.WriteString("location / { return 204; }\n}\n")
	}
	conf.WriteString("}\n")
	cmd := exec.Command(program, "-p", dir, "-c", write("nginx.conf", []byte(conf.String())), "-e", "stderr")
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
			return addrs
		}
	}
	require.Fail(t, "nginx does not start", strings.Join(said, "\n"))
	return nil
}

// nginxTakes reports whether nginx serves a request of a client: it ends the
// handshake of one that it does not take, and answers 400.
func nginxTakes(t *testing.T, addr net.Addr, cert tls.Certificate) bool {
	t.Helper()
	res, err := ssltest.Client(t, addressed{addr}, "a.test", cert).Get("https://a.test/")
	require.NoError(t, err)
	defer res.Body.Close()
	require.Contains(t, []int{http.StatusNoContent, http.StatusBadRequest}, res.StatusCode)
	return res.StatusCode == http.StatusNoContent
}

type addressed struct{ addr net.Addr }

func (a addressed) Addr() net.Addr { return a.addr }
