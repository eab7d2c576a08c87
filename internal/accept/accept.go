// Package accept reads which kind of answer a client prefers: the header field Accept (RFC
// 9110, section 12.5.1).
package accept

import (
	"strconv"
	"strings"
)

// Quality returns the weight, between 0 and 1, that the header field Accept gives to a
// type: that of the most specific range, and of the first one if there are several.
// Malformed ranges are ignored.
func Quality(header, mainType, subtype string) float64 {
	best, q := 0, 0.0
	for part := range strings.SplitSeq(header, ",") {
		mediaRange, parameters, _ := strings.Cut(part, ";")
		first, second, ok := strings.Cut(strings.TrimSpace(mediaRange), "/")
		specific := 0
		switch {
		case !ok:
		case strings.EqualFold(first, mainType) && strings.EqualFold(second, subtype):
			specific = 3
		case strings.EqualFold(first, mainType) && second == "*":
			specific = 2
		case first == "*" && second == "*":
			specific = 1
		}
		if specific <= best {
			continue
		}
		if weight, ok := weightIn(parameters); ok {
			best, q = specific, weight
		}
	}
	return q
}

// weightIn returns the weight among the parameters of a media range (RFC 9110, section
// 12.4.2). It is 1 if there is none.
func weightIn(parameters string) (q float64, ok bool) {
	for parameter := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
		if !strings.EqualFold(name, "q") {
			continue
		}
		if len(value) > len("0.000") || strings.Trim(value, ".0123456789") != "" {
			return 0, false
		}
		q, err := strconv.ParseFloat(value, 64)
		return q, err == nil && q <= 1
	}
	return 1, true
}
