package route

import (
	"errors"
	"fmt"
)

// Options say how a [Table] finds routes. They are APISIX's, with its defaults. A nil
// *Options and a zero Options mean the same.
type Options struct {
	// Router says whether the host or the path comes first, and whether paths have parameters.
	// Zero is [RouterHostURI].
	Router Router

	// Paths say how the path of a request is read.
	Paths PathOptions
}

// PathOptions say how the path of a request is normalised for matching. They do not change
// what is forwarded: that is the path as it came.
type PathOptions struct {
	// DeleteTailSlash matches "/a/" as "/a" (APISIX's delete_uri_tail_slash). The path "/"
	// stays as it is.
	DeleteTailSlash bool

	// Servlet removes the parameters that servlet containers accept in segments before
	// matching: "/a;b=c/d" is matched as "/a/d" (APISIX's normalize_uri_like_servlet). A dot
	// segment with parameters is refused.
	Servlet bool

	// EncodedSlash keeps "%2F" in the path that is matched, where it does not separate segments
	// (APISIX's match_uri_encoded_slash). Otherwise, it is a slash like any other.
	EncodedSlash bool

	// PlainOnly refuses every path that an origin may read differently from how it is matched:
	// with dot segments, empty segments, a backslash, a semicolon, or an encoded byte that is
	// reserved. It is for origins that make part of a decision of which the route makes the
	// other part.
	PlainOnly bool
}

// An optionError says which field of [Options] is wrong and why.
type optionError struct {
	field string
	err   error
}

// Error implements error.
func (e *optionError) Error() string { return fmt.Sprintf("route: Options.%s: %v", e.field, e.err) }

// Unwrap returns the reason.
func (e *optionError) Unwrap() error { return e.err }

// FieldPath returns the field, for those who have these options among their own.
func (e *optionError) FieldPath() string { return e.field }

// check joins an *optionError for each fault.
func (o *Options) check() error {
	if !o.Router.valid() {
		return errors.Join(&optionError{"Router", fmt.Errorf("%v is no router", o.Router)})
	}
	return nil
}

// A Router says how routes are looked up: by host first, or by path alone.
type Router int

// The routers of APISIX.
const (
	// RouterHostURI looks up the host first, and then the path among its routes
	// (radixtree_host_uri).
	RouterHostURI Router = iota

	// RouterURI looks up the path alone; the host is a condition, like the method
	// (radixtree_uri).
	RouterURI

	// RouterURIWithParameter is RouterURI with parameters in paths: "/user/:id"
	// (radixtree_uri_with_parameter).
	RouterURIWithParameter
)

var routerNames = []string{"host_uri", "uri", "uri_with_parameter"}

func (r Router) valid() bool { return r >= 0 && int(r) < len(routerNames) }

// String returns APISIX's name without "radixtree_": host_uri, uri or
// uri_with_parameter.
func (r Router) String() string {
	if !r.valid() {
		return fmt.Sprintf("Router(%d)", int(r))
	}
	return routerNames[r]
}

// MarshalText implements [encoding.TextMarshaler]. It returns what String does.
func (r Router) MarshalText() ([]byte, error) {
	if !r.valid() {
		return nil, fmt.Errorf("route: %v is no router", r)
	}
	return []byte(r.String()), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler], for [flag.TextVar] and configuration
// files. It accepts what String returns.
func (r *Router) UnmarshalText(text []byte) error {
	for i, name := range routerNames {
		if name == string(text) {
			*r = Router(i)
			return nil
		}
	}
	return fmt.Errorf("route: %q is none of host_uri, uri and uri_with_parameter", text)
}

// byHost reports whether routes are looked for by their host first.
func (r Router) byHost() bool { return r == RouterHostURI }

// parameters reports whether ":name" is a parameter.
func (r Router) parameters() bool { return r == RouterURIWithParameter }
