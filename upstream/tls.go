package upstream

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sallyport/sallyport/internal/clientcert"
	"github.com/sallyport/sallyport/internal/secret"
	"github.com/sallyport/sallyport/internal/signer"
)

// A tlsDigest stands for a [TLS]: equal digests, equal settings.
type tlsDigest [sha256.Size]byte

func (u *Upstream) compileTLS(fault faultFunc) {
	c := &u.config.TLS
	if c.CAPEM == nil && c.ServerName == "" && len(c.CertPEM) == 0 && len(c.KeyPEM) == 0 && c.Signer == nil && !u.settings.https {
		return // DangerouslySkipServerVerify alone changes nothing without TLS
	}
	if !u.settings.https {
		instead := SchemeHTTPS
		if u.settings.http2 {
			instead = SchemeGRPCS
		}
		fault("TLS", `is set, but over the scheme %q nothing is encrypted or verified: set Scheme to %q`, cmp.Or(u.config.Scheme, SchemeHTTP), instead)
	}
	protocol := "http/1.1"
	if u.settings.http2 {
		protocol = "h2"
	}
	conf := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{protocol},
		InsecureSkipVerify: c.DangerouslySkipServerVerify,
	}
	if c.ServerName != "" {
		var err error
		if _, u.serverName, err = parseNodeHost(c.ServerName); err != nil {
			fault("TLS.ServerName", "%q is neither a name nor an address alone", c.ServerName)
		}
	}
	// An empty pool, or none at all, would mean the roots of the system to
	// crypto/tls: an empty file must not widen whom we trust (CVE-2026-27586).
	if c.CAPEM != nil {
		pool, err := parseCAs(c.CAPEM)
		if err != nil {
			fault("TLS.CAPEM", "%w", err)
		}
		conf.RootCAs = pool
	}
	switch {
	case len(c.KeyPEM) > 0 && c.Signer != nil:
		fault("TLS.Signer", "is set, and so is TLS.KeyPEM: the private key is the one or the other")
	case len(c.CertPEM) == 0 && len(c.KeyPEM) == 0 && c.Signer == nil:
	case len(c.CertPEM) == 0 && c.Signer != nil:
		fault("TLS.CertPEM", "is missing: TLS.Signer is its private key")
	case len(c.CertPEM) == 0:
		fault("TLS.CertPEM", "is missing: TLS.KeyPEM is its private key")
	case c.Signer != nil:
		if pair, ok := signedPair(c, fault); ok {
			u.shown = pair.Leaf
			conf.GetClientCertificate = presenting(pair)
		}
	case len(c.KeyPEM) == 0:
		fault("TLS.KeyPEM", "is missing: it is the private key of TLS.CertPEM")
	default:
		pair, err := tls.X509KeyPair(c.CertPEM, c.KeyPEM)
		switch {
		case err != nil && encrypted(c.KeyPEM):
			fault("TLS.KeyPEM", `is encrypted: store it decrypted, as "openssl pkey" writes it`)
		case err != nil:
			// The errors of crypto/tls name kinds and types, never contents.
			fault("TLS.CertPEM", "with TLS.KeyPEM: %w", err)
		}
		u.shown = pair.Leaf
		conf.GetClientCertificate = presenting(pair)
	}
	u.tls = conf
	u.settings.tls = c.digest()
}

// encrypted reports whether the private key in a text is encrypted.
func encrypted(text []byte) bool {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return secret.Encrypted(block)
		}
	}
	return false
}

// unshowable warns of a client certificate that nodes will refuse, or returns "".
func (u *Upstream) unshowable(now time.Time) string {
	c := u.shown
	if c == nil {
		return ""
	}
	why := clientcert.Invalid(c, now)
	if why == "" && clientcert.Forbids(c, x509.ExtKeyUsageClientAuth) {
		why = "is not for clients (its extended key usage has no clientAuth)"
	}
	if why == "" {
		return ""
	}
	return fmt.Sprintf("the certificate that its nodes are shown (%s) %s: those that check will refuse it", clientcert.Subject(c), why)
}

// signedPair is what [tls.X509KeyPair] makes of CertPEM and a key, with the Signer for a key.
func signedPair(c *TLS, fault faultFunc) (pair tls.Certificate, ok bool) {
	for block, rest := pem.Decode(c.CertPEM); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			pair.Certificate = append(pair.Certificate, block.Bytes)
		}
	}
	if len(pair.Certificate) == 0 {
		fault("TLS.CertPEM", "has no certificate in PEM")
		return pair, false
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		fault("TLS.CertPEM", "certificate 1: %w", err)
		return pair, false
	}
	switch leaf.PublicKey.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey:
	default:
		fault("TLS.CertPEM", "with TLS.Signer: tls: unknown public key algorithm") // as of X509KeyPair
		return pair, false
	}
	key, err := signer.Guard(c.Signer, leaf.PublicKey)
	if err != nil {
		fault("TLS.Signer", "%w", err)
		return pair, false
	}
	pair.Leaf, pair.PrivateKey = leaf, key
	return pair, true
}

// sameSigner reports whether connections of v may be used by u as far as the Signer goes.
func (u *Upstream) sameSigner(v *Upstream) bool {
	_, ours := u.key()
	_, theirs := v.key()
	return signer.Same(ours, theirs)
}

// presenting returns what crypto/tls itself does with a certificate: it is shown to a node
// that takes its like. As a field it would be printed: an Ed25519 key is a plain slice of
// bytes to fmt.
func presenting(pair tls.Certificate) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return func(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if asked.SupportsCertificate(&pair) != nil {
			return new(tls.Certificate), nil // none
		}
		return &pair, nil
	}
}

func (c *TLS) digest() (d tlsDigest) {
	h := sha256.New()
	for _, part := range [][]byte{c.CAPEM, c.CertPEM, c.KeyPEM} {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write(part)
	}
	if c.CAPEM != nil {
		h.Write([]byte{1})
	}
	if c.DangerouslySkipServerVerify {
		h.Write([]byte{2})
	}
	h.Sum(d[:0])
	return d
}

// parseCAs reads certificates in PEM, at least one. Unlike
// [x509.CertPool.AppendCertsFromPEM] it passes over nothing: a bundle of which
// half cannot be read is not the one that was meant. Text between the
// certificates is allowed, as bundles have it.
func parseCAs(text []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	// Both are counted: either line may be the broken one.
	begun := max(bytes.Count(text, []byte("-----BEGIN ")), bytes.Count(text, []byte("-----END ")))
	n := 0
	for rest := text; ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("block %d is of the type %q: only certificates belong here", n+1, block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", n+1, err)
		}
		pool.AddCert(cert)
	}
	switch {
	case len(bytes.TrimSpace(text)) == 0:
		return nil, errors.New("is empty: leave it nil to trust the roots of the system")
	case begun == 0:
		return nil, errors.New(`has no certificate in PEM, which begins with "-----BEGIN CERTIFICATE-----"`)
	case n != begun:
		return nil, fmt.Errorf("has %d PEM blocks, of which %d can be read: were newlines lost?", begun, n)
	}
	return pool, nil
}
