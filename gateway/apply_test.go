package gateway_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// named answers with a name, and says by it where a request went.
func named(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, name) })
}

func local(id, path, text string, hosts ...string) route.Config {
	return route.Config{ID: id, Hosts: hosts, Paths: []string{path}, Handler: named(text)}
}

// behaviour is what the gateway does with requests of all kinds, at one moment.
func (h *harness) behaviour(hosts ...string) string {
	h.t.Helper()
	var b strings.Builder
	for _, d := range h.doors() {
		for _, host := range hosts {
			client := h.client(d, host)
			for _, target := range []string{"/", "/a", "/b", "/c"} {
				res, err := client.Get(d.scheme() + "://" + host + target)
				if err != nil {
					fmt.Fprintf(&b, "%s %s%s: no connection\n", d.name, host, target)
					continue
				}
				body, _ := io.ReadAll(res.Body)
				res.Body.Close()
				fmt.Fprintf(&b, "%s %s%s: %d %s\n", d.name, host, target, res.StatusCode, body)
			}
			client.CloseIdleConnections()
		}
	}
	return b.String()
}

// A change is made whole or not at all.
func TestApplyAllOrNothing(t *testing.T) {
	h := newHarness(t, nil)
	names := []string{"a.test", "b.test", "c.test"}
	h.apply(gateway.Config{
		Profiles:  []ssl.Config{h.profile("a", names[:1]), h.profile("b", names[1:2], h.people)},
		Upstreams: []upstream.Config{upstreamTo("1", h.origin.address), upstreamTo("2", h.origin.address)},
		Routes:    []route.Config{everything("1", "1"), local("a", "/a", "a")},
	})
	before := h.behaviour(names...)
	require.Contains(t, before, "200 ok")
	require.Contains(t, before, "200 a")
	require.Contains(t, before, "no connection")

	good := gateway.Change{
		Put: gateway.Config{
			Profiles:  []ssl.Config{h.profile("a", names[:1], h.people), h.profile("c", names[2:])},
			Upstreams: []upstream.Config{upstreamTo("1", refusing(t)), upstreamTo("3", h.origin.address)},
			Routes:    []route.Config{local("a", "/a", "changed"), local("b", "/b", "b"), everything("c", "3")},
		},
		Delete: gateway.IDs{Profiles: []string{"b"}, Upstreams: []string{"2"}},
	}
	clone := func() gateway.Change {
		c := good
		c.Put.Profiles = append([]ssl.Config(nil), c.Put.Profiles...)
		c.Put.Upstreams = append([]upstream.Config(nil), c.Put.Upstreams...)
		c.Put.Routes = append([]route.Config(nil), c.Put.Routes...)
		return c
	}
	for name, c := range map[string]struct {
		spoil func(*gateway.Change)
		as    any
		field string
	}{
		"ssl: no certificate":  {func(c *gateway.Change) { c.Put.Profiles[1].Certificates = nil }, new(*ssl.ConfigError), "Certificates"},
		"ssl: no CA":           {func(c *gateway.Change) { c.Put.Profiles[0].Client = &ssl.ClientAuth{} }, new(*ssl.ConfigError), "Client.CAPEM"},
		"ssl: no ID":           {func(c *gateway.Change) { c.Put.Profiles[1].ID = "" }, new(*ssl.ConfigError), "ID"},
		"ssl: twice":           {func(c *gateway.Change) { c.Put.Profiles[1].ID = "a" }, new(*ssl.ConfigError), "ID"},
		"route: path":          {func(c *gateway.Change) { c.Put.Routes[2].Paths = []string{"x"} }, new(*route.ConfigError), "Paths[0]"},
		"route: no target":     {func(c *gateway.Change) { c.Put.Routes[2].Upstream = "" }, new(*route.ConfigError), "Upstream"},
		"route: twice":         {func(c *gateway.Change) { c.Put.Routes[2].ID = "b" }, new(*gateway.ConfigError), "ID"},
		"upstream: scheme":     {func(c *gateway.Change) { c.Put.Upstreams[1].Scheme = "ftp" }, new(*upstream.ConfigError), "Scheme"},
		"upstream: twice":      {func(c *gateway.Change) { c.Put.Upstreams[1].ID = "1" }, new(*gateway.ConfigError), "ID"},
		"dangling":             {func(c *gateway.Change) { c.Put.Routes[2].Upstream = "nobody" }, new(*gateway.ConfigError), "Upstream"},
		"dangling by deleting": {func(c *gateway.Change) { c.Put.Routes[2].Upstream = "2" }, new(*gateway.ConfigError), "Upstream"},
		"in use":               {func(c *gateway.Change) { c.Delete.Upstreams = []string{"1"}; c.Put.Upstreams = c.Put.Upstreams[1:] }, new(*gateway.ConfigError), "ID"},
		"three faults": {func(c *gateway.Change) {
			c.Put.Profiles[1].Names, c.Put.Routes[0].Paths, c.Put.Upstreams[1].Scheme = nil, nil, "x"
		}, new(*upstream.ConfigError), "Scheme"},
	} {
		t.Run(name, func(t *testing.T) {
			change := clone()
			c.spoil(&change)
			_, err := h.gw.Prepare(change)
			require.ErrorAs(t, err, c.as)
			report, err := h.gw.Apply(change)
			require.ErrorAs(t, err, c.as)
			require.Empty(t, report)
			var withField interface{ FieldPath() string }
			require.ErrorAs(t, err, &withField)
			require.Contains(t, err.Error(), c.field)
			require.Equal(t, before, h.behaviour(names...))
		})
	}
	_, err := h.gw.Apply(gateway.Change{Put: gateway.Config{
		Profiles: []ssl.Config{{ID: "x"}}, Routes: []route.Config{{ID: "y"}}, Upstreams: []upstream.Config{{ID: "z", Scheme: "x"}},
	}})
	for _, kind := range []any{new(*ssl.ConfigError), new(*route.ConfigError), new(*upstream.ConfigError)} {
		require.ErrorAs(t, err, kind, "all faults are said at once")
	}

	_, err = h.gw.Apply(good)
	require.NoError(t, err)
	after := h.behaviour(names...)
	require.NotEqual(t, before, after)
	require.Contains(t, after, "200 changed")
}

// References between routes and upstreams.
func TestReferences(t *testing.T) {
	h := newHarness(t, nil)
	client := h.client(h.plain, "")
	status := func() int {
		status, _ := h.get(client, h.plain, "a.test", "/")
		return status
	}
	put := func(c gateway.Config) error {
		_, err := h.gw.Apply(gateway.Change{Put: c})
		return err
	}
	remove := func(ids ...string) error {
		_, err := h.gw.Apply(gateway.Change{Delete: gateway.IDs{Upstreams: ids}})
		return err
	}
	one := gateway.Config{Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)}}
	toOne := gateway.Config{Routes: []route.Config{everything("r", "1")}}

	err := put(toOne)
	require.ErrorIs(t, err, gateway.ErrNoUpstream)
	require.EqualError(t, err, `gateway: route "r": Upstream: "1": there is no such upstream`)
	require.Equal(t, 404, status())
	require.NoError(t, remove("1"), "deleting what is not there is no error")

	// The order within a change does not matter.
	require.NoError(t, put(gateway.Config{Routes: toOne.Routes, Upstreams: one.Upstreams}))
	require.Equal(t, 200, status())
	err = remove("1")
	require.ErrorIs(t, err, gateway.ErrInUse)
	require.EqualError(t, err, `gateway: upstream "1": ID: routes use it: route "r"`)
	require.Equal(t, 200, status())

	// With AllowDangling, requests are answered with 502 until there is one.
	_, err = h.gw.Apply(gateway.Change{Delete: gateway.IDs{Upstreams: []string{"1"}}, AllowDangling: true})
	require.NoError(t, err)
	require.Equal(t, 502, status())
	require.Contains(t, h.log.String(), `error="gateway: upstream \"1\": there is no such upstream"`)
	require.NoError(t, put(gateway.Config{Routes: []route.Config{local("other", "/x", "x")}}), "what dangles already is no reason to refuse another change")
	require.ErrorIs(t, put(toOne), gateway.ErrNoUpstream)
	require.Equal(t, 502, status())
	require.NoError(t, put(one))
	require.Equal(t, 200, status())
	require.ErrorIs(t, remove("1"), gateway.ErrInUse)

	// A change deletes, then puts.
	_, err = h.gw.Apply(gateway.Change{Put: one, Delete: gateway.IDs{Upstreams: []string{"1", "1"}}})
	require.NoError(t, err)
	require.Equal(t, 200, status())
	_, err = h.gw.Apply(gateway.Change{Put: toOne, Delete: gateway.IDs{Routes: []string{"r", "r", "none"}}})
	require.NoError(t, err)
	require.Equal(t, 200, status())
	_, err = h.gw.Apply(gateway.Change{Delete: gateway.IDs{Routes: []string{"r"}, Upstreams: []string{"1"}}})
	require.NoError(t, err, "the route goes with its upstream")
	require.Equal(t, 404, status())
}

// The counting of references against an obvious model of it.
func TestReferencesOracle(t *testing.T) {
	gw := must(gateway.New(nil))
	defer gw.Close()
	random := rand.New(rand.NewPCG(1, 2))
	routes, upstreams := map[string]string{}, map[string]bool{}
	ids := func(prefix string) (some []string) {
		for range random.IntN(3) {
			some = append(some, fmt.Sprint(prefix, random.IntN(4)))
		}
		return some
	}
	refused := map[error]int{}
	for range 3000 {
		c := gateway.Change{Delete: gateway.IDs{Routes: ids("r"), Upstreams: ids("u")}, AllowDangling: random.IntN(10) == 0}
		nextRoutes, nextUpstreams := map[string]string{}, map[string]bool{}
		maps.Copy(nextRoutes, routes)
		for id := range upstreams {
			nextUpstreams[id] = true
		}
		for _, id := range c.Delete.Routes {
			delete(nextRoutes, id)
		}
		for _, id := range c.Delete.Upstreams {
			delete(nextUpstreams, id)
		}
		put := map[string]bool{}
		for _, id := range ids("r") {
			if !put[id] {
				put[id] = true
				r := local(id, "/", "")
				if random.IntN(5) > 0 {
					r = everything(id, fmt.Sprint("u", random.IntN(4)))
				}
				c.Put.Routes = append(c.Put.Routes, r)
				nextRoutes[id] = r.Upstream
			}
		}
		for _, id := range ids("u") {
			if !put[id] {
				put[id] = true
				c.Put.Upstreams = append(c.Put.Upstreams, upstream.Config{ID: id})
				nextUpstreams[id] = true
			}
		}
		var want error
		for id, u := range nextRoutes {
			switch {
			case u == "" || nextUpstreams[u]:
			case put[id]:
				want = gateway.ErrNoUpstream
			case upstreams[u] && want == nil:
				want = gateway.ErrInUse
			}
		}
		_, err := gw.Apply(c)
		switch {
		case want == nil || c.AllowDangling:
			require.NoError(t, err)
			routes, upstreams = nextRoutes, nextUpstreams
		default:
			require.ErrorIs(t, err, want)
			refused[want]++
		}
	}
	require.Greater(t, refused[gateway.ErrNoUpstream], 100)
	require.Greater(t, refused[gateway.ErrInUse], 100)
}

// However a name stops demanding client certificates, the report tells of it.
func TestOpenedNames(t *testing.T) {
	h := newHarness(t, &gateway.Options{TLS: ssl.Options{FallbackName: "a.test"}})
	strict := h.profile("1", []string{"a.test", "127.0.0.1"}, h.people)
	nobody := []gateway.Warning{
		{Kind: "profile", ID: "1", Text: "the server name a.test demanded client certificates until this change, and no profile answers for it now: a request for it that comes over plain HTTP, or a connection made for another name, needs none", Opened: true},
		{Kind: "profile", ID: "1", Text: "the server name 127.0.0.1 demanded client certificates until this change, and no profile answers for it now: a request for it that comes over plain HTTP, or a connection made for another name, needs none", Opened: true},
	}
	for name, c := range map[string]struct {
		change func() (gateway.Report, error)
		want   []gateway.Warning
	}{
		"deleted": {func() (gateway.Report, error) {
			return h.gw.Apply(gateway.Change{Delete: gateway.IDs{Profiles: []string{"1"}}})
		}, nobody},
		"configured": {func() (gateway.Report, error) { return h.gw.Configure(gateway.Config{}) }, nobody},
		"replaced": {func() (gateway.Report, error) {
			return h.gw.Apply(gateway.Change{Put: gateway.Config{Profiles: []ssl.Config{h.profile("1", []string{"a.test", "127.0.0.1"})}}})
		}, []gateway.Warning{
			{Kind: "profile", ID: "1", Text: `the server name a.test demanded client certificates until this change: the profile "1" answers for it now, and demands none`, Opened: true},
			{Kind: "profile", ID: "1", Text: `the server name 127.0.0.1 demanded client certificates until this change: the profile "1" answers for it now, and demands none`, Opened: true},
		}},
		"kept": {func() (gateway.Report, error) { return h.gw.Configure(gateway.Config{Profiles: []ssl.Config{strict}}) }, nil},
	} {
		report, err := h.gw.Configure(gateway.Config{Profiles: []ssl.Config{strict}})
		require.NoError(t, err, name)
		require.Empty(t, report.Warnings, name)
		report, err = c.change()
		require.NoError(t, err, name)
		require.Equal(t, c.want, report.Warnings, name)
	}
}

// Configure keeps what stays where it is, with what it has, and removes the rest.
func TestConfigure(t *testing.T) {
	h := newHarness(t, nil)
	older, newer := local("older", "/", "older"), local("newer", "/", "newer")
	first := gateway.Config{
		Profiles:  []ssl.Config{h.profile("older", []string{"a.test"}), h.profile("newer", []string{"a.test", "b.test"}, h.people), h.profile("gone", []string{"gone.test"})},
		Routes:    []route.Config{older, newer, everything("1", "1"), local("gone", "/gone", "gone")},
		Upstreams: []upstream.Config{upstreamTo("1", h.origin.address), upstreamTo("gone")},
	}
	report, err := h.gw.Configure(first)
	require.NoError(t, err)
	require.Equal(t, []gateway.Warning{
		{Kind: "profile", ID: "newer", Field: "Names", Text: `the server name a.test is that of the older profile "older" too, which answers for it`},
		{Kind: "route", ID: "older", Text: `route "newer" is never found any more: route "older" goes before it and takes all of its requests`},
		{Kind: "route", ID: "newer", Text: `it is never found: route "older" goes before it and takes all of its requests`},
	}, report.Warnings)
	get := func(path string) string {
		status, body := h.get(h.client(h.http1, "a.test"), h.http1, "a.test", path)
		return fmt.Sprint(status, " ", body)
	}
	require.Equal(t, "200 older", get("/"))
	require.Equal(t, "200 gone", get("/gone"))
	require.Equal(t, "200 ok", get("/x"))
	require.Equal(t, 1, h.origin.dialled())

	// The same again in another order, without what is to go.
	second := gateway.Config{
		Profiles:  []ssl.Config{first.Profiles[1], first.Profiles[0]},
		Routes:    []route.Config{newer, first.Routes[2], older},
		Upstreams: first.Upstreams[:1],
	}
	_, err = h.gw.Configure(second)
	require.NoError(t, err)
	require.Equal(t, "200 older", get("/"))
	require.Equal(t, "200 ok", get("/gone"), "the route of everything")
	require.Equal(t, 1, h.origin.dialled(), "the connection to the node was kept")
	_, err = h.client(h.http1, "gone.test").Get("https://gone.test/")
	require.ErrorContains(t, err, "unrecognized name")

	// All or nothing.
	for _, bad := range []gateway.Config{
		{Profiles: second.Profiles, Routes: second.Routes},                    // its upstream would go
		{Profiles: second.Profiles, Routes: append(second.Routes, older)},     // twice
		{Profiles: append(second.Profiles, ssl.Config{ID: "x"}), Routes: nil}, // wrong
		{Routes: []route.Config{everything("1", "gone")}, Upstreams: nil},     // gone already
	} {
		_, err = h.gw.Configure(bad)
		require.Error(t, err)
		require.Equal(t, "200 older", get("/"))
		require.Equal(t, "200 ok", get("/x"))
	}

	_, err = h.gw.Configure(gateway.Config{})
	require.NoError(t, err)
	_, err = h.client(h.http1, "a.test").Get("https://a.test/")
	require.ErrorContains(t, err, "unrecognized name")
	status, _ := h.get(h.client(h.plain, ""), h.plain, "a.test", "/")
	require.Equal(t, 404, status)
}

// Prepare changes nothing, and Commit does whatever came in between.
func TestPrepare(t *testing.T) {
	h := newHarness(t, nil)
	client := h.client(h.plain, "")
	get := func(path string) string {
		status, body := h.get(client, h.plain, "a.test", path)
		return fmt.Sprint(status, " ", body)
	}
	skipping := upstreamTo("skipping", h.origin.address)
	skipping.Scheme, skipping.TLS.DangerouslySkipServerVerify = "https", true
	skipping.Nodes = append(skipping.Nodes, upstream.Node{Host: "127.0.0.1", Port: 1})
	h.apply(gateway.Config{Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)}})
	p, err := h.gw.Prepare(gateway.Change{Put: gateway.Config{
		Routes:    []route.Config{everything("r", "1"), local("l", "/l", "prepared")},
		Upstreams: []upstream.Config{skipping},
	}})
	require.NoError(t, err)
	require.Contains(t, get("/"), "404")

	// The upstream goes, and a route of the same ID comes.
	_, err = h.gw.Apply(gateway.Change{
		Delete: gateway.IDs{Upstreams: []string{"1"}},
		Put:    gateway.Config{Routes: []route.Config{local("l", "/l", "between"), local("m", "/m", "between")}},
	})
	require.NoError(t, err)
	require.Equal(t, "200 between", get("/l"))
	report := p.Commit()
	require.Equal(t, []gateway.Warning{
		{Kind: "upstream", ID: "skipping", Field: "TLS.DangerouslySkipServerVerify", Text: "the certificates of its nodes are not verified: whoever sits between reads and changes everything"},
		{Kind: "upstream", ID: "skipping", Field: "Nodes", Text: "nodes of Weight 0 beside others with more get no requests: 127.0.0.1:1 (set Weight, unless that is meant)"},
	}, report.Warnings)
	require.Equal(t, "200 prepared", get("/l"))
	require.Equal(t, "200 between", get("/m"))
	require.Contains(t, get("/"), "502")

	// What was counted in between is counted right.
	h.apply(gateway.Config{Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)}})
	require.Equal(t, "200 ok", get("/"))
	_, err = h.gw.Apply(gateway.Change{Delete: gateway.IDs{Upstreams: []string{"1"}}})
	require.ErrorIs(t, err, gateway.ErrInUse)
	_, err = h.gw.Apply(gateway.Change{Delete: gateway.IDs{Routes: []string{"r"}, Upstreams: []string{"1"}}})
	require.NoError(t, err)
}

// What a caller does to a Config after it was applied changes nothing.
func TestConfigIsCopied(t *testing.T) {
	h := newHarness(t, nil)
	r, u, p := everything("1", "1"), upstreamTo("1", h.origin.address), h.profile("1", []string{"a.test"})
	h.apply(gateway.Config{Routes: []route.Config{r}, Upstreams: []upstream.Config{u}, Profiles: []ssl.Config{p}})
	r.Paths[0], u.Nodes[0].Host, p.Names[0] = "/none", "192.0.2.1", "b.test"
	clear(p.Certificates[0].CertPEM)
	clear(p.Certificates[0].KeyPEM)
	status, body := h.get(h.client(h.http1, "a.test"), h.http1, "a.test", "/")
	require.Equal(t, 200, status)
	require.Equal(t, "ok", body)

	// Nor does it after Prepare.
	skipping := upstreamTo("2", h.origin.address)
	skipping.Scheme, skipping.TLS.DangerouslySkipServerVerify = "https", true
	c := gateway.Change{Put: gateway.Config{Upstreams: []upstream.Config{skipping}}, Delete: gateway.IDs{Routes: []string{"none"}, Profiles: []string{"none"}, Upstreams: []string{"none"}}}
	prepared, err := h.gw.Prepare(c)
	require.NoError(t, err)
	c.Delete.Routes[0], c.Delete.Profiles[0], c.Delete.Upstreams[0], c.Put.Upstreams[0].Scheme = "1", "1", "1", "http"
	require.Len(t, prepared.Commit().Warnings, 1)
	status, _ = h.get(h.client(h.http1, "a.test"), h.http1, "a.test", "/")
	require.Equal(t, 200, status)
}

// What a caller does to Options after New changes nothing.
func TestOptionsAreCopied(t *testing.T) {
	o := &gateway.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}
	gw := must(gateway.New(o))
	defer gw.Close()
	o.TrustedProxies[0] = netip.MustParsePrefix("0.0.0.0/0")
	var proto string
	tell := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { proto = r.Header.Get("X-Forwarded-Proto") })
	_, err := gw.Configure(gateway.Config{Routes: []route.Config{{ID: "1", Paths: []string{"/*"}, Handler: tell}}})
	require.NoError(t, err)
	for peer, want := range map[string]string{"198.51.100.7:1": "gopher", "192.0.2.7:1": "http"} {
		r := httptest.NewRequest("GET", "http://a.test/", nil)
		r.RemoteAddr = peer
		r.Header.Set("X-Forwarded-Proto", "gopher")
		gw.ServeHTTP(httptest.NewRecorder(), r)
		require.Equal(t, want, proto, peer)
	}
}

// Close is the end of probing too, whatever change is being made at the time.
func TestCloseDuringChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials atomic.Int64
		o := &gateway.Options{}
		o.Upstream.Dialer = func(context.Context, string, string) (net.Conn, error) {
			dials.Add(1)
			return nil, io.EOF
		}
		c := gateway.Config{Routes: []route.Config{everything("1", "0")}}
		for i := range 100 {
			c.Upstreams = append(c.Upstreams, upstream.Config{ID: fmt.Sprint(i), Checks: &upstream.Checks{}, Nodes: []upstream.Node{{Host: "10.0.0.1"}}})
		}
		for range 50 {
			gw := must(gateway.New(o))
			_, err := gw.Configure(c)
			require.NoError(t, err)
			w := httptest.NewRecorder()
			gw.ServeHTTP(w, httptest.NewRequest("GET", "http://a.test/", nil))
			require.Equal(t, 502, w.Code)
			change, err := gw.Prepare(gateway.Change{Put: c})
			require.NoError(t, err)
			go change.Commit()
			go gw.Close()
			synctest.Wait()
			dials.Store(0)
			time.Sleep(time.Minute)
			if dials.Load() > 0 {
				gw.Close()
				t.Fatal("it probes on")
			}
			// Nor does it begin again, though it serves: an Admin API may outlive it.
			_, err = gw.Apply(gateway.Change{Put: c})
			require.NoError(t, err)
			w = httptest.NewRecorder()
			gw.ServeHTTP(w, httptest.NewRequest("GET", "http://a.test/", nil))
			require.Equal(t, 502, w.Code)
			dials.Store(0)
			time.Sleep(time.Minute)
			require.Zero(t, dials.Load())
		}
	})
}

// A hammer does something over and over on several goroutines.
type hammer struct {
	t       *testing.T
	over    atomic.Bool
	count   atomic.Int64
	running sync.WaitGroup
}

func startHammer(t *testing.T, workers int, work func(worker, n int)) *hammer {
	h := &hammer{t: t}
	for worker := range workers {
		h.running.Go(func() {
			for n := 0; !h.over.Load() && !t.Failed(); n++ {
				work(worker, n)
				h.count.Add(1)
			}
		})
	}
	return h
}

// let waits until it was done some times more.
func (h *hammer) let(times int64) {
	for end := h.count.Load() + times; h.count.Load() < end && !h.t.Failed(); {
		runtime.Gosched()
	}
}

func (h *hammer) stop() {
	h.over.Store(true)
	h.running.Wait()
}

// One change takes the demand for certificates from a host and sends its requests
// to a public origin, and the next one the other way. At no moment is the secret
// one open to a client without a certificate.
func TestOneSnapshot(t *testing.T) {
	h := newHarness(t, nil)
	public := newOrigin(t)
	closed := gateway.Config{
		Profiles: []ssl.Config{h.profile("1", []string{"a.test"}, h.people)},
		Routes:   []route.Config{{ID: "1", Hosts: []string{"a.test"}, Paths: []string{"/*"}, Upstream: "secret"}},
	}
	open := gateway.Config{
		Profiles: []ssl.Config{h.profile("1", []string{"a.test"})},
		Routes:   []route.Config{{ID: "1", Hosts: []string{"a.test"}, Paths: []string{"/*"}, Upstream: "public"}},
	}
	h.apply(gateway.Config{Upstreams: []upstream.Config{upstreamTo("secret", h.origin.address), upstreamTo("public", public.address)}})
	h.apply(closed)

	alice := h.people.Client("alice")
	doors := h.doors()
	strangers, friends := map[door]*http.Client{}, map[door]*http.Client{}
	for _, d := range doors {
		strangers[d], friends[d] = h.client(d, "a.test"), h.client(d, "a.test", alice)
	}
	var answers [600]atomic.Int64
	ask := func(d door, client *http.Client, who string) {
		req, err := http.NewRequest("GET", d.scheme()+"://a.test/", nil)
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("X-Who", who)
		res, err := client.Do(req)
		if err != nil {
			return // refused in the handshake
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		answers[res.StatusCode].Add(1)
	}
	hammer := startHammer(t, 8, func(worker, n int) {
		d := doors[(worker+n)%len(doors)]
		if worker == 0 && d.tls {
			ask(d, friends[d], "friend")
		} else {
			ask(d, strangers[d], "stranger")
		}
	})
	for range 200 {
		h.apply(open)
		hammer.let(1)
		h.apply(closed)
		hammer.let(1)
	}
	// So that each kind of answer is among them, however the goroutines ran.
	hammer.stop()
	for _, d := range h.tlsDoors() {
		ask(d, h.client(d, "a.test", alice), "friend")
	}
	h.apply(open)
	for _, d := range doors {
		ask(d, h.client(d, "a.test"), "stranger")
	}

	seen := h.origin.take()
	require.NotEmpty(t, seen)
	for _, r := range seen {
		require.Equal(t, []string{"friend"}, r.values("X-Who"), "the secret origin was asked by a stranger")
	}
	require.NotEmpty(t, public.take())
	for status := range answers {
		if answers[status].Load() > 0 {
			require.Contains(t, []int{200, 400, 403, 421}, status)
		}
	}
}

// No request fails because the configuration is replaced meanwhile.
func TestApplyUnderLoad(t *testing.T) {
	h := newHarness(t, nil)
	second := newOrigin(t)
	config := func(n int) gateway.Config {
		u := upstreamTo("1", h.origin.address, second.address)
		u.Nodes[0].Weight = 1 + n%3
		u.KeepAlive.Size = 1 + n%5 // other connections every time
		if n%4 == 0 {
			u.Nodes = u.Nodes[:1]
		}
		r := everything("1", "1")
		r.Priority = n
		return gateway.Config{
			Profiles:  []ssl.Config{h.profile("1", []string{"a.test"}, h.people)},
			Routes:    []route.Config{r, local(fmt.Sprint("other", n%7), "/other", "")},
			Upstreams: []upstream.Config{u},
		}
	}
	_, err := h.gw.Configure(config(0))
	require.NoError(t, err)
	alice := h.people.Client("alice")
	doors := h.tlsDoors()
	clients := map[door]*http.Client{}
	for _, d := range doors {
		clients[d] = h.client(d, "a.test", alice)
	}
	body := strings.Repeat("x", 10_000)
	hammer := startHammer(t, 8, func(worker, n int) {
		d := doors[worker%len(doors)]
		var res *http.Response
		var err error
		if n%2 == 0 {
			res, err = clients[d].Get("https://a.test/")
		} else {
			res, err = clients[d].Post("https://a.test/", "text/plain", strings.NewReader(body))
		}
		if err != nil {
			t.Errorf("%s: %v", d.name, err)
			return
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != 200 || string(text) != "ok" {
			t.Errorf("%s: %d %q %v", d.name, res.StatusCode, text, err)
		}
	})
	for n := range 1000 {
		_, err := h.gw.Configure(config(n))
		require.NoError(t, err)
		hammer.let(4)
	}
	hammer.stop()
}
