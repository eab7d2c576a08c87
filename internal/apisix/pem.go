package apisix

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/sallyport/sallyport/internal/secret"
)

// OpenSSL's words for PEM that it cannot read, as APISIX passes them on.
const (
	wrongCertificate = "failed to parse cert: PEM_read_bio_X509_AUX() failed"
	wrongKey         = "failed to parse key: PEM_read_bio_PrivateKey() failed"
	wrongCipher      = "failed to decrypt previous encrypted key"
)

// maxBlocks is how many PEM blocks a value may have. The schema bounds its length
// to 64 Ki characters, which is room for a hundred certificates, but for thousands
// of empty blocks.
const maxBlocks = 256

// checkPair checks a certificate and its key. Where one of the two is kept
// elsewhere, APISIX looks at neither.
func checkPair(cert, key string) faults {
	if isReference(cert) || isReference(key) {
		return nil
	}
	return append(checkCertificates(cert), checkKey(key)...)
}

// checkCertificates checks that a value holds certificates in PEM, and nothing
// that one would not want to show.
func checkCertificates(text string) faults {
	blocks, why := readPEM(text)
	if why != "" {
		return faults{{wrongCertificate, why}}
	}
	if secret.In(text) {
		// APISIX takes it, and shows it to whoever may read.
		return faults{{"failed to parse cert: a private key stands in it, which belongs in the property for keys alone", "certificates are shown to whoever may read"}}
	}
	found := false
	for i, block := range blocks {
		if block.Type == "CERTIFICATE" {
			if _, err := x509.ParseCertificate(block.Bytes); err != nil {
				return faults{{wrongCertificate, fmt.Sprintf("block %d: %s", i+1, show(err.Error()))}}
			}
			found = true
		}
	}
	if !found {
		return faults{{wrongCertificate, "it has no CERTIFICATE block"}}
	}
	return nil
}

// checkKey checks that a value holds a private key in PEM. Its first one counts.
func checkKey(text string) faults {
	if isPlaceholder(text) {
		return faults{{wrongCipher, "it stands for the key that is stored, and none is"}}
	}
	if !strings.HasPrefix(text, "---") {
		why := `a key must begin with "-----BEGIN"; for those that APISIX has encrypted, Options.Keyring must have the key of its data_encryption.keyring`
		if strings.HasPrefix(strings.TrimSpace(text), "-----BEGIN") {
			why = `there is white space before "-----BEGIN"`
		}
		return faults{{wrongCipher, why}}
	}
	blocks, why := readPEM(text)
	if why != "" {
		return faults{{wrongKey, why}}
	}
	why = "it has no PRIVATE KEY block"
	for _, block := range blocks {
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY", strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
			why = `it is locked with a passphrase: "openssl pkey -in FILE" writes it without`
		case !strings.HasSuffix(block.Type, "PRIVATE KEY"):
			continue
		case parseKey(block.Bytes) != nil:
			return nil
		default:
			// Nothing of what x509 says: it may repeat what it read.
			why = "it is no RSA, ECDSA or Ed25519 key in PKCS #8, PKCS #1 or SEC 1"
		}
		break
	}
	return faults{{wrongKey, why}}
}

// A privateKey is what x509 makes of one.
type privateKey interface{ Public() crypto.PublicKey }

// parseKey is [secret.ParseKey]. It returns nil if there is no key.
func parseKey(der []byte) privateKey {
	key, _ := secret.ParseKey(der)
	known, _ := key.(privateKey)
	return known
}

// readPEM returns the blocks of a text, or why it cannot be read. Text around the
// blocks is allowed, as openssl writes it. [pem.Decode] alone would pass over
// a block that is damaged.
func readPEM(text string) (blocks []*pem.Block, why string) {
	begin := []byte("-----BEGIN")
	for rest := []byte(text); bytes.Contains(rest, begin); {
		block, after := pem.Decode(rest)
		if block == nil || bytes.Count(rest[:len(rest)-len(after)], begin) != 1 {
			return nil, damagedPEM(text)
		}
		if blocks = append(blocks, block); len(blocks) > maxBlocks {
			return nil, fmt.Sprintf("it has more than %d PEM blocks", maxBlocks)
		}
		rest = after
	}
	if blocks == nil {
		return nil, damagedPEM(text)
	}
	return blocks, ""
}

// damagedPEM says why a text is no PEM. The usual ways to damage it each have
// their own answer.
func damagedPEM(text string) string {
	trimmed := strings.TrimSpace(text)
	switch {
	case !strings.Contains(trimmed, "-----BEGIN"):
		return `it has no line "-----BEGIN": it must be the text of a PEM file`
	case strings.Contains(trimmed, `\n`):
		return `its line breaks are written as a backslash and an n: they must be line breaks, or "\n" with one backslash in JSON`
	case strings.Count(trimmed, "\n") < 2:
		return `its line breaks are lost: quote the shell variable, and send files with curl --data-binary, not with -d`
	case !strings.Contains(trimmed, "-----END"):
		return `it has no line "-----END"`
	case strings.Contains(text, " -----BEGIN"), strings.Contains(text, "\t-----BEGIN"):
		return `there is white space before "-----BEGIN"`
	default:
		return "a block is damaged: what stands between BEGIN and END is not base64, or BEGIN and END do not belong together"
	}
}
