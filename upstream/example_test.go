package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"strconv"
	"time"

	"github.com/sallyport/sallyport/upstream"
)

// serve starts a server that answers with its name, and returns it as a node.
func serve(name string) (upstream.Node, func()) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s: %s %s for %s", name, r.Method, r.URL.Path, r.Host)
	}))
	host, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		log.Fatal(err)
	}
	return upstream.Node{Host: host, Port: number, Weight: 1}, s.Close
}

// A pool under a reverse proxy of the standard library.
func Example() {
	node, stop := serve("node")
	defer stop()

	u, err := upstream.New(upstream.Config{ID: "api", Nodes: []upstream.Node{node}})
	if err != nil {
		log.Fatal(err)
	}
	pool := upstream.NewPool(u, nil)
	defer pool.Close()

	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.Host = "api.internal" // what the node sees
			r.SetXForwarded()
		},
		Transport: pool,
	})
	defer proxy.Close()

	resp, err := http.Get(proxy.URL + "/hello")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(resp.StatusCode, string(body))
	// Output: 200 node: GET /hello for api.internal
}

// A pool under an http.Client: the name in the URL is what the node sees, and where
// the request goes is the pool's choice.
func ExampleNewPool() {
	node, stop := serve("node")
	defer stop()
	u, err := upstream.New(upstream.Config{ID: "api", Nodes: []upstream.Node{node}})
	if err != nil {
		log.Fatal(err)
	}
	pool := upstream.NewPool(u, nil)
	defer pool.Close()

	client := &http.Client{Transport: pool}
	resp, err := client.Get("http://api.internal/hello")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(body))
	// Output: node: GET /hello for api.internal
}

// All that is wrong is told at once, field by field.
func ExampleNew() {
	_, err := upstream.New(upstream.Config{
		ID:       "api",
		Nodes:    []upstream.Node{{Host: "10.0.0.1:8080", Weight: 1}},
		Balancer: upstream.BalancerCHash,
	})
	fmt.Println(err)

	var fault *upstream.ConfigError
	if errors.As(err, &fault) {
		fmt.Println("the first is in", fault.Field)
	}
	// Output:
	// upstream "api": Nodes[0].Host: "10.0.0.1:8080" must be a name or an address alone: the port goes into Port
	// upstream "api": HashKey: is empty, and the balancer "chash" needs one: "remote_addr" for example
	// the first is in Nodes[0].Host
}

// What an upstream is, for a list of them.
func ExampleUpstream_Warnings() {
	u, err := upstream.New(upstream.Config{
		ID: "billing", Scheme: upstream.SchemeHTTPS, Nodes: []upstream.Node{{Host: "10.0.0.1", Weight: 1}, {Host: "10.0.0.2"}},
		TLS: upstream.TLS{DangerouslySkipServerVerify: true},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(u.ID(), u.Scheme(), u.Balancer())
	for _, warning := range u.Warnings() {
		fmt.Println(warning)
	}
	// Output:
	// billing https roundrobin
	// upstream "billing": TLS.DangerouslySkipServerVerify: the certificates of its nodes are not verified: whoever sits between reads and changes everything
	// upstream "billing": Nodes: nodes of Weight 0 beside others with more get no requests: 10.0.0.2:443 (set Weight, unless that is meant)
}

// A new configuration takes over what stays.
func ExamplePool_Replace() {
	a, stopA := serve("a")
	defer stopA()
	b, stopB := serve("b")
	defer stopB()

	before, err := upstream.New(upstream.Config{ID: "api", Nodes: []upstream.Node{a}})
	if err != nil {
		log.Fatal(err)
	}
	after, err := upstream.New(upstream.Config{ID: "api", Nodes: []upstream.Node{a, b}})
	if err != nil {
		log.Fatal(err)
	}

	pool := upstream.NewPool(before, nil)
	client := &http.Client{Transport: pool}
	if resp, err := client.Get("http://api.internal/"); err == nil {
		resp.Body.Close()
	}

	next := pool.Replace(after, nil)
	pool.Close()
	defer next.Close()
	for i, n := range next.Nodes() {
		fmt.Printf("node %d: %d requests\n", i, n.Requests)
	}
	// Output:
	// node 0: 1 requests
	// node 1: 0 requests
}

// Which node has answered, and how many were tried for it.
func ExampleCallReport() {
	origin := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer origin.Close()
	address := origin.Listener.Addr().(*net.TCPAddr)
	u, err := upstream.New(upstream.Config{
		ID: "api",
		Nodes: []upstream.Node{
			{Host: "127.0.0.1", Port: 1, Weight: 1, Priority: 1}, // nobody is there
			{Host: "127.0.0.1", Port: address.Port, Weight: 1},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	pool := upstream.NewPool(u, nil)
	defer pool.Close()

	req, err := http.NewRequest("GET", "http://api.internal/", nil)
	if err != nil {
		log.Fatal(err)
	}
	var report upstream.CallReport
	res, err := pool.Do(req, &upstream.CallOptions{Report: &report})
	if err != nil {
		log.Fatal(err)
	}
	res.Body.Close()
	fmt.Println(report.Attempts, report.Node == address.String())
	// Output: 2 true
}

// A route can have less patience than its upstream.
func ExamplePool_Do() {
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
	}))
	defer silent.Close()
	address := silent.Listener.Addr().(*net.TCPAddr)

	u, err := upstream.New(upstream.Config{
		ID:    "api",
		Nodes: []upstream.Node{{Host: "localhost", Port: address.Port, Weight: 1}},
	})
	if err != nil {
		log.Fatal(err)
	}
	pool := upstream.NewPool(u, nil)
	defer pool.Close()

	req, err := http.NewRequest("GET", "http://api.internal/", nil)
	if err != nil {
		log.Fatal(err)
	}
	_, err = pool.Do(req, &upstream.CallOptions{
		Timeout: upstream.Timeout{Read: 10 * time.Millisecond},
	})
	var failed *upstream.Error
	if errors.As(err, &failed) {
		fmt.Println(failed.Status, failed.Err)
	}
	// Output: 504 no answer within 10ms
}

// What a gateway answers where no node did. The text is for its log.
func ExampleError() {
	u, err := upstream.New(upstream.Config{ID: "api"})
	if err != nil {
		log.Fatal(err)
	}
	pool := upstream.NewPool(u, nil)
	defer pool.Close()
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(*httputil.ProxyRequest) {},
		Transport: pool,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			status := http.StatusBadGateway
			var failed *upstream.Error
			if errors.As(err, &failed) {
				status = failed.Status
			}
			fmt.Println("log:", err)
			http.Error(w, http.StatusText(status), status)
		},
	}
	answer := httptest.NewRecorder()
	proxy.ServeHTTP(answer, httptest.NewRequest("GET", "/", nil))
	fmt.Println("answer:", answer.Code)
	// Output:
	// log: upstream "api": no node
	// answer: 503
}

// The shares of the nodes are exact.
func ExamplePool_Nodes() {
	a, stopA := serve("a")
	defer stopA()
	b, stopB := serve("b")
	defer stopB()
	a.Weight, b.Weight = 3, 1

	u, err := upstream.New(upstream.Config{ID: "api", Nodes: []upstream.Node{a, b}})
	if err != nil {
		log.Fatal(err)
	}
	pool := upstream.NewPool(u, nil)
	defer pool.Close()
	client := &http.Client{Transport: pool}
	for range 40 {
		if resp, err := client.Get("http://api.internal/"); err == nil {
			resp.Body.Close()
		}
	}
	for _, n := range pool.Nodes() {
		fmt.Println(n.Weight, n.Requests, n.InFlight, n.Failures)
	}
	// Output:
	// 3 30 0 0
	// 1 10 0 0
}

// A client that has done its work leaves no connection behind. The pool can still be used.
func ExamplePool_CloseIdleConnections() {
	node, stop := serve("node")
	defer stop()
	u, err := upstream.New(upstream.Config{ID: "api", Nodes: []upstream.Node{node}})
	if err != nil {
		log.Fatal(err)
	}
	pool := upstream.NewPool(u, nil)
	defer pool.Close()

	client := &http.Client{Transport: pool}
	for range 2 {
		resp, err := client.Get("http://api.test/")
		if err != nil {
			log.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			log.Fatal(err)
		}
		resp.Body.Close()
		fmt.Println(string(body))
		client.CloseIdleConnections() // calls the pool's
	}
	// Output:
	// node: GET / for api.test
	// node: GET / for api.test
}

// A gRPC service whose name has an address for each of its instances, as a headless
// service in Kubernetes has. The calls are spread over all of them.
func ExampleConfig_grpc() {
	_, err := upstream.New(upstream.Config{
		ID:     "orders",
		Scheme: upstream.SchemeGRPC,
		Nodes:  []upstream.Node{{Host: "orders.shop.svc.cluster.local", Port: 50051}},
	})
	fmt.Println(err)
	// Output: <nil>
}

// Retries are bounded for all requests together, and a body is sent again up to a
// length.
func ExampleRetryBudget() {
	u, err := upstream.New(upstream.Config{
		ID:          "api",
		Nodes:       []upstream.Node{{Host: "10.0.0.1", Port: 8080, Weight: 1}, {Host: "10.0.0.2", Port: 8080, Weight: 1}},
		Retries:     1,
		RetryBudget: upstream.RetryBudget{Percent: 10, PerSecond: 5},
		ReplayBytes: 64 << 10,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(u.Config().RetryBudget.Percent)
	// Output: 10
}

// A hosts file is a resolver of one's own.
type hosts map[string]netip.Addr

func (h hosts) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	addr, ok := h[host]
	if !ok {
		return nil, &net.DNSError{Err: "not in the hosts file", Name: host, IsNotFound: true}
	}
	return []netip.Addr{addr}, nil
}

// Names that no DNS knows.
func ExampleResolver() {
	node, stop := serve("node")
	defer stop()
	u, err := upstream.New(upstream.Config{ID: "api", Nodes: []upstream.Node{
		{Host: "api.internal", Port: node.Port, Weight: 1},
	}})
	if err != nil {
		log.Fatal(err)
	}
	pool := upstream.NewPool(u, &upstream.Options{
		Resolver: hosts{"api.internal": netip.MustParseAddr("127.0.0.1")},
	})
	defer pool.Close()

	client := http.Client{Transport: pool}
	resp, err := client.Get("http://a.test/hello")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(body))
	// Output: node: GET /hello for a.test
}

// Scheme tells what an upstream without one speaks.
func ExampleUpstream_Scheme() {
	u, err := upstream.New(upstream.Config{ID: "api", Nodes: []upstream.Node{{Host: "10.0.0.1"}}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(u.Scheme())
	// Output: http
}

// An http.Transport in place of the pool's own client, for a setting of its own.
func ExampleOptions_transport() {
	node, stop := serve("node")
	defer stop()

	u, err := upstream.New(upstream.Config{ID: "api", Nodes: []upstream.Node{node}})
	if err != nil {
		log.Fatal(err)
	}
	pool := upstream.NewPool(u, &upstream.Options{
		Transport: &http.Transport{MaxConnsPerHost: 100}, // of each node; more wait
	})
	defer pool.Close()

	resp, err := (&http.Client{Transport: pool}).Get("http://api.internal/hello")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(body))
	// Output: node: GET /hello for api.internal
}

// What came of the requests to an upstream. Counts go on in the pool that replaces another.
func ExamplePool_Stats() {
	node, stop := serve("node")
	defer stop()
	u, err := upstream.New(upstream.Config{ID: "api", Nodes: []upstream.Node{node, {Host: "127.0.0.1", Port: 1, Weight: 1, Priority: 1}}})
	if err != nil {
		log.Fatal(err)
	}
	pool := upstream.NewPool(u, nil)
	for range 4 {
		res, err := pool.RoundTrip(httptest.NewRequest(http.MethodGet, "http://a.test/", nil))
		if err != nil {
			log.Fatal(err)
		}
		res.Body.Close()
	}
	next := pool.Replace(u, nil)
	defer next.Close()
	pool.Close()

	stats := next.Stats()
	fmt.Println("2xx:", stats.Answers[2], "of", stats.Answers.Total())
	fmt.Println("retries:", stats.Retries)
	fmt.Println("waited for:", stats.Wait.Count)
	// Output:
	// 2xx: 4 of 4
	// retries: 4
	// waited for: 4
}
