package adminapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/internal/freeport"
)

// A hooked storage lets a test stand in front of every write.
type hooked struct {
	adminapi.Storage
	mu     sync.Mutex
	before func(ctx context.Context, write string) error // "save /routes/1"
}

func (h *hooked) hook(f func(ctx context.Context, write string) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.before = f
}

func (h *hooked) call(ctx context.Context, write string) error {
	h.mu.Lock()
	f := h.before
	h.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(ctx, write)
}

func (h *hooked) Commit(ctx context.Context, writes ...adminapi.Write) ([]adminapi.Record, error) {
	for _, w := range writes {
		if err := h.call(ctx, verb(w)+" "+w.Key); err != nil {
			return nil, err
		}
	}
	return h.Storage.Commit(ctx, writes...)
}

// newHookedWorld returns a world with some of everything, and its storage.
func newHookedWorld(t *testing.T) (*world, *hooked) {
	h := &hooked{}
	w := newWorld(t, setup{wrap: func(s adminapi.Storage) adminapi.Storage { h.Storage = s; return h }})
	w.put("/upstreams/u", w.upstreamDoc(1))
	w.put("/upstreams/free", w.upstreamDoc(1))
	w.put("/routes/1", w.routeDoc("/1", 1))
	w.put("/routes/2", map[string]any{"uri": "/2", "upstream_id": "u"})
	w.put("/ssls/1", w.sslDoc(w.pair))
	w.put("/services/s", map[string]any{"upstream": w.upstreamDoc(1)})
	w.put("/routes/5", map[string]any{"uri": "/api/x", "service_id": "s"})
	return w, h
}

// A request is one that would change something.
type request struct{ method, path, body string }

// with returns a document with another property.
func with(doc map[string]any, property string, value any) map[string]any {
	out := maps.Clone(doc)
	out[property] = value
	return out
}

// changes are requests that would change a world of newHookedWorld.
func (w *world) changes() []request {
	t := w.t
	disabled := w.routeDoc("/1", 1)
	disabled["status"] = 0
	return []request{
		{"PUT", "/routes/1", encode(t, w.routeDoc("/1", 2))},
		{"PUT", "/routes/1", encode(t, map[string]any{"uri": "/1", "upstream_id": "u"})},
		{"PUT", "/routes/1", encode(t, disabled)},
		{"PUT", "/routes/3", encode(t, w.routeDoc("/*", 2))},
		{"PUT", "/routes", `{"id":4,` + encode(t, w.routeDoc("/api/*", 2))[1:]},
		{"POST", "/routes", encode(t, w.routeDoc("/*", 2))},
		{"PUT", "/upstreams/u", encode(t, w.upstreamDoc(2))},
		{"PUT", "/ssls/1", encode(t, w.sslDoc(w.pair2))},
		{"PUT", "/ssls/1", encode(t, map[string]any{"sni": "z.test", "cert": string(w.pair.CertPEM), "key": string([]byte(w.pair.KeyPEM))})},
		{"PUT", "/services/s", encode(t, map[string]any{"upstream": w.upstreamDoc(2)})},
		{"PUT", "/services/s", encode(t, map[string]any{"upstream_id": "u"})},
		{"PATCH", "/services/s", `{"hosts":["z.test"]}`},
		{"PATCH", "/services/s/upstream/nodes", encode(t, map[string]any{w.origins[1]: 1})},
		{"PATCH", "/routes/1", encode(t, map[string]any{"upstream": map[string]any{"nodes": map[string]any{w.origins[0]: nil, w.origins[1]: 1}}})},
		{"PATCH", "/ssls/1", encode(t, map[string]any{"client": map[string]any{"ca": string(w.people.PEM())}})},
		{"PUT", "/configs", encode(t, map[string]any{"routes": []any{with(w.routeDoc("/1", 2), "id", "1"), with(w.routeDoc("/2", 2), "id", 7)}})},
		{"PUT", "/configs", `{}`},
		{"DELETE", "/services/s?force=true", ""},
		{"DELETE", "/routes/1", ""},
		{"DELETE", "/ssls/1", ""},
		{"DELETE", "/upstreams/free", ""},
		{"DELETE", "/upstreams/u?force=true", ""},
	}
}

// everything is all that a world shows: its documents, and what its gateway does.
func (w *world) everything() string {
	w.t.Helper()
	text := running(w.t, w.gw)
	for _, kind := range []string{"routes", "services", "ssls", "upstreams"} {
		text += w.do("GET", "/apisix/admin/"+kind, "").body
	}
	records, err := w.memory.Load(context.Background())
	require.NoError(w.t, err)
	for _, r := range records {
		if r.Key != "/gen_id" && r.Key != "/configs" {
			text += fmt.Sprintf("%s %s %d %d\n", r.Key, r.Value, r.Created, r.Modified)
		}
	}
	return text
}

// Where the storage fails, nothing has moved, and the answer says so.
func TestStorageFails(t *testing.T) {
	w, h := newHookedWorld(t)
	before := w.everything()
	for _, test := range []struct {
		name string
		err  error
		body string
	}{
		{"failure", errors.New("etcdserver: no leader"), `{"error_msg":"etcdserver: no leader"}`},
		{"conflict", adminapi.ErrConflict, `{"error_msg":"value changed before overwritten"}`},
		{"wrapped conflict", fmt.Errorf("revision 7: %w", adminapi.ErrConflict), `{"error_msg":"value changed before overwritten"}`},
		{"time", context.DeadlineExceeded, `{"error_msg":"context deadline exceeded"}`},
	} {
		for _, c := range w.changes() {
			for _, at := range []string{"save /gen_id", "save /", "delete /"} {
				if at == "save /gen_id" && c.method != "POST" {
					continue
				}
				touched := false
				h.hook(func(_ context.Context, write string) error {
					if strings.HasPrefix(write, at) && (at == "save /gen_id" || write != "save /gen_id") {
						touched = true
						return test.err
					}
					return nil
				})
				if at == "delete /" != (c.method == "DELETE") {
					continue
				}
				a := w.doWith(c.method, "/apisix/admin"+c.path, c.body, "X-Digest", "one")
				require.True(t, touched, "%s %s", c.method, c.path)
				require.Equal(t, http.StatusServiceUnavailable, a.status, "%s: %s %s", test.name, c.method, c.path)
				require.JSONEq(t, test.body, a.body)
				h.hook(nil)
				require.Equal(t, before, w.everything(), "%s: %s %s", test.name, c.method, c.path)
			}
		}
	}
	// Whoever puts a private key into the path finds it neither there nor in the log.
	h.hook(func(context.Context, string) error { return errors.New("no leader") })
	a := w.do("PATCH", "/apisix/admin/ssls/1/labels/"+url.PathEscape(string([]byte(w.pair.KeyPEM))), `"x"`)
	require.Equal(t, 503, a.status, a.body)
	h.hook(nil)
	w.check()
	require.Contains(t, w.logs.String(), "storage failed")
}

// What is written is not to be seen before the storage has it: neither by requests
// through the gateway nor by the Admin API.
func TestStorageComesFirst(t *testing.T) {
	first, _ := newHookedWorld(t)
	for i := range first.changes() {
		w, h := newHookedWorld(t)
		c := w.changes()[i]
		before := w.everything()
		write, goOn, done := make(chan string), make(chan struct{}), make(chan answer)
		h.hook(func(_ context.Context, key string) error {
			write <- key
			<-goOn
			return nil
		})
		go func() { done <- w.doWith(c.method, "/apisix/admin"+c.path, c.body, "X-Digest", "one") }()
		var a answer
		for writes := 0; a.status == 0; writes++ {
			select {
			case key := <-write:
				require.Equal(t, before, w.everything(), "%s %s: before %s", c.method, c.path, key)
				goOn <- struct{}{}
			case a = <-done:
				require.NotZero(t, writes)
			}
		}
		require.Contains(t, []int{200, 201, 202}, a.status, a.body)
		h.hook(nil)
		require.NotEqual(t, before, w.everything(), "%s %s", c.method, c.path)
		w.check()
	}
}

// A storage that hangs keeps changes waiting. Nothing else waits for it, and the
// changes go on in the end, each whole.
func TestStorageHangs(t *testing.T) {
	w, h := newHookedWorld(t)
	before := w.everything()
	hangs, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	h.hook(func(context.Context, string) error {
		once.Do(func() { close(hangs) })
		<-goOn
		return nil
	})
	var wg sync.WaitGroup
	put := func(path string, doc map[string]any) {
		body := encode(t, doc)
		wg.Go(func() {
			a := w.do("PUT", "/apisix/admin"+path, body)
			if a.status != 200 && a.status != 201 {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		})
	}
	put("/routes/1", w.routeDoc("/1", 2))
	<-hangs
	put("/routes/3", w.routeDoc("/ip", 2))
	put("/ssls/1", w.sslDoc(w.pair2))
	for range 3 {
		require.Equal(t, before, w.everything())
	}
	require.Equal(t, 400, w.do("PUT", "/apisix/admin/routes/1", "{").status, "what is no JSON waits for nobody")
	close(goOn)
	wg.Wait()
	h.hook(nil)
	require.Equal(t, "200 origin 2: GET /1", w.get("http://a.test/1"))
	require.Equal(t, "200 origin 2: GET /ip", w.get("http://a.test/ip"))
	w.check()
}

// What is refused never reaches the storage, and moves nothing.
func TestRefusedMovesNothing(t *testing.T) {
	w, h := newHookedWorld(t)
	before := w.everything()
	h.hook(func(_ context.Context, write string) error {
		t.Errorf("%s", write)
		return nil
	})
	mismatch := w.sslDoc(w.pair)
	mismatch["key"] = string([]byte(w.pair2.KeyPEM))
	half := w.routeDoc("/1", 2) // a good route with a bad upstream of its own
	half["upstream"].(map[string]any)["nodes"] = map[string]any{w.origins[1]: 1, "127.0.0.1:0": 1}
	late := w.routeDoc("/1", 2) // which only compiling finds
	late["hosts"] = []string{"a.test", "a.test."}
	for _, r := range []request{
		{"PUT", "/ssls/1", encode(t, mismatch)},
		{"PUT", "/routes/1", encode(t, half)},
		{"PUT", "/routes/1", encode(t, late)},
		{"PUT", "/routes/1", `{"uri":"/1","upstream_id":"nobody"}`},
		{"PUT", "/routes/1?ttl=x", encode(t, w.routeDoc("/1", 2))},
		{"PUT", "/routes/1", `{"uri":"/1","upstream":{"nodes":[{"host":"a b","weight":1}]}}`},
		{"PUT", "/routes/1", `{"uri":"/1",`},
		{"PUT", "/routes/1", ""},
		{"PUT", "/routes/2", encode(t, map[string]any{"id": "1", "uri": "/", "upstream_id": "u"})},
		{"POST", "/routes", encode(t, half)},
		{"POST", "/ssls", encode(t, mismatch)},
		{"POST", "/routes/1", encode(t, w.routeDoc("/1", 2))},
		{"PATCH", "/routes/1", `{"uri":2}`},
		{"PATCH", "/routes/1/uri", `""`},
		{"PATCH", "/routes/1/uri/x", `1`},
		{"PATCH", "/routes/nobody", `{}`},
		{"PATCH", "/ssls/1", `{"key":"[redacted]","cert":"x"}`},
		{"PUT", "/services/s", `{"upstream_id":"nobody"}`},
		{"PUT", "/services/s", `{"hosts":["a.test","a.test."]}`},
		{"PATCH", "/services/s", `{"plugins":{"x":{}}}`},
		{"PUT", "/configs", encode(t, map[string]any{"routes": []any{with(w.routeDoc("/3", 2), "id", "3"), with(late, "id", "4")}})},
		{"PUT", "/configs", encode(t, map[string]any{"ssls": []any{with(mismatch, "id", "4")}})},
		{"PUT", "/configs", `{"routes":[{}]}`},
		{"POST", "/configs/validate", `{"routes":[{}]}`},
		{"DELETE", "/services/s", ""},
		{"DELETE", "/upstreams/u", ""},
		{"DELETE", "/routes/nobody", ""},
		{"DELETE", "/routes", ""},
		{"DELETE", "/routes/1/uri", ""},
	} {
		a := w.doWith(r.method, "/apisix/admin"+r.path, r.body, "X-Digest", "one")
		require.Contains(t, []int{400, 404, 405}, a.status, "%s %s: %s", r.method, r.path, a.body)
		require.Equal(t, before, w.everything(), "%s %s", r.method, r.path)
	}
	h.hook(nil)
	w.check()
}

// When a PUT has been answered, the very next handshake and the very next request
// see it.
func TestAnsweredMeansSeen(t *testing.T) {
	w := newWorld(t, setup{})
	alice := w.people.Client("alice")
	w.put("/routes/1", w.routeDoc("/1", 1))
	first, second := w.sslDoc(w.pair), w.sslDoc(w.pair2)
	guarded := w.sslDoc(w.pair)
	guarded["client"] = map[string]any{"ca": string(w.people.PEM())}
	certificate := map[string]string{}
	for range 15 {
		for name, doc := range map[string]map[string]any{"first": first, "second": second} {
			w.put("/ssls/1", doc)
			got := handshake(w.gw, "a.test")
			require.NotContains(t, got, "unrecognized")
			if certificate[name] == "" {
				certificate[name] = got
			}
			require.Equal(t, certificate[name], got)
		}
		require.NotEqual(t, certificate["first"], certificate["second"])
		for origin := 1; origin <= 2; origin++ {
			w.put("/routes/1", w.routeDoc("/1", origin))
			require.Equal(t, fmt.Sprintf("200 origin %d: GET /1", origin), w.get("https://a.test/1"))
		}
		w.put("/ssls/1", guarded)
		require.Contains(t, w.get("https://a.test/1"), "certificate required")
		require.Equal(t, "200 origin 2: GET /1", w.get("https://a.test/1", alice))
		w.put("/ssls/1", first)
		require.Equal(t, "200 origin 2: GET /1", w.get("https://a.test/1"))
		require.Equal(t, 200, w.do("DELETE", "/apisix/admin/ssls/1", "").status)
		require.Contains(t, w.get("https://a.test/1"), "unrecognized name")
		require.Equal(t, 200, w.do("DELETE", "/apisix/admin/routes/1", "").status)
		require.Contains(t, w.get("http://a.test/1"), "404")
	}
	w.check()
}

// A client that goes away in the middle of its document has changed nothing.
func TestClientGoesAwayWhileSending(t *testing.T) {
	w, h := newHookedWorld(t)
	before := w.everything()
	h.hook(func(_ context.Context, write string) error {
		t.Errorf("%s", write)
		return nil
	})
	body := encode(t, w.routeDoc("/1", 2))
	for _, method := range []string{"PUT /apisix/admin/routes/1", "POST /apisix/admin/routes"} {
		for _, sent := range []int{0, 1, len(body) / 2, len(body) - 1} {
			conn, err := net.Dial("tcp", w.admin.Listener.Addr().String())
			require.NoError(t, err)
			fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: localhost\r\nX-API-KEY: %s\r\nContent-Length: %d\r\n\r\n%s", method, w.key, len(body), body[:sent])
			require.NoError(t, conn.(*net.TCPConn).CloseWrite())
			answer, err := io.ReadAll(conn) // until the server has done with it
			require.NoError(t, err)
			require.NoError(t, conn.Close())
			require.Contains(t, string(answer), " 400 ")
			require.Contains(t, string(answer), "could not be read to its end")
		}
		// A body that ends as JSON, but not as the request said.
		conn, err := net.Dial("tcp", w.admin.Listener.Addr().String())
		require.NoError(t, err)
		fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: localhost\r\nX-API-KEY: %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", method, w.key, len(body), body)
		require.NoError(t, conn.(*net.TCPConn).CloseWrite())
		answer, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		require.Contains(t, string(answer), " 400 ")
	}
	h.hook(nil)
	require.Equal(t, before, w.everything())
	w.check()
}

// A client that goes away while its document is being stored changes nothing about
// that: what was begun is ended, and storage and gateway agree.
func TestClientGoesAwayWhileStoring(t *testing.T) {
	w, h := newHookedWorld(t)
	for _, c := range []request{
		{"PUT", "/routes/1", encode(t, w.routeDoc("/1", 2))},
		{"DELETE", "/routes/1", ""},
		{"PUT", "/routes/1", encode(t, w.routeDoc("/1", 1))},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		gone, done := make(chan struct{}), make(chan error, 1)
		h.hook(func(storing context.Context, write string) error {
			cancel()
			<-gone
			// The server has noticed when the request's own context ends; this one
			// must not end with it, however long it takes.
			done <- storing.Err()
			if storing.Done() != nil {
				t.Error("the context of a write can end with the request")
			}
			return nil
		})
		req, err := http.NewRequestWithContext(ctx, c.method, w.admin.URL+"/apisix/admin"+c.path, strings.NewReader(c.body))
		require.NoError(t, err)
		req.Header.Set("X-API-KEY", w.key)
		_, err = fetch(w.admin.Client(), req)
		require.ErrorIs(t, err, context.Canceled)
		close(gone)
		require.NoError(t, <-done)
		h.hook(nil)
		// The next change waits for that one, and so shows that it has ended.
		require.Equal(t, 200, w.do("PUT", "/apisix/admin/upstreams/free", encode(t, w.upstreamDoc(1))).status)
		w.check()
		want := "404"
		if c.method == "PUT" {
			want = "200"
		}
		require.Contains(t, w.get("http://a.test/1"), want)
	}
}

// A storage that another has written to gives a conflict, and nothing moves.
func TestStorageChangedBehind(t *testing.T) {
	w := newWorld(t, setup{})
	w.put("/routes/1", w.routeDoc("/1", 1))
	other := encode(t, w.routeDoc("/1", 2))
	_, err := save(t.Context(), w.memory, "/routes/1", []byte(other), adminapi.AnyRevision)
	require.NoError(t, err)
	_, err = save(t.Context(), w.memory, "/routes/2", []byte(other), adminapi.AnyRevision)
	require.NoError(t, err)
	for _, c := range []request{
		{"PUT", "/routes/1", encode(t, w.routeDoc("/2", 1))},
		{"PUT", "/routes/2", encode(t, w.routeDoc("/2", 1))},
		{"DELETE", "/routes/1", ""},
	} {
		a := w.doWith(c.method, "/apisix/admin"+c.path, c.body, "X-Digest", "one")
		require.Equal(t, http.StatusServiceUnavailable, a.status)
		require.JSONEq(t, `{"error_msg":"value changed before overwritten"}`, a.body)
	}
	require.Equal(t, "200 origin 1: GET /1", w.get("http://a.test/1"))
	require.Contains(t, w.get("http://a.test/2"), "404")
	records, err := w.memory.Load(t.Context())
	require.NoError(t, err)
	require.Len(t, records, 2)
	for _, r := range records {
		require.JSONEq(t, other, string(r.Value))
	}
}

// A node that refuses connections is said with its address in the log, not to
// the client.
func TestNodeRefuses(t *testing.T) {
	w := newWorld(t, setup{})
	dead, port, err := freeport.Hold()
	require.NoError(t, err)
	defer port.Close()
	w.put("/routes/1", map[string]any{"uri": "/1", "upstream": map[string]any{"nodes": map[string]any{dead: 1}}})
	got := w.get("http://a.test/1")
	require.Contains(t, got, "502")
	require.NotContains(t, got, dead)
	require.Contains(t, w.logs.String(), dead)
	require.Contains(t, w.logs.String(), "connection refused")
	w.check()
}
