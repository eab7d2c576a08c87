package signer_test

import (
	"crypto"
	"crypto/dsa" //lint:ignore SA1019 a key of a kind that TLS does not use
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/signer"
)

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

// A fake answers with functions.
type fake struct {
	public func() crypto.PublicKey
	sign   func() ([]byte, error)
}

func (f *fake) Public() crypto.PublicKey { return f.public() }

func (f *fake) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return f.sign() }

// An agreeable key is equal to every other.
type agreeable struct{}

func (agreeable) Equal(crypto.PublicKey) bool { return true }

func TestGuardRefuses(t *testing.T) {
	key, another := newKey(t), newKey(t)
	public := func(v crypto.PublicKey) crypto.Signer {
		return &fake{public: func() crypto.PublicKey { return v }}
	}
	const other = "is not the key of the certificate"
	for name, c := range map[string]struct {
		s    crypto.Signer
		cert crypto.PublicKey
		text string
	}{
		"another's":                 {another, key.Public(), other},
		"no public key":             {public(nil), key.Public(), "has no public key: Public returns nil"},
		"a public key by value":     {public(key.PublicKey), key.Public(), other},
		"a public key that is nil":  {public((*ecdsa.PublicKey)(nil)), key.Public(), other},
		"an empty public key":       {public(&ecdsa.PublicKey{}), key.Public(), other},
		"one that is equal to all":  {public(agreeable{}), key.Public(), other},
		"of another kind":           {public(ed25519.PublicKey(make([]byte, 32))), key.Public(), other},
		"of a kind without Equal":   {public(&dsa.PublicKey{}), &dsa.PublicKey{}, other},
		"a nil pointer":             {(*ecdsa.PrivateKey)(nil), key.Public(), "has no public key: Public panicked: runtime error: invalid memory address or nil pointer dereference"},
		"a slice that is too short": {ed25519.PrivateKey(nil), key.Public(), "has no public key: Public panicked: runtime error: slice bounds out of range [32:0]"},
		"a panic":                   {&fake{public: func() crypto.PublicKey { panic("no session") }}, key.Public(), "has no public key: Public panicked: no session"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := signer.Guard(c.s, c.cert)
			require.EqualError(t, err, c.text)
			require.Nil(t, s)
		})
	}
}

// A messenger is a [crypto.MessageSigner] that has no other way to sign.
type messenger struct{ *fake }

func (m messenger) SignMessage(_ io.Reader, msg []byte, _ crypto.SignerOpts) ([]byte, error) {
	return []byte("signed " + string(msg)), nil
}

func TestGuardSigns(t *testing.T) {
	key := newKey(t)
	digest := sha256.Sum256([]byte("message"))

	s, err := signer.Guard(key, key.Public())
	require.NoError(t, err)
	signature, err := s.Sign(rand.Reader, digest[:], crypto.SHA256)
	require.NoError(t, err)
	require.True(t, ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature))
	signature, err = crypto.SignMessage(s, rand.Reader, []byte("message"), crypto.SHA256)
	require.NoError(t, err)
	require.True(t, ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature), "hashed on the way")

	asked := 0
	f := &fake{
		public: func() crypto.PublicKey { asked++; return key.Public() },
		sign:   func() ([]byte, error) { return nil, errors.New("the token is gone") },
	}
	s, err = signer.Guard(f, key.Public())
	require.NoError(t, err)
	require.Equal(t, key.Public(), s.Public())
	require.Equal(t, key.Public(), s.Public())
	require.Equal(t, 1, asked)
	_, err = s.Sign(nil, digest[:], crypto.SHA256)
	require.EqualError(t, err, "the token is gone")
	_, err = crypto.SignMessage(s, nil, nil, crypto.SHA256)
	require.EqualError(t, err, "the token is gone")
	f.sign = func() ([]byte, error) { panic("the token is gone") }
	_, err = s.Sign(nil, digest[:], crypto.SHA256)
	require.EqualError(t, err, "the Signer panicked: the token is gone")
	_, err = crypto.SignMessage(s, nil, nil, crypto.SHA256)
	require.EqualError(t, err, "the Signer panicked: the token is gone")

	s, err = signer.Guard(messenger{f}, key.Public())
	require.NoError(t, err)
	signature, err = crypto.SignMessage(s, nil, []byte("it"), crypto.SHA256)
	require.NoError(t, err)
	require.Equal(t, "signed it", string(signature))
}

// The kinds of values that a Signer may have, with and without ==.
type (
	byValue  struct{ slot int }
	bySlice  struct{ handle []byte }
	byHolder struct{ inner any }
)

func (byValue) Public() crypto.PublicKey  { return nil }
func (bySlice) Public() crypto.PublicKey  { return nil }
func (byHolder) Public() crypto.PublicKey { return nil }

func (byValue) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error)  { return nil, nil }
func (bySlice) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error)  { return nil, nil }
func (byHolder) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, nil }

func TestSame(t *testing.T) {
	key := newKey(t)
	twin := *key
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	_, otherEd, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		a, b crypto.Signer
		same bool
	}{
		"none":                              {nil, nil, true},
		"one alone":                         {key, nil, false},
		"one pointer":                       {key, key, true},
		"two pointers to one key":           {key, &twin, false},
		"a nil pointer is one":              {(*ecdsa.PrivateKey)(nil), nil, false},
		"equal values":                      {byValue{1}, byValue{1}, true},
		"other values":                      {byValue{1}, byValue{2}, false},
		"types":                             {byValue{1}, key, false},
		"no ==":                             {bySlice{[]byte{1}}, bySlice{[]byte{1}}, false},
		"no == and a pointer":               {bySlice{}, key, false},
		"no == within":                      {byHolder{[]byte{1}}, byHolder{[]byte{1}}, false},
		"no == within, with one that has":   {byHolder{1}, byHolder{[]byte{1}}, false},
		"== within":                         {byHolder{1}, byHolder{1}, true},
		"Ed25519":                           {ed, ed25519.PrivateKey(append([]byte(nil), ed...)), true},
		"another of Ed25519":                {ed, otherEd, false},
		"Ed25519 and another kind":          {ed, key, false},
		"Ed25519 and one that has a slice":  {ed, bySlice{}, false},
		"Ed25519 and its holder":            {ed, byHolder{ed}, false},
		"Ed25519, not by what is behind it": {byHolder{ed}, byHolder{ed}, false},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.same, signer.Same(c.a, c.b))
			require.Equal(t, c.same, signer.Same(c.b, c.a))
		})
	}
}

func TestHide(t *testing.T) {
	require.Nil(t, signer.Hide(nil))
	h := signer.Hide(newKey(t))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		require.Equal(t, "[redacted]", fmt.Sprintf(verb, h))
	}
	require.Nil(t, h.Public())
	_, err := h.Sign(nil, nil, nil)
	require.Error(t, err)
}
