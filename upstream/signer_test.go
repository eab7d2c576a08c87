package upstream_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/upstream"
)

// A device is an HSM: its key cannot be had.
type device struct {
	crypto.Signer
	before func() error // if not nil, what Sign does first
}

func (d *device) Sign(rand io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	if d.before != nil {
		if err := d.before(); err != nil {
			return nil, err
		}
	}
	return d.Signer.Sign(rand, digest, o)
}

// A slotted is a Signer by value that has no ==.
type slotted struct {
	crypto.Signer
	pin []byte
}

// certify returns a client certificate for a key, in PEM.
func (a *authority) certify(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"client.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, key.Public(), a.key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func keysOfEachKind(t testing.TB) map[string]crypto.Signer {
	t.Helper()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	ofRSA, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	return map[string]crypto.Signer{"ECDSA": newKey(t), "Ed25519": ed, "RSA": ofRSA}
}

func TestSigner(t *testing.T) {
	ca := newAuthority(t)
	for kind, key := range keysOfEachKind(t) {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(kind+" "+tls.VersionName(version), func(t *testing.T) {
				node := newTLSServer(t, &tls.Config{
					Certificates: []tls.Certificate{ca.certificate(t, "a.test")},
					ClientAuth:   tls.RequireAndVerifyClientCert,
					ClientCAs:    ca.pool(),
					MaxVersion:   version,
				}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					io.WriteString(w, r.TLS.PeerCertificates[0].DNSNames[0])
				}))
				for _, scheme := range []upstream.Scheme{upstream.SchemeHTTPS, upstream.SchemeGRPCS} {
					p := newPool(t, upstream.Config{
						Scheme: scheme, Nodes: []upstream.Node{node.Node},
						TLS: upstream.TLS{CAPEM: ca.pem, CertPEM: ca.certify(t, key), Signer: &device{Signer: key}},
					}, nil)
					_, body := get(t, p, "http://a.test/")
					require.Equal(t, "client.test", body)
				}
			})
		}
	}
}

// An error or a panic of a Signer is a connection that fails, also where the handshake is
// made by a goroutine of the pool's.
func TestSignerFails(t *testing.T) {
	ca, key := newAuthority(t), newKey(t)
	node := newTLSServer(t, &tls.Config{
		Certificates: []tls.Certificate{ca.certificate(t, "a.test")},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    ca.pool(),
	}, echoHost)
	for text, before := range map[string]func() error{
		"the token is gone":                   func() error { return errors.New("the token is gone") },
		"the Signer panicked: what a mistake": func() error { panic("what a mistake") },
	} {
		for _, scheme := range []upstream.Scheme{upstream.SchemeHTTPS, upstream.SchemeGRPCS} {
			p := newPool(t, upstream.Config{
				Scheme: scheme, Nodes: []upstream.Node{node.Node},
				TLS: upstream.TLS{CAPEM: ca.pem, CertPEM: ca.certify(t, key), Signer: &device{key, before}},
			}, nil)
			_, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
			wantError(t, err, 502, 1, "TLS handshake: tls: failed to sign handshake: "+text)
		}
	}
}

// Connections are made by a Signer, and go on with no other.
func TestSuccessorOfSigner(t *testing.T) {
	ca := newAuthority(t)
	key := newKey(t)
	twin := *key
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	cert, edCert := ca.certify(t, key), ca.certify(t, ed)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	inPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	inDevice := &device{Signer: key}
	for name, c := range map[string]struct {
		from, to upstream.TLS
		shares   bool
	}{
		"the same":              {upstream.TLS{CertPEM: cert, Signer: inDevice}, upstream.TLS{CertPEM: cert, Signer: inDevice}, true},
		"another of one key":    {upstream.TLS{CertPEM: cert, Signer: inDevice}, upstream.TLS{CertPEM: cert, Signer: &device{Signer: key}}, false},
		"two copies of one key": {upstream.TLS{CertPEM: cert, Signer: key}, upstream.TLS{CertPEM: cert, Signer: &twin}, false},
		"no ==":                 {upstream.TLS{CertPEM: cert, Signer: slotted{Signer: key}}, upstream.TLS{CertPEM: cert, Signer: slotted{Signer: key}}, false},
		"Ed25519":               {upstream.TLS{CertPEM: edCert, Signer: ed}, upstream.TLS{CertPEM: edCert, Signer: ed25519.PrivateKey(bytes.Clone(ed))}, true},
		"from PEM":              {upstream.TLS{CertPEM: cert, KeyPEM: inPEM}, upstream.TLS{CertPEM: cert, Signer: key}, false},
		"to PEM":                {upstream.TLS{CertPEM: cert, Signer: key}, upstream.TLS{CertPEM: cert, KeyPEM: inPEM}, false},
		"a new certificate":     {upstream.TLS{CertPEM: cert, Signer: inDevice}, upstream.TLS{CertPEM: ca.certify(t, key), Signer: inDevice}, false},
		"none any more":         {upstream.TLS{CertPEM: cert, Signer: inDevice}, upstream.TLS{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			config := upstream.Config{ID: "1", Scheme: "https", Nodes: []upstream.Node{{Host: "a.test"}}, TLS: c.from}
			u := mustNew(t, config)
			first := upstream.NewPool(u, nil)
			defer first.Close()
			// The same Upstream again: whatever its Signer is, it is that.
			old := first.Replace(u, nil)
			defer old.Close()
			require.True(t, old.SharesConnections(first, 0, 0))
			config.TLS = c.to
			next := old.Replace(mustNew(t, config), nil)
			defer next.Close()
			require.Equal(t, c.shares, next.SharesConnections(old, 0, 0))
		})
	}
}

func TestSignerErrors(t *testing.T) {
	ca, key := newAuthority(t), newKey(t)
	cert := ca.certify(t, key)
	pemCert, pemKey := ca.pair(t, "client.test")
	ofDSA, err := os.ReadFile(filepath.Join("..", "ssl", "testdata", "dsa.pem"))
	require.NoError(t, err)
	const noUse = "its key is none that TLS uses: take ECDSA P-256, or RSA of 2048 bits"
	for name, c := range map[string]struct {
		tls   upstream.TLS
		field string
		text  string
	}{
		"both":                {upstream.TLS{CertPEM: pemCert, KeyPEM: pemKey, Signer: key}, "TLS.Signer", "is set, and so is TLS.KeyPEM: the private key is the one or the other"},
		"neither":             {upstream.TLS{CertPEM: cert}, "TLS.KeyPEM", "is missing: it is the private key of TLS.CertPEM"},
		"alone":               {upstream.TLS{Signer: key}, "TLS.CertPEM", "is missing: TLS.Signer is its private key"},
		"no PEM":              {upstream.TLS{CertPEM: []byte("x"), Signer: key}, "TLS.CertPEM", "has no certificate in PEM"},
		"no certificate":      {upstream.TLS{CertPEM: pemKey, Signer: key}, "TLS.CertPEM", "has no certificate in PEM"},
		"a wrong certificate": {upstream.TLS{CertPEM: []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), Signer: key}, "TLS.CertPEM", "certificate 1: x509: malformed certificate"},
		"another's":           {upstream.TLS{CertPEM: cert, Signer: newKey(t)}, "TLS.Signer", "is not the key of the certificate"},
		"a nil pointer":       {upstream.TLS{CertPEM: cert, Signer: (*ecdsa.PrivateKey)(nil)}, "TLS.Signer", "has no public key: Public panicked: runtime error: invalid memory address or nil pointer dereference"},
		"of no kind of TLS's": {upstream.TLS{CertPEM: ofDSA, Signer: key}, "TLS.CertPEM", noUse},
		"the same in PEM":     {upstream.TLS{CertPEM: ofDSA, KeyPEM: pemKey}, "TLS.CertPEM", noUse},
	} {
		t.Run(name, func(t *testing.T) {
			u, err := upstream.New(upstream.Config{ID: "1", Scheme: "https", TLS: c.tls})
			require.Nil(t, u)
			require.EqualError(t, err, fmt.Sprintf("upstream %q: %s: %s", "1", c.field, c.text))
		})
	}
	_, err = upstream.New(upstream.Config{ID: "1", TLS: upstream.TLS{Signer: key}})
	require.ErrorContains(t, err, `TLS: is set, but over the scheme "http" nothing is encrypted or verified`)
}

// What is in a Signer is in no dump, and comes back to who has the Upstream.
func TestSignerIsNeverShown(t *testing.T) {
	ca := newAuthority(t)
	const pin = "hunter2-hunter2"
	for kind, key := range keysOfEachKind(t) {
		t.Run(kind, func(t *testing.T) {
			secrets := []string{pin, fmt.Sprintf("%x", pin), strings.Trim(fmt.Sprint([]byte(pin)), "[]")}
			switch key := key.(type) {
			case *ecdsa.PrivateKey:
				//lint:ignore SA1019 it is what a printer would show
				secrets = append(secrets, key.D.String(), fmt.Sprintf("%x", key.D))
			case *rsa.PrivateKey:
				secrets = append(secrets, key.D.String(), key.Primes[0].String(), fmt.Sprintf("%x", key.D))
			case ed25519.PrivateKey:
				secrets = append(secrets, strings.Trim(fmt.Sprint(key.Seed()), "[]"), fmt.Sprintf("%x", key.Seed()))
			}
			for _, s := range []crypto.Signer{key, slotted{key, []byte(pin)}} {
				c := upstream.Config{ID: "1", Scheme: "https", Nodes: []upstream.Node{{Host: "a.test"}}, TLS: upstream.TLS{CertPEM: ca.certify(t, key), Signer: s}}
				u := mustNew(t, c)
				require.Equal(t, c, u.Config())
				p := upstream.NewPool(u, nil)
				defer p.Close()
				_, wrong := upstream.New(upstream.Config{ID: "1", Scheme: "https", TLS: upstream.TLS{CertPEM: ca.certify(t, newKey(t)), Signer: s}})
				require.Error(t, wrong)
				var out bytes.Buffer
				for _, v := range []any{c, &c, c.TLS, &c.TLS, []upstream.TLS{c.TLS}, map[string]any{"x": c}, u, *u, p, wrong} {
					for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
						fmt.Fprintf(&out, verb+"\n", v)
					}
					slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
					slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
				}
				text, err := json.Marshal(c)
				require.NoError(t, err)
				out.Write(text)
				for _, secret := range secrets {
					require.NotContains(t, out.String(), secret)
				}
			}
		})
	}

	c := upstream.TLS{CertPEM: []byte("a"), KeyPEM: []byte("b"), Signer: newKey(t)}
	require.Equal(t, "{CAPEM:[] ServerName: CertPEM:[97] KeyPEM:[redacted] Signer:[redacted] DangerouslySkipServerVerify:false}", fmt.Sprintf("%+v", c))
	require.Equal(t, "upstream.TLS{CAPEM:[]uint8(nil), ServerName:\"\", CertPEM:[]uint8{0x61}, KeyPEM:[redacted], Signer:[redacted], DangerouslySkipServerVerify:false}", fmt.Sprintf("%#v", c))
}
