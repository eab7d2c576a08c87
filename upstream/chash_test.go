package upstream_test

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/nginxtest"
	"github.com/sallyport/sallyport/upstream"
)

// byKey is an upstream that hashes the argument "key".
func byKey(nodes ...upstream.Node) upstream.Config {
	return upstream.Config{ID: "1", Balancer: "chash", HashKey: "arg_key", Nodes: nodes}
}

// manyNodes are nodes of weight 1.
func manyNodes(n int) (nodes []upstream.Node) {
	for i := range n {
		nodes = append(nodes, upstream.Node{Host: fmt.Sprintf("10.0.%d.%d", i/250, i%250), Port: 8080, Weight: 1})
	}
	return nodes
}

func withKey(t testing.TB, key string) *upstream.Request {
	r := newRequest(t, "GET", "http://a.test/", nil)
	r.URL.RawQuery = "key=" + key
	return &upstream.Request{Request: r}
}

// slowKetama is the rule as lua-resty-chash and nginx have it, written as plainly as
// can be. It returns the nodes in the order in which a key tries them.
func slowKetama(addresses []string, weights []int, key string) (order []string) {
	type point struct {
		hash uint32
		node string
	}
	common := slices.Max(weights)
	for slices.ContainsFunc(weights, func(w int) bool { return w%common != 0 }) {
		common--
	}
	var points []point
	for i, address := range addresses {
		previous := uint32(0)
		for range 160 * weights[i] / common {
			h := crc32.NewIEEE()
			io.WriteString(h, strings.ReplaceAll(address, ":", "\x00"))
			h.Write([]byte{byte(previous), byte(previous >> 8), byte(previous >> 16), byte(previous >> 24)})
			previous = h.Sum32()
			points = append(points, point{previous, address})
		}
	}
	slices.SortFunc(points, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.node, b.node))
	})
	hash := crc32.ChecksumIEEE([]byte(key))
	first := 0
	for i, p := range points {
		if p.hash >= hash {
			first = i
			break
		}
	}
	for _, p := range append(points[first:], points[:first]...) {
		if !slices.Contains(order, p.node) {
			order = append(order, p.node)
		}
	}
	return order
}

// The numbers were computed by a program in another language.
func TestChashVectors(t *testing.T) {
	c := byKey(
		upstream.Node{Host: "127.0.0.1", Port: 1980, Weight: 10},
		upstream.Node{Host: "127.0.0.1", Port: 1981, Weight: 10},
		upstream.Node{Host: "127.0.0.1", Port: 1982, Weight: 20},
		upstream.Node{Host: "::1", Weight: 10},
	)
	p := newPool(t, c, nil)
	hashes, nodes := p.Upstream().Ring(0)
	require.Len(t, hashes, 160*5)
	require.Equal(t, []uint32{0x373c92, 0x475ccd, 0x47d461}, hashes[:3])
	require.Equal(t, []int{2, 0, 0}, nodes[:3])
	require.EqualValues(t, uint32(0xff7f96b3), hashes[len(hashes)-1])
	require.Zero(t, nodes[len(nodes)-1])
	require.Contains(t, hashes, uint32(0xe71dcbbf), "the first point of 127.0.0.1:1980")
	for key, node := range map[string]int{
		"":                       2,
		"/":                      3,
		"/index.html":            3,
		"alice":                  2,
		"bob":                    2,
		"10.0.0.1":               2,
		"192.168.0.7":            3,
		strings.Repeat("a", 100): 0,
		"%C3%BC":                 0, // "ü"
	} {
		require.Equal(t, node, p.Picks().Pick(withKey(t, key)), "%q", key)
	}
	// The hash of this key is a point: its node has it, and not the next.
	r := withKey(t, "")
	r.Vars = vars{"arg_key": "127.0.0.1\x001980\x00\x00\x00\x00"}
	require.Equal(t, 0, p.Picks().Pick(r))
}

func TestChashLikeTheSlowOne(t *testing.T) {
	for _, weights := range [][]int{{1}, {0}, {1, 1}, {3, 0, 2}, {100, 50, 25, 75}, {7, 11, 13}, slices.Repeat([]int{5}, 20), {0, 0}} {
		var c upstream.Config
		var addresses []string
		for i, w := range weights {
			n := upstream.Node{Host: fmt.Sprintf("n%d.test", i), Port: 1000 + i, Weight: w}
			c.Nodes = append(c.Nodes, n)
			addresses = append(addresses, fmt.Sprintf("%s:%d", n.Host, n.Port))
		}
		counted := slices.Clone(weights)
		if slices.Max(weights) == 0 {
			for i := range counted {
				counted[i] = 1
			}
		}
		p := newPool(t, byKey(c.Nodes...), nil)
		for k := range 50 {
			key := strconv.Itoa(k)
			r := withKey(t, key)
			for _, address := range slowKetama(addresses, counted, key) {
				i := p.Picks().Pick(r)
				require.Equal(t, address, p.Nodes()[i].Address, "key %s, weights %v", key, weights)
				r.Add(i) // and the retry
			}
			require.Equal(t, -1, p.Picks().Pick(r))
		}
	}
}

// The order in which the nodes are written does not matter, even where points are
// equal.
func TestChashOrderOfNodes(t *testing.T) {
	nodes := manyNodes(300) // of 48 000 points, some are equal
	p := newPool(t, byKey(nodes...), nil)
	hashes, _ := p.Upstream().Ring(0)
	require.True(t, slices.IsSorted(hashes))
	require.Less(t, len(slices.Compact(hashes)), 160*300, "the test says something about equal points")
	slices.Reverse(nodes)
	q := newPool(t, byKey(nodes...), nil)
	hashes, at := p.Upstream().Ring(0)
	again, reversed := q.Upstream().Ring(0)
	require.Equal(t, hashes, again)
	for i := range at {
		require.Equal(t, at[i], 299-reversed[i])
	}
}

// A node that leaves takes only its own keys along, and they go to many others; when
// it comes back it gets exactly those again.
func TestChashStability(t *testing.T) {
	const keys = 10_000
	nodes := manyNodes(100)
	owners := func(nodes []upstream.Node) (owner [keys]string) {
		p := newPool(t, byKey(nodes...), nil)
		status := p.Nodes()
		r := withKey(t, "")
		for k := range owner {
			r.URL.RawQuery = "key=user-" + strconv.Itoa(k)
			owner[k] = status[p.Picks().Pick(r)].Address
		}
		return owner
	}
	before := owners(nodes)
	after := owners(slices.Delete(slices.Clone(nodes), 50, 51))
	const gone = "10.0.0.50:8080"
	lost, heirs := 0, map[string]int{}
	for k := range before {
		if before[k] == gone {
			lost++
			heirs[after[k]]++
			continue
		}
		require.Equal(t, before[k], after[k], "the target is 2%% of the others; with a ring it is none")
	}
	require.Greater(t, lost, keys/200, "about one of a hundred")
	require.Greater(t, len(heirs), 40, "no neighbour takes it all")
	require.Equal(t, before, owners(nodes))

	// A retry after a failure goes to the same heir as if the node were gone.
	p := newPool(t, byKey(nodes...), nil)
	for k := range before {
		if before[k] == gone {
			r := withKey(t, "user-"+strconv.Itoa(k))
			r.Add(50)
			require.Equal(t, after[k], p.Nodes()[p.Picks().Pick(r)].Address)
		}
	}
}

// How even it is: a node has 160 points, so its share is off by about 1/sqrt(160).
func TestChashDistribution(t *testing.T) {
	nodes := manyNodes(4)
	nodes[3].Weight = 3
	p := newPool(t, byKey(nodes...), nil)
	got := make([]int, 4)
	r := withKey(t, "")
	for k := range 60_000 {
		r.URL.RawQuery = "key=user-" + strconv.Itoa(k)
		got[p.Picks().Pick(r)]++
	}
	// The keys and the ring are the same each time, and the same program as for the
	// vectors has counted them.
	require.Equal(t, []int{9581, 9399, 11180, 29840}, got)
}

// nginx is asked where it would send each key.
func TestChashLikeNginx(t *testing.T) {
	n := nginxtest.New(t, "its consistent hash is not compared with ours")
	var c upstream.Config
	var servers strings.Builder
	for _, w := range []int{1, 2, 3, 1, 5} {
		o := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			addr := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
			io.WriteString(w, addr.String())
		}))
		o.Node.Weight = w
		c.Nodes = append(c.Nodes, o.Node)
		fmt.Fprintf(&servers, "server %s weight=%d;\n", o.address, w)
	}
	p := newPool(t, byKey(c.Nodes...), nil)
	n.Start(fmt.Sprintf("upstream u {\nhash $arg_key consistent;\n%s}\nserver {\nlisten unix:%s;\nlocation / { proxy_pass http://u; }\n}\n", servers.String(), n.Path("http.sock")))
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", n.Path("http.sock"))
		},
	}}
	t.Cleanup(client.CloseIdleConnections)
	used := map[string]bool{}
	for k := range 500 {
		key := fmt.Sprintf("k%d", k)
		resp, err := client.Get("http://nginx/?key=" + key)
		require.NoError(t, err)
		theirs, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
		ours := p.Nodes()[p.Picks().Pick(withKey(t, key))].Address
		require.Equal(t, string(theirs), ours, key)
		used[ours] = true
	}
	require.Len(t, used, len(c.Nodes), "the comparison says something")
}

// vars are variables of a gateway's.
type vars map[string]string

func (v vars) Var(name string) (string, bool) { value, ok := v[name]; return value, ok }

func TestHashKey(t *testing.T) {
	const request = "GET /a/../b%20c?id=x+y&empty= HTTP/1.1\r\nHost: A.Test:81\r\nX-User: alice\r\nCookie: session=s1; b=2\r\n\r\n"
	gateway := vars{"uri": "/from/gateway", "http_x_user": "bob", "remote_addr": "192.0.2.9", "consumer_group": "g"}
	for _, c := range []struct {
		on   upstream.HashOn
		key  string
		vars upstream.Vars
		want string // what is hashed
	}{
		{"", "uri", nil, "/b c"},
		{"vars", "request_uri", nil, "/a/../b%20c?id=x+y&empty="},
		{"vars", "query_string", nil, "id=x+y&empty="},
		{"vars", "host", nil, "a.test"},
		{"vars", "remote_addr", nil, "192.0.2.1"},
		{"vars", "remote_port", nil, "1234"},
		{"vars", "arg_id", nil, "x y"},
		{"vars", "arg_empty", nil, ""},
		{"vars", "arg_none", nil, "192.0.2.1"}, // absent, so the client's address
		{"vars", "server_name", nil, "192.0.2.1"},
		{"header", "X-User", nil, "alice"},
		{"header", "x_user", nil, "alice"},
		{"header", "Host", nil, "A.Test:81"},
		{"header", "X-None", nil, "192.0.2.1"},
		{"cookie", "session", nil, "s1"},
		{"cookie", "Session", nil, "192.0.2.1"},
		{"vars_combinations", "$host$uri", nil, "a.test/b c"},
		{"vars_combinations", "${request_method}-${cookie_b}x", nil, "GET-2x"},
		{"vars_combinations", "$arg_none-$arg_id", nil, "-x y"},
		{"vars_combinations", "$arg_none-$arg_nope", nil, "192.0.2.1"},
		{"vars_combinations", `\$host $args$`, nil, `\$host id=x+y&empty=$`},
		{"vars_combinations", "$http_x_user", nil, "alice"},

		{"vars", "uri", gateway, "/from/gateway"},
		{"header", "X-User", gateway, "bob"},
		{"header", "X-Other", gateway, "192.0.2.9"},
		{"cookie", "session", gateway, "192.0.2.9"}, // never half of each
		{"vars_combinations", "$consumer_group!", gateway, "g!"},
	} {
		t.Run(string(c.on)+" "+c.key, func(t *testing.T) {
			config := byKey(manyNodes(50)...)
			config.HashOn, config.HashKey = c.on, c.key
			p := newPool(t, config, nil)
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(request)))
			require.NoError(t, err)
			r.RemoteAddr = "192.0.2.1:1234"

			var addresses []string
			for _, n := range p.Nodes() {
				addresses = append(addresses, n.Address)
			}
			want := slowKetama(addresses, slices.Repeat([]int{1}, 50), c.want)[0]
			i := p.Picks().Pick(&upstream.Request{Request: r, Vars: c.vars})
			require.Equal(t, want, addresses[i], "not the hash of %q", c.want)
		})
	}
}

// A request of a client's own has no remote address. It must not make one node hot.
func TestHashKeyOfNothing(t *testing.T) {
	p := newPool(t, byKey(manyNodes(10)...), nil)
	seen := map[int]bool{}
	for range 1000 {
		seen[p.Picks().Pick(&upstream.Request{Request: newRequest(t, "GET", "http://a.test/", nil)})] = true
	}
	require.Len(t, seen, 10)
}

// The variables of a gateway reach the balancer through Do.
func TestVars(t *testing.T) {
	var nodes []upstream.Node
	for range 5 {
		nodes = append(nodes, newServer(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).Node)
	}
	p := newPool(t, byKey(nodes...), nil)
	for range 4 {
		resp, err := p.Do(newRequest(t, "GET", "http://a.test/", nil), &upstream.CallOptions{Vars: vars{"arg_key": "k"}})
		require.NoError(t, err)
		resp.Body.Close()
	}
	r := httptest.NewRequest("GET", "/?key=k", nil)
	require.EqualValues(t, 4, p.Nodes()[p.Picks().Pick(&upstream.Request{Request: r})].Requests)
}
