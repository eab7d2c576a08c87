package route_test

import (
	"fmt"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/route"
)

// Why each of the routes is found, passed over, or not reached.
func TestExplain(t *testing.T) {
	table := new(route.Table).With(
		mustNew(t, route.Config{ID: "put", Hosts: []string{"a.test"}, Paths: []string{"/api/*"}, Methods: []string{"PUT", "PURGE"}, Priority: 2}),
		mustNew(t, route.Config{ID: "inside", Hosts: []string{"a.test"}, Paths: []string{"/api/*"}, RemoteAddrs: []string{"10.0.0.0/8"}, Priority: 1}),
		mustNew(t, route.Config{ID: "port", Hosts: []string{"a.test:8443"}, Paths: []string{"/api/*"}}),
		mustNew(t, route.Config{ID: "edit", Hosts: []string{"a.test"}, Paths: []string{"/api/*/edit"}}),
		mustNew(t, route.Config{ID: "api", Hosts: []string{"a.test"}, Paths: []string{"/api/*"}}),
		mustNew(t, route.Config{ID: "younger", Hosts: []string{"a.test"}, Paths: []string{"/api/*"}}),
		mustNew(t, route.Config{ID: "low", Hosts: []string{"a.test"}, Paths: []string{"/api/*"}, Priority: -1}),
		mustNew(t, route.Config{ID: "short", Hosts: []string{"a.test"}, Paths: []string{"/a*"}, Priority: 100}),
		mustNew(t, route.Config{ID: "wildcard", Hosts: []string{"*.test"}, Paths: []string{"/api/x"}, Priority: 100}),
		mustNew(t, route.Config{ID: "none", Paths: []string{"/*"}, Priority: 100}),
		mustNew(t, route.Config{ID: "other", Paths: []string{"/b/*"}}),
		mustNew(t, route.Config{ID: "off", Hosts: []string{"a.test"}, Paths: []string{"/api/*"}, Disabled: true}),
	)
	x := table.Explain(&route.Request{Method: "GET", Host: "a.test", Path: "/api/x", ClientAddr: netip.MustParseAddr("192.0.2.1")})
	require.Equal(t, "api", idOf(x.Found))
	require.Equal(t, "/api/*", x.Found.Pattern())
	require.Equal(t, `GET a.test/api/x: route "api"
- route "put" (a.test/api/*, priority 2): passed over: the method is none of PUT, PURGE
- route "inside" (a.test/api/*, priority 1): passed over: RemoteAddrs: the client's address 192.0.2.1 is not in them
- route "edit" (a.test/api/*/edit, priority 0): passed over: the path begins as /api/*/edit, and does not fit all of it
- route "port" (a.test/api/*, priority 0): passed over: the host fits none of a.test:8443
- route "api" (a.test/api/*, priority 0): found
- route "younger" (a.test/api/*, priority 0): not reached: route "api" is of the same rank, and older
- route "low" (a.test/api/*, priority -1): not reached: route "api" has the priority 0, and this one -1
- route "short" (a.test/a*, priority 100): not reached: /api/* of route "api" begins with more of the path, which goes first, whatever the priorities
- route "wildcard" (*.test/api/x, priority 100): not reached: route "api" is for the host a.test, which goes before *.test, whatever the priorities
- route "none" (/*, priority 100): not reached: route "api" is for the host a.test, and hosts go first, whatever the priorities
`, x.String())

	x = table.Explain(&route.Request{Method: "GET", Host: "b.test", Path: "/api/x"})
	require.Equal(t, `GET b.test/api/x: route "wildcard"
- route "wildcard" (*.test/api/x, priority 100): found
- route "none" (/*, priority 100): not reached: route "wildcard" is for the host *.test, and hosts go first, whatever the priorities
`, x.String())

	x = table.Explain(&route.Request{Method: "GET", Host: "a.test", Port: "8443", Path: "/api/x/edit"})
	require.Equal(t, "edit", idOf(x.Found))
	require.Equal(t, route.NotReached, x.Candidates[3].Outcome)
	require.Equal(t, []route.Reason{{Text: `/api/*/edit of route "edit" is the longer pattern`}}, x.Candidates[3].Reasons)
	require.Equal(t, []route.Reason{{Field: "RemoteAddrs", Text: "the address of the client is not known"}}, x.Candidates[1].Reasons)

	only := new(route.Table).With(
		mustNew(t, route.Config{ID: "a", Hosts: []string{"a.test"}, Paths: []string{"/", "/*"}, Methods: []string{"PUT"}}),
	)
	require.Equal(t, "GET b.test/: no route: none has this host and path\n", only.Explain(&route.Request{Method: "GET", Host: "b.test", Path: "/"}).String())
	require.Equal(t, `GET a.test/: no route
- route "a" (a.test/, priority 0): passed over: the method is none of PUT
- route "a" (a.test/*, priority 0): passed over: the method is none of PUT
`, only.Explain(&route.Request{Method: "GET", Host: "a.test", Path: "/"}).String())
	x = only.Explain(&route.Request{Method: "PUT", Host: "a.test", Path: "/"})
	require.Equal(t, []route.Reason{{Text: "the route was found by another of its paths"}}, x.Candidates[1].Reasons)

	only = new(route.Table).With(mustNew(t, route.Config{ID: "a", Hosts: []string{"a.test", "*.test"}, Paths: []string{"/"}}))
	x = only.Explain(&route.Request{Method: "GET", Host: "a.test", Path: "/"})
	require.Equal(t, []route.Reason{{Text: "the route was found by another of its hosts"}}, x.Candidates[1].Reasons)

	// Nothing that a document has looks like a line of its own.
	lines := new(route.Table).With(
		mustNew(t, route.Config{ID: "a", Paths: []string{"/a\n*"}, Vars: []any{[]any{"arg_a\nb", "1"}}}),
		mustNew(t, route.Config{ID: "b", Paths: []string{"/a\n*/b"}}),
		mustNew(t, route.Config{ID: "c", Paths: []string{"/a\n*/c"}, Priority: 1}),
	)
	require.Equal(t, `PUT "/a\n/b": route "b"
- route "c" ("/a\n*/c", priority 1): passed over: the path begins as "/a\n*/c", and does not fit all of it
- route "b" ("/a\n*/b", priority 0): found
- route "a" ("/a\n*", priority 0): not reached: "/a\n*/b" of route "b" is the longer pattern
`, lines.Explain(&route.Request{Method: "PUT", Path: "/a\n/b"}).String())
	require.Equal(t, `GET "/a\n": no route
- route "a" ("/a\n*", priority 0): passed over: Vars[0]: "arg_a\nb" is absent, not == "1"
`, lines.Without("b", "c").Explain(&route.Request{Method: "GET", Path: "/a\n"}).String())

	byPath := must(route.NewTable(&route.Options{Router: route.RouterURI})).With(
		mustNew(t, route.Config{ID: "a", Hosts: []string{"a.test", "*.b.test:80"}, Paths: []string{"/x"}}),
		mustNew(t, route.Config{ID: "b", Paths: []string{"/*"}, Priority: 1}),
	)
	require.Equal(t, `GET c.test/x: route "b"
- route "a" (a.test,*.b.test:80/x, priority 0): passed over: the host fits none of a.test, *.b.test:80
- route "b" (/*, priority 1): found
`, byPath.Explain(&route.Request{Method: "GET", Host: "c.test", Path: "/x"}).String())
	x = byPath.Explain(&route.Request{Method: "GET", Host: "a.test", Path: "/x"})
	require.Equal(t, []route.Reason{{Text: `route "a" has this very path, which goes before every pattern, whatever the priorities`}}, x.Candidates[1].Reasons)

	var empty *route.Table
	require.Equal(t, "GET /: no route: none has this host and path\n", empty.Explain(&route.Request{Method: "GET", Path: "/"}).String())
}

func TestExplainHTTP(t *testing.T) {
	table := new(route.Table).With(mustNew(t, route.Config{ID: "a", Paths: []string{"/a"}, RemoteAddrs: []string{"192.0.2.1"}}))
	x, err := table.ExplainHTTP(httptest.NewRequest("GET", "http://A.test:80//a", nil)) // from 192.0.2.1
	require.NoError(t, err)
	require.Equal(t, "GET a.test:80/a: route \"a\"\n- route \"a\" (/a, priority 0): found\n", x.String())
	_, err = table.ExplainHTTP(httptest.NewRequest("GET", "/%00", nil))
	require.EqualError(t, err, "route: the request's path has a control character")

	// What a client sends is no line of its own.
	for target, want := range map[string]string{
		"/b%0A-%20route":    `GET a.test"/b\n- route": no route`,
		"/b%1b%5b31m":       `GET a.test"/b\x1b[31m": no route`,
		"/b%e2%80%aex":      `GET a.test"/b\u202ex": no route`,
		"/b%ff":             `GET a.test"/b\xff": no route`,
		"/b%20%22caf%c3%a9": `GET a.test/b "café: no route`,
	} {
		x, err := table.ExplainHTTP(httptest.NewRequest("GET", "http://a.test"+target, nil))
		require.NoError(t, err)
		require.Equal(t, want+": none has this host and path\n", x.String())
	}
}

func TestWarnings(t *testing.T) {
	type config = route.Config
	const (
		never = "it is never found: "
		all   = " goes before it and takes all of its requests"
	)
	for _, c := range []struct {
		name    string
		options route.Options
		routes  []config
		want    map[string][]string
	}{
		{"an older one of equal rank", route.Options{}, []config{
			{ID: "a", Paths: []string{"/x"}},
			{ID: "b", Paths: []string{"/x"}, Methods: []string{"GET"}},
		}, map[string][]string{
			"a": {`route "b" is never found any more: route "a"` + all}, "b": {never + `route "a"` + all},
		}},
		{"a younger one of a higher priority", route.Options{}, []config{
			{ID: "a", Paths: []string{"/x*"}},
			{ID: "b", Paths: []string{"/x*"}, Priority: 1},
		}, map[string][]string{
			"a": {never + `route "b"` + all}, "b": {`route "a" is never found any more: route "b"` + all},
		}},
		{"only one that takes all", route.Options{}, []config{
			{ID: "get", Paths: []string{"/x"}, Methods: []string{"GET", "PURGE"}},
			{ID: "both", Paths: []string{"/x"}, Methods: []string{"GET", "POST"}},
			{ID: "any", Paths: []string{"/x"}},
			{ID: "purge", Paths: []string{"/x"}, Methods: []string{"PURGE"}},
			{ID: "host", Hosts: []string{"a.test"}, Paths: []string{"/x"}},
			{ID: "prefix", Paths: []string{"/x*"}},
			{ID: "off", Paths: []string{"/x"}, Disabled: true},
		}, map[string][]string{
			"get": {`route "purge" is never found any more: route "get"` + all}, "both": nil, "any": nil,
			"purge": {never + `route "get"` + all}, "host": nil, "prefix": nil, "off": nil, "absent": nil,
		}},
		{"in all of its places", route.Options{}, []config{
			{ID: "a", Hosts: []string{"a.test"}, Paths: []string{"/x"}},
			{ID: "b", Hosts: []string{"b.test", "*.test"}, Paths: []string{"/x", "/y"}},
			{ID: "ab", Hosts: []string{"b.test", "a.test"}, Paths: []string{"/x"}},
			{ID: "c", Hosts: []string{"a.test", "c.test"}, Paths: []string{"/x"}},
		}, map[string][]string{
			"ab": {never + `the routes ["a" "b"] go before it and take all of its requests`}, "c": nil,
			"a": {`route "ab" is never found any more: the routes ["a" "b"] go before it and take all of its requests`},
		}},
		{"a prefix takes every pattern that is cut to it", route.Options{}, []config{
			{ID: "long", Paths: []string{"/x/*/y"}},
			{ID: "all", Paths: []string{"/x/*"}, Priority: 1},
			{ID: "same", Paths: []string{"/x/*/y"}, Priority: 2, Methods: []string{"PUT"}},
			{ID: "itself", Paths: []string{"/z/**", "/z/*"}},
		}, map[string][]string{
			"long": {never + `route "all"` + all}, "all": {`route "long" is never found any more: route "all"` + all}, "same": nil, "itself": nil,
		}},
		{"addresses", route.Options{}, []config{
			{ID: "net", Paths: []string{"/x"}, RemoteAddrs: []string{"10.0.0.0/9", "10.128.0.0/9", "::1"}},
			{ID: "in", Paths: []string{"/x"}, RemoteAddrs: []string{"10.1.0.0/16", "10.127.0.0/15", "::1"}},
			{ID: "out", Paths: []string{"/x"}, RemoteAddrs: []string{"10.1.0.0/16", "11.0.0.0"}},
			{ID: "larger", Paths: []string{"/x"}, RemoteAddrs: []string{"10.0.0.0/8"}},
			{ID: "before", Paths: []string{"/x"}, RemoteAddrs: []string{"9.0.0.0/8"}},
			{ID: "any", Paths: []string{"/x"}},
		}, map[string][]string{
			"in": {never + `route "net"` + all}, "out": nil, "larger": nil, "before": nil, "any": nil,
		}},
		{"ports", route.Options{}, []config{
			{ID: "80", Hosts: []string{"a.test:80"}, Paths: []string{"/x"}},
			{ID: "80 too", Hosts: []string{"a.test:80"}, Paths: []string{"/x"}},
			{ID: "any", Hosts: []string{"a.test"}, Paths: []string{"/x"}},
			{ID: "443", Hosts: []string{"a.test:443"}, Paths: []string{"/x"}},
		}, map[string][]string{
			"80": {`route "80 too" is never found any more: route "80"` + all}, "80 too": {never + `route "80"` + all}, "any": {`route "443" is never found any more: route "any"` + all},
			"443": {never + `route "any"` + all},
		}},
		{"hosts as a condition", route.Options{Router: route.RouterURI}, []config{
			{ID: "wide", Hosts: []string{"*.a.test", "b.test"}, Paths: []string{"/x"}},
			{ID: "in", Hosts: []string{"x.y.a.test", "*.z.a.test"}, Paths: []string{"/x"}},
			{ID: "out", Hosts: []string{"a.test", "b.test"}, Paths: []string{"/x"}},
			{ID: "below", Hosts: []string{"x.b.test"}, Paths: []string{"/x"}},
			{ID: "any", Paths: []string{"/x"}},
			{ID: "last", Hosts: []string{"*"}, Paths: []string{"/x"}},
		}, map[string][]string{
			"in": {never + `route "wide"` + all}, "out": nil, "below": nil, "any": {`route "last" is never found any more: route "any"` + all}, "last": {never + `route "any"` + all},
		}},
		{"a colon without parameters", route.Options{}, []config{{ID: "a", Paths: []string{"/u/:id", "/file:x", "/:/x", "/:"}}}, map[string][]string{
			"a": {`Paths[0]: the path "/u/:id" has no parameter: a colon is one to the router uri_with_parameter alone, and this is the router host_uri`},
		}},
		{"a colon with parameters", route.Options{Router: route.RouterURIWithParameter}, []config{
			{ID: "a", Paths: []string{"/u/:id"}}, {ID: "b", Paths: []string{"/u/:name"}}, {ID: "c", Paths: []string{"/u/*"}},
		}, map[string][]string{"a": nil, "b": nil, "c": nil}},
		{"braces", route.Options{}, []config{
			{ID: "a", Paths: []string{"/users/{id}", "/u/{id}/posts/{post_id}", "/files/{path...}", "/{$}", "/a/{id}/{$}", "/x/{no name}"}},
			{ID: "b", Paths: []string{"/u/{}", "/u/{a", "/u/a}", "/u/x{a}", "/u/{a}x"}},
		}, map[string][]string{"a": {
			`Paths[0]: the path "/users/{id}" has no parameter: braces stand for themselves; write "/users/*id", whose star takes slashes too, or "/users/:id" with the router uri_with_parameter`,
			`Paths[1]: the path "/u/{id}/posts/{post_id}" has no parameter: braces stand for themselves; write "/u/*id/posts/*post_id", whose star takes slashes too, or "/u/:id/posts/:post_id" with the router uri_with_parameter`,
			`Paths[2]: the path "/files/{path...}" has no parameter: braces stand for themselves; write "/files/*path"`,
			`Paths[3]: the path "/{$}" has no parameter: braces stand for themselves; write "/"`,
			`Paths[4]: the path "/a/{id}/{$}" has no parameter: braces stand for themselves; write "/a/*id/", whose star takes slashes too, or "/a/:id/" with the router uri_with_parameter`,
			`Paths[5]: the path "/x/{no name}" has no parameter: braces stand for themselves; write "/x/*", whose star takes slashes too, or "/x/:no name" with the router uri_with_parameter`,
		}, "b": nil}},
		{"braces with parameters", route.Options{Router: route.RouterURIWithParameter}, []config{{ID: "a", Paths: []string{"/users/{id}/{rest...}"}}}, map[string][]string{
			"a": {`Paths[0]: the path "/users/{id}/{rest...}" has no parameter: braces stand for themselves; write "/users/:id/*rest"`},
		}},
		{"the same conditions on what other patterns capture", route.Options{Router: route.RouterURIWithParameter}, []config{
			{ID: "rest", Paths: []string{"/u/*id"}, Vars: []any{[]any{"uri_param_id", "==", "1"}}, Priority: 1},
			{ID: "edit", Paths: []string{"/u/:id/edit"}, Vars: []any{[]any{"uri_param_id", "==", "1"}}},
			{ID: "twin", Paths: []string{"/u/*id"}, Vars: []any{[]any{"uri_param_id", "1"}}},
		}, map[string][]string{"edit": nil, "twin": {never + `route "rest"` + all}}},
		{"timeouts without a unit", route.Options{}, []config{
			{ID: "a", Paths: []string{"/a"}, Timeout: route.Timeout{Connect: 5, Send: time.Millisecond - 1, Read: 60}},
			{ID: "b", Paths: []string{"/b"}, Timeout: route.Timeout{Connect: time.Second, Send: time.Millisecond, Read: time.Minute}},
		}, map[string][]string{"a": {
			"Timeout.Connect: is 5ns (5e-09 seconds), below a millisecond, in which hardly a node answers: is the unit right?",
			"Timeout.Send: is 999.999µs (0.000999999 seconds), below a millisecond, in which hardly a node answers: is the unit right?",
			"Timeout.Read: is 60ns (6e-08 seconds), below a millisecond, in which hardly a node answers: is the unit right?",
		}, "b": nil}},
		{"paths that the options do not leave", route.Options{Paths: route.PathOptions{DeleteTailSlash: true}}, []config{
			{ID: "a", Paths: []string{"/", "/a/", "/a/*", "/b%2Fc", "/c/*/", "*/", "/*/", "*"}},
		}, map[string][]string{"a": {
			`Paths[1]: the path "/a/" is never found: the slash at the end of a path is not matched`,
			`Paths[3]: the path "/b%2Fc" is found for %252F alone: an encoded slash is matched as a slash`,
			`Paths[4]: the path "/c/*/" is never found: the slash at the end of a path is not matched`,
			`Paths[6]: the path "/*/" is never found: the slash at the end of a path is not matched`,
		}}},
		{"paths that the options leave", route.Options{Paths: route.PathOptions{EncodedSlash: true}}, []config{{ID: "a", Paths: []string{"/a/", "/b%2Fc"}}}, map[string][]string{"a": nil}},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := must(route.NewTable(&c.options))
			for _, r := range c.routes {
				table = table.With(mustNew(t, r))
			}
			for id, want := range c.want {
				require.Equal(t, want, told(t, id, table.Warnings(id)), id)
			}
		})
	}
	var empty *route.Table
	require.Nil(t, empty.Warnings("a"))
}

// told returns the warnings about a route as they are printed, without its ID.
func told(t testing.TB, id string, warnings []route.Warning) (texts []string) {
	t.Helper()
	for _, w := range warnings {
		text, ok := strings.CutPrefix(w.String(), fmt.Sprintf("route %q: ", id))
		require.True(t, ok, "%v", w)
		texts = append(texts, text)
	}
	return texts
}

// What a warning of braces advises does what was meant.
func TestWarningsOfBraces(t *testing.T) {
	advised := regexp.MustCompile(`(?:write|or) ("[^"]*")`)
	for _, router := range []route.Router{route.RouterHostURI, route.RouterURI, route.RouterURIWithParameter} {
		table := must(route.NewTable(&route.Options{Router: router})).With(mustNew(t, route.Config{ID: "a", Paths: []string{"/users/{id}/posts/{rest...}"}}))
		const target = "http://a.test/users/4711/posts/2026/1"
		m, err := table.MatchHTTP(httptest.NewRequest("GET", target, nil))
		require.NoError(t, err)
		require.Nil(t, m.Route)
		advice := advised.FindAllStringSubmatch(table.Warnings("a")[0].Text, -1)
		require.NotEmpty(t, advice)
		for i, a := range advice {
			path, err := strconv.Unquote(a[1])
			require.NoError(t, err)
			if i == 1 {
				router = route.RouterURIWithParameter
			}
			table := must(route.NewTable(&route.Options{Router: router})).With(mustNew(t, route.Config{ID: "a", Paths: []string{path}}))
			require.Empty(t, table.Warnings("a"))
			m, err := table.MatchHTTP(httptest.NewRequest("GET", target, nil))
			require.NoError(t, err)
			id, _ := m.Param("id")
			rest, _ := m.Param("rest")
			require.Equal(t, []string{"4711", "2026/1"}, []string{id, rest}, path)
		}
	}
}

// The limits of Warnings.
func TestWarningsOfMany(t *testing.T) {
	// Of many paths, some are told of.
	colons := mustNew(t, route.Config{ID: "a", Paths: numbered("/:a%d", 100)})
	warnings := new(route.Table).With(colons).Warnings("a")
	require.Len(t, warnings, 17)
	require.Equal(t, route.Warning{ID: "a", Text: "there are more warnings of this kind"}, warnings[16])

	config := func(id string, hosts int) route.Config {
		return route.Config{ID: id, Paths: []string{"/x"}, Hosts: numbered("h%d.test", hosts)}
	}
	vars := func(i int) []any { return []any{[]any{"arg_a", "==", strconv.Itoa(i)}} }

	// Of many hosts that are conditions, each would be compared with each.
	for router, want := range map[route.Router]bool{route.RouterHostURI: true, route.RouterURI: false} {
		table := must(route.NewTable(&route.Options{Router: router})).With(mustNew(t, config("a", 257)), mustNew(t, config("b", 257)))
		require.Equal(t, want, table.Warnings("b") != nil, router)
		table = table.With(mustNew(t, config("b", 255)))
		require.NotNil(t, table.Warnings("b"), router)
	}

	// Of many routes before and behind, some are looked at.
	table := new(route.Table).With(mustNew(t, config("first", 0)))
	for i := range 256 {
		c := config(strconv.Itoa(i), 0)
		c.Vars, c.Priority = vars(i), -i
		table = table.With(mustNew(t, c))
	}
	require.Len(t, table.Warnings("first"), 8)
	require.NotNil(t, table.Warnings("255"))
	c := config("last", 0)
	c.Vars, c.Priority = vars(-1), -256
	require.Nil(t, table.With(mustNew(t, c)).Warnings("last"))
	c = config("first", 0)
	c.Vars = vars(-1)
	table = table.With(mustNew(t, c))
	require.Nil(t, table.Warnings("first"))
	c.ID, c.Priority = "same", -255
	require.NotNil(t, table.With(mustNew(t, c)).Without("0").Warnings("same"))
	require.Equal(t, []string{`route "same" is never found any more: route "first" goes before it and takes all of its requests`},
		told(t, "first", table.With(mustNew(t, c)).Without("0").Warnings("first")))
	c.Priority = -256
	require.Nil(t, table.With(mustNew(t, c)).Warnings("same"))
	require.Nil(t, table.With(mustNew(t, c)).Warnings("first"))
}

// What a warning says is true: without the routes that it names, the route is
// found, and with them for no request.
func TestWarningsAreTrue(t *testing.T) {
	for seed := range uint64(60) {
		s := seeded(seed, 7)
		table := must(route.NewTable(&route.Options{Router: route.Router(seed % 3)}))
		for range 40 {
			table = table.With(mustNew(t, s.config()))
		}
		never := map[string]bool{}
		for r := range table.All() {
			for _, w := range table.Warnings(r.ID()) {
				if strings.HasPrefix(w.Text, "it is never found") {
					never[r.ID()] = true
				}
			}
		}
		for range 3000 {
			req := s.request()
			if m := table.Match(&req); m.Route != nil && never[m.Route.ID()] {
				t.Fatalf("%+v: route %q is found, of which it is said that it is not: %v", req, m.Route.ID(), table.Explain(&req))
			}
		}
	}
}
