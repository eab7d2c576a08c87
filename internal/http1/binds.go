package http1

// Binds reports whether the values of an Authorization or WWW-Authenticate field are of a scheme
// that authenticates a connection and not a request (RFC 4559, section 6): to the server,
// whatever comes next over the connection may be from the same client.
func Binds(values []string) bool {
	for _, value := range values {
		if binds(value) {
			return true
		}
	}
	return false
}

func binds[T string | []byte](value T) bool {
	for len(value) > 0 {
		var credentials T
		credentials, value = nextOption(value)
		end := 0
		for end < len(credentials) && !blank(credentials[end]) {
			end++
		}
		if scheme := credentials[:end]; is(scheme, "ntlm") || is(scheme, "negotiate") {
			return true
		}
	}
	return false
}
