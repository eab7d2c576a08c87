// Package benchmarks compares a route.Table with routers that can do a part of what
// it does. It is a module of its own, so that who imports the library does not
// download them.
//
//	go test -bench . -benchmem | benchstat -col /impl -
package benchmarks

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-chi/chi/v5"
	iradix "github.com/hashicorp/go-immutable-radix/v2"

	"github.com/sallyport/sallyport/route"
)

// A shape is a kind of routes, with the request that finds the route i of n.
type shape struct {
	name    string
	host    func(i int) string // none if nil
	pattern func(i int) string // as route has it
	mux     func(i int) string // as net/http has it
	chi     func(i int) string // as chi has it; nil if it has no such
	radix   func(i int) string // the prefix; nil if it has no such
	path    func(i int) string
}

func item(i int) string {
	// Numbers that are spread, as ids are in practice.
	return fmt.Sprintf("/api/v%d/%s/%08x", i%3, []string{"users", "orders", "invoices", "items"}[i%4], uint32(i)*2654435761)
}

func host(i int) string { return fmt.Sprintf("tenant-%d.example.test", i%1000) }

var shapes = []shape{
	{
		name:    "exact",
		pattern: item,
		mux:     func(i int) string { return item(i) },
		chi:     item,
		path:    item,
	},
	{
		name:    "prefix",
		pattern: func(i int) string { return item(i) + "/*" },
		mux:     func(i int) string { return item(i) + "/" },
		chi:     func(i int) string { return item(i) + "/*" },
		radix:   func(i int) string { return item(i) + "/" },
		path:    func(i int) string { return item(i) + "/profile/picture.png" },
	},
	{
		name:    "parameter",
		pattern: func(i int) string { return item(i) + "/:id/edit" },
		mux:     func(i int) string { return item(i) + "/{id}/edit" },
		chi:     func(i int) string { return item(i) + "/{id}/edit" },
		path:    func(i int) string { return item(i) + "/4711/edit" },
	},
	{
		name:    "hosts",
		host:    host,
		pattern: item,
		mux:     func(i int) string { return host(i) + item(i) },
		path:    item,
	},
}

// ServeMux compares each pattern with all others when it is added: 100 000 of them
// take it minutes.
const mostOfMux = 10_000

func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000, 100_000} {
		for _, s := range shapes {
			requests := make([]*http.Request, 1024)
			views := make([]route.Request, len(requests))
			rnd := rand.New(rand.NewPCG(1, 2))
			for i := range requests {
				k := rnd.IntN(n)
				name := "www.example.test"
				if s.host != nil {
					name = s.host(k)
				}
				r, err := http.NewRequest(http.MethodGet, "http://"+name+s.path(k), nil)
				if err != nil {
					b.Fatal(err)
				}
				r.RequestURI = s.path(k)
				requests[i] = r
				views[i] = route.Request{Method: r.Method, Host: name, Path: r.URL.Path}
			}
			run := func(impl string, find func(i int) bool) {
				b.Run(fmt.Sprintf("routes=%d/shape=%s/impl=%s", n, s.name, impl), func(b *testing.B) {
					b.ReportAllocs()
					for i := 0; b.Loop(); i++ {
						if !find(i % len(requests)) {
							b.Fatal("not found")
						}
					}
				})
			}

			table := newTable(b, s, n)
			run("table", func(i int) bool { return table.Match(&views[i]).Route != nil })
			run("table_http", func(i int) bool { m, _ := table.MatchHTTP(requests[i]); return m.Route != nil })
			if n <= mostOfMux {
				mux := http.NewServeMux()
				for i := range n {
					mux.Handle(s.mux(i), http.NotFoundHandler())
				}
				run("net_http", func(i int) bool { _, pattern := mux.Handler(requests[i]); return pattern != "" })
			}
			if s.chi != nil {
				router := chi.NewRouter()
				for i := range n {
					router.Handle(s.chi(i), http.NotFoundHandler())
				}
				ctx := chi.NewRouteContext()
				run("chi", func(i int) bool { ctx.Reset(); return router.Match(ctx, http.MethodGet, views[i].Path) })
			}
			if s.radix != nil {
				tree := iradix.New[int]()
				for i := range n {
					tree, _, _ = tree.Insert([]byte(s.radix(i)), i)
				}
				run("iradix", func(i int) bool {
					_, _, ok := tree.Root().LongestPrefix([]byte(views[i].Path))
					return ok
				})
			}
		}
	}
}

func newTable(b testing.TB, s shape, n int) *route.Table {
	routes := make([]*route.Route, n)
	for i := range routes {
		c := route.Config{ID: fmt.Sprint(i), Paths: []string{s.pattern(i)}, Upstream: "u"}
		if s.host != nil {
			c.Hosts = []string{s.host(i)}
		}
		r, err := route.New(c)
		if err != nil {
			b.Fatal(err)
		}
		routes[i] = r
	}
	o := route.Options{}
	if s.name == "parameter" {
		o.Router = route.RouterURIWithParameter
	}
	return must(route.NewTable(&o)).With(routes...)
}

// BenchmarkChange replaces one of n routes, in a copy, in what can be changed.
func BenchmarkChange(b *testing.B) {
	s := shapes[1]
	for _, n := range []int{100, 100_000} {
		table := newTable(b, s, n)
		r, err := route.New(route.Config{ID: "0", Paths: []string{s.pattern(0)}, Upstream: "v"})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("routes=%d/impl=table", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				table.With(r)
			}
		})
		tree := iradix.New[int]()
		for i := range n {
			tree, _, _ = tree.Insert([]byte(s.radix(i)), i)
		}
		key := []byte(s.radix(0))
		b.Run(fmt.Sprintf("routes=%d/impl=iradix", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				tree.Insert(key, 1)
			}
		})
	}
}

// The comparison is one only if all find the same.
func TestAllFindTheSame(t *testing.T) {
	const n = 200
	for _, s := range shapes {
		table := newTable(t, s, n)
		mux, router, tree := http.NewServeMux(), chi.NewRouter(), iradix.New[int]()
		for i := range n {
			answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, i) })
			mux.Handle(s.mux(i), answer)
			if s.chi != nil {
				router.Handle(s.chi(i), answer)
			}
			if s.radix != nil {
				tree, _, _ = tree.Insert([]byte(s.radix(i)), i)
			}
		}
		for i := range n {
			name := "www.example.test"
			if s.host != nil {
				name = s.host(i)
			}
			want := fmt.Sprint(i)
			if m := table.Match(&route.Request{Method: http.MethodGet, Host: name, Path: s.path(i)}); m.Route == nil || m.Route.ID() != want {
				t.Errorf("%s %d: the table finds %v", s.name, i, m.Route)
			}
			handlers := []http.Handler{mux}
			if s.chi != nil {
				handlers = append(handlers, router)
			}
			for _, h := range handlers {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://"+name+s.path(i), nil))
				if w.Body.String() != want {
					t.Errorf("%s %d: %T finds %q", s.name, i, h, w.Body)
				}
			}
			if s.radix != nil {
				if _, got, _ := tree.Root().LongestPrefix([]byte(s.path(i))); got != i {
					t.Errorf("%s %d: the radix tree finds %d", s.name, i, got)
				}
			}
		}
	}
}

// must is for what is known to be right when the test is written.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
