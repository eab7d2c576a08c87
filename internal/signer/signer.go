// Package signer accepts private keys that are not PEM but somebody else's code: a
// [crypto.Signer] in front of an HSM, a KMS or a TPM, or a key of the standard library.
package signer

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"reflect"

	"github.com/sallyport/sallyport/internal/hooks"
	"github.com/sallyport/sallyport/internal/secret"
)

// Guard checks that s is the private key of a certificate's public key, which must be of a
// kind that crypto/tls uses. It returns a Signer for crypto/tls that signs with s, and in
// which a panic of s is an error, because not every goroutine that does a handshake
// recovers from panics. It does not decrypt, whatever cipher suites are enabled, so an RSA
// key in an HSM is no oracle for Bleichenbacher's attack.
func Guard(s crypto.Signer, public crypto.PublicKey) (crypto.Signer, error) {
	given, err := Public(s)
	if err != nil {
		return nil, err
	}
	ours, ok := public.(interface{ Equal(crypto.PublicKey) bool })
	// The certificate's key is asked, not the Signer's: it wants a key of its own type,
	// and so does crypto/tls.
	var same bool
	if err := hooks.Recovered(func() { same = ok && ours.Equal(given) }); err != nil || !same {
		return nil, errors.New("is not the key of the certificate")
	}
	return &guard{
		public: public,
		sign: func(rand io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
			return s.Sign(rand, digest, o)
		},
		signMessage: func(rand io.Reader, msg []byte, o crypto.SignerOpts) ([]byte, error) {
			return crypto.SignMessage(s, rand, msg, o)
		},
	}, nil
}

// Guarded reports whether a private key was returned by Guard: signing with it may take a
// while.
func Guarded(key crypto.PrivateKey) bool {
	_, ok := key.(*guard)
	return ok
}

// Public returns the public key of a Signer, which may panic or have none.
func Public(s crypto.Signer) (public crypto.PublicKey, err error) {
	if err := hooks.Recovered(func() { public = s.Public() }); err != nil {
		return nil, fmt.Errorf("has no public key: Public %w", err)
	}
	if public == nil {
		return nil, errors.New("has no public key: Public returns nil")
	}
	return public, nil
}

// A guard is a [crypto.MessageSigner], which crypto/tls prefers: what it guards may be one.
// It has functions because no verb of fmt looks into those.
type guard struct {
	public            crypto.PublicKey
	sign, signMessage signFunc
}

type signFunc func(rand io.Reader, data []byte, o crypto.SignerOpts) ([]byte, error)

// Public implements [crypto.Signer]. What it guards is not asked, and may be far away.
func (g *guard) Public() crypto.PublicKey { return g.public }

// Sign implements [crypto.Signer].
func (g *guard) Sign(rand io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	return g.sign.guarded(rand, digest, o)
}

// SignMessage implements [crypto.MessageSigner].
func (g *guard) SignMessage(rand io.Reader, msg []byte, o crypto.SignerOpts) ([]byte, error) {
	return g.signMessage.guarded(rand, msg, o)
}

func (f signFunc) guarded(rand io.Reader, data []byte, o crypto.SignerOpts) (signature []byte, err error) {
	if panicked := hooks.Recovered(func() { signature, err = f(rand, data, o) }); panicked != nil {
		return nil, fmt.Errorf("the Signer %w", panicked)
	}
	return signature, err
}

// Same reports whether two Signers are one and the same, or both nil.
//
// Two that hold the same private key are not the same for that: behind them may be two
// sessions with an HSM, of which one is over. One that cannot be compared is like no other,
// not even itself, but for an [ed25519.PrivateKey], which is the one such key of the
// standard library, and all there is of itself.
func Same(a, b crypto.Signer) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	if x, ok := a.(ed25519.PrivateKey); ok {
		y, ok := b.(ed25519.PrivateKey)
		return ok && bytes.Equal(x, y)
	}
	// Of the value, not of the type: a struct that can be compared may have an interface in
	// it whose value cannot, and == would panic.
	return reflect.ValueOf(a).Comparable() && reflect.ValueOf(b).Comparable() && a == b
}

// Hide returns what is printed in the place of a Signer: nil for nil.
func Hide(s crypto.Signer) crypto.Signer {
	if s == nil {
		return nil
	}
	return hidden{}
}

type hidden struct{}

// Public and Sign implement [crypto.Signer], so that it fits where the Signer was.
func (hidden) Public() crypto.PublicKey { return nil }

func (hidden) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("signer: a key that is only for printing")
}

// Format implements [fmt.Formatter].
func (hidden) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, secret.Redacted) }
