package adminapi_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/adminapi"
)

// Sixteen write and four read, at once: nothing that was acknowledged is lost, every
// reader sees documents that somebody wrote, whole, and in the end the gateway
// does what is stored.
//
// SALLYPORT_TEST_CONCURRENT is how long they do, "1m" for example.
func TestConcurrent(t *testing.T) {
	w := newWorld(t, setup{})
	const writers, readers = 16, 4
	rounds := 40
	if testing.Short() {
		rounds = 10
	}
	var until time.Time
	if text := os.Getenv("SALLYPORT_TEST_CONCURRENT"); text != "" {
		d, err := time.ParseDuration(text)
		require.NoError(t, err)
		until = time.Now().Add(d)
		rounds = math.MaxInt
	}
	send := func(method, path, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "/apisix/admin"+path, strings.NewReader(body))
		r.Header.Set("X-API-KEY", w.key)
		return serveOne(w.handler, r)
	}
	route := func(uri string, origin int, text string) string {
		doc := w.routeDoc(uri, origin)
		doc["desc"] = text
		return encode(t, doc)
	}
	require.Equal(t, 201, send("PUT", "/upstreams/shared", encode(t, w.upstreamDoc(1))).Code)
	require.Equal(t, 201, send("PUT", "/services/shared", `{"upstream_id":"shared"}`).Code)
	require.Equal(t, 201, send("PUT", "/routes/of-service", `{"uri":"/of-service","service_id":"shared"}`).Code)
	require.Equal(t, 201, send("PUT", "/upstreams/counted", `{"nodes":{}}`).Code)

	// Each writer has routes of its own, whose end it knows, and all write to the
	// shared ones, whose end must be one of their writes.
	var (
		mu     sync.Mutex
		final  = map[string]string{}          // desc of a writer's own route; "" is deleted
		taken  = map[string]map[string]bool{} // descs that a shared route was given
		posted = map[string]string{}          // desc by key
		labels = map[string]string{}          // of the upstream that all patch
	)
	note := func(f func()) {
		mu.Lock()
		defer mu.Unlock()
		f()
	}
	var writing, reading sync.WaitGroup
	for i := range writers {
		writing.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for n := range rounds {
				if !until.IsZero() && time.Now().After(until) {
					break
				}
				text := fmt.Sprintf("%d-%d", i, n)
				own := fmt.Sprintf("/routes/own-%d-%d", i, random.IntN(3))
				shared := fmt.Sprintf("/routes/shared-%d", random.IntN(3))
				switch random.IntN(11) {
				case 0, 1, 2:
					if code := send("PUT", own, route("/"+own[8:], 1+n%2, text)).Code; code != 200 && code != 201 {
						t.Errorf("PUT %s: %d", own, code)
					}
					note(func() { final[own] = text })
				case 3:
					code := send("DELETE", own, "").Code
					note(func() {
						if there := final[own] != ""; there != (code == 200) || !there != (code == 404) {
							t.Errorf("DELETE %s: %d, and it was there: %t", own, code, there)
						}
						final[own] = ""
					})
				case 4, 5:
					note(func() {
						if taken[shared] == nil {
							taken[shared] = map[string]bool{}
						}
						taken[shared][text] = true
					})
					if code := send("PUT", shared, route("/"+shared[8:], 1+n%2, text)).Code; code != 200 && code != 201 {
						t.Errorf("PUT %s: %d", shared, code)
					}
				case 6:
					if code := send("PUT", "/upstreams/shared", encode(t, w.upstreamDoc(1+n%2))).Code; code != 200 {
						t.Errorf("PUT upstream: %d", code)
					}
				case 7:
					up := map[string]any{"upstream": w.upstreamDoc(1 + n%2)}
					if n%3 == 0 {
						up = map[string]any{"upstream_id": "shared"}
					}
					if code := send("PUT", "/services/shared", encode(t, up)).Code; code != 200 {
						t.Errorf("PUT service: %d", code)
					}
				case 8:
					code := send("PATCH", own, encode(t, map[string]any{"desc": text})).Code
					note(func() {
						if there := final[own] != ""; there != (code == 200) || !there != (code == 404) {
							t.Errorf("PATCH %s: %d, and it was there: %t", own, code, there)
						}
						if code == 200 {
							final[own] = text
						}
					})
				case 9:
					// Each has a label of its own on a document that all change.
					label := fmt.Sprint("of-", i)
					if code := send("PATCH", "/upstreams/counted", encode(t, map[string]any{"labels": map[string]any{label: text}})).Code; code != 200 {
						t.Errorf("PATCH upstream: %d", code)
					}
					note(func() { labels[label] = text })
				case 10:
					if n > 1000 && !until.IsZero() {
						continue // lists grow by it, and the readers with them
					}
					rec := send("POST", "/routes", route("/posted", 1, text))
					var a struct{ Key string }
					if err := json.Unmarshal(rec.Body.Bytes(), &a); err != nil || rec.Code != 201 {
						t.Errorf("POST: %d %v", rec.Code, err)
					}
					note(func() {
						if posted[a.Key] != "" {
							t.Errorf("%s was made twice", a.Key)
						}
						posted[a.Key] = text
					})
				}
			}
		})
	}
	stop := make(chan struct{})
	for range readers {
		reading.Go(func() {
			last := map[string]float64{}
			for {
				select {
				case <-stop:
					return
				default:
				}
				var list struct {
					List []struct {
						Key                         string
						CreatedIndex, ModifiedIndex float64
						Value                       struct{ ID, Desc, URI string }
					}
					Total int
				}
				rec := send("GET", "/routes", "")
				if err := json.Unmarshal(rec.Body.Bytes(), &list); err != nil || rec.Code != 200 || list.Total != len(list.List) {
					t.Errorf("GET: %d %v", rec.Code, err)
					return
				}
				for _, item := range list.List {
					if item.ModifiedIndex < last[item.Key] || item.CreatedIndex > item.ModifiedIndex {
						t.Errorf("%s went back", item.Key)
					}
					last[item.Key] = item.ModifiedIndex
					if item.Key != "/apisix/routes/"+item.Value.ID || item.Value.URI != "/"+item.Value.ID && item.Value.URI != "/posted" || item.Value.ID == "of-service" && item.Value.URI != "/of-service" {
						t.Errorf("%s is torn: %+v", item.Key, item.Value)
					}
				}
				r := httptest.NewRequest("GET", "http://a.test/shared-0", nil)
				if code := serveOne(w.gw, r).Code; code != 200 && code != 404 {
					t.Errorf("the gateway answers %d", code)
				}
				r = httptest.NewRequest("GET", "http://a.test/of-service", nil)
				if code := serveOne(w.gw, r).Code; code != 200 {
					t.Errorf("the gateway answers %d for the route of a service", code)
				}
			}
		})
	}
	writing.Wait()
	close(stop)
	reading.Wait()

	get := func(path string) (int, string) {
		rec := send("GET", path, "")
		var a struct{ Value struct{ Desc string } }
		require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &a))
		return rec.Code, a.Value.Desc
	}
	through := func(path string) int {
		return serveOne(w.gw, httptest.NewRequest("GET", "http://a.test"+path, nil)).Code
	}
	require.NotEmpty(t, final)
	for path, want := range final {
		code, desc := get(path)
		if want == "" {
			require.Equal(t, http.StatusNotFound, code, path)
			require.Equal(t, http.StatusNotFound, through("/"+path[8:]), path)
			continue
		}
		require.Equal(t, 200, code)
		require.Equal(t, want, desc, path)
		require.Equal(t, 200, through("/"+path[8:]), path)
	}
	require.NotEmpty(t, taken)
	for path, descs := range taken {
		_, desc := get(path)
		require.Contains(t, descs, desc)
	}
	var counted struct {
		Value struct{ Labels map[string]string }
	}
	require.NoError(t, json.Unmarshal(send("GET", "/upstreams/counted", "").Body.Bytes(), &counted))
	require.NotEmpty(t, labels)
	require.Equal(t, labels, counted.Value.Labels)
	require.NotEmpty(t, posted)
	for key, want := range posted {
		_, desc := get(strings.TrimPrefix(key, "/apisix"))
		require.Equal(t, want, desc, key)
	}
	w.check()
}

// Whole configurations, single documents and references that are looked up again, at once: each answer is one of those that there are, a document is whole
// wherever it is shown, and in the end what is stored, shown and served is one.
func TestConcurrentWhole(t *testing.T) {
	w := newWorld(t, setup{})
	t.Setenv("WHOLE_CERT", string(w.pair.CertPEM))
	t.Setenv("WHOLE_KEY", string([]byte(w.pair.KeyPEM)))
	rounds := 25
	if text := os.Getenv("SALLYPORT_TEST_CONCURRENT"); text != "" {
		d, err := time.ParseDuration(text)
		require.NoError(t, err)
		rounds = int(d/time.Second) * 50
	}
	send := func(method, path string, doc any, allowed ...int) string {
		body := ""
		if doc != nil {
			body = encode(t, doc)
		}
		r := httptest.NewRequest(method, "/apisix/admin"+path, strings.NewReader(body))
		r.Header.Set("X-API-KEY", w.key)
		r.Header.Set("X-Digest", fmt.Sprint(len(body), path, time.Now().UnixNano()))
		rec := serveOne(w.handler, r)
		if !slices.Contains(allowed, rec.Code) {
			t.Errorf("%s %s: %d %s", method, path, rec.Code, rec.Body)
		}
		return rec.Body.String()
	}
	reference := func() map[string]any {
		return map[string]any{"sni": "ref.test", "cert": "$env://WHOLE_CERT", "key": "$env://WHOLE_KEY"}
	}
	whole := func(n int) map[string]any {
		item := func(id string, doc map[string]any) map[string]any { return with(doc, "id", id) }
		return map[string]any{
			"routes": []any{
				item("a", map[string]any{"uri": "/a", "service_id": "s", "desc": fmt.Sprint(n)}),
				item("b", w.routeDoc("/b", 1+n%2)),
			},
			"services":  []any{item("s", map[string]any{"upstream_id": "u"})},
			"upstreams": []any{item("u", w.upstreamDoc(1+n%2))},
			"ssls":      []any{item("ref", reference())},
		}
	}
	send("PUT", "/configs", whole(0), 202)
	var wg sync.WaitGroup
	for i, each := range []func(n int){
		func(n int) { send("PUT", "/configs", whole(n), 202) },
		func(n int) { send("PUT", "/configs", whole(n+1), 202) },
		func(n int) { send("PUT", "/routes/b", w.routeDoc("/b", 1+n%2), 200, 201) },
		func(n int) { send("PATCH", "/routes/a", map[string]any{"desc": fmt.Sprint("patched ", n)}, 200) },
		func(n int) { send("DELETE", "/routes/b", nil, 200, 404) },
		func(n int) { send("PUT", "/ssls/ref", reference(), 200) },
		func(n int) {
			if err := w.handler.Refresh(t.Context()); err != nil {
				t.Error(err)
			}
		},
		func(n int) { send("DELETE", "/upstreams/u", nil, 400) },
		func(n int) { send("POST", "/configs/validate", whole(n), 200) },
		func(n int) { send("POST", "/explain", map[string]any{"url": "https://ref.test/a"}, 200) },
		func(n int) {
			text := send("GET", "/configs", nil, 200)
			if leak(text, w.pair.KeyPEM) != "" || !strings.Contains(text, `"id":"a"`) {
				t.Errorf("GET /configs: %s", text)
			}
		},
		func(n int) {
			if rec := serveOne(w.gw, httptest.NewRequest("GET", "http://a.test/a", nil)); rec.Code != 200 {
				t.Errorf("the gateway answers %d", rec.Code)
			}
		},
	} {
		wg.Go(func() {
			for n := range rounds {
				each(n*7 + i)
			}
		})
	}
	wg.Wait()
	w.check()
}

// Of many at once that would each use up the last of something, each sees what the
// others have done: a route is never taken without its upstream being there.
func TestConcurrentReferences(t *testing.T) {
	w := newWorld(t, setup{})
	for range 25 {
		require.Equal(t, 201, w.do("PUT", "/apisix/admin/upstreams/u", encode(t, w.upstreamDoc(1))).status)
		var route, gone answer
		var wg sync.WaitGroup
		wg.Go(func() {
			route = w.do("PUT", "/apisix/admin/routes/1", `{"uri":"/1","upstream_id":"u"}`)
		})
		wg.Go(func() { gone = w.do("DELETE", "/apisix/admin/upstreams/u", "") })
		wg.Wait()
		switch {
		case route.status == 201 && gone.status == 400:
			require.Equal(t, "200 origin 1: GET /1", w.get("http://a.test/1"))
			require.Equal(t, 200, w.do("DELETE", "/apisix/admin/routes/1", "").status)
			require.Equal(t, 200, w.do("DELETE", "/apisix/admin/upstreams/u", "").status)
		case route.status == 400 && gone.status == 200:
		default:
			t.Fatalf("PUT %d %s, DELETE %d %s", route.status, route.body, gone.status, gone.body)
		}
	}
	w.check()
}

// Handlers may be printed while they work.
func TestConcurrentPrint(t *testing.T) {
	w := newWorld(t, setup{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 20 {
			w.put("/routes/1", w.routeDoc("/1", 1))
		}
	})
	for range 20 {
		require.Equal(t, "adminapi.Handler adminapi.Memory", fmt.Sprintf("%v %+v", w.handler, w.memory))
		_ = fmt.Sprintf("%+v", &adminapi.Options{Storage: w.memory})
	}
	wg.Wait()
}
