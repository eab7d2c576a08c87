package cjson

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
)

// Encode writes a value as APISIX does: numbers with 14 significant digits ("%.14g" in C),
// or as many as it takes to read the same number again, no escaped slash, control characters and DEL escaped, every other byte of a string as it
// is. The keys of an object are sorted. There is no line feed at the end.
//
// The value must consist of what [Decode] returns; int and int64 are accepted too, and
// written in full. Anything else, including NaN and infinities, is a mistake of the caller
// and panics.
func Encode(v any) []byte { return appendValue(nil, v) }

func appendValue(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...)
	case bool:
		return strconv.AppendBool(dst, v)
	case string:
		return appendString(dst, v)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			panic("cjson: NaN and infinity have no form in JSON")
		}
		return appendNumber(dst, v)
	case int:
		return strconv.AppendInt(dst, int64(v), 10)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case []any:
		dst = append(dst, '[')
		for i, e := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendValue(dst, e)
		}
		return append(dst, ']')
	case map[string]any:
		dst = append(dst, '{')
		for i, key := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendString(dst, key)
			dst = append(dst, ':')
			dst = appendValue(dst, v[key])
		}
		return append(dst, '}')
	default:
		panic(fmt.Sprintf("cjson: a %T has no form in JSON", v))
	}
}

// appendNumber writes a number. What is stored is what is in force: it must be the same
// after it was read again.
func appendNumber(dst []byte, v float64) []byte {
	begin := len(dst)
	dst = strconv.AppendFloat(dst, v, 'g', 14, 64)
	if v == math.Trunc(v) && math.Abs(v) < 1e14 {
		return dst // the usual case
	}
	if same, err := strconv.ParseFloat(string(dst[begin:]), 64); err != nil || same != v {
		dst = strconv.AppendFloat(dst[:begin], v, 'g', -1, 64)
	}
	return dst
}

// escapes holds the escape sequence of each byte that has one.
var escapes = func() (t [256]string) {
	for c := range byte(0x20) {
		t[c] = fmt.Sprintf(`\u%04x`, c)
	}
	t[0x7f] = `\u007f`
	t['\b'], t['\t'], t['\n'], t['\f'], t['\r'] = `\b`, `\t`, `\n`, `\f`, `\r`
	t['"'], t['\\'] = `\"`, `\\`
	return t
}()

func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	begin := 0
	for i := range len(s) {
		if e := escapes[s[i]]; e != "" {
			dst = append(append(dst, s[begin:i]...), e...)
			begin = i + 1
		}
	}
	dst = append(dst, s[begin:]...)
	return append(dst, '"')
}
