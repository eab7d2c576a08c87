package route_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/route"
)

// request returns a request for a path that is not encoded, as a server has it.
func request(t testing.TB, method, host, path string) *http.Request {
	t.Helper()
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	target := (&url.URL{Path: path}).EscapedPath()
	u, err := url.ParseRequestURI(target)
	require.NoError(t, err, "%q", target)
	return &http.Request{Method: method, Host: host, URL: u, RequestURI: target}
}

func TestMatchHTTP(t *testing.T) {
	table := new(route.Table).With(
		mustNew(t, route.Config{ID: "admin", Hosts: []string{"a.test"}, Paths: []string{"/admin/*"}}),
		mustNew(t, route.Config{ID: "star", Hosts: []string{"*"}, Paths: []string{"/a b", "/café"}}),
		mustNew(t, route.Config{ID: "rest", Paths: []string{"/*"}}),
	)
	for _, c := range []struct {
		host, target string
		want, err    string
	}{
		{"a.test", "/admin/", "admin", ""},
		{"A.Test.:8080", "/admin/x?y=/../z", "admin", ""},
		{"a.test", "/public/../admin/x", "admin", ""},
		{"a.test", "/public/%2e%2e/admin/x", "admin", ""},
		{"a.test", "//admin//x", "admin", ""},
		{"a.test", "/%61dmin%2Fx", "admin", ""},
		{"a.test", "/admin", "rest", ""},
		{"a.test", "/Admin/x", "rest", ""},
		{"a.test", "/%2561dmin/x", "rest", ""},
		{"b.test", "/admin/x", "rest", ""},
		{"b.test", "/a%20b", "star", ""},
		{"b.test", "/caf%c3%a9", "star", ""},
		{"", "/a%20b", "rest", ""},
		{"a.test,b.test", "/", "", "route: the request's host is no name"},
		{"*.test", "/", "", "route: the request's host is no name"},
		{"a.test:x", "/", "", "route: the request's host is no name"},
		{":80", "/", "", "route: the request's host is no name"},
		{"a.test", "/../admin/x", "", "route: the request's path has a dot segment that leads above the root"},
		{"a.test", "/a%00", "", "route: the request's path has a control character"},
		{"a.test", "*", "", "route: the request's path does not begin with a slash"},
	} {
		u, err := url.ParseRequestURI(c.target)
		require.NoError(t, err)
		m, err := table.MatchHTTP(&http.Request{Method: "GET", Host: c.host, URL: u, RequestURI: c.target})
		if c.err != "" {
			require.EqualError(t, err, c.err, "%q %q", c.host, c.target)
			require.Zero(t, m)
			continue
		}
		require.NoError(t, err, "%q %q", c.host, c.target)
		require.Equal(t, c.want, idOf(m), "%q %q", c.host, c.target)
	}

	// A handler in front has the last word on the path.
	var got route.Match
	http.StripPrefix("/v1", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got, _ = table.MatchHTTP(r)
	})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://a.test/v1/admin/x", nil))
	require.Equal(t, "admin", idOf(got))

	var empty *route.Table
	m, err := empty.MatchHTTP(httptest.NewRequest("GET", "/", nil))
	require.NoError(t, err)
	require.Zero(t, m)
}

// However many hosts there are, in a route or in a table, each is found in every form (a list of
// over 100 names had a fast path that knew only one: CVE-2026-27588).
func TestHostsOfEveryNumber(t *testing.T) {
	for _, n := range []int{1, 31, 101, 10_001} {
		var table *route.Table
		var hosts []string
		var routes []*route.Route
		for i := range n {
			name, below := fmt.Sprintf("N%d.test", i), fmt.Sprintf("*.W%d.test", i)
			hosts = append(hosts, name, below)
			routes = append(routes, mustNew(t, route.Config{ID: fmt.Sprint(i), Hosts: []string{name, below}, Paths: []string{"/many"}}))
		}
		table = table.With(mustNew(t, route.Config{ID: "all", Hosts: hosts, Paths: []string{"/one"}})).With(routes...)
		for i := range n {
			for _, form := range []string{"n%d.test", "N%d.TEST", "n%d.test.", "n%d.Test.:8080", "a.w%d.test", "a.B.W%d.test.:080"} {
				host := fmt.Sprintf(form, i)
				for path, want := range map[string]string{"/many": fmt.Sprint(i), "/one": "all", "/none": ""} {
					m, err := table.MatchHTTP(request(t, "GET", host, path))
					require.NoError(t, err)
					require.Equal(t, want, idOf(m), "%d: %s%s", n, host, path)
				}
			}
		}
		for _, host := range []string{"w0.test", "xn0.test", "n0.test.x", fmt.Sprintf("n%d.test", n)} {
			m, err := table.MatchHTTP(request(t, "GET", host, "/one"))
			require.NoError(t, err)
			require.Zero(t, m, host)
		}
	}
}

// The client's address is that of the connection, as nginx would write it.
func TestClientAddress(t *testing.T) {
	table := new(route.Table).With(
		mustNew(t, route.Config{ID: "4", Paths: []string{"/"}, RemoteAddrs: []string{"192.0.2.0/24"}}),
		mustNew(t, route.Config{ID: "6", Paths: []string{"/"}, RemoteAddrs: []string{"fe80::1"}}),
	)
	for _, c := range []struct{ addr, plain, want string }{
		{"192.0.2.1", "192.0.2.1", "4"}, {"::ffff:192.0.2.1", "192.0.2.1", "4"}, {"fe80::1%eth0", "fe80::1", "6"}, {"fe80::2", "fe80::2", ""},
	} {
		require.Equal(t, c.want, idOf(table.Match(&route.Request{Path: "/", ClientAddr: netip.MustParseAddr(c.addr)})), c.addr)
		r := request(t, "GET", "a.test", "/")
		r.RemoteAddr = "[" + c.addr + "]:1234"
		if !strings.Contains(c.addr, ":") {
			r.RemoteAddr = c.addr + ":1234"
		}
		m, err := table.MatchHTTP(r)
		require.NoError(t, err)
		require.Equal(t, c.want, idOf(m), c.addr)
		x, err := table.ExplainHTTP(r)
		require.NoError(t, err)
		require.Equal(t, c.plain, x.Request.ClientAddr.String())
	}
	for _, addr := range []string{"", "@", "192.0.2.1", "localhost:80"} {
		r := request(t, "GET", "a.test", "/")
		r.RemoteAddr = addr
		m, err := table.MatchHTTP(r)
		require.NoError(t, err)
		require.Zero(t, m, addr)
	}
}

// What was found out about one request is not said of the next.
func TestMatchHTTPForgets(t *testing.T) {
	table := new(route.Table).With(
		mustNew(t, route.Config{ID: "form", Paths: []string{"/"}, Vars: []any{[]any{"post_arg_a", "==", "1 1"}}}),
		mustNew(t, route.Config{ID: "port", Paths: []string{"/"}, Vars: []any{[]any{"server_port", "==", "1"}}}),
		mustNew(t, route.Config{ID: "rest", Paths: []string{"/"}}),
	)
	for i := range 100 {
		r := request(t, "POST", "a.test", "/")
		r.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
		r.Body = io.NopCloser(strings.NewReader([]string{"a=1+1", "a=2+2", ""}[i%3]))
		if i%3 == 2 {
			r = r.WithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}))
		}
		m, err := table.MatchHTTP(r)
		require.NoError(t, err)
		require.Equal(t, []string{"form", "rest", "port"}[i%3], idOf(m))
	}
}

// Tables that are derived of one table at the same time do not disturb it, nor
// each other. The race detector watches.
func TestTableConcurrently(t *testing.T) {
	const workers = 4
	base := shapes[0].table(t, 100)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			table := base
			for i := range 100 {
				if (i+w)%3 == 0 {
					r := table.Get("route-" + string('1'+rune(i%9)))
					table = table.Without("route-" + string('1'+rune(i%9)))
					if r != nil {
						table = table.With(r)
					}
				}
				c := shapes[0].config(i, 0)
				c.ID = "route-0"
				c.Priority = w
				table = table.With(mustNew(t, c))
				req := shapes[0].hit(i, 0)
				require.NotNil(t, table.Match(&req).Route)
				require.NotNil(t, base.Match(&req).Route)
			}
			require.NoError(t, table.Check())
		})
	}
	wg.Wait()
	require.NoError(t, base.Check())
}

// A change copies the way to what is changed, and nothing else.
func TestWithCopiesLittle(t *testing.T) {
	for _, s := range shapes {
		table := s.table(t, 20_000)
		c := s.config(7, 20_000)
		c.ID = "route-7"
		r := mustNew(t, c)
		require.Less(t, testing.AllocsPerRun(10, func() { table.With(r) }), 20.0, s.name)
		require.Less(t, testing.AllocsPerRun(10, func() { table.Without("route-7") }), 20.0, s.name)
	}
}

// A route that is replaced costs the table, a leaf of the tree and one of the IDs: each with
// what is in it in one allocation, for which the garbage collector pays later.
func TestWithAllocations(t *testing.T) {
	c := route.Config{ID: "a", Hosts: []string{"a.test"}, Paths: []string{"/a"}}
	r := mustNew(t, c)
	require.EqualValues(t, 4, testing.AllocsPerRun(100, func() { new(route.Table).With(r) }), "the host too is new")
	c.Hosts = nil
	table := new(route.Table).With(mustNew(t, c))
	r = mustNew(t, c)
	require.EqualValues(t, 3, testing.AllocsPerRun(100, func() { table.With(r) }))
}

// Nearly all paths share what follows in their pattern, and make none of their own.
func TestPathAllocations(t *testing.T) {
	for path, want := range map[string]float64{
		"/a/b": 1, // the bytes that are no hole
		"/a/*": 3, // and the star, and its name
	} {
		all := testing.AllocsPerRun(100, func() { route.ReadPath(path) })
		check := testing.AllocsPerRun(100, func() { route.CheckPath(path) })
		require.Equal(t, want, all-check, path)
	}
}
