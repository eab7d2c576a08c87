package gateway

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A value of a handler's is one that HTTP/2 may carry (RFC 9113, section 8.2.1).
func TestCleanValue(t *testing.T) {
	for value, want := range map[string]string{
		"":                   "",
		"a":                  "a",
		" a\tb ":             "a\tb",
		"a\r\nX: b":          "a  X: b",
		"\x00a\x7f":          "a",
		" \x00 \r\n a\x01\t": "a",
		"\x00":               "",
		"\xffü":              "\xffü",
	} {
		require.Equal(t, want, cleanValue(value), "%q", value)
	}
}
