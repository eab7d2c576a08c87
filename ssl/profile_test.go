package ssl_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// configErrors returns the faults that an error joins.
func configErrors(t testing.TB, err error) (all []*ssl.ConfigError) {
	t.Helper()
	var walk func(error)
	walk = func(err error) {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				walk(e)
			}
			return
		}
		c, ok := err.(*ssl.ConfigError)
		require.True(t, ok, "%T is no ConfigError: %v", err, err)
		all = append(all, c)
	}
	if err != nil {
		walk(err)
	}
	return all
}

func TestConfigErrors(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	pair, another := ca.Server("a.test"), ca.Server("a.test")
	intermediate := ca.Intermediate("middle")
	elsewhere := ssltest.NewCA(t, "elsewhere").Intermediate("orphan")

	oneLine := func(text []byte) []byte { return bytes.ReplaceAll(text, []byte("\n"), nil) }
	spaced := func(text []byte) []byte { return bytes.ReplaceAll(text, []byte("\n"), []byte(" ")) }
	literal := func(text []byte) []byte { return bytes.ReplaceAll(text, []byte("\n"), []byte(`\n`)) }
	indented := func(text []byte) []byte {
		return append([]byte("  "), bytes.ReplaceAll(text, []byte("\n"), []byte("\n  "))...)
	}
	noEnd := func(text []byte) []byte { return text[:bytes.Index(text, []byte("-----END"))] }
	garbled := func(text []byte) []byte {
		text = bytes.Clone(text)
		text[len(text)/2] = '!'
		return text
	}
	odd := func(name string) ssl.KeyPair {
		file := filepath.Join("testdata", name+".pem")
		pair, err := ssl.LoadKeyPair(file, file)
		require.NoError(t, err)
		return pair
	}
	const lost = "the line breaks are lost: BEGIN, the data and END must stand on lines of their own"
	const escaped = "the line breaks are written as a backslash and an n: they must be line breaks"
	const noBegin = `no line begins with "-----BEGIN"`
	const mark = "begins with a byte order mark: save it as ASCII, or as UTF-8 without one"
	const binary = `is in binary (DER or PKCS #12), not PEM: "openssl x509", "openssl pkey" and "openssl pkcs12" convert it`
	const types = "its key is none that TLS uses: take ECDSA P-256, or RSA of 2048 bits"

	for _, c := range []struct {
		name   string
		change func(c *ssl.Config)
		field  string
		text   string
	}{
		{"no ID", func(c *ssl.Config) { c.ID = "" }, "ID", "is required"},

		{"no names", func(c *ssl.Config) { c.Names = nil }, "Names", "at least one is required"},
		{"empty name", func(c *ssl.Config) { c.Names = []string{"a.test", ""} }, "Names[1]", `"": is empty`},
		{"dot", func(c *ssl.Config) { c.Names = []string{"."} }, "Names[0]", `".": is empty`},
		{"star within", func(c *ssl.Config) { c.Names = []string{"a.*.test"} }, "Names[0]", `"a.*.test": a star must be the first character, as in "*.example.com"`},
		{"two stars", func(c *ssl.Config) { c.Names = []string{"**"} }, "Names[0]", `"**": a star must be the first character, as in "*.example.com"`},
		{"star and no name", func(c *ssl.Config) { c.Names = []string{"*."} }, "Names[0]", `"*.": is empty`},
		{"name with a port", func(c *ssl.Config) { c.Names = []string{"a.test:443"} }, "Names[0]", `"a.test:443": must be a name alone, without scheme, port or path`},
		{"URL", func(c *ssl.Config) { c.Names = []string{"https://a.test/"} }, "Names[0]", `"https://a.test/": must be a name alone, without scheme, port or path`},
		{"blank", func(c *ssl.Config) { c.Names = []string{"a b"} }, "Names[0]", `"a b": has a character that is none of a-z 0-9 - _ and the dot`},
		{"NUL", func(c *ssl.Config) { c.Names = []string{"a\x00.test"} }, "Names[0]", `"a\x00.test": has a character that is none of a-z 0-9 - _ and the dot`},
		{"umlaut", func(c *ssl.Config) { c.Names = []string{"bücher.test"} }, "Names[0]", `"bücher.test": has bytes beyond ASCII: write its "xn--" form`},
		{"empty label", func(c *ssl.Config) { c.Names = []string{"a..test"} }, "Names[0]", `"a..test": has a label that is empty or longer than 63 bytes`},

		{"no certificate", func(c *ssl.Config) { c.Certificates = nil }, "Certificates", "at least one is required"},
		{"empty certificate", func(c *ssl.Config) { c.Certificates[0].CertPEM = nil }, "Certificates[0].CertPEM", "has no certificate: is empty"},
		{"file name", func(c *ssl.Config) { c.Certificates[0].CertPEM = []byte("server.crt") }, "Certificates[0].CertPEM", "has no certificate: " + noBegin},
		{"lost line breaks", func(c *ssl.Config) { c.Certificates[0].CertPEM = oneLine(pair.CertPEM) }, "Certificates[0].CertPEM", "not readable as PEM from block 1 on: " + lost},
		{"blanks for line breaks", func(c *ssl.Config) { c.Certificates[0].CertPEM = spaced(pair.CertPEM) }, "Certificates[0].CertPEM", "not readable as PEM from block 1 on: " + lost},
		{`literal \n`, func(c *ssl.Config) { c.Certificates[0].CertPEM = literal(pair.CertPEM) }, "Certificates[0].CertPEM", "not readable as PEM from block 1 on: " + escaped},
		{`quoted literal \n`, func(c *ssl.Config) { c.Certificates[0].CertPEM = join([]byte(`"`), literal(pair.CertPEM), []byte(`"`)) }, "Certificates[0].CertPEM", "not readable as PEM from block 1 on: " + escaped},
		{"indented", func(c *ssl.Config) { c.Certificates[0].CertPEM = indented(pair.CertPEM) }, "Certificates[0].CertPEM", "not readable as PEM from block 1 on: " + noBegin},
		{"no END", func(c *ssl.Config) { c.Certificates[0].CertPEM = noEnd(pair.CertPEM) }, "Certificates[0].CertPEM", `not readable as PEM from block 1 on: no line "-----END" closes the block`},
		{"garbled", func(c *ssl.Config) { c.Certificates[0].CertPEM = garbled(pair.CertPEM) }, "Certificates[0].CertPEM", "not readable as PEM from block 1 on: the lines between BEGIN and END are not base64"},
		{"garbled chain", func(c *ssl.Config) { c.Certificates[0].CertPEM = join(pair.CertPEM, garbled(intermediate.PEM())) }, "Certificates[0].CertPEM", "not readable as PEM from block 2 on: the lines between BEGIN and END are not base64"},
		{"garbled leaf before its chain", func(c *ssl.Config) { c.Certificates[0].CertPEM = join(garbled(pair.CertPEM), intermediate.PEM()) }, "Certificates[0].CertPEM", "not readable as PEM from block 1 on: the lines between BEGIN and END are not base64"},
		{"leaf without END before its chain", func(c *ssl.Config) { c.Certificates[0].CertPEM = join(noEnd(pair.CertPEM), intermediate.PEM()) }, "Certificates[0].CertPEM", `not readable as PEM from block 1 on: no line "-----END" closes the block`},
		{"not a certificate", func(c *ssl.Config) { c.Certificates[0].CertPEM = certPEM([]byte{0x30, 0x00}) }, "Certificates[0].CertPEM", "certificate 1 of the bundle: x509: malformed tbs certificate"},
		{"the key in place of the certificate", func(c *ssl.Config) { c.Certificates[0].CertPEM = pair.KeyPEM }, "Certificates[0].CertPEM", `has no certificate: its block is a "PRIVATE KEY", not a "CERTIFICATE"`},
		{"a request", func(c *ssl.Config) {
			c.Certificates[0].CertPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: []byte{1}})
		}, "Certificates[0].CertPEM", `has no certificate: its block is a "CERTIFICATE REQUEST", not a "CERTIFICATE"`},

		{"a CA with trust settings beside another", func(c *ssl.Config) {
			c.Client.CAPEM = join(ca.PEM(), bytes.ReplaceAll(another.CertPEM, []byte("CERTIFICATE"), []byte("TRUSTED CERTIFICATE")))
		}, "Client.CAPEM", `block 2 is a "TRUSTED CERTIFICATE", which OpenSSL takes and nobody else: "openssl x509 -clrtrust" writes a "CERTIFICATE"`},
		{"an intermediate by its old name", func(c *ssl.Config) {
			c.Certificates[0].CertPEM = join(pair.CertPEM, bytes.ReplaceAll(intermediate.PEM(), []byte("CERTIFICATE"), []byte("X509 CERTIFICATE")))
		}, "Certificates[0].CertPEM", `block 2 is a "X509 CERTIFICATE", which OpenSSL takes and nobody else: "openssl x509 -clrtrust" writes a "CERTIFICATE"`},

		{"its key behind the certificate", func(c *ssl.Config) { c.Certificates[0].CertPEM = join(pair.CertPEM, pair.KeyPEM) }, "Certificates[0].CertPEM", keyAt(2)},
		{"its key before the certificate", func(c *ssl.Config) { c.Certificates[0].CertPEM = join(pair.KeyPEM, pair.CertPEM) }, "Certificates[0].CertPEM", keyAt(1)},
		{"another's key among the certificates", func(c *ssl.Config) { c.Certificates[0].CertPEM = join(pair.CertPEM, another.KeyPEM, ca.PEM()) }, "Certificates[0].CertPEM", keyAt(2)},
		{"an encrypted key behind the certificate", func(c *ssl.Config) {
			c.Certificates[0].CertPEM = join(pair.CertPEM, bytes.ReplaceAll(pair.KeyPEM, []byte("PRIVATE KEY"), []byte("ENCRYPTED PRIVATE KEY")))
		}, "Certificates[0].CertPEM", keyAt(2)},
		{"one text for both", func(c *ssl.Config) {
			both := join(pair.CertPEM, pair.KeyPEM)
			c.Certificates[0] = ssl.KeyPair{CertPEM: both, KeyPEM: both}
		}, "Certificates[0].CertPEM", keyAt(2)},

		{"no key", func(c *ssl.Config) { c.Certificates[0].KeyPEM = nil }, "Certificates[0].KeyPEM", "is empty"},
		{"key with lost line breaks", func(c *ssl.Config) { c.Certificates[0].KeyPEM = oneLine(pair.KeyPEM) }, "Certificates[0].KeyPEM", lost},
		{`key with literal \n`, func(c *ssl.Config) { c.Certificates[0].KeyPEM = literal(pair.KeyPEM) }, "Certificates[0].KeyPEM", escaped},
		{"the certificate in place of the key", func(c *ssl.Config) { c.Certificates[0].KeyPEM = pair.CertPEM }, "Certificates[0].KeyPEM", `has no "PRIVATE KEY" block`},
		{"a public key", func(c *ssl.Config) {
			der, err := x509.MarshalPKIXPublicKey(parseCert(t, pair.CertPEM).PublicKey)
			require.NoError(t, err)
			c.Certificates[0].KeyPEM = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		}, "Certificates[0].KeyPEM", `has no "PRIVATE KEY" block`},
		{"garbage for a key", func(c *ssl.Config) {
			c.Certificates[0].KeyPEM = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("garbage")})
		}, "Certificates[0].KeyPEM", "is no private key of a kind that TLS uses, in PKCS #8, PKCS #1 or SEC 1"},
		{"another's key", func(c *ssl.Config) { c.Certificates[0].KeyPEM = another.KeyPEM }, "Certificates[0].KeyPEM", "is not the key of the certificate"},
		{"the key of another kind", func(c *ssl.Config) { c.Certificates[0].KeyPEM = selfSigned(t, rsaKey(), rsaKey().Public()).KeyPEM }, "Certificates[0].KeyPEM", "is not the key of the certificate"},
		{"a key for key agreement", func(c *ssl.Config) {
			key, err := ecdh.X25519().GenerateKey(rand.Reader)
			require.NoError(t, err)
			der, err := x509.MarshalPKCS8PrivateKey(key)
			require.NoError(t, err)
			c.Certificates[0].KeyPEM = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
		}, "Certificates[0].KeyPEM", "is no private key of a kind that TLS uses, in PKCS #8, PKCS #1 or SEC 1"},
		{"another's key in the second pair", func(c *ssl.Config) {
			c.Certificates = append(c.Certificates, ssl.KeyPair{CertPEM: pair.CertPEM, KeyPEM: another.KeyPEM})
		}, "Certificates[1].KeyPEM", "is not the key of the certificate"},
		{"the chain upside down", func(c *ssl.Config) { c.Certificates[0].CertPEM = join(intermediate.PEM(), pair.CertPEM) }, "Certificates[0].KeyPEM", "is the key of certificate 2, which must be the first: each of the others signed the one before it"},
		{"encrypted, PKCS #8", func(c *ssl.Config) {
			c.Certificates[0].KeyPEM = pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})
		}, "Certificates[0].KeyPEM", `is encrypted: store it decrypted, as "openssl pkey" writes it`},
		{"encrypted, as of old", func(c *ssl.Config) {
			c.Certificates[0].KeyPEM = pem.EncodeToMemory(&pem.Block{
				Type:    "EC PRIVATE KEY",
				Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"},
				Bytes:   []byte("x"),
			})
		}, "Certificates[0].KeyPEM", `is encrypted: store it decrypted, as "openssl pkey" writes it`},
		{"encrypted, behind its parameters", func(c *ssl.Config) {
			c.Certificates[0].KeyPEM = join(
				pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 0}}),
				pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")}))
		}, "Certificates[0].KeyPEM", `is encrypted: store it decrypted, as "openssl pkey" writes it`},

		{"P-224", func(c *ssl.Config) { c.Certificates[0] = p224(t) }, "Certificates[0].CertPEM", types},
		{"DSA", func(c *ssl.Config) { c.Certificates[0].CertPEM = odd("dsa").CertPEM }, "Certificates[0].CertPEM", types},
		{"Ed448", func(c *ssl.Config) { c.Certificates[0].CertPEM = odd("ed448").CertPEM }, "Certificates[0].CertPEM", types},
		{"RSA for PSS alone", func(c *ssl.Config) { c.Certificates[0].CertPEM = odd("rsapss").CertPEM }, "Certificates[0].CertPEM", types},
		{"RSA 512", func(c *ssl.Config) { c.Certificates[0].CertPEM = odd("rsa512").CertPEM }, "Certificates[0].CertPEM", types},
		{"secp256k1", func(c *ssl.Config) { c.Certificates[0].CertPEM = odd("secp256k1").CertPEM }, "Certificates[0].CertPEM", "certificate 1 of the bundle: x509: unsupported elliptic curve"},

		{"no CA", func(c *ssl.Config) { c.Client.CAPEM = nil }, "Client.CAPEM", "has no certificate: is empty"},
		{"blank CA", func(c *ssl.Config) { c.Client.CAPEM = []byte(" \n") }, "Client.CAPEM", "has no certificate: is empty"},
		{"a client's certificate as CA", func(c *ssl.Config) {
			c.Client.CAPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Client("alice").Certificate[0]})
		}, "Client.CAPEM", "certificate 1 (CN=alice) is not a CA's: give that of the CA which signed it"},
		{"CA with a byte order mark", func(c *ssl.Config) { c.Client.CAPEM = join([]byte("\xef\xbb\xbf"), ca.PEM()) }, "Client.CAPEM", "not readable as PEM from block 1 on: " + mark},
		{"CA in UTF-16", func(c *ssl.Config) { c.Client.CAPEM = []byte("\xff\xfe-\x00-\x00") }, "Client.CAPEM", "has no certificate: " + mark},
		{"CA in DER", func(c *ssl.Config) { c.Client.CAPEM = ca.Certificate().Raw }, "Client.CAPEM", "has no certificate: " + binary},
		{"key in DER", func(c *ssl.Config) {
			block, _ := pem.Decode(pair.KeyPEM)
			c.Certificates[0].KeyPEM = block.Bytes
		}, "Certificates[0].KeyPEM", binary},
		{"short key in DER", func(c *ssl.Config) {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			require.NoError(t, err)
			der, err := x509.MarshalECPrivateKey(key)
			require.NoError(t, err)
			c.Certificates[0].KeyPEM = der
		}, "Certificates[0].KeyPEM", binary},
		{"CA of text", func(c *ssl.Config) { c.Client.CAPEM = []byte("# roots follow\n") }, "Client.CAPEM", "has no certificate: " + noBegin},
		{"CA with no certificate", func(c *ssl.Config) { c.Client.CAPEM = pair.KeyPEM }, "Client.CAPEM", `has no certificate: its block is a "PRIVATE KEY", not a "CERTIFICATE"`},
		{"CA with a key", func(c *ssl.Config) { c.Client.CAPEM = join(ca.PEM(), another.KeyPEM) }, "Client.CAPEM", keyAt(2)},
		{"CA behind a key", func(c *ssl.Config) { c.Client.CAPEM = join(another.KeyPEM, ca.PEM()) }, "Client.CAPEM", keyAt(1)},
		{"CRL with a key", func(c *ssl.Config) {
			c.Client.CRLs = [][]byte{ca.CRL(time.Now().Add(time.Hour)), join(ca.CRL(time.Now().Add(time.Hour)), another.KeyPEM)}
		}, "Client.CRLs[1]", keyAt(2)},
		{"CRL of a key", func(c *ssl.Config) { c.Client.CRLs = [][]byte{another.KeyPEM} }, "Client.CRLs[0]", keyAt(1)},
		{"CA that is half there", func(c *ssl.Config) { c.Client.CAPEM = join(ca.PEM(), noEnd(ca.PEM())) }, "Client.CAPEM", `not readable as PEM from block 2 on: no line "-----END" closes the block`},
		{"CA whose first line is broken", func(c *ssl.Config) {
			c.Client.CAPEM = join(bytes.Replace(ca.PEM(), []byte("BEGIN"), []byte("BEiIN"), 1), elsewhere.PEM())
		}, "Client.CAPEM", "not readable as PEM from block 1 on: " + noBegin},
		{"CA of which the first is broken", func(c *ssl.Config) { c.Client.CAPEM = join(garbled(ca.PEM()), elsewhere.PEM()) }, "Client.CAPEM", "not readable as PEM from block 1 on: the lines between BEGIN and END are not base64"},
		{"intermediate alone", func(c *ssl.Config) { c.Client.CAPEM = intermediate.PEM() }, "Client.CAPEM", "certificate 1 (CN=middle) is an intermediate, and no root in the bundle signed it: add its root"},
		{"intermediate without its root", func(c *ssl.Config) { c.Client.CAPEM = join(ca.PEM(), intermediate.PEM(), elsewhere.PEM()) }, "Client.CAPEM", "certificate 3 (CN=orphan) is an intermediate, and no root in the bundle signed it: add its root"},
		{"depth", func(c *ssl.Config) { c.Client.Depth = -2 }, "Client.Depth", "-2 is neither a number of intermediates nor NoIntermediates"},
		{"lookahead", func(c *ssl.Config) { c.Client.SkipPaths = []string{"^/a", "(?=x)"} }, "Client.SkipPaths[1]", "error parsing regexp: invalid or unsupported Perl syntax: `(?=` (RE2 syntax: no lookaround, no back-references)"},
		{"back-reference", func(c *ssl.Config) { c.Client.SkipPaths = []string{`(a)\1`} }, "Client.SkipPaths[0]", "error parsing regexp: invalid escape sequence: `\\1` (RE2 syntax: no lookaround, no back-references)"},
		{"long skip path", func(c *ssl.Config) { c.Client.SkipPaths = []string{strings.Repeat("a", 4097)} }, "Client.SkipPaths[0]", "4097 bytes are over 4096"},
		{"costly skip paths", func(c *ssl.Config) { c.Client.SkipPaths = slices.Repeat([]string{strings.Repeat(".{999}", 9)}, 6) }, "Client.SkipPaths", "the expressions compile to over 50000 instructions"},

		{"SSL 3.0", func(c *ssl.Config) { c.MinVersion = 0x0300 }, "MinVersion", "0x0300 is no version from TLS 1.0 to 1.3"},
		{"TLS 1.4", func(c *ssl.Config) { c.MaxVersion = tls.VersionTLS13 + 1 }, "MaxVersion", "0x0305 is no version from TLS 1.0 to 1.3"},
		{"crossed versions", func(c *ssl.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS13, tls.VersionTLS12 }, "MinVersion", "TLS 1.3 is above MaxVersion, TLS 1.2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := ssl.Config{
				ID:           "1",
				Names:        []string{"a.test"},
				Certificates: []ssl.KeyPair{pair},
				Client:       &ssl.ClientAuth{CAPEM: ca.PEM()},
			}
			_, err := ssl.New(config)
			require.NoError(t, err)
			c.change(&config)
			p, err := ssl.New(config)
			require.Nil(t, p)
			faults := configErrors(t, err)
			require.Len(t, faults, 1)
			require.Equal(t, config.ID, faults[0].ID)
			require.Equal(t, c.field, faults[0].Field)
			require.Equal(t, c.field, faults[0].FieldPath())
			require.Equal(t, c.text, faults[0].Err.Error())
			require.Equal(t, fmt.Sprintf("ssl: profile %q: %s: %s", config.ID, c.field, c.text), err.Error())
			require.ErrorIs(t, err, faults[0].Err)
		})
	}
}

// Whatever else is wrong with a pair, each of its parts is told of.
func TestPairFaults(t *testing.T) {
	dsa := filepath.Join("testdata", "dsa.pem")
	odd, err := ssl.LoadKeyPair(dsa, dsa)
	require.NoError(t, err)
	ca := ssltest.NewCA(t, "root")
	pair, other := ca.Server("a.test"), ca.Server("a.test")
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})
	const begin = `no line begins with "-----BEGIN"`
	for name, c := range map[string]struct {
		pair ssl.KeyPair
		want []string
	}{
		"nothing":              {ssl.KeyPair{}, []string{"CertPEM: has no certificate: is empty", "KeyPEM: is empty"}},
		"file names":           {ssl.KeyPair{CertPEM: []byte("a.crt"), KeyPEM: []byte("a.key")}, []string{"CertPEM: has no certificate: " + begin, "KeyPEM: " + begin}},
		"an encrypted key":     {ssl.KeyPair{CertPEM: []byte("a.crt"), KeyPEM: encrypted}, []string{"CertPEM: has no certificate: " + begin, `KeyPEM: is encrypted: store it decrypted, as "openssl pkey" writes it`}},
		"damaged, and no key":  {ssl.KeyPair{CertPEM: certPEM([]byte{0x30, 0}), KeyPEM: pair.CertPEM}, []string{"CertPEM: certificate 1 of the bundle: x509: malformed tbs certificate", `KeyPEM: has no "PRIVATE KEY" block`}},
		"a curve of no use":    {ssl.KeyPair{CertPEM: p224(t).CertPEM, KeyPEM: encrypted}, []string{"CertPEM: its key is none that TLS uses: take ECDSA P-256, or RSA of 2048 bits", `KeyPEM: is encrypted: store it decrypted, as "openssl pkey" writes it`}},
		"a pair of no use":     {odd, []string{"CertPEM: its key is none that TLS uses: take ECDSA P-256, or RSA of 2048 bits", "KeyPEM: is no private key of a kind that TLS uses, in PKCS #8, PKCS #1 or SEC 1"}},
		"another's key":        {ssl.KeyPair{CertPEM: []byte("x"), KeyPEM: other.KeyPEM}, []string{"CertPEM: has no certificate: " + begin}},
		"both kinds of key":    {ssl.KeyPair{KeyPEM: pair.KeyPEM, Signer: rsaKey()}, []string{"CertPEM: has no certificate: is empty", "Signer: is set, and so is KeyPEM: the private key is the one or the other"}},
		"a Signer":             {ssl.KeyPair{Signer: rsaKey()}, []string{"CertPEM: has no certificate: is empty"}},
		"a Signer without key": {ssl.KeyPair{Signer: (*rsa.PrivateKey)(nil)}, []string{"CertPEM: has no certificate: is empty", "Signer: has no public key: Public panicked: runtime error: invalid memory address or nil pointer dereference"}},
		"a staple":             {ssl.KeyPair{CertPEM: pair.CertPEM, KeyPEM: other.KeyPEM, OCSPStaple: []byte("x")}, []string{"KeyPEM: is not the key of the certificate", "OCSPStaple: is no OCSP response in DER (RFC 6960)"}},
		"all":                  {ssl.KeyPair{CertPEM: []byte("x"), KeyPEM: []byte("x"), OCSPStaple: []byte("x")}, []string{"CertPEM: has no certificate: " + begin, "KeyPEM: " + begin, "OCSPStaple: is no OCSP response in DER (RFC 6960)"}},
		"another's staple":     {ssl.KeyPair{CertPEM: []byte("x"), KeyPEM: pair.KeyPEM, OCSPStaple: ocspResponse(0, basicOCSP, ocspBasic("x", single{serial: big.NewInt(1), from: time.Now()}))}, []string{"CertPEM: has no certificate: " + begin}},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := ssl.New(ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{pair, c.pair}})
			require.Nil(t, p)
			var got []string
			for _, fault := range configErrors(t, err) {
				field, ok := strings.CutPrefix(fault.Field, "Certificates[1].")
				require.True(t, ok, fault.Field)
				got = append(got, field+": "+fault.Err.Error())
			}
			require.Equal(t, c.want, got)
		})
	}
}

// Of two files that cannot be read, both are told of.
func TestLoadKeyPairFaults(t *testing.T) {
	dir := t.TempDir()
	_, err := ssl.LoadKeyPair(filepath.Join(dir, "a.crt"), filepath.Join(dir, "a.key"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "ssl: certificate: open "+filepath.Join(dir, "a.crt"))
	require.ErrorContains(t, err, "ssl: private key: open "+filepath.Join(dir, "a.key"))
}

// p224 is a pair on the one curve that crypto/x509 reads and crypto/tls does not
// use.
func p224(t testing.TB) ssl.KeyPair {
	key, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	require.NoError(t, err)
	return selfSigned(t, key, key.Public())
}

func selfSigned(t testing.TB, key, public any, names ...string) ssl.KeyPair {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "self"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		DNSNames:     names,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return ssl.KeyPair{CertPEM: certPEM(cert), KeyPEM: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})}
}

// The keys that people have, in the forms that openssl writes.
func TestKeyForms(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	pair := selfSigned(t, key, key.Public(), "a.test")
	sec1, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	rsaPair := selfSigned(t, rsaKey(), rsaKey().Public(), "a.test")
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)

	ec := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}) }
	parameters := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 5, 0x2b, 0x81, 4, 0, 0x22}})
	for name, pair := range map[string]ssl.KeyPair{
		"PKCS #8":                {CertPEM: pair.CertPEM, KeyPEM: pair.KeyPEM},
		"SEC 1":                  {CertPEM: pair.CertPEM, KeyPEM: ec(sec1)},
		"SEC 1 with parameters":  {CertPEM: pair.CertPEM, KeyPEM: join(parameters, ec(sec1))},
		"PKCS #1":                {CertPEM: rsaPair.CertPEM, KeyPEM: pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey())})},
		"RSA in PKCS #8":         rsaPair,
		"Ed25519":                selfSigned(t, edKey, edKey.Public(), "a.test"),
		"CRLF":                   {CertPEM: bytes.ReplaceAll(pair.CertPEM, []byte("\n"), []byte("\r\n")), KeyPEM: bytes.ReplaceAll(pair.KeyPEM, []byte("\n"), []byte("\r\n"))},
		"text around":            {CertPEM: join([]byte("Certificate:\n    Data:\n"), pair.CertPEM, []byte("\nthe end\n")), KeyPEM: join([]byte("Bag Attributes\n"), pair.KeyPEM)},
		"no line break at last":  {CertPEM: bytes.TrimSpace(pair.CertPEM), KeyPEM: bytes.TrimSpace(pair.KeyPEM)},
		"behind certificates":    {CertPEM: pair.CertPEM, KeyPEM: join(pair.CertPEM, rsaPair.CertPEM, pair.KeyPEM)},
		"before certificates":    {CertPEM: pair.CertPEM, KeyPEM: join(pair.KeyPEM, rsaPair.CertPEM)},
		"blank lines in between": {CertPEM: join([]byte("\n\n"), pair.CertPEM, []byte("\n\n"), rsaPair.CertPEM), KeyPEM: pair.KeyPEM},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ssl.New(ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{pair}})
			require.NoError(t, err)
		})
	}
}

// A user sees all faults at once, of all configurations of a change.
func TestAllFaultsAtOnce(t *testing.T) {
	pair := ssltest.NewCA(t, "root").Server("a.test")
	bad := ssl.Config{
		ID:           "1",
		Names:        []string{"a b", "a.test", "c*"},
		Certificates: []ssl.KeyPair{{}, pair, {CertPEM: pair.CertPEM}},
		Client:       &ssl.ClientAuth{Depth: -7, SkipPaths: []string{"[", "ok", "("}},
		MinVersion:   1,
		MaxVersion:   9,
	}
	_, err := ssl.Compile([]ssl.Config{bad, {ID: "2", Names: []string{"b.test"}, Certificates: []ssl.KeyPair{pair}}, {ID: "2"}})
	var got []string
	for _, e := range configErrors(t, err) {
		got = append(got, e.ID+" "+e.Field)
	}
	require.Equal(t, []string{
		"1 Names[0]", "1 Names[2]",
		"1 Certificates[0].CertPEM", "1 Certificates[0].KeyPEM", "1 Certificates[2].KeyPEM",
		"1 MinVersion", "1 MaxVersion",
		"1 Client.Depth", "1 Client.SkipPaths[0]", "1 Client.SkipPaths[2]", "1 Client.CAPEM",
		"2 ID", "2 Names", "2 Certificates",
	}, got)
	require.Contains(t, err.Error(), `ssl: profile "2": ID: stands twice in one change`)

	// And nothing moved.
	store := newStore(t, nil, ssl.Config{ID: "0", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{pair}})
	before := store.Table()
	_, err = store.Apply(ssl.Change{Put: []ssl.Config{{ID: "3", Names: []string{"b.test"}, Certificates: []ssl.KeyPair{pair}}, bad}, Delete: []string{"0"}})
	require.Error(t, err)
	require.Same(t, before, store.Table())
}

// Many configurations are compiled at the same time, and come back in their order.
func TestCompileMany(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	pair, auth := ca.Server("a.test"), &ssl.ClientAuth{CAPEM: ca.PEM()}
	configs := make([]ssl.Config, 300)
	for i := range configs {
		configs[i] = ssl.Config{ID: fmt.Sprint(i), Names: []string{fmt.Sprintf("host-%d.test", i)}, Certificates: []ssl.KeyPair{pair}, Client: auth}
	}
	profiles, err := ssl.Compile(configs)
	require.NoError(t, err)
	require.Len(t, profiles, len(configs))
	for i, p := range profiles {
		require.Equal(t, configs[i].ID, p.ID())
		require.Equal(t, configs[i].Names, p.Names())
	}

	configs[7].Names, configs[250].Certificates, configs[251].ID = nil, nil, "3"
	profiles, err = ssl.Compile(configs)
	require.Nil(t, profiles)
	var got []string
	for _, e := range configErrors(t, err) {
		got = append(got, e.ID+" "+e.Field)
	}
	require.Equal(t, []string{"7 Names", "250 Certificates", "3 ID"}, got)

	none, err := ssl.Compile(nil)
	require.NoError(t, err)
	require.Empty(t, none)
}

// keyAt is the fault of a field that has a private key as its nth block.
func keyAt(n int) string {
	return fmt.Sprintf("has a private key (block %d): only what everybody may see belongs here", n)
}

func TestProfile(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	config := server(ca, "1", &ssl.ClientAuth{CAPEM: ca.PEM()}, "A.Test.", "a.test", "*.a.test", "*")
	p := profile(t, config)
	require.Equal(t, "1", p.ID())
	require.Equal(t, []string{"a.test", "*.a.test", "*"}, p.Names(), "canonical, each once")
	require.True(t, p.DemandsClientCert())
	require.False(t, (*ssl.Profile)(nil).DemandsClientCert())

	// What the caller does with its slices afterwards is nothing to the profile.
	p.Names()[0] = "x"
	config.Names[0] = "x"
	clear(config.Certificates[0].CertPEM)
	clear(config.Certificates[0].KeyPEM)
	clear(config.Client.CAPEM)
	require.Equal(t, "a.test", p.Names()[0])
	s := serveTLS(t, must(ssl.NewTerminator(func() *ssl.Table { return (*ssl.Table)(nil).With(p) }, nil)).TLSConfig())
	_, side := s.visit(t, ssltest.ClientConfig("a.test", ca.Client("alice")))
	require.NoError(t, side.err)
}

func TestWarnings(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	intermediate := ca.Intermediate("between")
	lifetime := func(before, left int) ssltest.Option {
		return func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().AddDate(0, 0, -before), time.Now().AddDate(0, 0, left)
		}
	}
	followed := func(pair ssl.KeyPair, pem []byte) ssl.KeyPair {
		return ssl.KeyPair{CertPEM: append(bytes.Clone(pair.CertPEM), pem...), KeyPEM: pair.KeyPEM}
	}
	issuedElsewhere := func(c *x509.Certificate) { c.IssuingCertificateURL = []string{"http://a.test/ca.der"} }
	day := time.Now().Add(-time.Hour).UTC().Format(time.DateOnly)
	const uncovered = " names none of the server names as a subject alternative name: clients that check will refuse it"
	for _, c := range []struct {
		name  string
		names []string
		pairs []ssl.KeyPair
		want  []string
	}{
		{"covering", []string{"a.test"}, []ssl.KeyPair{ca.Server("a.test")}, nil},
		{"covering by a wildcard", []string{"x.a.test"}, []ssl.KeyPair{ca.Server("*.a.test")}, nil},
		{"covering one of several", []string{"a.test", "b.test"}, []ssl.KeyPair{ca.Server("b.test")}, nil},
		{"a wildcard covered", []string{"*.a.test"}, []ssl.KeyPair{ca.Server("*.a.test")}, nil},
		{"an address", []string{"[::1]"}, []ssl.KeyPair{ca.Server("::1")}, []string{"the server name [::1] is an IP address"}},
		{"every name", []string{"*"}, []ssl.KeyPair{ca.Server("a.test")}, nil},
		{"every name, no SAN", []string{"*"}, []ssl.KeyPair{ca.Server()}, []string{"the certificate (CN=server)" + uncovered}},
		{"no SAN", []string{"a.test"}, []ssl.KeyPair{ca.Server()}, []string{"the certificate (CN=server)" + uncovered}},
		{"another name", []string{"a.test"}, []ssl.KeyPair{ca.Server("b.test")}, []string{"the certificate (CN=b.test)" + uncovered}},
		{"a wildcard too high", []string{"*.b.a.test"}, []ssl.KeyPair{ca.Server("*.a.test")}, []string{"the certificate (CN=*.a.test)" + uncovered}},
		{"for clients", []string{"a.test"}, []ssl.KeyPair{ca.ServerWith([]string{"a.test"}, ssltest.Usage(x509.ExtKeyUsageClientAuth))}, []string{"the certificate (CN=a.test) is not for servers (its extended key usage has no serverAuth)"}},
		{"for both", []string{"a.test"}, []ssl.KeyPair{ca.ServerWith([]string{"a.test"}, ssltest.Usage(x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth))}, nil},
		{"for anything", []string{"a.test"}, []ssl.KeyPair{ca.ServerWith([]string{"a.test"}, ssltest.Usage(x509.ExtKeyUsageAny))}, nil},
		{"for nothing in particular", []string{"a.test"}, []ssl.KeyPair{ca.ServerWith([]string{"a.test"}, ssltest.Usage())}, nil},
		{"expired", []string{"a.test"}, []ssl.KeyPair{ca.ServerWith([]string{"a.test"}, ssltest.Expired)}, []string{"the certificate (CN=a.test) expired on " + day}},
		{"expired, and another name", []string{"b.test"}, []ssl.KeyPair{ca.ServerWith([]string{"a.test"}, ssltest.Expired)}, []string{"the certificate (CN=a.test) expired on " + day, "the certificate (CN=a.test)" + uncovered}},
		{"soon", []string{"a.test"}, []ssl.KeyPair{ca.ServerWith([]string{"a.test"}, lifetime(70, 20))}, []string{"the certificate (CN=a.test) expires on "}},
		{"not yet soon", []string{"a.test"}, []ssl.KeyPair{ca.ServerWith([]string{"a.test"}, lifetime(330, 31))}, nil},
		{"short-lived", []string{"a.test"}, []ssl.KeyPair{ca.ServerWith([]string{"a.test"}, lifetime(3, 4))}, nil},
		{"with its issuer", []string{"a.test"}, []ssl.KeyPair{intermediate.Server("a.test")}, nil},
		{"with another's issuer", []string{"a.test"}, []ssl.KeyPair{followed(ca.Server("a.test"), intermediate.PEM())}, []string{"the certificate (CN=a.test) is followed by that of CN=between, which is not the issuer of CN=a.test"}},
		{"with its root", []string{"a.test"}, []ssl.KeyPair{followed(ca.Server("a.test"), ca.PEM())}, nil},
		{"without its issuer", []string{"a.test"}, []ssl.KeyPair{ca.ServerWith([]string{"a.test"}, issuedElsewhere)}, []string{"the certificate (CN=a.test) stands alone"}},
		{"not yet valid, beside a good one", []string{"a.test"}, []ssl.KeyPair{ca.Server("a.test"), ca.ServerWith([]string{"a.test"}, ssltest.NotYetValid)}, []string{"the certificate (CN=a.test) is not valid before "}},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := must(ssl.NewStore(nil))
			report, err := store.Put(ssl.Config{ID: "1", Names: c.names, Certificates: c.pairs})
			require.NoError(t, err)
			require.Len(t, report.Warnings, len(c.want))
			for i, w := range report.Warnings {
				require.Regexp(t, `^profile "1": (Names: the server name |Certificates\[0\]\.CertPEM: the certificate |Certificates\[1\]\.CertPEM: the certificate .* is not valid before )`, w.String())
				require.True(t, strings.HasPrefix(w.Text, c.want[i]), "%s", w.Text)
			}
		})
	}
}

// A client CA that has ended lets nobody in: that is told when it is put, wherever it came
// from.
func TestClientCAWarnings(t *testing.T) {
	servers := ssltest.NewCA(t, "servers")
	lasting := func(before, left int) ssltest.Option {
		return func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().AddDate(0, 0, -before), time.Now().AddDate(0, 0, left)
		}
	}
	good, expired := ssltest.NewCA(t, "good"), ssltest.NewCA(t, "old", ssltest.Expired)
	early, soon := ssltest.NewCA(t, "early", ssltest.NotYetValid), ssltest.NewCA(t, "soon", lasting(3600, 20))
	below := good.Intermediate("below", ssltest.Expired)
	date := func(at time.Time) string { return at.UTC().Format(time.DateOnly) }
	const refused = ": clients whose chain it is in are refused"
	oldText := "(CN=old) expired on " + date(expired.Certificate().NotAfter) + refused
	var many []byte
	var manyTexts []string
	for i := range 12 {
		ca := ssltest.NewCA(t, fmt.Sprint("old ", i), ssltest.Expired)
		many = append(many, ca.PEM()...)
		if i < 10 {
			manyTexts = append(manyTexts, fmt.Sprintf("client CA %d (CN=old %d) expired on %s%s", i+1, i, date(ca.Certificate().NotAfter), refused))
		}
	}
	manyTexts = append(manyTexts, "2 more client CAs have expired, are not valid yet or expire soon")
	for _, c := range []struct {
		name string
		pem  []byte
		want []string
	}{
		{"good", good.PEM(), nil},
		{"ends in years", ssltest.NewCA(t, "long", lasting(365, 3650)).PEM(), nil},
		{"expired", expired.PEM(), []string{"client CA 1 " + oldText}},
		{"expired, beside a good one", join(good.PEM(), expired.PEM()), []string{"client CA 2 " + oldText}},
		{"not yet valid", early.PEM(), []string{"client CA 1 (CN=early) is not valid before " + early.Certificate().NotBefore.UTC().Format(time.RFC3339) + refused}},
		{"ends soon", soon.PEM(), []string{"client CA 1 (CN=soon) expires on " + date(soon.Certificate().NotAfter)}},
		{"an intermediate", join(below.PEM(), good.PEM()), []string{"client CA 1 (CN=below) expired on " + date(below.Certificate().NotAfter) + refused}},
		{"many", many, manyTexts},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := func(report ssl.Report, err error) {
				t.Helper()
				require.NoError(t, err)
				var texts []string
				for _, w := range report.Warnings {
					require.Equal(t, ssl.Warning{ID: "1", Field: "Client.CAPEM", Text: w.Text}, w)
					texts = append(texts, w.Text)
				}
				require.Equal(t, c.want, texts)
			}
			want(must(ssl.NewStore(nil)).Put(server(servers, "1", &ssl.ClientAuth{CAPEM: c.pem}, "a.test")))

			file := filepath.Join(t.TempDir(), "ca.crt")
			require.NoError(t, os.WriteFile(file, c.pem, 0o600))
			config, err := ssl.FileConfig{Config: server(servers, "1", &ssl.ClientAuth{}, "a.test"), CAs: []string{file}}.Load()
			require.NoError(t, err)
			want(must(ssl.NewStore(nil)).Put(config))
		})
	}
}

// PEM that is meant to keep a processor busy is refused at once.
func TestPEMBombs(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	small := pem.EncodeToMemory(&pem.Block{Type: "X", Bytes: []byte{1}})
	for _, c := range []struct {
		name string
		text []byte
		want string
	}{
		{"10 MB", bytes.Repeat([]byte("A"), 10<<20), "10485760 bytes of PEM, more than 1048576"},
		{"100 000 blocks", bytes.Repeat(small, 100_000), "bytes of PEM, more than 1048576"},
		{"1001 blocks", bytes.Repeat(small, 1001), "more than 1000 PEM blocks"},
		{"BEGIN without END", bytes.Repeat([]byte("-----BEGIN CERTIFICATE-----\n"), 37_000), `no line "-----END" closes the block`},
		{"END without BEGIN", bytes.Repeat([]byte("-----END CERTIFICATE-----\n"), 40_000), `no line begins with "-----BEGIN"`},
		{"a BEGIN and many ENDs", append([]byte("-----BEGIN X-----\n"), bytes.Repeat([]byte("-----END Y-----\n"), 60_000)...), "not readable as PEM"},
		{"headers", append([]byte("-----BEGIN X-----\n"), bytes.Repeat([]byte("a: b\n"), 200_000)...), "not readable as PEM"},
		{"dashes", bytes.Repeat([]byte("-----BEGIN "), 90_000), "not readable as PEM"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ssl.New(ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{{CertPEM: c.text, KeyPEM: ca.Server("a.test").KeyPEM}}, Client: &ssl.ClientAuth{CAPEM: c.text}})
			faults := configErrors(t, err)
			require.Len(t, faults, 2)
			for _, f := range faults {
				require.Contains(t, f.Error(), c.want)
			}
			pair := ca.Server("a.test")
			pair.KeyPEM = c.text
			_, err = ssl.New(ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{pair}})
			require.Error(t, err)
			require.Less(t, len(err.Error()), 500, "an error is not the place for the input")
			if len(c.text) > 1<<20 {
				require.ErrorContains(t, err, "bytes of PEM, more than 1048576")
			}
		})
	}
}

// A bundle in which every intermediate may be that of every root costs a
// signature for each pair, if one lets it.
func TestCABombs(t *testing.T) {
	var bundle []byte
	for range 300 {
		bundle = append(bundle, ssltest.NewCA(t, "same").PEM()...)
	}
	elsewhere := ssltest.NewCA(t, "same")
	for range 300 {
		bundle = append(bundle, elsewhere.Intermediate("middle").PEM()...)
	}
	pair := elsewhere.Server("a.test")
	_, err := ssl.New(ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{pair}, Client: &ssl.ClientAuth{CAPEM: bundle}})
	faults := configErrors(t, err)
	require.Equal(t, "Client.CAPEM", faults[0].Field)
	require.ErrorContains(t, faults[0], "has too many certificates with the same subject")
}

// A bundle in which each certificate stands several times has few certificates and few
// signatures, and very many ways from one to a root.
func TestManyWaysToARoot(t *testing.T) {
	for depth, want := range map[int]bool{3: true, 7: false} {
		parent, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		issuer := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
		der, err := x509.CreateCertificate(rand.Reader, issuer, issuer, &parent.PublicKey, parent)
		require.NoError(t, err)
		bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
		for layer := range depth {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			require.NoError(t, err)
			middle := *issuer
			middle.Subject.CommonName = fmt.Sprint("middle ", layer)
			for copies := range int64(4) {
				middle.SerialNumber = big.NewInt(2 + copies)
				der, err := x509.CreateCertificate(rand.Reader, &middle, issuer, &key.PublicKey, parent)
				require.NoError(t, err)
				bundle = append(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
			}
			parent, issuer = key, &middle
		}
		_, err = ssl.New(ssl.Config{
			ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{ssltest.NewCA(t, "another").Server("a.test")},
			Client: &ssl.ClientAuth{CAPEM: bundle, Depth: 9},
		})
		if want {
			require.NoError(t, err)
			continue
		}
		faults := configErrors(t, err)
		require.Equal(t, "Client.CAPEM", faults[0].Field)
		require.ErrorContains(t, err, "every way to a root")
	}
}

// A long bundle of the ordinary kind is no bomb, in whatever order it comes.
func TestLongBundle(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	chain := []*ssltest.CA{ca}
	for i := range 9 {
		chain = append(chain, chain[i].Intermediate(fmt.Sprintf("middle %d", i)))
	}
	var up, down []byte
	for _, c := range chain {
		down = append(down, c.PEM()...)
		up = append(bytes.Clone(c.PEM()), up...)
	}
	for range 200 {
		up = append(up, ssltest.NewCA(t, "another root").PEM()...)
	}
	pair := ca.Server("a.test")
	for _, bundle := range [][]byte{up, down} {
		p, err := ssl.New(ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{pair}, Client: &ssl.ClientAuth{CAPEM: bundle, Depth: 9}})
		require.NoError(t, err)
		require.NotNil(t, p)
	}
}

// One file may have the certificates and the key, in any order and with text between, and be
// both files of a pair at once. The key comes to KeyPEM alone.
func TestCombinedFile(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	pair := ca.Intermediate("middle").Server("a.test")
	leaf, rest := pem.Decode(pair.CertPEM)
	certs := [][]byte{pem.EncodeToMemory(leaf), rest}
	rsaCert := selfSigned(t, rsaKey(), rsaKey().Public(), "a.test").CertPEM
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey())})
	ecParameters := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 0}})
	for _, c := range []struct {
		name string
		text []byte
		want []byte // of CertPEM
		err  string
	}{
		{"key behind", join(pair.CertPEM, pair.KeyPEM), pair.CertPEM, ""},
		{"key before", join(pair.KeyPEM, pair.CertPEM), pair.CertPEM, ""},
		{"key between", join(certs[0], pair.KeyPEM, certs[1]), pair.CertPEM, ""},
		{"PKCS #1", join(rsaCert, pkcs1), rsaCert, ""},
		{"parameters and text", join([]byte("# all of it\n"), ecParameters, pair.KeyPEM, []byte("# the chain\n"), pair.CertPEM, []byte("# end\n")),
			join([]byte("# all of it\n"), ecParameters, []byte("# the chain\n"), pair.CertPEM, []byte("# end\n")), ""},
		{"a key alone", pair.KeyPEM, pair.KeyPEM, `Certificates[0].CertPEM: has no certificate: its block is a "PRIVATE KEY", not a "CERTIFICATE"`},
		{"certificates alone", pair.CertPEM, pair.CertPEM, `Certificates[0].KeyPEM: has no "PRIVATE KEY" block`},
		{"a chain that is cut off", join(pair.KeyPEM, certs[0], certs[1][:len(certs[1])-30]), join(certs[0], certs[1][:len(certs[1])-30]), "Certificates[0].CertPEM: not readable as PEM from block 2 on"},
		{"a key that is cut off", join(pair.CertPEM, pair.KeyPEM[:len(pair.KeyPEM)-30]), join(pair.CertPEM, pair.KeyPEM[:len(pair.KeyPEM)-30]), "Certificates[0].CertPEM: not readable as PEM from block 3 on"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "all.pem")
			require.NoError(t, os.WriteFile(file, c.text, 0o600))
			loaded, err := ssl.LoadKeyPair(file, file)
			require.NoError(t, err)
			rest := ssl.Config{ID: "1", Names: []string{"a.test"}}
			config, err := ssl.FileConfig{Config: rest, KeyPairs: []ssl.KeyPairFiles{{Cert: file, Key: file}}}.Load()
			require.NoError(t, err)
			require.Equal(t, []ssl.KeyPair{loaded}, config.Certificates)
			require.Equal(t, ssl.KeyPEM(c.text), loaded.KeyPEM)
			require.Equal(t, string(c.want), string(loaded.CertPEM))
			_, err = ssl.New(config)
			if c.err == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.err)
		})
	}

	// Of CAs and lists there is no such file: whoever has their key makes clients of his own.
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, join(ca.PEM(), pair.KeyPEM), 0o600))
	config, err := ssl.FileConfig{Config: server(ca, "1", &ssl.ClientAuth{}, "a.test"), CAs: []string{file}}.Load()
	require.NoError(t, err)
	_, err = ssl.New(config)
	require.EqualError(t, err, `ssl: profile "1": Client.CAPEM: `+keyAt(2))
}

func TestLoadKeyPair(t *testing.T) {
	dir := t.TempDir()
	pair := ssltest.NewCA(t, "root").Server("a.test")
	cert, key := filepath.Join(dir, "a.crt"), filepath.Join(dir, "a.key")
	require.NoError(t, os.WriteFile(cert, pair.CertPEM, 0o600))
	require.NoError(t, os.WriteFile(key, pair.KeyPEM, 0o600))
	got, err := ssl.LoadKeyPair(cert, key)
	require.NoError(t, err)
	require.Equal(t, pair, got)

	_, err = ssl.LoadKeyPair(cert+"x", key)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.Regexp(t, regexp.MustCompile(`^ssl: certificate: open .*a\.crtx`), err.Error())
	_, err = ssl.LoadKeyPair(cert, key+"x")
	require.ErrorIs(t, err, os.ErrNotExist)
	require.Regexp(t, regexp.MustCompile(`^ssl: private key: open .*a\.keyx`), err.Error())
}

// Whatever stands in the PEM fields: an error or a profile, no panic, and no part
// of a key in the error.
func FuzzNew(f *testing.F) {
	ca := ssltest.NewCA(f, "root")
	pair := ca.Server("a.test")
	f.Add(pair.CertPEM, []byte(pair.KeyPEM), ca.PEM(), "a.test", "^/a")
	f.Add([]byte(pair.KeyPEM), pair.CertPEM, []byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), "*.a.test", "(")
	for _, name := range []string{"dsa", "ed448", "rsapss", "rsa512", "secp256k1"} {
		text, err := os.ReadFile(filepath.Join("testdata", name+".pem"))
		require.NoError(f, err)
		f.Add(text, text, text, "*", "")
	}
	f.Fuzz(func(t *testing.T, cert, key, ca []byte, name, skip string) {
		p, err := ssl.New(ssl.Config{
			ID:           "1",
			Names:        []string{name},
			Certificates: []ssl.KeyPair{{CertPEM: cert, KeyPEM: key}},
			Client:       &ssl.ClientAuth{CAPEM: ca, SkipPaths: []string{skip}},
		})
		require.Equal(t, err == nil, p != nil)
		if err == nil {
			_ = fmt.Sprintf("%+v", p)
			return
		}
		require.NotEmpty(t, configErrors(t, err))
		for line := range bytes.SplitSeq(key, []byte("\n")) {
			if len(line) >= 48 && !bytes.Contains(cert, line) && !bytes.Contains(ca, line) && !strings.Contains(name+skip, string(line)) {
				require.NotContains(t, err.Error(), string(line))
			}
		}
		var e *ssl.ConfigError
		require.True(t, errors.As(err, &e))
	})
}
