package ssl_test

import (
	"bytes"
	"crypto/tls"
	"encoding/asn1"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// ocspResponse is a response as a responder frames it (RFC 6960, section 4.2.1).
func ocspResponse(status int, content string) []byte {
	type response struct {
		Type asn1.ObjectIdentifier
		Data []byte
	}
	inner, err := asn1.Marshal(response{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}, []byte(content)})
	if err != nil {
		panic(err)
	}
	explicit := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: inner}
	var der []byte
	if content == "" {
		der, err = asn1.Marshal(struct{ Status asn1.Enumerated }{asn1.Enumerated(status)})
	} else {
		der, err = asn1.Marshal(struct {
			Status asn1.Enumerated
			Bytes  asn1.RawValue
		}{asn1.Enumerated(status), explicit})
	}
	if err != nil {
		panic(err)
	}
	return der
}

// A staple goes with its certificate, and can be replaced.
func TestStaple(t *testing.T) {
	ca := ssltest.NewCA(t, "servers")
	forVersions(t, func(t *testing.T, version uint16, _ int) {
		config := server(ca, "1", nil, "a.test")
		given := ocspResponse(0, "first")
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

		config.Certificates[0].OCSPStaple = ocspResponse(0, "second")
		put(t, store, config)
		require.Equal(t, ocspResponse(0, "second"), stapled("a.test"))
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
	rsa.OCSPStaple, ecdsa.OCSPStaple = ocspResponse(0, "rsa"), ocspResponse(0, "ecdsa")
	store := newStore(t, nil, ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{ecdsa, rsa}})
	s := serveTLS(t, store.TLSConfig())
	for suite, want := range map[uint16]string{
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:   "rsa",
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: "ecdsa",
	} {
		config := client(tls.VersionTLS12, "a.test")
		config.CipherSuites = []uint16{suite}
		side, _ := s.visit(t, config)
		require.NoError(t, side.err)
		require.Equal(t, ocspResponse(0, want), side.state.OCSPResponse)
	}
}

// Nothing that handshakes read is written to when a staple is replaced: a matter
// for the race detector.
func TestStapleReplacedDuringHandshakes(t *testing.T) {
	ca := ssltest.NewCA(t, "servers")
	config := server(ca, "1", nil, "a.test")
	config.Certificates[0].OCSPStaple = ocspResponse(0, "0")
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
			c.Certificates[0].OCSPStaple = ocspResponse(0, string(rune('0'+i%10)))
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

func TestStapleErrors(t *testing.T) {
	ca := ssltest.NewCA(t, "servers")
	good := ocspResponse(0, "good")
	for text, staple := range map[string][]byte{
		"is no OCSP response in DER (RFC 6960)":                              []byte("hello"),
		"is no OCSP response in DER":                                         good[:len(good)-1],
		"is no OCSP response":                                                append(bytes.Clone(good), 0),
		"is an OCSP responder's error 6, not a response for the certificate": ocspResponse(6, ""),
		"is an OCSP responder's error 1":                                     ocspResponse(1, "x"),
		"is an OCSP response without content":                                ocspResponse(0, ""),
	} {
		config := server(ca, "1", nil, "a.test")
		config.Certificates[0].OCSPStaple = staple
		_, err := ssl.New(config)
		faults := configErrors(t, err)
		require.Len(t, faults, 1)
		require.Equal(t, "Certificates[0].OCSPStaple", faults[0].Field)
		require.ErrorContains(t, err, text)
	}
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
