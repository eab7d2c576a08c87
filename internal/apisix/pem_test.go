package apisix_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/apisix"
)

func block(typ string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}))
}

// Each mistake of a newcomer has an answer of its own.
func TestPEMHints(t *testing.T) {
	f := newFixture(t)
	cert, key := f.pem["cert"], f.pem["key"]
	oneLine := strings.NewReplacer("\n", "", "-----B", "-----B")
	locked := `-----BEGIN RSA PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-128-CBC,00

` + strings.Repeat("AAAA", 16) + `
-----END RSA PRIVATE KEY-----
`
	for _, c := range []struct{ name, cert, key, want string }{
		{"no line breaks", oneLine.Replace(cert), key, wrongCert + " (its line breaks are lost: quote the shell variable, and send files with curl --data-binary, not with -d)"},
		{"blanks for line breaks", strings.ReplaceAll(cert, "\n", " "), key, wrongCert + " (its line breaks are lost: quote the shell variable, and send files with curl --data-binary, not with -d)"},
		{"backslash and n", strings.ReplaceAll(cert, "\n", `\n`), key, wrongCert + ` (its line breaks are written as a backslash and an n: they must be line breaks, or "\n" with one backslash in JSON)`},
		{"indented", "  " + strings.ReplaceAll(cert, "\n", "\n  "), key, wrongCert + ` (there is white space before "-----BEGIN")`},
		{"no END", cert[:len(cert)-30], key, wrongCert + ` (it has no line "-----END")`},
		{"not PEM", strings.Repeat("x", 200), key, wrongCert + ` (it has no line "-----BEGIN": it must be the text of a PEM file)`},
		{"no base64", strings.Replace(cert, "MII", "M!I", 1), key, wrongCert + ` (a block is damaged: what stands between BEGIN and END is not base64, or BEGIN and END do not belong together)`},
		{"second block damaged", cert + strings.Replace(cert, "MII", "M!I", 1) + cert, key, wrongCert + ` (a block is damaged: what stands between BEGIN and END is not base64, or BEGIN and END do not belong together)`},
		{"last block cut off", cert + cert[:100], key, wrongCert + ` (a block is damaged: what stands between BEGIN and END is not base64, or BEGIN and END do not belong together)`},
		{"no certificate", block("X509 CRL", make([]byte, 200)), key, wrongCert + ` (it has no CERTIFICATE block)`},
		{"certificate signing request", block("CERTIFICATE REQUEST", make([]byte, 200)), key, wrongCert + ` (it has no CERTIFICATE block)`},
		{"no DER", cert + block("CERTIFICATE", make([]byte, 200)), key, wrongCert + ` (block 2: x509: malformed certificate)`},
		{"too many blocks", strings.Repeat(block("X", nil), 300), key, wrongCert + ` (it has more than 256 PEM blocks)`},

		{"key without its first line", cert + strings.SplitN(key, "\n", 2)[1], key, "failed to parse cert: a private key stands in it, which belongs in the property for keys alone (certificates are shown to whoever may read)"},

		{"key without line breaks", cert, oneLine.Replace(key), wrongKey + " (its line breaks are lost: quote the shell variable, and send files with curl --data-binary, not with -d)"},
		{"key with backslash and n", cert, strings.ReplaceAll(key, "\n", `\n`), wrongKey + ` (its line breaks are written as a backslash and an n: they must be line breaks, or "\n" with one backslash in JSON)`},
		{"key after white space", cert, "\n" + key, wrongCipher + ` (there is white space before "-----BEGIN")`},
		{"key in cipher text", cert, strings.Repeat("QUJD", 40), wrongCipher + ` (a key must begin with "-----BEGIN"; for those that APISIX has encrypted, Options.Keyring must have the key of its data_encryption.keyring)`},
		{"certificate for a key", cert, cert, wrongKey + ` (it has no PRIVATE KEY block)`},
		{"locked PKCS #1", cert, locked, wrongKey + ` (it is locked with a passphrase: "openssl pkey -in FILE" writes it without)`},
		{"locked PKCS #8", cert, block("ENCRYPTED PRIVATE KEY", make([]byte, 100)), wrongKey + ` (it is locked with a passphrase: "openssl pkey -in FILE" writes it without)`},
		{"no key in the block", cert, block("PRIVATE KEY", make([]byte, 100)), wrongKey + ` (it is no RSA, ECDSA or Ed25519 key in PKCS #8, PKCS #1 or SEC 1)`},
	} {
		doc := map[string]any{"sni": "a", "cert": c.cert, "key": c.key}
		require.EqualError(t, apisix.Validate(apisix.SSLs, doc), c.want, c.name)
	}
}

func TestPEMKeys(t *testing.T) {
	f := newFixture(t)
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	pkcs8 := func(key any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		require.NoError(t, err)
		return der
	}
	sec1, err := x509.MarshalECPrivateKey(ec)
	require.NoError(t, err)
	for name, key := range map[string]string{
		"EC PKCS #8":  block("PRIVATE KEY", pkcs8(ec)),
		"EC SEC 1":    block("EC PRIVATE KEY", sec1),
		"openssl":     block("EC PARAMETERS", []byte{6, 5, 43, 129, 4, 0, 34}) + block("EC PRIVATE KEY", sec1),
		"Ed25519":     block("PRIVATE KEY", pkcs8(ed)),
		"RSA PKCS #8": block("PRIVATE KEY", pkcs8(rsaKey)),
		"RSA PKCS #1": block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)),
		"behind":      f.pem["cert"] + block("PRIVATE KEY", pkcs8(ed)),
	} {
		require.NoError(t, apisix.Validate(apisix.SSLs, map[string]any{"sni": "a", "cert": f.pem["cert"], "key": key}), name)
	}
}

// However PEM is damaged, looking at it takes a time in proportion to its length: these would
// take hours.
func TestPEMIsLinear(t *testing.T) {
	f := newFixture(t)
	for _, text := range []string{
		strings.Repeat("-----BEGIN A-----\n", 3600),
		strings.Repeat("-----BEGIN A-----\n-----END B-----\n", 1900),
		strings.Repeat("-----BEGIN A-----\nA: b\n", 2800),
		"-----BEGIN CERTIFICATE-----\n" + strings.Repeat("a\n", 32000),
		strings.Repeat("-", 65536),
		strings.Repeat("-----END A-----\n", 4000),
	} {
		require.Error(t, apisix.Validate(apisix.SSLs, map[string]any{"sni": "a", "cert": text, "key": f.pem["key"]}))
	}
}

// No way to be wrong shows a key.
func TestErrorsShowNoKey(t *testing.T) {
	f := newFixture(t)
	secret := strings.Split(f.pem["key"], "\n")[1]
	require.Greater(t, len(secret), 40)
	key := f.pem["key"]
	docs := []map[string]any{
		{"sni": "a", "cert": key, "key": key},
		{"sni": "a", "cert": f.pem["cert"] + key, "key": key},
		{"sni": "a", "cert": f.pem["cert"], "key": " " + key},
		{"sni": "a", "cert": f.pem["cert"], "key": strings.ReplaceAll(key, "\n", "")},
		{"sni": "a", "cert": f.pem["cert"], "key": strings.ReplaceAll(key, "EC", "RSA")},
		{"sni": key, "cert": f.pem["cert"], "key": key},
		{"sni": "a", key: f.pem["cert"], "key": key},
		{"sni": "a", "cert": f.pem["cert"], "key": key, "labels": map[string]any{"k": key, key: 1.0}},
		{"sni": "a", "cert": f.pem["cert"], "key": key, "client": map[string]any{"ca": key}},
		{"sni": "a", "cert": f.pem["cert"], "key": "$env://" + key},
		{"id": key}, {"uri": "/", "upstream_id": key}, {"uri": "/", "host": key, "upstream_id": "1"},
		{"uri": "/", "plugins": map[string]any{key: 1.0}},
		{"nodes": map[string]any{key + ":x": 1.0}}, {"nodes": map[string]any{"a:" + key: 1.0}},
		{"nodes": map[string]any{}, "type": key}, {"nodes": map[string]any{}, "upstream_host": key},
		{"nodes": map[string]any{}, "tls": map[string]any{"client_cert": f.pem["cert"], "client_key": key + "x", key: 1.0}, "scheme": "https"},
	}
	var out bytes.Buffer
	for _, doc := range docs {
		for _, kind := range apisix.Kinds {
			o, err := apisix.Decode(kind, "1", doc)
			if err != nil {
				out.WriteString(err.Error())
				continue
			}
			for _, w := range o.Warnings {
				out.WriteString(w)
			}
			for _, field := range []string{"Names[0]", "Hosts[0]", "Nodes[0].Host", "Upstream.Nodes[0]"} {
				out.WriteString(apisix.FieldName(kind, doc, field))
			}
		}
	}
	require.NotContains(t, out.String(), secret)
	require.NotContains(t, out.String(), secret[:20])
}
