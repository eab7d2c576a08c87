package ssl_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/nginxtest"
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
	n := nginxtest.New(t, "its reading of depth and revocation lists is not compared with ours")
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

	for name, restrict := range restrictions {
		root := newAuthority(t, nil, restrict(ca("restricted")))
		middle := newAuthority(t, root, ca("middle"))
		for _, domain := range []string{"good.test", "bad.test"} {
			alice := newAuthority(t, middle, named("alice", domain))
			all = append(all,
				comparison{name: name + ", " + domain, cas: root.pem(), depth: 2, client: alice.pair(middle)},
				comparison{name: name + ", " + domain + ", the intermediate among the CAs", cas: join(root.pem(), middle.pem()), depth: 2, client: alice.pair()})
		}
	}

	for usage := range keyUsages {
		alice := newAuthority(t, root, using(leaf("alice"), usage))
		all = append(all, comparison{name: fmt.Sprintf("key usage %09b", usage), cas: root.pem(), depth: 2, client: alice.pair()})
	}
	all = append(all,
		comparison{name: "a CA as a client", cas: root.pem(), depth: 2, client: newAuthority(t, root, ca("issuing")).pair()},
		comparison{name: "the root as a client", cas: root.pem(), depth: 2, client: root.pair()})

	addrs := startNginx(t, n, all)
	servers := ssltest.NewCA(t, "servers")
	taken := 0
	for i, c := range all {
		theirs := nginxTakes(t, addrs[i], c.client)
		var ours bool
		if p, err := ssl.New(server(servers, "1", c.auth(), "a.test")); err == nil {
			d := newDoor(t, nil)
			_, err := d.store.Put(server(servers, "1", c.auth(), "a.test")) // which may warn of the CA
			require.NoError(t, err)
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

// startNginx runs a server for each comparison.
func startNginx(t *testing.T, n *nginxtest.Nginx, all []comparison) (addrs []net.Addr) {
	t.Helper()
	pair := ssltest.NewCA(t, "servers").Server("a.test")
	n.Write("tls.crt", pair.CertPEM)
	n.Write("tls.key", pair.KeyPEM)
	var http strings.Builder
	for i, c := range all {
		addrs = append(addrs, &net.UnixAddr{Name: n.Path(fmt.Sprintf("%d.sock", i)), Net: "unix"})
		n.Write(fmt.Sprintf("%d.ca", i), c.cas)
		fmt.Fprintf(&http, "server {\nlisten unix:%s ssl;\nssl_certificate tls.crt;\nssl_certificate_key tls.key;\nssl_verify_client on;\nssl_client_certificate %d.ca;\nssl_verify_depth %d;\n",
			addrs[i], i, c.depth)
		if c.crls != nil {
			n.Write(fmt.Sprintf("%d.crl", i), c.crls)
			fmt.Fprintf(&http, "ssl_crl %d.crl;\n", i)
		}
		http.WriteString("location / { return 204; }\n}\n")
	}
	n.Start(http.String())
	return addrs
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
