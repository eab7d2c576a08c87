package route_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/route"
)

// A shape is a set of n routes of one kind, with requests that find the route i
// of them and requests that come close.
type shape struct {
	name   string
	router route.Router
	config func(i, n int) route.Config
	hit    func(i, n int) route.Request
	miss   func(i, n int) route.Request
}

func get(host, path string) route.Request {
	return route.Request{Method: http.MethodGet, Host: host, Path: path}
}

// mixed spreads consecutive numbers, as ids are in practice.
func mixed(i int) uint32 { return uint32(i) * 2654435761 }

func itemPath(i int) string {
	return fmt.Sprintf("/api/v%d/%s/%08x", i%3, []string{"users", "orders", "invoices", "items"}[i%4], mixed(i))
}

func hostOf(i, n int) string { return fmt.Sprintf("tenant-%d.example.test", i%min(n, 1000)) }

var shapes = []shape{
	{
		name:   "exact",
		config: func(i, _ int) route.Config { return route.Config{Paths: []string{itemPath(i)}} },
		hit:    func(i, _ int) route.Request { return get("www.example.test", itemPath(i)) },
		miss:   func(i, _ int) route.Request { return get("www.example.test", itemPath(i)+"x") },
	},
	{
		name:   "prefix",
		config: func(i, _ int) route.Config { return route.Config{Paths: []string{itemPath(i) + "/*"}} },
		hit:    func(i, _ int) route.Request { return get("www.example.test", itemPath(i)+"/profile/picture.png") },
		miss:   func(i, _ int) route.Request { return get("www.example.test", itemPath(i)+"x/profile") },
	},
	{
		name:   "parameter",
		router: route.RouterURIWithParameter,
		config: func(i, _ int) route.Config { return route.Config{Paths: []string{itemPath(i) + "/:id/edit"}} },
		hit:    func(i, _ int) route.Request { return get("www.example.test", itemPath(i)+"/4711/edit") },
		miss:   func(i, _ int) route.Request { return get("www.example.test", itemPath(i)+"/4711/x/edit") },
	},
	{
		name: "hosts",
		config: func(i, n int) route.Config {
			return route.Config{Hosts: []string{hostOf(i, n)}, Paths: []string{itemPath(i) + "*"}}
		},
		hit:  func(i, n int) route.Request { return get(hostOf(i, n), itemPath(i)+"/profile") },
		miss: func(i, n int) route.Request { return get("x"+hostOf(i, n), itemPath(i)) },
	},
}

var sizes = []int{10, 100, 1000, 100_000}

func (s shape) table(b testing.TB, n int) *route.Table {
	routes := make([]*route.Route, n)
	for i := range routes {
		c := s.config(i, n)
		c.ID = fmt.Sprintf("route-%d", i)
		routes[i] = mustNew(b, c)
	}
	return must(route.NewTable(&route.Options{Router: s.router})).With(routes...)
}

// requests returns so many requests of random routes.
func requests(distinct, n int, of func(i, n int) route.Request) []route.Request {
	rnd := rand.New(rand.NewPCG(1, 2))
	out := make([]route.Request, distinct)
	for i := range out {
		out[i] = of(rnd.IntN(n), n)
	}
	return out
}

// Of 64 different requests in turn, all that they touch stays in the caches of
// the CPU; of 16384, among 100 000 routes, next to nothing does.
func BenchmarkMatch(b *testing.B) {
	for _, n := range sizes {
		for _, s := range shapes {
			table := s.table(b, n)
			for _, hit := range []bool{true, false} {
				of, name := s.hit, "y"
				if !hit {
					of, name = s.miss, "n"
				}
				for _, distinct := range []int{64, 16384} {
					reqs := requests(distinct, n, of)
					b.Run(fmt.Sprintf("routes=%d/shape=%s/hit=%s/distinct=%d", n, s.name, name, distinct), func(b *testing.B) {
						b.ReportAllocs()
						for i := 0; b.Loop(); i++ {
							if m := table.Match(&reqs[i%len(reqs)]); (m.Route != nil) != hit {
								b.Fatal(reqs[i%len(reqs)])
							}
						}
					})
				}
			}
		}
	}
}

// BenchmarkMatchAdversarial is what a bad configuration and a bad client can do
// together.
func BenchmarkMatchAdversarial(b *testing.B) {
	const n = 1000
	for _, c := range []struct {
		name   string
		config func(i int) route.Config
		req    route.Request
	}{
		{
			// Every prefix of the path is a route that does not take the method.
			"nested",
			func(i int) route.Config {
				return route.Config{Paths: []string{"/" + strings.Repeat("a", i) + "*"}, Methods: []string{"PUT"}}
			},
			get("a.test", "/"+strings.Repeat("a", n)),
		},
		{
			// One long prefix, and the routes differ in the last byte.
			"long",
			func(i int) route.Config {
				return route.Config{Paths: []string{"/" + strings.Repeat("a", 4000) + fmt.Sprint(i)}}
			},
			get("a.test", "/"+strings.Repeat("a", 4000)+"999x"),
		},
		{
			// Many routes of one path, none of which takes the method.
			"methods",
			func(int) route.Config {
				return route.Config{Paths: []string{"/a"}, Methods: []string{"PUT", "POST", "PURGE"}}
			},
			get("a.test", "/a"),
		},
		{
			// The same, with a method that is compared by name.
			"unusual",
			func(int) route.Config {
				return route.Config{Paths: []string{"/a"}, Methods: []string{"PUT", "POST", "PURGE"}}
			},
			route.Request{Method: "QUERY", Path: "/a"},
		},
		{
			// A wildcard for each label of the host.
			"labels",
			func(i int) route.Config {
				return route.Config{Hosts: []string{"*" + strings.Repeat(".a", 1+i%120)}, Paths: []string{"/a"}, Methods: []string{"PUT"}}
			},
			get(strings.Repeat("a.", 120)+"a", "/a"),
		},
		{
			// Many routes of one path, of which each has two conditions that do not
			// hold.
			"vars",
			func(i int) route.Config {
				return route.Config{Paths: []string{"/a"}, Vars: []any{
					[]any{"http_x_tenant", "==", "7"}, []any{"OR", []any{"arg_v", "==", i + 1}, []any{"cookie_v", "~~", fmt.Sprintf("^%d$", i)}},
				}}
			},
			route.Request{Method: "GET", Host: "a.test", Path: "/a", Lookups: route.NewHTTPLookups(&http.Request{
				Header: http.Header{"X-Tenant": {"7"}, "Cookie": {"a=b; v=x"}}, URL: &url.URL{RawQuery: "a=b&v=0"},
			})},
		},
		{
			// The same with addresses.
			"addrs",
			func(i int) route.Config {
				return route.Config{Paths: []string{"/a"}, RemoteAddrs: []string{fmt.Sprintf("10.%d.0.0/16", i%256), "2001:db8::/32", "192.0.2.1"}}
			},
			route.Request{Method: "GET", Host: "a.test", Path: "/a", ClientAddr: netip.MustParseAddr("198.51.100.1")},
		},
		{
			// A pattern with stars that fit almost everywhere, and do not fit.
			"stars",
			func(int) route.Config { return route.Config{Paths: []string{"/*/a/*/a/*/a/*/b"}} },
			get("a.test", strings.Repeat("/a", 500)),
		},
	} {
		var table *route.Table
		n := n
		switch c.name {
		case "vars", "stars":
			n = 50
		}
		for i := range n {
			cfg := c.config(i)
			cfg.ID = fmt.Sprint(i)
			table = table.With(mustNew(b, cfg))
		}
		b.Run(fmt.Sprintf("routes=%d/shape=%s/hit=n", n, c.name), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if table.Match(&c.req).Route != nil {
					b.Fatal()
				}
			}
		})
	}
}

// BenchmarkServeMux is the twin of BenchmarkMatch in net/http, where it has one.
// To make a ServeMux of 100 000 patterns takes minutes.
func BenchmarkServeMux(b *testing.B) {
	for _, n := range sizes[:3] {
		for _, s := range shapes[:2] {
			mux := http.NewServeMux()
			for i := range n {
				mux.Handle(strings.TrimSuffix(s.config(i, n).Paths[0], "*"), http.NotFoundHandler())
			}
			table := s.table(b, n)
			reqs := make([]*http.Request, 64)
			for i, req := range requests(len(reqs), n, s.hit) {
				reqs[i], _ = http.NewRequest(req.Method, "http://"+req.Host+req.Path, nil)
			}
			b.Run(fmt.Sprintf("routes=%d/shape=%s/hit=y/impl=net_http", n, s.name), func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if _, pattern := mux.Handler(reqs[i%len(reqs)]); pattern == "" {
						b.Fatal()
					}
				}
			})
			b.Run(fmt.Sprintf("routes=%d/shape=%s/hit=y/impl=table", n, s.name), func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if m, _ := table.MatchHTTP(reqs[i%len(reqs)]); m.Route == nil {
						b.Fatal()
					}
				}
			})
		}
	}
}

func BenchmarkWith(b *testing.B) {
	for _, n := range sizes {
		for _, s := range shapes {
			table := s.table(b, n)
			replaced, added := s.config(n/2, n), s.config(n, n)
			replaced.ID, added.ID = fmt.Sprintf("route-%d", n/2), "new"
			for change, r := range map[string]*route.Route{"replace": mustNew(b, replaced), "add": mustNew(b, added)} {
				b.Run(fmt.Sprintf("routes=%d/shape=%s/change=%s", n, s.name, change), func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						table.With(r)
					}
				})
			}
		}
	}
}

// BenchmarkBuild makes a table of nothing, in one With.
func BenchmarkBuild(b *testing.B) {
	for _, n := range sizes {
		for _, s := range shapes {
			routes := make([]*route.Route, 0, n)
			for r := range s.table(b, n).All() {
				routes = append(routes, r)
			}
			b.Run(fmt.Sprintf("routes=%d/shape=%s", n, s.name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					new(route.Table).With(routes...)
				}
			})
		}
	}
}

// BenchmarkBuildAdversarial makes tables of routes that have much in common. Twice as
// many may take four times as long, as they are twice as long or stand in one list; but
// not eight times.
func BenchmarkBuildAdversarial(b *testing.B) {
	for _, s := range []struct {
		name   string
		config func(i, n int) route.Config
	}{
		// Each path begins as all longer ones do, and then leaves them.
		{"long", func(i, _ int) route.Config { return route.Config{Paths: []string{"/" + strings.Repeat("a", i) + "b"}} }},
		// Routes of one path, of which each goes before all that are there.
		{"same", func(i, _ int) route.Config { return route.Config{Paths: []string{"/*"}, Priority: i} }},
		// One route with many hosts, and another that it hides.
		{"hosts", func(i, n int) route.Config {
			c := route.Config{Paths: []string{"/*"}}
			for host := range n {
				if i < 2 {
					c.Hosts = append(c.Hosts, fmt.Sprintf("h%d.test", host))
				}
			}
			return c
		}},
	} {
		for _, n := range []int{500, 1000, 2000} {
			routes := make([]*route.Route, n)
			for i := range routes {
				c := s.config(i, n)
				c.ID = fmt.Sprint(i)
				routes[i] = mustNew(b, c)
			}
			b.Run(fmt.Sprintf("routes=%d/shape=%s", n, s.name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					table := new(route.Table).With(routes...)
					table.Warnings("1")
				}
			})
		}
	}
}
