package ssl

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/internal/secret"
)

// Bounds of PEM input: far above every real bundle, far below what would keep a
// processor busy (cert-manager CVE-2024-12401).
const (
	maxPEMBytes  = 1 << 20
	maxPEMBlocks = 1000
)

// parseCertificates reads every certificate of a PEM bundle. Text around the
// blocks is allowed, as openssl writes it; blocks of other types are passed over, but for
// a private key: certificates are for everybody to see, and are shown and logged.
func parseCertificates(bundle []byte) ([]*x509.Certificate, error) {
	if len(bundle) > maxPEMBytes {
		return nil, fmt.Errorf("%d bytes of PEM, more than %d", len(bundle), maxPEMBytes)
	}
	var certs []*x509.Certificate
	var other string // the type of a block that is no certificate
	keyed := 0       // the number of the first block that is a private key
	rest := bundle
	for n := 1; ; n++ {
		block, after := pem.Decode(rest)
		if err := passedOver(rest, after, block != nil); err != nil {
			return nil, fmt.Errorf("not readable as PEM from block %d on: %w", n, err)
		}
		if block == nil {
			break
		}
		if n > maxPEMBlocks {
			return nil, fmt.Errorf("more than %d PEM blocks", maxPEMBlocks)
		}
		rest = after
		switch block.Type {
		case "CERTIFICATE":
		case "TRUSTED CERTIFICATE", "X509 CERTIFICATE":
			// To pass it over would be to lose a certificate that nginx has from the same file.
			return nil, fmt.Errorf(`block %d is a %q, which OpenSSL takes and nobody else: "openssl x509 -clrtrust" writes a "CERTIFICATE"`, n, block.Type)
		default:
			other = block.Type
			if keyed == 0 && isKey(block) {
				keyed = n
			}
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the bundle: %w", len(certs)+1, err)
		}
		certs = append(certs, cert)
	}
	switch {
	case len(certs) > 0 && keyed > 0:
		return nil, keyAmongPublic(keyed)
	case len(certs) > 0:
		return certs, nil
	case other != "":
		return nil, fmt.Errorf(`has no certificate: its block is a %.40q, not a "CERTIFICATE"`, other)
	default:
		return nil, fmt.Errorf("has no certificate: %w", pemFault(bundle))
	}
}

// isKey reports whether a block is a private key by what it calls itself.
func isKey(block *pem.Block) bool { return strings.HasSuffix(block.Type, "PRIVATE KEY") }

// keyAmongPublic is the fault of a field that must not hold a private key, and has one as
// its nth block.
func keyAmongPublic(n int) error {
	return fmt.Errorf("has a private key (block %d): only what everybody may see belongs here", n)
}

// withoutKeys takes the private keys out of the certificates in a file: one file may have
// both, as HAProxy wants it, and be the certificate's and the key's at once. A file
// without certificates stays as it is, so that the error says what stands there instead.
func withoutKeys(text []byte) []byte {
	if len(text) > maxPEMBytes || !bytes.Contains(text, []byte("PRIVATE KEY")) {
		return text
	}
	var out []byte
	certs, rest := 0, text
	for range maxPEMBlocks {
		block, after := pem.Decode(rest)
		if block == nil {
			break
		}
		read := rest[:len(rest)-len(after)]
		if isKey(block) {
			read = read[:bytes.LastIndex(read, pemBegin)]
		} else if block.Type == "CERTIFICATE" {
			certs++
		}
		out = append(out, read...)
		rest = after
	}
	if certs == 0 {
		return text
	}
	return append(out, rest...)
}

var (
	pemBegin = []byte("-----BEGIN")
	pemEnd   = []byte("-----END")
)

// passedOver reports what is wrong with a block that [pem.Decode] found no sense
// in and passed over without a word, on its way from rest to after: a bundle must
// not lose a certificate that way.
func passedOver(rest, after []byte, found bool) error {
	if found {
		rest = rest[:len(rest)-len(after)]
		rest = rest[:bytes.LastIndex(rest, pemBegin)]
	}
	if !bytes.Contains(rest, pemBegin) && !bytes.Contains(rest, pemEnd) {
		return nil
	}
	return pemFault(rest)
}

// pemFault says what is wrong with text that is no PEM. The usual ways to lose
// the line breaks have an answer of their own.
func pemFault(text []byte) error {
	noBegin := errors.New(`no line begins with "-----BEGIN"`)
	switch {
	case len(bytes.TrimSpace(text)) == 0:
		return errors.New("is empty")
	case bytes.HasPrefix(text, []byte("\xef\xbb\xbf")), bytes.HasPrefix(text, []byte("\xff\xfe")), bytes.HasPrefix(text, []byte("\xfe\xff")):
		return errors.New("begins with a byte order mark: save it as ASCII, or as UTF-8 without one")
	case isDER(text), len(text) > 1 && text[0] == 0x30 && int(text[1]) == len(text)-2: // a long SEQUENCE, or a short one
		return errors.New(`is in binary (DER or PKCS #12), not PEM: "openssl x509", "openssl pkey" and "openssl pkcs12" convert it`)
	case !bytes.Contains(text, pemBegin):
		return noBegin
	case bytes.Contains(text, []byte(`\n`)):
		return errors.New("the line breaks are written as a backslash and an n: they must be line breaks")
	case !bytes.HasPrefix(text, pemBegin) && !bytes.Contains(text, append([]byte("\n"), pemBegin...)):
		return noBegin
	case bytes.Count(bytes.TrimSpace(text), []byte("\n")) < 2:
		return errors.New("the line breaks are lost: BEGIN, the data and END must stand on lines of their own")
	case !bytes.Contains(text, pemEnd):
		return errors.New(`no line "-----END" closes the block`)
	default:
		return errors.New("the lines between BEGIN and END are not base64")
	}
}

// certificate checks a pair and makes what crypto/tls uses of it. fault is told of each part
// that is at fault, if any is; an error never holds a byte of the key.
func (p KeyPair) certificate(fault func(part string, err error)) (pair tls.Certificate, staple period, ok bool) {
	ok = true
	check := func(part string, err error) {
		if err != nil {
			ok = false
			fault(part, err)
		}
	}
	certs, err := parseCertificates(p.CertPEM)
	if err == nil && !usable(certs[0].PublicKey) {
		certs, err = nil, errors.New("its key is none that TLS uses: take ECDSA P-256, or RSA of 2048 bits")
	}
	check("CertPEM", err)
	if p.Signer != nil {
		pair.PrivateKey, err = p.signer(certs)
		check("Signer", err)
	} else {
		pair.PrivateKey, err = p.privateKey(certs)
		check("KeyPEM", err)
	}
	if len(p.OCSPStaple) > 0 {
		staple, err = readStaple(p.OCSPStaple, certs)
		check("OCSPStaple", err)
		pair.OCSPStaple = bytes.Clone(p.OCSPStaple)
	}
	if !ok {
		return tls.Certificate{}, period{}, false
	}
	pair.Leaf, pair.Certificate = certs[0], make([][]byte, len(certs))
	for i, c := range certs {
		pair.Certificate[i] = c.Raw
	}
	return pair, staple, true
}

// usable reports whether crypto/tls can sign with the key of a certificate.
func usable(public any) bool {
	switch key := public.(type) {
	case *rsa.PublicKey:
		return key.N.BitLen() >= 1024 // crypto/rsa signs with no less
	case *ecdsa.PublicKey:
		return key.Curve != elliptic.P224()
	case ed25519.PublicKey:
		return true
	default:
		return false
	}
}

// privateKey reads KeyPEM, if it is the key of the first certificate. Without certificates,
// it may be any.
func (p KeyPair) privateKey(certs []*x509.Certificate) (crypto.PrivateKey, error) {
	block, err := keyBlock(p.KeyPEM)
	if err != nil {
		return nil, err
	}
	// Not tls.X509KeyPair: it reads the certificates again, and tries the forms of
	// a key one after the other, which is a third of the time that loading takes.
	key, err := secret.ParseKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	if len(certs) > 0 && !keyOf(certs[0], key) {
		if i := slices.IndexFunc(certs, func(c *x509.Certificate) bool { return keyOf(c, key) }); i > 0 {
			return nil, fmt.Errorf("is the key of certificate %d, which must be the first: each of the others signed the one before it", i+1)
		}
		return nil, errors.New("is not the key of the certificate")
	}
	return key, nil
}

// keyBlock finds the private key, as [tls.X509KeyPair] does: other blocks may
// stand before it, such as the parameters of an EC key.
func keyBlock(text []byte) (*pem.Block, error) {
	if len(text) > maxPEMBytes {
		return nil, fmt.Errorf("%d bytes of PEM, more than %d", len(text), maxPEMBytes)
	}
	block, rest := pem.Decode(text)
	if block == nil {
		return nil, pemFault(text)
	}
	for ; block != nil; block, rest = pem.Decode(rest) {
		if !isKey(block) {
			continue
		}
		if secret.Encrypted(block) {
			return nil, errors.New(`is encrypted: store it decrypted, as "openssl pkey" writes it`)
		}
		return block, nil
	}
	return nil, errors.New(`has no "PRIVATE KEY" block`)
}

// keyOf reports whether a private key is that of a certificate.
func keyOf(cert *x509.Certificate, key any) bool {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return false // one for key agreement, such as X25519
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(cert.PublicKey)
}
