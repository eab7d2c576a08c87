package adminapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/adminapi/storagetest"
	"github.com/sallyport/sallyport/gateway"
)

func TestMemory(t *testing.T) {
	storagetest.Run(t, func(*testing.T) adminapi.Storage { return &adminapi.Memory{} })
}

// A fixed storage holds what it holds, and can only be loaded.
type fixed []adminapi.Record

func (f fixed) Load(context.Context) ([]adminapi.Record, error) { return f, nil }
func (fixed) Commit(context.Context, ...adminapi.Write) ([]adminapi.Record, error) {
	return nil, errors.New("cannot be written")
}

func record(key, value string, created, modified int64) adminapi.Record {
	return adminapi.Record{Key: key, Value: []byte(value), Created: created, Modified: modified}
}

// open returns a gateway with what a storage holds.
func open(t testing.TB, s adminapi.Storage) (*gateway.Server, *adminapi.Handler, error) {
	t.Helper()
	gw := must(gateway.New(nil))
	t.Cleanup(func() { gw.Close() })
	h, err := adminapi.New(t.Context(), gw, &adminapi.Options{AllowUnauthenticated: true, Storage: s})
	return gw, h, err
}

func ask(h http.Handler, method, url, body string) (int, string) {
	rec := serveOne(h, httptest.NewRequest(method, url, strings.NewReader(body)))
	return rec.Code, strings.TrimSpace(rec.Body.String())
}

// New applies what a storage holds, whatever the order in which it comes: routes
// before the upstreams that they name, and keys that are no documents.
func TestNewLoads(t *testing.T) {
	w := newWorld(t, setup{})
	s := fixed{
		record("/gen_id", "1", 1, 9),
		record("/routes/1", `{"id":"1","uri":"/1","upstream_id":"u","create_time":5,"update_time":6}`, 3, 4),
		record("/routes/2", encode(t, w.routeDoc("/2", 2)), 5, 5),
		record("/routes/off", `{"uri":"/off","status":0,"upstream_id":"u"}`, 6, 6),
		record("/routes/", "init_dir", 1, 1),
		record("/ssls/", "init_dir", 1, 1),
		record("/plugins/", "init_dir", 1, 1),
		record("/consumers/jack", `{"username":"jack"}`, 1, 1),
		record("gen_id", "1", 1, 1),
		record("", "", 1, 1),
		record("/ssls/1", encode(t, w.sslDoc(w.pair)), 2, 2),
		record("/upstreams/u", encode(t, w.upstreamDoc(1)), 7, 8),
	}
	before := slices.Clone(s)
	gw, h, err := open(t, s)
	require.NoError(t, err)
	require.Equal(t, before, s, "what Load returned is the storage's")
	for url, want := range map[string]string{
		"http://a.test/1":   "origin 1: GET /1",
		"http://a.test/2":   "origin 2: GET /2",
		"http://a.test/off": `{"error_msg":"404 Route Not Found"}`,
	} {
		_, body := ask(gw, "GET", url, "")
		require.Equal(t, want, body)
	}
	require.NotContains(t, handshake(gw, "a.test"), "unrecognized")

	status, body := ask(h, "GET", "http://localhost/apisix/admin/routes/1", "")
	require.Equal(t, 200, status)
	require.JSONEq(t, `{"key":"/apisix/routes/1","createdIndex":3,"modifiedIndex":4,
		"value":{"id":"1","uri":"/1","upstream_id":"u","create_time":5,"update_time":6}}`, body)
	_, body = ask(h, "GET", "http://localhost/apisix/admin/ssls", "")
	require.Contains(t, body, `"total":1`)
	_, body = ask(h, "GET", "http://localhost/apisix/admin/consumers", "")
	require.Contains(t, body, `"total":0`)
}

// Of routes that are alike the one that was created first is taken, however the
// storage sorts. So it was before the restart.
func TestNewLoadsInOrder(t *testing.T) {
	w := newWorld(t, setup{})
	for _, test := range []struct {
		name    string
		created [3]int64 // of a, b and c
		want    string   // whose origin answers
	}{
		{"by key", [3]int64{1, 2, 3}, "/a"},
		{"not by key", [3]int64{3, 2, 1}, "/c"},
		{"the middle", [3]int64{3, 1, 2}, "/b"},
		{"all of one revision", [3]int64{1, 1, 1}, "/a"},
	} {
		origin := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { fmt.Fprint(rw, r.Host) }))
		t.Cleanup(origin.Close)
		var s fixed
		for i, id := range []string{"a", "b", "c"} {
			doc := w.routeDoc("/x", 1)
			doc["upstream"] = map[string]any{
				"nodes":     map[string]any{origin.Listener.Addr().String(): 1},
				"pass_host": "rewrite", "upstream_host": id,
			}
			// Changed in the opposite order: that does not count.
			s = append(s, record("/routes/"+id, encode(t, doc), test.created[i], 10-test.created[i]))
		}
		for range 6 {
			s[0], s[1], s[2] = s[1], s[2], s[0]
			gw, _, err := open(t, s)
			require.NoError(t, err)
			_, body := ask(gw, "GET", "http://a.test/x", "")
			require.Equal(t, strings.TrimPrefix(test.want, "/"), body, test.name)
			slices.Reverse(s)
		}
	}
}

// A storage with anything broken in it is refused, and each fault is named by its
// key. Nothing is applied.
func TestNewRefusesWhatIsBroken(t *testing.T) {
	w := newWorld(t, setup{})
	good := w.routeDoc("/1", 1)
	mismatch := w.sslDoc(w.pair)
	mismatch["key"] = string([]byte(w.pair2.KeyPEM))
	regex := w.sslDoc(w.pair)
	regex["client"] = map[string]any{"ca": string(w.people.PEM()), "skip_mtls_uri_regex": []string{"("}}
	for _, test := range []struct {
		name    string
		records fixed
		want    []string
	}{
		{"no JSON", fixed{record("/routes/2", `{"uri":`, 1, 1)}, []string{"adminapi: stored /routes/2: ", "T_END"}},
		{"empty", fixed{record("/routes/2", "", 1, 1)}, []string{"stored /routes/2: "}},
		{"no object", fixed{record("/routes/2", "1", 1, 1)}, []string{"stored /routes/2: ", "expected object"}},
		{"no route", fixed{record("/routes/2", `{}`, 1, 1)}, []string{"stored /routes/2: ", "uri"}},
		{"unknown property", fixed{record("/upstreams/2", `{"nodes":{},"foo":1}`, 1, 1)}, []string{"stored /upstreams/2: ", "found foo"}},
		{"bad id", fixed{record("/routes/a b", encode(t, good), 1, 1)}, []string{"stored /routes/a b: ", `"id"`}},
		{"deeper key", fixed{record("/routes/a/b", encode(t, good), 1, 1)}, []string{"stored /routes/a/b: ", `"id"`}},
		{"service", fixed{record("/services/1", `{"hosts":["a.test","a.test."]}`, 1, 1)}, []string{"stored /services/1: ", `"hosts[1]"`}},
		{"key of another", fixed{record("/ssls/1", encode(t, mismatch), 1, 1)}, []string{"stored /ssls/1: ", `property "key"`, "is not the key of the certificate"}},
		{"regular expression", fixed{record("/ssls/1", encode(t, regex), 1, 1)}, []string{"stored /ssls/1: ", `client.skip_mtls_uri_regex[0]`}},
		{"twice", fixed{record("/routes/2", encode(t, good), 1, 1), record("/routes/2", encode(t, good), 2, 2)}, []string{"stored configuration: ", "twice"}},
		{"all at once", fixed{
			record("/routes/2", "{", 1, 1), record("/routes/3", "{", 2, 2), record("/ssls/1", encode(t, mismatch), 3, 3),
		}, []string{"stored /routes/2: ", "stored /routes/3: ", "stored /ssls/1: "}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := append(fixed{record("/routes/1", encode(t, good), 1, 1)}, test.records...)
			gw, h, err := open(t, s)
			require.Nil(t, h)
			require.Error(t, err)
			for _, want := range test.want {
				require.ErrorContains(t, err, want)
			}
			require.NotContains(t, err.Error(), "/routes/1:", "which is in order")
			status, _ := ask(gw, "GET", "http://a.test/1", "")
			require.Equal(t, 404, status, "nothing is applied")
			require.Empty(t, leak(err.Error(), w.pair.KeyPEM, w.pair2.KeyPEM))
		})
	}
}

func TestNewCannotLoad(t *testing.T) {
	_, h, err := open(t, &failing{})
	require.Nil(t, h)
	require.ErrorIs(t, err, errFailing)
	require.EqualError(t, err, "adminapi: storage: the disk is gone")
}

var errFailing = errors.New("the disk is gone")

type failing struct{ adminapi.Memory }

func (*failing) Load(context.Context) ([]adminapi.Record, error) { return nil, errFailing }

// A restart with the same storage shows and runs the same, and goes on counting.
func TestRestart(t *testing.T) {
	w := newWorld(t, setup{})
	w.put("/upstreams/u", w.upstreamDoc(2))
	w.put("/routes/1", w.routeDoc("/1", 1))
	w.put("/routes/2", map[string]any{"uri": "/2", "upstream_id": "u"})
	w.put("/ssls/1", w.sslDoc(w.pair))
	w.put("/routes/1", w.routeDoc("/api/*", 1))
	require.Equal(t, 201, w.do("POST", "/apisix/admin/routes", encode(t, w.routeDoc("/ip", 1))).status)
	require.Equal(t, 200, w.do("DELETE", "/apisix/admin/routes/2", "").status)
	require.Equal(t, 201, w.do("PUT", "/apisix/admin/routes/2", encode(t, w.routeDoc("/2", 2))).status)
	w.check()

	gw, h, err := open(t, w.memory)
	require.NoError(t, err)
	require.Equal(t, running(t, w.gw), running(t, gw))
	for _, kind := range []string{"routes", "ssls", "upstreams"} {
		_, body := ask(h, "GET", "http://localhost/apisix/admin/"+kind, "")
		require.Equal(t, w.do("GET", "/apisix/admin/"+kind, "").body, body+"\n")
	}
	status, body := ask(h, "PUT", "http://localhost/apisix/admin/routes/1", encode(t, w.routeDoc("/1", 2)))
	require.Equal(t, 200, status, body)
	require.Contains(t, body, `"create_time":1700000000`)
	_, body = ask(h, "GET", "http://localhost/apisix/admin/routes/1", "")
	require.Contains(t, body, `"createdIndex":2`)
	require.Contains(t, body, `"modifiedIndex":10`)
}

// Pages hold each document once, also where many have one revision.
func TestPagesOfOneRevision(t *testing.T) {
	var s fixed
	for i := range 40 {
		s = append(s, record(fmt.Sprintf("/upstreams/%02d", i), `{"nodes":[]}`, 7, 7))
	}
	_, h, err := open(t, s)
	require.NoError(t, err)
	for range 5 {
		var keys []string
		for page := 1; page <= 4; page++ {
			_, body := ask(h, "GET", fmt.Sprintf("http://localhost/apisix/admin/upstreams?page=%d&page_size=10", page), "")
			for _, part := range strings.Split(body, `"key":"`)[1:] {
				key, _, _ := strings.Cut(part, `"`)
				keys = append(keys, key)
			}
		}
		require.Len(t, keys, 40)
		require.True(t, slices.IsSorted(keys))
		require.Len(t, slices.Compact(keys), 40)
	}
}
