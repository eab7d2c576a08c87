// Package secret holds the one type for text that must never be printed, and finds such
// text where it does not belong.
package secret

import (
	"bytes"
	"encoding/base64"
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

// In reports whether a text contains a private key in PEM, even one encoded for a URL, or
// begins as the base64 of one does, because somebody has left out the line that says what
// it is.
func In(text string) bool {
	if strings.Contains(text, "KEY-----") {
		for _, space := range []string{" ", "%20", "+"} {
			if strings.Contains(text, "PRIVATE"+space+"KEY-----") {
				return true
			}
		}
	}
	return beginsAsKey(text)
}

// beginsAsKey reports whether a text is the base64 of a DER sequence whose first element is
// the number 0 or 1: the version, with which private keys begin in PKCS #8, PKCS #1 and
// SEC 1, and certificates do not.
func beginsAsKey(text string) bool {
	text = strings.TrimLeft(text, " \t\r\n")
	if !strings.HasPrefix(text, "M") {
		return false // all sequences have an M
	}
	// The lines may be of any length.
	var first [12]byte
	n := 0
	for i := 0; i < len(text) && n < len(first); i++ {
		if text[i] != '\r' && text[i] != '\n' {
			first[n] = text[i]
			n++
		}
	}
	der, err := base64.StdEncoding.DecodeString(string(first[:n]))
	if err != nil || n < len(first) {
		return false
	}
	head := 2
	if der[1] > 0x80 { // a length of more than one byte
		head += int(der[1] & 0x7f)
	}
	return der[0] == 0x30 && head+3 <= len(der) &&
		(bytes.HasPrefix(der[head:], []byte{2, 1, 0}) || bytes.HasPrefix(der[head:], []byte{2, 1, 1}))
}
