package ssl

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"net/netip"
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

	// Certificates are the key pairs of the profile, at least one. If there are several
	// (RSA beside ECDSA), the first that the client can verify and that is valid now is
	// used.
	Certificates []KeyPair

	// Client says whose client certificates are accepted. If nil, none is asked for.
	Client *ClientAuth

	// MinVersion and MaxVersion bound the TLS version, as in [tls.Config].
	// Zero is the bound of [Options.Base], or else TLS 1.2 and the newest.
	MinVersion, MaxVersion uint16
}

// A KeyPair is a certificate chain in PEM and its private key: in PEM too, or as a
// [crypto.Signer]. [LoadKeyPair] makes one of files, [KeyPairOf] of a [tls.Certificate].
type KeyPair struct {
	// CertPEM is the certificate, followed by its intermediates if any. A private key in it
	// is refused, because unlike KeyPEM it is printed as it is. [LoadKeyPair] reads a file
	// that has both.
	CertPEM []byte

	// KeyPEM is the private key of the first certificate: PKCS #8, PKCS #1 or SEC 1, not
	// encrypted. Certificates beside it are ignored. Required, unless there is a Signer.
	KeyPEM KeyPEM

	// Signer is the private key of the first certificate in place of KeyPEM: one in an HSM,
	// a KMS or a TPM, or a key that the program already has. [New] asks for its public key
	// once; it must be that of the certificate, and a panic or nil is refused.
	//
	// It signs in the handshakes of clients that do not resume a session, and in many at
	// once: for RSA with PSS in TLS 1.3 ([*rsa.PSSOptions], with a salt as long as the
	// hash), and perhaps PKCS #1 v1.5 below that. It is never asked to decrypt. The time
	// that it takes counts towards the handshake. It gets no context, so nothing can
	// interrupt it: until it returns, the handshake keeps its place
	// ([Options.MaxHandshakes]), even if [Options.HandshakeTimeout] has made it pointless.
	// If it returns an error or panics, that handshake ends ([ReasonProtocol]); the log has
	// the error, and the client gets only an alert, internal_error in TLS 1.3.
	//
	// Printing, logging or marshalling a KeyPair does not reveal it.
	Signer crypto.Signer `json:"-" xml:"-" yaml:"-"`

	// OCSPStaple, if not empty, is an OCSP response (RFC 6960) in DER that is sent with the
	// certificate, from its thisUpdate to its nextUpdate. It must say that the certificate
	// is good; its signature is not checked. To replace it, put the Config again: existing
	// connections keep the old one.
	OCSPStaple []byte
}

// KeyPEM is a private key in PEM. It prints as "[redacted]" everywhere.
// A []byte can be assigned to it.
type KeyPEM = secret.PEM

// LoadKeyPair reads a [KeyPair] from two files, as [tls.LoadX509KeyPair] does. The
// two may be one file with both: a private key among the certificates is left out
// of CertPEM. It does not check what they hold: [New] does.
func LoadKeyPair(certFile, keyFile string) (KeyPair, error) {
	var faults []error
	read := func(what, name string) []byte {
		text, err := os.ReadFile(name)
		if err != nil {
			faults = append(faults, fmt.Errorf("ssl: %s: %w", what, err))
		}
		return text
	}
	cert, key := read("certificate", certFile), read("private key", keyFile)
	if err := errors.Join(faults...); err != nil {
		return KeyPair{}, err
	}
	return KeyPair{CertPEM: withoutKeys(cert), KeyPEM: key}, nil
}

// DefaultDepth is the number of intermediates that a client's chain may have
// where [ClientAuth.Depth] is zero. It is APISIX's default.
const DefaultDepth = 1

// NoIntermediates is the [ClientAuth.Depth] under which the root itself must
// have signed the client's certificate.
const NoIntermediates = -1

// ClientAuth says whose client certificates a profile accepts. A certificate must be for
// clients: its extended key usage must include clientAuth, or any usage, and its key usage
// digitalSignature or, as with OpenSSL, keyAgreement, if it has these extensions.
type ClientAuth struct {
	// CAPEM holds the certificates that a client's chain may end in, one or more. Required:
	// to crypto/tls an empty pool would mean the roots of the system, and so anyone's
	// certificate. A private key in it is refused: with a CA's key, whoever reads it can
	// make clients of their own.
	//
	// As with OpenSSL, a chain must reach a self-issued certificate: an intermediate in the
	// bundle counts only if its root is there as well.
	//
	// Unless HideCAs is set, the subjects are sent to everyone who connects, so that
	// clients can choose a certificate (RFC 8446, section 4.2.4). There is room for 64 000
	// bytes of them, in DER: those of some hundreds of CAs.
	CAPEM []byte

	// HideCAs keeps the subjects in CAPEM private: they may reveal the internals of a
	// company, and a hundred of them make every handshake larger. Clients that choose a
	// certificate by them then send any that they have, or ask their user. The price is
	// that of CacheVerified: every client that is refused gets the alert bad_certificate.
	HideCAs bool

	// Depth is how many intermediates may stand between the client's certificate and the
	// root, counted as OpenSSL does. Zero is [DefaultDepth]; [NoIntermediates] is none.
	Depth int

	// DangerouslyAllowIntermediateAnchors accepts an intermediate in CAPEM, without its
	// root, as the end of a chain. The owner of the root can then no longer revoke anything
	// that the intermediate has signed, except by telling you.
	DangerouslyAllowIntermediateAnchors bool

	// CRLs are certificate revocation lists (RFC 5280, section 5), each one list in DER, or
	// one or more in PEM, of version 2. A private key beside them is refused.
	//
	// Once there is any list, every certificate of a chain below its root needs a current
	// list of its issuer that does not name it; if a list is missing or past its next update,
	// the client is refused. Of several lists of one issuer, the newest counts. A Config whose
	// list is older than that of the Config that it replaces is accepted, with a warning in
	// the [Report] if the older list revokes less. If an issuer has divided its certificates
	// among lists (section 5.2.5), those count that are for the certificate: whose issuing
	// distribution point is one of the certificate's own distribution points, and that are not
	// only for CAs, or only for others. Lists of some reasons, indirect ones and deltas are
	// refused.
	//
	// The signature of a list is checked with its issuer's key, and a list that fails counts
	// as missing. Nothing is ever fetched from where a certificate points.
	CRLs [][]byte

	// DangerouslyAllowMissingCRL accepts certificates whose issuer has no list, or none that
	// is for them.
	DangerouslyAllowMissingCRL bool

	// DangerouslyAllowExpiredCRL uses lists that are past their next update.
	DangerouslyAllowExpiredCRL bool

	// Allow, if not nil, names the clients that are accepted. All others are refused,
	// however good their chain.
	Allow *Allow

	// Authorize, if not nil, has the last word on a client whose chain is accepted and that
	// Allow names. It is called at each handshake, including that of a resumed session, and
	// again when the profile is replaced while the connection is open. Its answer applies
	// to the connection; nil accepts the client. A refusal that does not end the connection
	// (SkipPaths) applies for a second, or longer if the chain is slow to verify, and then the
	// next request asks again. In a full handshake, it is called before the client has proved
	// that it has the private key, because crypto/tls calls nothing after that: a call is not
	// yet a visit. It may be called by any number of goroutines; the context ends after
	// [Options.HandshakeTimeout]. A panic in it counts as a refusal.
	Authorize func(context.Context, *Identity) error

	// AuthorizeID identifies what Authorize decides by, such as a version of its rules:
	// when it changes, sessions end. Required with Authorize.
	AuthorizeID string

	// CacheVerified remembers which chains were verified, so that a full handshake of a
	// returning client is cheaper by the check of one signature for each certificate that
	// it shows. Some thousands of chains are remembered, until the profile is replaced. The
	// price is the alert: crypto/tls can then not verify by itself, and every client that
	// is refused gets bad_certificate where it would get unknown_ca or certificate_expired.
	// Logs and [Trace] have the reason all the same.
	CacheVerified bool

	// SkipPaths are regular expressions (RE2, searched anywhere in the path,
	// case-sensitive) for paths that may be requested without a client certificate;
	// APISIX's skip_mtls_uri_regex. If there is any, a missing or wrong certificate no
	// longer ends the handshake; instead, requests for all other paths are refused. A skip
	// applies only to a path that is written plainly: one with dot segments, empty
	// segments, backslashes, semicolons or encoded reserved bytes needs the certificate.
	//
	// "^/" makes client certificates optional: they are asked for but not required, as with
	// nginx's optional_no_ca. A client whose certificate is accepted has its [Identity];
	// one without a certificate, or with one that is not accepted, is served without an
	// Identity, and the handler decides what to do. "^/" does not cover paths that are not
	// written plainly, such as "/x;y" or "/a/../b", which are refused without a
	// certificate, nor plain HTTP, which is refused as usual.
	//
	//	^/public/  // every path below
	//	^/health$  // that path
	//	^/         // every path that is written plainly
	//	health     // dangerous: also /admin/health and /unhealthy
	//
	// One has at most 4096 bytes, and all together compile to at most 50 000 instructions.
	SkipPaths []string
}

// Allow names clients by what is in their certificate. One matching entry is enough. The
// subject's common name counts only if CommonNames asks for it: a CA checks the alternative
// names, and often nothing else.
type Allow struct {
	// DNSNames are alternative names of the DNS kind.
	//
	//	a.test   // accepted: this name
	//	*.a.test // accepted: every name with one more label
	DNSNames []string

	// URIs are alternative names of the URI kind, compared as text.
	//
	//	spiffe://domain/ns/a   // accepted: this SPIFFE ID
	//	spiffe://domain/ns/*   // accepted: every SPIFFE ID below, on the border of a segment
	//	spiffe://domain/*      // accepted: every SPIFFE ID with a path of this trust domain
	//	urn:x:y                // accepted: this URI
	//	spiffe://domain/ns/a*  // refused
	//
	// A certificate has a SPIFFE ID only if that is its one URI (X509-SVID,
	// section 2), and it is no CA's.
	URIs []string

	// Emails are alternative names of the email kind.
	Emails []string

	// IPs are networks that an alternative name of the IP kind must be in.
	IPs []netip.Prefix

	// CommonNames are common names of the subject, compared as text. A subject
	// with several has none.
	CommonNames []string

	// SPKISHA256 are the SHA-256 of the client's public key
	// (SubjectPublicKeyInfo), in hexadecimal, with or without colons.
	SPKISHA256 []string
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
