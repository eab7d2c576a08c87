package statushtml

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWords(t *testing.T) {
	plain := func(s string) string { return strings.ReplaceAll(s, narrow, "_") }
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1_000", 1234567: "1_234_567", -5: "-5", -1234: "-1_234", -123456: "-123_456"} {
		require.Equal(t, want, plain(count(n)))
	}
	for v, want := range map[float64]string{
		0: "0", 0.004: "<_0.01", 0.016: "0.02", 0.5: "0.50", 1: "1.0", 12.34: "12.3", 99.94: "99.9", 100: "100", 123456.7: "123_457",
	} {
		require.Equal(t, want, plain(rate(v)), v)
	}
	for v, want := range map[float64]string{
		0: "0_%", 0.0004: "<_0.1_%", 0.001: "0.1_%", 0.0456: "4.6_%", 0.1: "10_%", 0.5: "50_%", 0.9995: ">_99.9_%", 1: "100_%",
	} {
		require.Equal(t, want, plain(percent(v)), v)
	}
	for v, want := range map[float64]string{0: "–", 0.000123: "123_µs", 0.00123: "1.2_ms", 0.0123: "12_ms", 0.9: "900_ms", 1.26: "1.3_s", 90: "90.0_s"} {
		require.Equal(t, want, plain(took(v)), v)
	}
	now := time.Unix(1e9, 0)
	for d, want := range map[time.Duration]string{
		0:                       "now",
		-time.Second:            "now",
		-90 * time.Second:       "90 seconds ago",
		-2 * time.Minute:        "2 minutes ago",
		-119 * time.Minute:      "119 minutes ago",
		2 * time.Hour:           "in 2 hours",
		47 * time.Hour:          "in 47 hours",
		48 * time.Hour:          "in 2 days",
		700 * 24 * time.Hour:    "in 700 days",
		5000 * 24 * time.Hour:   "in 13 years",
		1500 * time.Millisecond: "in a moment",
		-100_000 * time.Hour:    "11 years ago",
	} {
		require.Equal(t, want, plain(from(now, now.Add(d))), d)
	}
}

// What shows nothing can be seen, and everything else is as it was.
func TestShown(t *testing.T) {
	for s, want := range map[string]string{
		"":                 "",
		"CN=münchen, O=日本": "CN=münchen, O=日本",
		`a "b" \ c`:        `a "b" \ c`,
		"a\nb":             `a\nb`,
		"\x00\x1b\x7f":     `\x00\x1b\x7f`,
		"\xff":             `\xff`,
		"gnp\u202egpj":     `gnp\u202egpj`,
		"zero\u200bwidth":  `zero\u200bwidth`,
		"no\u00a0break":    `no\u00a0break`,
		"\"\n":             `\"\n`,
	} {
		require.Equal(t, want, shown(s), "%q", s)
	}
}
