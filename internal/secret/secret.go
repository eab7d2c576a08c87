// Package secret holds the one type for text that must never be printed.
package secret

import (
	"fmt"
	"log/slog"
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
