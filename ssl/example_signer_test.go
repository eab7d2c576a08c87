package ssl_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/tls"
	"fmt"
	"io"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// An hsmKey is a private key that never leaves its device: there is a handle, a public key,
// and a call that signs.
type hsmKey struct {
	public crypto.PublicKey
	call   func(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error)
}

func (k *hsmKey) Public() crypto.PublicKey { return k.public }

func (k *hsmKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.call(rand, digest, opts)
}

// openHSM stands for the library of a device.
func openHSM(key *ecdsa.PrivateKey) *hsmKey { return &hsmKey{key.Public(), key.Sign} }

// The key is in an HSM, and the program has the certificate alone.
func ExampleKeyPair_signer() {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	certPEM, key := certificateIn(servers)

	pair := ssl.KeyPair{CertPEM: certPEM, Signer: openHSM(key)}
	visit, stop := greet(ssl.Config{
		ID:           "1",
		Names:        []string{"a.test"},
		Certificates: []ssl.KeyPair{pair},
		Client:       &ssl.ClientAuth{CAPEM: people.PEM()},
	})
	defer stop()
	fmt.Println(visit(people.Client("alice")))

	pair.CertPEM = nil // to keep it short
	fmt.Printf("%+v\n", pair)
	// Output:
	// hello, CN=alice
	// {CertPEM:[] KeyPEM:[redacted] Signer:[redacted] OCSPStaple:[]}
}

// certificateIn makes a server's certificate and its key.
func certificateIn(ca *ssltest.CA) (certPEM []byte, key *ecdsa.PrivateKey) {
	pair := ca.Server("a.test")
	made, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	if err != nil {
		panic(err)
	}
	return pair.CertPEM, made.PrivateKey.(*ecdsa.PrivateKey)
}

// ACME clients and libraries for HSMs hand out certificates as crypto/tls has them.
func ExampleKeyPairOf() {
	made := ssltest.NewCA(t, "servers").Server("a.test")
	obtain := func(name string) (*tls.Certificate, error) { // such as GetCertificate of an ACME client
		c, err := tls.X509KeyPair(made.CertPEM, made.KeyPEM)
		return &c, err
	}

	cert, err := obtain("a.test")
	if err != nil {
		fmt.Println(err)
		return
	}
	pair, err := ssl.KeyPairOf(cert)
	if err != nil {
		fmt.Println(err)
		return
	}
	profile, err := ssl.New(ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{pair}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(profile.Certificates()[0].DNSNames)
	// Output: [a.test]
}
