package jsonline

import (
	"math/bits"
	"slices"
	"strconv"
)

// AppendInt appends n as a number.
func AppendInt(b []byte, n int64) []byte {
	if n < 0 {
		return strconv.AppendInt(b, n, 10)
	}
	u, digits := uint64(n), 1
	if u >= 10 {
		digits = bits.Len64(u) * 1233 >> 12 // log10(2) is 0.30103: this is one too few, or not
		if u >= powers[digits] {
			digits++
		}
	}
	at := len(b)
	b = slices.Grow(b, digits)[:at+digits]
	putDigits(b[at:], u)
	return b
}

// AppendFraction appends a number of billionths below one as the digits after a decimal point,
// without the zeros at the end.
func AppendFraction(b []byte, billionths uint32) []byte {
	var digits [9]byte
	putDigits(digits[:], uint64(billionths))
	n := len(digits)
	for n > 0 && digits[n-1] == '0' {
		n--
	}
	return append(b, digits[:n]...)
}

// putDigits writes a number that has no more digits than there is room for.
func putDigits(to []byte, u uint64) {
	for len(to) >= 2 {
		pair := pairs[u%100*2:]
		to[len(to)-1], to[len(to)-2] = pair[1], pair[0]
		to, u = to[:len(to)-2], u/100
	}
	if len(to) == 1 {
		to[0] = byte('0' + u)
	}
}

var powers = func() (p [20]uint64) {
	for i, power := 0, uint64(1); i < len(p); i++ {
		p[i] = power
		power *= 10
	}
	return p
}()

const pairs = "00010203040506070809" +
	"10111213141516171819" +
	"20212223242526272829" +
	"30313233343536373839" +
	"40414243444546474849" +
	"50515253545556575859" +
	"60616263646566676869" +
	"70717273747576777879" +
	"80818283848586878889" +
	"90919293949596979899"
