package ssl_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// echKey makes a key for encrypted ClientHellos under a public name, and the list
// that clients find in the DNS (RFC 9849, section 4).
func echKey(t *testing.T, publicName string) (key tls.EncryptedClientHelloKey, list []byte) {
	t.Helper()
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	require.NoError(t, err)
	field := func(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }
	contents := bytes.Join([][]byte{
		{1},        // config_id
		{0x00, 32}, // DHKEM(X25519, HKDF-SHA256)
		field(private.PublicKey().Bytes()),
		field([]byte{0, 1, 0, 1}), // HKDF-SHA256, AES-128-GCM
		{64},                      // maximum_name_length
		append([]byte{byte(len(publicName))}, publicName...),
		field(nil), // extensions
	}, nil)
	config := append([]byte{0xfe, 0x0d}, field(contents)...)
	return tls.EncryptedClientHelloKey{Config: config, PrivateKey: private.Bytes(), SendAsRetry: true}, field(config)
}

// The keys of Base open a ClientHello that came encrypted, and from then on the
// inner name is the connection's: for the certificate, the client policy, the
// guard and the reports. The outer name is only what others on the way see.
func TestEncryptedClientHello(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	key, list := echKey(t, "public.test")
	_, stale := echKey(t, "public.test")
	o := &ssl.Options{Base: &tls.Config{EncryptedClientHelloKeys: []tls.EncryptedClientHelloKey{key}}}
	reports := newReports(o)
	store := newStore(t, o,
		server(servers, "public", nil, "public.test"),
		server(servers, "strict", &ssl.ClientAuth{CAPEM: people.PEM()}, "strict.test"),
	)
	s := serveTLS(t, store.TLSConfig())
	alice := people.Client("alice")
	hidden := func(name string, list []byte, certs ...tls.Certificate) *tls.Config {
		config := client(tls.VersionTLS13, name, certs...)
		config.EncryptedClientHelloConfigList = list
		config.EncryptedClientHelloRejectionVerify = func(tls.ConnectionState) error { return nil }
		return config
	}

	config := hidden("strict.test", list, alice)
	sessions := &stolenSession{}
	config.ClientSessionCache = sessions
	for visit := range 2 {
		client, server := s.visit(t, config)
		require.NoError(t, client.err)
		require.True(t, client.state.ECHAccepted)
		require.Equal(t, visit == 1, server.state.DidResume)
		require.Equal(t, "strict.test", server.state.ServerName)
		require.Equal(t, []string{"strict.test"}, client.state.PeerCertificates[0].DNSNames)
		identity, err := store.Judge(store.Table(), &server.state, "strict.test", "/")
		require.NoError(t, err)
		require.Equal(t, "CN=alice", identity.Subject())
		_, err = store.Judge(store.Table(), &server.state, "public.test", "/")
		require.Equal(t, 421, err.(*ssl.RequestError).Status, "the outer name is not the connection's")
	}

	// The session is the inner name's too.
	config = hidden("public.test", list)
	config.ClientSessionCache = sessions
	c, server := s.visit(t, config)
	require.NoError(t, c.err)
	require.True(t, c.state.ECHAccepted)
	require.False(t, server.state.DidResume)
	_, err := store.Judge(store.Table(), &server.state, "strict.test", "/")
	require.Equal(t, 421, err.(*ssl.RequestError).Status)

	// What is refused, is refused by the inner name.
	c, _ = s.visit(t, hidden("strict.test", list))
	require.Equal(t, certificateRequired, alertOf(c.err))
	c, _ = s.visit(t, hidden("unknown.test", list))
	require.Equal(t, unrecognizedName, alertOf(c.err))

	// A client with an old key is served under the outer name, and told the new.
	c, server = s.visit(t, hidden("strict.test", stale))
	var rejected *tls.ECHRejectionError
	require.ErrorAs(t, c.err, &rejected)
	require.Equal(t, list, rejected.RetryConfigList)
	require.Equal(t, "public.test", server.state.ServerName)

	// And behind a Listener.
	l := store.Listener(listen(t))
	acceptAll(t, l)
	require.NoError(t, handshake(t, l.Addr(), hidden("strict.test", list, alice)).err)
	require.Equal(t, "strict", <-reports.done)
	require.Equal(t, certificateRequired, alertOf(handshake(t, l.Addr(), hidden("strict.test", list)).err))
	e := <-reports.failed
	require.Equal(t, ssl.ReasonNoClientCert, e.Reason)
	require.Equal(t, "strict.test", e.ServerName)
	require.Equal(t, "strict", e.Profile)
}
