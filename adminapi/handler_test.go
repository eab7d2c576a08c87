package adminapi_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/gateway"
)

// A request that no server made may have no body at all.
func TestNilBody(t *testing.T) {
	h, _ := newHandler(t, &adminapi.Options{AllowUnauthenticated: true})
	for method, want := range map[string]int{"GET": 404, "PUT": 400, "DELETE": 404} {
		rec := serveOne(h, &http.Request{Method: method, Host: "localhost", URL: &url.URL{Path: "/apisix/admin/routes/1"}})
		require.Equal(t, want, rec.Code)
	}
}

// An answer to HEAD has no body, whoever serves it.
func TestHead(t *testing.T) {
	h, _ := newHandler(t, &adminapi.Options{AllowUnauthenticated: true})
	for path, want := range map[string]int{"": 200, "/routes": 200, "/routes/1": 404, "/consumers": 200, "/nothing": 404, "/routes?page=1&page_size=1": 400} {
		rec := serveOne(h, httptest.NewRequest("HEAD", "http://localhost/apisix/admin"+path, nil))
		require.Equal(t, want, rec.Code, path)
		require.Empty(t, rec.Body.String(), path)
	}
	rec := serveOne(h, httptest.NewRequest("HEAD", "http://elsewhere/apisix/admin", nil))
	require.Equal(t, 403, rec.Code)
	require.Empty(t, rec.Body.String())
}

// A filter of a list ends when its client has gone.
func TestFilterEnds(t *testing.T) {
	h, _ := newHandler(t, &adminapi.Options{AllowUnauthenticated: true})
	put := httptest.NewRequest("PUT", "http://localhost/apisix/admin/upstreams/1", strings.NewReader(`{"name":"a","nodes":{"127.0.0.1:1":1}}`))
	require.Equal(t, 201, serveOne(h, put).Code)
	list := httptest.NewRequest("GET", "http://localhost/apisix/admin/upstreams?name=a", nil)
	require.Contains(t, serveOne(h, list).Body.String(), `"total":1`)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	require.Contains(t, serveOne(h, list.WithContext(gone)).Body.String(), `"total":0`)
}

// An answer repeats only so much of a path, and is JSON whatever the path is.
func TestLongResource(t *testing.T) {
	h, _ := newHandler(t, &adminapi.Options{AllowUnauthenticated: true})
	for _, name := range []string{strings.Repeat("x", 1<<16), "%ff%fe", "\"\u2028<script>", "\xff"} {
		rec := serveOne(h, &http.Request{Method: "GET", Host: "localhost", URL: &url.URL{Path: "/apisix/admin/" + name}})
		require.Equal(t, 404, rec.Code)
		require.Less(t, rec.Body.Len(), 200)
		require.Empty(t, wellFormed("GET", answer{rec.Code, rec.Header(), rec.Body.String()}), rec.Body.String())
		require.Contains(t, rec.Body.String(), "Unsupported resource type: ")
	}
}

// A body is taken up to 1.5 MiB, to the byte, however its length is told. More is
// not read.
func TestBodyLimit(t *testing.T) {
	h, stored := newHandler(t, &adminapi.Options{AllowUnauthenticated: true})
	const doc = `{"nodes":{}}`
	for _, test := range []struct {
		size   int
		told   int64
		status int
		says   string
	}{
		{adminapi.MaxBody, adminapi.MaxBody, 201, ""},
		{adminapi.MaxBody, -1, 200, ""},
		{adminapi.MaxBody + 1, adminapi.MaxBody + 1, 400, "request size 1572865 is greater than the maximum size 1572864 allowed"},
		{adminapi.MaxBody + 1, -1, 400, "request size 1572865 is greater than"},
		{10 << 20, 10 << 20, 400, "request size 10485760 is greater than"},
		{10 << 20, -1, 400, "request size 1572865 is greater than"},
	} {
		stored.writes = nil
		body := strings.NewReader(doc + strings.Repeat(" ", test.size-len(doc)))
		r := httptest.NewRequest("PUT", "http://localhost/apisix/admin/upstreams/1", body)
		r.ContentLength = test.told
		rec := serveOne(h, r)
		require.Equal(t, test.status, rec.Code, "%d, told %d", test.size, test.told)
		if test.says != "" {
			require.Contains(t, rec.Body.String(), `{"error_msg":"invalid request body: `+test.says)
			require.Empty(t, stored.writes)
			require.LessOrEqual(t, test.size-body.Len(), adminapi.MaxBody+1, "read")
		}
	}
}

// A storage that gives one revision again and again does not keep a POST for ever.
func TestSameRevision(t *testing.T) {
	h, _ := newHandler(t, &adminapi.Options{AllowUnauthenticated: true, Storage: stuck{&adminapi.Memory{}}})
	post := func() (int, string) {
		return ask(h, "POST", "http://localhost/apisix/admin/upstreams", `{"nodes":{}}`)
	}
	status, _ := post()
	require.Equal(t, 201, status)
	status, body := post()
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, "gives one revision to two writes")
}

type stuck struct{ *adminapi.Memory }

func (s stuck) Commit(ctx context.Context, writes ...adminapi.Write) ([]adminapi.Record, error) {
	records, err := s.Memory.Commit(ctx, writes...)
	for i := range records {
		records[i].Created, records[i].Modified = 1, 1
	}
	return records, err
}

// The log has the revision of what was stored; what was deleted has none.
func TestLoggedRevisions(t *testing.T) {
	var log strings.Builder
	h, err := adminapi.New(t.Context(), must(gateway.New(nil)), &adminapi.Options{AllowUnauthenticated: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	require.NoError(t, err)
	defer h.Close()
	for _, r := range []*http.Request{
		httptest.NewRequest("PUT", "http://localhost/apisix/admin/upstreams/1", strings.NewReader(`{"nodes":{"127.0.0.1:1":1}}`)),
		httptest.NewRequest("DELETE", "http://localhost/apisix/admin/upstreams/1", nil),
	} {
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	require.Contains(t, log.String(), "action=put kind=upstreams id=1 revision=1 remote=")
	require.Contains(t, log.String(), "action=delete kind=upstreams id=1 remote=")
}
