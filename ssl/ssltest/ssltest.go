// Package ssltest makes the certificates of a test, a line each, and clients that
// show them.
//
//	ca := ssltest.NewCA(t, "servers")
//	people := ssltest.NewCA(t, "people")
//	store, err := ssl.NewStore(nil)
//	_, err = store.Put(ssl.Config{
//		ID:           "1",
//		Names:        []string{"a.test"},
//		Certificates: []ssl.KeyPair{ca.Server("a.test")},
//		Client:       &ssl.ClientAuth{CAPEM: people.PEM()},
//	})
//	server := httptest.NewUnstartedServer(store.Handler(mux))
//	server.TLS = store.TLSConfig()
//	server.StartTLS()
//	client := ssltest.Client(t, server.Listener, "a.test", people.Client("alice"))
//	res, err := client.Get("https://a.test/")
//
// All keys are ECDSA P-256, all certificates valid from an hour ago for a day.
// Nothing here is for use outside of tests.
package ssltest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/ssl"
)

// A CA signs certificates. Any error fails the test that it was made for, at once.
type CA struct {
	t      testing.TB
	cert   *x509.Certificate
	key    crypto.Signer
	parent *CA // nil for a root
}

// An Option changes a certificate before it is signed.
type Option func(*x509.Certificate)

// Expired is an [Option]: the certificate was valid until an hour ago.
func Expired(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour)
}

// NotYetValid is an [Option]: the certificate will be valid in an hour.
func NotYetValid(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = time.Now().Add(time.Hour), time.Now().Add(48*time.Hour)
}

// Until sets the end of a certificate's validity, with a resolution of a second.
func Until(end time.Time) Option {
	return func(c *x509.Certificate) { c.NotAfter = end }
}

// Usage replaces what a certificate may be used for. Without arguments, it may be used for
// everything.
func Usage(usage ...x509.ExtKeyUsage) Option {
	return func(c *x509.Certificate) { c.ExtKeyUsage = usage }
}

// URIs adds alternative names of the URI kind, such as SPIFFE IDs.
func URIs(uris ...string) Option {
	return func(c *x509.Certificate) {
		for _, s := range uris {
			u, err := url.Parse(s)
			if err != nil {
				panic("ssltest: URIs: " + err.Error())
			}
			c.URIs = append(c.URIs, u)
		}
	}
}

// DNSNames adds alternative names of the DNS kind.
func DNSNames(names ...string) Option {
	return func(c *x509.Certificate) { c.DNSNames = append(c.DNSNames, names...) }
}

// NewCA returns a root with a common name.
func NewCA(t testing.TB, commonName string, options ...Option) *CA {
	t.Helper()
	return newCA(t, nil, commonName, options)
}

// Intermediate returns a CA signed by ca. The certificates that it signs come with the
// chain up to the root, without the root.
func (ca *CA) Intermediate(commonName string, options ...Option) *CA {
	ca.t.Helper()
	return newCA(ca.t, ca, commonName, options)
}

func newCA(t testing.TB, parent *CA, commonName string, options []Option) *CA {
	t.Helper()
	template := template(commonName)
	template.IsCA = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	ca := &CA{t: t, parent: parent}
	ca.cert, ca.key = sign(t, template, parent, options)
	return ca
}

// Certificate returns the CA's own certificate.
func (ca *CA) Certificate() *x509.Certificate { return ca.cert }

// PEM returns the CA's own certificate, for [ssl.ClientAuth.CAPEM] and for files.
func (ca *CA) PEM() []byte { return certPEM(ca.cert.Raw) }

// Pool returns a pool with the CA's own certificate.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// Server returns a server certificate for some names, and its key. The names may be
// wildcards and IP addresses; without any, it has no subject alternative name.
func (ca *CA) Server(names ...string) ssl.KeyPair {
	ca.t.Helper()
	return ca.ServerWith(names)
}

// ServerWith is [*CA.Server] with options.
func (ca *CA) ServerWith(names []string, options ...Option) ssl.KeyPair {
	ca.t.Helper()
	commonName := "server"
	if len(names) > 0 {
		commonName = names[0]
	}
	template := template(commonName)
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	cert, key := sign(ca.t, template, ca, options)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		ca.t.Fatalf("ssltest: %v", err)
	}
	pair := ssl.KeyPair{
		CertPEM: certPEM(cert.Raw),
		KeyPEM:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
	}
	for _, c := range ca.chain() {
		pair.CertPEM = append(pair.CertPEM, certPEM(c)...)
	}
	return pair
}

// Client returns a client certificate with a common name.
func (ca *CA) Client(commonName string, options ...Option) tls.Certificate {
	ca.t.Helper()
	template := template(commonName)
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	cert, key := sign(ca.t, template, ca, options)
	return tls.Certificate{
		Certificate: append([][]byte{cert.Raw}, ca.chain()...),
		PrivateKey:  key,
		Leaf:        cert,
	}
}

// Identity returns the identity of a client that has a certificate as Client makes it, for
// the test of a handler alone, without a server:
//
//	r := httptest.NewRequest("GET", "/", nil)
//	r = r.WithContext(ssl.NewContext(r.Context(), ca.Identity("alice")))
//
// Its profile has the ID "test", and accepts the clients of the CA's root.
func (ca *CA) Identity(commonName string, options ...Option) *ssl.Identity {
	ca.t.Helper()
	client := &tls.ConnectionState{ServerName: "a.test"}
	client.PeerCertificates = append(client.PeerCertificates, ca.Client(commonName, options...).Leaf)
	root, depth := ca, 0
	for ; root.parent != nil; root = root.parent {
		client.PeerCertificates = append(client.PeerCertificates, root.cert)
		depth++
	}
	store, err := ssl.NewStore(nil)
	if err != nil {
		ca.t.Fatalf("ssltest: %v", err)
	}
	_, err = store.Put(ssl.Config{
		ID: "test", Names: []string{client.ServerName}, Certificates: []ssl.KeyPair{root.Server(client.ServerName)},
		Client: &ssl.ClientAuth{CAPEM: root.PEM(), Depth: depth},
	})
	if err != nil {
		ca.t.Fatalf("ssltest: %v", err)
	}
	identity, err := store.Judge(store.Table(), client, client.ServerName, "/")
	if err != nil {
		ca.t.Fatalf("ssltest: no profile accepts such a client: %v", err)
	}
	return identity
}

// CRL returns a revocation list of the CA in PEM, for [ssl.ClientAuth.CRLs] and for files:
// valid from an hour ago until nextUpdate, and revoking some certificates. A later list has
// a higher number.
func (ca *CA) CRL(nextUpdate time.Time, revoked ...*x509.Certificate) []byte {
	ca.t.Helper()
	template := &x509.RevocationList{
		Number:     big.NewInt(lastSerial.Add(1)),
		ThisUpdate: time.Now().Add(-time.Hour),
		NextUpdate: nextUpdate,
	}
	if !nextUpdate.After(template.ThisUpdate) {
		template.ThisUpdate = nextUpdate.Add(-time.Hour)
	}
	for _, c := range revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber:   c.SerialNumber,
			RevocationTime: template.ThisUpdate,
		})
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, ca.cert, ca.key)
	if err != nil {
		ca.t.Fatalf("ssltest: %v", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

// chain returns the certificates from ca up to the root, without the root.
func (ca *CA) chain() (chain [][]byte) {
	for c := ca; c.parent != nil; c = c.parent {
		chain = append(chain, c.cert.Raw)
	}
	return chain
}

var lastSerial atomic.Int64

func template(commonName string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().Unix()<<20 + lastSerial.Add(1)),
		Subject:               pkix.Name{CommonName: commonName},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
	}
}

func sign(t testing.TB, template *x509.Certificate, parent *CA, options []Option) (*x509.Certificate, crypto.Signer) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("ssltest: %v", err)
	}
	for _, option := range options {
		option(template)
	}
	issuer, signer := template, crypto.Signer(key)
	if parent != nil {
		issuer, signer = parent.cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), signer)
	if err != nil {
		t.Fatalf("ssltest: %v", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatalf("ssltest: %v", err)
	}
	return cert, key
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// ClientConfig returns a client's TLS configuration for a server name. It presents the
// first of certs whatever the server asks for: Go by itself would withhold a certificate
// whose issuer the server does not name, and a certificate of another CA would look like
// none. It trusts every server, keeps no sessions, and offers HTTP/2. All of that may be
// changed.
func ClientConfig(serverName string, certs ...tls.Certificate) *tls.Config {
	c := &tls.Config{
		ServerName:         serverName,
		InsecureSkipVerify: true,
		NextProtos:         []string{"h2", "http/1.1"},
	}
	if len(certs) > 0 {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &certs[0], nil
		}
	}
	return c
}

// Client returns an HTTP client that connects to one server, whatever the URL says, under a
// server name, and with a client certificate if one is given (see [ClientConfig]). It
// speaks HTTP/2 if the server does, and follows no redirects. The server is anything with
// an address: a net.Listener, and so the Listener of an [net/http/httptest.Server]. The
// client's Transport is an [*http.Transport].
func Client(t testing.TB, server interface{ Addr() net.Addr }, serverName string, certs ...tls.Certificate) *http.Client {
	t.Helper()
	addr := server.Addr()
	config := ClientConfig(serverName, certs...)
	config.NextProtos = nil // the transport's to say
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, addr.Network(), addr.String())
		},
		TLSClientConfig:   config,
		ForceAttemptHTTP2: true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// A SessionCache is a [tls.ClientSessionCache] that offers the last session to every
// server, whatever its name, as an attacker does who wants to carry a session from one name
// to another. The zero SessionCache is empty.
type SessionCache struct {
	mu    sync.Mutex
	state *tls.ClientSessionState
}

// Get implements [tls.ClientSessionCache].
func (c *SessionCache) Get(string) (*tls.ClientSessionState, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state, c.state != nil
}

// Put implements [tls.ClientSessionCache].
func (c *SessionCache) Put(_ string, state *tls.ClientSessionState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = state
}
