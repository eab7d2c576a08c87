package adminapi_test

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// What a PUT, a PATCH and a DELETE answer is in the conversations warnings*.txt.

// A warned is a Handler, and what it warns of in its log.
type warned struct {
	t    *testing.T
	gw   *gateway.Server
	h    *adminapi.Handler
	logs *buffer
	read int
}

func newWarned(t *testing.T, o adminapi.Options) *warned {
	t.Helper()
	w := &warned{t: t, gw: must(gateway.New(nil)), logs: &buffer{}}
	o.Logger, o.AllowUnauthenticated = slog.New(slog.NewTextHandler(w.logs, nil)), true
	var err error
	w.h, err = adminapi.New(t.Context(), w.gw, &o)
	require.NoError(t, err)
	t.Cleanup(func() { w.h.Close(); w.gw.Close() })
	return w
}

var warningLine = regexp.MustCompile(`level=WARN msg="([^"]*)" (?:kind=(\S+) id=(\S+) warning=|count=)(.*)`)

// new returns the warnings since the last call, as "ssls 1: the first words".
func (w *warned) new() []string {
	text := w.logs.String()
	lines := []string{}
	for line := range strings.Lines(text[w.read:]) {
		if !strings.Contains(line, "level=WARN") {
			continue
		}
		m := warningLine.FindStringSubmatch(line)
		require.NotNil(w.t, m, line)
		if m[2] == "" {
			lines = append(lines, m[1]+": "+m[4])
			continue
		}
		require.Equal(w.t, "configuration warning", m[1])
		words := strings.Fields(strings.Trim(m[4], `"`))
		lines = append(lines, m[2]+" "+m[3]+": "+strings.Join(words[:min(5, len(words))], " "))
	}
	w.read = len(text)
	return lines
}

func (w *warned) do(want int, method, path, doc string) string {
	w.t.Helper()
	status, body := ask(w.h, method, "http://localhost/apisix/admin"+path, doc)
	require.Equal(w.t, want, status, body)
	return body
}

func (w *warned) load(doc map[string]any) {
	w.t.Helper()
	require.NoError(w.t, w.h.Load(w.t.Context(), strings.NewReader(encode(w.t, doc))))
}

// configs puts a whole configuration.
func (w *warned) configs(digest string, doc map[string]any) string {
	w.t.Helper()
	r := httptest.NewRequest("PUT", "http://localhost/apisix/admin/configs", strings.NewReader(encode(w.t, doc)))
	r.Header.Set("X-Digest", digest)
	rec := serveOne(w.h, r)
	require.Equal(w.t, 202, rec.Code, rec.Body)
	return rec.Body.String()
}

// The documents that the tests warn of, and the beginnings of the warnings.
type cases struct {
	open, closed, expired map[string]any // ssl objects for a.test; closed demands certificates
	route                 map[string]any
}

const (
	opens    = "the server name a.test demanded"
	ended    = "cert: the certificate (CN=a.test) expired"
	notFound = "it is never found: route"
	hides    = `route \"2\" is never found`
)

func newCases(t *testing.T) cases {
	ca := ssltest.NewCA(t, "root")
	pair, old := ca.Server("a.test", "b.a.test"), ca.ServerWith([]string{"a.test"}, ssltest.Expired)
	doc := func(cert, key []byte) map[string]any {
		return map[string]any{"id": "1", "sni": "a.test", "cert": string(cert), "key": string(key)}
	}
	open := doc(pair.CertPEM, pair.KeyPEM)
	return cases{
		open: open, closed: with(open, "client", map[string]any{"ca": string(ca.PEM())}),
		expired: doc(old.CertPEM, old.KeyPEM),
		route:   map[string]any{"uri": "/1", "upstream": map[string]any{"nodes": map[string]any{}}},
	}
}

// A file is loaded again and again: what is to be told of it is logged when it is new.
func TestWatchFileWarns(t *testing.T) {
	c := newCases(t)
	w := newWarned(t, adminapi.Options{})
	path := filepath.Join(t.TempDir(), "apisix.json")
	write := func(doc map[string]any) {
		t.Helper()
		require.NoError(t, os.WriteFile(path+".new", []byte(encode(t, doc)), 0o600))
		require.NoError(t, os.Rename(path+".new", path))
	}
	write(map[string]any{"ssls": list{c.expired}})
	watcher, err := w.h.WatchFile(path, &adminapi.WatchFileOptions{Interval: time.Hour})
	require.NoError(t, err)
	defer watcher.Close()
	next := func(doc map[string]any) []string {
		t.Helper()
		write(doc)
		require.NoError(t, watcher.Check())
		return w.new()
	}
	require.Equal(t, []string{"ssls 1: " + ended}, w.new())
	require.Empty(t, next(map[string]any{"ssls": list{c.expired}}), "nothing has changed")
	require.Empty(t, next(map[string]any{"ssls": list{with(c.expired, "desc", "renew it")}}), "the warning is known")
	require.Equal(t, []string{"routes 1: " + hides, "routes 2: " + notFound}, next(map[string]any{
		"ssls": list{with(c.expired, "desc", "soon")}, "routes": list{with(c.route, "id", "1"), with(c.route, "id", "2")}}))

	require.Empty(t, next(map[string]any{"ssls": list{c.closed}}))
	require.Equal(t, []string{"ssls 1: " + ended}, next(map[string]any{"ssls": list{with(c.expired, "client", c.closed["client"])}}), "it was well meanwhile")
	require.Equal(t, []string{"ssls 1: " + opens}, next(map[string]any{}), "what goes may open")
	require.Equal(t, []string{"ssls 1: " + ended}, next(map[string]any{"ssls": list{c.expired}}), "it was away")
}

// A name may be opened again, in the same words: that is news.
func TestOpenedAgain(t *testing.T) {
	c := newCases(t)
	w := newWarned(t, adminapi.Options{})
	older := with(with(c.closed, "id", "2"), "sni", "b.a.test")
	w.load(map[string]any{"ssls": list{older}})
	w.load(map[string]any{"ssls": list{older, c.closed}})
	w.new()
	w.load(map[string]any{"ssls": list{older, c.open}})
	require.Equal(t, []string{"ssls 1: " + opens}, w.new())
	both := with(older, "snis", list{"b.a.test", "a.test"})
	delete(both, "sni")
	w.load(map[string]any{"ssls": list{both, c.open}})
	require.Empty(t, w.new())
	w.load(map[string]any{"ssls": list{older, with(c.open, "desc", "x")}})
	require.Equal(t, []string{"ssls 1: " + opens}, w.new())
}

// What a storage holds at the start is warned of then.
func TestNewWarns(t *testing.T) {
	c := newCases(t)
	memory := &adminapi.Memory{}
	first := newWarned(t, adminapi.Options{Storage: memory})
	first.do(201, "PUT", "/ssls/1", encode(t, c.expired))
	first.do(201, "PUT", "/routes/1", encode(t, c.route))
	body := first.do(201, "PUT", "/routes/2", encode(t, c.route))
	require.Contains(t, body, notFound)
	require.Empty(t, first.new(), "the answers have told it")
	again := newWarned(t, adminapi.Options{Storage: memory})
	require.ElementsMatch(t, []string{"ssls 1: " + ended, "routes 1: " + hides, "routes 2: " + notFound}, again.new())
}

// A whole configuration is put by a program, which may not look at the answer.
func TestConfigsWarn(t *testing.T) {
	c := newCases(t)
	w := newWarned(t, adminapi.Options{})
	n := 0
	put := func(doc map[string]any) string {
		t.Helper()
		n++
		return w.configs(fmt.Sprint(n), doc)
	}
	require.Contains(t, put(map[string]any{"ssls": list{c.expired}}), `{"warnings":["/ssls/1: `+ended)
	require.Equal(t, []string{"ssls 1: " + ended}, w.new())
	require.Contains(t, put(map[string]any{"ssls": list{with(c.expired, "desc", "x")}}), ended, "an answer is complete")
	require.Empty(t, w.new())

	// However many there are, what was opened is not left out.
	put(map[string]any{"ssls": list{c.closed}})
	many := list{}
	for i := range 102 {
		many = append(many, with(c.route, "id", fmt.Sprintf("%03d", i)))
	}
	body := put(map[string]any{"routes": many})
	lines := w.new()
	require.Len(t, lines, 101)
	require.Equal(t, "ssls 1: "+opens, lines[0])
	require.Equal(t, "more warnings of the same change are left out: ", regexp.MustCompile(`\d+$`).ReplaceAllString(lines[100], ""))
	require.Contains(t, body, `{"warnings":["/ssls/1: `+opens)
	require.Regexp(t, `,"there are \d+ more warnings"\]}\n$`, body)
	require.Equal(t, 100, strings.Count(body, `"/`))
}

// What others write to a storage is warned of everywhere but where it was written: that
// has its answer.
func TestFollowWarns(t *testing.T) {
	c := newCases(t)
	s := newShared()
	s.write(t, "/ssls/1", encode(t, c.expired))
	one, two := newWarned(t, adminapi.Options{Storage: s}), newWarned(t, adminapi.Options{Storage: s})
	require.Equal(t, []string{"ssls 1: " + ended}, one.new(), "at the start")
	require.Equal(t, []string{"ssls 1: " + ended}, two.new())

	one.do(200, "PUT", "/ssls/1", encode(t, c.closed))
	require.Contains(t, one.do(200, "PUT", "/ssls/1", encode(t, c.open)), `"warnings":["`+opens)
	s.settle()
	require.Empty(t, one.new())
	require.Equal(t, []string{"ssls 1: " + opens}, two.new())

	s.write(t, "/ssls/1", encode(t, c.expired))
	s.settle()
	require.Equal(t, []string{"ssls 1: " + ended}, one.new())
	require.Equal(t, []string{"ssls 1: " + ended}, two.new())
	s.write(t, "/ssls/1", encode(t, with(c.expired, "desc", "x")))
	s.settle()
	require.Empty(t, one.new(), "it is known")

	s.write(t, "/ssls/1", encode(t, c.closed))
	s.remove(t, "/ssls/1") // as a lease that ends does
	s.settle()
	require.Equal(t, []string{"ssls 1: " + opens}, one.new())

	// A document that is kept out is told by itself, and so is what stands in its place.
	s.write(t, "/ssls/2", `{"sni":"a.test","cert":"x","key":"x"}`)
	s.settle()
	require.Empty(t, one.new())

	s.remove(t, "/ssls/2")
	s.settle()
	require.Equal(t, []string{"ssls 2: " + opens}, one.new())

	require.NoError(t, one.h.Load(t.Context(), strings.NewReader(encode(t, map[string]any{"ssls": list{c.expired}}))))
	s.settle()
	require.Equal(t, []string{"ssls 1: " + ended}, one.new(), "a file has no answer")
}

// A writer that no longer waits tells nothing.
func TestFollowWarnsLate(t *testing.T) {
	c := newCases(t)
	synctest.Test(t, func(t *testing.T) {
		s := newShared()
		w := newWarned(t, adminapi.Options{Storage: s})
		defer w.h.Close()
		defer w.gw.Close()
		s.hold(true)
		w.do(503, "PUT", "/ssls/1", encode(t, c.expired))
		require.Empty(t, w.new())
		s.hold(false)
		s.settle()
		require.Equal(t, []string{"ssls 1: cert: the certificate (CN=a.test) is"}, w.new(), "not valid yet, by the bubble's clock")
	})
}

// Refresh is called every few minutes.
func TestRefreshWarns(t *testing.T) {
	c := newCases(t)
	v := vault{"$secret://c": c.open["cert"].(string), "$secret://k": c.open["key"].(string)}
	w := newWarned(t, adminapi.Options{Secrets: v})
	w.do(201, "PUT", "/ssls/1", `{"sni":"a.test","cert":"$secret://c","key":"$secret://k"}`)
	require.NoError(t, w.h.Refresh(t.Context()))
	require.Empty(t, w.new())
	v["$secret://c"], v["$secret://k"] = c.expired["cert"].(string), c.expired["key"].(string)
	require.NoError(t, w.h.Refresh(t.Context()))
	require.Equal(t, []string{"ssls 1: " + ended}, w.new())
	require.NoError(t, w.h.Refresh(t.Context()))
	require.Empty(t, w.new())
}

// Whatever a document has a private key for, no warning repeats it.
func TestWarningsHaveNoKey(t *testing.T) {
	c := newCases(t)
	w := newWarned(t, adminapi.Options{})
	key := c.open["key"].(string)
	for strings.Contains(key, "//") { // which no path of a route has
		c = newCases(t)
		key = c.open["key"].(string)
	}
	doc := with(c.closed, "client", map[string]any{"ca": c.closed["client"].(map[string]any)["ca"], key: 1, "x\nlevel=WARN y": 1})
	body := w.do(201, "PUT", "/ssls/1", encode(t, doc))
	whole := w.configs("1", map[string]any{"ssls": list{with(doc, "desc", "x")}})
	path := with(with(c.route, "uri", "/"+key+"/:id"), "id", "1") // which is told of, with the path
	w.load(map[string]any{"ssls": list{with(doc, "id", "2")}, "routes": list{path}})
	require.Contains(t, body+whole, "is not known and has no effect")
	require.NotEmpty(t, w.new())
	require.Empty(t, leak(body+whole+w.logs.String(), []byte(key)))
	require.NotContains(t, w.logs.String(), "\nlevel=WARN y")
}

// What was told of a document is forgotten with it, also where nobody has a logger.
func TestWarningsAreForgotten(t *testing.T) {
	c := newCases(t)
	s := newShared()
	gw := must(gateway.New(nil))
	t.Cleanup(func() { _ = gw.Close() })
	h, err := adminapi.New(t.Context(), gw, &adminapi.Options{Storage: s, AllowUnauthenticated: true})
	require.NoError(t, err)
	t.Cleanup(h.Close)
	status, body := ask(h, "PUT", "http://localhost/apisix/admin/ssls/1", encode(t, with(c.expired, "id", "1")))
	require.Equal(t, 201, status, body)
	s.settle()
	require.Equal(t, 1, adminapi.Told(h))
	s.remove(t, "/ssls/1") // as a lease that ends does
	s.settle()
	require.Zero(t, adminapi.Told(h))
}
