package ssltest_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// The lines of the package doc.
func TestRecipe(t *testing.T) {
	ca := ssltest.NewCA(t, "servers")
	people := ssltest.NewCA(t, "people")
	store := must(ssl.NewStore(nil))
	_, err := store.Put(ssl.Config{
		ID:           "1",
		Names:        []string{"a.test"},
		Certificates: []ssl.KeyPair{ca.Server("a.test")},
		Client:       &ssl.ClientAuth{CAPEM: people.PEM()},
	})
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(store.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto+" "+ssl.FromContext(r.Context()).Subject())
	})))
	server.TLS = store.TLSConfig()
	server.StartTLS()
	defer server.Close()

	get := func(client *http.Client) (string, error) {
		res, err := client.Get("https://a.test/")
		if err != nil {
			return "", err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		return string(body), err
	}
	body, err := get(ssltest.Client(t, server.Listener, "a.test", people.Client("alice")))
	require.NoError(t, err)
	require.Equal(t, "HTTP/2.0 CN=alice", body)

	_, err = get(ssltest.Client(t, server.Listener, "a.test"))
	require.Error(t, err)
	_, err = get(ssltest.Client(t, server.Listener, "a.test", ca.Client("mallory")))
	require.Error(t, err)
	_, err = get(ssltest.Client(t, server.Listener, "b.test", people.Client("alice")))
	require.ErrorContains(t, err, "unrecognized name")
}

// An identity is that of the client's certificate, below however many intermediates.
func TestIdentity(t *testing.T) {
	root := ssltest.NewCA(t, "root")
	chain := root.Identity("alice").Chain()
	require.Equal(t, root.Certificate(), chain[len(chain)-1])

	low := root.Intermediate("1").Intermediate("2").Intermediate("3")
	bob := low.Identity("bob", ssltest.URIs("spiffe://example.org/bob"))
	require.Len(t, bob.Chain(), 5)
	require.Equal(t, "CN=bob", bob.Subject())
	id, ok := bob.SPIFFEID()
	require.True(t, ok)
	require.Equal(t, "spiffe://example.org/bob", id)
	require.Equal(t, bob, ssl.FromContext(ssl.NewContext(t.Context(), bob)))

	failing := &fatal{TB: t}
	require.PanicsWithValue(t, failing, func() { ssltest.NewCA(failing, "root").Identity("carol", ssltest.Expired) })
	require.Contains(t, failing.text, "no profile accepts such a client: ")
}

// A fatal is a test that says how it has failed.
type fatal struct {
	testing.TB
	text string
}

func (f *fatal) Fatalf(format string, args ...any) {
	f.text = fmt.Sprintf(format, args...)
	panic(f)
}

// What the server says of a client's certificate. The client of net/http may hear
// the reason or only that the connection is gone, so this is asked by hand.
func TestClientConfigShowsAnyCertificate(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	store := must(ssl.NewStore(nil))
	_, err := store.Put(ssl.Config{
		ID:           "1",
		Names:        []string{"a.test"},
		Certificates: []ssl.KeyPair{servers.Server("a.test")},
		Client:       &ssl.ClientAuth{CAPEM: people.PEM()},
	})
	require.NoError(t, err)
	for want, certs := range map[string][]tls.Certificate{
		"certificate required":          nil,
		"unknown certificate authority": {servers.Client("mallory")},
	} {
		ours, theirs := net.Pipe()
		go func() {
			_ = tls.Server(theirs, store.TLSConfig()).Handshake()
			theirs.Close()
		}()
		conn := tls.Client(ours, ssltest.ClientConfig("a.test", certs...))
		_, err := io.Copy(io.Discard, conn)
		require.ErrorContains(t, err, want)
		ours.Close()
	}
}

func TestCertificates(t *testing.T) {
	root := ssltest.NewCA(t, "root")
	issuing := root.Intermediate("one").Intermediate("two")
	client := issuing.Client("alice", ssltest.URIs("spiffe://td/alice"), ssltest.DNSNames("alice.test"))
	require.Len(t, client.Certificate, 3, "the chain, without the root")
	intermediates := x509.NewCertPool()
	for _, der := range client.Certificate[1:] {
		c, err := x509.ParseCertificate(der)
		require.NoError(t, err)
		intermediates.AddCert(c)
	}
	verify := func(c *x509.Certificate, usage x509.ExtKeyUsage) error {
		_, err := c.Verify(x509.VerifyOptions{Roots: root.Pool(), Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{usage}})
		return err
	}
	require.NoError(t, verify(client.Leaf, x509.ExtKeyUsageClientAuth))
	require.Error(t, verify(client.Leaf, x509.ExtKeyUsageServerAuth))
	require.Equal(t, "spiffe://td/alice", client.Leaf.URIs[0].String())
	require.Equal(t, []string{"alice.test"}, client.Leaf.DNSNames)

	require.NoError(t, verify(root.Client("x", ssltest.Usage(x509.ExtKeyUsageServerAuth)).Leaf, x509.ExtKeyUsageServerAuth))
	require.ErrorContains(t, verify(root.Client("x", ssltest.Expired).Leaf, x509.ExtKeyUsageClientAuth), "expired")
	require.ErrorContains(t, verify(root.Client("x", ssltest.NotYetValid).Leaf, x509.ExtKeyUsageClientAuth), "not yet valid")
	end := time.Now().Add(time.Minute).Truncate(time.Second)
	require.True(t, end.Equal(root.Client("x", ssltest.Until(end)).Leaf.NotAfter))

	pair := root.Server("a.test", "*.a.test", "127.0.0.1")
	cert, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	require.NoError(t, err)
	for _, name := range []string{"a.test", "x.a.test", "127.0.0.1"} {
		require.NoError(t, cert.Leaf.VerifyHostname(name))
	}
}

func TestCRL(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	revoked := ca.Client("mallory").Leaf
	for _, next := range []time.Time{time.Now().Add(time.Hour), time.Now().Add(-24 * time.Hour)} {
		block, _ := pem.Decode(ca.CRL(next, revoked))
		require.Equal(t, "X509 CRL", block.Type)
		list, err := x509.ParseRevocationList(block.Bytes)
		require.NoError(t, err)
		require.NoError(t, list.CheckSignatureFrom(ca.Certificate()))
		require.Equal(t, revoked.SerialNumber, list.RevokedCertificateEntries[0].SerialNumber)
		require.True(t, list.ThisUpdate.Before(list.NextUpdate))
	}
}

// A cache that takes a session from one name to another.
func TestSessionCache(t *testing.T) {
	var cache ssltest.SessionCache
	_, ok := cache.Get("a.test")
	require.False(t, ok)
	state := &tls.ClientSessionState{}
	cache.Put("a.test", state)
	got, ok := cache.Get("b.test")
	require.True(t, ok)
	require.Same(t, state, got)
}

func TestClientHello(t *testing.T) {
	var seen string
	config := &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		seen = h.ServerName
		return nil, nil
	}}
	for _, name := range []string{"a.test", "A b\x00c", "*"} {
		for _, size := range []int{1 << 14, 100, 1} {
			seen = ""
			ours, theirs := net.Pipe()
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = tls.Server(theirs, config).Handshake()
				theirs.Close()
			}()
			go func() { _, _ = io.Copy(io.Discard, ours) }()
			_, err := ours.Write(ssltest.Fragment(ssltest.ClientHello(t, name), size))
			require.NoError(t, err)
			<-done
			ours.Close()
			require.Equal(t, name, seen)
		}
	}
}

// must is for what is known to be right when the test is written.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
