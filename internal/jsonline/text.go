// Package jsonline appends to a line of JSON what needs no escape, as nearly all does that is
// logged of a request.
package jsonline

import (
	"encoding/binary"
	"slices"
)

// AppendText appends s as a string, and reports whether each byte of it stands for itself in
// one. If not, what it has appended is of no use.
func AppendText(b []byte, s string) ([]byte, bool) {
	n := len(b)
	b = slices.Grow(b, len(s)+2)[:n+len(s)+2]
	to := b[n:]
	to[0], to[len(to)-1] = '"', '"'
	to = to[1 : len(to)-1]
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
	return b, special == 0
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

// specials returns zero if none of the eight bytes of x must be escaped. A byte is less than
// another, or zero, if taking it away borrows from the bit above it.
func specials(x uint64) uint64 {
	quote, backslash := x^'"'*ones, x^'\\'*ones
	return (x | (x - spaces) | (quote - ones) | (backslash - ones)) & highs
}
