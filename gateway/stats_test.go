package gateway_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
	"github.com/sallyport/sallyport/upstream"
)

// routeStats are those of one route.
func routeStats(st gateway.Stats, id string) gateway.RouteStats {
	i := slices.IndexFunc(st.Routes, func(r gateway.RouteStats) bool { return r.ID == id })
	if i < 0 {
		return gateway.RouteStats{}
	}
	return st.Routes[i]
}

func upstreamStats(st gateway.Stats, id string) gateway.UpstreamStats {
	i := slices.IndexFunc(st.Upstreams, func(u gateway.UpstreamStats) bool { return u.ID == id })
	if i < 0 {
		return gateway.UpstreamStats{}
	}
	return st.Upstreams[i]
}

// observed is a gateway for looking at what it tells: a.test demands a certificate of
// people, b.test none.
func observed(t *testing.T, o *gateway.Options) *harness {
	h := newHarness(t, o)
	here, gone, local, dead := everything("here", "1"), everything("gone", "2"), route.Config{ID: "local", Paths: []string{"/local"}}, everything("two", "3")
	here.Paths, gone.Paths, dead.Paths = []string{"/x"}, []string{"/gone"}, []string{"/two"}
	local.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "tea")
	})
	strict := route.Config{ID: "strict", Paths: []string{"/strict"}, Upstream: "1", RequireIdentity: true}
	never := route.Config{ID: "never", Paths: []string{"/never"}, Upstream: "1", Authorize: func(context.Context, *route.AuthorizeRequest) error { return io.ErrNoProgress }}
	here.AllowPlain, gone.AllowPlain, dead.AllowPlain, local.AllowPlain, never.AllowPlain = true, true, true, true, true
	silent := route.Config{ID: "silent", Paths: []string{"/silent"}, AllowPlain: true, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	two := upstreamTo("3", refusing(t), h.origin.address)
	two.Nodes[0].Priority = 1
	h.apply(gateway.Config{
		Profiles:  []ssl.Config{h.profile("a", []string{"a.test"}, h.people), h.profile("b", []string{"b.test"})},
		Upstreams: []upstream.Config{upstreamTo("1", h.origin.address), upstreamTo("2", refusing(t)), two},
		Routes:    []route.Config{here, gone, local, strict, never, dead, silent},
	})
	return h
}

// Every door counts alike, by route, class, upstream and reason.
func TestStatsOfRequests(t *testing.T) {
	h := observed(t, nil)
	alice := h.people.Client("alice")
	for _, d := range h.doors() {
		t.Run(d.name, func(t *testing.T) {
			name, certs, host := "a.test", []tls.Certificate{alice}, "a.test"
			if !d.tls {
				host = "c.test"
			}
			client, stranger := h.client(d, name, certs...), h.client(d, "b.test")
			before := h.gw.Stats()
			asked := uint64(0)
			for _, c := range []struct {
				method, host, path string
				status             int
				route, upstream    string
				answered           int // by a node
				retries            uint64
				refused            gateway.RefusalCount
			}{
				{"GET", host, "/x?y", 200, "here", "1", 200, 0, gateway.RefusalCount{}},
				{"POST", host, "/x", 200, "here", "1", 200, 0, gateway.RefusalCount{}},
				{"GET", host, "/gone", 502, "gone", "2", 0, 0, gateway.RefusalCount{}},
				{"GET", host, "/two", 200, "two", "3", 200, 1, gateway.RefusalCount{}},
				{"POST", host, "/local", 418, "local", "", 0, 0, gateway.RefusalCount{}},
				{"GET", host, "/silent", 200, "silent", "", 0, 0, gateway.RefusalCount{}},
				{"GET", host, "/nowhere", 404, "", "", 0, 0, gateway.RefusalCount{}},
				{"GET", host, "/never", 403, "never", "", 0, 0, gateway.RefusalCount{Status: 403, Reason: ssl.ReasonNotAllowed}},
				{"GET", "b.test", "/x", 421, "", "", 0, 0, gateway.RefusalCount{Status: 421, Reason: ssl.ReasonMisdirected}},
				{"GET", "a.test", "/nowhere", 403, "", "", 0, 0, gateway.RefusalCount{Status: 403, Reason: ssl.ReasonPlainHTTP}},
				{"GET", "b.test", "/strict", 403, "strict", "", 0, 0, gateway.RefusalCount{Status: 403, Reason: ssl.ReasonNoClientCert}},
				{"GET", "a..test", "/x", 400, "", "", 0, 0, gateway.RefusalCount{Status: 400, Reason: ssl.ReasonBadHost}},
				{"GET", host, "/%zz", 400, "", "", 0, 0, gateway.RefusalCount{}},
			} {
				switch c.refused.Reason {
				case ssl.ReasonMisdirected, ssl.ReasonNoClientCert:
					if !d.tls {
						continue
					}
				case ssl.ReasonPlainHTTP:
					if d.tls {
						continue
					}
				}
				if c.path == "/%zz" && d != h.http1 && d != h.plain {
					continue // net/http answers
				}
				before := h.gw.Stats()
				req, err := http.NewRequest(c.method, d.scheme()+"://"+c.host, strings.NewReader(""))
				require.NoError(t, err)
				req.URL = rawURL(d.scheme(), d.addr.String(), c.path)
				req.Host = c.host
				if c.method == "POST" {
					req.Body, req.ContentLength = io.NopCloser(strings.NewReader("body")), 4
				}
				asking := client
				if c.refused.Reason == ssl.ReasonNoClientCert {
					asking = stranger
				}
				status, body := h.do(asking, req)
				require.Equal(t, c.status, status, "%s %s: %s", c.host, c.path, body)
				asked++

				// The answer may come before it is counted.
				counted := func() uint64 {
					now := h.gw.Stats()
					of, was := now.Unrouted, before.Unrouted
					if c.route != "" {
						of, was = routeStats(now, c.route).RequestStats, routeStats(before, c.route).RequestStats
					}
					require.Equal(t, of.Requests.Total()-was.Requests.Total() > 0, of.Requests[c.status/100] > was.Requests[c.status/100], "another class")
					return of.Duration.Count - was.Duration.Count
				}
				eventually(t, func() bool { return counted() == 1 }, "not counted: "+c.path)
				now := h.gw.Stats()
				require.Equal(t, c.status == 404, now.NotFound > before.NotFound, "%s", c.path)
				require.Equal(t, c.refused.Reason != "", now.RefusalsTotal > before.RefusalsTotal)
				if c.refused.Reason != "" {
					want := c.refused
					want.Count = 1
					for _, r := range before.Refused {
						if r.Status == want.Status && r.Reason == want.Reason {
							want.Count += r.Count
						}
					}
					require.Contains(t, now.Refused, want)
				} else {
					require.Equal(t, before.Refused, now.Refused)
				}
				for _, u := range now.Upstreams {
					was := upstreamStats(before, u.ID)
					if u.ID != c.upstream {
						require.Equal(t, was.Answers, u.Answers)
						continue
					}
					require.Equal(t, was.Answers[c.answered/100]+1, u.Answers[c.answered/100])
					require.Equal(t, was.Wait.Count+1, u.Wait.Count)
					require.Greater(t, u.Wait.Sum, was.Wait.Sum)
					require.Equal(t, was.Retries+c.retries, u.Retries)
				}
			}
			// Each was counted once, and somewhere.
			now := h.gw.Stats()
			total := func(st gateway.Stats) (n uint64) {
				n = st.Unrouted.Requests.Total()
				for _, r := range st.Routes {
					n += r.Requests.Total()
				}
				return n
			}
			require.Equal(t, asked, total(now)-total(before))
			require.Zero(t, now.Malformed)
		})
	}
}

// A request that was begun and not answered counts as such: the client went away.
func TestStatsOfTheImpatient(t *testing.T) {
	h := observed(t, nil)
	arrived := make(chan struct{}, 1)
	h.origin.on(func(v *visit) {
		arrived <- struct{}{}
		_, _ = v.r.ReadByte() // until the gateway gives up
		v.close = true
	})
	for i, d := range h.doors() {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-arrived
			cancel()
		}()
		host := "a.test"
		if !d.tls {
			host = "c.test"
		}
		req, err := http.NewRequestWithContext(ctx, "GET", d.scheme()+"://"+host+"/x", nil)
		require.NoError(t, err)
		res, err := h.client(d, "a.test", h.people.Client("alice")).Do(req)
		if err == nil { // it says goodbye before it closes, and may read what comes between
			require.Equal(t, 499, res.StatusCode, d.name)
			require.NoError(t, res.Body.Close())
		}
		eventually(t, func() bool {
			return routeStats(h.gw.Stats(), "here").Requests == gateway.StatusCounts{0: uint64(i + 1)}
		}, d.name)
	}
	require.EqualValues(t, len(h.doors()), upstreamStats(h.gw.Stats(), "1").Answers[0])
}

// What is no request at all is counted too.
func TestStatsOfTheMalformed(t *testing.T) {
	h := observed(t, nil)
	conn := h.raw(h.plain, "")
	conn.write("GET / HTTP/9.1\r\n\r\n")
	require.Equal(t, []int{505}, conn.statuses())
	require.EqualValues(t, 1, h.gw.Stats().Malformed)

	c := h.h2(h.http2, "b.test")
	c.headers(1, true, ":method", "GET") // and no path
	status, _ := c.status(1)
	require.Equal(t, "reset", status)
	require.EqualValues(t, 2, h.gw.Stats().Malformed)
	require.Zero(t, h.gw.Stats().Unrouted.Requests)
}

// A WebSocket counts when it ends, and how long it was open is no duration of a request.
func TestStatsOfWebSockets(t *testing.T) {
	h := newHarness(t, nil)
	r := everything("1", "1")
	r.WebSocket = true
	h.apply(gateway.Config{Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)}, Routes: []route.Config{r}})
	h.origin.on(func(v *visit) {
		v.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = v.r.ReadByte()
		v.close = true
	})
	conn := h.raw(h.plain, "")
	conn.write("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	res, err := http.ReadResponse(conn.r, nil)
	require.NoError(t, err)
	require.Equal(t, 101, res.StatusCode)
	// It is open, and speaks HTTP no more.
	require.EqualValues(t, 1, h.gw.Stats().Connections.Open)
	require.Zero(t, h.gw.Stats().Connections.HTTP1.Open)
	conn.Close()
	eventually(t, func() bool { return routeStats(h.gw.Stats(), "1").Requests[1] == 1 }, "it does not count")
	require.Zero(t, routeStats(h.gw.Stats(), "1").Duration.Count)
	require.EqualValues(t, 1, upstreamStats(h.gw.Stats(), "1").Wait.Count)
}

func TestStatsOfConnections(t *testing.T) {
	h := observed(t, nil)
	entered, leave := make(chan struct{}), make(chan struct{})
	h.origin.on(func(v *visit) {
		entered <- struct{}{}
		<-leave
		answering(okAnswer)(v)
	})
	ours := []door{h.http1, h.plain, h.http2, h.plain2}
	for i, d := range ours {
		of := func() gateway.ProtocolStats {
			c := h.gw.Stats().Connections
			if d.major == 1 {
				return c.HTTP1
			}
			return c.HTTP2
		}
		before := of()
		client := h.client(d, "b.test")
		host := "b.test"
		if !d.tls {
			host = "c.test"
		}
		got := make(chan int)
		go func() {
			status, _ := h.get(client, d, host, "/x")
			got <- status
		}()
		<-entered
		want := gateway.ProtocolStats{Accepted: before.Accepted + 1, Open: before.Open + 1, Idle: before.Idle}
		eventually(t, func() bool { return of() == want }, d.name+": it is busy")
		leave <- struct{}{}
		require.Equal(t, 200, <-got)
		want.Idle++
		eventually(t, func() bool { return of() == want }, d.name+": it is idle")
		require.EqualValues(t, i+1, h.gw.Stats().Connections.Accepted)
		require.EqualValues(t, i+1, h.gw.Stats().Connections.Open)
	}
}

// The counts of an ID go on over changes, and are gone with it.
func TestStatsOverChanges(t *testing.T) {
	h := observed(t, nil)
	client, alice := h.client(h.plain, ""), h.client(h.http1, "a.test", h.people.Client("alice"))
	ask := func() {
		t.Helper()
		before := routeStats(h.gw.Stats(), "here").Requests.Total()
		status, _ := h.get(client, h.plain, "c.test", "/x")
		require.Equal(t, 200, status)
		eventually(t, func() bool { return routeStats(h.gw.Stats(), "here").Requests.Total() == before+1 }, "not counted")
	}
	st := h.gw.Stats()
	require.Equal(t, gateway.ConfigStats{Revision: 1, Changed: st.Config.Changed, Profiles: 2, Routes: 7, Upstreams: 3}, st.Config)
	require.False(t, st.Config.Changed.Before(st.Since))
	require.False(t, st.At.Before(st.Config.Changed))
	ask()
	status, _ := h.get(alice, h.http1, "a.test", "/x")
	require.Equal(t, 200, status)
	eventually(t, func() bool { return routeStats(h.gw.Stats(), "here").Requests[2] == 2 }, "not counted")

	// Replaced, even as part of a change that deletes the ID first.
	here := everything("here", "1")
	here.Paths, here.AllowPlain = []string{"/x"}, true
	_, err := h.gw.Apply(gateway.Change{
		Put:    gateway.Config{Profiles: []ssl.Config{h.profile("a", []string{"a.test"}, h.people)}, Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)}, Routes: []route.Config{here}},
		Delete: gateway.IDs{Routes: []string{"here", "here"}},
	})
	require.NoError(t, err)
	require.EqualValues(t, 2, h.gw.Stats().Config.Revision)
	ask()
	st = h.gw.Stats()
	require.Equal(t, gateway.StatusCounts{2: 3}, routeStats(st, "here").Requests)
	require.EqualValues(t, 3, upstreamStats(st, "1").Answers[2])
	require.Equal(t, "a", st.TLS.Profiles[0].ID)
	require.EqualValues(t, 1, st.TLS.Profiles[0].Handshakes.Succeeded())

	// A change that changes nothing, and one that fails.
	_, err = h.gw.Apply(gateway.Change{Delete: gateway.IDs{Routes: []string{"nobody"}, Profiles: []string{"nobody"}, Upstreams: []string{"nobody"}}})
	require.NoError(t, err)
	_, err = h.gw.Apply(gateway.Change{Put: gateway.Config{Routes: []route.Config{{ID: ""}}}})
	require.Error(t, err)
	require.EqualValues(t, 2, h.gw.Stats().Config.Revision)

	// Deleted, and there again.
	_, err = h.gw.Apply(gateway.Change{Delete: gateway.IDs{Routes: []string{"here"}, Profiles: []string{"a"}}})
	require.NoError(t, err)
	st = h.gw.Stats()
	require.Empty(t, routeStats(st, "here"))
	require.Len(t, st.TLS.Profiles, 1)
	require.EqualValues(t, 1, st.TLS.All.Succeeded())
	require.Equal(t, 6, st.Config.Routes)
	h.apply(gateway.Config{Routes: []route.Config{here}})
	require.EqualValues(t, 4, h.gw.Stats().Config.Revision)
	require.Equal(t, "1", routeStats(h.gw.Stats(), "here").Upstream)
	require.Zero(t, routeStats(h.gw.Stats(), "here").Requests)
	ask()
}

// Lists are in order, and certificates tell when they expire.
func TestStatsInOrder(t *testing.T) {
	gw := must(gateway.New(nil))
	defer gw.Close()
	servers := ssltest.NewCA(t, "servers")
	var c gateway.Config
	until := time.Now().Add(90 * time.Minute).Truncate(time.Second).UTC()
	for _, id := range []string{"m", "z", "b"} {
		c.Profiles = append(c.Profiles, ssl.Config{ID: id, Names: []string{id + ".test"}, Certificates: []ssl.KeyPair{
			servers.ServerWith([]string{id + ".test"}, ssltest.Until(until)), servers.ServerWith([]string{id + ".test"}, ssltest.Until(until.Add(time.Hour))),
		}})
		c.Routes = append(c.Routes, everything(id, id))
		c.Upstreams = append(c.Upstreams, upstreamTo(id, "192.0.2.1:80"))
	}
	_, err := gw.Apply(gateway.Change{Put: c})
	require.NoError(t, err)
	st := gw.Stats()
	for i, id := range []string{"b", "m", "z"} {
		require.Equal(t, id, st.TLS.Profiles[i].ID)
		require.Equal(t, []time.Time{until, until.Add(time.Hour)}, st.TLS.Profiles[i].NotAfter)
		require.Equal(t, id, st.Routes[i].ID)
		require.Equal(t, id, st.Routes[i].Upstream)
		require.Equal(t, id, st.Upstreams[i].ID)
		require.Equal(t, "192.0.2.1:80", st.Upstreams[i].Nodes[0].Address)
		require.Equal(t, id, gw.Upstream(id).ID())
	}
	require.Nil(t, gw.Upstream("nobody"))
	require.True(t, slices.IsSortedFunc(st.Limits, func(a, b gateway.LimitCount) int { return strings.Compare(string(a.Limit), string(b.Limit)) }))
	require.Len(t, st.Limits, 10)
	require.Zero(t, st.Routes[0].Requests)
	require.Zero(t, st.Routes[0].Duration.Count)
	require.Empty(t, st.Routes[0].Duration.Counts)
	require.NotEmpty(t, st.Routes[0].Duration.Bounds)
}

// While the configuration changes and requests go on, no count of an ID that stays goes
// down, and none is lost.
func TestStatsNeverGoDown(t *testing.T) {
	gw := must(gateway.New(nil))
	defer gw.Close()
	config := func(n int) gateway.Config {
		c := gateway.Config{Routes: []route.Config{
			{ID: "stays", Paths: []string{"/stays"}, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})},
		}}
		for i := range 3 {
			c.Routes = append(c.Routes, route.Config{ID: fmt.Sprint("r", (n+i)%5), Paths: []string{fmt.Sprint("/", i)}, Handler: http.NotFoundHandler()})
		}
		return c
	}
	_, err := gw.Configure(config(0))
	require.NoError(t, err)
	const askers, each = 4, 500
	done := make(chan struct{})
	var asking, rest sync.WaitGroup
	for range askers {
		asking.Go(func() {
			for i := range each {
				for _, path := range []string{"/stays", fmt.Sprint("/", i%3)} {
					gw.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://a.test"+path, nil))
				}
			}
		})
	}
	rest.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			default:
			}
			if _, err := gw.Configure(config(n)); err != nil {
				t.Error(err)
			}
		}
	})
	rest.Go(func() {
		last := uint64(0)
		for {
			select {
			case <-done:
				return
			default:
			}
			now := routeStats(gw.Stats(), "stays").Requests[2]
			if now < last {
				t.Errorf("%d after %d", now, last)
			}
			last = now
			gw.History()
		}
	})
	asking.Wait()
	close(done)
	rest.Wait()
	require.Equal(t, gateway.StatusCounts{2: askers * each}, routeStats(gw.Stats(), "stays").Requests)
}
