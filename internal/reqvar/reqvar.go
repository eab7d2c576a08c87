// Package reqvar reads the parts of a request that nginx has variables for, as nginx
// and APISIX do. It stores nothing, and allocates only where a part has to be put
// together.
package reqvar

import (
	"net/http"
	"net/textproto"
	"strings"
)

// Header returns a header field, of which name is the canonical spelling. Several
// lines have one value, in which they are joined by ", ", or for Cookie by "; ".
func Header(r *http.Request, name string) (value string, ok bool) {
	var lines []string
	switch name {
	case "Host": // net/http takes these out
		return r.Host, r.Host != ""
	case "Transfer-Encoding":
		lines = r.TransferEncoding
	default:
		lines = r.Header[name]
	}
	switch len(lines) {
	case 0:
		return "", false
	case 1:
		return lines[0], true
	}
	separator := ", "
	if name == "Cookie" {
		separator = "; " // RFC 9113, section 8.2.3
	}
	return strings.Join(lines, separator), true
}

// RequestURI returns the target of a request without the host that a proxy's client
// puts into it.
func RequestURI(r *http.Request) string {
	uri := r.RequestURI
	if strings.HasPrefix(uri, "/") || uri == "*" {
		return uri
	}
	return r.URL.RequestURI()
}

// Argument returns the value, not yet decoded, of the first argument of a name: see
// [Decode]. One without "=" is there, and empty. The semicolon separates nothing.
func Argument(query, name string) (value string, ok bool) {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if pair == "" {
			continue
		}
		if key, value, _ := strings.Cut(pair, "="); decodesTo(key, name) {
			return value, true
		}
	}
	return "", false
}

// decodesTo reports whether s says name. It decodes nothing that it would have to
// store.
func decodesTo(s, name string) bool {
	for s != "" {
		if name == "" {
			return false
		}
		var c byte
		if c, s = decodeByte(s); c != name[0] {
			return false
		}
		name = name[1:]
	}
	return name == ""
}

// Decode returns what the value of an argument says: a plus is a blank, and a percent
// sign that begins no escape stands for itself.
func Decode(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for s != "" {
		var c byte
		c, s = decodeByte(s)
		b.WriteByte(c)
	}
	return b.String()
}

// decodeByte returns the first byte that s says, and what is behind it.
func decodeByte(s string) (byte, string) {
	switch {
	case s[0] == '+':
		return ' ', s[1:]
	case s[0] == '%' && len(s) > 2:
		if high, low := HexDigit(s[1]), HexDigit(s[2]); high >= 0 && low >= 0 {
			return byte(high<<4 | low), s[3:]
		}
	}
	return s[0], s[1:]
}

// HexDigit returns the value of a hexadecimal digit, or -1.
func HexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// Cookie returns the value of the first cookie of a name, without quotes around it.
// Lines are those of the Cookie header field. Unlike net/http, it takes every byte in
// a value, as nginx and browsers do.
func Cookie(lines []string, name string) (value string, ok bool) {
	for _, line := range lines {
		for line != "" {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			if pair = textproto.TrimString(pair); pair == "" {
				continue
			}
			key, value, _ := strings.Cut(pair, "=")
			if textproto.TrimString(key) != name {
				continue
			}
			if n := len(value); n > 1 && value[0] == '"' && value[n-1] == '"' {
				value = value[1 : n-1]
			}
			return value, true
		}
	}
	return "", false
}
