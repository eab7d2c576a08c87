package adminapi_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl/ssltest"
)

// Nothing that a certificate points to is fetched: neither from one of ours, nor from
// a client CA, nor from a client's.
func TestCertificatesAreNotFollowed(t *testing.T) {
	w := newWorld(t, setup{})
	l := listen(t)
	dialled := make(chan struct{}, 100)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			dialled <- struct{}{}
			conn.Close()
		}
	}()
	defer l.Close()
	url := "http://" + l.Addr().String() + "/x"
	pointing := func(c *x509.Certificate) {
		c.OCSPServer, c.IssuingCertificateURL, c.CRLDistributionPoints = []string{url}, []string{url}, []string{url}
	}
	ca := ssltest.NewCA(t, "pointing", pointing)
	pair := ca.ServerWith([]string{"a.test"}, pointing)
	w.put("/ssls/1", map[string]any{
		"sni": "a.test", "cert": string(pair.CertPEM), "key": string([]byte(pair.KeyPEM)),
		"client": map[string]any{"ca": string(ca.PEM())},
	})
	w.put("/upstreams/1", map[string]any{
		"scheme": "https", "nodes": map[string]any{w.origins[0]: 1},
		"tls": map[string]any{"client_cert": string(pair.CertPEM), "client_key": string([]byte(pair.KeyPEM))},
	})
	w.put("/routes/1", w.routeDoc("/1", 1))
	require.Equal(t, "200 origin 1: GET /1", w.get("https://a.test/1", ca.Client("alice", pointing)))
	require.Equal(t, 200, w.do("POST", "/apisix/admin/configs/validate", `{}`).status)
	require.Empty(t, dialled)
}

// What is meant to keep a processor or the memory busy is refused, and nothing is left of
// it.
func TestBombs(t *testing.T) {
	w := newWorld(t, setup{})
	cert := string(w.pair.CertPEM)
	block := "-----BEGIN X-----\n-----END X-----\n"
	deep := strings.Repeat(`{"a":`, 999) + "1" + strings.Repeat("}", 999)
	for name, r := range map[string]request{
		"10 MB of PEM":                {"PUT", "/ssls/1", encode(t, map[string]any{"sni": "a.test", "cert": strings.Repeat("A", 10<<20), "key": "x"})},
		"10 MB of PEM in all of it":   {"PUT", "/configs", `{"ssls":[` + encode(t, map[string]any{"id": 1, "sni": "a.test", "cert": strings.Repeat("A", 10<<20), "key": "x"}) + `]}`},
		"thousands of blocks":         {"PUT", "/ssls/1", encode(t, map[string]any{"sni": "a.test", "cert": strings.Repeat(block, 1500), "key": string([]byte(w.pair.KeyPEM))})},
		"beginnings without ends":     {"PUT", "/ssls/1", encode(t, map[string]any{"sni": "a.test", "cert": strings.Repeat("-----BEGIN CERTIFICATE-----\n", 2000), "key": string([]byte(w.pair.KeyPEM))})},
		"hundreds of certificates":    {"PUT", "/ssls/1", encode(t, map[string]any{"sni": "a.test", "cert": strings.Repeat(cert, 300), "key": string([]byte(w.pair.KeyPEM))})},
		"a tree":                      {"PUT", "/ssls/1", `{"sni":"a.test","cert":` + deep + `}`},
		"a deeper tree":               {"PUT", "/routes/1", strings.Repeat("[", 100_000)},
		"a tree to patch":             {"PATCH", "/routes/1", deep},
		"a path into it":              {"PATCH", "/routes/1/" + strings.Repeat("a/", 5000) + "a", "1"},
		"a hundred thousand names":    {"PUT", "/ssls/1", `{"snis":["a b"` + strings.Repeat(`,"a b"`, 200_000) + `]}`},
		"a hundred thousand unknowns": {"PUT", "/routes/1", "{" + unknowns(100_000) + "}"},
		"variables":                   {"PUT", "/routes/1", `{"uri":"/1","upstream":{"nodes":{}},"vars":[["uri","~~","` + strings.Repeat("(a*)*", 1000) + `"]]}`},
	} {
		w.put("/routes/1", w.routeDoc("/1", 1))
		a := w.doWith(r.method, "/apisix/admin"+r.path, r.body, "X-Digest", name)
		require.Equal(t, 400, a.status, "%s: %.200s", name, a.body)
		require.Less(t, len(a.body), 20_000, name)
	}
	w.check()
}

func unknowns(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"u%d":%d`, i, i)
	}
	return b.String()[1:]
}

// Whatever kind of key a certificate has, it is taken and works, or is refused.
func TestKeyTypes(t *testing.T) {
	w := newWorld(t, setup{})
	w.put("/routes/1", w.routeDoc("/1", 1))
	rsa2048, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	p224, _ := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p521, _ := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	issuer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		public, private any
		taken           bool
	}{
		"RSA":     {rsa2048.Public(), rsa2048, true},
		"P-256":   {p256.Public(), p256, true},
		"P-521":   {p521.Public(), p521, true},
		"Ed25519": {ed.Public(), ed, true},
		"P-224":   {p224.Public(), p224, false}, // TLS has none
	} {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"a.test"},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, c.public, issuer)
		require.NoError(t, err, name)
		key, err := x509.MarshalPKCS8PrivateKey(c.private)
		require.NoError(t, err, name)
		a := w.do("PUT", "/apisix/admin/ssls/1", encode(t, map[string]any{
			"sni":  "a.test",
			"cert": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
			"key":  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
		}))
		if !c.taken {
			require.Equal(t, 400, a.status, "%s: %s", name, a.body)
			continue
		}
		require.Contains(t, []int{200, 201}, a.status, "%s: %s", name, a.body)
		require.Equal(t, "200 origin 1: GET /1", w.get("https://a.test/1"), name)
	}
	w.check()
}

// A DSA certificate, which Go reads and TLS cannot use, is refused.
func TestDSA(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("needs openssl")
	}
	w := newWorld(t, setup{})
	dir := t.TempDir()
	key, cert := filepath.Join(dir, "key"), filepath.Join(dir, "cert")
	for _, args := range [][]string{
		{"dsaparam", "-genkey", "-noout", "-out", key, "1024"},
		{"req", "-x509", "-new", "-key", key, "-subj", "/CN=a.test", "-days", "1", "-out", cert},
	} {
		if out, err := exec.Command("openssl", args...).CombinedOutput(); err != nil {
			t.Skipf("openssl makes no DSA certificate: %s", out)
		}
	}
	a := w.do("PUT", "/apisix/admin/ssls/1", encode(t, map[string]any{"sni": "a.test", "cert": read(t, cert), "key": read(t, key)}))
	require.Equal(t, 400, a.status, a.body)
	require.Contains(t, a.body, "it is no RSA, ECDSA or Ed25519 key")
	a = w.do("PUT", "/apisix/admin/ssls/1", encode(t, map[string]any{"sni": "a.test", "cert": read(t, cert), "key": string([]byte(w.pair.KeyPEM))}))
	require.Equal(t, 400, a.status, a.body)
	w.put("/ssls/1", w.sslDoc(w.pair))
	a = w.do("PATCH", "/apisix/admin/ssls/1", encode(t, map[string]any{"client": map[string]any{"ca": read(t, cert)}}))
	require.Equal(t, 200, a.status, "a root that vouches for nobody: %s", a.body)
	require.Contains(t, w.get("https://a.test/", w.people.Client("alice")), "unknown certificate authority")
	w.check()
}
