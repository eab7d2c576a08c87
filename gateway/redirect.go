package gateway

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/internal/urlpath"
)

// toHTTPS sends a client from plain HTTP to where the same is served over TLS.
var toHTTPS = &denial{status: http.StatusPermanentRedirect, message: "this is served over https"}

// redirects reports whether a request over plain HTTP is sent to https, rather than
// judged by the guard's rule for plain HTTP.
func (s *Server) redirects(d *decision) bool {
	return s.o.PlainHTTP == PlainRedirect &&
		d.header.from.scheme != "https" && // or a proxy that speaks TLS for the gateway would send the client round and round
		!urlpath.ACMEChallenge(d.path.Guard()) &&
		d.snap.ssl.Lookup(d.req.Host) != nil // or it would be sent to where the handshake fails
}

// redirect answers a request with where it is served over TLS: its own target, at a host
// that is one of the configuration's names. So it leads nowhere else, whatever the client
// writes.
func (s *Server) redirect(w http.ResponseWriter, r *http.Request, d *decision) {
	b := append([]byte("https://"), d.req.Host...)
	if port := s.o.HTTPSPort; port != 0 && port != 443 {
		b = append(b, ':')
		b = strconv.AppendInt(b, int64(port), 10)
	}
	b = appendEscaped(b, d.path.Raw)
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		b = append(b, '?')
		b = appendEscaped(b, r.URL.RawQuery)
	}
	w.Header().Set("Location", string(b))
	s.answer(w, r, toHTTPS.status, toHTTPS.message)
}

// appendEscaped appends a part of a request target, of which it percent-encodes what
// clients may send and no URI can have (RFC 3986, section 2).
func appendEscaped(b []byte, s string) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			b = append(b, '%', digits[c>>4], digits[c&15])
		} else {
			b = append(b, c)
		}
	}
	return b
}
