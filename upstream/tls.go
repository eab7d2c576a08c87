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
	if pair, ok := shownPair(c, fault); ok {
		u.shown = pair.Leaf
		conf.GetClientCertificate = presenting(pair)
	}
	u.tls = conf
	u.settings.tls = c.digest()
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

// shownPair returns the certificate that nodes are shown, with its key. ok is false if there
// is none, or if one of the two is at fault; then each fault is told.
func shownPair(c *TLS, fault faultFunc) (pair tls.Certificate, ok bool) {
	inPEM, elsewhere := len(c.KeyPEM) > 0, c.Signer != nil
	if len(c.CertPEM) == 0 && !inPEM && !elsewhere {
		return pair, false
	}
	ok = true
	check := func(field string, err error) {
		if err != nil {
			ok = false
			fault(field, "%w", err)
		}
	}
	var err error
	switch {
	case len(c.CertPEM) > 0:
		pair, err = readChain(c.CertPEM)
	case elsewhere:
		err = errors.New("is missing: TLS.Signer is its private key")
	default:
		err = errors.New("is missing: TLS.KeyPEM is its private key")
	}
	check("TLS.CertPEM", err)
	switch {
	case inPEM && elsewhere:
		check("TLS.Signer", errors.New("is set, and so is TLS.KeyPEM: the private key is the one or the other"))
	case elsewhere && ok:
		pair.PrivateKey, err = signer.Guard(c.Signer, pair.Leaf.PublicKey)
		check("TLS.Signer", err)
	case elsewhere:
		_, err = signer.Public(c.Signer)
		check("TLS.Signer", err)
	case !inPEM:
		check("TLS.KeyPEM", errors.New("is missing: it is the private key of TLS.CertPEM"))
	default:
		check("TLS.KeyPEM", checkKey(c.KeyPEM))
		if ok {
			// Nothing is wrong with either by itself.
			if pair, err = tls.X509KeyPair(c.CertPEM, c.KeyPEM); err != nil {
				check("TLS.KeyPEM", errors.New("is not the key of the certificate"))
			}
		}
	}
	return pair, ok
}

// readChain reads a certificate and what follows it, as [tls.X509KeyPair] does.
func readChain(text []byte) (pair tls.Certificate, err error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			pair.Certificate = append(pair.Certificate, block.Bytes)
		}
	}
	if len(pair.Certificate) == 0 {
		return pair, errors.New("has no certificate in PEM")
	}
	if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
		return pair, fmt.Errorf("certificate 1: %w", err)
	}
	switch pair.Leaf.PublicKey.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey:
		return pair, nil
	default:
		return pair, errors.New("its key is none that TLS uses: take ECDSA P-256, or RSA of 2048 bits")
	}
}

// checkKey says what is wrong with a private key by itself.
func checkKey(text []byte) error {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue
		}
		if secret.Encrypted(block) {
			return errors.New(`is encrypted: store it decrypted, as "openssl pkey" writes it`)
		}
		_, err := secret.ParseKey(block.Bytes)
		return err
	}
	return errors.New("has no private key in PEM")
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
