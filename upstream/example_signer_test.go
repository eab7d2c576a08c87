package upstream_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"

	"github.com/sallyport/sallyport/upstream"
)

// A kmsKey is a private key that is elsewhere: there is a public key, and a call that signs.
type kmsKey struct {
	public crypto.PublicKey
	call   func(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error)
}

func (k *kmsKey) Public() crypto.PublicKey { return k.public }

func (k *kmsKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.call(rand, digest, opts)
}

// openKMS stands for the library of a service.
func openKMS() *kmsKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return &kmsKey{key.Public(), key.Sign}
}

// The key of the certificate that nodes are shown is in a KMS.
func ExampleTLS_signer() {
	key := openKMS()
	template := &x509.Certificate{SerialNumber: big.NewInt(1)} // yours comes from your CA
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		fmt.Println(err)
		return
	}
	config := upstream.Config{
		ID:     "1",
		Scheme: upstream.SchemeHTTPS,
		Nodes:  []upstream.Node{{Host: "a.test", Weight: 1}},
		TLS: upstream.TLS{
			CertPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
			Signer:  key,
		},
	}
	u, err := upstream.New(config)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(u.Config().TLS.Signer == key)

	config.TLS.Signer = openKMS()
	_, err = upstream.New(config)
	fmt.Println(err)
	// Output:
	// true
	// upstream "1": TLS.Signer: is not the key of the certificate
}
