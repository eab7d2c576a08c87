// Package jsonline appends to a line of JSON what a [slog.JSONHandler] would, most of it in
// less time.
package jsonline

import (
	"encoding/binary"
	"slices"
	"unicode/utf8"
)

// AppendText appends s as a string.
func AppendText(b []byte, s string) []byte {
	n := len(b)
	b = slices.Grow(b, len(s)+2)[:n+len(s)+2]
	to := b[n:]
	to[0], to[len(to)-1] = '"', '"'
	if to = to[1 : len(to)-1]; copyPlain(to, s) {
		return b
	}
	return appendEscaped(b[:n], s)
}

// copyPlain copies s, and reports whether each byte of it stands for itself in a string, as
// nearly always. If not, what it has copied is of no use.
func copyPlain(to []byte, s string) bool {
	var special uint64
	switch {
	case len(s) >= 8:
		last := eight(s[len(s)-8:]) // some of which may come twice
		binary.LittleEndian.PutUint64(to[len(to)-8:], last)
		special = specials(last)
		for len(s) > 8 {
			x := eight(s)
			binary.LittleEndian.PutUint64(to, x)
			special |= specials(x)
			s, to = s[8:], to[8:]
		}
	case len(s) >= 4:
		first, last := four(s), four(s[len(s)-4:])
		binary.LittleEndian.PutUint32(to, first)
		binary.LittleEndian.PutUint32(to[len(to)-4:], last)
		special = specials(uint64(first) | uint64(last)<<32)
	default:
		x := uint64(spaces)
		for i := range len(s) {
			to[i] = s[i]
			x = x<<8 | uint64(s[i])
		}
		special = specials(x)
	}
	return special == 0
}

// eight and four return the first bytes of s.

func eight(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

func four(s string) uint32 {
	_ = s[3]
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}

const (
	ones   = 0x0101010101010101
	highs  = 0x80 * ones
	spaces = ' ' * ones
)

// specials returns zero if each of the eight bytes of x is ASCII and stands for itself. A byte
// is less than another, or zero, if taking it away borrows from the bit above it.
func specials(x uint64) uint64 {
	quote, backslash := x^'"'*ones, x^'\\'*ones
	return (x | (x - spaces) | (quote - ones) | (backslash - ones)) & highs
}

// appendEscaped is AppendText for any s.
func appendEscaped(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[r>>4], hex[r&0xf])
		case r == utf8.RuneError && n == 1:
			b = append(b, `\ufffd`...)
		case r == '\u2028' || r == '\u2029': // which end a line of JavaScript
			b = append(b, `\u202`...)
			b = append(b, hex[r&0xf])
		default:
			b = append(b, s[:n]...)
		}
		s = s[n:]
	}
	return append(b, '"')
}
