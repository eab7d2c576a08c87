package upstream_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/upstream"
)

// A fakeNode is a node in memory. It answers what it is told to.
type fakeNode struct {
	mu     sync.Mutex
	answer string   // "" closes, "silent" never answers
	heads  []string // of probes and requests
}

func (n *fakeNode) set(answer string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answer = answer
}

// seen returns the heads since the last call.
func (n *fakeNode) seen() (heads []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	heads, n.heads = n.heads, nil
	return heads
}

func (n *fakeNode) handle(conn net.Conn) {
	r := bufio.NewReader(conn)
	head, err := readHead(r)
	if err != nil {
		return
	}
	n.mu.Lock()
	n.heads = append(n.heads, head)
	answer := n.answer
	n.mu.Unlock()
	if answer == "silent" {
		silent(conn)
		return
	}
	go io.Copy(io.Discard, r) // a body; it ends with the connection
	io.WriteString(conn, answer)
}

func status(code int) string {
	return fmt.Sprintf("HTTP/1.1 %d X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", code)
}

// A healthHarness is a pool over nodes in memory, in a bubble.
type healthHarness struct {
	*testing.T
	nodes   []*fakeNode
	options upstream.Options
	pool    *upstream.Pool
	dials   atomic.Int64
	dialled atomic.Value // the last address
}

// withNodes runs a test with a pool of n nodes, which answer 200. At its end, the
// bubble fails if a goroutine is left.
func withNodes(t *testing.T, n int, c upstream.Config, test func(h *healthHarness)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &healthHarness{T: t}
		handlers := map[string]func(net.Conn){}
		for i := range n {
			f := &fakeNode{answer: status(200)}
			h.nodes = append(h.nodes, f)
			handlers[fmt.Sprintf("10.0.0.%d:8080", i)] = f.handle
			handlers[fmt.Sprintf("10.0.0.%d:9090", i)] = f.handle
			handlers["n.test:8080"], handlers["n.test:9090"] = f.handle, f.handle
		}
		dial := inMemory(handlers)
		h.options.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
			h.dials.Add(1)
			h.dialled.Store(address)
			return dial(ctx, network, address)
		}
		if c.Nodes == nil {
			c.Nodes = manyNodes(n)
		}
		if c.ID == "" {
			c.ID = "1"
		}
		h.pool = upstream.NewPool(mustNew(t, c), &h.options)
		h.pool.Rewind()
		defer func() { h.pool.Close() }()
		test(h)
	})
}

// replace puts another configuration to work.
func (h *healthHarness) replace(edit func(*upstream.Config)) {
	h.Helper()
	c := h.pool.Upstream().Config()
	edit(&c)
	old := h.pool
	h.pool = old.Replace(mustNew(h, c), &h.options)
	h.pool.Rewind()
	old.Close()
}

// ask sends a request and returns its status.
func (h *healthHarness) ask() int {
	h.Helper()
	resp, err := h.pool.RoundTrip(newRequest(h, "POST", "http://a.test/", nil))
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// wait lets time pass.
func (h *healthHarness) wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// health is the state of a node, with its counts: success, HTTP, TCP, timeout.
func (h *healthHarness) want(i int, want string) {
	h.Helper()
	n := h.pool.Nodes()[i]
	require.Equal(h, want, fmt.Sprintf("%s %d %d %d %d", n.Health, n.Successes, n.HTTPFailures, n.TCPFailures, n.Timeouts))
}

// picks counts the choices of n requests that are not sent.
func (h *healthHarness) picks(n int) []int {
	got := make([]int, len(h.pool.Nodes()))
	for range n {
		got[h.pool.Picks().Pick(&upstream.Request{})]++
	}
	return got
}

// The states of a node, by the limits of active checks: two successes, five HTTP
// failures, two TCP failures, three timeouts.
func TestActiveChecks(t *testing.T) {
	withNodes(t, 2, upstream.Config{Checks: &upstream.Checks{}}, func(h *healthHarness) {
		h.wait(time.Minute)
		require.Zero(h, h.dials.Load(), "nothing before the first request")
		require.Equal(h, 200, h.ask())
		h.nodes[0].seen()
		h.wait(999 * time.Millisecond)
		require.Empty(h, h.nodes[0].seen(), "the first after one interval")
		h.wait(time.Millisecond)
		require.Equal(h, []string{"GET / HTTP/1.1\r\nHost: 10.0.0.0\r\nConnection: close\r\n\r\n"}, h.nodes[0].seen())

		h.nodes[0].set(status(503))
		for i := 1; i <= 4; i++ {
			h.wait(time.Second)
			h.want(0, fmt.Sprintf("mostly_healthy 0 %d 0 0", i))
		}
		require.Equal(h, []int{5, 5}, h.picks(10))
		h.wait(time.Second)
		h.want(0, "unhealthy 0 5 0 0")
		h.want(1, "healthy 0 0 0 0")
		require.Equal(h, []int{0, 10}, h.picks(10))
		n := h.pool.Nodes()[0]
		require.Equal(h, "HTTP failures: 5, the last by a check", n.Reason)
		require.Equal(h, "a check: status 503", n.LastError)
		require.Equal(h, time.Now(), n.LastErrorAt.Local())

		h.wait(time.Second)
		h.want(0, "unhealthy 0 5 0 0")
		h.nodes[0].set(status(302))
		h.wait(time.Second)
		h.want(0, "mostly_unhealthy 1 0 0 0")
		require.Equal(h, []int{0, 10}, h.picks(10))
		h.nodes[0].set(status(204)) // in neither list
		h.wait(time.Second)
		h.want(0, "mostly_unhealthy 1 0 0 0")
		h.nodes[0].set("") // TCP failure
		h.wait(time.Second)
		h.want(0, "mostly_unhealthy 0 0 1 0")
		h.wait(time.Second)
		h.want(0, "unhealthy 0 0 2 0")
		require.Equal(h, "a check: the node closed the connection without an answer", h.pool.Nodes()[0].LastError)
		h.nodes[0].set(status(200))
		h.wait(2 * time.Second)
		h.want(0, "healthy 2 0 0 0")
		require.Equal(h, "successes: 2, the last by a check", h.pool.Nodes()[0].Reason)
		require.Equal(h, []int{5, 5}, h.picks(10))

		// A timeout takes a second, and so does the time to the next probe: one follows
		// at the other's heels.
		h.nodes[0].set("silent")
		h.wait(2 * time.Second)
		h.want(0, "mostly_healthy 0 0 0 1")
		h.wait(2 * time.Second)
		h.want(0, "unhealthy 0 0 0 3")
		require.Equal(h, "a check: no answer within 1s", h.pool.Nodes()[0].LastError)

		// Failures of different kinds do not add up.
		h.nodes[1].set(status(500))
		h.wait(4 * time.Second)
		h.nodes[1].set("HTP/1.1 200 OK\r\n\r\n")
		h.wait(time.Second)
		h.want(1, "mostly_healthy 0 4 1 0")
		h.nodes[1].set("silent")
		h.wait(2 * time.Second)
		h.want(1, "mostly_healthy 0 4 1 1")
		h.nodes[1].set(status(200))
		h.wait(2 * time.Second)
		h.want(1, "healthy 2 0 0 0")
	})
}

// A node that changes sides is logged once, and a request says no more of it.
func TestHealthIsLogged(t *testing.T) {
	withNodes(t, 2, upstream.Config{Checks: &upstream.Checks{}, Outliers: &upstream.Outliers{MinRequests: 1}}, func(h *healthHarness) {
		var log syncBuffer
		h.options.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))
		h.replace(func(*upstream.Config) {})
		h.ask()
		h.nodes[0].set("")
		h.wait(time.Minute)
		h.nodes[0].set(status(200))
		h.wait(time.Minute)
		h.nodes[1].set(status(500))
		h.ask()
		h.ask()
		require.Equal(h, strings.Join([]string{
			`level=WARN msg="upstream: a node is unhealthy" upstream=1 node=10.0.0.0:8080 reason="TCP failures: 2, the last by a check"`,
			`level=INFO msg="upstream: a node is healthy again" upstream=1 node=10.0.0.0:8080 reason="successes: 2, the last by a check"`,
			`level=WARN msg="upstream: a node is ejected" upstream=1 node=10.0.0.1:8080 reason="ejected: 1 of 1 requests failed within 10s"`,
			"",
		}, "\n"), log.String())
	})
}

// The last node that is left is not ejected, however badly it does.
func TestOutliersLeaveOne(t *testing.T) {
	withNodes(t, 3, upstream.Config{Checks: &upstream.Checks{}, Outliers: &upstream.Outliers{MinRequests: 1, MaxEjected: 1}}, func(h *healthHarness) {
		h.ask()
		h.nodes[0].set("")
		h.wait(time.Minute)
		h.nodes[1].set(status(404)) // to the checks neither good nor bad
		h.nodes[2].set(status(599))
		h.ask()
		h.ask()
		require.NotZero(h, h.pool.Nodes()[2].EjectedUntil)
		h.nodes[1].set(status(599))
		for range 10 {
			require.Equal(h, 599, h.ask())
		}
		require.Zero(h, h.pool.Nodes()[1].EjectedUntil)
	})
}

// Every field of a probe.
func TestProbe(t *testing.T) {
	active := upstream.ActiveChecks{
		Host: "probe.test", Port: 9090, Method: "POST", Path: "/up?x=1", Body: []byte("ping"),
		Header:  http.Header{"User-Agent": {"curl"}, "X-A": {"1", "2"}},
		Timeout: time.Second,
	}
	const rest = "Connection: close\r\nUser-Agent: curl\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 4\r\n\r\n"
	for _, c := range []struct {
		name string
		edit func(*upstream.Config)
		host string
	}{
		{"address", func(*upstream.Config) {}, "probe.test"},
		{"pass node", func(c *upstream.Config) { c.PassHost = upstream.PassNode }, "probe.test"},
		{"rewrite", func(c *upstream.Config) { c.PassHost, c.Host = upstream.PassRewrite, "rewritten.test:1" }, "rewritten.test:1"},
		{"name", func(c *upstream.Config) { c.Nodes[0].Host = "n.test" }, "n.test"},
		{"no host", func(c *upstream.Config) { c.Checks.Active.Host = "" }, "10.0.0.0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := upstream.Config{ID: "1", Nodes: manyNodes(1), Checks: &upstream.Checks{Active: active}}
			c.edit(&config)
			withNodes(t, 1, config, func(h *healthHarness) {
				h.ask()
				h.nodes[0].seen()
				h.wait(time.Second)
				require.Equal(h, []string{"POST /up?x=1 HTTP/1.1\r\nHost: " + c.host + "\r\n" + rest}, h.nodes[0].seen())
				require.Equal(h, config.Nodes[0].Host+":9090", h.dialled.Load())
			})
		})
	}
}

// What a check of type tcp needs is a connection, and nothing is sent.
func TestTCPChecks(t *testing.T) {
	withNodes(t, 1, upstream.Config{Checks: &upstream.Checks{Active: upstream.ActiveChecks{Type: "tcp", TCPFailures: 1, Timeouts: 1}}}, func(h *healthHarness) {
		h.ask()
		h.nodes[0].seen()
		h.wait(time.Second)
		require.EqualValues(h, 2, h.dials.Load())
		require.Empty(h, h.nodes[0].seen())
		h.want(0, "healthy 0 0 0 0")
	})
	withNodes(t, 1, upstream.Config{
		Nodes:  []upstream.Node{{Host: "10.0.0.7", Weight: 1}}, // never answers
		Checks: &upstream.Checks{Active: upstream.ActiveChecks{Type: "tcp", Timeout: time.Second, Timeouts: 1}},
	}, func(h *healthHarness) {
		h.replace(func(c *upstream.Config) { c.Timeout.Connect = time.Millisecond })
		h.ask()
		h.wait(2 * time.Second)
		h.want(0, "unhealthy 0 0 0 1")
	})
}

// Each interval may be off.
func TestNoProbes(t *testing.T) {
	off := upstream.ActiveChecks{HealthyInterval: upstream.NoProbes, UnhealthyInterval: upstream.NoProbes}
	withNodes(t, 1, upstream.Config{Checks: &upstream.Checks{Active: off, Passive: &upstream.PassiveChecks{HTTPFailures: 1}}}, func(h *healthHarness) {
		h.nodes[0].set(status(500))
		h.ask()
		h.wait(time.Hour)
		require.EqualValues(h, 1, h.dials.Load())
		h.want(0, "unhealthy 0 1 0 0")
	})

	// Only those that are down are asked: from when a request found them down.
	off.UnhealthyInterval = 10 * time.Second
	withNodes(t, 1, upstream.Config{Checks: &upstream.Checks{Active: off, Passive: &upstream.PassiveChecks{HTTPFailures: 1}}}, func(h *healthHarness) {
		h.ask()
		h.wait(time.Hour)
		require.Len(h, h.nodes[0].seen(), 1)
		h.nodes[0].set(status(500))
		h.ask()
		synctest.Wait() // for the first, which is made at once
		h.nodes[0].seen()
		h.nodes[0].set(status(200))
		h.wait(20 * time.Second)
		h.want(0, "healthy 2 0 0 0")
		h.wait(time.Hour)
		require.Len(h, h.nodes[0].seen(), 2)
	})
}

// No more nodes are asked at a time than Concurrency says.
func TestProbesAtATime(t *testing.T) {
	withNodes(t, 5, upstream.Config{Checks: &upstream.Checks{Active: upstream.ActiveChecks{Concurrency: 2, Timeout: 10 * time.Second}}}, func(h *healthHarness) {
		h.ask()
		for _, n := range h.nodes {
			n.set("silent")
			n.seen()
		}
		asked := func() (n int) {
			for _, node := range h.nodes {
				n += len(node.seen())
			}
			return n
		}
		h.wait(2 * time.Second)
		require.Equal(h, 2, asked())
		h.wait(10 * time.Second)
		require.Equal(h, 2, asked())

		// Also across a replacement, with a node more.
		h.replace(func(c *upstream.Config) {
			c.Nodes = append(c.Nodes, upstream.Node{Host: "10.0.0.0", Port: 9090, Weight: 1})
		})
		h.wait(5 * time.Second)
		require.Zero(h, asked())
		h.wait(5 * time.Second)
		require.Equal(h, 2, asked())
	})
}

func TestPassiveChecks(t *testing.T) {
	never := upstream.ActiveChecks{HealthyInterval: upstream.NoProbes, UnhealthyInterval: upstream.NoProbes}
	withNodes(t, 1, upstream.Config{Checks: &upstream.Checks{Active: never, Passive: &upstream.PassiveChecks{}}, Timeout: upstream.Timeout{Read: time.Second}}, func(h *healthHarness) {
		n := h.nodes[0]
		for _, c := range []struct {
			answer string
			times  int
			want   string
		}{
			{status(200), 3, "healthy 0 0 0 0"},
			{status(500), 2, "mostly_healthy 0 2 0 0"},
			{status(404), 2, "mostly_healthy 0 2 0 0"}, // in neither list
			{status(429), 1, "mostly_healthy 0 3 0 0"},
			{"", 1, "mostly_healthy 0 3 1 0"},
			{"silent", 6, "mostly_healthy 0 3 1 6"},
			{status(308), 1, "mostly_healthy 1 0 0 0"},
			{status(201), 4, "healthy 5 0 0 0"},
			{status(503), 4, "mostly_healthy 0 4 0 0"},
			{status(503), 1, "unhealthy 0 5 0 0"},
			{status(503), 9, "unhealthy 0 5 0 0"},
			{status(226), 4, "mostly_unhealthy 4 0 0 0"}, // the only node is used
			{"", 1, "mostly_unhealthy 0 0 1 0"},
			{"", 1, "unhealthy 0 0 2 0"},
			{status(200), 5, "healthy 5 0 0 0"},
			{"silent", 7, "unhealthy 0 0 0 7"},
		} {
			n.set(c.answer)
			for range c.times {
				h.ask()
			}
			h.want(0, c.want)
		}
		require.Equal(h, "timeouts: 7, the last by a request", h.pool.Nodes()[0].Reason)
		require.Equal(h, "a request: no answer within 1s", h.pool.Nodes()[0].LastError)
	})

	// Limits and lists of one's own.
	withNodes(t, 1, upstream.Config{Checks: &upstream.Checks{Active: never, Passive: &upstream.PassiveChecks{
		HealthyStatuses: []int{204}, UnhealthyStatuses: []int{418}, Successes: upstream.NotCounted, HTTPFailures: 1, TCPFailures: upstream.NotCounted, Timeouts: upstream.NotCounted,
	}}}, func(h *healthHarness) {
		for _, answer := range []string{status(500), "", ""} {
			h.nodes[0].set(answer)
			h.ask()
		}
		h.want(0, "healthy 0 0 0 0")
		h.nodes[0].set(status(418))
		h.ask()
		h.want(0, "unhealthy 0 1 0 0")
		h.nodes[0].set(status(204))
		h.ask()
		h.want(0, "unhealthy 0 1 0 0")
	})

	// A failure counts at the node even though another one answered.
	withNodes(t, 2, upstream.Config{Checks: &upstream.Checks{Active: never, Passive: &upstream.PassiveChecks{TCPFailures: 1}}}, func(h *healthHarness) {
		h.nodes[0].set("")
		resp, err := h.pool.RoundTrip(newRequest(h, "GET", "http://a.test/", nil))
		require.NoError(h, err)
		resp.Body.Close()
		h.want(0, "unhealthy 0 0 1 0")
		h.want(1, "healthy 0 0 0 0")
	})

	// Without Passive, requests do not count, but their errors are shown.
	withNodes(t, 1, upstream.Config{Checks: &upstream.Checks{Active: never}}, func(h *healthHarness) {
		h.nodes[0].set("")
		for range 20 {
			h.ask()
		}
		h.want(0, "healthy 0 0 0 0")
		require.NotEmpty(h, h.pool.Nodes()[0].LastError)
	})
}

// When no node is healthy, all are used, or none.
func TestAllUnhealthy(t *testing.T) {
	for _, balancer := range []upstream.Balancer{upstream.BalancerRoundRobin, upstream.BalancerLeastConn, upstream.BalancerEWMA, upstream.BalancerCHash} {
		t.Run(string(balancer), func(t *testing.T) {
			c := upstream.Config{Balancer: balancer, Checks: &upstream.Checks{}, Nodes: manyNodes(3)}
			if balancer == "chash" {
				c.HashKey = "arg_none"
			}
			c.Nodes[2].Priority = -1
			withNodes(t, 3, c, func(h *healthHarness) {
				h.ask()
				h.nodes[0].set(status(500))
				h.wait(time.Minute)
				for range 10 {
					require.Equal(h, 1, h.pool.Picks().Pick(withKey(t, "")))
				}
				h.nodes[1].set("")
				h.wait(time.Minute)
				require.Equal(h, 2, h.pool.Picks().Pick(withKey(t, "")), "the level was taken out")
				h.nodes[2].set("silent")
				h.wait(time.Minute)
				seen := map[int]bool{}
				for range 100 {
					seen[h.pool.Picks().Pick(withKey(t, ""))] = true
				}
				require.Equal(h, map[int]bool{0: true, 1: true}, seen)
				require.Equal(h, 500, func() int { h.nodes[1].set(status(500)); return h.ask() }())

				h.replace(func(c *upstream.Config) { c.FailWhenUnhealthy = true })
				_, err := h.pool.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
				wantError(t, err, 503, 0, `upstream "1": no healthy node`)
				require.ErrorIs(t, err, upstream.ErrUnhealthy)
				require.NotErrorIs(t, err, upstream.ErrNoNode)
				h.nodes[2].set(status(200))
				h.wait(3 * time.Second)
				require.Equal(t, 2, h.pool.Picks().Pick(withKey(t, "")))
			})
		})
	}
}

// Where all are down, round robin is as exact as ever.
func TestAllUnhealthyIsFair(t *testing.T) {
	c := upstream.Config{Checks: &upstream.Checks{}, Nodes: manyNodes(3)}
	c.Nodes[0].Weight = 3
	withNodes(t, 3, c, func(h *healthHarness) {
		h.ask()
		for _, n := range h.nodes {
			n.set("")
		}
		h.wait(time.Minute)
		require.Equal(h, []int{30, 10, 10}, h.picks(50))
	})
}

// A request that has tried what is healthy does not go on to what is not.
func TestRetryStopsAtTheUnhealthy(t *testing.T) {
	withNodes(t, 3, upstream.Config{Checks: &upstream.Checks{Active: upstream.ActiveChecks{HealthyInterval: time.Hour}, Passive: &upstream.PassiveChecks{HTTPFailures: 1}}}, func(h *healthHarness) {
		h.nodes[0].set(status(500))
		require.Equal(h, 500, h.ask()) // node 0 is out now
		h.nodes[1].set("")
		h.nodes[2].set("")
		_, err := h.pool.RoundTrip(newRequest(h, "GET", "http://a.test/", nil))
		wantError(t, err, 502, 2)
		require.EqualValues(h, 1, h.pool.Nodes()[0].Requests)
	})
}

// Nodes that stay keep their counts while the checks are the same, and the rhythm of
// their probes.
func TestHealthIsHandedOver(t *testing.T) {
	withNodes(t, 3, upstream.Config{Nodes: manyNodes(2), Checks: &upstream.Checks{Passive: &upstream.PassiveChecks{}}}, func(h *healthHarness) {
		h.ask()
		h.nodes[0].set(status(500))
		h.wait(3 * time.Second)
		h.want(0, "mostly_healthy 0 3 0 0")
		goroutines := runtime.NumGoroutine()
		for range 100 { // more often than they are probed
			h.wait(10 * time.Millisecond)
			h.replace(func(c *upstream.Config) { c.Nodes[0].Weight++ })
		}
		require.LessOrEqual(h, runtime.NumGoroutine(), goroutines)
		h.want(0, "mostly_healthy 0 4 0 0")

		// The same, written another way; and with another node, which is probed from the
		// beginning.
		h.replace(func(c *upstream.Config) {
			c.Checks.Active = upstream.ActiveChecks{Type: "http", Path: "/", Successes: 2, HealthyStatuses: []int{302, 200}}
			c.Nodes = manyNodes(3)
		})
		h.wait(2 * time.Second)
		h.want(0, "unhealthy 0 5 0 0")
		require.Len(h, h.nodes[2].seen(), 2)

		// A node that left and comes back begins anew.
		h.replace(func(c *upstream.Config) { c.Nodes = c.Nodes[1:] })
		h.nodes[0].seen()
		h.wait(time.Minute)
		require.Empty(h, h.nodes[0].seen(), "who left is not probed")
		h.replace(func(c *upstream.Config) { c.Nodes = manyNodes(3) })
		h.want(0, "healthy 0 0 0 0")
		h.wait(5 * time.Second)
		h.want(0, "unhealthy 0 5 0 0")

		// Other checks begin anew too.
		h.replace(func(c *upstream.Config) { c.Checks.Active.HTTPFailures = 2 })
		h.want(0, "healthy 0 0 0 0")
		h.wait(2 * time.Second)
		h.want(0, "unhealthy 0 2 0 0")

		// And without checks, nothing is probed.
		h.replace(func(c *upstream.Config) { c.Checks = nil })
		h.want(0, "healthy 0 0 0 0")
		h.dials.Store(0)
		h.wait(time.Hour)
		require.Zero(h, h.dials.Load())
	})
}

// Close ends probes that are under way, and waits for that: the bubble sees it.
func TestCloseEndsProbes(t *testing.T) {
	withNodes(t, 2, upstream.Config{Checks: &upstream.Checks{Active: upstream.ActiveChecks{Timeout: time.Hour, Concurrency: 1}}}, func(h *healthHarness) {
		h.ask()
		h.nodes[0].set("silent")
		h.nodes[1].set("silent")
		h.wait(2 * time.Second)
		before := time.Now()
		h.pool.Close()
		require.Equal(h, before, time.Now())
		h.want(0, "healthy 0 0 0 0")
		h.dials.Store(0)
		h.nodes[0].set(status(200))
		h.nodes[1].set(status(200))
		require.Equal(h, 200, h.ask(), "it serves on")
		h.wait(time.Hour)
		require.EqualValues(h, 1, h.dials.Load(), "and probes no more")
	})
}

// What nobody probes any more, a successor does not begin to.
func TestSuccessorOfAClosedPool(t *testing.T) {
	withNodes(t, 1, upstream.Config{Checks: &upstream.Checks{}}, func(h *healthHarness) {
		h.ask()
		h.wait(time.Second)
		require.Len(h, h.nodes[0].seen(), 2)
		h.pool.Close()
		h.replace(func(*upstream.Config) {})
		h.wait(time.Minute)
		require.Empty(h, h.nodes[0].seen(), "nobody has used it yet")
		h.ask()
		h.wait(time.Second)
		require.Len(h, h.nodes[0].seen(), 2)
	})
}

// Keys of a node that is down go to many others, and it gets exactly its own back.
func TestChashHealth(t *testing.T) {
	c := byKey(manyNodes(20)...)
	c.Checks = &upstream.Checks{}
	withNodes(t, 20, c, func(h *healthHarness) {
		owners := func() (got [2000]int) {
			for k := range got {
				got[k] = h.pool.Picks().Pick(withKey(h, strconv.Itoa(k)))
			}
			return got
		}
		h.ask()
		before := owners()
		h.nodes[7].set("")
		h.wait(time.Minute)
		heirs := map[int]int{}
		for k, i := range owners() {
			if before[k] == 7 {
				heirs[i]++
			} else {
				require.Equal(h, before[k], i)
			}
		}
		require.Greater(h, len(heirs), 10)
		require.Zero(h, heirs[7])
		h.nodes[7].set(status(200))
		h.wait(time.Minute)
		require.Equal(h, before, owners())
	})
}

func TestSlowStart(t *testing.T) {
	for _, balancer := range []upstream.Balancer{upstream.BalancerRoundRobin, upstream.BalancerLeastConn, upstream.BalancerEWMA} {
		t.Run(string(balancer), func(t *testing.T) {
			withNodes(t, 2, upstream.Config{Balancer: balancer, SlowStart: 100 * time.Second, Checks: &upstream.Checks{}}, func(h *healthHarness) {
				h.ask()
				require.Zero(h, h.pool.Nodes()[0].SlowStart, "not at the beginning")
				h.nodes[0].set("")
				h.wait(time.Minute)
				h.nodes[0].set(status(200))
				for h.pool.Nodes()[0].Health != upstream.Healthy {
					h.wait(time.Millisecond)
				}
				// In flight is what least_conn and ewma go by: here all stays there.
				shares := func() float64 {
					got := fill(h.pool, 2000)
					for i, n := range got {
						h.pool.InFlight(i, int64(-n))
					}
					return float64(got[0]) / 2000
				}
				require.InDelta(h, 0.01, h.pool.Nodes()[0].SlowStart, 1e-3)
				require.InDelta(h, 0.01, shares(), 0.015)
				h.wait(50 * time.Second)
				require.InDelta(h, 0.5, h.pool.Nodes()[0].SlowStart, 1e-3)
				require.InDelta(h, 1./3, shares(), 0.06)
				h.wait(50 * time.Second)
				require.Zero(h, h.pool.Nodes()[0].SlowStart)
				require.InDelta(h, 0.5, shares(), 0.06)

				// Alone, it is used all the same.
				h.nodes[0].set("")
				h.wait(time.Minute)
				h.nodes[0].set(status(200))
				h.nodes[1].set("")
				h.wait(3 * time.Second)
				require.Equal(h, []int{100, 0}, h.picks(100))
			})
		})
	}
}

func TestOutliers(t *testing.T) {
	withNodes(t, 4, upstream.Config{SlowStart: time.Second, Outliers: &upstream.Outliers{MaxEjected: 0.5}}, func(h *healthHarness) {
		h.nodes[0].set(status(500))
		for range 19 * 4 {
			h.ask()
		}
		require.Zero(h, h.pool.Nodes()[0].EjectedUntil, "too few to judge by")
		h.wait(10 * time.Second)
		for range 19 * 4 {
			h.ask()
		}
		require.Zero(h, h.pool.Nodes()[0].EjectedUntil, "a window is over, and what was in it")
		for range 4 {
			h.ask()
		}
		n := h.pool.Nodes()[0]
		require.Equal(h, 30*time.Second, time.Until(n.EjectedUntil))
		require.Equal(h, "ejected: 20 of 20 requests failed within 10s", n.Reason)
		require.Equal(h, upstream.Healthy, n.Health)
		require.Zero(h, h.picks(100)[0])
		h.wait(30*time.Second - 1)
		require.Zero(h, h.picks(100)[0])
		h.wait(1)
		require.Zero(h, h.pool.Nodes()[0].EjectedUntil)
		require.InDelta(h, 0.01, h.pool.Nodes()[0].SlowStart, 1e-6, "it returns slowly")
		h.wait(time.Second)

		// Again, and for twice as long.
		h.wait(10 * time.Second)
		for range 80 {
			h.ask()
		}
		require.Equal(h, time.Minute, time.Until(h.pool.Nodes()[0].EjectedUntil))

		// After having been well for long enough, it is as the first time.
		h.nodes[0].set(status(200))
		h.wait(2 * time.Minute)
		h.ask()
		h.wait(time.Second) // the slow start
		h.nodes[0].set("")
		for range 200 {
			h.ask()
		}
		require.Equal(h, 30*time.Second, time.Until(h.pool.Nodes()[0].EjectedUntil))

		// Two of four are the most. A successor knows who is out.
		h.nodes[1].set(status(502))
		h.nodes[2].set(status(502))
		h.replace(func(c *upstream.Config) { c.Retries = 1 })
		for range 400 {
			h.ask()
		}
		out := 0
		for _, n := range h.pool.Nodes() {
			if !n.EjectedUntil.IsZero() {
				out++
			}
		}
		require.Equal(h, 2, out)
	})

	// Below the rate nothing happens, and the only node is never ejected.
	withNodes(t, 1, upstream.Config{Outliers: &upstream.Outliers{ErrorRate: 0.6}}, func(h *healthHarness) {
		for i := range 1000 {
			h.nodes[0].set(status(200 + 300*(i%2)))
			h.ask()
		}
		require.Empty(h, h.pool.Nodes()[0].Reason)
		h.nodes[0].set(status(500))
		for range 1000 {
			h.ask()
		}
		require.Empty(h, h.pool.Nodes()[0].Reason)
	})
}

// A node may be out for as long as a Duration can say, which is for ever.
func TestOutliersForEver(t *testing.T) {
	withNodes(t, 2, upstream.Config{Outliers: &upstream.Outliers{EjectFor: math.MaxInt64}}, func(h *healthHarness) {
		h.wait(time.Second)
		h.nodes[0].set(status(500))
		for range 40 {
			h.ask()
		}
		h.wait(1000 * time.Hour)
		require.False(h, h.pool.Nodes()[0].EjectedUntil.IsZero())
		require.Zero(h, h.picks(100)[0])
	})
}

// A request whose answer breaks off is one that failed, and not one that succeeded as well.
func TestOutliersBreakOff(t *testing.T) {
	withNodes(t, 2, upstream.Config{Outliers: &upstream.Outliers{ErrorRate: 1}}, func(h *healthHarness) {
		for _, code := range []int{200, 500} {
			h.nodes[0].set(fmt.Sprintf("HTTP/1.1 %d X\r\nConnection: close\r\nContent-Length: 5\r\n\r\nab", code))
			for range 40 {
				resp, err := h.pool.RoundTrip(newRequest(h, "GET", "http://a.test/", nil))
				require.NoError(h, err)
				_, _ = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			require.Equal(h, "ejected: 20 of 20 requests failed within 10s", h.pool.Nodes()[0].Reason)
			require.Equal(h, 30*time.Second, time.Until(h.pool.Nodes()[0].EjectedUntil))
			h.wait(time.Minute)
		}
	})
}

// However many requests there were in a window, those that come are judged.
func TestOutliersOfManyRequests(t *testing.T) {
	withNodes(t, 2, upstream.Config{Outliers: &upstream.Outliers{Window: time.Hour, ErrorRate: 0.1}}, func(h *healthHarness) {
		for range 3 << 20 {
			h.pool.Judge(0, 1, false)
		}
		failed := 0
		for h.pool.Nodes()[0].EjectedUntil.IsZero() && failed < 1<<20 {
			for range 1000 {
				h.pool.Judge(0, 1, true)
			}
			failed += 1000
		}
		require.Less(h, failed, 1<<20/8, "a tenth of what is counted, and some")
	})
}

// As many are ejected as a share says that no float64 is equal to.
func TestOutliersShare(t *testing.T) {
	withNodes(t, 100, upstream.Config{Outliers: &upstream.Outliers{MinRequests: 1, MaxEjected: 0.29}}, func(h *healthHarness) {
		out := 0
		for i := range 100 {
			h.pool.Judge(i, 1, true)
			if !h.pool.Nodes()[i].EjectedUntil.IsZero() {
				out++
			}
		}
		require.Equal(h, 29, out)
	})
}

// Without Outliers nothing is ejected, whatever the Config before said.
func TestOutliersAreTakenAway(t *testing.T) {
	withNodes(t, 2, upstream.Config{Outliers: &upstream.Outliers{}}, func(h *healthHarness) {
		h.nodes[0].set(status(500))
		for range 40 {
			h.ask()
		}
		require.NotZero(h, h.pool.Nodes()[0].EjectedUntil)
		h.replace(func(c *upstream.Config) { c.Outliers = nil })
		require.Zero(h, h.pool.Nodes()[0].EjectedUntil)
		require.Equal(h, []int{5, 5}, h.picks(10))
	})
}

// A node that is ejected is healthy: where the others are not, it is used.
func TestEjectedBeforeUnhealthy(t *testing.T) {
	for _, fail := range []bool{false, true} {
		c := upstream.Config{FailWhenUnhealthy: fail, Outliers: &upstream.Outliers{}, Checks: &upstream.Checks{
			Active:  upstream.ActiveChecks{HealthyInterval: upstream.NoProbes, UnhealthyInterval: upstream.NoProbes},
			Passive: &upstream.PassiveChecks{UnhealthyStatuses: []int{503}},
		}}
		withNodes(t, 2, c, func(h *healthHarness) {
			h.nodes[0].set(status(500))
			for range 40 {
				h.ask()
			}
			require.NotZero(h, h.pool.Nodes()[0].EjectedUntil)
			h.nodes[1].set("")
			h.ask()
			h.ask()
			require.Equal(h, upstream.Unhealthy, h.pool.Nodes()[1].Health)
			h.nodes[0].set(status(200))
			for range 10 {
				require.Equal(h, 200, h.ask())
			}

			var tried upstream.Request
			tried.Add(0)
			require.Equal(h, -1, h.pool.Picks().Pick(&tried), "as where it is not ejected")
		})
	}
}

// nobody is a Picker that takes no node.
type nobody struct{}

func (nobody) Pick(*http.Request, *upstream.Candidates) int { return -1 }

// ErrUnhealthy is for those who asked for it.
func TestPickerTakesNone(t *testing.T) {
	for _, fail := range []bool{false, true} {
		withNodes(t, 1, upstream.Config{Picker: nobody{}, FailWhenUnhealthy: fail, Checks: &upstream.Checks{}}, func(h *healthHarness) {
			_, err := h.pool.RoundTrip(newRequest(h, "GET", "http://a.test/", nil))
			require.ErrorIs(h, err, upstream.ErrNoNode)
			h.nodes[0].set("")
			h.wait(10 * time.Second)
			require.Equal(h, upstream.Unhealthy, h.pool.Nodes()[0].Health)
			want := upstream.ErrNoNode
			if fail {
				want = upstream.ErrUnhealthy
			}
			_, err = h.pool.RoundTrip(newRequest(h, "GET", "http://a.test/", nil))
			require.ErrorIs(h, err, want)
			wantError(h, err, 503, 0)
		})
	}
}

// Everything at once, under the race detector: nodes are replaced a thousand times
// while they become healthy and unhealthy under load. No request is lost, since a
// node always answers.
func TestHealthChurn(t *testing.T) {
	var flaky atomic.Bool
	var nodes []upstream.Node
	for i := range 3 {
		nodes = append(nodes, newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if i > 0 && flaky.Load() && r.URL.Path == "/probe" {
				w.WriteHeader(500)
			}
			io.WriteString(w, "ok")
		})).Node)
	}
	shape := func(i int) upstream.Config {
		c := upstream.Config{ID: "1", Nodes: nodes[:1+i%3], SlowStart: time.Millisecond, Outliers: &upstream.Outliers{},
			Checks: &upstream.Checks{Active: upstream.ActiveChecks{
				Path: "/probe", HealthyInterval: time.Millisecond, UnhealthyInterval: time.Millisecond, HTTPFailures: 1 + i/100%2, Successes: 1,
			}, Passive: &upstream.PassiveChecks{}}}
		c.Balancer = []upstream.Balancer{upstream.BalancerRoundRobin, upstream.BalancerLeastConn, upstream.BalancerEWMA}[i%3]
		return c
	}
	var current atomic.Pointer[upstream.Pool]
	current.Store(upstream.NewPool(mustNew(t, shape(0)), nil))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var served atomic.Int64
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				req, err := http.NewRequest("GET", "http://a.test/", nil)
				if err != nil {
					t.Error(err)
					return
				}
				resp, err := current.Load().RoundTrip(req)
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || string(body) != "ok" {
					t.Error(string(body), err)
					return
				}
				served.Add(1)
			}
		})
	}
	for i := range 1000 {
		flaky.Store(rand.IntN(2) == 0)
		old := current.Load()
		current.Store(old.Replace(mustNew(t, shape(i)), nil))
		old.Close()
		for before := served.Load(); served.Load() < before+1 && !t.Failed(); {
			runtime.Gosched()
		}
	}
	close(stop)
	wg.Wait()
	current.Load().Close()
	for _, n := range current.Load().Nodes() {
		require.Zero(t, n.InFlight)
	}
}

// Real sockets, and TLS with and without verification.
func TestChecksOverTLS(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	asked, askedNamed := make(chan string, 100), make(chan string, 100)
	node := newTLSServer(t, &tls.Config{Certificates: []tls.Certificate{ca.certificate(t, "probe.test")}}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		probed := map[string]chan string{"/probe": asked, "/named": askedNamed}[r.URL.Path]
		select {
		case probed <- r.TLS.ServerName + " " + r.Host:
		default:
		}
	}))
	base := upstream.Config{
		Scheme: "https", Nodes: []upstream.Node{node.Node}, TLS: upstream.TLS{CAPEM: ca.pem, DangerouslySkipServerVerify: true},
		Checks: &upstream.Checks{Active: upstream.ActiveChecks{Type: "https", Path: "/probe", Host: "probe.test", HealthyInterval: time.Millisecond, UnhealthyInterval: time.Millisecond, TCPFailures: 1, Timeout: time.Minute}},
	}
	p := newPool(t, base, nil)
	get(t, p, "https://a.test/")
	require.Equal(t, "probe.test probe.test", <-asked)
	require.Equal(t, upstream.Healthy, p.Nodes()[0].Health)

	// What a node must prove is not what it is sent.
	named := base
	named.TLS.DangerouslySkipServerVerify, named.TLS.ServerName = false, "probe.test"
	named.Checks = &upstream.Checks{Active: base.Checks.Active}
	named.Checks.Active.Host, named.Checks.Active.Path = "host.test", "/named"
	p.Close()
	p = newPool(t, named, nil)
	get(t, p, "https://a.test/")
	require.Equal(t, "probe.test host.test", <-askedNamed)
	require.Equal(t, upstream.Healthy, p.Nodes()[0].Health)
	p.Close()

	// Another authority: that requests are not verified says nothing of probes.
	base.TLS.CAPEM = other.pem
	p = newPool(t, base, nil)
	get(t, p, "https://a.test/")
	for p.Nodes()[0].Health != upstream.Unhealthy {
		runtime.Gosched()
	}
	require.Contains(t, p.Nodes()[0].LastError, "a check: TLS handshake: ")
	require.Contains(t, p.Nodes()[0].LastError, "unknown authority")
	p.Close()

	for len(asked) > 0 {
		<-asked
	}
	base.Checks.Active.DangerouslySkipServerVerify = true
	p = newPool(t, base, nil)
	get(t, p, "https://a.test/")
	<-asked
	<-asked
	require.Equal(t, upstream.Healthy, p.Nodes()[0].Health)
}

func TestHealthString(t *testing.T) {
	var names []string
	for h := upstream.Healthy; h <= upstream.Unhealthy+1; h++ {
		names = append(names, h.String())
	}
	require.Equal(t, "healthy mostly_healthy mostly_unhealthy unhealthy Health(4)", strings.Join(names, " "))
}

func TestChecksRefuse(t *testing.T) {
	active := func(edit func(*upstream.ActiveChecks)) func(*upstream.Config) {
		return func(c *upstream.Config) { c.Checks = &upstream.Checks{}; edit(&c.Checks.Active) }
	}
	passive := func(edit func(*upstream.PassiveChecks)) func(*upstream.Config) {
		return func(c *upstream.Config) {
			c.Checks = &upstream.Checks{Passive: &upstream.PassiveChecks{}}
			edit(c.Checks.Passive)
		}
	}
	outliers := func(o upstream.Outliers) func(*upstream.Config) {
		return func(c *upstream.Config) { c.Outliers = &o }
	}
	for _, c := range []struct {
		edit        func(*upstream.Config)
		field, text string
	}{
		{active(func(a *upstream.ActiveChecks) { a.Type = "udp" }), "Checks.Active.Type", `is "udp", and must be "http", "https" or "tcp"`},
		{active(func(a *upstream.ActiveChecks) { a.Timeout = -1 }), "Checks.Active.Timeout", "must not be negative"},
		{active(func(a *upstream.ActiveChecks) { a.Concurrency = -1 }), "Checks.Active.Concurrency", "must not be negative"},
		{active(func(a *upstream.ActiveChecks) { a.Host = "a\r\nb" }), "Checks.Active.Host", "is no host"},
		{active(func(a *upstream.ActiveChecks) { a.Port = 65536 }), "Checks.Active.Port", "is 65536"},
		{active(func(a *upstream.ActiveChecks) { a.Method = "GET /" }), "Checks.Active.Method", "is no method"},
		{active(func(a *upstream.ActiveChecks) { a.Path = "x" }), "Checks.Active.Path", "must begin with a slash"},
		{active(func(a *upstream.ActiveChecks) { a.Path = "/ HTTP/1.1\r\nX: y" }), "Checks.Active.Path", "no space"},
		{active(func(a *upstream.ActiveChecks) { a.Header = http.Header{"host": {"a"}} }), "Checks.Active.Header", "has host, which the check sets itself"},
		{active(func(a *upstream.ActiveChecks) { a.Header = http.Header{"X Y": {"a"}} }), "Checks.Active.Header", `has the name "X Y"`},
		{active(func(a *upstream.ActiveChecks) { a.Header = http.Header{"X": {"a\nb"}} }), "Checks.Active.Header", "control character"},
		{active(func(a *upstream.ActiveChecks) { a.HealthyInterval = -2 }), "Checks.Active.HealthyInterval", "must not be negative (NoProbes is -1)"},
		{active(func(a *upstream.ActiveChecks) { a.UnhealthyInterval = -time.Second }), "Checks.Active.UnhealthyInterval", "is -1s"},
		{active(func(a *upstream.ActiveChecks) { a.HealthyStatuses = []int{200, 199} }), "Checks.Active.HealthyStatuses[1]", "is 199, and must be 200 to 599"},
		{active(func(a *upstream.ActiveChecks) { a.UnhealthyStatuses = []int{600} }), "Checks.Active.UnhealthyStatuses[0]", "is 600"},
		{active(func(a *upstream.ActiveChecks) { a.Successes = 255 }), "Checks.Active.Successes", "is 255, and must be 1 to 254"},
		{active(func(a *upstream.ActiveChecks) { a.Timeouts = -2 }), "Checks.Active.Timeouts", "is -2"},
		{passive(func(p *upstream.PassiveChecks) { p.HTTPFailures = 300 }), "Checks.Passive.HTTPFailures", "is 300"},
		{passive(func(p *upstream.PassiveChecks) { p.TCPFailures = -2 }), "Checks.Passive.TCPFailures", "is -2"},
		{passive(func(p *upstream.PassiveChecks) { p.HealthyStatuses = []int{0} }), "Checks.Passive.HealthyStatuses[0]", "is 0"},
		{outliers(upstream.Outliers{Window: -1}), "Outliers.Window", "must not be negative"},
		{outliers(upstream.Outliers{MinRequests: 1 << 20}), "Outliers.MinRequests", "must be 1 to"},
		{outliers(upstream.Outliers{ErrorRate: 1.1}), "Outliers.ErrorRate", "is 1.1"},
		{outliers(upstream.Outliers{EjectFor: -1}), "Outliers.EjectFor", "must not be negative"},
		{outliers(upstream.Outliers{MaxEjected: -0.1}), "Outliers.MaxEjected", "is -0.1"},
		{func(c *upstream.Config) { c.FailWhenUnhealthy = true }, "FailWhenUnhealthy", "without Checks no node is ever unhealthy"},
		{func(c *upstream.Config) { c.SlowStart = 1 }, "SlowStart", "without Checks or Outliers no node ever returns"},
		{func(c *upstream.Config) { c.SlowStart = -1 }, "SlowStart", "must not be negative"},
		{func(c *upstream.Config) {
			c.Balancer, c.HashKey, c.SlowStart, c.Checks = "chash", "uri", 1, &upstream.Checks{}
		}, "SlowStart", `the balancer "chash" has none`},
	} {
		config := upstream.Config{ID: "1", Nodes: manyNodes(1)}
		c.edit(&config)
		_, err := upstream.New(config)
		var fault *upstream.ConfigError
		require.ErrorAs(t, err, &fault, c.field)
		require.Equal(t, c.field, fault.Field)
		require.Contains(t, fault.Error(), c.text)
		require.NotContains(t, err.Error(), "\n", "one fault only")
	}
}

// The rules of counting, as they are written down, for any events and limits.
func TestTallyLikeTheSlowOne(t *testing.T) {
	type node struct {
		state  string
		counts [4]int // successes, HTTP, TCP, timeouts
	}
	slow := func(n *node, event, limit int) {
		ok := event == 0
		if limit == 0 || ok && n.state == "healthy" || !ok && n.state == "unhealthy" {
			return
		}
		for i := range n.counts {
			if ok != (i == 0) {
				n.counts[i] = 0
			}
		}
		n.counts[event]++
		switch reached := n.counts[event] >= limit; {
		case reached && ok:
			n.state = "healthy"
		case reached:
			n.state = "unhealthy"
		case n.state == "healthy":
			n.state = "mostly_healthy"
		case n.state == "unhealthy":
			n.state = "mostly_unhealthy"
		}
	}
	random := rand.New(rand.NewPCG(5, 6))
	states := map[string]int{}
	for range 500 {
		var limits [2][4]int // active and passive ones
		for k := range limits {
			for i := range limits[k] {
				limits[k][i] = random.IntN(1 + random.IntN(254))
			}
		}
		want, got := node{state: "healthy"}, uint64(0)
		for range 300 {
			// Runs of one event, so that states are reached.
			event, limit := random.IntN(4), limits[random.IntN(2)]
			for range 1 + random.IntN(20) {
				slow(&want, event, limit[event])
				got = upstream.After(got, event, limit[event])
				state, counts := upstream.Tally(got)
				if now := (node{state.String(), counts}); now != want {
					t.Fatalf("after event %d, with the limit %d: is %v, and should be %v", event, limit[event], now, want)
				}
				states[want.state]++
			}
		}
	}
	require.Len(t, states, 4)
}

// Nobody who holds a Config can change the checks of an Upstream.
func TestChecksAreCopied(t *testing.T) {
	c := upstream.Config{ID: "1", Outliers: &upstream.Outliers{MinRequests: 7}, Checks: &upstream.Checks{
		Active:  upstream.ActiveChecks{Header: http.Header{"X": {"1"}}, Body: []byte("a"), HealthyStatuses: []int{200}, UnhealthyStatuses: []int{500}},
		Passive: &upstream.PassiveChecks{HealthyStatuses: []int{200}, UnhealthyStatuses: []int{500}},
	}}
	u := mustNew(t, c)
	want := u.Config()
	for range 2 {
		c.Checks.Active.Header["X"][0], c.Checks.Active.Body[0] = "2", 'b'
		c.Checks.Active.HealthyStatuses[0], c.Checks.Active.UnhealthyStatuses[0] = 201, 501
		c.Checks.Passive.HealthyStatuses[0], c.Checks.Passive.UnhealthyStatuses[0] = 201, 501
		c.Checks.Active.Type, c.Checks.Passive.Successes, c.Outliers.MinRequests = "tcp", 9, 9
		require.Equal(t, want, u.Config())
		c = u.Config()
	}
}

// A node that becomes unhealthy between the choice and the request is used: there may
// be another, but none was chosen.
func TestHealthTurnsDuringThePick(t *testing.T) {
	var turn func()
	never := upstream.ActiveChecks{HealthyInterval: upstream.NoProbes, UnhealthyInterval: upstream.NoProbes}
	withNodes(t, 2, upstream.Config{
		Picker: pickerFunc(func(*http.Request, *upstream.Candidates) int { turn(); return 0 }),
		Checks: &upstream.Checks{Active: never, Passive: &upstream.PassiveChecks{HTTPFailures: 1}},
	}, func(h *healthHarness) {
		h.nodes[0].set(status(500))
		turn = func() {
			turn = func() {}
			h.ask()
			h.nodes[0].set(status(200))
		}
		require.Equal(h, 200, h.ask())
		h.want(0, "mostly_unhealthy 1 0 0 0")
	})
}
