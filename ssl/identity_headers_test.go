package ssl_test

import (
	"crypto/x509"
	"encoding/base64"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/clientcert"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// What an Identity is called in header fields, the first time and every time.
func TestIdentityHeaders(t *testing.T) {
	servers, root := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "root")
	people := root.Intermediate("people")
	const gate = "spiffe://td/gate"
	config := ssl.Config{
		ID: "1", Names: []string{"a.test"}, Client: &ssl.ClientAuth{CAPEM: root.PEM()},
		Certificates: []ssl.KeyPair{servers.Server("a.test"), servers.ServerWith([]string{"a.test"}, ssltest.URIs(gate))},
	}
	store := newStore(t, nil, config)
	s := serveTLS(t, store.TLSConfig())
	alice := people.Client("alice", ssltest.URIs("spiffe://td/alice"), ssltest.DNSNames("alice.test"))
	_, side := s.visit(t, ssltest.ClientConfig("a.test", alice))
	require.NoError(t, side.err)
	i, err := store.Judge(store.Table(), &side.state, "a.test", "/")
	require.NoError(t, err)

	binary := func(c *x509.Certificate) string { return ":" + base64.StdEncoding.EncodeToString(c.Raw) + ":" }
	hash := "By=" + gate + ";Hash=" + i.SHA256()
	names := `;Subject="CN=alice";URI=spiffe://td/alice;DNS=alice.test`
	cert := `;Cert="` + clientcert.EscapedPEM(alice.Leaf) + `"`
	chain := `;Chain="` + clientcert.EscapedPEM(alice.Leaf, people.Certificate(), root.Certificate()) + `"`
	check := func() {
		require.Equal(t, binary(alice.Leaf), i.ClientCert())
		require.Equal(t, binary(people.Certificate())+", "+binary(root.Certificate()), i.ClientCertChain())
		require.Equal(t, hash+names, i.ForwardedClientCert(0))
		require.Equal(t, hash+cert+names, i.ForwardedClientCert(ssl.XFCCCert))
		require.Equal(t, hash+chain+names, i.ForwardedClientCert(ssl.XFCCChain))
		require.Equal(t, hash+cert+chain+names, i.ForwardedClientCert(ssl.XFCCCert|ssl.XFCCChain))
		require.Equal(t, hash+names, i.ForwardedClientCert(1<<7))
		for name, want := range map[string]string{
			"ssl_client_verify": "SUCCESS", "ssl_client_s_dn": "CN=alice", "ssl_client_i_dn": "CN=people", "ssl_client_serial": i.Serial(),
			"ssl_client_fingerprint": clientcert.Fingerprint(alice.Leaf), "ssl_client_escaped_cert": clientcert.EscapedPEM(alice.Leaf),
		} {
			got, ok := i.Var(name)
			require.True(t, ok, name)
			require.Equal(t, want, got, name)
		}
		_, ok := i.Var("ssl_client_raw_cert")
		require.False(t, ok)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() { _, _ = i.ClientCert(), i.ForwardedClientCert(ssl.XFCCChain) })
	}
	all.Wait()
	check()
	require.Zero(t, testing.AllocsPerRun(10, func() {
		_, _, _, _ = i.ClientCert(), i.ClientCertChain(), i.ForwardedClientCert(ssl.XFCCCert), i.Subject()
	}))
}
