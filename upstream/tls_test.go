package upstream_test

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/upstream"
)

// An authority signs the certificates of a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	der := sign(t, &x509.Certificate{
		Subject:               pkix.Name{CommonName: "Test CA"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}, nil, a.key, a.key)
	var err error
	a.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func sign(t testing.TB, c, parent *x509.Certificate, key, by *ecdsa.PrivateKey) []byte {
	t.Helper()
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.NotBefore = time.Now().Add(-time.Hour)
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(time.Hour)
	}
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	require.NoError(t, err)
	return der
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// pair is a certificate for names and addresses, and its key, in PEM.
func (a *authority) pair(t testing.TB, names ...string) (cert, key []byte) {
	t.Helper()
	k := newKey(t)
	c := &x509.Certificate{Subject: pkix.Name{CommonName: "test"}}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, name)
		}
	}
	der := sign(t, c, a.cert, k, a.key)
	private, err := x509.MarshalPKCS8PrivateKey(k)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
}

func (a *authority) certificate(t testing.TB, names ...string) tls.Certificate {
	t.Helper()
	c, err := tls.X509KeyPair(a.pair(t, names...))
	require.NoError(t, err)
	return c
}

// names takes note of the server names that clients ask for: one for each full
// handshake.
type names struct {
	mu  sync.Mutex
	all []string
}

func (n *names) config(certs ...tls.Certificate) *tls.Config {
	return &tls.Config{
		Certificates: certs,
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.all = append(n.all, h.ServerName)
			return nil, nil
		},
	}
}

func (n *names) seen() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.all...)
}

// echoHost answers with the SNI and the Host.
var echoHost = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	io.WriteString(w, r.TLS.ServerName+" "+r.Host)
})

func TestTLSVerification(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	node := newTLSServer(t, &tls.Config{Certificates: []tls.Certificate{ca.certificate(t, "a.test", "127.0.0.1")}}, echoHost)

	for _, c := range []struct {
		name   string
		host   string
		tls    upstream.TLS
		pass   upstream.PassHost
		status int // of the error; 0 is none
		text   string
	}{
		{"own CA", "a.test", upstream.TLS{CAPEM: ca.pem}, upstream.PassClient, 0, "a.test a.test"},
		{"with a port", "A.test.:8443", upstream.TLS{CAPEM: ca.pem}, upstream.PassClient, 0, "a.test A.test.:8443"},
		{"another name", "b.test", upstream.TLS{CAPEM: ca.pem}, upstream.PassClient, 502, "TLS handshake: tls: failed to verify certificate: x509: certificate is valid for a.test, not b.test: set TLS.ServerName to a name that it is valid for; without one, the name is that of the Host which PassHost sends"},
		{"another name, and ServerName", "b.test", upstream.TLS{CAPEM: ca.pem, ServerName: "A.test."}, upstream.PassClient, 0, "a.test b.test"},
		{"node's address, and ServerName", "b.test", upstream.TLS{CAPEM: ca.pem, ServerName: "a.test"}, upstream.PassNode, 0, "a.test " + node.address},
		{"an address as ServerName", "b.test", upstream.TLS{CAPEM: ca.pem, ServerName: "127.0.0.1"}, upstream.PassClient, 0, " b.test"},
		{"another ServerName", "a.test", upstream.TLS{CAPEM: ca.pem, ServerName: "b.test"}, upstream.PassClient, 502, "certificate is valid for a.test, not b.test"},
		{"node's address", "b.test", upstream.TLS{CAPEM: ca.pem}, upstream.PassNode, 0, " " + node.address},
		{"another CA", "a.test", upstream.TLS{CAPEM: other.pem}, upstream.PassClient, 502, ": set TLS.CAPEM to the authority's certificate"},
		{"roots of the system", "a.test", upstream.TLS{}, upstream.PassClient, 502, "certificate signed by unknown authority"},
		{"not verified", "b.test", upstream.TLS{DangerouslySkipServerVerify: true}, upstream.PassClient, 0, "b.test b.test"},
		{"not verified, with a CA", "b.test", upstream.TLS{CAPEM: other.pem, DangerouslySkipServerVerify: true}, upstream.PassClient, 0, "b.test b.test"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPool(t, upstream.Config{Scheme: "https", Nodes: []upstream.Node{node.Node}, TLS: c.tls, PassHost: c.pass}, nil)
			req := newRequest(t, "GET", "http://ignored.test/", nil)
			req.Host = c.host
			resp, err := p.RoundTrip(req)
			if c.status != 0 {
				wantError(t, err, c.status, 1, "connect: TLS handshake: ", c.text)
				return
			}
			require.NoError(t, err)
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, c.text, string(body))
			require.NotNil(t, resp.TLS)
			require.Equal(t, "http/1.1", resp.TLS.NegotiatedProtocol)
		})
	}

	t.Run("by HTTP/2 and by net/http", func(t *testing.T) {
		two := newTLSServer(t, &tls.Config{Certificates: []tls.Certificate{ca.certificate(t, "a.test")}, NextProtos: []string{"h2"}}, echoHost)
		for _, c := range []struct {
			scheme upstream.Scheme
			node   upstream.Node
			o      *upstream.Options
		}{
			{upstream.SchemeGRPCS, two.Node, nil},
			{upstream.SchemeHTTPS, node.Node, &upstream.Options{Transport: &http.Transport{}}},
		} {
			p := newPool(t, upstream.Config{Scheme: c.scheme, Nodes: []upstream.Node{c.node}, TLS: upstream.TLS{CAPEM: ca.pem, ServerName: "a.test"}}, c.o)
			_, body := get(t, p, "https://b.test/")
			require.Equal(t, "a.test b.test", body)
		}
	})
	t.Run("rewritten", func(t *testing.T) {
		p := newPool(t, upstream.Config{Scheme: "https", Nodes: []upstream.Node{node.Node}, TLS: upstream.TLS{CAPEM: ca.pem}, PassHost: upstream.PassRewrite, Host: "a.test:444"}, nil)
		_, body := get(t, p, "https://b.test/")
		require.Equal(t, "a.test a.test:444", body)
	})
}

// An expired certificate, a node without TLS and a node that hangs up during the
// handshake are failures to connect: another node is tried, whatever the method.
func TestTLSFailuresGoOn(t *testing.T) {
	ca := newAuthority(t)
	good := newTLSServer(t, &tls.Config{Certificates: []tls.Certificate{ca.certificate(t, "a.test")}}, echoHost)
	stranger := newTLSServer(t, &tls.Config{Certificates: []tls.Certificate{newAuthority(t).certificate(t, "a.test")}}, echoHost)
	plain := newOrigin(t, func(conn net.Conn) { io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n"); silent(conn) })
	closing := newOrigin(t, func(net.Conn) {})

	for name, node := range map[string]upstream.Node{"stranger": stranger.Node, "plain": plain.Node, "closing": closing.Node} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t, upstream.Config{Scheme: "https", Nodes: []upstream.Node{node, good.Node}, TLS: upstream.TLS{CAPEM: ca.pem}}, nil)
			status, _ := roundTrip(t, p, newRequest(t, "POST", "http://a.test/", strings.NewReader("body")))
			require.Equal(t, 200, status)
		})
	}

	p := newPool(t, upstream.Config{Scheme: "https", Nodes: []upstream.Node{plain.Node}}, nil)
	_, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
	wantError(t, err, 502, 1, "does not look like a TLS handshake", `is the node's scheme "http"?`)
}

func TestClientCertificate(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.pair(t, "client.test")
	node := newTLSServer(t, &tls.Config{
		Certificates: []tls.Certificate{ca.certificate(t, "a.test")},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    ca.pool(),
	}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.TLS.PeerCertificates[0].DNSNames[0])
	}))

	with := newPool(t, upstream.Config{Scheme: "https", Nodes: []upstream.Node{node.Node}, TLS: upstream.TLS{CAPEM: ca.pem, CertPEM: cert, KeyPEM: key}}, nil)
	_, body := get(t, with, "http://a.test/")
	require.Equal(t, "client.test", body)

	without := newPool(t, upstream.Config{Scheme: "https", Nodes: []upstream.Node{node.Node}, TLS: upstream.TLS{CAPEM: ca.pem}}, nil)
	_, err := without.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
	// With TLS 1.3 the client's handshake is over before the server has judged it:
	// the alert, or a reset that overtakes it, comes in place of an answer.
	e := wantError(t, err, 502, 1)
	require.Regexp(t, "remote error: tls: certificate required|reset by peer|broken pipe", e.Error())
}

// Whatever else is wrong with the certificate that nodes are shown and its key, each is
// told of.
func TestPairFaults(t *testing.T) {
	ca, key := newAuthority(t), newKey(t)
	cert := ca.certify(t, key)
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})
	agreement, err := ecdh.X25519().GenerateKey(rand.Reader)
	require.NoError(t, err)
	agrees, err := x509.MarshalPKCS8PrivateKey(agreement)
	require.NoError(t, err)
	damaged := func(kind string) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte{0x30, 0}}) }
	const (
		noCert = "TLS.CertPEM: has no certificate in PEM"
		locked = `TLS.KeyPEM: is encrypted: store it decrypted, as "openssl pkey" writes it`
		both   = "TLS.Signer: is set, and so is TLS.KeyPEM: the private key is the one or the other"
	)
	for name, c := range map[string]struct {
		tls  upstream.TLS
		want []string
	}{
		"no PEM":               {upstream.TLS{CertPEM: []byte("a.crt"), KeyPEM: []byte("a.key")}, []string{noCert, "TLS.KeyPEM: has no private key in PEM"}},
		"one for the other":    {upstream.TLS{CertPEM: encrypted, KeyPEM: cert}, []string{noCert, "TLS.KeyPEM: has no private key in PEM"}},
		"damaged":              {upstream.TLS{CertPEM: damaged("CERTIFICATE"), KeyPEM: damaged("EC PRIVATE KEY")}, []string{"TLS.CertPEM: certificate 1: x509: malformed tbs certificate", "TLS.KeyPEM: is no private key of a kind that TLS uses, in PKCS #8, PKCS #1 or SEC 1"}},
		"an encrypted key":     {upstream.TLS{CertPEM: []byte("x"), KeyPEM: encrypted}, []string{noCert, locked}},
		"an encrypted alone":   {upstream.TLS{KeyPEM: encrypted}, []string{"TLS.CertPEM: is missing: TLS.KeyPEM is its private key", locked}},
		"a bad key":            {upstream.TLS{CertPEM: cert, KeyPEM: []byte("x")}, []string{"TLS.KeyPEM: has no private key in PEM"}},
		"for key agreement":    {upstream.TLS{CertPEM: cert, KeyPEM: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: agrees})}, []string{"TLS.KeyPEM: is no private key of a kind that TLS uses, in PKCS #8, PKCS #1 or SEC 1"}},
		"a bad certificate":    {upstream.TLS{CertPEM: []byte("x")}, []string{noCert, "TLS.KeyPEM: is missing: it is the private key of TLS.CertPEM"}},
		"both kinds of key":    {upstream.TLS{CertPEM: []byte("x"), KeyPEM: []byte("x"), Signer: key}, []string{noCert, both}},
		"both and nothing":     {upstream.TLS{KeyPEM: []byte("x"), Signer: key}, []string{"TLS.CertPEM: is missing: TLS.Signer is its private key", both}},
		"a Signer without key": {upstream.TLS{CertPEM: []byte("x"), Signer: (*ecdsa.PrivateKey)(nil)}, []string{noCert, "TLS.Signer: has no public key: Public panicked: runtime error: invalid memory address or nil pointer dereference"}},
	} {
		t.Run(name, func(t *testing.T) {
			u, err := upstream.New(upstream.Config{ID: "1", Scheme: "https", TLS: c.tls})
			require.Nil(t, u)
			var want []string
			for _, text := range c.want {
				want = append(want, `upstream "1": `+text)
			}
			require.EqualError(t, err, strings.Join(want, "\n"))
		})
	}
}

// What no node will take is told when it is configured, whoever signs.
func TestWarningsOfClientCertificates(t *testing.T) {
	const refused = ": those that check will refuse it"
	day, soon := time.Now().Add(-48*time.Hour), time.Now().Add(time.Hour)
	for _, c := range []struct {
		name       string
		from, till time.Time
		usage      []x509.ExtKeyUsage
		want       []string
	}{
		{"good", time.Time{}, soon, nil, nil},
		{"for clients", time.Time{}, soon, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, nil},
		{"for anything", time.Time{}, soon, []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, nil},
		{"for servers", time.Time{}, soon, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, []string{"TLS.CertPEM: the certificate that its nodes are shown (CN=gw) is not for clients (its extended key usage has no clientAuth)" + refused}},
		{"expired", time.Time{}, day, nil, []string{"TLS.CertPEM: the certificate that its nodes are shown (CN=gw) expired on " + day.UTC().Format(time.DateOnly) + refused}},
		{"early", soon, soon.Add(time.Hour), nil, []string{"TLS.CertPEM: the certificate that its nodes are shown (CN=gw) is not valid before " + soon.UTC().Format(time.RFC3339) + refused}},
	} {
		key := newKey(t)
		template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gw"}, NotBefore: c.from, NotAfter: c.till, ExtKeyUsage: c.usage}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		require.NoError(t, err)
		private, err := x509.MarshalPKCS8PrivateKey(key)
		require.NoError(t, err)
		cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
		for _, config := range []upstream.TLS{
			{CertPEM: cert, KeyPEM: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})},
			{CertPEM: cert, Signer: key},
		} {
			u, err := upstream.New(upstream.Config{ID: "u", Scheme: "https", Nodes: []upstream.Node{{Host: "a.test"}}, TLS: config})
			require.NoError(t, err)
			require.Equal(t, c.want, told(t, u), c.name)
		}
	}
}

// A connection that was made for one name serves no other, nor another node.
func TestConnectionsDoNotCrossNames(t *testing.T) {
	ca := newAuthority(t)
	var asked names
	node := newTLSServer(t, asked.config(ca.certificate(t, "a.test", "b.test")), echoHost)
	p := newPool(t, upstream.Config{Scheme: "https", Nodes: []upstream.Node{node.Node}, TLS: upstream.TLS{CAPEM: ca.pem}}, nil)

	for _, host := range []string{"a.test", "b.test", "A.TEST", "b.test:443", "a.test.", "b.test", "a.test"} {
		req := newRequest(t, "GET", "http://x/", nil)
		req.Host = host
		status, body := roundTrip(t, p, req)
		require.Equal(t, 200, status)
		sni, sent, _ := strings.Cut(body, " ")
		require.Equal(t, host, sent)
		require.True(t, strings.HasPrefix(strings.ToLower(host), sni), "Host %s over a connection for %s", host, sni)
	}
	require.Equal(t, []string{"a.test", "b.test"}, asked.seen())
	require.EqualValues(t, 2, node.conns.Load())
}

func TestConnectionsDoNotCrossNodes(t *testing.T) {
	ca := newAuthority(t)
	handler := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, name) })
	}
	config := &tls.Config{Certificates: []tls.Certificate{ca.certificate(t, "a.test")}}
	one, two := newTLSServer(t, config, handler("1")), newTLSServer(t, config, handler("2"))
	p := newPool(t, upstream.Config{Scheme: "https", Nodes: []upstream.Node{one.Node, two.Node}, TLS: upstream.TLS{CAPEM: ca.pem}}, nil)
	for range 5 {
		for _, want := range []string{"1", "2"} {
			_, body := get(t, p, "http://a.test/")
			require.Equal(t, want, body)
		}
	}
	require.EqualValues(t, 1, one.conns.Load())
	require.EqualValues(t, 1, two.conns.Load())
}

// The client's Host is what the name comes from. Whatever it holds, it is a name or
// the request is refused; it never reaches the handshake as something else.
func TestHostileNames(t *testing.T) {
	ca := newAuthority(t)
	var asked names
	node := newTLSServer(t, asked.config(ca.certificate(t, "a.test")), echoHost)
	p := newPool(t, upstream.Config{Scheme: "https", Nodes: []upstream.Node{node.Node}, TLS: upstream.TLS{DangerouslySkipServerVerify: true}}, nil)
	for _, host := range []string{"a b", "a\x00b", "a\r\nb", "*.test", "a,b", "a@b", "[::1", "a:b:c", "a:99999999", "bücher.test", ".", "a..b", "a/b", "a%2eb", strings.Repeat("a", 300)} {
		req := newRequest(t, "GET", "http://x/", nil)
		req.Host = host
		_, err := p.RoundTrip(req)
		wantError(t, err, 400, 1, "is no host")
	}
	require.Empty(t, asked.seen())
	require.Zero(t, p.Nodes()[0].Failures, "it is not the node's fault")
}

// Nor can a client have nodes taken out by asking for a name that they do not have. Where
// the name is not the client's, it is the node that has the wrong one.
func TestNamesThatNodesDoNotHave(t *testing.T) {
	ca := newAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{ca.certificate(t, "a.test")}}
	config.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		switch h.ServerName {
		case "unknown.test":
			return &tls.Config{SessionTicketsDisabled: true}, nil // the alert unrecognized_name
		case "refused.test":
			return nil, errors.New("not in the list") // internal_error: so do autocert, Caddy and APISIX
		}
		return nil, nil
	}
	for _, scheme := range []upstream.Scheme{upstream.SchemeHTTPS, upstream.SchemeGRPCS} {
		one, two := newTLSServer(t, config, echoHost), newTLSServer(t, config, echoHost)
		c := upstream.Config{
			Scheme: scheme,
			Nodes:  []upstream.Node{one.Node, two.Node},
			TLS:    upstream.TLS{CAPEM: ca.pem},
			Checks: &upstream.Checks{
				Active:  upstream.ActiveChecks{HealthyInterval: upstream.NoProbes, UnhealthyInterval: upstream.NoProbes},
				Passive: &upstream.PassiveChecks{TCPFailures: 1},
			},
			FailWhenUnhealthy: true,
		}
		p := newPool(t, c, nil)
		for _, host := range []string{"evil.test", "unknown.test", "refused.test", "192.0.2.1"} {
			_, err := p.RoundTrip(newRequest(t, "GET", "http://"+host+"/", nil))
			wantError(t, err, 502, 2, "TLS handshake")
		}
		for _, node := range p.Nodes() {
			require.Zero(t, node.Failures)
			require.Equal(t, upstream.Healthy, node.Health)
		}
		_, body := get(t, p, "http://a.test/")
		require.Equal(t, "a.test a.test", body)

		rewrite, named := c, c
		rewrite.PassHost, rewrite.Host = upstream.PassRewrite, "evil.test"
		named.TLS.ServerName = "evil.test"
		for _, c := range []upstream.Config{rewrite, named} {
			p = newPool(t, c, nil)
			_, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
			wantError(t, err, 502, 2, "valid for a.test, not evil.test")
			for _, node := range p.Nodes() {
				require.Equal(t, upstream.Unhealthy, node.Health)
			}
		}
	}
}

func TestTLSSessionsAreResumed(t *testing.T) {
	ca := newAuthority(t)
	var mu sync.Mutex
	var resumed []bool
	node := newTLSServer(t, &tls.Config{Certificates: []tls.Certificate{ca.certificate(t, "a.test")}}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		resumed = append(resumed, r.TLS.DidResume)
		w.Header().Set("Connection", "close")
	}))
	p := newPool(t, upstream.Config{Scheme: "https", Nodes: []upstream.Node{node.Node}, TLS: upstream.TLS{CAPEM: ca.pem}}, nil)
	get(t, p, "http://a.test/")
	get(t, p, "http://a.test/")
	require.Equal(t, []bool{false, true}, resumed)
}
