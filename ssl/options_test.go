package ssl_test

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
)

// Options that cannot be meant so are refused, with the field and the rule.
func TestOptionsRefused(t *testing.T) {
	base := func(c *tls.Config) *ssl.Options { return &ssl.Options{Base: c} }
	long := strings.Repeat("a.", 127) + "test"
	for want, o := range map[string]*ssl.Options{
		`FallbackName: "not a name": has a character that is none of a-z 0-9 - _ and the dot`: {FallbackName: "not a name"},
		`FallbackName: "a.test:443": must be a name alone, without scheme, port or path`:      {FallbackName: "a.test:443"},
		`FallbackName: ".": is empty`:                                                        {FallbackName: "."},
		`FallbackName: "` + long + `": is longer than 253 bytes`:                             {FallbackName: long},
		`FallbackName: "*": stands for many names, and a connection is made for one`:         {FallbackName: "*"},
		`FallbackName: "*.A.test.": stands for many names, and a connection is made for one`: {FallbackName: "*.A.test."},
		`Base.Certificates: are the profile's: Config.Certificates`:                          base(&tls.Config{Certificates: make([]tls.Certificate, 1)}),
		//lint:ignore SA1019 it is refused
		`Base.NameToCertificate: is the profile's: Config.Certificates`:                       base(&tls.Config{NameToCertificate: map[string]*tls.Certificate{}}),
		`Base.GetCertificate: is the profile's: Config.Certificates`:                          base(&tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }}),
		`Base.GetConfigForClient: is the Terminator's own`:                                    base(&tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, nil }}),
		`Base.VerifyPeerCertificate: is not called on resumed sessions: use VerifyConnection`: base(&tls.Config{VerifyPeerCertificate: func([][]byte, [][]*x509.Certificate) error { return nil }}),
		`Base.ClientAuth: is the profile's: Config.Client`:                                    base(&tls.Config{ClientAuth: tls.RequestClientCert}),
		`Base.ClientCAs: are the profile's: Config.Client`:                                    base(&tls.Config{ClientCAs: x509.NewCertPool()}),
		`Base.UnwrapSession: is the Terminator's own: a session is one of a profile`:          base(&tls.Config{UnwrapSession: func([]byte, tls.ConnectionState) (*tls.SessionState, error) { return nil, nil }}),
		`Base.WrapSession: is the Terminator's own: a session is one of a profile`:            base(&tls.Config{WrapSession: func(tls.ConnectionState, *tls.SessionState) ([]byte, error) { return nil, nil }}),
		`Base.MinVersion: 0x0300 is no version from TLS 1.0 to 1.3`:                           base(&tls.Config{MinVersion: 0x0300}),
		`Base.MaxVersion: 0x0305 is no version from TLS 1.0 to 1.3`:                           base(&tls.Config{MaxVersion: 0x0305}),
		`Base.MinVersion: TLS 1.3 is above MaxVersion, TLS 1.2`:                               base(&tls.Config{MinVersion: tls.VersionTLS13, MaxVersion: tls.VersionTLS12}),
		`Base.MaxVersion: TLS 1.1 is below TLS 1.2, which MinVersion is if zero`:              base(&tls.Config{MaxVersion: tls.VersionTLS11}),
	} {
		want = "ssl: Options." + want
		store, err := ssl.NewStore(o)
		require.EqualError(t, err, want)
		require.Nil(t, store, want)
		_, err = ssl.NewTerminator(func() *ssl.Table { return nil }, o)
		require.EqualError(t, err, want)
	}

	// All of them at once.
	_, err := ssl.NewStore(&ssl.Options{FallbackName: "*", Base: &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: 1, MaxVersion: 2}})
	require.EqualError(t, err, "ssl: Options.Base.ClientAuth: is the profile's: Config.Client\n"+
		"ssl: Options.Base.MinVersion: 0x0001 is no version from TLS 1.0 to 1.3\n"+
		"ssl: Options.Base.MaxVersion: 0x0002 is no version from TLS 1.0 to 1.3\n"+
		`ssl: Options.FallbackName: "*": stands for many names, and a connection is made for one`)

	_, err = ssl.NewTerminator(nil, nil)
	require.EqualError(t, err, "ssl: NewTerminator: table is nil: it may return nil, and has to be there")

	// What can be meant is not refused, and neither is what says nothing.
	for _, o := range []*ssl.Options{
		nil,
		{},
		{HandshakeTimeout: -1, MaxHandshakes: -1, HandshakeProcs: -1, MaxHandshakesPerAddr: -1, FailuresLogged: -1},
		{FallbackName: "A.Test."},
		{FallbackName: "10.0.0.1"},
		{FallbackName: "[2001:DB8::1]"},
		base(&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}),
		base(&tls.Config{MaxVersion: tls.VersionTLS12}),
		base(&tls.Config{Certificates: []tls.Certificate{}}),
	} {
		_, err := ssl.NewStore(o)
		require.NoError(t, err)
	}
}
