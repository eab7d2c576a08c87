// Package secret holds the one type for text that must never be printed, reads private
// keys, and finds such text where it does not belong.
package secret

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// Redacted is what a secret looks like in every log, error, dump and document.
const Redacted = "[redacted]"

// PEM is private key material in PEM. It prints as [Redacted] whatever the verb,
// the encoder or the logger, so that a Config that holds one can be logged.
// Convert it to []byte to read it.
type PEM []byte

// String implements [fmt.Stringer].
func (PEM) String() string { return Redacted }

// GoString implements [fmt.GoStringer], for %#v.
func (PEM) GoString() string { return Redacted }

// Format implements [fmt.Formatter]: %x and %d would otherwise show the bytes.
func (PEM) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(Redacted)) }

// LogValue implements [slog.LogValuer].
func (PEM) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalText implements [encoding.TextMarshaler], and so covers encoding/json too.
func (PEM) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// Encrypted reports whether a private key is encrypted, as those of PKCS #8 and those of old
// are (RFC 1421, section 4.6.1.3).
func Encrypted(key *pem.Block) bool {
	return strings.HasPrefix(key.Type, "ENCRYPTED") || key.Headers["DEK-Info"] != ""
}

// ParseKey reads a private key that is not encrypted in any of the forms that openssl writes,
// whatever its block calls itself, as crypto/tls does. The error has nothing of what x509
// says, which may repeat what it read.
func ParseKey(der []byte) (crypto.PrivateKey, error) {
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		if _, signs := key.(crypto.Signer); signs { // unlike one of X25519
			return key, nil
		}
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	return nil, errors.New("is no private key of a kind that TLS uses, in PKCS #8, PKCS #1 or SEC 1")
}

// In reports whether a text contains a private key in PEM, even one encoded for a URL or in
// base64, as in a Secret of Kubernetes, or the base64 of one without the line that says what
// it is, because somebody has left it out.
func In(text string) bool {
	if strings.Contains(text, "KEY-----") {
		for _, space := range []string{" ", "%20", "+"} {
			if strings.Contains(text, "PRIVATE"+space+"KEY-----") {
				return true
			}
		}
	}
	return anyBegins(text, 'M', isKey) || anyBegins(text, 'L', isPEM) // the first letters of both
}

// anyBegins reports whether somewhere in a text base64 begins with a letter and is what is
// asked for. A slash, which paths have, is taken to stand before base64 and not in it.
func anyBegins(text string, letter byte, is func(base64 string) bool) bool {
	for from := 0; ; {
		i := strings.IndexByte(text[from:], letter)
		if i < 0 {
			return false
		}
		i += from
		if (i == 0 || !inBase64(text[i-1])) && is(text[i:]) {
			return true
		}
		from = i + 1
	}
}

// inBase64 reports whether base64 may go on behind a byte.
func inBase64(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '+'
}

// decodeFirst decodes the first bytes of base64 into dst, whose length is a multiple of 3,
// and returns those that there are. Its lines may be of any length.
func decodeFirst(dst []byte, text string) []byte {
	var few [64]byte
	first := few[:0]
	for i := 0; i < len(text) && len(first) < len(dst)/3*4; i++ {
		if text[i] != '\r' && text[i] != '\n' {
			first = append(first, text[i])
		}
	}
	n, _ := base64.StdEncoding.Decode(dst, first[:len(first)/4*4])
	return dst[:n]
}

// isPEM reports whether a text is the base64 of a private key in PEM.
func isPEM(text string) bool {
	var few [36]byte
	head := decodeFirst(few[:], text)
	return bytes.HasPrefix(head, []byte("-----BEGIN ")) && bytes.Contains(head, []byte("PRIVATE KEY"))
}

// isKey reports whether a text begins as the base64 of a DER sequence whose first element
// is the number 0 or 1: the version, with which private keys begin in PKCS #8, PKCS #1 and
// SEC 1, and certificates do not.
func isKey(text string) bool {
	var few [9]byte
	der := decodeFirst(few[:], text)
	if len(der) < len(few) {
		return false
	}
	head := 2
	if der[1] > 0x80 { // a length of more than one byte
		head += int(der[1] & 0x7f)
	}
	return der[0] == 0x30 && head+3 <= len(der) &&
		(bytes.HasPrefix(der[head:], []byte{2, 1, 0}) || bytes.HasPrefix(der[head:], []byte{2, 1, 1}))
}
