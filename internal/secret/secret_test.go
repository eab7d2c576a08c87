package secret_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/secret"
)

func TestPEMNeverPrints(t *testing.T) {
	const key = "-----BEGIN PRIVATE KEY-----hunter2"
	holder := struct {
		Name string
		Key  secret.PEM
		List []secret.PEM
	}{"a", secret.PEM(key), []secret.PEM{secret.PEM(key)}}

	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "% x"} {
		fmt.Fprintf(&out, verb+" "+verb+"\n", holder, &holder)
		fmt.Fprintf(&out, verb+"\n", holder.Key)
	}
	b, err := json.Marshal(holder)
	require.NoError(t, err)
	out.Write(b)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "key", holder.Key, "holder", holder)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "key", holder.Key, "holder", holder)

	require.Contains(t, out.String(), secret.Redacted)
	require.NotContains(t, out.String(), "hunter2")
	require.NotContains(t, out.String(), fmt.Sprintf("%x", "hunter2"))
	require.NotContains(t, out.String(), fmt.Sprint([]byte("hunter2"))[1:10])
}

func TestIn(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	large, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	require.NoError(t, err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	keys := map[string][]byte{"PKCS 1": x509.MarshalPKCS1PrivateKey(weak)}
	for _, key := range []any{ec, large, ed, weak} {
		keys[fmt.Sprintf("PKCS 8 %T", key)], err = x509.MarshalPKCS8PrivateKey(key)
		require.NoError(t, err)
	}
	keys["SEC 1"], err = x509.MarshalECPrivateKey(ec)
	require.NoError(t, err)
	keys["SEC 1 of 521 bits"], err = x509.MarshalECPrivateKey(large)
	require.NoError(t, err)
	for name, der := range keys {
		text := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
		body := base64.StdEncoding.EncodeToString(der)
		for _, s := range []string{text, "x" + text, url.PathEscape(text), url.QueryEscape(text), body, "\n" + body, body[:40], strings.SplitAfterN(text, "\n", 2)[1], strings.Join(strings.Split(body, ""), "\r\n"),
			"key=" + body, `"` + body + `"`, "/" + body, "a certificate\n" + body, base64.StdEncoding.EncodeToString([]byte(text)), "tls.key: " + base64.StdEncoding.EncodeToString([]byte(text)) + "\n"} {
			require.True(t, secret.In(s), "%s: %s", name, s)
		}
	}

	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, ec.Public(), ec)
	require.NoError(t, err)
	public, err := x509.MarshalPKIXPublicKey(ec.Public())
	require.NoError(t, err)
	for _, s := range []string{
		"", "M", "MI", "L", "LS0tLS1CRUdJTiB", base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), "M\r0=\r\r\r=\r\r\r\r", "M\n\n\n\n\n\n\n\n\n\n\n", "how a PRIVATE KEY is made", "MIT-licensed text", "MAAAAAAAAAAAAAAAAAAA",
		base64.StdEncoding.EncodeToString(der), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		base64.StdEncoding.EncodeToString(public), "-----BEGIN PUBLIC KEY-----",
	} {
		require.False(t, secret.In(s), s)
	}
}

// Whatever a client sends, it is looked at without a panic, and line breaks hide nothing.
func FuzzIn(f *testing.F) {
	f.Add("MIGHAgEAMBMGByqGSM49AgEG", uint8(3))
	f.Add(base64.StdEncoding.EncodeToString([]byte("-----BEGIN PRIVATE KEY-----")), uint8(5))
	f.Add("M\r0=\r\r\r=\r\r\r\r", uint8(1))
	f.Fuzz(func(t *testing.T, text string, every uint8) {
		found := secret.In(text)
		if strings.ContainsAny(text, "\r\n") || strings.Contains(text, "KEY") || every == 0 {
			return
		}
		var broken strings.Builder
		for i, c := range []byte(text) {
			if i > 0 && i%int(every) == 0 {
				broken.WriteString("\r\n")
			}
			broken.WriteByte(c)
		}
		if found && !secret.In(broken.String()) {
			t.Fatalf("%q: %v", text, found)
		}
	})
}
