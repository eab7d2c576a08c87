package upstream_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/upstream"
)

func mustNew(t testing.TB, c upstream.Config) *upstream.Upstream {
	t.Helper()
	u, err := upstream.New(c)
	require.NoError(t, err)
	return u
}

func TestSuccessorTakesOver(t *testing.T) {
	ca := newAuthority(t)
	base := upstream.Config{ID: "1", Nodes: []upstream.Node{{Host: "a.test", Weight: 1}, {Host: "b.test", Weight: 1}}}
	secure := base
	secure.Scheme = "https"
	for _, c := range []struct {
		name   string
		from   upstream.Config
		edit   func(*upstream.Config)
		o      *upstream.Options
		shares bool
	}{
		{"nothing changed", base, func(c *upstream.Config) {}, nil, true},
		{"nothing changed, over TLS", secure, func(c *upstream.Config) {}, nil, true},
		{"other weights", base, func(c *upstream.Config) { c.Nodes[0].Weight = 7 }, nil, true},
		{"other timeouts and retries", base, func(c *upstream.Config) { c.Timeout.Connect, c.Retries, c.RetryTimeout = 1, 1, 1 }, nil, true},
		{"another Host", secure, func(c *upstream.Config) { c.PassHost = upstream.PassNode }, nil, true},
		{"the default written out", base, func(c *upstream.Config) { c.Scheme, c.KeepAlive.Size = "http", 320 }, nil, true},
		{"another id", base, func(c *upstream.Config) { c.ID = "2" }, nil, true},
		{"another dialer", base, func(c *upstream.Config) {}, &upstream.Options{Dialer: inMemory(nil)}, true},
		{"TLS", base, func(c *upstream.Config) {
			c.Scheme, c.Nodes[0].Port, c.Nodes[1].Port = "https", 80, 80
		}, nil, false},
		{"another CA", secure, func(c *upstream.Config) { c.TLS.CAPEM = ca.pem }, nil, false},
		{"no verification", secure, func(c *upstream.Config) { c.TLS.DangerouslySkipServerVerify = true }, nil, false},
		{"a client certificate", secure, func(c *upstream.Config) { c.TLS.CertPEM, c.TLS.KeyPEM = ca.pair(t, "c.test") }, nil, false},
		{"fewer idle connections", base, func(c *upstream.Config) { c.KeepAlive.Size = 1 }, nil, false},
		{"fewer requests", base, func(c *upstream.Config) { c.KeepAlive.Requests = 1 }, nil, false},
		{"another client", base, func(c *upstream.Config) {}, &upstream.Options{Transport: &http.Transport{}}, false},
		{"idle for less time", base, func(c *upstream.Config) { c.KeepAlive.IdleTimeout = 1 }, nil, false},
		{"smaller heads", base, func(c *upstream.Config) {}, &upstream.Options{MaxResponseHeaderBytes: 1000}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := mustNew(t, c.from)
			old := upstream.NewPool(u, nil)
			defer old.Close()
			require.Same(t, u, old.Upstream())
			config := u.Config()
			c.edit(&config)
			next := old.Replace(mustNew(t, config), c.o)
			defer next.Close()
			for i := range 2 {
				require.Equal(t, c.shares, next.SharesConnections(old, i, i))
				require.False(t, next.SharesConnections(old, i, 1-i), "never another node's")
			}
		})
	}

	// By address, not by place.
	old := upstream.NewPool(mustNew(t, base), nil)
	defer old.Close()
	next := old.Replace(mustNew(t, upstream.Config{ID: "1", Nodes: []upstream.Node{{Host: "c.test"}, {Host: "B.TEST", Port: 80}}}), nil)
	defer next.Close()
	require.True(t, next.SharesConnections(old, 1, 1))
	require.False(t, next.SharesConnections(old, 0, 0))
}

// Counts go on, connections are kept, and the removed node's are closed: the origins
// wait for that at the end of the test.
func TestReplacing(t *testing.T) {
	release := make(chan struct{})
	stays := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			w.(http.Flusher).Flush()
			<-release
			io.WriteString(w, "slow")
		}
	}))
	goes := newOrigin(t, answering(ok))

	old := newPool(t, upstream.Config{Nodes: []upstream.Node{stays.Node, goes.Node}}, nil)
	get(t, old, "http://a.test/")
	get(t, old, "http://a.test/")
	slow, err := old.RoundTrip(newRequest(t, "GET", "http://a.test/slow", nil))
	require.NoError(t, err)

	next := old.Replace(mustNew(t, upstream.Config{ID: "1", Nodes: []upstream.Node{stays.Node}}), nil)
	defer next.Close()
	old.Close()
	old.Close() // once more does nothing

	require.Equal(t, []upstream.NodeStatus{{Address: stays.address, Weight: 1, InFlight: 1, Requests: 2}}, next.Nodes())
	close(release)
	body, err := io.ReadAll(slow.Body)
	require.NoError(t, err)
	require.Equal(t, "slow", string(body), "what was in flight ends in peace")
	require.NoError(t, slow.Body.Close())
	require.Zero(t, next.Nodes()[0].InFlight)

	get(t, next, "http://a.test/")
	require.EqualValues(t, 1, stays.conns.Load(), "the successor uses the same connection")

	// Those who still hold the old pool are served, without keeping connections.
	old.Rewind()
	get(t, old, "http://a.test/")
	get(t, old, "http://a.test/")
	require.EqualValues(t, 1, stays.conns.Load())
	require.EqualValues(t, 2, goes.conns.Load(), "the first was closed")
	require.EqualValues(t, 4, next.Nodes()[0].Requests)
}

// Close closes what is idle at once and what is busy when it is no longer.
func TestClose(t *testing.T) {
	closed := make(chan string, 10)
	node := newOrigin(t, func(conn net.Conn) {
		answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")(conn)
		closed <- "closed"
	})
	p := newPool(t, upstream.Config{Nodes: []upstream.Node{node.Node}}, nil)
	busy, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
	require.NoError(t, err)
	get(t, p, "http://a.test/")
	require.EqualValues(t, 2, node.conns.Load())

	p.Close()
	<-closed // the idle one
	require.Empty(t, closed)
	_, err = io.ReadAll(busy.Body)
	require.NoError(t, err)
	<-closed // the busy one, at the end of the body
	busy.Body.Close()

	get(t, p, "http://a.test/")
	<-closed
}

// An http.Client closes idle connections without knowing whose they are.
func TestCloseIdleConnections(t *testing.T) {
	closed := make(chan bool, 10)
	note := func(node func(net.Conn)) func(net.Conn) {
		return func(conn net.Conn) { node(conn); closed <- true }
	}
	for scheme, node := range map[upstream.Scheme]*origin{
		"http": newOrigin(t, note(answering(ok))),
		"h2c":  newOrigin(t, note(h2Node(answer200))),
	} {
		p := newPool(t, upstream.Config{Scheme: scheme, Nodes: []upstream.Node{node.Node}}, nil)
		client := &http.Client{Transport: p}
		for range 2 {
			get(t, p, "http://a.test/")
			client.CloseIdleConnections()
			<-closed
		}
		require.EqualValues(t, 2, node.conns.Load())
	}
}

// A thousand replacements under load lose no request, and at the end no connection is
// left: the origins wait for that.
func TestReplacingUnderLoad(t *testing.T) {
	var nodes []upstream.Node
	for range 3 {
		nodes = append(nodes, newOrigin(t, func(conn net.Conn) {
			r := bufio.NewReader(conn)
			for {
				if _, err := readHead(r); err != nil {
					return
				}
				if _, err := r.Discard(len("abc")); err != nil {
					return
				}
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")
			}
		}).Node)
	}
	shapes := []upstream.Config{
		{ID: "1", Nodes: nodes},
		{ID: "1", Nodes: nodes[:1]},
		{ID: "1", Nodes: nodes[1:]},
		{ID: "1", Nodes: nodes[1:], KeepAlive: upstream.KeepAlive{Size: 2}},
	}
	var current atomic.Pointer[upstream.Pool]
	current.Store(upstream.NewPool(mustNew(t, shapes[0]), nil))

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
				req, err := http.NewRequest("POST", "http://a.test/", strings.NewReader("abc"))
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
				if err != nil || string(body) != "abc" {
					t.Error(string(body), err)
					return
				}
				served.Add(1)
			}
		})
	}
	for i := range 1000 { // each sees a request or more
		old := current.Load()
		current.Store(old.Replace(mustNew(t, shapes[i%len(shapes)]), nil))
		old.Close()
		for before := served.Load(); served.Load() < before+1 && !t.Failed(); {
			runtime.Gosched()
		}
	}
	close(stop)
	wg.Wait()
	last := current.Load()
	last.Close()
	for _, n := range last.Nodes() {
		require.Zero(t, n.InFlight)
		require.Zero(t, n.Failures)
	}
}

func TestNodes(t *testing.T) {
	node := newOrigin(t, answering(ok))
	p := newPool(t, upstream.Config{Nodes: []upstream.Node{{Host: node.Host, Port: node.Port, Weight: 3}, refusing(t)}}, nil)
	for range 8 {
		get(t, p, "http://a.test/")
	}
	nodes := p.Nodes()
	require.Equal(t, upstream.NodeStatus{Address: node.address, Weight: 3, Requests: 8}, nodes[0])
	require.Equal(t, nodes[1].Requests, nodes[1].Failures)
	require.EqualValues(t, 2, nodes[1].Failures)
}

// Closing the pool leaves no goroutine: the bubble would fail.
func TestNothingIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := map[string]func(net.Conn){
			"a.test:80": answering(ok),
			"b.test:80": silent,
			"c.test:80": func(net.Conn) {},
		}
		p := upstream.NewPool(mustNew(t, upstream.Config{
			ID:        "1",
			Nodes:     []upstream.Node{{Host: "a.test", Weight: 1}, {Host: "b.test", Weight: 1}, {Host: "c.test", Weight: 1}, {Host: "d.test", Weight: 1}},
			Timeout:   upstream.Timeout{Connect: time.Second, Read: time.Second},
			KeepAlive: upstream.KeepAlive{IdleTimeout: 1000 * time.Hour},
		}), &upstream.Options{Dialer: inMemory(nodes)})
		for range 20 {
			resp, err := p.RoundTrip(newRequest(t, "POST", "http://a.test/", strings.NewReader("abc")))
			if err == nil {
				resp.Body.Close() // unread: the connection cannot be kept
			}
			get(t, p, "http://a.test/")
		}
		p.Close()
	})
}
