package ssl_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// ocspResponse is a response as a responder frames it (RFC 6960, section 4.2.1).
func ocspResponse(status int, kind asn1.ObjectIdentifier, content []byte) []byte {
	if content == nil {
		return must(asn1.Marshal(struct{ Status asn1.Enumerated }{asn1.Enumerated(status)}))
	}
	inner := must(asn1.Marshal(struct {
		Type asn1.ObjectIdentifier
		Data []byte
	}{kind, content}))
	return must(asn1.Marshal(struct {
		Status asn1.Enumerated
		Bytes  asn1.RawValue
	}{asn1.Enumerated(status), asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: inner}}))
}

var basicOCSP = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}

// A single is what a response says of one certificate.
type single struct {
	serial *big.Int
	status int // 0 is good, 1 revoked, 2 unknown
	from   time.Time
	until  time.Time // zero: not said
}

// ocspBasic is a response about certificates. The note makes one that differs from others.
func ocspBasic(note string, all ...single) []byte {
	var responses []asn1.RawValue
	for _, s := range all {
		status := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: s.status}
		if s.status == 1 {
			status.IsCompound = true
			status.Bytes = must(asn1.MarshalWithParams(s.from, "generalized"))
		}
		one := struct {
			ID struct {
				Hash               pkix.AlgorithmIdentifier
				IssuerName, Issuer []byte
				Serial             *big.Int
			}
			Status     asn1.RawValue
			ThisUpdate time.Time `asn1:"generalized"`
			NextUpdate time.Time `asn1:"generalized,explicit,tag:0,optional"`
		}{Status: status, ThisUpdate: s.from.UTC(), NextUpdate: s.until.UTC()}
		one.ID.Hash.Algorithm, one.ID.Serial = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}, s.serial
		responses = append(responses, asn1.RawValue{FullBytes: must(asn1.Marshal(one))})
	}
	type data struct {
		Responder asn1.RawValue
		Produced  time.Time `asn1:"generalized"`
		Responses []asn1.RawValue
	}
	return must(asn1.Marshal(struct {
		Data      data
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{
		data{asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 2, IsCompound: true, Bytes: must(asn1.Marshal([]byte(note)))}, time.Now().UTC(), responses},
		pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}},
		asn1.BitString{Bytes: []byte{0}, BitLength: 8},
	}))
}

// goodStaple is a staple for a pair that is good now.
func goodStaple(t testing.TB, pair ssl.KeyPair, note string) []byte {
	serial := parseCert(t, pair.CertPEM).SerialNumber
	return ocspResponse(0, basicOCSP, ocspBasic(note, single{serial: serial, from: time.Now().Add(-time.Hour), until: time.Now().Add(time.Hour)}))
}

// A staple goes with its certificate, and can be replaced.
func TestStaple(t *testing.T) {
	ca := ssltest.NewCA(t, "servers")
	forVersions(t, func(t *testing.T, version uint16, _ int) {
		config := server(ca, "1", nil, "a.test")
		given := goodStaple(t, config.Certificates[0], "first")
		config.Certificates[0].OCSPStaple = given
		plain := server(ca, "2", nil, "b.test")
		store := newStore(t, nil, config, plain)
		s := serveTLS(t, store.TLSConfig())
		stapled := func(name string) []byte {
			side, _ := s.visit(t, client(version, name))
			require.NoError(t, side.err)
			return side.state.OCSPResponse
		}
		first := bytes.Clone(given)
		clear(given) // the caller's bytes may change
		require.Equal(t, first, stapled("a.test"))
		require.Empty(t, stapled("b.test"))

		second := goodStaple(t, config.Certificates[0], "second")
		config.Certificates[0].OCSPStaple = second
		put(t, store, config)
		require.Equal(t, second, stapled("a.test"))
		config.Certificates[0].OCSPStaple = nil
		put(t, store, config)
		require.Empty(t, stapled("a.test"))
	})
}

// Each of several certificates has its own.
func TestStapleOfEachPair(t *testing.T) {
	ca := ssltest.NewCA(t, "servers")
	rsa := selfSigned(t, rsaKey(), rsaKey().Public(), "a.test")
	ecdsa := ca.Server("a.test")
	rsa.OCSPStaple, ecdsa.OCSPStaple = goodStaple(t, rsa, "rsa"), goodStaple(t, ecdsa, "ecdsa")
	store := newStore(t, nil, ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{ecdsa, rsa}})
	s := serveTLS(t, store.TLSConfig())
	for suite, want := range map[uint16][]byte{
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:   rsa.OCSPStaple,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: ecdsa.OCSPStaple,
	} {
		config := client(tls.VersionTLS12, "a.test")
		config.CipherSuites = []uint16{suite}
		side, _ := s.visit(t, config)
		require.NoError(t, side.err)
		require.Equal(t, want, side.state.OCSPResponse)
	}
}

// Nothing that handshakes read is written to when a staple is replaced: a matter
// for the race detector.
func TestStapleReplacedDuringHandshakes(t *testing.T) {
	ca := ssltest.NewCA(t, "servers")
	config := server(ca, "1", nil, "a.test")
	config.Certificates[0].OCSPStaple = goodStaple(t, config.Certificates[0], "0")
	store := newStore(t, nil, config)
	s := serveTLS(t, store.TLSConfig())
	var putting sync.WaitGroup
	done := make(chan struct{})
	putting.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			c := config
			c.Certificates = []ssl.KeyPair{config.Certificates[0]}
			c.Certificates[0].OCSPStaple = goodStaple(t, config.Certificates[0], string(rune('0'+i%10)))
			if _, err := store.Put(c); err != nil {
				panic(err)
			}
		}
	})
	for range 20 {
		side, _ := s.visit(t, ssltest.ClientConfig("a.test"))
		require.NoError(t, side.err)
		require.NotEmpty(t, side.state.OCSPResponse)
	}
	close(done)
	putting.Wait()
}

// A staple is sent while it is good: clients that look at one that is out of date end the
// handshake, and would not have asked for it.
func TestStapleInTime(t *testing.T) {
	ca := ssltest.NewCA(t, "servers")
	clock := newClock()
	begin := clock.Now().Truncate(time.Second)
	one, two := ca.Server("a.test"), selfSigned(t, rsaKey(), rsaKey().Public(), "a.test")
	for _, c := range []struct {
		pairs []ssl.KeyPair
		until time.Time
		last  bool // it is still sent after an hour
	}{
		{[]ssl.KeyPair{one}, begin.Add(time.Hour), false},
		{[]ssl.KeyPair{one, two}, begin.Add(time.Hour), false},
		{[]ssl.KeyPair{one}, time.Time{}, true},
	} {
		serial := parseCert(t, one.CertPEM).SerialNumber
		other := single{serial: big.NewInt(1), status: 1, from: begin.Add(-time.Hour)}
		staple := ocspResponse(0, basicOCSP, ocspBasic("x", other, single{serial: serial, from: begin, until: c.until}))
		c.pairs[0].OCSPStaple = staple
		store, err := ssl.NewStore(&ssl.Options{Base: &tls.Config{Time: clock.Now}})
		require.NoError(t, err)
		_, err = store.Put(ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: c.pairs})
		require.NoError(t, err)
		s := serveTLS(t, store.TLSConfig())
		for _, at := range []struct {
			after time.Duration
			sent  bool
		}{{-time.Second, false}, {0, true}, {time.Hour, true}, {time.Hour + time.Second, c.last}} {
			clock.Set(begin.Add(at.after))
			side, _ := s.visit(t, ssltest.ClientConfig("a.test"))
			require.NoError(t, side.err)
			want := staple
			if !at.sent {
				want = nil
			}
			require.Equal(t, want, side.state.OCSPResponse, at.after)
		}
	}
}

// What is not sent is warned of.
func TestStapleWarnings(t *testing.T) {
	config := server(ssltest.NewCA(t, "servers"), "1", nil, "a.test")
	now := time.Now().Truncate(time.Second).UTC()
	serial := parseCert(t, config.Certificates[0].CertPEM).SerialNumber
	for want, s := range map[string]single{
		"": {from: now.Add(-time.Hour), until: now.Add(time.Hour)},
		"has an OCSP staple that expired on " + now.Add(-time.Hour).Format(time.RFC3339) + ", and is not sent":                    {from: now.Add(-2 * time.Hour), until: now.Add(-time.Hour)},
		"has an OCSP staple that is not valid before " + now.Add(time.Hour).Format(time.RFC3339) + ", and is not sent until then": {from: now.Add(time.Hour)},
	} {
		s.serial = serial
		config.Certificates[0].OCSPStaple = ocspResponse(0, basicOCSP, ocspBasic("x", s))
		report, err := must(ssl.NewStore(nil)).Put(config)
		require.NoError(t, err)
		if want == "" {
			require.Empty(t, report.Warnings)
			continue
		}
		require.Len(t, report.Warnings, 1)
		require.Equal(t, ssl.Warning{ID: "1", Field: "Certificates[0].OCSPStaple", Text: "the certificate (CN=a.test) " + want}, report.Warnings[0])
	}
}

func TestStapleErrors(t *testing.T) {
	config := server(ssltest.NewCA(t, "servers"), "1", nil, "a.test")
	good := goodStaple(t, config.Certificates[0], "good")
	leaf := parseCert(t, config.Certificates[0].CertPEM)
	one := single{serial: leaf.SerialNumber, from: time.Now()}
	revoked, unknown, other := one, one, one
	revoked.status, unknown.status, other.serial = 1, 2, big.NewInt(7)
	basic := func(all ...single) []byte { return ocspResponse(0, basicOCSP, ocspBasic("x", all...)) }
	const none, refused = "is no OCSP response in DER (RFC 6960)", "says that the certificate is revoked or unknown: clients would refuse it"
	for _, c := range []struct {
		staple []byte
		text   string
	}{
		{[]byte("hello"), none},
		{good[:len(good)-1], none},
		{append(bytes.Clone(good), 0), none},
		{ocspResponse(6, nil, nil), "is an OCSP responder's error 6, not a response for the certificate"},
		{ocspResponse(1, basicOCSP, []byte("x")), "is an OCSP responder's error 1"},
		{ocspResponse(0, nil, nil), "is an OCSP response without content"},
		{ocspResponse(0, basicOCSP, []byte("x")), none},
		{ocspResponse(0, basicOCSP, append(ocspBasic("x", one), 0)), none},
		{ocspResponse(0, asn1.ObjectIdentifier{1, 2, 3}, []byte("x")), "is an OCSP response of the type 1.2.3, which no client knows"},
		{basic(), "is an OCSP response for another certificate"},
		{basic(other), fmt.Sprintf("is an OCSP response for another certificate, not for that with the serial number %X", leaf.SerialNumber)},
		{basic(other, revoked), refused},
		{basic(unknown), refused},
	} {
		config.Certificates[0].OCSPStaple = c.staple
		_, err := ssl.New(config)
		faults := configErrors(t, err)
		require.Len(t, faults, 1)
		require.Equal(t, "Certificates[0].OCSPStaple", faults[0].Field)
		require.ErrorContains(t, err, c.text)
	}
}

// FuzzStaple reads whatever there is. What it takes can be sent.
func FuzzStaple(f *testing.F) {
	config := server(ssltest.NewCA(f, "servers"), "1", nil, "a.test")
	f.Add(goodStaple(f, config.Certificates[0], "good"))
	f.Add(ocspResponse(6, nil, nil))
	f.Add(ocspResponse(0, basicOCSP, ocspBasic("")))
	f.Fuzz(func(t *testing.T, staple []byte) {
		c := config
		c.Certificates = []ssl.KeyPair{config.Certificates[0]}
		c.Certificates[0].OCSPStaple = staple
		p, err := ssl.New(c)
		require.Equal(t, err == nil, p != nil)
	})
}

// What openssl answers as a responder is a staple, and so it reads it as a client.
func TestStapleOfOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	dir := t.TempDir()
	root := newAuthority(t, nil, ca("root"))
	serverCert := newAuthority(t, root, &x509.Certificate{Subject: pkix.Name{CommonName: "a.test"}, DNSNames: []string{"a.test"}, KeyUsage: x509.KeyUsageDigitalSignature})
	file := func(name string, text []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	pemKey := func(a *authority) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(a.key))})
	}
	file("ca.pem", root.pem())
	file("ca.key", pemKey(root))
	file("server.pem", serverCert.pem())
	file("index", fmt.Appendf(nil, "V\t%s\t\t%X\tunknown\t/CN=a.test\n", serverCert.cert.NotAfter.UTC().Format("060102150405Z"), serverCert.cert.SerialNumber))
	cmd := exec.Command("openssl", "ocsp", "-index", "index", "-rsigner", "ca.pem", "-rkey", "ca.key", "-CA", "ca.pem", "-issuer", "ca.pem", "-cert", "server.pem", "-respout", "staple.der", "-ndays", "1", "-noverify")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	staple, err := os.ReadFile(filepath.Join(dir, "staple.der"))
	require.NoError(t, err)

	pair := ssl.KeyPair{CertPEM: serverCert.pem(), KeyPEM: pemKey(serverCert), OCSPStaple: staple}
	s := serveTLS(t, newStore(t, nil, ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{pair}}).TLSConfig())
	cmd = exec.Command("openssl", "s_client", "-connect", s.Addr().String(), "-servername", "a.test", "-status", "-CAfile", "ca.pem")
	cmd.Dir, cmd.Stdin = dir, strings.NewReader("")
	out, _ = cmd.CombinedOutput()
	require.Contains(t, string(out), "OCSP Response Status: successful")
	require.Contains(t, string(out), "Cert Status: good")
}

// Machines with the same keys take each other's tickets, through a rotation.
func TestSetTicketKeys(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	config := server(servers, "1", &ssl.ClientAuth{CAPEM: people.PEM()}, "a.test")
	otherPolicy := server(servers, "2", &ssl.ClientAuth{CAPEM: people.PEM(), Depth: 2}, "b.test")
	alice := people.Client("alice")
	old, renewed := [32]byte{1}, [32]byte{2}
	forVersions(t, func(t *testing.T, version uint16, none int) {
		machine := func(keys ...[32]byte) (*ssl.Store, *tlsServer) {
			store := newStore(t, nil, config, otherPolicy)
			if len(keys) > 0 {
				require.NoError(t, store.SetTicketKeys(keys...))
			}
			return store, serveTLS(t, store.TLSConfig())
		}
		one, first := machine(old)
		two, second := machine(old)
		_, stranger := machine()
		i := &intruder{t: t, version: version}
		_, alert, _ := i.visit(first, "a.test", alice)
		require.Equal(t, noAlert, alert)
		i.cache.keep = true
		resumes := func(s *tlsServer, name string) bool {
			resumed, alert, _ := i.visit(s, name)
			if !resumed {
				require.Equal(t, none, alert)
			}
			return resumed
		}
		require.True(t, resumes(first, "a.test"))
		require.True(t, resumes(second, "a.test"), "the other machine")
		require.False(t, resumes(stranger, "a.test"), "one with keys of its own")
		require.False(t, resumes(second, "b.test"), "keys open the ticket, not the policy")

		// A rotation, one machine after the other.
		require.NoError(t, one.SetTicketKeys(renewed, old))
		require.True(t, resumes(first, "a.test"))
		require.NoError(t, two.SetTicketKeys(renewed, old))
		require.True(t, resumes(second, "a.test"))
		require.Error(t, one.SetTicketKeys())
		require.Error(t, one.SetTicketKeys(renewed, [32]byte{}))
		require.True(t, resumes(first, "a.test"), "after a call that failed")
		require.NoError(t, one.SetTicketKeys(renewed))
		require.False(t, resumes(first, "a.test"), "with a key that is gone")
		i.cache.keep = false
		i.visit(first, "a.test", alice)
		i.cache.keep = true
		require.True(t, resumes(second, "a.test"), "a ticket of the new key")
	})
}

// It may be called at any time.
func TestSetTicketKeysDuringHandshakes(t *testing.T) {
	store := newStore(t, nil, server(ssltest.NewCA(t, "servers"), "1", nil, "a.test"))
	s := serveTLS(t, store.TLSConfig())
	done := make(chan struct{})
	var setting sync.WaitGroup
	setting.Go(func() {
		for i := byte(1); ; i = i%100 + 1 {
			select {
			case <-done:
				return
			default:
			}
			if err := store.SetTicketKeys([32]byte{i}, [32]byte{i + 1}); err != nil {
				panic(err)
			}
		}
	})
	config := ssltest.ClientConfig("a.test")
	config.ClientSessionCache = &ssltest.SessionCache{}
	for range 20 {
		side, _ := s.visit(t, config)
		require.NoError(t, side.err)
	}
	close(done)
	setting.Wait()
}
