package cjson_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/cjson"
)

func TestEncode(t *testing.T) {
	for _, c := range []struct {
		in   any
		want string
	}{
		{nil, `null`},
		{true, `true`},
		{false, `false`},
		{array{}, `[]`},
		{object{}, `{}`},
		{array(nil), `[]`},
		{array{1.0, "a", array{}, object{}}, `[1,"a",[],{}]`},
		{object{"b": 1.0, "a": 2.0, "": 3.0, "B": 4.0}, `{"":3,"B":4,"a":2,"b":1}`},

		// %.14g: what C prints.
		{1.0, `1`},
		{0.1, `0.1`},
		{-2.5, `-2.5`},
		{math.Copysign(0, -1), `-0`},
		{123456.789, `123456.789`},
		{99999999999999.0, `99999999999999`},
		{100000000000000.0, `1e+14`},
		{1e15, `1e+15`},
		{0.0001, `0.0001`},
		{0.00001, `1e-05`},
		{1e100, `1e+100`},
		{math.SmallestNonzeroFloat64, `4.9406564584125e-324`},
		{1735689600.0, `1735689600`},

		// More digits, where it would be another number.
		{1.0 / 3, `0.3333333333333333`},
		{float64(1 << 53), `9.007199254740992e+15`},
		{1764183519123456.0, `1.764183519123456e+15`},
		{math.MaxFloat64, `1.7976931348623157e+308`},

		// Integers of the program's own, such as revisions, are written in full.
		{math.MaxInt32, `2147483647`},
		{int64(100000000000000), `100000000000000`},
		{int64(math.MinInt64), `-9223372036854775808`},

		{"a/b", `"a/b"`},
		{"\"\\", `"\"\\"`},
		{"\b\t\n\f\r", `"\b\t\n\f\r"`},
		{"\x00\x01\x0b\x1f\x7f", `"\u0000\u0001\u000b\u001f\u007f"`},
		{"é\u2028😀", `"é` + "\u2028" + `😀"`},
		{"\x80\xff", "\"\x80\xff\""},
		{"<&>", `"<&>"`},
		{object{"\n": ""}, `{"\n":""}`},
	} {
		require.Equal(t, c.want, string(cjson.Encode(c.in)), "%#v", c.in)
	}
}

func TestEncodePanics(t *testing.T) {
	for _, v := range []any{
		math.NaN(), math.Inf(1), array{math.Inf(-1)}, object{"a": math.NaN()},
		[]string{"a"}, struct{}{}, []byte("a"), float32(1),
	} {
		require.Panics(t, func() { cjson.Encode(v) }, "%#v", v)
	}
}
