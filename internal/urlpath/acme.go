package urlpath

import "strings"

// ACMEChallenge reports whether a raw path is that of a challenge by which a
// certificate is obtained over plain HTTP (RFC 8555, section 8.3). Only a plain
// path is: "/.well-known/acme-challenge/../secret" is not.
func ACMEChallenge(raw string) bool {
	path, err := Parse(raw)
	return err == nil && path.Plain && strings.HasPrefix(path.Normal, "/.well-known/acme-challenge/")
}
