package adminapi_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// A timed handler is one in a bubble of synctest, where nothing listens.
type timed struct {
	t       *testing.T
	gw      *gateway.Server
	handler *adminapi.Handler
}

func newTimed(t *testing.T, s adminapi.Storage) *timed {
	gw := must(gateway.New(nil))
	h, err := adminapi.New(t.Context(), gw, &adminapi.Options{AllowUnauthenticated: true, Storage: s})
	require.NoError(t, err)
	return &timed{t, gw, h}
}

func (x *timed) close() {
	x.handler.Close()
	require.NoError(x.t, x.gw.Close())
}

func (x *timed) do(method, path, body string) (int, string) {
	return ask(x.handler, method, "http://localhost/apisix/admin"+path, body)
}

// route is what a route without an upstream answers, or 404 without the route.
func (x *timed) route(path string) int {
	return serveOne(x.gw, httptest.NewRequest("GET", "http://a.test"+path, nil)).Code
}

const toNobody = `{"uri":"/%d","upstream":{"nodes":{}}}` // which answers 503

func sleep(d time.Duration) {
	time.Sleep(d) // which takes no time in a bubble
	synctest.Wait()
}

// A document with a ttl is gone when its time has passed: from the Admin API, the
// gateway and the storage.
func TestTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := &adminapi.Memory{}
		x := newTimed(t, memory)
		defer x.close()
		for i, ttl := range []string{"60", "30.5", "1e9"} {
			status, body := x.do("PUT", fmt.Sprintf("/routes/%d?ttl=%s", i, ttl), fmt.Sprintf(toNobody, i))
			require.Equal(t, 201, status, body)
		}
		there := func(want ...int) {
			t.Helper()
			for i, want := range want {
				status, _ := x.do("GET", fmt.Sprintf("/routes/%d", i), "")
				require.Equal(t, want, status, i)
				through := map[int]int{200: 503, 404: 404}[want]
				require.Equal(t, through, x.route(fmt.Sprintf("/%d", i)), i)
			}
			records, err := memory.Load(t.Context())
			require.NoError(t, err)
			require.Len(t, records, strings.Count(fmt.Sprint(want), "200"))
		}
		sleep(30 * time.Second)
		there(200, 200, 200)
		sleep(time.Second)
		there(200, 404, 200)
		sleep(29 * time.Second)
		there(404, 404, 200)
		sleep(24 * time.Hour)
		there(404, 404, 200)
	})
}

// A write without a ttl, by whichever method, makes a document stay; one with another
// gives it another time.
func TestTTLIsOfOneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTimed(t, nil)
		defer x.close()
		for i := range 5 {
			status, _ := x.do("PUT", fmt.Sprintf("/routes/%d?ttl=10", i), fmt.Sprintf(toNobody, i))
			require.Equal(t, 201, status)
		}
		sleep(5 * time.Second)
		for _, r := range []request{
			{"PUT", "/routes/0", fmt.Sprintf(toNobody, 0)},
			{"PATCH", "/routes/1", `{"desc":"d"}`},
			{"PUT", "/routes/2?ttl=20", fmt.Sprintf(toNobody, 2)},
			{"PATCH", "/routes/3?ttl=1", `{}`},
			{"DELETE", "/routes/4", ""},
			{"PUT", "/routes/4", fmt.Sprintf(toNobody, 4)},
		} {
			status, body := x.do(r.method, r.path, r.body)
			require.Contains(t, []int{200, 201}, status, body)
		}
		sleep(2 * time.Second)
		require.Equal(t, []int{503, 503, 503, 404, 503}, []int{x.route("/0"), x.route("/1"), x.route("/2"), x.route("/3"), x.route("/4")})
		sleep(10 * time.Second)
		require.Equal(t, []int{503, 503, 503, 404, 503}, []int{x.route("/0"), x.route("/1"), x.route("/2"), x.route("/3"), x.route("/4")})
		sleep(10 * time.Second)
		require.Equal(t, []int{503, 503, 404, 404, 503}, []int{x.route("/0"), x.route("/1"), x.route("/2"), x.route("/3"), x.route("/4")})
	})
}

// So does a whole configuration, in which it is the same.
func TestTTLInWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTimed(t, nil)
		defer x.close()
		route := fmt.Sprintf(toNobody, 1)
		whole := `{"routes":[{"id":"1",` + route[1:] + `]}`
		for what, put := range map[string]func(){
			"PUT": func() {
				r := httptest.NewRequest("PUT", "http://localhost/apisix/admin/configs", strings.NewReader(whole))
				r.Header.Set("X-Digest", "1")
				require.Equal(t, 202, serveOne(x.handler, r).Code)
			},
			"Load": func() { require.NoError(t, x.handler.Load(t.Context(), strings.NewReader(whole))) },
		} {
			status, body := x.do("PUT", "/routes/1?ttl=10", route)
			require.Contains(t, []int{200, 201}, status, body)
			put()
			sleep(20 * time.Second)
			require.Equal(t, 503, x.route("/1"), what)
		}
	})
}

// What others name goes all the same, as a lease does.
func TestTTLOfWhatIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTimed(t, nil)
		defer x.close()
		status, _ := x.do("PUT", "/services/s?ttl=5", `{"upstream":{"nodes":{}}}`)
		require.Equal(t, 201, status)
		status, _ = x.do("PUT", "/upstreams/u?ttl=6", `{"nodes":{}}`)
		require.Equal(t, 201, status)
		status, _ = x.do("PUT", "/routes/1", `{"uri":"/1","service_id":"s"}`)
		require.Equal(t, 201, status)
		status, _ = x.do("PUT", "/routes/2", `{"uri":"/2","upstream_id":"u"}`)
		require.Equal(t, 201, status)
		require.Equal(t, []int{503, 503}, []int{x.route("/1"), x.route("/2")})
		sleep(10 * time.Second)
		require.Equal(t, []int{404, 502}, []int{x.route("/1"), x.route("/2")})
	})
}

// A restart does not give a document more time, and one whose time passed meanwhile is
// gone at once.
func TestTTLOverRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := &adminapi.Memory{}
		x := newTimed(t, memory)
		for i, ttl := range []int{10, 20} {
			status, _ := x.do("PUT", fmt.Sprintf("/routes/%d?ttl=%d", i, ttl), fmt.Sprintf(toNobody, i))
			require.Equal(t, 201, status)
		}
		x.close()
		sleep(15 * time.Second)
		records, err := memory.Load(t.Context())
		require.NoError(t, err)
		require.Len(t, records, 2, "after Close nothing is deleted")

		x = newTimed(t, memory)
		defer x.close()
		require.Equal(t, []int{404, 503}, []int{x.route("/0"), x.route("/1")})
		sleep(6 * time.Second)
		require.Equal(t, []int{404, 404}, []int{x.route("/0"), x.route("/1")})
		records, err = memory.Load(t.Context())
		require.NoError(t, err)
		require.Empty(t, records)
	})
}

// A storage that fails keeps the document for so long as it fails; one that has deleted
// the document itself does not.
func TestTTLAndStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hooked{Storage: &adminapi.Memory{}}
		x := newTimed(t, h)
		defer x.close()
		status, _ := x.do("PUT", "/routes/0?ttl=10", fmt.Sprintf(toNobody, 0))
		require.Equal(t, 201, status)
		h.hook(func(context.Context, string) error { return errors.New("etcdserver: no leader") })
		sleep(15 * time.Second)
		require.Equal(t, 503, x.route("/0"))
		h.hook(nil)
		sleep(time.Second)
		require.Equal(t, 404, x.route("/0"))

		status, _ = x.do("PUT", "/routes/0?ttl=10", fmt.Sprintf(toNobody, 0))
		require.Equal(t, 201, status)
		_, err := h.Storage.Commit(t.Context(), adminapi.Write{Key: "/routes/0", Prev: adminapi.AnyRevision, Delete: true})
		require.NoError(t, err)
		sleep(11 * time.Second)
		require.Equal(t, 404, x.route("/0"))
		status, _ = x.do("PUT", "/routes/0", fmt.Sprintf(toNobody, 0))
		require.Equal(t, 201, status)
	})
}

// Close waits for what is going on, and may be called again.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hooked{Storage: &adminapi.Memory{}}
		x := newTimed(t, h)
		defer x.close()
		status, _ := x.do("PUT", "/routes/0?ttl=10", fmt.Sprintf(toNobody, 0))
		require.Equal(t, 201, status)
		deleting, goOn, closed := make(chan bool), make(chan bool), make(chan bool)
		h.hook(func(context.Context, string) error { deleting <- true; <-goOn; return nil })
		<-deleting
		go func() { x.close(); close(closed) }()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("Close did not wait")
		default:
		}
		goOn <- true
		<-closed
		require.Equal(t, 404, x.route("/0"))
	})
}

// What an expiry opens is logged: there is no answer to tell it.
func TestTTLOpensAName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log buffer
		gw := must(gateway.New(nil))
		h, err := adminapi.New(t.Context(), gw, &adminapi.Options{AllowUnauthenticated: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		require.NoError(t, err)
		x := &timed{t, gw, h}
		defer x.close()
		ca := ssltest.NewCA(t, "root")
		pair := ca.Server("a.test")
		doc := map[string]any{"sni": "a.test", "cert": string(pair.CertPEM), "key": string([]byte(pair.KeyPEM)), "client": map[string]any{"ca": string(ca.PEM())}}
		status, body := x.do("PUT", "/ssls/1?ttl=60", encode(t, doc))
		require.Equal(t, 201, status, body)
		require.NotContains(t, log.String(), "level=WARN")
		sleep(61 * time.Second)
		require.Contains(t, log.String(), `level=WARN msg="configuration warning" kind=ssls id=1 warning="the server name a.test demanded client certificates until this change`)
	})
}
