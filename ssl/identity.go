package ssl

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"log/slog"
	"slices"
	"time"

	"github.com/sallyport/sallyport/internal/clientcert"
)

// An Identity is a client whose certificate satisfies the profile that governs its request,
// at the time of the request. A client whose certificate was presented but not verified has
// none. An Identity never changes.
type Identity struct {
	profile *Profile
	chain   []*x509.Certificate
	until   time.Time
	resumed bool

	texts *identityTexts
}

// Profile returns the profile that verified the client.
func (i *Identity) Profile() *Profile { return i.profile }

// Certificate returns the client's certificate. It must not be changed.
func (i *Identity) Certificate() *x509.Certificate { return i.chain[0] }

// Chain returns the verified chain, from the client's certificate to the root.
// The certificates must not be changed.
func (i *Identity) Chain() []*x509.Certificate { return slices.Clone(i.chain) }

// Resumed reports whether the client resumed a session of an earlier connection, and so did
// not present its certificate again.
func (i *Identity) Resumed() bool { return i.resumed }

// Subject returns the subject of the client's certificate in the form of RFC 2253, as
// nginx's $ssl_client_s_dn does: "CN=alice,O=Example". It is printable ASCII, with
// everything else escaped ("\0A", "\C3\BC").
func (i *Identity) Subject() string {
	return i.text(textSubject, func(i *Identity) string { return clientcert.Subject(i.chain[0]) })
}

// SPIFFEID returns the client's SPIFFE ID, "spiffe://domain/path". ok is false if
// its certificate has none, or more than one URI.
func (i *Identity) SPIFFEID() (id string, ok bool) { return spiffeID(i.chain[0]) }

// Serial returns the serial number of the client's certificate in upper-case hexadecimal,
// as nginx's $ssl_client_serial does.
func (i *Identity) Serial() string {
	return i.text(textSerial, func(i *Identity) string { return clientcert.Serial(i.chain[0]) })
}

// SHA256 returns the SHA-256 hash of the client's certificate in lower-case hexadecimal.
func (i *Identity) SHA256() string {
	return i.text(textSHA256, func(i *Identity) string { return fingerprint(i.chain[0]) })
}

// String returns the ID of the profile and the subject.
func (i *Identity) String() string { return i.profile.id + ": " + i.Subject() }

// LogValue implements [slog.LogValuer].
func (i *Identity) LogValue() slog.Value {
	attrs := append(make([]slog.Attr, 0, 5),
		slog.String("profile", i.profile.id),
		slog.String("subject", i.Subject()),
		slog.String("serial", i.Serial()),
		slog.String("sha256", i.SHA256()))
	if id, ok := i.SPIFFEID(); ok {
		attrs = append(attrs, slog.String("spiffe_id", id))
	}
	return slog.GroupValue(attrs...)
}

type identityKey struct{}

// NewContext returns a context that carries an identity, for callers of [*Terminator.Judge]
// and for tests of handlers: see CA.Identity of package ssltest.
func NewContext(ctx context.Context, i *Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, i)
}

// FromContext returns the identity of the client that a request came from. It is nil if the
// profile demands no certificate. On a path that needs none ([ClientAuth.SkipPaths]), it is
// nil only for a client without a certificate or with one that is not accepted.
func FromContext(ctx context.Context) *Identity {
	i, _ := ctx.Value(identityKey{}).(*Identity)
	return i
}

func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}
