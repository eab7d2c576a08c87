package route_test

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/route"
)

func mustNew(t testing.TB, c route.Config) *route.Route {
	t.Helper()
	if c.Upstream == "" && c.Handler == nil {
		c.Upstream = "u"
	}
	r, err := route.New(c)
	require.NoError(t, err)
	return r
}

func idOf(m route.Match) string {
	if m.Route == nil {
		return ""
	}
	return m.Route.ID()
}

func ids(t *route.Table) []string {
	var all []string
	for r := range t.All() {
		all = append(all, r.ID())
	}
	return all
}

func TestMatch(t *testing.T) {
	type config = route.Config
	for _, c := range []struct {
		name   string
		routes []config
		want   map[string]string // "METHOD host/path" to ID
	}{
		{"an exact path fits itself alone", []config{
			{ID: "a", Paths: []string{"/a"}},
		}, map[string]string{
			"GET a.test/a": "a", "GET a.test/a/": "", "GET a.test/ab": "", "GET a.test/": "", "GET a.test/A": "", "GET /a": "a",
		}},
		{"a prefix fits what begins so", []config{
			{ID: "foo*", Paths: []string{"/foo*"}},
			{ID: "bar/*", Paths: []string{"/bar/*"}},
		}, map[string]string{
			"GET a.test/foo": "foo*", "GET a.test/foobar": "foo*", "GET a.test/foo/x/y": "foo*", "GET a.test/fo": "",
			"GET a.test/bar": "", "GET a.test/bar/": "bar/*", "GET a.test/bar/x": "bar/*", "GET a.test/barx": "",
		}},
		{"a star alone is every path, and a slash and a star is longer", []config{
			{ID: "*", Paths: []string{"*"}, Priority: 9},
			{ID: "/*", Paths: []string{"/*"}, Methods: []string{"GET"}},
		}, map[string]string{
			"GET a.test/": "/*", "GET a.test/x/y": "/*", "POST a.test/": "*", "POST a.test/x": "*",
		}},
		{"a colon within a segment is a byte like others", []config{
			{ID: "a", Paths: []string{"/file:list", "/x/:", "/:/y"}},
		}, map[string]string{
			"GET a.test/file:list": "a", "GET a.test/filexlist": "", "GET a.test/x/:": "a", "GET a.test/x/1": "", "GET a.test/:/y": "a",
		}},
		{"an exact path goes before every prefix, whatever the priority", []config{
			{ID: "prefix", Paths: []string{"/a*"}, Priority: 100},
			{ID: "exact", Paths: []string{"/a"}, Priority: -100},
		}, map[string]string{
			"GET a.test/a": "exact", "GET a.test/ab": "prefix",
		}},
		{"a longer prefix goes before a shorter one, whatever the priority", []config{
			{ID: "short", Paths: []string{"/a/*"}, Priority: 100},
			{ID: "long", Paths: []string{"/a/b/*"}},
		}, map[string]string{
			"GET a.test/a/b/c": "long", "GET a.test/a/b": "short", "GET a.test/a/c": "short",
		}},
		{"of one path, the higher priority goes first, then the older", []config{
			{ID: "first", Paths: []string{"/a", "/p/*"}},
			{ID: "second", Paths: []string{"/a", "/p/*"}},
			{ID: "low", Paths: []string{"/a", "/p/*"}, Priority: -1},
			{ID: "high", Paths: []string{"/a", "/p/*"}, Priority: 1, Methods: []string{"PUT"}},
		}, map[string]string{
			"PUT a.test/a": "high", "GET a.test/a": "first", "PUT a.test/p/x": "high", "GET a.test/p/x": "first",
		}},
		{"what the method does not fit is passed over: exact, longest, shorter", []config{
			{ID: "exact", Paths: []string{"/a/b"}, Methods: []string{"GET"}},
			{ID: "long", Paths: []string{"/a/b*"}, Methods: []string{"PUT"}},
			{ID: "short", Paths: []string{"/a*"}, Methods: []string{"POST", "PURGE"}},
			{ID: "rest", Paths: []string{"/*"}, Methods: []string{"DELETE"}},
		}, map[string]string{
			"GET a.test/a/b": "exact", "PUT a.test/a/b": "long", "POST a.test/a/b": "short", "PURGE a.test/a/b": "short",
			"DELETE a.test/a/b": "rest", "HEAD a.test/a/b": "", "PROPFIND a.test/a/b": "", "get a.test/a/b": "", " a.test/a/b": "",
		}},
		{"a route without methods takes all of them", []config{
			{ID: "a", Paths: []string{"/a"}},
			{ID: "dav", Paths: []string{"/dav"}, Methods: []string{"GET", "PROPFIND"}},
		}, map[string]string{
			"HEAD a.test/a": "a", "BREW a.test/a": "a", "get a.test/a": "a",
			"PROPFIND a.test/dav": "dav", "PROPPATCH a.test/dav": "", "HEAD a.test/dav": "", "GET a.test/dav": "dav",
		}},
		{"an exact host, then the longest wildcard, then no host", []config{
			{ID: "none", Paths: []string{"/*"}, Priority: 4},
			{ID: "star", Hosts: []string{"*"}, Paths: []string{"/*"}, Priority: 3},
			{ID: "short", Hosts: []string{"*.test"}, Paths: []string{"/*"}, Priority: 2},
			{ID: "long", Hosts: []string{"*.a.test"}, Paths: []string{"/*"}, Priority: 1},
			{ID: "exact", Hosts: []string{"b.a.test"}, Paths: []string{"/*"}},
		}, map[string]string{
			"GET b.a.test/": "exact", "GET c.a.test/": "long", "GET d.c.a.test/": "long", "GET a.test/": "short",
			"GET test/": "star", "GET [::1]/": "star", "GET 10.0.0.1/": "star", "GET /": "none",
		}},
		{"a host that has no route for the request goes on to the next", []config{
			{ID: "none", Paths: []string{"/n", "/m"}},
			{ID: "star", Hosts: []string{"*"}, Paths: []string{"/s"}},
			{ID: "wildcard", Hosts: []string{"*.test"}, Paths: []string{"/w"}},
			{ID: "exact", Hosts: []string{"a.test"}, Paths: []string{"/e"}},
			{ID: "method", Hosts: []string{"a.test"}, Paths: []string{"/m"}, Methods: []string{"PUT"}},
		}, map[string]string{
			"GET a.test/e": "exact", "GET a.test/w": "wildcard", "GET a.test/s": "star", "GET a.test/n": "none",
			"GET a.test/m": "none", "PUT a.test/m": "method", "GET a.test/x": "", "GET b.test/e": "", "GET /s": "", "GET /n": "none",
		}},
		{"a wildcard host and every path go before an exact path without host", []config{
			{ID: "none", Paths: []string{"/server_port"}, Priority: 100},
			{ID: "wildcard", Hosts: []string{"*.test.com"}, Paths: []string{"/*"}},
		}, map[string]string{
			"GET www.test.com/server_port": "wildcard", "GET test.com/server_port": "none",
		}},
		{"a star without a dot is a suffix at any place", []config{
			{ID: "bar", Hosts: []string{"*bar.com"}, Paths: []string{"/*"}},
			{ID: "dot", Hosts: []string{"*.bar.com"}, Paths: []string{"/*"}, Methods: []string{"GET"}},
		}, map[string]string{
			"GET bar.com/": "bar", "GET foobar.com/": "bar", "GET a.foobar.com/": "bar", "GET a.bar.com/": "dot", "PUT a.bar.com/": "bar", "GET ar.com/": "",
		}},
		{"hosts are compared in their canonical form", []config{
			{ID: "a", Hosts: []string{"A.Test.", "*.B.TEST", "[2001:DB8:0::1]"}, Paths: []string{"/"}},
		}, map[string]string{
			"GET a.test/": "a", "GET x.b.test/": "a", "GET [2001:db8::1]/": "a",
		}},
		{"every host has every path", []config{
			{ID: "a", Hosts: []string{"a.test", "b.test"}, Paths: []string{"/1", "/2*"}},
		}, map[string]string{
			"GET a.test/1": "a", "GET b.test/1": "a", "GET a.test/22": "a", "GET b.test/22": "a", "GET c.test/1": "",
		}},
		{"bytes beyond ASCII and reserved ones are bytes", []config{
			{ID: "a", Paths: []string{"/café", "/100%", "/c#", `/a\b;c`, "/a b*", "/\xff"}},
		}, map[string]string{
			"GET a.test/café": "a", "GET a.test/100%": "a", "GET a.test/c#": "a", `GET a.test/a\b;c`: "a", "GET a.test/a b c": "a", "GET a.test/\xff": "a",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var table *route.Table
			for _, r := range c.routes {
				table = table.With(mustNew(t, r))
				require.NoError(t, table.Check())
			}
			for req, want := range c.want {
				r := parseRequest(req)
				require.Equal(t, want, idOf(table.Match(&r)), "%q", req)
			}
		})
	}
}

// A host whose port does not fit is no way to a route, whatever its other hosts are: it
// has the rank of the one that fits.
func TestPortAndWildcard(t *testing.T) {
	table := new(route.Table).With(
		mustNew(t, route.Config{ID: "older", Hosts: []string{"a.test:80", "*.test", "a.test:8080"}, Paths: []string{"/"}}),
		mustNew(t, route.Config{ID: "name", Hosts: []string{"a.test"}, Paths: []string{"/"}, Methods: []string{"GET"}}),
	)
	require.NoError(t, table.Check())
	for port, want := range map[string]string{"80": "older", "8080": "older", "90": "name", "": "name"} {
		require.Equal(t, want, idOf(table.Match(&route.Request{Method: "GET", Host: "a.test", Port: port, Path: "/"})), port)
		require.Equal(t, "older", idOf(table.Match(&route.Request{Method: "PUT", Host: "a.test", Port: port, Path: "/"})), port)
	}
	require.Equal(t, `PUT a.test:90/: route "older"
- route "older" (a.test/, priority 0): passed over: the host fits none of a.test:80, a.test:8080
- route "name" (a.test/, priority 0): passed over: the method is none of GET
- route "older" (*.test/, priority 0): found
`, table.Explain(&route.Request{Method: "PUT", Host: "a.test", Port: "90", Path: "/"}).String())
}

// Long paths that have much in common, in every order.
func TestLongPaths(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 9))
	for range 20 {
		var routes []*route.Route
		var gone []string
		for i := range 60 {
			path := "/" + strings.Repeat("a", i)
			for j, p := range []string{path + "b", path + "*", path + "c*"} {
				id := fmt.Sprint(i, ".", j)
				routes = append(routes, mustNew(t, route.Config{ID: id, Paths: []string{p}}))
				if rnd.IntN(3) == 0 {
					gone = append(gone, id)
				}
			}
		}
		rnd.Shuffle(len(routes), func(i, j int) { routes[i], routes[j] = routes[j], routes[i] })
		half := new(route.Table).With(routes[:90]...)
		table := half.With(routes[90:]...)
		for _, table := range []*route.Table{half, table, table.Without(gone...), half.Without(gone...)} {
			require.NoError(t, table.Check())
			for i := range 61 {
				for end, j := range map[string]int{"b": 0, "": 1, "x": 1, "cx": 2} {
					want := ""
					for shorter, j := i, j; shorter >= 0 && want == ""; shorter-- {
						for _, id := range []string{fmt.Sprint(shorter, ".", j), fmt.Sprint(shorter, ".1")} {
							if r := table.Get(id); r != nil && want == "" {
								want = id
							}
						}
						j = 1
					}
					require.Equal(t, want, idOf(table.Match(&route.Request{Path: "/" + strings.Repeat("a", i) + end})))
				}
			}
		}
	}
}

// A route takes its methods and no other, whichever they are.
func TestEveryMethod(t *testing.T) {
	methods := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PURGE", "QUERY"}
	for _, method := range methods {
		table := new(route.Table).With(mustNew(t, route.Config{ID: "r", Paths: []string{"/"}, Methods: []string{method}}))
		for _, other := range methods {
			m := table.Match(&route.Request{Method: other, Path: "/"})
			require.Equal(t, method == other, m.Route != nil, "%s %s", method, other)
		}
	}
}

// parseRequest reads "METHOD host/path".
func parseRequest(s string) route.Request {
	method, rest, _ := strings.Cut(s, " ")
	i := strings.IndexByte(rest, '/')
	return route.Request{Method: method, Host: rest[:i], Path: rest[i:]}
}

func TestTable(t *testing.T) {
	var empty *route.Table
	for _, table := range []*route.Table{empty, {}} {
		require.Zero(t, table.Match(&route.Request{Method: "GET", Host: "a.test", Path: "/"}))
		require.Zero(t, table.Len())
		require.Empty(t, ids(table))
		require.Nil(t, table.Get("a"))
		require.Same(t, table, table.Without("a"))
		require.Same(t, table, table.With())
	}

	a1 := mustNew(t, route.Config{ID: "a", Paths: []string{"/x"}})
	a2 := mustNew(t, route.Config{ID: "a", Paths: []string{"/x", "/y"}, Hosts: []string{"h.test"}})
	b := mustNew(t, route.Config{ID: "b", Paths: []string{"/x"}})
	c := mustNew(t, route.Config{ID: "c", Paths: []string{"/x"}})

	one := empty.With(a1, b)
	require.Equal(t, []string{"a", "b"}, ids(one))
	require.Same(t, one, one.With(a1), "the same route is no change")
	require.Same(t, one, one.Without("x", "y"))
	require.Same(t, a1, one.Get("a"))
	require.Nil(t, one.Get("c"))

	two := one.With(c, a2)
	require.Equal(t, []string{"a", "b", "c"}, ids(two), "a route that is replaced keeps its place")
	require.Equal(t, 3, two.Len())
	require.Equal(t, "b", idOf(two.Match(&route.Request{Method: "GET", Path: "/x"})))
	require.Equal(t, "a", idOf(two.With(a1).Match(&route.Request{Method: "GET", Path: "/x"})), "and its rank")
	require.Equal(t, []string{"b", "c", "a"}, ids(two.Without("a").With(a1)), "one that is put again does not")

	require.Equal(t, []string{"a", "b"}, ids(one), "the old table is what it was")
	require.Equal(t, "a", idOf(one.Match(&route.Request{Method: "GET", Path: "/x"})))

	require.Same(t, a2, empty.With(a1, a2).Get("a"), "the last of one ID holds")
	require.NoError(t, empty.With(a1, a2).Check())

	gone := two.Without("a", "a", "x", "b", "c")
	require.Zero(t, gone.Len())
	require.NoError(t, gone.Check())
	require.Zero(t, gone.Match(&route.Request{Method: "GET", Host: "h.test", Path: "/x"}))

	for r := range two.All() {
		require.Equal(t, "a", r.ID())
		break
	}
}

// A table is conditional as long as a route that is in service has such a condition.
func TestConditional(t *testing.T) {
	plain := route.Config{ID: "a", Paths: []string{"/"}, Hosts: []string{"a.test:80"}, Methods: []string{"GET"}}
	addrs, vars := plain, plain
	addrs.RemoteAddrs = []string{"10.0.0.0/8"}
	vars.Vars = varsOf["a=1"]
	var empty *route.Table
	require.False(t, empty.Conditional())
	for _, c := range []route.Config{addrs, vars} {
		off, second := c, c
		off.Disabled, second.ID = true, "b"
		table := empty
		for _, step := range []struct {
			put  route.Config
			gone string
			want bool
		}{
			{put: plain}, {put: off}, {put: c, want: true}, {put: off}, {put: c, want: true}, {put: second, want: true},
			{put: plain, want: true}, {gone: "b"}, {put: second, want: true}, {put: c, want: true}, {gone: "b", want: true}, {gone: "a"},
		} {
			if step.gone != "" {
				table = table.Without(step.gone)
			} else {
				table = table.With(mustNew(t, step.put))
			}
			require.Equal(t, step.want, table.Conditional(), "%+v", step)
		}
	}
}

// A route that replaces one in the same places is there with all that is new of it, and the
// old table has the old one.
func TestReplaceInPlace(t *testing.T) {
	c := route.Config{ID: "a", Hosts: []string{"a.test", "*.a.test"}, Paths: []string{"/a", "/a/*", "/a/:id"}, Methods: []string{"GET"}}
	others := route.Config{ID: "z", Paths: []string{"/a", "/a/*"}}
	for _, change := range []func(*route.Config){
		func(c *route.Config) { c.Methods = []string{"PUT"} },
		func(c *route.Config) { c.Hosts = []string{"*.a.test", "a.test"} },
		func(c *route.Config) { c.Hosts[1] = "*.b.test" },
		func(c *route.Config) { c.Hosts[0] = "a.test:80" },
		func(c *route.Config) { c.Hosts = nil },
		func(c *route.Config) { c.Paths = []string{"/a*", "/a/*", "/a/:id"} },
		func(c *route.Config) { c.Paths = c.Paths[:2] },
		func(c *route.Config) { c.Priority = 1 },
		func(c *route.Config) { c.Disabled = true },
		func(c *route.Config) { c.Vars = varsOf["a=1"] },
	} {
		for _, router := range []route.Router{route.RouterHostURI, route.RouterURI, route.RouterURIWithParameter} {
			changed := c
			changed.Hosts, changed.Paths = slices.Clone(c.Hosts), slices.Clone(c.Paths)
			change(&changed)
			old := must(route.NewTable(&route.Options{Router: router})).With(mustNew(t, c), mustNew(t, others))
			table := old.With(mustNew(t, changed))
			require.NoError(t, old.Check())
			require.NoError(t, table.Check(), "%+v", changed)
			fresh := must(route.NewTable(&route.Options{Router: router})).With(mustNew(t, changed), mustNew(t, others))
			require.Equal(t, fresh.Conditional(), table.Conditional())
			for _, host := range []string{"a.test", "x.a.test", "x.b.test", "c.test"} {
				for _, path := range []string{"/a", "/a/x", "/ab"} {
					for _, method := range []string{"GET", "PUT"} {
						req := route.Request{Method: method, Host: host, Path: path}
						found, want := table.Match(&req), fresh.Match(&req)
						require.Equal(t, idOf(want), idOf(found), "%+v %+v", changed, req)
						require.Equal(t, want.Pattern(), found.Pattern())
						if r := table.Get("a"); found.Route != nil && found.Route.ID() == "a" {
							require.Same(t, r, found.Route)
						}
						if r := old.Get("a"); idOf(old.Match(&req)) == "a" {
							require.Same(t, r, old.Match(&req).Route)
						}
					}
				}
			}
		}
	}
}

// The words of which random routes and requests are made: few, so that they meet.
var (
	hostWords   = []string{"a.test", "b.a.test", "ba.test", "c.b.a.test", "test", "x.test"}
	hostStars   = []string{"*", "*.test", "*.a.test", "*a.test", "*test", "*.b.a.test", "*t"}
	hostPorts   = []string{"a.test:80", "*.test:80", "a.test:8080", "*:80", "*.test:8080", "b.a.test:8080"}
	pathWords   = []string{"/", "/a", "/a/", "/a/b", "/a/b/", "/a/bc", "/ab", "/abc/d", "/b", "/a/b/c/d/e", "/\xc3\xa9", "/\xc3\xaa"}
	pathStars   = []string{"/a/*/b", "/*x/b", "/a/*/c/*y", "/*/b/*", "/a*c", "/a/:id", "/:id", "/:id/b", "/a/:x/:y", "/:a/*b/c", "/a/:x/*", "/*a/b/:c", "/*/:x/b/*", "*b", "/a/**", "/:/a", "/*.b", "/a/*/:x/c/*"}
	methodWords = []string{"GET", "POST", "PUT", "PURGE", "QUERY"}
	addrWords   = []string{"10.0.0.1", "10.0.0.0/8", "10.1.0.0/16", "192.0.2.0/25", "2001:db8::/32", "::1", "0.0.0.0/0"}
	varsWords   = []string{"a=1", "a=2", "host has b", "id=b", "no b"}
	clientWords = []string{"10.0.0.1", "10.1.2.3", "192.0.2.1", "192.0.2.200", "2001:db8::1", "::1"}
)

// varsOf are Vars, by what they mean.
var varsOf = map[string][]any{
	"a=1":        {[]any{"arg_a", "==", "1"}},
	"a=2":        {[]any{"arg_a", 2}},
	"host has b": {[]any{"host", "~~", "b"}},
	"id=b":       {[]any{"uri_param_id", "==", "b"}},
	"no b":       {[]any{"uri", "!", "~~", "b"}},
}

// argA has the argument a.
type argA string

func (a argA) Lookup(kind route.VarKind, name string) (string, bool) {
	return string(a), kind == route.VarArg && name == "a"
}

func (argA) LookupAll(string) ([]string, bool) { return nil, false }

// A source gives numbers in [0, n): random ones, or those of a fuzzer.
type source func(n int) int

func seeded(seed, stream uint64) source { return rand.New(rand.NewPCG(seed, stream)).IntN }

func (s source) some(words []string, atMost int) (out []string) {
	for range s(atMost + 1) {
		if w := words[s(len(words))]; !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return out
}

func (s source) config() route.Config {
	c := route.Config{
		ID:       strconv.Itoa(s(40)),
		Methods:  s.some(methodWords, 2),
		Priority: s(3) - 1,
		Upstream: "u",
	}
	if s(3) > 0 {
		c.Hosts = s.some(slices.Concat(hostWords, hostStars, hostPorts), 3)
	}
	if s(4) == 0 {
		c.RemoteAddrs = s.some(addrWords, 2)
	}
	if s(4) == 0 {
		c.Vars = varsOf[varsWords[s(len(varsWords))]]
	}
	c.Disabled = s(10) == 0
	switch s(4) {
	case 0, 1:
		c.Paths = []string{pathWords[s(len(pathWords))]}
	case 2:
		c.Paths = []string{pathWords[s(len(pathWords))] + "*"}
	default:
		c.Paths = []string{pathStars[s(len(pathStars))]}
	}
	if s(4) == 0 {
		c.Paths = append(c.Paths, "*")
	}
	if more := pathStars[s(len(pathStars))]; s(4) == 0 && !slices.Contains(c.Paths, more) {
		c.Paths = append(c.Paths, more)
	}
	return c
}

func (s source) request() route.Request {
	req := route.Request{
		Method: append(methodWords, "HEAD", "OTHER")[s(len(methodWords)+2)],
		Path:   pathWords[s(len(pathWords))],
	}
	if s(3) == 0 {
		req.Path += pathWords[s(len(pathWords))][1:]
	}
	if i := s(len(hostWords) + 1); i > 0 {
		req.Host = hostWords[i-1]
		req.Port = []string{"", "", "80", "8080"}[s(4)]
	}
	if s(2) == 0 {
		req.Lookups = argA([]string{"1", "2", "3"}[s(3)])
	}
	if i := s(len(clientWords) + 1); i > 0 {
		req.ClientAddr = netip.MustParseAddr(clientWords[i-1])
	}
	return req
}

// step makes a random change to a table and its oracle.
func (s source) step(t testing.TB, table *route.Table, o oracle) (*route.Table, oracle) {
	switch s(8) {
	case 0, 1:
		id := strconv.Itoa(s(40))
		return table.Without(id), o.without(id)
	case 2:
		a, b := s.config(), s.config()
		return table.With(mustNew(t, a), mustNew(t, b)), o.with(a).with(b)
	default:
		c := s.config()
		return table.With(mustNew(t, c)), o.with(c)
	}
}

// compare asks table and oracle the same.
func (s source) compare(t testing.TB, table *route.Table, o oracle, requests int) {
	for range requests {
		req := s.request()
		want, params := o.match(req)
		m := table.Match(&req)
		if got := idOf(m); got != want {
			t.Fatalf("%+v: got %q, want %q, among %+v", req, got, want, o)
		}
		got := maps.Collect(m.Params())
		if want != "" && !maps.Equal(got, params) {
			t.Fatalf("%+v: %s: got %q, want %q", req, m.Pattern(), got, params)
		}
		for name, value := range params {
			if v, ok := m.Param(name); !ok || v != value {
				t.Fatalf("%+v: %s: parameter %s: got %q, want %q", req, m.Pattern(), name, v, value)
			}
		}
		compareExplanation(t, table.Explain(&req), o, m)
	}
	require.Equal(t, len(o.routes), table.Len())
	var want []string
	for _, c := range o.routes {
		want = append(want, c.ID)
	}
	if got := ids(table); !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
}

// compareExplanation compares one with what was found, and with the oracle's order.
func compareExplanation(t testing.TB, x *route.Explanation, o oracle, m route.Match) {
	if x.Found != m {
		t.Fatalf("%v: %+v", m, x)
	}
	var want, got []string
	for _, w := range o.ways(x.Request) {
		want = append(want, w.route.ID+w.path)
	}
	state := route.PassedOver
	for _, c := range x.Candidates {
		got = append(got, c.Route.ID()+c.Pattern)
		if c.Outcome == route.Found {
			if c.Route != m.Route || state != route.PassedOver || c.Reasons != nil {
				t.Fatalf("%v", x)
			}
			state = route.NotReached
		} else if c.Outcome != state || len(c.Reasons) == 0 {
			t.Fatalf("%v", x)
		}
	}
	// A route with two hosts of one name stands in the tree of the name once.
	if want, got = slices.Compact(want), slices.Compact(got); !slices.Equal(want, got) {
		t.Fatalf("got %q, want %q: %v", got, want, x)
	}
}

func TestTableAgainstOracle(t *testing.T) {
	for seed := range uint64(30) {
		router := route.Router(seed % 3)
		t.Run(fmt.Sprintf("seed=%d/router=%v", seed, router), func(t *testing.T) {
			s := seeded(seed, 1)
			type state struct {
				table  *route.Table
				oracle oracle
			}
			// After half of the changes, no edit has a number any more.
			empty := must(route.NewTable(&route.Options{Router: router})).Age(math.MaxUint32 - 75)
			now := state{empty, oracle{router: router}}
			var old []state
			for range 150 {
				now.table, now.oracle = s.step(t, now.table, now.oracle)
				require.NoError(t, now.table.Check())
				s.compare(t, now.table, now.oracle, 10)
				old = append(old, now)
			}
			// Nothing that came later has changed what was.
			for _, past := range old {
				require.NoError(t, past.table.Check())
				s.compare(t, past.table, past.oracle, 5)
			}
			// And nothing is left of what is gone.
			for _, c := range now.oracle.routes {
				now.table = now.table.Without(c.ID)
				require.NoError(t, now.table.Check())
			}
			require.Zero(t, now.table.Len())
		})
	}
}

// When no number is left for an edit, all come again: the new table must have no node of any
// of them but the first.
func TestNumbersComeAgain(t *testing.T) {
	const n = 1000
	put := func(i int, upstream string) *route.Route {
		return mustNew(t, route.Config{ID: fmt.Sprint(i), Paths: []string{fmt.Sprint("/", i)}, Upstream: upstream})
	}
	var table *route.Table
	for i := range n {
		table = table.With(put(i, "old"))
	}
	again := table.Age(math.MaxUint32).With(put(n, "old"))
	for i := range uint32(n) {
		again.Age(max(i, 1)).With(put(int(i), "new")) // with the number with which it was put there
	}
	for _, table := range []*route.Table{table, again} {
		require.NoError(t, table.Check())
		for i := range n {
			require.Equal(t, "old", table.Get(fmt.Sprint(i)).Upstream())
			require.Equal(t, "old", table.Match(&route.Request{Path: fmt.Sprint("/", i)}).Route.Upstream())
		}
	}
}

// Paths that differ in a byte, of which two may read the same in the first of the steps
// in which a tree reads them.
func TestAllBytes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	var bytes []byte
	for c := range 256 {
		if !strings.ContainsRune("\x00%*./:?", rune(c)) {
			bytes = append(bytes, byte(c))
		}
	}
	paths := make([]string, 400)
	for i := range paths {
		p := []byte{'/', bytes[rnd.IntN(len(bytes))]}
		for rnd.IntN(3) == 0 {
			p = append(p, bytes[rnd.IntN(len(bytes))])
		}
		paths[i] = string(p)
	}
	var table *route.Table
	there := map[string]bool{}
	for i := range 4000 {
		p := paths[rnd.IntN(len(paths))]
		if rnd.IntN(i/500+1) < 2 {
			table = table.With(mustNew(t, route.Config{ID: p, Paths: []string{p}, Upstream: "u"}))
			there[p] = true
		} else {
			table = table.Without(p)
			delete(there, p)
		}
		if i%50 == 0 {
			require.NoError(t, table.Check())
			for _, p := range paths {
				m := table.Match(&route.Request{Method: "GET", Path: p})
				require.Equal(t, there[p], m.Route != nil, "%q", p)
				require.True(t, m.Route == nil || m.Route.ID() == p)
			}
		}
	}
}

// Patterns of every kind, one at a time, and paths that come close to them.
func TestRandomPatterns(t *testing.T) {
	parts := []string{"/", "/", "/", "a", "b", "a/b", "*", "*", "**", "/:x", "/:y/", "/*n", "/*m-1/", "/*1", ":", ";", "%z", "\xff"}
	s := seeded(1, 11)
	found := 0
	for range 10_000 {
		pattern := []string{"/", "*"}[s(10)/9]
		for range s(8) {
			pattern += parts[s(len(parts))]
		}
		for strings.Contains(pattern, "//") {
			pattern = strings.ReplaceAll(pattern, "//", "/")
		}
		r := mustNew(t, route.Config{ID: "r", Paths: []string{pattern}})
		for range 3 {
			var path strings.Builder
			path.WriteByte('/')
			for _, c := range []byte(pattern) {
				switch {
				case c == '*':
					for range s(3) {
						path.WriteString(parts[s(len(parts))])
					}
				case s(15) > 0:
					path.WriteByte(c)
				}
			}
			req := route.Request{Method: "GET", Path: path.String()}
			for strings.Contains(req.Path, "//") {
				req.Path = strings.ReplaceAll(req.Path, "//", "/")
			}
			for router := range route.Router(3) {
				want, fits := fullMatch(pattern, req.Path, router)
				m := must(route.NewTable(&route.Options{Router: router})).With(r).Match(&req)
				if fits != (m.Route != nil) || fits && !maps.Equal(want, maps.Collect(m.Params())) {
					t.Fatalf("%v: %q: %q: got %t %q, want %t %q", router, pattern, req.Path, m.Route != nil, maps.Collect(m.Params()), fits, want)
				}
				if fits {
					found++
				}
			}
		}
	}
	require.Greater(t, found, 10_000)
}

func TestManyParameters(t *testing.T) {
	pattern, path := "", ""
	for i := range 20 {
		pattern += fmt.Sprintf("/:p%d", i)
		path += fmt.Sprintf("/v%d", i)
	}
	table := must(route.NewTable(&route.Options{Router: route.RouterURIWithParameter})).With(mustNew(t, route.Config{ID: "r", Paths: []string{pattern}}))
	m := table.Match(&route.Request{Path: path})
	for i := range 20 {
		value, ok := m.Param(fmt.Sprintf("p%d", i))
		require.True(t, ok)
		require.Equal(t, fmt.Sprintf("v%d", i), value)
	}
}

// FuzzTable makes changes and requests of the fuzzer's bytes.
func FuzzTable(f *testing.F) {
	for seed := range uint64(4) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		program := make([]byte, 400)
		for i := range program {
			program[i] = byte(rnd.Uint32())
		}
		f.Add(program)
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		program = program[:min(len(program), 2000)]
		s := source(func(n int) int {
			if len(program) == 0 {
				return 0
			}
			v := int(program[0]) % n
			program = program[1:]
			return v
		})
		o := oracle{router: route.Router(s(3))}
		table := must(route.NewTable(&route.Options{Router: o.router}))
		for len(program) > 0 {
			table, o = s.step(t, table, o)
			s.compare(t, table, o, 3)
		}
		require.NoError(t, table.Check())
	})
}

func TestMatchDoesNotAllocate(t *testing.T) {
	s := seeded(1, 3)
	var table *route.Table
	for range 200 {
		c := s.config()
		if strings.Contains(fmt.Sprint(c.Vars), "~~") {
			// The race detector lets pools forget, and regular expressions have one.
			c.Vars = varsOf["id=b"]
		}
		table = table.With(mustNew(t, c))
	}
	requests := make([]route.Request, 100)
	for i := range requests {
		requests[i] = s.request()
	}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		for i := range requests {
			table.Match(&requests[i])
		}
	}))
	r, err := http.NewRequest("GET", "http://b.a.test:8080/a/bc?x=y", nil)
	require.NoError(t, err)
	r.RemoteAddr = "10.0.0.1:1234"
	require.Zero(t, allocations(func() {
		_, _ = table.MatchHTTP(r)
	}))
}
