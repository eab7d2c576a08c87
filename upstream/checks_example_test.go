package upstream_test

import (
	"errors"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/sallyport/sallyport/upstream"
)

// Requests with the same key go to the same node, here and in every gateway with the
// same nodes.
func ExampleConfig_chash() {
	a, stopA := serve("a")
	defer stopA()
	b, stopB := serve("b")
	defer stopB()
	u, err := upstream.New(upstream.Config{
		ID:       "api",
		Nodes:    []upstream.Node{a, b},
		Balancer: upstream.BalancerCHash,
		HashOn:   upstream.HashOnHeader,
		HashKey:  "X-User",
	})
	if err != nil {
		log.Fatal(err)
	}
	pool := upstream.NewPool(u, nil)
	defer pool.Close()

	for range 4 {
		req, err := http.NewRequest("GET", "http://api.internal/", nil)
		if err != nil {
			log.Fatal(err)
		}
		req.Header.Set("X-User", "alice")
		resp, err := pool.RoundTrip(req)
		if err != nil {
			log.Fatal(err)
		}
		resp.Body.Close()
	}
	nodes := pool.Nodes()
	fmt.Println(nodes[0].Requests == 4 || nodes[1].Requests == 4)
	// Output: true
}

// variables are a gateway's, by nginx's names.
type variables map[string]string

func (v variables) Var(name string) (string, bool) {
	value, ok := v[name]
	return value, ok
}

// A gateway has variables that the request to the node does not show: here, who the
// client's certificate says it is.
func ExampleVars() {
	node, stop := serve("node")
	defer stop()
	u, err := upstream.New(upstream.Config{
		ID:       "api",
		Nodes:    []upstream.Node{node},
		Balancer: upstream.BalancerCHash,
		HashOn:   upstream.HashOnVarsCombinations,
		HashKey:  "$ssl_client_s_dn",
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
	resp, err := pool.Do(req, &upstream.CallOptions{Vars: variables{"ssl_client_s_dn": "CN=alice"}})
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	fmt.Println(resp.StatusCode)
	// Output: 200
}

// sameZone prefers nodes by their address, and of those the one with the fewest
// requests.
type sameZone struct{ near map[string]bool }

func (z sameZone) Pick(_ *http.Request, c *upstream.Candidates) int {
	best := -1
	for i := range c.Len() {
		if !c.Usable(i) {
			continue // unhealthy, or tried in this request
		}
		if best >= 0 {
			near, bestNear := z.near[c.Address(i)], z.near[c.Address(best)]
			if bestNear && !near || near == bestNear && c.InFlight(i) >= c.InFlight(best) {
				continue
			}
		}
		best = i
	}
	return best
}

// A balancer of one's own.
func ExamplePicker() {
	far, stopFar := serve("far")
	defer stopFar()
	near, stopNear := serve("near")
	defer stopNear()

	address := fmt.Sprintf("%s:%d", near.Host, near.Port)
	u, err := upstream.New(upstream.Config{
		ID:     "api",
		Nodes:  []upstream.Node{far, near},
		Picker: sameZone{near: map[string]bool{address: true}},
	})
	if err != nil {
		log.Fatal(err)
	}
	pool := upstream.NewPool(u, nil)
	defer pool.Close()

	client := &http.Client{Transport: pool}
	for range 3 {
		resp, err := client.Get("http://api.internal/")
		if err != nil {
			log.Fatal(err)
		}
		resp.Body.Close()
	}
	fmt.Println("far:", pool.Nodes()[0].Requests)
	fmt.Println("near:", pool.Nodes()[1].Requests)
	// Output:
	// far: 0
	// near: 3
}

// Nodes are asked twice a second, and real requests count as well.
func ExampleChecks() {
	node, stop := serve("node")
	defer stop()
	down := upstream.Node{Host: "localhost", Port: 1, Weight: 1} // nothing is there

	u, err := upstream.New(upstream.Config{
		ID:    "api",
		Nodes: []upstream.Node{node, down},
		Checks: &upstream.Checks{
			Active: upstream.ActiveChecks{
				Path:              "/healthz",
				HealthyInterval:   500 * time.Millisecond,
				UnhealthyInterval: 500 * time.Millisecond,
			},
			Passive: &upstream.PassiveChecks{TCPFailures: 1},
		},
		SlowStart: 10 * time.Second,
	})
	if err != nil {
		log.Fatal(err)
	}
	pool := upstream.NewPool(u, nil)
	defer pool.Close()

	client := &http.Client{Transport: pool}
	for range 2 { // one of them finds that a node is down, and goes to the other
		resp, err := client.Get("http://api.internal/")
		if err != nil {
			log.Fatal(err)
		}
		resp.Body.Close()
	}
	for _, n := range pool.Nodes() {
		fmt.Printf("%s (%s)\n", n.Health, n.Reason)
	}
	// Output:
	// healthy ()
	// unhealthy (TCP failures: 1, the last by a request)
}

// Rather no answer than one of a node that is ill.
func ExampleErrUnhealthy() {
	u, err := upstream.New(upstream.Config{
		ID:    "api",
		Nodes: []upstream.Node{{Host: "localhost", Port: 1, Weight: 1}}, // nothing is there
		Checks: &upstream.Checks{
			Passive: &upstream.PassiveChecks{TCPFailures: 1},
		},
		FailWhenUnhealthy: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	pool := upstream.NewPool(u, nil)
	defer pool.Close()

	client := &http.Client{Transport: pool}
	for range 2 {
		_, err = client.Get("http://api.internal/")
		var failed *upstream.Error
		if errors.As(err, &failed) {
			fmt.Println(failed.Status, errors.Is(err, upstream.ErrUnhealthy))
		}
	}
	// Output:
	// 502 false
	// 503 true
}

// A node that answers more than half of its requests with a failure is left alone for
// half a minute.
func ExampleOutliers() {
	u, err := upstream.New(upstream.Config{
		ID: "api",
		Nodes: []upstream.Node{
			{Host: "10.0.0.1", Port: 8080, Weight: 1},
			{Host: "10.0.0.2", Port: 8080, Weight: 1},
		},
		Outliers: &upstream.Outliers{
			ErrorRate:   0.5,
			MinRequests: 20,
			EjectFor:    30 * time.Second,
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(u.ID())
	// Output: api
}
