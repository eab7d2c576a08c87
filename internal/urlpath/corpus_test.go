package urlpath_test

import (
	"math/rand/v2"
	"strings"

	"github.com/sallyport/sallyport/internal/urlpath"
)

// A reading is what comes of a raw path.
type reading struct {
	normal string
	plain  bool
	err    error
}

func plain(normal string) reading   { return reading{normal: normal, plain: true} }
func unplain(normal string) reading { return reading{normal: normal} }
func refused(err error) reading     { return reading{err: err} }

var (
	zero    = urlpath.Options{}
	tail    = urlpath.Options{DeleteTailSlash: true}
	servlet = urlpath.Options{Servlet: true}
	slashes = urlpath.Options{EncodedSlash: true}
)

// where says what differs under some Options.
type where map[urlpath.Options]reading

// The hostile corpus: what a client may send to be taken for another path. It has
// the reading under the zero Options, and that under one option or a combination
// where it is another. What PlainOnly refuses is in the column plain.
var corpus = []struct {
	raw string
	reading
	where where
}{
	{"/", plain("/"), nil},
	{"/a", plain("/a"), nil},
	{"/a/", plain("/a/"), where{tail: unplain("/a")}},
	{"/a/b.c", plain("/a/b.c"), nil},
	{"/caf%C3%A9", plain("/café"), nil},
	{"/caf%C3%A9/", plain("/café/"), where{tail: unplain("/café")}},
	{"/caf\u00e9/", plain("/café/"), where{tail: unplain("/café")}},
	{"/%7Euser", plain("/~user"), nil},
	{"/a%20b", plain("/a b"), nil},
	{"/%61dmin", plain("/admin"), nil},
	{"/a|b{c}^\"<>`", plain("/a|b{c}^\"<>`"), nil},
	{"/a:b@c=d&e+f,g!h$i'(j)*[k]", plain("/a:b@c=d&e+f,g!h$i'(j)*[k]"), nil},

	// Empty segments.
	{"//", unplain("/"), nil},
	{"//admin", unplain("/admin"), nil},
	{"/a//b", unplain("/a/b"), nil},
	{"/a//", unplain("/a/"), where{tail: unplain("/a")}},
	{"/a///b", unplain("/a/b"), nil},
	{"//user@a.test/b", unplain("/user@a.test/b"), nil},
	{"/%2F/a", unplain("/a"), where{slashes: unplain("/%2F/a")}},

	// Dot segments, in every spelling.
	{"/.", unplain("/"), nil},
	{"/./", unplain("/"), nil},
	{"/a/.", unplain("/a/"), where{tail: unplain("/a")}},
	{"/a/./b", unplain("/a/b"), nil},
	{"/a/..", unplain("/"), nil},
	{"/a/../", unplain("/"), nil},
	{"/a/b/../../c", unplain("/c"), nil},
	{"/a/b/../..", unplain("/"), nil},
	{"/public/../admin", unplain("/admin"), nil},
	{"/public/%2e%2e/admin", unplain("/admin"), nil},
	{"/public/.%2E/admin", unplain("/admin"), nil},
	{"/public/%2E./admin", unplain("/admin"), nil},
	{"/public/%2e/admin", unplain("/public/admin"), nil},
	{"/public/.%2e", unplain("/"), nil},
	{"/a//../b", unplain("/b"), nil},
	{"/a/b/c/../../d", unplain("/a/d"), nil},

	// What only looks like one; and what is one to Windows, which takes spaces off
	// the end of a name.
	{"/a.", plain("/a."), nil},
	{"/a../b", plain("/a../b"), nil},
	{"/.well-known/x", plain("/.well-known/x"), nil},
	{"/..a/.b/c..", plain("/..a/.b/c.."), nil},
	{"/...", plain("/..."), nil},
	{"/public/..../admin", plain("/public/..../admin"), nil},
	{"/public/..%20/admin", unplain("/public/.. /admin"), nil},
	{"/public/%20../admin", unplain("/public/ ../admin"), nil},
	{"/public/%20/admin", unplain("/public/ /admin"), nil},
	{"/public/.%20./admin", unplain("/public/. ./admin"), nil},

	// Encoded once more than it seems: decoded once, and not plain.
	{"/public/%252e%252e/admin", unplain("/public/%2e%2e/admin"), nil},
	{"/public/%252e%252e;/admin", unplain("/public/%2e%2e;/admin"), where{servlet: refused(urlpath.ErrEncodedDotParameters)}},
	{"/public/.%252E;x", unplain("/public/.%2E;x"), where{servlet: refused(urlpath.ErrEncodedDotParameters)}},
	{"/public/%252e;x/admin", unplain("/public/%2e;x/admin"), where{servlet: refused(urlpath.ErrEncodedDotParameters)}},
	{"/public/%25252e;x", unplain("/public/%252e;x"), where{servlet: unplain("/public/%252e")}},
	{"/public/..%252fadmin", unplain("/public/..%2fadmin"), where{slashes: refused(urlpath.ErrEncodedSlashTwice)}},
	{"/%2561dmin", unplain("/%61dmin"), nil},
	{"/a%25b", unplain("/a%b"), nil},
	{"/a%25", unplain("/a%"), nil},
	{"/a%252Fb", unplain("/a%2Fb"), where{slashes: refused(urlpath.ErrEncodedSlashTwice)}},
	{"/a%252fb", unplain("/a%2fb"), where{slashes: refused(urlpath.ErrEncodedSlashTwice)}},
	{"/a%25%32%46b", unplain("/a%2Fb"), where{slashes: refused(urlpath.ErrEncodedSlashTwice)}},
	{"/a%252%66b", unplain("/a%2fb"), where{slashes: refused(urlpath.ErrEncodedSlashTwice)}},
	{"/a%2F%252Fb", unplain("/a/%2Fb"), where{slashes: refused(urlpath.ErrEncodedSlashTwice)}},
	{"/a%252F/../b", unplain("/b"), where{slashes: refused(urlpath.ErrEncodedSlashTwice)}},
	{"/a%25252Fb", unplain("/a%252Fb"), nil},
	{"/a%25/2Fb", unplain("/a%/2Fb"), nil},
	{"/a%25%2Fb", unplain("/a%/b"), where{slashes: unplain("/a%%2Fb")}},
	{"/a%252%2Fb", unplain("/a%2/b"), where{slashes: unplain("/a%2%2Fb")}},

	// Encoded slashes.
	{"/a%2Fb", unplain("/a/b"), where{slashes: unplain("/a%2Fb")}},
	{"/a%2fb", unplain("/a/b"), where{slashes: unplain("/a%2Fb")}},
	{"/a%2F", unplain("/a/"), where{
		tail:    unplain("/a"),
		slashes: unplain("/a%2F"),
		{DeleteTailSlash: true, EncodedSlash: true}: unplain("/a%2F"),
	}},
	{"/%2F", unplain("/"), where{slashes: unplain("/%2F")}},
	{"/a/%2F%2fb/", unplain("/a/b/"), where{
		tail:    unplain("/a/b"),
		slashes: unplain("/a/%2F%2Fb/"),
		{DeleteTailSlash: true, EncodedSlash: true}: unplain("/a/%2F%2Fb"),
	}},
	{"/a%2f../admin", unplain("/admin"), where{slashes: refused(urlpath.ErrEncodedSlashDot)}},
	{"/a/b%2fc/../d", unplain("/a/b/d"), where{slashes: unplain("/a/d")}},
	{"/public%2f..%2fadmin", unplain("/admin"), where{slashes: refused(urlpath.ErrEncodedSlashDot)}},
	{"/public/..%2fadmin", unplain("/admin"), where{slashes: refused(urlpath.ErrEncodedSlashDot)}},
	{"/public%2f%2e%2e%2fadmin", unplain("/admin"), where{slashes: refused(urlpath.ErrEncodedSlashDot)}},
	{"/public/%2e%2F", unplain("/public/"), where{
		tail:    unplain("/public"),
		slashes: refused(urlpath.ErrEncodedSlashDot),
	}},
	{"/a/%2f%2e%2e%2f", unplain("/"), where{slashes: refused(urlpath.ErrEncodedSlashDot)}},
	{"/a%2F..b", unplain("/a/..b"), where{slashes: unplain("/a%2F..b")}},

	// Backslashes.
	{"/a%5cb", unplain(`/a\b`), nil},
	{`/a\b`, unplain(`/a\b`), nil},
	{`/public\..\admin`, unplain(`/public\..\admin`), nil},
	{"/public/..%5Cadmin", unplain(`/public/..\admin`), nil},
	{`/\a`, unplain(`/\a`), nil},
	{`/\/`, unplain(`/\/`), where{tail: unplain(`/\`)}},
	{"/a%255c..", unplain("/a%5c.."), nil},

	// Parameters, to servlet containers.
	{"/public/..;/admin", unplain("/public/..;/admin"), where{servlet: refused(urlpath.ErrDotParameters)}},
	{"/public/..;x/admin", unplain("/public/..;x/admin"), where{servlet: refused(urlpath.ErrDotParameters)}},
	{"/public/..;", unplain("/public/..;"), where{servlet: refused(urlpath.ErrDotParameters)}},
	{"/public/.;/admin", unplain("/public/.;/admin"), where{servlet: refused(urlpath.ErrDotParameters)}},
	{"/public/.;x/admin", unplain("/public/.;x/admin"), where{servlet: refused(urlpath.ErrDotParameters)}},
	{"/public/%2e%2E;x/admin", unplain("/public/..;x/admin"), where{servlet: refused(urlpath.ErrDotParameters)}},
	{"/public/.%2e;x/admin", unplain("/public/..;x/admin"), where{servlet: refused(urlpath.ErrDotParameters)}},
	{"/public/%2e;/admin", unplain("/public/.;/admin"), where{servlet: refused(urlpath.ErrDotParameters)}},
	{"/..;/a", unplain("/..;/a"), where{servlet: refused(urlpath.ErrDotParameters)}},
	{"/a%2F..;x/b", unplain("/a/..;x/b"), where{
		servlet:                             refused(urlpath.ErrDotParameters),
		slashes:                             unplain("/a%2F..;x/b"),
		{Servlet: true, EncodedSlash: true}: refused(urlpath.ErrEncodedSlashDot),
	}},
	{"/a%2F%252e;x", unplain("/a/%2e;x"), where{
		servlet:                             refused(urlpath.ErrEncodedDotParameters),
		slashes:                             unplain("/a%2F%2e;x"),
		{Servlet: true, EncodedSlash: true}: unplain("/a%2F%2e"),
	}},
	{"/public;x=/../admin", unplain("/admin"), nil},
	{"/a;b", unplain("/a;b"), where{servlet: unplain("/a")}},
	{"/a;b/c", unplain("/a;b/c"), where{servlet: unplain("/a/c")}},
	{"/a;b/../c", unplain("/c"), nil},
	{"/a;b=c;d;/e;/", unplain("/a;b=c;d;/e;/"), where{
		tail:                                   unplain("/a;b=c;d;/e;"),
		servlet:                                unplain("/a/e/"),
		{DeleteTailSlash: true, Servlet: true}: unplain("/a/e"),
	}},
	{"/;", unplain("/;"), where{servlet: unplain("/")}},
	{"/;/", unplain("/;/"), where{tail: unplain("/;"), servlet: refused(urlpath.ErrEmptyParameters)}},
	{"/;/admin", unplain("/;/admin"), where{servlet: refused(urlpath.ErrEmptyParameters)}},
	{"/public/;x/admin", unplain("/public/;x/admin"), where{servlet: refused(urlpath.ErrEmptyParameters)}},
	{"//;x/admin", unplain("/;x/admin"), where{servlet: refused(urlpath.ErrEmptyParameters)}},
	{"/a/;x", unplain("/a/;x"), where{
		servlet:                                unplain("/a/"),
		{DeleteTailSlash: true, Servlet: true}: unplain("/a"),
	}},
	{"/a%2F;x/b", unplain("/a/;x/b"), where{
		servlet:                             refused(urlpath.ErrEmptyParameters),
		slashes:                             unplain("/a%2F;x/b"),
		{Servlet: true, EncodedSlash: true}: unplain("/a%2F/b"),
	}},
	{"/a%3bb", unplain("/a;b"), nil},
	{"/%3b/", unplain("/;/"), where{tail: unplain("/;")}},
	{"/public/..%3b/admin", unplain("/public/..;/admin"), nil},
	{"/public/..%253b/admin", unplain("/public/..%3b/admin"), nil},
	{"/a%3Bb;c", unplain("/a;b;c"), where{servlet: unplain("/a;b")}},
	{"/a;b%2Fc/d", unplain("/a;b/c/d"), where{
		servlet:                             unplain("/a/d"),
		slashes:                             unplain("/a;b%2Fc/d"),
		{Servlet: true, EncodedSlash: true}: unplain("/a/d"),
	}},
	{"/public;%2f..%2f..%2fadmin/b", refused(urlpath.ErrAboveRoot), where{
		servlet:                             unplain("/public/b"),
		slashes:                             refused(urlpath.ErrEncodedSlashDot),
		{Servlet: true, EncodedSlash: true}: unplain("/public/b"),
	}},
	{"/a;%252f/b", unplain("/a;%2f/b"), where{
		servlet:                             unplain("/a/b"),
		slashes:                             refused(urlpath.ErrEncodedSlashTwice),
		{Servlet: true, EncodedSlash: true}: unplain("/a/b"),
	}},
	{"/a;%zz", refused(urlpath.ErrEscape), nil},
	{"/a;%00/b", refused(urlpath.ErrControl), nil},
	{"/...;/a", unplain("/...;/a"), where{servlet: unplain("/.../a")}},

	// Other encoded bytes that are reserved.
	{"/a%3fb", unplain("/a?b"), nil},
	{"/a%3F/../b", unplain("/b"), nil},
	{"/a%23b", unplain("/a#b"), nil},
	{"/a%23/../b", unplain("/b"), nil},
	{"/a%3Ab", unplain("/a:b"), nil},
	{"/a%2Cb", unplain("/a,b"), nil},
	{"/a%2Bb", unplain("/a+b"), nil},
	{"/a+b", plain("/a+b"), nil},

	// Control characters, overlong forms, and forms that are compatible with
	// ASCII.
	{"/a%0d%0ab", unplain("/a\r\nb"), nil},
	{"/public/..%09/admin", unplain("/public/..\t/admin"), nil},
	{"/public/..%0a/admin", unplain("/public/..\n/admin"), nil},
	{"/a%7f", unplain("/a\x7f"), nil},
	{"/a%c0%afb", unplain("/a\xc0\xafb"), nil},
	{"/a\xc0\xafb", unplain("/a\xc0\xafb"), nil},
	{"/a\xc0%afb", unplain("/a\xc0\xafb"), nil},
	{"/a%e0%80%afb", unplain("/a\xe0\x80\xafb"), nil},
	{"/%c0%ae%c0%ae/admin", unplain("/\xc0\xae\xc0\xae/admin"), nil},
	{"/%c0%2e/admin", unplain("/\xc0./admin"), nil},
	{"/%f0%80%80%ae/admin", unplain("/\xf0\x80\x80\xae/admin"), nil},
	{"/%25c0%25ae/admin", unplain("/%c0%ae/admin"), nil},
	{"/%ed%a0%80", unplain("/\xed\xa0\x80"), nil},
	{"/%ff", unplain("/\xff"), nil},
	{"/\xff", unplain("/\xff"), nil},
	{"/public/%ef%bc%8e%ef%bc%8e/admin", unplain("/public/．．/admin"), nil},
	{"/public/．．/admin", unplain("/public/．．/admin"), nil},
	{"/public%ef%bc%8fadmin", unplain("/public／admin"), nil},
	{"/public/..＼admin", unplain("/public/..＼admin"), nil},
	{"/public/‥/admin", unplain("/public/‥/admin"), nil},
	{"/public/\u037e", unplain("/public/\u037e"), nil},
	{"/public∕admin", unplain("/public∕admin"), nil},
	{"/%E2%80%AE", plain("/\u202e"), nil},
	{"/\xe2\x80\xae", plain("/\u202e"), nil},
	{"/日本/%e6%9c%ac", plain("/日本/本"), nil},
	{"/%ef%bf%bd", plain("/\ufffd"), nil},

	// Very long.
	{strings.Repeat("/a", 4000), plain(strings.Repeat("/a", 4000)), nil},
	{strings.Repeat("/%61", 4000), plain(strings.Repeat("/a", 4000)), nil},
	{strings.Repeat("/a", 500) + strings.Repeat("/..", 500), unplain("/"), nil},
	{strings.Repeat("/a", 500) + strings.Repeat("/..", 501), refused(urlpath.ErrAboveRoot), nil},
	{strings.Repeat("/./", 4000) + "a", unplain("/a"), nil},
	{strings.Repeat("/", 9000), unplain("/"), nil},

	// Refused.
	{"", refused(urlpath.ErrNotAbsolute), nil},
	{"*", refused(urlpath.ErrNotAbsolute), nil},
	{"a/b", refused(urlpath.ErrNotAbsolute), nil},
	{".", refused(urlpath.ErrNotAbsolute), nil},
	{`\a`, refused(urlpath.ErrNotAbsolute), nil},
	{";/a", refused(urlpath.ErrNotAbsolute), nil},
	{"%2fa", refused(urlpath.ErrNotAbsolute), nil},
	{"/%", refused(urlpath.ErrEscape), nil},
	{"/%4", refused(urlpath.ErrEscape), nil},
	{"/a/%2", refused(urlpath.ErrEscape), nil},
	{"/%zz", refused(urlpath.ErrEscape), nil},
	{"/%4g", refused(urlpath.ErrEscape), nil},
	{"/%g4", refused(urlpath.ErrEscape), nil},
	{"/%%32%65", refused(urlpath.ErrEscape), nil},
	{"/%u002e%u002e/admin", refused(urlpath.ErrEscape), nil},
	{"/%U002e", refused(urlpath.ErrEscape), nil},
	{"/% 2e", refused(urlpath.ErrControl), nil},
	{"/a%00b", refused(urlpath.ErrControl), nil},
	{"/a/..%00/b", refused(urlpath.ErrControl), nil},
	{"/a/..%00", refused(urlpath.ErrControl), nil},
	{"/a\x00b", refused(urlpath.ErrControl), nil},
	{"/a\tb", refused(urlpath.ErrControl), nil},
	{"/a\nb", refused(urlpath.ErrControl), nil},
	{"/a\r\nb", refused(urlpath.ErrControl), nil},
	{"/\x1b[2J", refused(urlpath.ErrControl), nil},
	{"/a b", refused(urlpath.ErrControl), nil},
	{"/a\x7f", refused(urlpath.ErrControl), nil},
	{"/a#b", refused(urlpath.ErrFragment), nil},
	{"/public#/../admin", refused(urlpath.ErrFragment), nil},
	{"/a?b", refused(urlpath.ErrQuery), nil},
	{"/..", refused(urlpath.ErrAboveRoot), nil},
	{"/../a", refused(urlpath.ErrAboveRoot), nil},
	{"/a/../..", refused(urlpath.ErrAboveRoot), nil},
	{"/a/../../b", refused(urlpath.ErrAboveRoot), nil},
	{"/a/b/../../..", refused(urlpath.ErrAboveRoot), nil},
	{"/%2e%2e/a", refused(urlpath.ErrAboveRoot), nil},
	{"/./../a", refused(urlpath.ErrAboveRoot), nil},
	{"//../a", refused(urlpath.ErrAboveRoot), nil},
	{"/a/..//../b", refused(urlpath.ErrAboveRoot), nil},
	{"/%2f%2e%2e%2f", refused(urlpath.ErrAboveRoot), where{slashes: refused(urlpath.ErrEncodedSlashDot)}},
	{"/..%2f..%2fetc%2fpasswd", refused(urlpath.ErrAboveRoot), where{slashes: refused(urlpath.ErrEncodedSlashDot)}},
}

// hostilePaths returns random paths, the same each time, of pieces that hostile
// ones are made of.
func hostilePaths(n int) (paths []string) {
	pieces := []string{
		"/", "/", "/", ".", "..", "/.", "/..", "/../", "/./", "//", "...", "%2e", "%2E", "%2e%2e", "%2F", "%2f", ";", "..;", "/;", "%3b", `\`, "%5c",
		"a", "b", "a", "/a/", "/b", "a/b/c/d", "%61", "%25", "%252e", "%252F", "2F", "%3F", "%23", "+", "%2B", "%20", "%0a", "%7f", "%80", "%c0%ae", "%C3%A9", "é",
		"．", "\xff", "|", "~", ":", "@", "&", "=",
	}
	rare := []string{"%", "%2", "%zz", "%00", "%u002e", "#", "\x00", "\t", "\x7f", "\x80", "?"}
	random := rand.New(rand.NewPCG(1, 2))
	for range n {
		path := strings.Repeat("/a", random.IntN(3)) + "/"
		for range 1 + random.IntN(9) {
			if random.IntN(60) == 0 {
				path += rare[random.IntN(len(rare))]
			} else {
				path += pieces[random.IntN(len(pieces))]
			}
		}
		paths = append(paths, path)
	}
	return paths
}
