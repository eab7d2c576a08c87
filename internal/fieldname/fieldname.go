// Package fieldname compares the names of header fields as readers do that only know
// letters and digits. To CGI, WSGI and Rack, "-" and "_" are the same; to some, so is "."
// or every other byte. A header that is filtered under one spelling and read under another
// is not filtered (CVE-2026-54763, CVE-2025-64484).
package fieldname

// Fold returns the form in which names are compared: lower case, and "-" for all that
// is neither a letter nor a digit.
func Fold(name string) string { return string(AppendFold(nil, name)) }

// AppendFold appends the folded name to dst.
func AppendFold(dst []byte, name string) []byte {
	for i := range len(name) {
		dst = append(dst, FoldByte(name[i]))
	}
	return dst
}

// Is reports whether a name is, folded, the given one. It allocates nothing.
func Is(name, folded string) bool {
	return len(name) == len(folded) && HasPrefix(name, folded)
}

// HasPrefix is [Is] for the beginning of a name.
func HasPrefix(name, folded string) bool {
	if len(name) < len(folded) {
		return false
	}
	for i := range len(folded) {
		if FoldByte(name[i]) != folded[i] {
			return false
		}
	}
	return true
}

// IsPlain reports whether a name consists of letters, digits and "-" only, so that every
// reader reads it as the same name.
func IsPlain(name string) bool {
	for i := range len(name) {
		if c := name[i]; c != '-' && FoldByte(c) == '-' {
			return false
		}
	}
	return true
}

// FoldByte returns the form of one byte of a name.
func FoldByte(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c | 0x20
	case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
		return c
	default:
		return '-'
	}
}
