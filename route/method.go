package route

import (
	"fmt"
	"net/http"
	"strings"
)

// methodBits is a set of methods with a bit for each of the usual ones, so that a
// request is compared with many routes at the cost of one.
type methodBits uint16

// unusual is the bit of every method that methodBit does not name. Only a route
// that takes all methods has it.
const unusual methodBits = 1 << 15

// anyMethod are the bits of a route without Methods.
const anyMethod methodBits = 1<<16 - 1

// methodBit returns the bit of a method. Methods are case-sensitive (RFC 9110,
// section 9.1).
func methodBit(method string) methodBits {
	switch method {
	case http.MethodGet:
		return 1 << 0
	case http.MethodHead:
		return 1 << 1
	case http.MethodPost:
		return 1 << 2
	case http.MethodPut:
		return 1 << 3
	case http.MethodPatch:
		return 1 << 4
	case http.MethodDelete:
		return 1 << 5
	case http.MethodOptions:
		return 1 << 6
	case http.MethodConnect:
		return 1 << 7
	case http.MethodTrace:
		return 1 << 8
	default:
		return unusual
	}
}

// parseMethods returns the bits of configured methods, and those that have none.
func parseMethods(methods []string) (usual methodBits, others []string) {
	if len(methods) == 0 {
		return anyMethod, nil
	}
	for _, m := range methods {
		if bit := methodBit(m); bit != unusual {
			usual |= bit
		} else {
			others = append(others, m)
		}
	}
	return usual, others
}

// usualMethods are the methods that have a bit.
var usualMethods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
	http.MethodDelete, http.MethodOptions, http.MethodConnect, http.MethodTrace,
}

// methodNames returns the methods that a route takes, if it does not take all.
func (r *Route) methodNames() (names []string) {
	for _, m := range usualMethods {
		if r.methods&methodBit(m) != 0 {
			names = append(names, m)
		}
	}
	return append(names, r.unusual...)
}

// checkMethod checks a configured method.
func checkMethod(m string) error {
	switch {
	case m == "":
		return fmt.Errorf(`%q is no method`, m)
	case m == "*":
		return fmt.Errorf("%q is no method: leave Methods empty to take every one", m)
	case strings.ContainsFunc(m, func(c rune) bool { return !isTokenRune(c) }):
		return fmt.Errorf("%q is no method: it has a character that RFC 9110, section 5.6.2, does not allow", m)
	case m != strings.ToUpper(m):
		return fmt.Errorf("%q is not in upper case, and methods are case-sensitive: write %q", m, strings.ToUpper(m))
	}
	return nil
}

func isTokenRune(c rune) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		strings.ContainsRune("!#$%&'*+-.^_`|~", c)
}
