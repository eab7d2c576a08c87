package cjson_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/cjson"
)

// FuzzDecode holds Decode against encoding/json, and against Encode.
func FuzzDecode(f *testing.F) {
	for _, c := range accepted {
		f.Add([]byte(c.in))
	}
	for _, c := range append(refused, departures...) {
		f.Add([]byte(c.in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		v, err := cjson.Decode(in)
		if err != nil {
			syntax, ok := err.(*cjson.SyntaxError)
			require.True(t, ok)
			require.Nil(t, v)
			require.LessOrEqual(t, syntax.Offset, len(in)+1)
			require.True(t, utf8.ValidString(syntax.Text))
		}

		// What encoding/json takes we take, and it means the same: but for the
		// surrogates and the bytes that it replaces, and nesting.
		var std any
		if json.Unmarshal(in, &std) == nil {
			switch {
			case err != nil && strings.Contains(err.Error(), "invalid unicode escape code"):
			case err != nil && strings.Contains(err.Error(), "too many nested"):
			case !utf8.Valid(in):
				require.NoError(t, err)
			default:
				require.NoError(t, err)
				require.Equal(t, std, v)
			}
		}
		if err != nil {
			return
		}

		// What was decoded survives.
		text := cjson.Encode(v)
		again, err := cjson.Decode(text)
		require.NoError(t, err)
		require.Equal(t, v, again)
		require.Equal(t, string(text), string(cjson.Encode(again)))

		// And encoding/json can read it, wherever it is UTF-8.
		if utf8.Valid(text) {
			var std any
			require.NoError(t, json.Unmarshal(text, &std))
			require.True(t, reflect.DeepEqual(std, again))
		}
	})
}
