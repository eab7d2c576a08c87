package gateway

import "github.com/sallyport/sallyport/internal/accept"

// prefersText reports whether a client, by its Accept (RFC 9110, section 12.5.1), would
// rather read text than JSON. Who asks for HTML is a person with a browser, which shows
// text, and to which nobody here writes HTML. Who has no preference gets JSON, as from
// APISIX.
func prefersText(header string) bool {
	if header == "" {
		return false
	}
	return max(accept.Quality(header, "text", "plain"), accept.Quality(header, "text", "html")) > accept.Quality(header, "application", "json")
}
