package cjson_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/cjson"
)

type (
	object = map[string]any
	array  = []any
)

// accepted are texts that lua-cjson 2.1.0 takes, and what it makes of them.
var accepted = []struct {
	in   string
	want any
}{
	{`{"a":1,"b":[true,false,null]}`, object{"a": 1.0, "b": array{true, false, nil}}},
	{" \t\r\n{ } \n", object{}},
	{`[]`, array{}},
	{`{"a":{},"b":[]}`, object{"a": object{}, "b": array{}}},

	// Strings: what encoding/json would refuse or change.
	{"{\"cert\":\"-----BEGIN\nMII\r\n\tx\"}", object{"cert": "-----BEGIN\nMII\r\n\tx"}},
	{"\"\x01\x02\x1f\x7f\"", "\x01\x02\x1f\x7f"},
	{"\"\xff\xc3(\"", "\xff\xc3("},
	{`"\"\\\/\b\f\n\r\t"`, "\"\\/\b\f\n\r\t"},
	{`"\u0000\u0041\u00e9\u20AC"`, "\x00A\u00e9\u20ac"},
	{`"\ud83d\ude00"`, "\U0001F600"},
	{`"// not a comment"`, "// not a comment"},

	// Keys.
	{`{"a":1,"a":2}`, object{"a": 2.0}},
	{`{"":1,"A":2,"a":3}`, object{"": 1.0, "A": 2.0, "a": 3.0}},

	// Numbers.
	{`01`, 1.0},
	{`00`, 0.0},
	{`-01`, -1.0},
	{`0x10`, 16.0},
	{`-0X1f`, -31.0},
	{`0x1.8p3`, 12.0},
	{`0x.8`, 0.5},
	{`0X1P+2`, 4.0},
	{`+1`, 1.0},
	{`+.5`, 0.5},
	{`-.5`, -0.5},
	{`5.`, 5.0},
	{`5.e1`, 50.0},
	{`1E-2`, 0.01},
	{`1e-400`, 0.0},
	{`100000000000000`, 1e14},

	// Values that are no object.
	{`1`, 1.0},
	{`"x"`, "x"},
	{`null`, nil},
	{`true`, true},

	// Comments: a departure from lua-cjson.
	{"// first\n{ // second\r\n\"a\" // third\n: 1 }// fourth", object{"a": 1.0}},
	{"//\n1", 1.0},
}

// refused are texts that lua-cjson 2.1.0 refuses, and its words.
var refused = []struct{ in, want string }{
	{`{"a":1,}`, `Expected object key string but found T_OBJ_END at character 8`},
	{`[1,]`, `Expected value but found T_ARR_END at character 4`},
	{`{"a":1 "b":2}`, `Expected comma or object end but found T_STRING at character 8`},
	{`{"a":1`, `Expected comma or object end but found T_END at character 7`},
	{`{"a":"b"]`, `Expected comma or object end but found T_ARR_END at character 9`},
	{`{"a":"x`, `Expected value but found unexpected end of string at character 8`},
	{"{\"a\":\"x\x00\"}", `Expected value but found unexpected end of string at character 8`},
	{`{"a"}`, `Expected colon but found T_OBJ_END at character 5`},
	{`{"a":}`, `Expected value but found T_OBJ_END at character 6`},
	{`{a:1}`, `Expected object key string but found invalid token at character 2`},
	{`{'a':1}`, `Expected object key string but found invalid token at character 2`},
	{`{1:2}`, `Expected object key string but found T_NUMBER at character 2`},
	{`{"a":"\q"}`, `Expected value but found invalid escape code at character 7`},
	{`{"a":"\'"}`, `Expected value but found invalid escape code at character 7`},
	{`{"a":"\ud800"}`, `Expected value but found invalid unicode escape code at character 7`},
	{`/* x */ 1`, `Expected value but found invalid token at character 1`},
	{`# x`, `Expected value but found invalid token at character 1`},
	{"\ufeff{}", `Expected value but found invalid token at character 1`},
	{"\v1", `Expected value but found invalid token at character 1`},
	{"1\f", `Expected the end but found invalid token at character 2`},
	{`.5`, `Expected value but found invalid token at character 1`},
	{`[tru]`, `Expected value but found invalid token at character 2`},
	{`True`, `Expected value but found invalid token at character 1`},
	{`{"a":1} x`, `Expected the end but found invalid token at character 9`},
	{` `, `Expected value but found T_END at character 2`},
	{``, `Expected value but found T_END at character 1`},
	{strings.Repeat("[", 1001), `Found too many nested data structures (1001) at character 1001`},
	{strings.Repeat(`{"a":`, 1001), `Found too many nested data structures (1001) at character 5001`},

	{`{`, `Expected object key string but found T_END at character 2`},
	{`{"a":1,"`, `Expected object key string but found unexpected end of string at character 9`},
	{`{"a":1,`, `Expected object key string but found T_END at character 8`},
	{`{,}`, `Expected object key string but found T_COMMA at character 2`},
	{`{{}}`, `Expected object key string but found T_OBJ_BEGIN at character 2`},
	{`{null:1}`, `Expected object key string but found T_NULL at character 2`},
	{`{true:1}`, `Expected object key string but found T_BOOLEAN at character 2`},
	{`{NaN:1}`, `Expected object key string but found T_NUMBER at character 2`},
	{`{"a"::1}`, `Expected value but found T_COLON at character 6`},
	{`{"a":1 "b\q":2}`, `Expected comma or object end but found invalid escape code at character 10`},
	{`[`, `Expected value but found T_END at character 2`},
	{`[1`, `Expected comma or array end but found T_END at character 3`},
	{`[1 2]`, `Expected comma or array end but found T_NUMBER at character 4`},
	{`[1,,2]`, `Expected value but found T_COMMA at character 4`},
	{`[}`, `Expected value but found T_OBJ_END at character 2`},
	{`[1]]`, `Expected the end but found T_ARR_END at character 4`},
	{`[1][2]`, `Expected the end but found T_ARR_BEGIN at character 4`},
	{`true1`, `Expected the end but found T_NUMBER at character 5`},
	{`"\u12`, `Expected value but found invalid unicode escape code at character 2`},
	{`"\u12g4"`, `Expected value but found invalid unicode escape code at character 2`},
	{`"\udc00"`, `Expected value but found invalid unicode escape code at character 2`},
	{`"\udc00\udc00"`, `Expected value but found invalid unicode escape code at character 2`},
	{`"\ud800\u0041"`, `Expected value but found invalid unicode escape code at character 2`},
	{`"\ud800\n"`, `Expected value but found invalid unicode escape code at character 2`},
	{`+`, `Expected value but found invalid number at character 1`},
	{`-`, `Expected value but found invalid number at character 1`},
	{`- 1`, `Expected value but found invalid number at character 1`},
	{`--1`, `Expected value but found invalid number at character 1`},
	{`-.`, `Expected value but found invalid number at character 1`},
	{`0x`, `Expected the end but found invalid token at character 2`},
	{`1e`, `Expected the end but found invalid token at character 2`},
	{`1e+`, `Expected the end but found invalid token at character 2`},
	{`1..2`, `Expected the end but found invalid token at character 3`},
	{"\x00\x00", `JSON parser does not support UTF-16 or UTF-32`},
	{"{\x00", `JSON parser does not support UTF-16 or UTF-32`},
	{"{\"a\":1 \x00", `Expected comma or object end but found T_END at character 8`},
	{`/`, `Expected value but found invalid token at character 1`},
	{`{"a":1}/x`, `Expected the end but found invalid token at character 8`},
}

// departures are texts that lua-cjson takes, or refuses in other words.
var departures = []struct{ in, want string }{
	{`NaN`, `Expected value but found invalid number (NaN, infinity and what is as large cannot be stored) at character 1`},
	{`{"a":nan}`, `Expected value but found invalid number (NaN, infinity and what is as large cannot be stored) at character 6`},
	{`[1,Infinity]`, `Expected value but found invalid number (NaN, infinity and what is as large cannot be stored) at character 4`},
	{`-inf`, `Expected value but found invalid number (NaN, infinity and what is as large cannot be stored) at character 1`},
	{`+nan`, `Expected value but found invalid number (NaN, infinity and what is as large cannot be stored) at character 1`},
	{`[1e400]`, `Expected value but found invalid number (NaN, infinity and what is as large cannot be stored) at character 2`},
	{`-0x1p2000`, `Expected value but found invalid number (NaN, infinity and what is as large cannot be stored) at character 1`},

	{"{\"a\":1}\x00{\"hidden\":1}", `Expected the end but found invalid token at character 8`},
	{"{\"a\":1} \x00", `Expected the end but found invalid token at character 9`},

	{`{ // a comment without an end "a":1}`, `Expected object key string but found T_END at character 37 (a // comment runs to the end of the input: were its line breaks lost?)`},
	{`//`, `Expected value but found T_END at character 3 (a // comment runs to the end of the input: were its line breaks lost?)`},
}

func TestDecode(t *testing.T) {
	for _, c := range accepted {
		got, err := cjson.Decode([]byte(c.in))
		require.NoError(t, err, "%q", c.in)
		require.Equal(t, c.want, got, "%q", c.in)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, c := range append(refused, departures...) {
		v, err := cjson.Decode([]byte(c.in))
		require.EqualError(t, err, c.want, "%.60q", c.in)
		require.Nil(t, v)

		var syntax *cjson.SyntaxError
		require.True(t, errors.As(err, &syntax))
		require.Equal(t, c.want, syntax.Text)
		if syntax.Offset != 0 {
			require.Contains(t, c.want, fmt.Sprintf("at character %d", syntax.Offset))
		} else {
			require.NotContains(t, c.want, "at character")
		}
	}
}

func TestDecodeKeepsEmptyArraysAndObjectsApart(t *testing.T) {
	v, err := cjson.Decode([]byte(`{"a":[],"o":{}}`))
	require.NoError(t, err)
	require.NotNil(t, v.(object)["a"].(array))
	require.NotNil(t, v.(object)["o"].(object))
	require.Equal(t, `{"a":[],"o":{}}`, string(cjson.Encode(v)))
}

func TestDecodeDepth(t *testing.T) {
	for _, pair := range []string{"[]", "{}"} {
		open, value := pair[:1], ""
		if pair == "{}" {
			open, value = `{"a":`, "1"
		}
		deepest := strings.Repeat(open, cjson.MaxDepth) + value + strings.Repeat(pair[1:], cjson.MaxDepth)
		v, err := cjson.Decode([]byte(deepest))
		require.NoError(t, err)
		require.Equal(t, deepest, string(cjson.Encode(v)))
	}
	// Depth is how deep, not how many.
	_, err := cjson.Decode([]byte("[" + strings.Repeat("[],{},", 5000) + "1]"))
	require.NoError(t, err)
}

// Errors go to clients and logs, the input may be a private key.
func TestErrorsDoNotRepeatTheInput(t *testing.T) {
	const secret = "hunter2"
	for _, in := range []string{
		`{"key":"` + secret, `{` + secret + `:1}`, `"\u` + secret + `"`, `"` + secret + `\q"`, secret,
		`{"` + secret + `":1e999}`, `{"key":"` + secret + `"} ` + secret, `// ` + secret,
	} {
		_, err := cjson.Decode([]byte(in))
		require.Error(t, err)
		require.NotContains(t, fmt.Sprintf("%+v %#v", err, err), secret)
	}
}

// The worst inputs of a megabyte take about as long as a plain one; a quadratic
// decoder would take minutes.
func TestDecodeIsLinear(t *testing.T) {
	const n = 1 << 20
	for _, in := range map[string]string{
		"open arrays":  strings.Repeat("[", n),
		"digits":       strings.Repeat("7", n),
		"hex digits":   "0x" + strings.Repeat("f", n),
		"zeros":        "0." + strings.Repeat("0", n) + "1",
		"exponent":     "1e" + strings.Repeat("9", n),
		"escapes":      `"` + strings.Repeat(`\n`, n/2) + `"`,
		"slashes":      strings.Repeat("/", n),
		"comments":     strings.Repeat("//\n", n/3) + "1",
		"inf":          "[" + strings.Repeat("inf,", n/4),
		"equal keys":   "{" + strings.Repeat(`"a":1,`, n/6) + `"a":1}`,
		"small arrays": "[" + strings.Repeat("[],", n/3) + "1]",
		"open string":  `"` + strings.Repeat("a", n),
	} {
		_, _ = cjson.Decode([]byte(in))
	}
}
