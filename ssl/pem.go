package ssl

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// Bounds of PEM input: far above every real bundle, far below what would keep a
// processor busy (cert-manager CVE-2024-12401).
const (
	maxPEMBytes  = 1 << 20
	maxPEMBlocks = 1000
)

// parseCertificates reads every certificate of a PEM bundle. Text around the
// blocks is allowed, as openssl writes it; blocks of other types are passed over.
func parseCertificates(bundle []byte) ([]*x509.Certificate, error) {
	if len(bundle) > maxPEMBytes {
		return nil, fmt.Errorf("%d bytes of PEM, more than %d", len(bundle), maxPEMBytes)
	}
	var certs []*x509.Certificate
	rest := bundle
	for n := 0; ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if n == maxPEMBlocks {
			return nil, fmt.Errorf("more than %d PEM blocks", maxPEMBlocks)
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the bundle: %w", len(certs)+1, err)
		}
		certs = append(certs, cert)
	}
	if bytes.Contains(rest, []byte("-----BEGIN")) {
		return nil, fmt.Errorf("not readable as PEM from block %d on: %w", len(certs)+1, pemFault(rest))
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("has no certificate: %w", pemFault(bundle))
	}
	return certs, nil
}

// pemFault says what is wrong with text that is no PEM. The usual ways to lose
// the line breaks have an answer of their own.
func pemFault(text []byte) error {
	switch {
	case len(bytes.TrimSpace(text)) == 0:
		return errors.New("is empty")
	case !bytes.Contains(text, []byte("-----BEGIN")):
		return errors.New(`no line begins with "-----BEGIN"`)
	case bytes.Contains(text, []byte(`\n`)):
		return errors.New(`the line breaks are written as a backslash and an n: they must be line breaks`)
	case bytes.Count(bytes.TrimSpace(text), []byte("\n")) < 2:
		return errors.New("the line breaks are lost: BEGIN, the data and END must stand on lines of their own")
	case !bytes.Contains(text, []byte("-----END")):
		return errors.New(`no line "-----END" closes the block`)
	default:
		return errors.New("the lines between BEGIN and END are not base64")
	}
}

// certificate checks a pair and makes what crypto/tls uses of it. field is the
// part of the pair that is at fault. An error never holds a byte of the key.
func (p KeyPair) certificate() (_ tls.Certificate, field string, err error) {
	certs, err := parseCertificates(p.CertPEM)
	if err != nil {
		return tls.Certificate{}, "CertPEM", err
	}
	if err := checkKeyPEM(p.KeyPEM); err != nil {
		return tls.Certificate{}, "KeyPEM", err
	}
	if key, ok := certs[0].PublicKey.(*ecdsa.PublicKey); ok && key.Curve == elliptic.P224() {
		return tls.Certificate{}, "CertPEM", errors.New("its key is on the curve P-224, which TLS does not use: take P-256")
	}
	pair, err := tls.X509KeyPair(p.CertPEM, p.KeyPEM)
	if err != nil {
		// The certificate was read above, so the key is at fault: it cannot be
		// read, is of a type that crypto/tls does not take, or is another's.
		if _, parseErr := parseKey(p.KeyPEM); parseErr != nil {
			return tls.Certificate{}, "KeyPEM", parseErr
		}
		return tls.Certificate{}, "KeyPEM", errors.New("is not the key of the certificate")
	}
	return pair, "", nil
}

func checkKeyPEM(text []byte) error {
	if len(text) > maxPEMBytes {
		return fmt.Errorf("%d bytes of PEM, more than %d", len(text), maxPEMBytes)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return pemFault(text)
	}
	if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
		return errors.New(`is encrypted: store it decrypted, as "openssl pkey" writes it`)
	}
	return nil
}

// parseKey tells whether a private key can be read at all, in any of the forms
// that openssl writes (a "PARAMETERS" block may stand before an EC key).
func parseKey(text []byte) (any, error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return nil, errors.New(`has no "PRIVATE KEY" block`)
		}
		if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			return key, nil
		}
		if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
			return key, nil
		}
		if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
			return key, nil
		}
		if bytes.Contains([]byte(block.Type), []byte("PRIVATE KEY")) {
			return nil, errors.New("is no private key in PKCS #8, PKCS #1 or SEC 1")
		}
	}
}
