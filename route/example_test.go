package route_test

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/sallyport/sallyport/route"
)

// must is for what is known to be right when the program is written.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A route table in front of the handlers of a plain http.Server.
func Example() {
	say := func(s string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, s) })
	}
	table := new(route.Table).With(
		must(route.New(route.Config{ID: "shop", Hosts: []string{"shop.test"}, Paths: []string{"/*"}, Handler: say("the shop")})),
		must(route.New(route.Config{ID: "health", Paths: []string{"/health"}, Methods: []string{"GET", "HEAD"}, Handler: say("ok")})),
	)
	dispatch := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		found, err := table.MatchHTTP(r)
		switch {
		case err != nil:
			http.Error(w, err.Error(), http.StatusBadRequest)
		case found.Route == nil:
			http.NotFound(w, r)
		default:
			found.Route.Handler().ServeHTTP(w, r)
		}
	})

	server := httptest.NewServer(dispatch)
	defer server.Close()
	for _, to := range []struct{ host, path string }{
		{"shop.test", "/cart"},
		{"SHOP.test:8080", "/health"},
		{"other.test", "/health"},
		{"other.test", "/cart"},
	} {
		req, err := http.NewRequest("GET", server.URL+to.path, nil)
		if err != nil {
			panic(err)
		}
		req.Host = to.host
		resp, err := server.Client().Do(req)
		if err != nil {
			panic(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Printf("%s%s: %d %.8s\n", to.host, to.path, resp.StatusCode, body)
	}
	// Output:
	// shop.test/cart: 200 the shop
	// SHOP.test:8080/health: 200 the shop
	// other.test/health: 200 ok
	// other.test/cart: 404 404 page
}

// Readers load a pointer. Those who change the table take turns; no reader waits
// for them.
func Example_concurrency() {
	var (
		table   atomic.Pointer[route.Table]
		writing sync.Mutex // never taken by readers
	)
	put := func(c route.Config) error {
		r, err := route.New(c)
		if err != nil {
			return err
		}
		writing.Lock()
		defer writing.Unlock()
		table.Store(table.Load().With(r)) // a nil Table is an empty one
		return nil
	}

	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			err := put(route.Config{ID: fmt.Sprint(i), Paths: []string{fmt.Sprintf("/%d/*", i)}, Upstream: "u"})
			if err != nil {
				panic(err)
			}
		})
		all.Go(func() {
			t := table.Load() // once for each request: one table from its beginning to its end
			if m := t.Match(&route.Request{Method: "GET", Path: "/5/x"}); m.Route != nil && m.Route.ID() != "5" {
				panic(m.Route.ID())
			}
		})
	}
	all.Wait()
	fmt.Println(table.Load().Len(), "routes")
	// Output: 8 routes
}

func ExampleNew() {
	r, err := route.New(route.Config{
		ID:       "users",
		Hosts:    []string{"api.test", "*.api.test"},
		Paths:    []string{"/users", "/users/*"},
		Methods:  []string{"GET", "POST"},
		Upstream: "users",
	})
	fmt.Println(r.ID(), "to", r.Upstream(), err)
	// Output: users to users <nil>
}

// Every fault is reported, each with the field that it is in.
func ExampleNew_faults() {
	_, err := route.New(route.Config{
		ID:      "users",
		Hosts:   []string{"http://api.test"},
		Paths:   []string{"users", "/my%20files/*"},
		Methods: []string{"get"},
	})
	fmt.Println(err)
	// Output:
	// route "users": Hosts[0]: "http://api.test": must be a name alone, without scheme, port or path
	// route "users": Paths[0]: "users" does not begin with a slash, as every path does
	// route "users": Paths[1]: "/my%20files/*" is percent-encoded, and is compared with the decoded path: write "/my files/*"
	// route "users": Methods[0]: "get" is not in upper case, and methods are case-sensitive: write "GET"
	// route "users": Upstream: either this or Handler must be set
}

// What goes before what.
func ExampleTable_Match() {
	table := new(route.Table).With(
		must(route.New(route.Config{ID: "everything", Paths: []string{"/*"}, Priority: 100, Upstream: "u"})),
		must(route.New(route.Config{ID: "login", Paths: []string{"/login"}, Priority: 100, Upstream: "u"})),
		must(route.New(route.Config{ID: "shops", Hosts: []string{"*.shop.test"}, Paths: []string{"/*"}, Upstream: "u"})),
		must(route.New(route.Config{ID: "shops-api", Hosts: []string{"*.shop.test"}, Paths: []string{"/api/*"}, Upstream: "u"})),
		must(route.New(route.Config{ID: "shops-ping", Hosts: []string{"*.shop.test"}, Paths: []string{"/api/ping"}, Upstream: "u"})),
		must(route.New(route.Config{ID: "canary", Hosts: []string{"*.shop.test"}, Paths: []string{"/api/*"}, Methods: []string{"GET"}, Priority: 1, Upstream: "u"})),
	)
	for _, req := range []route.Request{
		{Method: "GET", Host: "a.test", Path: "/login"},          // an exact path before a prefix
		{Method: "GET", Host: "a.shop.test", Path: "/login"},     // a host before none, whatever path and priority
		{Method: "GET", Host: "a.shop.test", Path: "/api/ping"},  // an exact path before a prefix, whatever the priority
		{Method: "GET", Host: "a.shop.test", Path: "/api/users"}, // of the same path, the higher priority
		{Method: "PUT", Host: "a.shop.test", Path: "/api/users"}, // which takes GET alone: the next
		{Method: "PUT", Host: "shop.test", Path: "/api/users"},   // *.shop.test is not shop.test
	} {
		fmt.Printf("%s %s%s: %s\n", req.Method, req.Host, req.Path, table.Match(&req).Route.ID())
	}
	// Output:
	// GET a.test/login: login
	// GET a.shop.test/login: shops
	// GET a.shop.test/api/ping: shops-ping
	// GET a.shop.test/api/users: canary
	// PUT a.shop.test/api/users: shops-api
	// PUT shop.test/api/users: everything
}

// Wrong: what the client sent is given to Match as it came. Match compares bytes,
// and a client that writes a path in another way is past the route that guards it.
func ExampleTable_Match_incorrect() {
	table := new(route.Table).With(
		must(route.New(route.Config{ID: "guarded", Hosts: []string{"a.test"}, Paths: []string{"/admin/*"}, Upstream: "u"})),
		must(route.New(route.Config{ID: "open", Paths: []string{"/*"}, Upstream: "u"})),
	)
	r := httptest.NewRequest("GET", "http://a.test:8080/x/..//admin/users", nil)

	wrong := table.Match(&route.Request{Method: r.Method, Host: r.Host, Path: r.URL.Path})
	right, err := table.MatchHTTP(r)
	fmt.Println("Match:", wrong.Route.ID())
	fmt.Println("MatchHTTP:", right.Route.ID(), err)
	// Output:
	// Match: open
	// MatchHTTP: guarded <nil>
}

// A request that has no reading gets an error, and should get a 400.
func ExampleTable_MatchHTTP() {
	table := new(route.Table).With(
		must(route.New(route.Config{ID: "files", Paths: []string{"/my files/*"}, Upstream: "u"})),
	)
	for _, target := range []string{"/my%20files/x", "/other", "/../etc/passwd"} {
		m, err := table.MatchHTTP(httptest.NewRequest("GET", target, nil))
		switch {
		case err != nil:
			fmt.Println("400:", err)
		case m.Route == nil:
			fmt.Println("404")
		default:
			fmt.Println(m.Route.ID())
		}
	}
	// Output:
	// files
	// 404
	// 400: route: the request's path has a dot segment that leads above the root
}

// A changed copy leaves the table that it was made of as it was, and a route that
// is replaced where it was.
func ExampleTable_With() {
	one := new(route.Table).With(
		must(route.New(route.Config{ID: "a", Paths: []string{"/*"}, Upstream: "old"})),
		must(route.New(route.Config{ID: "b", Paths: []string{"/*"}, Upstream: "other"})),
	)
	two := one.With(must(route.New(route.Config{ID: "a", Paths: []string{"/*"}, Upstream: "new"})))

	req := &route.Request{Method: "GET", Path: "/"}
	fmt.Println(one.Match(req).Route.Upstream(), two.Match(req).Route.Upstream(), two.Len())
	// Output: old new 2
}

func ExampleTable_Without() {
	table := new(route.Table).With(
		must(route.New(route.Config{ID: "a", Paths: []string{"/*"}, Upstream: "u"})),
		must(route.New(route.Config{ID: "b", Paths: []string{"/*"}, Upstream: "u"})),
	)
	fmt.Println(table.Without("a").Match(&route.Request{Method: "GET", Path: "/"}).Route.ID())
	fmt.Println(table.Without("x") == table)
	// Output:
	// b
	// true
}

// What a route is for, as it was read.
func ExampleRoute_Hosts() {
	r := must(route.New(route.Config{
		ID: "api", Hosts: []string{"A.Test"}, Paths: []string{"/v1/*"}, Methods: []string{"POST", "GET"}, Upstream: "u",
	}))
	fmt.Println(r.Methods(), r.Hosts(), r.Paths())
	// Output: [GET POST] [a.test] [/v1/*]
}

func ExampleTable_All() {
	table := new(route.Table).With(
		must(route.New(route.Config{ID: "b", Paths: []string{"/b"}, Upstream: "u"})),
		must(route.New(route.Config{ID: "a", Paths: []string{"/a"}, Upstream: "v"})),
	)
	for r := range table.All() {
		fmt.Println(r.ID(), r.Upstream())
	}
	fmt.Println(table.Get("a").Upstream(), table.Get("c") == nil)
	// Output:
	// b u
	// a v
	// v true
}

// What stood where a pattern has a parameter or a star can be read afterwards.
func ExampleMatch_Param() {
	empty, err := route.NewTable(&route.Options{Router: route.RouterURIWithParameter})
	if err != nil {
		log.Fatal(err)
	}
	table := empty.With(
		must(route.New(route.Config{ID: "avatar", Paths: []string{"/users/:id/avatars/*file"}, Upstream: "u"})),
	)
	m := table.Match(&route.Request{Method: "GET", Path: "/users/4711/avatars/2026/large.png"})
	id, ok := m.Param("id")
	fmt.Println(m.Pattern(), id, ok)
	for name, value := range m.Params() {
		fmt.Println(name, "=", value)
	}
	// Output:
	// /users/:id/avatars/*file 4711 true
	// id = 4711
	// file = 2026/large.png
}

// As the README has it.
func ExampleTable_MatchHTTP_star() {
	user, err := route.New(route.Config{ID: "user", Paths: []string{"/users/*id"}, Upstream: "users"})
	if err != nil {
		log.Fatal(err)
	}
	table := new(route.Table).With(user)
	match, err := table.MatchHTTP(httptest.NewRequest("GET", "https://a.test/users/4711/avatar", nil))
	if err != nil {
		log.Fatal(err)
	}
	id, _ := match.Param("id")
	fmt.Println(match.Route.ID(), id)
	// Output:
	// user 4711/avatar
}

// With the router uri, the path goes before the host.
func ExampleNewTable() {
	routes := []*route.Route{
		must(route.New(route.Config{ID: "host", Hosts: []string{"a.test"}, Paths: []string{"/*"}, Upstream: "u"})),
		must(route.New(route.Config{ID: "path", Paths: []string{"/login"}, Upstream: "u"})),
	}
	for _, router := range []route.Router{route.RouterHostURI, route.RouterURI} {
		empty, err := route.NewTable(&route.Options{Router: router})
		if err != nil {
			log.Fatal(err)
		}
		table := empty.With(routes...)
		fmt.Println(table.Options().Router, table.Match(&route.Request{Method: "GET", Host: "a.test", Path: "/login"}).Route.ID())
	}
	// Output:
	// host_uri host
	// uri path
}

// A flag for the router.
func ExampleRouter_UnmarshalText() {
	var router route.Router
	flags := flag.NewFlagSet("gateway", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.TextVar(&router, "router", route.RouterHostURI, "host_uri, uri or uri_with_parameter")
	fmt.Println(flags.Parse([]string{"-router", "uri_with_parameter"}), router)
	fmt.Println(flags.Parse([]string{"-router", "radix"}))
	// Output:
	// <nil> uri_with_parameter
	// invalid value "radix" for flag -router: route: "radix" is none of host_uri, uri and uri_with_parameter
}

// Why is a route with a priority of 100 not found?
func ExampleTable_Explain() {
	table := new(route.Table).With(
		must(route.New(route.Config{ID: "maintenance", Paths: []string{"/*"}, Priority: 100, Upstream: "u"})),
		must(route.New(route.Config{ID: "api", Hosts: []string{"a.test"}, Paths: []string{"/api/*"}, Upstream: "u"})),
		must(route.New(route.Config{ID: "upload", Hosts: []string{"a.test"}, Paths: []string{"/api/files/*"}, Methods: []string{"PUT"}, Upstream: "u"})),
	)
	fmt.Print(table.Explain(&route.Request{Method: "GET", Host: "a.test", Path: "/api/files/1"}))
	// Output:
	// GET a.test/api/files/1: route "api"
	// - route "upload" (a.test/api/files/*, priority 0): passed over: the method is none of PUT
	// - route "api" (a.test/api/*, priority 0): found
	// - route "maintenance" (/*, priority 100): not reached: route "api" is for the host a.test, and hosts go first, whatever the priorities
}

func ExampleTable_ExplainHTTP() {
	table := new(route.Table).With(
		must(route.New(route.Config{ID: "inside", Paths: []string{"/*"}, RemoteAddrs: []string{"10.0.0.0/8"}, Upstream: "u"})),
	)
	x, err := table.ExplainHTTP(httptest.NewRequest("GET", "http://A.test/x/../y", nil)) // from 192.0.2.1
	if err != nil {
		panic(err)
	}
	fmt.Print(x)
	// Output:
	// GET a.test/y: no route
	// - route "inside" (/*, priority 0): passed over: RemoteAddrs: the client's address 192.0.2.1 is not in them
}

// A device is what another protocol than HTTP knows of a request.
type device struct{ model string }

func (d device) Lookup(kind route.VarKind, name string) (string, bool) {
	return d.model, kind == route.VarOther && name == "model"
}

func (device) LookupAll(string) ([]string, bool) { return nil, false }

// Conditions on what a server of another kind knows. The warning is for those who have
// no such Lookups.
func ExampleLookups() {
	table := new(route.Table).With(
		must(route.New(route.Config{ID: "old", Paths: []string{"/*"}, Vars: []any{[]any{"model", "~~", "^v[12]$"}}, Upstream: "u"})),
		must(route.New(route.Config{ID: "rest", Paths: []string{"/*"}, Upstream: "v"})),
	)
	for _, model := range []string{"v1", "v3"} {
		m := table.Match(&route.Request{Method: "GET", Path: "/firmware", Lookups: device{model}})
		fmt.Println(model, m.Route.ID())
	}
	for _, warning := range table.Warnings("old") {
		fmt.Println(warning)
	}
	// Output:
	// v1 old
	// v3 rest
	// route "old": Vars[0]: "model" is unknown: unless Lookups of your own know it, it is always absent
}

// By which of its hosts a request has found a route.
func ExampleRoute_HostFor() {
	r := must(route.New(route.Config{ID: "a", Hosts: []string{"a.test", "*.test", "*.b.test"}, Paths: []string{"/*"}, Upstream: "u"}))
	for _, name := range []string{"a.test", "x.y.b.test", "x.test", "x.example"} {
		fmt.Println(r.HostFor(name))
	}
	// Output:
	// a.test true
	// *.b.test true
	// *.test true
	//  false
}

func ExamplePortOf() {
	for _, host := range []string{"a.test:8080", "[::1]:0080", "a.test", "[::1]"} {
		fmt.Printf("%q\n", route.PortOf(host))
	}
	// Output:
	// "8080"
	// "80"
	// ""
	// ""
}

// Two routes for the same requests.
func ExampleTable_Warnings() {
	table := new(route.Table).With(
		must(route.New(route.Config{ID: "a", Paths: []string{"/users/*"}, Upstream: "u"})),
		must(route.New(route.Config{ID: "b", Paths: []string{"/users/*"}, Methods: []string{"GET"}, Upstream: "v"})),
	)
	for _, warning := range table.Warnings("b") {
		fmt.Println(warning)
	}
	// Output: route "b": it is never found: route "a" goes before it and takes all of its requests
}

// What a route changes in the header of a request, for a server that writes it.
func ExampleRoute_Headers() {
	r := must(route.New(route.Config{ID: "api", Paths: []string{"/*"}, Upstream: "u", Headers: route.HeaderEdits{
		Set:    []route.HeaderField{{Name: "X-From", Value: "${remote_addr} for $host"}},
		Remove: []string{"X-Debug"},
	}}))
	client := []route.HeaderField{{Name: "Accept", Value: "*/*"}, {Name: "X_From", Value: "root"}, {Name: "x-debug", Value: "1"}}
	req := &route.Request{Host: "a.test", Path: "/", ClientAddr: netip.MustParseAddr("192.0.2.1")}

	var node []route.HeaderField
	for _, field := range client {
		if !r.Headers().Removes(field.Name) {
			node = append(node, field)
		}
	}
	node = r.Headers().Append(node, req, nil)
	for _, field := range node {
		fmt.Printf("%s: %s\n", field.Name, field.Value)
	}
	// Output:
	// Accept: */*
	// X-From: 192.0.2.1 for a.test
}

func ExampleClientCertHeaders() {
	h := route.ClientCert | route.ClientCertXFCC
	fmt.Println(h)
	_, err := route.New(route.Config{ID: "1", Paths: []string{"/*"}, Upstream: "u", ClientCert: h | route.ClientCertNone})
	fmt.Println(err)
	// Output:
	// ClientCert|ClientCertXFCC
	// route "1": ClientCert: ClientCert|ClientCertXFCC|ClientCertNone: ClientCertNone stands alone
}

func ExampleClientCertHeaders_Validate() {
	fmt.Println(route.ClientCertChain.Validate())
	fmt.Println((route.ClientCertNginx | route.ClientCertNone).Validate())
	// Output:
	// <nil>
	// ClientCertNginx|ClientCertNone: ClientCertNone stands alone
}
