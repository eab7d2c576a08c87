package ssl_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// A device is an HSM: its key cannot be had, and it takes note of what it is asked.
type device struct {
	key    crypto.Signer
	public func() crypto.PublicKey // if not nil, what Public does
	before func() error            // if not nil, what Sign does first

	asked, signed atomic.Int64

	mu   sync.Mutex
	opts []crypto.SignerOpts
}

func (s *device) Public() crypto.PublicKey {
	s.asked.Add(1)
	if s.public != nil {
		return s.public()
	}
	return s.key.Public()
}

func (s *device) Sign(rand io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	s.signed.Add(1)
	s.mu.Lock()
	s.opts = append(s.opts, o)
	s.mu.Unlock()
	if s.before != nil {
		if err := s.before(); err != nil {
			return nil, err
		}
	}
	return s.key.Sign(rand, digest, o)
}

// inDevice moves the key of a pair into a device.
func inDevice(t testing.TB, pair ssl.KeyPair) (ssl.KeyPair, *device) {
	t.Helper()
	s := &device{key: keyIn(t, pair)}
	pair.KeyPEM, pair.Signer = nil, s
	return pair, s
}

func keyIn(t testing.TB, pair ssl.KeyPair) crypto.Signer {
	t.Helper()
	block, _ := pem.Decode(pair.KeyPEM)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	require.NoError(t, err)
	return key.(crypto.Signer)
}

// pairsOfEachKind are for a.test.
func pairsOfEachKind(t testing.TB) map[string]ssl.KeyPair {
	t.Helper()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return map[string]ssl.KeyPair{
		"ECDSA":   selfSigned(t, ec, ec.Public(), "a.test"),
		"Ed25519": selfSigned(t, ed, ed.Public(), "a.test"),
		"RSA":     selfSigned(t, rsaKey(), rsaKey().Public(), "a.test"),
	}
}

func TestSigner(t *testing.T) {
	for kind, pair := range pairsOfEachKind(t) {
		t.Run(kind, func(t *testing.T) {
			forVersions(t, func(t *testing.T, version uint16, _ int) {
				pair, s := inDevice(t, pair)
				store := newStore(t, nil, ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{pair}})
				server := serveTLS(t, store.TLSConfig())
				config := client(version, "a.test")
				config.ClientSessionCache = &ssltest.SessionCache{}

				// crypto/tls verifies what was signed.
				side, _ := server.visit(t, config)
				require.NoError(t, side.err)
				require.True(t, side.state.PeerCertificates[0].Equal(parseCert(t, pair.CertPEM)))
				require.EqualValues(t, 1, s.signed.Load())
				if _, isRSA := s.key.(*rsa.PrivateKey); isRSA {
					require.IsType(t, &rsa.PSSOptions{}, s.opts[0])
				}
				// Neither a session that is resumed nor a client that goes through twice
				// asks the device for what it has said.
				side, _ = server.visit(t, config)
				require.NoError(t, side.err)
				require.True(t, side.state.DidResume)
				require.EqualValues(t, 1, s.signed.Load())
				require.EqualValues(t, 1, s.asked.Load())
			})
		})
	}
}

func TestSignerErrors(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	pair := ca.Server("a.test")
	key := keyIn(t, pair)
	weak := p224(t)
	public := func(f func() crypto.PublicKey) crypto.Signer { return &device{key: key, public: f} }
	for name, c := range map[string]struct {
		pair  ssl.KeyPair
		field string
		text  string
	}{
		"both":             {ssl.KeyPair{CertPEM: pair.CertPEM, KeyPEM: pair.KeyPEM, Signer: key}, "Signer", "is set, and so is KeyPEM: the private key is the one or the other"},
		"neither":          {ssl.KeyPair{CertPEM: pair.CertPEM}, "KeyPEM", "is empty"},
		"no certificate":   {ssl.KeyPair{Signer: key}, "CertPEM", "has no certificate: is empty"},
		"another's":        {ssl.KeyPair{CertPEM: pair.CertPEM, Signer: keyIn(t, ca.Server("a.test"))}, "Signer", "is not the key of the certificate"},
		"of another kind":  {ssl.KeyPair{CertPEM: pair.CertPEM, Signer: rsaKey()}, "Signer", "is not the key of the certificate"},
		"no public key":    {ssl.KeyPair{CertPEM: pair.CertPEM, Signer: public(func() crypto.PublicKey { return nil })}, "Signer", "has no public key: Public returns nil"},
		"a panic":          {ssl.KeyPair{CertPEM: pair.CertPEM, Signer: public(func() crypto.PublicKey { panic("no session") })}, "Signer", "has no public key: Public panicked: no session"},
		"a nil pointer":    {ssl.KeyPair{CertPEM: pair.CertPEM, Signer: (*ecdsa.PrivateKey)(nil)}, "Signer", "has no public key: Public panicked: runtime error: invalid memory address or nil pointer dereference"},
		"a kind TLS lacks": {ssl.KeyPair{CertPEM: weak.CertPEM, Signer: keyIn(t, weak)}, "CertPEM", "its key is none that TLS uses: take ECDSA P-256, or RSA of 2048 bits"},
		"a wrong staple":   {ssl.KeyPair{CertPEM: pair.CertPEM, Signer: key, OCSPStaple: []byte("x")}, "OCSPStaple", "is no OCSP response in DER (RFC 6960)"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := ssl.New(ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{pair, c.pair}})
			require.Nil(t, p)
			faults := configErrors(t, err)
			require.Len(t, faults, 1)
			require.Equal(t, "Certificates[1]."+c.field, faults[0].Field)
			require.Equal(t, c.text, faults[0].Err.Error())
		})
	}
}

// What a profile does with several pairs, and what it warns of, does not depend on where
// their keys are.
func TestSignersAmongPairs(t *testing.T) {
	ca := ssltest.NewCA(t, "servers")
	ofRSA, _ := inDevice(t, selfSigned(t, rsaKey(), rsaKey().Public(), "a.test"))
	ofECDSA, _ := inDevice(t, ca.Server("a.test"))
	expired, unused := inDevice(t, ca.ServerWith([]string{"a.test"}, ssltest.Until(time.Now().Add(-time.Hour))))
	ofRSA.OCSPStaple, ofECDSA.OCSPStaple = goodStaple(t, ofRSA, "rsa"), goodStaple(t, ofECDSA, "ecdsa")
	config := ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{expired, ofECDSA, ofRSA, ca.Server("a.test")}}
	store := must(ssl.NewStore(nil))
	report, err := store.Put(config)
	require.NoError(t, err)
	require.Len(t, report.Warnings, 1)
	require.Contains(t, report.Warnings[0].Text, "the certificate (CN=a.test) expired on ")
	s := serveTLS(t, store.TLSConfig())
	for suite, want := range map[uint16][]byte{
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:   ofRSA.OCSPStaple,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: ofECDSA.OCSPStaple,
	} {
		c := client(tls.VersionTLS12, "a.test")
		c.CipherSuites = []uint16{suite}
		side, _ := s.visit(t, c)
		require.NoError(t, side.err)
		require.Equal(t, want, side.state.OCSPResponse)
	}
	require.Zero(t, unused.signed.Load())
}

// Sessions go by the profile and its client policy: they outlive the move of a key.
func TestSessionsOutliveTheKeysMove(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	config := server(servers, "1", &ssl.ClientAuth{CAPEM: people.PEM()}, "a.test")
	store := newStore(t, nil, config)
	s := serveTLS(t, store.TLSConfig())
	visitor := ssltest.ClientConfig("a.test", people.Client("alice"))
	visitor.ClientSessionCache = &ssltest.SessionCache{}
	resumed := func() bool {
		side, _ := s.visit(t, visitor)
		require.NoError(t, side.err)
		return side.state.DidResume
	}
	require.False(t, resumed())
	moved, _ := inDevice(t, config.Certificates[0])
	config.Certificates = []ssl.KeyPair{moved}
	put(t, store, config)
	require.True(t, resumed())
}

// An error or a panic of a Signer costs the handshake that it was for.
func TestSignerFails(t *testing.T) {
	const internalError = 80
	alerts := map[uint16]int{tls.VersionTLS12: handshakeFailure, tls.VersionTLS13: internalError}
	forVersions(t, func(t *testing.T, version uint16, _ int) {
		var how func() error
		pair, s := inDevice(t, ssltest.NewCA(t, "root").Server("a.test"))
		s.before = func() error { return how() }
		o := &ssl.Options{MaxHandshakes: 1, FailuresLogged: -1}
		reports := newReports(o)
		l := newStore(t, o, ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{pair}}).Listener(listen(t))
		acceptAll(t, l)
		for text, f := range map[string]func() error{
			"the token is gone":                   func() error { return errors.New("the token is gone") },
			"the Signer panicked: what a mistake": func() error { panic("what a mistake") },
		} {
			how = f
			side := handshake(t, l.Addr(), client(version, "a.test"))
			require.Equal(t, alerts[version], alertOf(side.err))
			require.NotContains(t, side.err.Error(), text)
			e := <-reports.failed
			require.Equal(t, ssl.ReasonProtocol, e.Reason)
			require.Equal(t, "1", e.Profile)
			require.ErrorContains(t, e, text)
			require.Equal(t, "the server's own key did not sign: see the error: "+ssl.ReasonProtocol.Remedy(), e.Advice())

			how = func() error { return nil }
			require.NoError(t, handshake(t, l.Addr(), client(version, "a.test")).err)
			require.Equal(t, "1", <-reports.done)
		}
	})
}

// A Signer that takes too long is waited for, and the handshake has failed by then.
func TestSlowSigner(t *testing.T) {
	pair, s := inDevice(t, ssltest.NewCA(t, "root").Server("a.test"))
	s.before = func() error { time.Sleep(time.Minute); return nil }
	hello := ssltest.ClientHello(t, "a.test")
	synctest.Test(t, func(t *testing.T) {
		o := &ssl.Options{HandshakeTimeout: 3 * time.Second}
		reports := newReports(o)
		p := newPipes()
		acceptAll(t, bubbleStore(t, o, ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{pair}}).Listener(p))
		c := p.dial(t)
		synctest.Wait()
		start := time.Now()
		_, err := c.Write(hello)
		require.NoError(t, err)
		e := <-reports.failed
		require.Equal(t, ssl.ReasonTimeout, e.Reason, "%v", e.Err)
		require.Equal(t, time.Minute, time.Since(start))
		c.Close()
	})
}

// Many handshakes use one Signer at once: all are in Sign before any comes out.
func TestSignerIsUsedByMany(t *testing.T) {
	const many = 8
	pair, s := inDevice(t, ssltest.NewCA(t, "root").Server("a.test"))
	var within sync.WaitGroup
	within.Add(many)
	s.before = func() error { within.Done(); within.Wait(); return nil }
	server := serveTLS(t, newStore(t, nil, ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{pair}}).TLSConfig())
	var clients sync.WaitGroup
	errs := make([]error, many)
	for i := range many {
		clients.Go(func() {
			side, _ := server.visit(t, ssltest.ClientConfig("a.test"))
			errs[i] = side.err
		})
	}
	clients.Wait()
	require.NoError(t, errors.Join(errs...))
	require.EqualValues(t, many, s.signed.Load())
}

// A carrier is a Signer by value, whose secrets fmt would print.
type carrier struct {
	*device
	PIN string
}

// Whatever is printed of a configuration and of what is made of it, what is in a Signer is not.
func TestSignerIsNeverShown(t *testing.T) {
	const pin = "hunter2-hunter2"
	for kind, pair := range pairsOfEachKind(t) {
		t.Run(kind, func(t *testing.T) {
			key := keyIn(t, pair)
			secrets := append(secretsIn(t, key), spellings([]byte(pin))...)
			for _, s := range []crypto.Signer{key, carrier{&device{key: key}, pin}} {
				pair := ssl.KeyPair{CertPEM: pair.CertPEM, Signer: s}
				config := ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{pair}}
				both := config
				both.Certificates = []ssl.KeyPair{{CertPEM: pair.CertPEM, KeyPEM: ssl.KeyPEM(pin), Signer: s}}
				_, twice := ssl.New(both)
				require.Error(t, twice)
				other := config
				other.Certificates = []ssl.KeyPair{{CertPEM: ssltest.NewCA(t, "root").Server("a.test").CertPEM, Signer: s}}
				_, wrong := ssl.New(other)
				require.Error(t, wrong)

				store := newStore(t, nil, config)
				server := serveTLS(t, store.TLSConfig())
				side, _ := server.visit(t, ssltest.ClientConfig("a.test"))
				require.NoError(t, side.err)
				inForce, err := store.GetConfigForClient(&tls.ClientHelloInfo{ServerName: "a.test"})
				require.NoError(t, err)
				for _, v := range []any{
					pair, &pair, []ssl.KeyPair{pair}, []*ssl.KeyPair{&pair}, map[string]any{"x": pair}, struct{ Inner any }{&pair},
					config, &config, ssl.FileConfig{Config: config}, ssl.Change{Put: []ssl.Config{config}}, twice, wrong, both,
					profile(t, config), store, store.Table(), inForce.Certificates, &inForce.Certificates[0],
				} {
					for how, text := range prints(v) {
						for _, secret := range secrets {
							require.NotContains(t, text, secret, "%T by %s", v, how)
						}
					}
				}
			}
		})
	}
}

// But for the Signer, a pair prints as it would by itself.
func TestKeyPairPrints(t *testing.T) {
	pair := ssl.KeyPair{CertPEM: []byte("a"), KeyPEM: []byte("b"), Signer: rsaKey(), OCSPStaple: []byte("c")}
	require.Equal(t, "{[97] [redacted] [redacted] [99]}", fmt.Sprint(pair))
	require.Equal(t, "{[97] [redacted] [redacted] [99]}", fmt.Sprint(&pair))
	require.Equal(t, "{CertPEM:[97] KeyPEM:[redacted] Signer:[redacted] OCSPStaple:[99]}", fmt.Sprintf("%+v", pair))
	require.Equal(t, "ssl.KeyPair{CertPEM:[]uint8{0x61}, KeyPEM:[redacted], Signer:[redacted], OCSPStaple:[]uint8{0x63}}", fmt.Sprintf("%#v", pair))
	require.Contains(t, fmt.Sprintf("%+v", ssl.Config{Certificates: []ssl.KeyPair{pair}}), "Signer:[redacted]")
	require.Equal(t, "{[] [redacted] <nil> []}", fmt.Sprint(ssl.KeyPair{}))
	require.Equal(t, "<nil>", fmt.Sprint((*ssl.KeyPair)(nil)))
}

func TestKeyPairOf(t *testing.T) {
	root := ssltest.NewCA(t, "root")
	made := root.Intermediate("middle").Server("a.test")
	given, err := tls.X509KeyPair(made.CertPEM, made.KeyPEM)
	require.NoError(t, err)
	given.OCSPStaple = goodStaple(t, made, "good")
	pair, err := ssl.KeyPairOf(&given)
	require.NoError(t, err)
	require.Equal(t, ssl.KeyPair{CertPEM: made.CertPEM, Signer: given.PrivateKey.(crypto.Signer), OCSPStaple: given.OCSPStaple}, pair)
	require.Equal(t, 2, bytes.Count(pair.CertPEM, []byte("BEGIN CERTIFICATE")))
	s := serveTLS(t, newStore(t, nil, ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{pair}}).TLSConfig())
	trusting := client(tls.VersionTLS13, "a.test")
	trusting.InsecureSkipVerify, trusting.RootCAs = false, root.Pool()
	side, _ := s.visit(t, trusting)
	require.NoError(t, side.err)
	require.Equal(t, given.OCSPStaple, side.state.OCSPResponse)

	for text, change := range map[string]func(*tls.Certificate){
		"Certificate is empty":                              func(c *tls.Certificate) { c.Certificate = nil },
		"PrivateKey is nil":                                 func(c *tls.Certificate) { c.PrivateKey = nil },
		"PrivateKey is a string, which is no crypto.Signer": func(c *tls.Certificate) { c.PrivateKey = "key" },
		"SupportedSignatureAlgorithms is set, and a KeyPair has no place for it: ":     func(c *tls.Certificate) { c.SupportedSignatureAlgorithms = []tls.SignatureScheme{tls.PKCS1WithSHA256} },
		"SignedCertificateTimestamps is set, and a KeyPair has no place for it: have ": func(c *tls.Certificate) { c.SignedCertificateTimestamps = [][]byte{{1}} },
	} {
		c := given
		change(&c)
		pair, err := ssl.KeyPairOf(&c)
		require.Error(t, err)
		require.True(t, strings.HasPrefix(err.Error(), "ssl: KeyPairOf: "+text), "%v", err)
		require.Equal(t, ssl.KeyPair{}, pair)
	}
	_, err = ssl.KeyPairOf(nil)
	require.EqualError(t, err, "ssl: KeyPairOf: the certificate is nil")

	// What it holds is New's to check.
	pair, err = ssl.KeyPairOf(&tls.Certificate{Certificate: [][]byte{[]byte("x")}, PrivateKey: rsaKey()})
	require.NoError(t, err)
	_, err = ssl.New(ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{pair}})
	require.ErrorContains(t, err, "Certificates[0].CertPEM: certificate 1 of the bundle: x509: ")
}
