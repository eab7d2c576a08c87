package upstream_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"

	"github.com/sallyport/sallyport/upstream"
)

// clientPair is a client certificate and its key in PEM; yours come from your CA.
func clientPair(commonName string) (cert, key []byte) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: commonName}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		panic(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// Mutual TLS with a node: it proves its own name, whatever name the client has asked for,
// and is shown a client certificate.
func ExampleTLS() {
	origin := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s asks for %s", r.TLS.PeerCertificates[0].Subject.CommonName, r.Host)
	}))
	origin.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	origin.StartTLS() // with a certificate for example.com
	defer origin.Close()
	addr := netip.MustParseAddrPort(origin.Listener.Addr().String())

	cert, key := clientPair("our gateway")
	u, err := upstream.New(upstream.Config{
		ID:     "1",
		Scheme: upstream.SchemeHTTPS,
		Nodes:  []upstream.Node{{Host: addr.Addr().String(), Port: int(addr.Port()), Weight: 1}},
		TLS: upstream.TLS{
			CAPEM:      pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: origin.Certificate().Raw}),
			ServerName: "example.com", // if empty, the node would have to be a.test, as the request says
			CertPEM:    cert,
			KeyPEM:     key,
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	pool := upstream.NewPool(u, nil)
	defer pool.Close()

	client := &http.Client{Transport: pool}
	resp, err := client.Get("https://a.test/")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(string(body), err)
	// Output: our gateway asks for a.test <nil>
}
