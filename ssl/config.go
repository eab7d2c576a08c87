package ssl

import (
	"fmt"
	"os"

	"github.com/sallyport/sallyport/internal/secret"
)

// A Config is what a person wrote about one set of server names: which
// certificate answers for them and whose client certificates they take.
// [New] checks it and makes a [Profile] of it.
type Config struct {
	// ID names the profile in a [Table], in logs, in session tickets and in
	// errors. Required. At most one profile of a table has it.
	ID string

	// Names are the server names that the profile answers for, at least one.
	//
	//	a.test      // accepted: this name
	//	*.a.test    // accepted: every name with one more label; not a.test, not x.y.a.test
	//	*           // accepted: every name
	//	A.Test.     // accepted: the same as a.test
	//	a.*.test    // refused: the star must come first
	//	bücher.test // refused: write xn--bcher-kva.test
	//
	// An exact name goes before a wildcard, a longer wildcard before a shorter.
	Names []string

	// Certificates are the key pairs of the profile, at least one. Where there
	// are several (RSA beside ECDSA), the first that the client can verify and
	// that is valid now is used.
	Certificates []KeyPair

	// Client says whose client certificates are taken. If nil, none is asked for.
	Client *ClientAuth

	// MinVersion and MaxVersion bound the TLS version, as in [tls.Config].
	// Zero is the bound of [Options.Base], or else TLS 1.2 and the newest.
	MinVersion, MaxVersion uint16
}

// A KeyPair is a certificate chain and its private key in PEM.
type KeyPair struct {
	// CertPEM is the certificate, followed by its intermediates if any.
	CertPEM []byte

	// KeyPEM is the private key of the first certificate: PKCS #8, PKCS #1 or
	// SEC 1, not encrypted.
	KeyPEM KeyPEM
}

// KeyPEM is a private key in PEM. It prints as "[redacted]" everywhere.
// A []byte can be assigned to it.
type KeyPEM = secret.PEM

// LoadKeyPair reads a [KeyPair] from two files, as [tls.LoadX509KeyPair] does.
// It does not check what they hold: [New] does.
func LoadKeyPair(certFile, keyFile string) (KeyPair, error) {
	cert, err := os.ReadFile(certFile)
	if err != nil {
		return KeyPair{}, fmt.Errorf("ssl: certificate: %w", err)
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return KeyPair{}, fmt.Errorf("ssl: private key: %w", err)
	}
	return KeyPair{CertPEM: cert, KeyPEM: key}, nil
}

// DefaultDepth is the number of intermediates that a client's chain may have
// where [ClientAuth.Depth] is zero. It is APISIX's default.
const DefaultDepth = 1

// NoIntermediates is the [ClientAuth.Depth] under which the root itself must
// have signed the client's certificate.
const NoIntermediates = -1

// ClientAuth says whose client certificates a profile takes.
type ClientAuth struct {
	// CAPEM holds the certificates that a client's chain may end in, one or
	// more. Required: an empty pool would mean the roots of the system to
	// crypto/tls, and so anyone's certificate.
	//
	// As with OpenSSL, a chain must reach a self-issued certificate: an
	// intermediate in the bundle counts only where its root is there as well.
	CAPEM []byte

	// Depth is how many intermediates may stand between the client's
	// certificate and the root, as OpenSSL counts. Zero is [DefaultDepth];
	// [NoIntermediates] is none.
	Depth int

	// SkipPaths are regular expressions (RE2, searched anywhere in the path,
	// case-sensitive) of paths that may be requested without a client
	// certificate; APISIX's skip_mtls_uri_regex. If there is any, a missing or
	// wrong certificate no longer ends the handshake, but the request on every
	// other path. A skip holds only for a path that is written plainly: one with
	// dot segments, empty segments, backslashes, semicolons or encoded
	// reserved bytes needs the certificate.
	SkipPaths []string
}

// A ConfigError says which field of a [Config] is wrong and why.
type ConfigError struct {
	ID    string // of the Config
	Field string // as in Go: "Client.Depth", "Certificates[1].KeyPEM"
	Err   error
}

// Error implements error.
func (e *ConfigError) Error() string {
	return fmt.Sprintf("ssl: profile %q: %s: %v", e.ID, e.Field, e.Err)
}

// Unwrap returns the reason.
func (e *ConfigError) Unwrap() error { return e.Err }

// FieldPath returns the field, for those who map it to a document of their own.
func (e *ConfigError) FieldPath() string { return e.Field }
