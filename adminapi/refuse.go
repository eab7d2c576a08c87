package adminapi

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"sync"
	"time"

	"github.com/sallyport/sallyport/internal/apisix"
	"github.com/sallyport/sallyport/ssl"
)

// refuse makes of the edit of an ssl object that cannot be used, and never could, one that
// refuses every handshake for its names: otherwise a wildcard would answer for them, and
// perhaps without asking for a certificate. It reports whether there is anything to refuse.
func (e *edit) refuse() bool {
	if e.kind != apisix.SSLs || e.old != nil || e.refuses || e.doc["status"] == 0.0 || e.doc["type"] == "client" {
		return false
	}
	names := []any{e.doc["sni"]}
	if snis, ok := e.doc["snis"].([]any); ok {
		names = append(names, snis...)
	}
	c := ssl.Config{ID: e.id, Certificates: []ssl.KeyPair{nobody()}, Client: &ssl.ClientAuth{
		CAPEM: nobody().CertPEM, HideCAs: true, AuthorizerID: "nobody",
		Authorizer: func(context.Context, *ssl.Identity) error { return errNobody },
	}}
	for _, v := range names {
		name, _ := v.(string)
		one := c
		if one.Names = []string{name}; len(c.Names) < maxRefused {
			if _, err := ssl.New(one); err == nil {
				c.Names = append(c.Names, name)
			}
		}
	}
	if c.Names == nil {
		return false
	}
	e.refuses, e.unreadable, e.doc = true, nil, nil
	e.decoded = &apisix.Object{Kind: apisix.SSLs, ID: e.id, Enabled: true, SSL: &c}
	return true
}

// maxRefused bounds what a document that nobody has checked can occupy.
const maxRefused = 1000

var errNobody = errors.New("the stored ssl object for this name cannot be used")

// nobody returns a certificate whose key has signed no other, and is kept nowhere. A name
// that takes the clients of its CA alone takes none.
var nobody = sync.OnceValue(func() ssl.KeyPair {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic("adminapi: internal error: " + err.Error())
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "no usable certificate"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic("adminapi: internal error: " + err.Error())
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic("adminapi: internal error: " + err.Error())
	}
	return ssl.KeyPair{
		CertPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		KeyPEM:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
	}
})
