package ssl_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// What a client that shows the wrong certificate reads on the wire.
func TestClientCertificateAlerts(t *testing.T) {
	servers, people, aliens := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people"), ssltest.NewCA(t, "aliens")
	store := newStore(t, nil,
		server(servers, "strict", &ssl.ClientAuth{CAPEM: people.PEM()}, "strict.test"),
		server(servers, "rotating", &ssl.ClientAuth{CAPEM: join([]byte("# two roots\n"), aliens.PEM(), people.PEM())}, "rotating.test"),
		server(servers, "optional", &ssl.ClientAuth{CAPEM: people.PEM(), SkipPaths: []string{"^/public"}}, "optional.test"),
		server(servers, "public", nil, "public.test"),
	)
	s := serveTLS(t, store.TLSConfig())

	namesake := ssltest.NewCA(t, "people")
	middle := people.Intermediate("middle")
	incomplete := middle.Client("bob")
	incomplete.Certificate = incomplete.Certificate[:1]
	rsaClient := func() tls.Certificate {
		pair := selfSigned(t, rsaKey(), rsaKey().Public())
		c, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
		require.NoError(t, err)
		return c
	}()

	forVersions(t, func(t *testing.T, version uint16, none int) {
		for _, c := range []struct {
			name   string
			server string
			certs  []tls.Certificate
			alert  int
		}{
			{"a good one", "strict.test", []tls.Certificate{people.Client("alice")}, noAlert},
			{"none", "strict.test", nil, none},
			{"another CA", "strict.test", []tls.Certificate{aliens.Client("mallory")}, unknownCA},
			{"a CA with the same name", "strict.test", []tls.Certificate{namesake.Client("mallory")}, unknownCA},
			{"the CA of the servers", "strict.test", []tls.Certificate{servers.Client("mallory")}, unknownCA},
			{"signed by itself", "strict.test", []tls.Certificate{rsaClient}, unknownCA},
			{"expired", "strict.test", []tls.Certificate{people.Client("alice", ssltest.Expired)}, certificateExpired},
			{"not yet valid", "strict.test", []tls.Certificate{people.Client("alice", ssltest.NotYetValid)}, certificateExpired},
			{"of an expired intermediate", "strict.test", []tls.Certificate{people.Intermediate("middle", ssltest.Expired).Client("alice")}, certificateExpired},
			{"for servers", "strict.test", []tls.Certificate{people.Client("alice", ssltest.Usage(x509.ExtKeyUsageServerAuth))}, badCertificate},
			{"for every usage", "strict.test", []tls.Certificate{people.Client("alice", ssltest.Usage(x509.ExtKeyUsageAny))}, noAlert},
			{"without usages", "strict.test", []tls.Certificate{people.Client("alice", ssltest.Usage())}, noAlert},
			{"with its intermediate", "strict.test", []tls.Certificate{middle.Client("alice")}, noAlert},
			{"without its intermediate", "strict.test", []tls.Certificate{incomplete}, unknownCA},
			{"too deep", "strict.test", []tls.Certificate{middle.Intermediate("lower").Client("alice")}, unknownCA},
			{"either root, the one", "rotating.test", []tls.Certificate{people.Client("alice")}, noAlert},
			{"either root, the other", "rotating.test", []tls.Certificate{aliens.Client("bob")}, noAlert},
			{"either root, a third", "rotating.test", []tls.Certificate{servers.Client("mallory")}, unknownCA},

			// Where some paths need none, nothing about the certificate ends the
			// handshake.
			{"optional: a good one", "optional.test", []tls.Certificate{people.Client("alice")}, noAlert},
			{"optional: none", "optional.test", nil, noAlert},
			{"optional: another CA", "optional.test", []tls.Certificate{aliens.Client("mallory")}, noAlert},
			{"optional: expired", "optional.test", []tls.Certificate{people.Client("alice", ssltest.Expired)}, noAlert},

			{"not asked for", "public.test", []tls.Certificate{aliens.Client("mallory")}, noAlert},
			{"unknown name", "unknown.test", []tls.Certificate{people.Client("alice")}, unrecognizedName},
			{"no name", "", []tls.Certificate{people.Client("alice")}, unrecognizedName},
		} {
			t.Run(c.name, func(t *testing.T) {
				client, server := s.visit(t, client(version, c.server, c.certs...))
				require.Equal(t, c.alert, alertOf(client.err), "%v; the server: %v", client.err, server.err)
				if c.alert == noAlert {
					require.NoError(t, client.err)
					require.NoError(t, server.err)
					require.Equal(t, version, client.state.Version)
				} else {
					require.Error(t, server.err)
				}
				if c.server == "public.test" {
					require.Empty(t, server.state.PeerCertificates)
				}
			})
		}
	})
}

// A chain of n intermediates is taken if the depth is n or more, whichever part
// of it the bundle holds: the counting of OpenSSL.
func TestDepth(t *testing.T) {
	root := ssltest.NewCA(t, "root")
	chain := []*ssltest.CA{root}
	certs := []tls.Certificate{root.Client("alice")}
	for i := range 4 {
		next := chain[i].Intermediate(fmt.Sprintf("middle %d", i+1))
		chain, certs = append(chain, next), append(certs, next.Client("alice"))
	}
	pair := root.Server("a.test")
	forVersions(t, func(t *testing.T, version uint16, _ int) {
		for _, depth := range []int{ssl.NoIntermediates, 0, 2, 3} {
			allowed := map[int]int{ssl.NoIntermediates: 0, 0: ssl.DefaultDepth, 2: 2, 3: 3}[depth]
			for inBundle := 1; inBundle <= 3; inBundle++ {
				var bundle []byte
				for _, ca := range chain[:inBundle] {
					bundle = append(bundle, ca.PEM()...)
				}
				store := newStore(t, nil, ssl.Config{
					ID:           "1",
					Names:        []string{"a.test"},
					Certificates: []ssl.KeyPair{pair},
					Client:       &ssl.ClientAuth{CAPEM: bundle, Depth: depth},
				})
				s := serveTLS(t, store.TLSConfig())
				for n, cert := range certs {
					// The client sends all intermediates, or only those that the
					// bundle does not hold.
					short := cert
					short.Certificate = cert.Certificate[:1+max(0, n-(inBundle-1))]
					for _, sent := range []tls.Certificate{cert, short} {
						client, _ := s.visit(t, client(version, "a.test", sent))
						want := noAlert
						if n > allowed {
							want = unknownCA
						}
						require.Equal(t, want, alertOf(client.err), "depth %d, %d in the bundle, %d intermediates of which %d sent: %v",
							depth, inBundle, n, len(sent.Certificate)-1, client.err)
					}
				}
			}
		}
	})
}

// keyUsages says with which a client may sign a handshake. Zero is that of a certificate
// which does not say.
var keyUsages = map[x509.KeyUsage]bool{
	0:                              true,
	x509.KeyUsageDigitalSignature:  true,
	x509.KeyUsageKeyAgreement:      true,
	x509.KeyUsageKeyEncipherment:   false,
	x509.KeyUsageDataEncipherment:  false,
	x509.KeyUsageContentCommitment: false,
	x509.KeyUsageCertSign:          false,
	x509.KeyUsageCRLSign:           false,
	x509.KeyUsageEncipherOnly:      false,
	x509.KeyUsageDecipherOnly:      false,
	nothing:                        false,
	x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature:                                     true,
	x509.KeyUsageKeyEncipherment | x509.KeyUsageDigitalSignature:                              true,
	x509.KeyUsageKeyEncipherment | x509.KeyUsageContentCommitment | x509.KeyUsageDecipherOnly: false,
}

// using gives a certificate a key usage, also one that permits nothing.
func using(c *x509.Certificate, usage x509.KeyUsage) *x509.Certificate {
	if c.KeyUsage = usage; usage == nothing {
		c.KeyUsage = 0
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Critical: true, Value: []byte{3, 1, 0}}}
	}
	return c
}

const nothing x509.KeyUsage = -1

// A key that is not for signatures, such as one for encipherment of which a CA keeps a copy,
// is nobody's identity.
func TestKeyUsage(t *testing.T) {
	servers := ssltest.NewCA(t, "servers")
	root := newAuthority(t, nil, ca("root"))
	for usage, taken := range keyUsages {
		alice := newAuthority(t, root, using(leaf("alice"), usage)).pair()
		for _, auth := range []*ssl.ClientAuth{{CAPEM: root.pem()}, {CAPEM: root.pem(), CacheVerified: true}, {CAPEM: root.pem(), SkipPaths: []string{"^/free$"}}} {
			forVersions(t, func(t *testing.T, version uint16, _ int) {
				d := newDoor(t, nil, server(servers, "1", auth, "a.test"))
				_, passage := d.visit(t, client(version, "a.test", alice))
				if auth.SkipPaths != nil {
					require.Nil(t, passage.err)
					identity, err := d.store.Judge(d.store.Table(), &passage.state, "a.test", "/")
					require.Equal(t, taken, identity != nil)
					if !taken {
						require.Equal(t, http.StatusBadRequest, err.(*ssl.RequestError).Status)
						require.Equal(t, ssl.ReasonKeyUsage, err.(*ssl.RequestError).Reason)
					}
					return
				}
				require.Equal(t, taken, passage.err == nil, "%09b", usage)
				if !taken {
					require.Equal(t, ssl.ReasonKeyUsage, passage.err.Reason)
					require.Contains(t, passage.err.Advice(), "the key usage of the certificate of CN=alice does not permit signatures: ")
				}
			})
		}
	}
}

// The certificate of an anchor may be a client's too: a root that is its own
// client, and an intermediate of the bundle.
func TestAnchorAsClient(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	pair := selfSigned(t, key, key.Public())
	self, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	require.NoError(t, err)
	store := newStore(t, nil, server(ssltest.NewCA(t, "servers"), "1", &ssl.ClientAuth{CAPEM: pair.CertPEM, Depth: ssl.NoIntermediates}, "a.test"))
	s := serveTLS(t, store.TLSConfig())
	forVersions(t, func(t *testing.T, version uint16, _ int) {
		client, server := s.visit(t, client(version, "a.test", self))
		require.NoError(t, client.err)
		identity, err := store.Judge(store.Table(), &server.state, "a.test", "/")
		require.NoError(t, err)
		require.Len(t, identity.Chain(), 1)
	})
}

// openssl without an extension file makes certificates of version 1, and the
// how-to that people follow does just that.
func TestVersion1Certificates(t *testing.T) {
	const ca = "MyTestCA"
	caKey, caCert := version1(t, ca, ca, nil)
	serverKey, serverCert := version1(t, "test.com", ca, caKey)
	clientKey, clientCert := version1(t, "CLIENT", ca, caKey)
	der, err := x509.MarshalPKCS8PrivateKey(serverKey)
	require.NoError(t, err)
	store := must(ssl.NewStore(nil))
	report, err := store.Put(ssl.Config{
		ID:           "1",
		Names:        []string{"test.com"},
		Certificates: []ssl.KeyPair{{CertPEM: certPEM(serverCert), KeyPEM: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})}},
		Client:       &ssl.ClientAuth{CAPEM: certPEM(caCert)},
	})
	require.NoError(t, err)
	require.Len(t, report.Warnings, 1, "no SAN")
	s := serveTLS(t, store.TLSConfig())
	forVersions(t, func(t *testing.T, version uint16, none int) {
		c, server := s.visit(t, client(version, "test.com", tls.Certificate{Certificate: [][]byte{clientCert}, PrivateKey: clientKey}))
		require.NoError(t, c.err)
		identity, err := store.Judge(store.Table(), &server.state, "test.com", "/")
		require.NoError(t, err)
		require.Equal(t, "CN=CLIENT", identity.Subject())
		c, _ = s.visit(t, client(version, "test.com"))
		require.Equal(t, none, alertOf(c.err))
	})
}

// version1 makes a certificate without version and extensions, which crypto/x509
// reads but does not write.
func version1(t *testing.T, name, issuer string, caKey *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	if caKey == nil {
		caKey = key
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	algorithm := pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}} // ecdsa-with-SHA256
	tbs, err := asn1.Marshal(struct {
		Serial    *big.Int
		Algorithm pkix.AlgorithmIdentifier
		Issuer    pkix.RDNSequence
		Validity  struct{ NotBefore, NotAfter time.Time }
		Subject   pkix.RDNSequence
		PublicKey asn1.RawValue
	}{
		Serial:    big.NewInt(1),
		Algorithm: algorithm,
		Issuer:    pkix.Name{CommonName: issuer}.ToRDNSequence(),
		Validity:  struct{ NotBefore, NotAfter time.Time }{time.Now().Add(-time.Hour).UTC(), time.Now().Add(time.Hour).UTC()},
		Subject:   pkix.Name{CommonName: name}.ToRDNSequence(),
		PublicKey: asn1.RawValue{FullBytes: spki},
	})
	require.NoError(t, err)
	digest := sha256.Sum256(tbs)
	signature, err := ecdsa.SignASN1(rand.Reader, caKey, digest[:])
	require.NoError(t, err)
	cert, err := asn1.Marshal(struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{asn1.RawValue{FullBytes: tbs}, algorithm, asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}})
	require.NoError(t, err)
	return key, cert
}

// The client's CAs are named to everyone who asks, and all of them.
func TestManyCAs(t *testing.T) {
	var bundle []byte
	var last *ssltest.CA
	for i := range 200 {
		last = ssltest.NewCA(t, fmt.Sprintf("root %d", i))
		bundle = append(bundle, last.PEM()...)
	}
	s := serveTLS(t, newStore(t, nil, server(last, "1", &ssl.ClientAuth{CAPEM: bundle}, "a.test")).TLSConfig())
	forVersions(t, func(t *testing.T, version uint16, _ int) {
		config := client(version, "a.test")
		asked := 0
		alice := last.Client("alice")
		config.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			asked = len(r.AcceptableCAs)
			return &alice, nil
		}
		client, _ := s.visit(t, config)
		require.NoError(t, client.err)
		require.Equal(t, 200, asked)
	})
}

// A counted connection counts what is read of it.
type counted struct {
	net.Conn
	read atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

// More subjects than a handshake has room for would be the end of every handshake: New says
// so. The most that it takes, every client gets.
func TestSubjectsOfCAs(t *testing.T) {
	servers := ssltest.NewCA(t, "servers")
	var fits, bundle []byte
	var alice tls.Certificate
	size := 0
	for i := 0; size <= 64_000; i++ {
		root := newAuthority(t, nil, ca(fmt.Sprintf("%03d%s", i, strings.Repeat("x", 60))))
		if i == 0 {
			alice = newAuthority(t, root, leaf("alice")).pair()
		}
		fits, bundle = bundle, append(bundle, root.pem()...)
		size += 2 + len(root.cert.RawSubject)
	}
	_, err := ssl.New(server(servers, "1", &ssl.ClientAuth{CAPEM: bundle}, "a.test"))
	faults := configErrors(t, err)
	require.Len(t, faults, 1)
	require.Equal(t, "Client.CAPEM", faults[0].Field)
	require.ErrorContains(t, err, fmt.Sprintf("they take %d bytes, and a handshake has room for 64000", size))

	for name, auth := range map[string]*ssl.ClientAuth{"the most": {CAPEM: fits}, "hidden": {CAPEM: bundle, HideCAs: true}} {
		forVersions(t, func(t *testing.T, version uint16, _ int) {
			d := newDoor(t, nil, server(servers, "1", auth, "a.test"))
			config := client(version, "a.test")
			asked := false
			config.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
				asked = len(r.AcceptableCAs) > 800
				return &alice, nil
			}
			side, passage := d.visit(t, config)
			require.NoError(t, side.err, name)
			require.Equal(t, name == "the most", asked)
			require.Nil(t, passage.err, name)
		})
	}
}

// With HideCAs nobody is told whose certificates are taken, whatever else the
// policy says, and nobody else's are taken for it.
func TestHideCAs(t *testing.T) {
	servers, people, aliens := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people"), ssltest.NewCA(t, "aliens")
	bundle := people.PEM()
	for i := range 200 {
		bundle = append(bundle, ssltest.NewCA(t, fmt.Sprintf("some office in the company %d", i)).PEM()...)
	}
	alice := people.Client("alice")
	pair := servers.Server("a.test")
	for name, auth := range map[string]ssl.ClientAuth{
		"strict":   {},
		"cached":   {CacheVerified: true},
		"optional": {SkipPaths: []string{"^/public"}},
	} {
		auth.CAPEM = bundle
		hiding := auth
		hiding.HideCAs = true
		t.Run(name, func(t *testing.T) {
			forVersions(t, func(t *testing.T, version uint16, none int) {
				sizes := map[bool]int64{}
				for _, auth := range []ssl.ClientAuth{auth, hiding} {
					d := newDoor(t, nil, ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{pair}, Client: &auth})
					c, err := net.Dial("tcp", d.Addr().String())
					require.NoError(t, err)
					defer c.Close()
					wire := &counted{Conn: c}
					config := client(version, "a.test")
					var named [][]byte
					config.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
						named = r.AcceptableCAs
						return &alice, nil
					}
					require.NoError(t, tls.Client(wire, config).Handshake())
					sizes[auth.HideCAs] = wire.read.Load()
					passage := <-d.results
					require.Nil(t, passage.err)
					identity, err := d.store.Judge(d.store.Table(), &passage.state, "a.test", "/")
					require.NoError(t, err)
					require.Equal(t, "CN=alice", identity.Subject())
					if auth.HideCAs {
						require.Empty(t, named)
					} else {
						require.Len(t, named, 201)
					}
				}
				require.Greater(t, sizes[false]-sizes[true], int64(200*len("some office in the company")))

				d := newDoor(t, nil, ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{pair}, Client: &hiding})
				for _, c := range []struct {
					certs  []tls.Certificate
					reason ssl.Reason
					alert  int
				}{
					{nil, ssl.ReasonNoClientCert, none},
					{[]tls.Certificate{aliens.Client("mallory")}, ssl.ReasonUnknownCA, badCertificate},
					{[]tls.Certificate{people.Client("old", ssltest.Expired)}, ssl.ReasonExpired, badCertificate},
					{[]tls.Certificate{people.Intermediate("1").Intermediate("2").Client("deep")}, ssl.ReasonDepth, badCertificate},
				} {
					there, here := d.visit(t, client(version, "a.test", c.certs...))
					if name != "optional" {
						require.NotNil(t, here.err)
						require.Equal(t, c.reason, here.err.Reason)
						require.Equal(t, c.alert, alertOf(there.err))
						continue
					}
					require.Nil(t, here.err)
					_, err := d.store.Judge(d.store.Table(), &here.state, "a.test", "/")
					require.Equal(t, http.StatusBadRequest, err.(*ssl.RequestError).Status)
				}

				// Sessions end with the roots, which crypto/tls does not compare here.
				var cache stolenSession
				config := client(version, "a.test", alice)
				config.ClientSessionCache = &cache
				for visit := range 2 {
					_, here := d.visit(t, config)
					require.Nil(t, here.err)
					require.Equal(t, visit == 1, here.state.DidResume)
				}
				cache.keep = true
				other := hiding
				other.CAPEM = aliens.PEM()
				put(t, d.store, ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{pair}, Client: &other})
				_, here := d.visit(t, config)
				if name != "optional" {
					require.NotNil(t, here.err)
					require.Equal(t, ssl.ReasonUnknownCA, here.err.Reason)
					return
				}
				require.False(t, here.state.DidResume)
				_, err := d.store.Judge(d.store.Table(), &here.state, "a.test", "/")
				require.Error(t, err)
			})
		})
	}
}

// A client's chain that is meant to keep a processor busy is soon refused.
func TestHugeClientChains(t *testing.T) {
	people := ssltest.NewCA(t, "people")
	store := newStore(t, nil,
		server(people, "strict", &ssl.ClientAuth{CAPEM: people.PEM(), Depth: 100}, "strict.test"),
		server(people, "optional", &ssl.ClientAuth{CAPEM: people.PEM(), Depth: 100, SkipPaths: []string{"^/public"}}, "optional.test"),
	)
	s := serveTLS(t, store.TLSConfig())

	// Every one of these may have signed every other, by its name.
	tangled := ssltest.NewCA(t, "elsewhere").Intermediate("same").Client("mallory")
	for range 300 {
		tangled.Certificate = append(tangled.Certificate, ssltest.NewCA(t, "same").Certificate().Raw)
	}
	long := people.Client("alice")
	for len(long.Certificate) < 700 {
		long.Certificate = append(long.Certificate, tangled.Certificate[1:]...)
	}
	forVersions(t, func(t *testing.T, version uint16, _ int) {
		c, _ := s.visit(t, client(version, "strict.test", tangled))
		require.Equal(t, badCertificate, alertOf(c.err), "crypto/x509 gives up: %v", c.err)
		_, side := s.visit(t, client(version, "optional.test", tangled))
		require.NoError(t, side.err)
		_, err := store.Judge(store.Table(), &side.state, "optional.test", "/")
		require.Error(t, err)
		_, side = s.visit(t, client(version, "strict.test", long))
		require.ErrorContains(t, side.err, "exceeds maximum")
	})
}

// What leaves no version is warned of: no handshake succeeds.
func TestVersionBounds(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	const any10, any11, any12, any13 = tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13
	for _, c := range []struct {
		name             string
		baseMin, baseMax uint16
		min, max         uint16
		want             map[uint16]bool
		warning          string
	}{
		{"by default", 0, 0, 0, 0, map[uint16]bool{any10: false, any11: false, any12: true, any13: true}, ""},
		{"the profile's minimum", 0, 0, any13, 0, map[uint16]bool{any12: false, any13: true}, ""},
		{"the profile's maximum", 0, 0, 0, any12, map[uint16]bool{any11: false, any12: true, any13: false}, ""},
		{"below the default", 0, 0, any10, 0, map[uint16]bool{any10: true, any11: true, any12: true, any13: true}, ""},
		{"of Base", any13, 0, 0, 0, map[uint16]bool{any12: false, any13: true}, ""},
		{"the maximum of Base", 0, any12, 0, 0, map[uint16]bool{any12: true, any13: false}, ""},
		{"below Base", any13, 0, any12, 0, map[uint16]bool{any11: false, any12: true, any13: true}, ""},
		{"nothing in common with Base", 0, any12, any13, 0, map[uint16]bool{any12: false, any13: false},
			"the lowest TLS version is TLS 1.3 (MinVersion of the profile), and the highest TLS 1.2 (Options.Base.MaxVersion)"},
		{"below the minimum of Base", any13, 0, 0, any12, map[uint16]bool{any12: false, any13: false},
			"the lowest TLS version is TLS 1.3 (Options.Base.MinVersion), and the highest TLS 1.2 (MaxVersion of the profile)"},
		{"below the default alone", 0, 0, 0, any11, map[uint16]bool{any11: false, any12: false},
			"the lowest TLS version is TLS 1.2 (Options.Base.MinVersion), and the highest TLS 1.1 (MaxVersion of the profile)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := server(ca, "1", nil, "a.test")
			config.MinVersion, config.MaxVersion = c.min, c.max
			store := must(ssl.NewStore(&ssl.Options{Base: &tls.Config{MinVersion: c.baseMin, MaxVersion: c.baseMax}}))
			report, err := store.Put(config)
			require.NoError(t, err)
			if c.warning == "" {
				require.Empty(t, report.Warnings)
			} else {
				require.Equal(t, []ssl.Warning{{ID: "1", Text: "no handshake succeeds: " + c.warning}}, report.Warnings)
			}
			s := serveTLS(t, store.TLSConfig())
			for version, ok := range c.want {
				got, _ := s.visit(t, client(version, "a.test"))
				if ok {
					require.NoError(t, got.err)
					require.Equal(t, version, got.state.Version)
				} else {
					require.Equal(t, protocolVersion, alertOf(got.err), "%v", got.err)
				}
			}
		})
	}
}

// Of several pairs, the client gets one that it can verify.
func TestSeveralCertificates(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	old := func(names ...string) ssl.KeyPair { return ca.ServerWith(names, ssltest.Expired) }
	early := func(names ...string) ssl.KeyPair { return ca.ServerWith(names, ssltest.NotYetValid) }
	ecc := ca.Server
	rsa := func(names ...string) ssl.KeyPair { return selfSigned(t, rsaKey(), rsaKey().Public(), names...) }
	const onlyRSA, onlyECDSA, either = "RSA", "ECDSA", "either"
	type pairs []ssl.KeyPair
	for _, c := range []struct {
		name   string
		pairs  pairs
		client string
		want   int
	}{
		{"the first", pairs{ecc("a.test"), rsa("a.test")}, either, 0},
		{"the first, RSA", pairs{rsa("a.test"), ecc("a.test")}, either, 0},
		{"RSA", pairs{ecc("a.test"), rsa("a.test")}, onlyRSA, 1},
		{"ECDSA", pairs{rsa("a.test"), ecc("a.test")}, onlyECDSA, 1},
		{"RSA without SAN", pairs{ecc(), rsa()}, onlyRSA, 1},
		{"ECDSA without SAN", pairs{rsa(), ecc()}, onlyECDSA, 1},
		{"RSA of another name", pairs{ecc("b.test"), rsa("b.test")}, onlyRSA, 1},
		{"valid before expired", pairs{old("a.test"), rsa("a.test")}, either, 1},
		{"valid before not yet valid", pairs{early("a.test"), rsa("a.test")}, either, 1},
		{"of one kind", pairs{old("a.test"), early("a.test"), ecc("a.test")}, either, 2},
		{"expired rather than of no use", pairs{rsa("a.test"), old("a.test")}, onlyECDSA, 1},
		{"all expired", pairs{old("a.test"), early("a.test")}, either, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := must(ssl.NewStore(&ssl.Options{FallbackName: "A.test."}))
			_, err := store.Put(ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: c.pairs})
			require.NoError(t, err)
			want := parseCert(t, c.pairs[c.want].CertPEM)
			s := serveTLS(t, store.TLSConfig())
			for _, name := range []string{"a.test", ""} {
				config := client(tls.VersionTLS12, name)
				switch c.client {
				case onlyRSA:
					config.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
				case onlyECDSA:
					config.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
				}
				got, _ := s.visit(t, config)
				require.NoError(t, got.err)
				require.Equal(t, want.Raw, got.state.PeerCertificates[0].Raw, "SNI %q", name)

				// Go's client cannot be made to support less in TLS 1.3.
				hello := &tls.ClientHelloInfo{ServerName: name, SupportedVersions: []uint16{tls.VersionTLS13}, SignatureSchemes: map[string][]tls.SignatureScheme{
					onlyRSA:   {tls.PSSWithSHA256},
					onlyECDSA: {tls.ECDSAWithP256AndSHA256},
					either:    {tls.PSSWithSHA256, tls.ECDSAWithP256AndSHA256},
				}[c.client]}
				per, err := store.GetConfigForClient(hello)
				require.NoError(t, err)
				cert, err := per.GetCertificate(hello)
				require.NoError(t, err)
				require.Equal(t, want.Raw, cert.Certificate[0])
			}
		})
	}

	// The time is that of Base.
	clock := newClock()
	store := must(ssl.NewStore(&ssl.Options{Base: &tls.Config{Time: clock.Now}}))
	first, second := ca.ServerWith([]string{"a.test"}, ssltest.Until(time.Now().Add(2*time.Hour))), ca.Server("a.test")
	put(t, store, ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{first, second}})
	s := serveTLS(t, store.TLSConfig())
	for _, c := range []struct {
		after time.Duration
		want  []byte
	}{{0, first.CertPEM}, {3 * time.Hour, second.CertPEM}, {48 * time.Hour, first.CertPEM}} {
		clock.Set(time.Now().Add(c.after))
		got, _ := s.visit(t, ssltest.ClientConfig("a.test"))
		require.NoError(t, got.err)
		require.Equal(t, parseCert(t, c.want).Raw, got.state.PeerCertificates[0].Raw)
	}
}

func TestFallbackName(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	configs := []ssl.Config{
		server(ca, "public", nil, "public.test"),
		server(ca, "strict", &ssl.ClientAuth{CAPEM: ca.PEM()}, "*.strict.test"),
		server(ca, "all", nil, "*"),
	}
	for _, c := range []struct {
		fallback string
		alert    func(none int) int
	}{
		{"public.test", func(int) int { return noAlert }},
		{"PUBLIC.test.", func(int) int { return noAlert }},
		{"x.strict.test", func(none int) int { return none }},
		{"other.test", func(int) int { return noAlert }}, // the star
		{"x.y.strict.test", func(int) int { return unrecognizedName }},
		{"", func(int) int { return unrecognizedName }},
	} {
		s := serveTLS(t, newStore(t, &ssl.Options{FallbackName: c.fallback}, configs...).TLSConfig())
		forVersions(t, func(t *testing.T, version uint16, none int) {
			got, _ := s.visit(t, client(version, ""))
			require.Equal(t, c.alert(none), alertOf(got.err), "%q: %v", c.fallback, got.err)
		})
	}
}

// Every name that somebody asks for is looked up as one, and no name that is none
// gets an answer.
func TestServerNameForms(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	label := strings.Repeat("l", 63)
	narrow := newStore(t, nil, server(ca, "1", nil, "a.test", "*.w.test", "a_b.test", "xn--bcher-kva.test"))
	wide := newStore(t, nil, server(ca, "1", nil, "*"))
	narrowAddr, wideAddr := serveTLS(t, narrow.TLSConfig()), serveTLS(t, wide.TLSConfig())
	const served = noAlert
	for _, c := range []struct {
		name         string
		narrow, wide int
	}{
		{"a.test", served, served},
		{"A.TEST", served, served},
		{"x.w.test", served, served},
		{"a_b.test", served, served},
		{"XN--BCHER-KVA.test", served, served},
		{"-", unrecognizedName, served},
		{"10.0.0.1", unrecognizedName, served},
		{"x.y.w.test", unrecognizedName, served},
		{"w.test", unrecognizedName, served},
		{label + ".test", unrecognizedName, served},
		{strings.Repeat(label+".", 3) + label[:61], unrecognizedName, served},

		{"*.w.test", unrecognizedName, unrecognizedName},
		{"*", unrecognizedName, unrecognizedName},
		{".w.test", unrecognizedName, unrecognizedName},
		{"a..test", unrecognizedName, unrecognizedName},
		{"a b", unrecognizedName, unrecognizedName},
		{"a.test ", unrecognizedName, unrecognizedName},
		{"a.test\x00", unrecognizedName, unrecognizedName},
		{"a.test\x00.evil.test", unrecognizedName, unrecognizedName},
		{"a\nb.test", unrecognizedName, unrecognizedName},
		{"a.test:443", unrecognizedName, unrecognizedName},
		{"a.test,b.test", unrecognizedName, unrecognizedName},
		{"a%2etest", unrecognizedName, unrecognizedName},
		{"::1", unrecognizedName, unrecognizedName},
		{"münchen.test", unrecognizedName, unrecognizedName},
		{"\xff\xfe", unrecognizedName, unrecognizedName},
		{label + "l.test", unrecognizedName, unrecognizedName},
		{strings.Repeat(label+".", 3) + label[:62], unrecognizedName, unrecognizedName},
		{strings.Repeat("a", 4000), unrecognizedName, unrecognizedName},
		{"a.test.", decodeError, decodeError}, // crypto/tls (RFC 6066, section 3)
		{".", decodeError, decodeError},
	} {
		hello := ssltest.ClientHello(t, c.name)
		require.Equal(t, c.narrow, firstAnswer(t, narrowAddr.Addr(), hello), "%q", c.name)
		require.Equal(t, c.wide, firstAnswer(t, wideAddr.Addr(), hello), "%q", c.name)
		<-narrowAddr.results
		<-wideAddr.results

		// In pieces it is the same name.
		require.Equal(t, c.narrow, firstAnswer(t, narrowAddr.Addr(), ssltest.Fragment(hello, 1+len(hello)/50)), "%q", c.name)
		<-narrowAddr.results
	}
	hello := ssltest.ClientHello(t, "a.test")
	require.Equal(t, served, firstAnswer(t, narrowAddr.Addr(), ssltest.Fragment(hello, 1)))
	<-narrowAddr.results
}

// firstAnswer returns the alert with which a server answers, or noAlert for a
// ServerHello.
func firstAnswer(t *testing.T, addr net.Addr, hello []byte) int {
	t.Helper()
	c, err := net.Dial(addr.Network(), addr.String())
	require.NoError(t, err)
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	_, err = c.Write(hello)
	require.NoError(t, err)
	record := make([]byte, 7)
	_, err = io.ReadFull(c, record)
	require.NoError(t, err)
	const alert, handshake, serverHello = 21, 22, 2
	if record[0] == alert {
		return int(record[6])
	}
	require.EqualValues(t, handshake, record[0])
	require.EqualValues(t, serverHello, record[5])
	return noAlert
}

// What Base says holds on every connection, although crypto/tls replaces the
// configuration of the listener.
func TestBase(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	refused := errors.New("not today")
	var keys bytes.Buffer
	var verified atomic.Int32
	var refuse atomic.Bool
	clock := newClock()
	base := &tls.Config{
		NextProtos:   []string{"spdy/9", "http/1.1"},
		KeyLogWriter: &keys,
		Time:         clock.Now,
		VerifyConnection: func(tls.ConnectionState) error {
			verified.Add(1)
			if refuse.Load() {
				return refused
			}
			return nil
		},
		CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256},
	}
	store := newStore(t, &ssl.Options{Base: base},
		server(ca, "public", nil, "public.test"),
		server(ca, "strict", &ssl.ClientAuth{CAPEM: ca.PEM()}, "strict.test"),
	)
	require.NotNil(t, base.VerifyConnection, "Base is copied")
	s := serveTLS(t, store.TLSConfig())
	alice := ca.Client("alice")

	forVersions(t, func(t *testing.T, version uint16, _ int) {
		for _, name := range []string{"public.test", "strict.test"} {
			verified.Store(0)
			keys.Reset()
			cache := &stolenSession{}
			for visit := range 2 {
				config := client(version, name, alice)
				config.NextProtos = []string{"h2", "http/1.1", "spdy/9"}
				config.ClientSessionCache = cache
				client, server := s.visit(t, config)
				require.NoError(t, client.err)
				require.Equal(t, "spdy/9", client.state.NegotiatedProtocol)
				require.EqualValues(t, visit+1, verified.Load(), "on full handshakes and resumed ones")
				require.Equal(t, visit == 1, server.state.DidResume)
				if version == tls.VersionTLS12 {
					require.Equal(t, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, client.state.CipherSuite)
					require.Contains(t, keys.String(), "CLIENT_RANDOM")
				} else {
					require.Equal(t, tls.X25519MLKEM768, client.state.CurveID, "the curves are left to crypto/tls")
					require.Contains(t, keys.String(), "SERVER_TRAFFIC_SECRET_0")
				}
			}

			refuse.Store(true)
			c, server := s.visit(t, client(version, name, alice))
			require.Equal(t, badCertificate, alertOf(c.err))
			require.ErrorIs(t, server.err, refused)
			refuse.Store(false)
		}
		config := client(version, "public.test")
		config.NextProtos = []string{"h2"}
		c, _ := s.visit(t, config)
		require.Equal(t, noApplication, alertOf(c.err))
		config = client(version, "unknown.test")
		config.NextProtos = []string{"h2"}
		c, _ = s.visit(t, config)
		require.Equal(t, unrecognizedName, alertOf(c.err), "the name comes before the protocol")

		clock.Set(time.Now().Add(48 * time.Hour))
		c, _ = s.visit(t, client(version, "strict.test", alice))
		require.Equal(t, certificateExpired, alertOf(c.err))
		clock.Set(time.Now())
	})
}

// A client that has to say hello twice gets what its name gets otherwise.
func TestHelloRetryRequest(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	store := newStore(t, &ssl.Options{Base: &tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP384}}},
		server(servers, "public", nil, "public.test"),
		server(servers, "strict", &ssl.ClientAuth{CAPEM: people.PEM()}, "strict.test"),
	)
	s := serveTLS(t, store.TLSConfig())
	visit := func(name string, certs ...tls.Certificate) (there, here side) {
		return s.visit(t, client(tls.VersionTLS13, name, certs...))
	}
	c, here := visit("strict.test", people.Client("alice"))
	require.NoError(t, c.err)
	require.True(t, c.state.HelloRetryRequest)
	identity, err := store.Judge(store.Table(), &here.state, "strict.test", "/")
	require.NoError(t, err)
	require.Equal(t, "strict", identity.Profile().ID())
	c, _ = visit("strict.test")
	require.Equal(t, certificateRequired, alertOf(c.err))
	c, _ = visit("public.test")
	require.NoError(t, c.err)
	c, _ = visit("unknown.test")
	require.Equal(t, unrecognizedName, alertOf(c.err))
}

// A protocol that relaxes client authentication elsewhere does not here.
func TestACMEProtocolIsNoWayIn(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	store := newStore(t, &ssl.Options{Base: &tls.Config{NextProtos: []string{"acme-tls/1", "h2", "http/1.1"}}},
		server(ca, "strict", &ssl.ClientAuth{CAPEM: ca.PEM()}, "strict.test"))
	s := serveTLS(t, store.TLSConfig())
	forVersions(t, func(t *testing.T, version uint16, none int) {
		for _, protos := range [][]string{{"acme-tls/1"}, {"acme-tls/1", "h2"}} {
			config := client(version, "strict.test")
			config.NextProtos = protos
			c, _ := s.visit(t, config)
			require.Equal(t, none, alertOf(c.err))
		}
	})
}

// HTTP/2 is there unless Base says otherwise, and where it is off, a client that
// offers it gets HTTP/1.1 and an answer.
func TestHTTP2OnAndOff(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	for _, c := range []struct {
		name   string
		base   *tls.Config
		server *http.Server
		want   string
	}{
		{"on", nil, &http.Server{}, "HTTP/2.0"},
		{"off", &tls.Config{NextProtos: []string{"http/1.1"}}, &http.Server{Protocols: http1Only()}, "HTTP/1.1"},
		{"off, as of old", &tls.Config{NextProtos: []string{"http/1.1"}}, &http.Server{TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}}, "HTTP/1.1"},
		{"off in Base alone", &tls.Config{NextProtos: []string{"http/1.1"}}, &http.Server{}, "HTTP/1.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := newStore(t, &ssl.Options{Base: c.base}, server(ca, "1", nil, "a.test"))
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			c.server.TLSConfig = store.TLSConfig()
			c.server.Handler = store.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }))
			done := make(chan error, 1)
			go func() { done <- c.server.ServeTLS(l, "", "") }()
			res, err := ssltest.Client(t, l, "a.test").Get("https://a.test/")
			require.NoError(t, err)
			body, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			res.Body.Close()
			require.Equal(t, c.want, string(body))
			require.NoError(t, c.server.Close())
			require.ErrorIs(t, <-done, http.ErrServerClosed)
		})
	}
}

func http1Only() *http.Protocols {
	p := &http.Protocols{}
	p.SetHTTP1(true)
	return p
}

// A hello that no connection stands behind, as in somebody's test, is no reason
// to panic.
func TestHelloByHand(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	store := newStore(t, nil, server(ca, "1", nil, "a.test"))
	config, err := store.GetConfigForClient(&tls.ClientHelloInfo{ServerName: "a.test"})
	require.NoError(t, err)
	require.Len(t, config.Certificates, 1)
	config, err = store.GetConfigForClient(&tls.ClientHelloInfo{})
	require.NoError(t, err)
	require.Empty(t, config.Certificates)
	require.Nil(t, config.GetCertificate)
	require.True(t, config.SessionTicketsDisabled)
	nobody := must(ssl.NewTerminator(func() *ssl.Table { return nil }, nil))
	config, err = nobody.GetConfigForClient(&tls.ClientHelloInfo{ServerName: "a.test"})
	require.NoError(t, err)
	require.Empty(t, config.Certificates)
}

// A configuration is built once for each profile, not for each connection.
func TestConfigIsRemembered(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	p := profile(t, server(ca, "1", nil, "a.test"))
	table := (*ssl.Table)(nil).With(p)
	one := must(ssl.NewTerminator(func() *ssl.Table { return table }, nil))
	two := must(ssl.NewTerminator(func() *ssl.Table { return table }, nil))
	hello := &tls.ClientHelloInfo{ServerName: "a.test"}
	first, _ := one.GetConfigForClient(hello)
	again, _ := one.GetConfigForClient(hello)
	require.Same(t, first, again)
	foreign, _ := two.GetConfigForClient(hello)
	require.NotSame(t, first, foreign, "that of another Terminator has other keys and options")
}
