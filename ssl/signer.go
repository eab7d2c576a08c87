package ssl

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/sallyport/sallyport/internal/signer"
)

// KeyPairOf turns a certificate as crypto/tls has it, as ACME clients and libraries for
// HSMs return it, into a [KeyPair]: its chain in PEM, its private key as [KeyPair.Signer],
// its staple. It does not check them: [New] does. SupportedSignatureAlgorithms and
// SignedCertificateTimestamps, which have no place in a KeyPair, are an error.
//
// When the certificate is renewed, put the Config again.
func KeyPairOf(c *tls.Certificate) (KeyPair, error) {
	refuse := func(why string) (KeyPair, error) { return KeyPair{}, errors.New("ssl: KeyPairOf: " + why) }
	switch {
	case c == nil:
		return refuse("the certificate is nil")
	case len(c.Certificate) == 0:
		return refuse("Certificate is empty")
	case c.PrivateKey == nil:
		return refuse("PrivateKey is nil")
	case len(c.SupportedSignatureAlgorithms) > 0:
		return refuse("SupportedSignatureAlgorithms is set, and a KeyPair has no place for it: its key must make all signatures of its kind")
	case len(c.SignedCertificateTimestamps) > 0:
		return refuse("SignedCertificateTimestamps is set, and a KeyPair has no place for it: have them in the certificate or in the staple (RFC 6962, section 3.3)")
	}
	key, ok := c.PrivateKey.(crypto.Signer)
	if !ok {
		return refuse(fmt.Sprintf("PrivateKey is a %T, which is no crypto.Signer", c.PrivateKey))
	}
	pair := KeyPair{Signer: key, OCSPStaple: c.OCSPStaple}
	for _, der := range c.Certificate {
		pair.CertPEM = append(pair.CertPEM, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return pair, nil
}

// signer returns Signer as crypto/tls gets it, if it is the key of the first certificate.
// Without certificates, it may be any, and none is returned.
func (p KeyPair) signer(certs []*x509.Certificate) (crypto.Signer, error) {
	if len(p.KeyPEM) > 0 {
		return nil, errors.New("is set, and so is KeyPEM: the private key is the one or the other")
	}
	if len(certs) == 0 {
		_, err := signer.Public(p.Signer)
		return nil, err
	}
	return signer.Guard(p.Signer, certs[0].PublicKey)
}

// Format implements [fmt.Formatter]: if the Signer is a key of the standard library, fmt
// would print its contents.
func (p KeyPair) Format(s fmt.State, verb rune) {
	p.Signer = signer.Hide(p.Signer)
	type pair = KeyPair
	type KeyPair pair // without this method, and with the name for %#v
	fmt.Fprintf(s, fmt.FormatString(s, verb), KeyPair(p))
}
