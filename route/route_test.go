package route_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/route"
)

// Every fault that a Config can have alone, and what is said about it.
func TestNewRefuses(t *testing.T) {
	valid := route.Config{ID: "r", Paths: []string{"/"}, Upstream: "u"}
	_, err := route.New(valid)
	require.NoError(t, err)

	host := func(s ...string) func(*route.Config) { return func(c *route.Config) { c.Hosts = s } }
	path := func(s ...string) func(*route.Config) { return func(c *route.Config) { c.Paths = s } }
	addr := func(s ...string) func(*route.Config) { return func(c *route.Config) { c.RemoteAddrs = s } }
	method := func(s ...string) func(*route.Config) { return func(c *route.Config) { c.Methods = s } }
	timeout := func(c, s, r time.Duration) func(*route.Config) {
		return func(cfg *route.Config) { cfg.Timeout = route.Timeout{Connect: c, Send: s, Read: r} }
	}
	for _, c := range []struct {
		change func(*route.Config)
		field  string
		text   string
	}{
		{func(c *route.Config) { c.ID = "" }, "ID", `is required`},

		{host(""), "Hosts[0]", `"": is empty`},
		{host("*."), "Hosts[0]", `"*.": is empty`},
		{host("a.test", "a.*.test"), "Hosts[1]", `"a.*.test": a star must be the first character, as in "*.example.com"`},
		{host("a.test:"), "Hosts[0]", `"a.test:": "" is no port`},
		{host("a.test:0"), "Hosts[0]", `"a.test:0": "0" is no port`},
		{host("a.test:65536"), "Hosts[0]", `"a.test:65536": "65536" is no port`},
		{host("a.test:http"), "Hosts[0]", `"a.test:http": must be a name alone, without scheme, port or path`},
		{host("a.test:80:80"), "Hosts[0]", `"a.test:80:80": must be a name alone, without scheme, port or path`},
		{host("::1"), "Hosts[0]", `"::1": must be a name alone, without scheme, port or path`},
		{host("http://a.test"), "Hosts[0]", `"http://a.test": must be a name alone, without scheme, port or path`},
		{host("a.test/x"), "Hosts[0]", `"a.test/x": must be a name alone, without scheme, port or path`},
		{host("ü.test"), "Hosts[0]", `"ü.test": has bytes beyond ASCII: write its "xn--" form`},
		{host("a.test", "A.test."), "Hosts[1]", `"A.test." is there twice`},
		{host("a.test:080", "A.test.:80"), "Hosts[1]", `"A.test.:80" is there twice`},

		{func(c *route.Config) { c.Hosts, c.Paths = numbered("h%d.test", 317), numbered("/%d", 316) }, "Hosts", `317 hosts with 316 paths each are over 100000 places: make several routes of it`},

		{addr("x"), "RemoteAddrs[0]", `"x" is no IPv4 or IPv6 address, nor a range such as 10.0.0.0/8`},
		{addr("10.0.0.1", "10.0.0.1:80"), "RemoteAddrs[1]", `"10.0.0.1:80" is no IPv4 or IPv6 address, nor a range such as 10.0.0.0/8`},
		{addr("10.0.0.0/33"), "RemoteAddrs[0]", `"10.0.0.0/33" is no range in CIDR notation, such as 10.0.0.0/8`},
		{addr("::ffff:10.0.0.0/95"), "RemoteAddrs[0]", `"::ffff:10.0.0.0/95" is more than the IPv4 addresses, which it writes as IPv6`},
		{addr("fe80::1%eth0"), "RemoteAddrs[0]", `"fe80::1%eth0" has a zone, which is one of this machine alone`},

		{func(c *route.Config) { c.AllowPlain, c.RequireIdentity = true, true }, "AllowPlain", `is set, and RequireIdentity too: no client over plain HTTP has an identity`},

		{path(), "Paths", `at least one is required: "/*" is every path`},
		{path(""), "Paths[0]", `is empty: "/*" is every path`},
		{path("a"), "Paths[0]", `"a" does not begin with a slash, as every path does`},
		{path("a*"), "Paths[0]", `"a*" does not begin with a slash, as every path does`},
		{path("http://a.test/"), "Paths[0]", `"http://a.test/" does not begin with a slash, as every path does`},
		{path("/a?b=c"), "Paths[0]", `"/a?b=c" has a query, which is no part of the path: write "/a"`},
		{path("/a?b=*"), "Paths[0]", `"/a?b=*" has a query, which is no part of the path: write "/a"`},
		{path("/a%20b"), "Paths[0]", `"/a%20b" is percent-encoded, and is compared with the decoded path: write "/a b"`},
		{path("/a%2fb/%2E%2e/*"), "Paths[0]", `"/a%2fb/%2E%2e/*" is percent-encoded, and is compared with the decoded path: write "/a/*"`},
		{path("/a%2520"), "Paths[0]", `"/a%2520" is percent-encoded, and is compared with the decoded path`},
		{path("/a%3fb"), "Paths[0]", `"/a%3fb" is percent-encoded, and is compared with the decoded path`},
		{path("/a%00"), "Paths[0]", `"/a%00" is percent-encoded, and is compared with the decoded path`},
		{path("/%%41%"), "Paths[0]", `"/%%41%" is percent-encoded, and is compared with the decoded path`},
		{path("//"), "Paths[0]", `"//" has an empty or a dot segment, and is compared with a path that has none: write "/"`},
		{path("/a//b"), "Paths[0]", `"/a//b" has an empty or a dot segment, and is compared with a path that has none: write "/a/b"`},
		{path("/a//*"), "Paths[0]", `"/a//*" has an empty or a dot segment, and is compared with a path that has none: write "/a/*"`},
		{path("/a//b*"), "Paths[0]", `"/a//b*" has an empty or a dot segment, and is compared with a path that has none: write "/a/b*"`},
		{path("/a/./b"), "Paths[0]", `"/a/./b" has an empty or a dot segment, and is compared with a path that has none: write "/a/b"`},
		{path("/a/.."), "Paths[0]", `"/a/.." has an empty or a dot segment, and is compared with a path that has none: write "/"`},
		{path("/a/b/../*"), "Paths[0]", `"/a/b/../*" has an empty or a dot segment, and is compared with a path that has none: write "/a/*"`},
		{path("/.."), "Paths[0]", `"/.." fits no path: it leads above the root or has a NUL`},
		{path("/../*"), "Paths[0]", `"/../*" fits no path: it leads above the root or has a NUL`},
		{path("/a\x00"), "Paths[0]", `"/a\x00" fits no path: it leads above the root or has a NUL`},
		{path("/", "/a", "/"), "Paths[2]", `"/" is there twice`},

		{method("GET", ""), "Methods[1]", `"" is no method`},
		{method("*"), "Methods[0]", `"*" is no method: leave Methods empty to take every one`},
		{method("get"), "Methods[0]", `"get" is not in upper case, and methods are case-sensitive: write "GET"`},
		{method("GET, POST"), "Methods[0]", `"GET, POST" is no method: it has a character that RFC 9110, section 5.6.2, does not allow`},
		{method("GÉT"), "Methods[0]", `"GÉT" is no method: it has a character that RFC 9110, section 5.6.2, does not allow`},
		{method("GET", "PURGE", "GET"), "Methods[2]", `"GET" is there twice`},

		{func(c *route.Config) { c.Upstream = "" }, "Upstream", `either this or Handler must be set`},
		{func(c *route.Config) { c.Upstream, c.Handler = "", http.HandlerFunc(nil) }, "Upstream", `either this or Handler must be set`},
		{func(c *route.Config) { c.Handler = http.NotFoundHandler() }, "Upstream", `"u" is set, and Handler too: a route has one target`},

		{timeout(-1, 1, 1), "Timeout.Connect", `is -1ns, and must not be negative`},
		{timeout(1, -time.Second, 1), "Timeout.Send", `is -1s, and must not be negative`},
		{timeout(1, 0, -1), "Timeout.Read", `is -1ns, and must not be negative`},
	} {
		cfg := valid
		c.change(&cfg)
		r, err := route.New(cfg)
		require.Nil(t, r, "%+v", cfg)
		var fault *route.ConfigError
		require.ErrorAs(t, err, &fault, "%+v", cfg)
		require.Equal(t, cfg.ID, fault.ID)
		require.Equal(t, c.field, fault.FieldPath(), "%+v", cfg)
		require.EqualError(t, fault.Err, c.text)
		require.Equal(t, fault.Err, errors.Unwrap(fault))
		require.Len(t, faults(err), 1, "%+v: %v", cfg, err)
	}
}

// numbered returns so many strings of a format.
func numbered(format string, n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf(format, i))
	}
	return list
}

// faults returns the parts of a joined error.
func faults(err error) []error {
	return err.(interface{ Unwrap() []error }).Unwrap()
}

func TestNewReportsEveryFault(t *testing.T) {
	_, err := route.New(route.Config{
		Hosts:   []string{"a.test:x", "b.test", "a b"},
		Paths:   []string{"x", "/y//z"},
		Methods: []string{"get", "PUT", "PUT"},
		Timeout: route.Timeout{Connect: -1, Send: -1, Read: -1},
	})
	var fields []string
	for _, f := range faults(err) {
		var fault *route.ConfigError
		require.ErrorAs(t, f, &fault)
		fields = append(fields, fault.Field)
	}
	require.Equal(t, []string{
		"ID", "Hosts[0]", "Hosts[2]", "Paths[0]", "Paths[1]", "Methods[0]", "Methods[2]", "Upstream",
		"Timeout.Connect", "Timeout.Send", "Timeout.Read",
	}, fields)
}

// What looks like a mistake and is none.
func TestNewAccepts(t *testing.T) {
	for _, path := range []string{
		"*", "/", "/*", "/a*", "/a/*", "/.*", "/..*", "/a/.*", "/a/..*", "/...", "/.a", "/a.", "/a..",
		"**", "*.php", "/a/*/b", "/a/*/b*", "/*name", "/user/:id", "/a/:/:b/c*", "/a%2Fb", "/a/..*/b", "*/..b",
		"/file:list", "/:", "/a/:/b", "/100%", "/%zz", "/a%4", "/a%4*", "/a b", "/a\tb", "/c#", `/a\b`, "/a;b=c", "/\xff", "/é",
		"/" + strings.Repeat("a", 1<<16),
	} {
		_, err := route.New(route.Config{ID: "r", Paths: []string{path}, Upstream: "u"})
		require.NoError(t, err, "%q", path)
	}
	for _, host := range []string{"*", "a.test", "*.a.test", "*a.test", "A.TEST.", "localhost", "10.0.0.1", "[::1]", "a_b", "a.test:80", "*.A.test:0443", "[::1]:80", "*:65535"} {
		_, err := route.New(route.Config{ID: "r", Hosts: []string{host}, Paths: []string{"/"}, Upstream: "u"})
		require.NoError(t, err, "%q", host)
	}
	for _, method := range []string{"GET", "PURGE", "VERSION-CONTROL", "M-SEARCH", "X!", "0"} {
		_, err := route.New(route.Config{ID: "r", Paths: []string{"/"}, Methods: []string{method}, Upstream: "u"})
		require.NoError(t, err, "%q", method)
	}
}

func TestRoute(t *testing.T) {
	c := route.Config{
		ID:         "r",
		Hosts:      []string{"a.test"},
		Paths:      []string{"/a"},
		Methods:    []string{"GET", "PURGE"},
		Priority:   7,
		Upstream:   "u",
		AllowPlain: true,
		WebSocket:  true,
		Timeout:    route.Timeout{Connect: 1, Send: 2, Read: 3},
	}
	r, err := route.New(c)
	require.NoError(t, err)

	// What happens to the Config later is nothing to the Route.
	c.Hosts[0], c.Paths[0], c.Methods[0], c.Methods[1] = "x.test", "/x", "PUT", "PUT"
	c.Timeout.Connect = 0
	table := new(route.Table).With(r)
	require.Same(t, r, table.Match(&route.Request{Method: "GET", Host: "a.test", Path: "/a"}).Route)
	require.Same(t, r, table.Match(&route.Request{Method: "PURGE", Host: "a.test", Path: "/a"}).Route)

	require.Equal(t, "r", r.ID())
	require.False(t, r.EveryHost())
	require.Equal(t, 7, r.Priority())
	require.Equal(t, "u", r.Upstream())
	require.Nil(t, r.Handler())
	require.True(t, r.AllowPlain())
	require.True(t, r.WebSocket())
	require.Equal(t, route.Timeout{Connect: 1, Send: 2, Read: 3}, r.Timeout())

	require.False(t, r.RequireIdentity())
	require.Nil(t, r.Authorize())

	r = mustNew(t, route.Config{ID: "s", Paths: []string{"/"}, Handler: http.NotFoundHandler(), RequireIdentity: true, Authorize: func(context.Context, *route.AuthorizeRequest) error { return errors.ErrUnsupported }})
	require.True(t, r.RequireIdentity())
	require.ErrorIs(t, r.Authorize()(t.Context(), nil), errors.ErrUnsupported)
	require.True(t, r.EveryHost())
	require.False(t, r.AllowPlain())
	require.False(t, r.WebSocket())
	require.NotNil(t, r.Handler())
	require.Empty(t, r.Upstream())
	require.Zero(t, r.Timeout())
}

func TestHostFor(t *testing.T) {
	r := mustNew(t, route.Config{ID: "r", Hosts: []string{"*.test", "A.b.test:80", "*.b.test:8080", "*b.test"}, Paths: []string{"/"}, Upstream: "u"})
	require.False(t, r.EveryHost())
	for name, want := range map[string]string{
		"a.b.test": "a.b.test", "c.b.test": "*.b.test", "b.test": "*b.test", "ab.test": "*b.test", "x.test": "*.test", "test": "", "": "",
	} {
		pattern, ok := r.HostFor(name)
		require.Equal(t, want, pattern, name)
		require.Equal(t, want != "", ok, name)
	}
	for _, hosts := range [][]string{nil, {"a.test", "*"}, {"*:80"}} {
		r := mustNew(t, route.Config{ID: "r", Hosts: hosts, Paths: []string{"/"}})
		require.True(t, r.EveryHost())
		_, ok := r.HostFor("x.test")
		require.Equal(t, hosts != nil, ok)
		_, ok = r.HostFor("")
		require.False(t, ok)
	}
}

// FuzzNew holds New to what the package doc promises of it: no panic, what is
// accepted can be found, and what is refused says so in one line.
func FuzzNew(f *testing.F) {
	for _, s := range []string{"/", "/a*", "*", "/a/*/b", "/*x/b*", "*.php", "/a%2Fb", "/a//b", "/%41", "/a/..", "/a/.*", "/:id", "/*x", "/a?b", "a", "/\xff", "/100%"} {
		f.Add(s, "a.test", "GET")
	}
	for _, s := range []string{"*.a.test", "*", "a.test:80", "[::1]:80", "ü", "A."} {
		f.Add("/", s, "purge")
	}
	f.Fuzz(func(t *testing.T, path, host, method string) {
		r, err := route.New(route.Config{ID: "r", Paths: []string{path}, Hosts: []string{host}, Methods: []string{method}, Upstream: "u"})
		if err != nil {
			for _, fault := range faults(err) {
				require.NotContains(t, fault.Error(), "\n")
			}
			return
		}
		// The star may stand for nothing, but not before a dot or alone.
		name, star := strings.CutPrefix(host, "*")
		if star && (name == "" || name[0] == '.') {
			name = "x" + name
		}
		if len(name) > 253 {
			return // a pattern of 253 bytes and more leaves no room for the star
		}
		req := request(t, method, name, strings.ReplaceAll(path, "*", "x"))
		found, err := new(route.Table).With(r).MatchHTTP(req)
		require.NoError(t, err, "%q", path)
		require.Same(t, r, found.Route, "%q", path)
	})
}
