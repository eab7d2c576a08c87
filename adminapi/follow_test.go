package adminapi_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/adminapi/storagetest"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// A shared is a memory that tells its changes.
type shared struct {
	memory adminapi.Memory

	mu       sync.Mutex // guards what follows
	changed  *sync.Cond
	history  []adminapi.Update
	watchers map[*int]bool // how much of the history each has been told
	held     bool          // nothing is told
}

func newShared() *shared {
	s := &shared{watchers: map[*int]bool{}}
	s.changed = sync.NewCond(&s.mu)
	return s
}

func (s *shared) Load(ctx context.Context) ([]adminapi.Record, error) { return s.memory.Load(ctx) }

func (s *shared) Commit(ctx context.Context, writes ...adminapi.Write) ([]adminapi.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	records, err := s.memory.Commit(ctx, writes...)
	if err != nil {
		return nil, err
	}
	// A Memory does not say at which revision it deleted: each Commit has one more.
	revision := int64(1)
	for _, u := range s.history {
		revision = max(revision, u.Revision+1)
	}
	u := adminapi.Update{Revision: revision}
	for i := range records {
		records[i].Modified = revision
		if writes[i].Delete {
			u.Deleted = append(u.Deleted, records[i])
		} else {
			u.Records = append(u.Records, records[i])
		}
	}
	s.tellLocked(u)
	return records, nil
}

// tell makes an update that nobody has written.
func (s *shared) tell(u adminapi.Update) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tellLocked(u)
}

func (s *shared) tellLocked(u adminapi.Update) {
	s.history = append(s.history, u)
	s.changed.Broadcast()
}

func (s *shared) hold(held bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = held
	s.changed.Broadcast()
}

// whole is all that there is, at the end of the history.
func (s *shared) whole() adminapi.Update {
	u := adminapi.Update{Whole: true}
	for _, h := range s.history {
		u.Revision = max(u.Revision, h.Revision)
	}
	u.Records, _ = s.memory.Load(context.Background())
	return u
}

func (s *shared) Watch(ctx context.Context, update func(adminapi.Update)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.changed.Broadcast()
	})()
	told := new(int)
	s.watchers[told] = true
	defer delete(s.watchers, told)
	next := s.whole()
	told0 := len(s.history)
	for {
		s.mu.Unlock()
		update(next)
		s.mu.Lock()
		*told = told0
		s.changed.Broadcast()
		for ctx.Err() == nil && (s.held || *told == len(s.history)) {
			s.changed.Wait()
		}
		if ctx.Err() != nil {
			return
		}
		next, told0 = s.history[*told], *told+1
	}
}

// settle waits until everybody has taken everything.
func (s *shared) settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for slices.ContainsFunc(keysOf(s.watchers), func(told *int) bool { return *told < len(s.history) }) {
		s.changed.Wait()
	}
}

func keysOf[K comparable, V any](m map[K]V) (keys []K) {
	for k := range m {
		keys = append(keys, k)
	}
	return keys
}

// write stores as somebody else does.
func (s *shared) write(t *testing.T, key, value string) int64 {
	records, err := s.Commit(t.Context(), adminapi.Write{Key: key, Value: []byte(value), Prev: adminapi.AnyRevision})
	require.NoError(t, err)
	s.settle()
	return records[0].Modified
}

func (s *shared) remove(t *testing.T, key string) {
	_, err := s.Commit(t.Context(), adminapi.Write{Key: key, Delete: true, Prev: adminapi.AnyRevision})
	require.NoError(t, err)
	s.settle()
}

func TestShared(t *testing.T) {
	storagetest.RunShared(t, func(*testing.T) adminapi.SharedStorage { return newShared() })
}

// A member is one gateway of a fleet.
type member struct {
	gw   *gateway.Server
	h    *adminapi.Handler
	logs *buffer
}

func join(t *testing.T, s adminapi.Storage) *member {
	m := &member{logs: &buffer{}}
	m.gw = must(gateway.New(nil))
	var err error
	m.h, err = adminapi.New(t.Context(), m.gw, &adminapi.Options{AllowUnauthenticated: true, Storage: s, Logger: slog.New(slog.NewTextHandler(m.logs, nil))})
	require.NoError(t, err)
	t.Cleanup(func() { m.h.Close(); m.gw.Close() })
	return m
}

func (m *member) do(method, path, body string) (int, string) {
	return ask(m.h, method, "http://localhost/apisix/admin"+path, body)
}

func (m *member) get(path string) string {
	_, body := ask(m.gw, "GET", "http://a.test"+path, "")
	return body
}

// What is written through one gateway is in force there when it is answered, and on all
// others as soon as they are told.
func TestFleet(t *testing.T) {
	w := newWorld(t, setup{})
	s := newShared()
	a, b := join(t, s), join(t, s)
	route := encode(t, w.routeDoc("/1", 1))
	status, body := a.do("PUT", "/routes/1", route)
	require.Equal(t, 201, status, body)
	require.Equal(t, "origin 1: GET /1", a.get("/1"))
	s.settle()
	require.Equal(t, "origin 1: GET /1", b.get("/1"))
	_, inA := a.do("GET", "/routes/1", "")
	_, inB := b.do("GET", "/routes/1", "")
	require.Equal(t, inA, inB)

	status, _ = b.do("PUT", "/routes/1", encode(t, w.routeDoc("/2", 2)))
	require.Equal(t, 200, status)
	status, body = b.do("POST", "/routes", route)
	require.Equal(t, 201, status, body)
	s.settle()
	require.Equal(t, "origin 2: GET /2", a.get("/2"))
	require.Equal(t, "origin 1: GET /1", a.get("/1"))
	status, _ = a.do("DELETE", "/routes/1", "")
	require.Equal(t, 200, status)
	require.NotContains(t, a.get("/2"), "origin")
	s.settle()
	require.NotContains(t, b.get("/2"), "origin")
	require.Contains(t, b.logs.String(), "configuration followed")

	// One who comes later has the same.
	c := join(t, s)
	require.Equal(t, "origin 1: GET /1", c.get("/1"))
	require.Equal(t, a.h.Status().Revision, c.h.Status().Revision)

	// A whole configuration too.
	require.NoError(t, a.h.Load(t.Context(), strings.NewReader(`{"routes":[`+route+`,`+encode(t, w.routeDoc("/3", 2))+`]}`)))
	require.Equal(t, "origin 2: GET /3", a.get("/3"))
	s.settle()
	require.Equal(t, "origin 2: GET /3", c.get("/3"))
}

// Who does not follow a storage any more writes nothing there, which would never be in force
// here and at once on all others.
func TestFleetLeft(t *testing.T) {
	s := newShared()
	ended := brief{s, make(chan struct{})}
	for want, leave := range map[string]func(m *member){
		"the Handler is closed": func(m *member) { m.h.Close() },
		"the watching has ended": func(m *member) {
			close(ended.end)
			require.Eventually(t, func() bool { return m.h.Status().Err != nil }, 5*time.Second, time.Millisecond)
			m.h.Close() // for which it is too late to be why
		},
	} {
		m := join(t, ended)
		require.NoError(t, m.h.Status().Err)
		leave(m)
		require.EqualError(t, m.h.Status().Err, want)
		require.NotZero(t, m.h.Status().Since)
		for _, change := range []string{"PUT /upstreams/1", "POST /upstreams"} {
			method, path, _ := strings.Cut(change, " ")
			status, body := m.do(method, path, `{"nodes":{}}`)
			require.Equal(t, 503, status, change)
			require.Contains(t, body, "nothing was stored: "+want, change)
		}
		require.ErrorContains(t, m.h.Load(t.Context(), strings.NewReader(`{"upstreams":[{"nodes":{}}]}`)), "nothing was stored: "+want)
		require.Empty(t, must(s.Load(t.Context())))
		if strings.HasSuffix(want, "closed") {
			require.NotContains(t, m.logs.String(), "cannot be followed", "it was wanted")
		}
	}
}

// A slow storage takes its time to store.
type slow struct {
	*shared
	begun, end chan struct{}
}

func (s slow) Commit(ctx context.Context, writes ...adminapi.Write) ([]adminapi.Record, error) {
	close(s.begun)
	<-s.end
	return s.shared.Commit(ctx, writes...)
}

// What is about to be stored when the Handler is closed is stored when that has returned.
func TestCloseWaitsForWrite(t *testing.T) {
	s := slow{newShared(), make(chan struct{}), make(chan struct{})}
	m := join(t, s)
	answered := make(chan int)
	go func() {
		status, _ := m.do("PUT", "/upstreams/1", `{"nodes":{}}`)
		answered <- status
	}()
	<-s.begun
	closed := make(chan int, 1)
	go func() {
		m.h.Close()
		closed <- len(must(s.Load(t.Context())))
	}()
	require.Eventually(t, func() bool { return m.h.Status().Err != nil }, 5*time.Second, time.Millisecond)
	for range 1000 {
		runtime.Gosched()
	}
	close(s.end)
	require.Equal(t, 1, <-closed, "documents that are stored")
	require.Equal(t, 503, <-answered, "it is in force nowhere here")
}

// Whoever has not seen the last change does not overwrite it.
func TestFleetConflict(t *testing.T) {
	w := newWorld(t, setup{})
	s := newShared()
	a, b := join(t, s), join(t, s)
	status, _ := a.do("PUT", "/routes/1", encode(t, w.routeDoc("/1", 1)))
	require.Equal(t, 201, status)
	s.settle()
	var wg sync.WaitGroup
	for round := range 20 {
		statuses := make([]int, 2)
		for i, m := range []*member{a, b} {
			wg.Go(func() {
				statuses[i], _ = m.do("PUT", "/routes/1", encode(t, w.routeDoc(fmt.Sprintf("/%d/%d", round, i), 1)))
			})
		}
		wg.Wait()
		s.settle()
		require.Contains(t, [][]int{{200, 503}, {503, 200}, {200, 200}}, statuses, "two if the second was told in time")
		require.Equal(t, running(t, a.gw), running(t, b.gw))
	}
}

// A PUT waits until it is told, and gives up in time.
func TestFleetWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared()
		m := join(t, s)
		defer m.h.Close()
		defer m.gw.Close()
		s.hold(true)
		answers := make(chan string, 1)
		put := func(id string) {
			_, body := m.do("PUT", "/upstreams/"+id, `{"nodes":{}}`)
			answers <- body
		}
		go put("1")
		time.Sleep(time.Second)
		require.Empty(t, answers, "it is stored, and not in force")
		_, body := m.do("GET", "/upstreams/1", "")
		require.Contains(t, body, "Key not found")
		s.hold(false)
		require.Contains(t, <-answers, `"key":"/apisix/upstreams/1"`)
		_, body = m.do("GET", "/upstreams/1", "")
		require.Contains(t, body, `"modifiedIndex":1`)

		s.hold(true)
		put("2")
		require.Contains(t, <-answers, "stored at revision 2, and not in force here yet")
		s.hold(false)
		s.settle()
		_, body = m.do("GET", "/upstreams/2", "")
		require.Contains(t, body, `"modifiedIndex":2`)
	})
}

// What others store is kept out where it is wrong, and is told; the last good version stays.
func TestFollowKeepsOut(t *testing.T) {
	w := newWorld(t, setup{})
	s := newShared()
	good := encode(t, w.routeDoc("/1", 1))
	s.write(t, "/routes/1", good)
	s.write(t, "/ssls/1", encode(t, w.sslDoc(w.pair)))
	m := join(t, s)
	require.Equal(t, adminapi.Status{Revision: 2}, m.h.Status())

	mismatch := w.sslDoc(w.pair)
	mismatch["key"] = string([]byte(w.pair2.KeyPEM))
	bad := []string{"", "init_dir", "{", "[]", "1", `{"uri":1}`, `{"uri":"/","plugins":{"limit-count":{}}}`, strings.Repeat("[", 2000)}
	for _, value := range bad {
		revision := s.write(t, "/routes/1", value)
		s.write(t, "/routes/2", value)
		status := m.h.Status()
		require.Len(t, status.Rejected, 2, value)
		require.Equal(t, adminapi.Rejected{Key: "/routes/1", Revision: revision, Err: status.Rejected[0].Err, LastGood: true}, status.Rejected[0])
		require.False(t, status.Rejected[1].LastGood)
		require.Error(t, status.Rejected[1].Err)
		require.Equal(t, "origin 1: GET /1", m.get("/1"), value)
	}
	require.Contains(t, m.logs.String(), "stored document is kept out")

	// Beside others that are good, which are taken.
	_, err := s.Commit(t.Context(),
		adminapi.Write{Key: "/ssls/1", Value: []byte(encode(t, mismatch)), Prev: adminapi.AnyRevision},
		adminapi.Write{Key: "/routes/3", Value: []byte(encode(t, w.routeDoc("/3", 2)))})
	require.NoError(t, err)
	s.settle()
	require.Equal(t, "origin 2: GET /3", m.get("/3"))
	require.NotContains(t, handshake(m.gw, "a.test"), "certificate required")
	require.Len(t, m.h.Status().Rejected, 3)
	require.Empty(t, leak(fmt.Sprint(m.h.Status())+m.logs.String(), w.pair.KeyPEM, w.pair2.KeyPEM))

	// They can be put in order here, and deleted.
	status, body := m.do("PUT", "/routes/1", encode(t, w.routeDoc("/1", 2)))
	require.Equal(t, 200, status, body)
	require.Equal(t, "origin 2: GET /1", m.get("/1"))
	status, _ = m.do("DELETE", "/routes/2", "")
	require.Equal(t, 200, status)
	status, _ = m.do("DELETE", "/routes/2", "")
	require.Equal(t, 404, status)
	require.Len(t, m.h.Status().Rejected, 1)
	s.remove(t, "/ssls/1")
	require.Contains(t, handshake(m.gw, "a.test"), "unrecognized")
	require.Empty(t, m.h.Status().Rejected)
}

// What is stored and cannot be used is there for If-Match and If-None-Match: it is somebody's,
// though no GET shows it.
func TestFollowPreconditions(t *testing.T) {
	w := newWorld(t, setup{})
	s := newShared()
	m := join(t, s)
	send := func(method, name, value string) int {
		r := httptest.NewRequest(method, "http://localhost/apisix/admin/routes/1", strings.NewReader(encode(t, w.routeDoc("/1", 1))))
		r.Header.Set(name, value)
		return serveOne(m.h, r).Code
	}
	require.Equal(t, 412, send("PUT", "If-Match", "*"))
	revision := s.write(t, "/routes/1", `{"uri":1}`)
	require.Equal(t, 412, send("PUT", "If-None-Match", "*"))
	require.Equal(t, 412, send("PUT", "If-Match", fmt.Sprint(revision+1)))
	require.Equal(t, 412, send("DELETE", "If-Match", fmt.Sprint(revision+1)))
	require.Len(t, m.h.Status().Rejected, 1)
	require.Equal(t, 404, send("PATCH", "If-Match", fmt.Sprint(revision)))
	require.Equal(t, 200, send("DELETE", "If-Match", fmt.Sprintf("%q", fmt.Sprint(revision))))
	revision = s.write(t, "/routes/1", `{"uri":1}`)
	require.Equal(t, 201, send("PUT", "If-Match", fmt.Sprintf("W/%q", fmt.Sprint(revision))))
	require.Equal(t, 412, send("PUT", "If-None-Match", "*"))
	require.Equal(t, 200, send("PUT", "If-Match", "*"))
}

// An ssl object that never was good refuses its names, so that no wildcard answers for them
// without asking for a certificate.
func TestFollowRefusesNames(t *testing.T) {
	w := newWorld(t, setup{})
	s := newShared()
	wild := w.sslDoc(w.pair)
	wild["sni"] = "*.a.test"
	s.write(t, "/ssls/wild", encode(t, wild))
	bad := w.sslDoc(w.pair)
	delete(bad, "sni")
	bad["snis"] = list{"mtls.a.test", "b ad", 1, "*.b.test"}
	bad["client"] = map[string]any{"ca": "no certificate"}
	before := join(t, s)
	require.NotContains(t, handshake(before.gw, "mtls.a.test"), "asked true")
	s.write(t, "/ssls/bad", encode(t, bad))
	for _, m := range []*member{before, join(t, s)} {
		for _, name := range []string{"mtls.a.test", "x.b.test"} {
			require.Contains(t, handshake(m.gw, name), "asked true", name)
		}
		require.NotContains(t, handshake(m.gw, "other.a.test"), "asked true")
		l := listen(t)
		go serve(t, m.gw.ServeTLS, l)
		addr := l.Addr().String()
		require.ErrorContains(t, alert(t, addr, ssltest.ClientConfig("mtls.a.test")), "certificate required")
		require.ErrorContains(t, alert(t, addr, ssltest.ClientConfig("mtls.a.test", w.people.Client("alice"))), "bad certificate")
		require.NoError(t, alert(t, addr, ssltest.ClientConfig("other.a.test")))
		require.Contains(t, handshake(m.gw, "y.test"), "unrecognized")
		require.Len(t, m.h.Status().Rejected, 1)
		_, explained := m.do("POST", "/explain", `{"url":"https://mtls.a.test/"}`)
		require.Contains(t, explained, "the stored document cannot be used: every handshake is refused")
		status, _ := ask(m.gw, "GET", "http://mtls.a.test/", "")
		require.Contains(t, []int{403, 404}, status)
		_, body := m.do("GET", "/ssls", "")
		require.Contains(t, body, `"total":1`)
	}
	m := before
	s.write(t, "/ssls/bad", "{")
	require.Contains(t, handshake(m.gw, "mtls.a.test"), "asked true", "its names are not known any more")
	good := w.sslDoc(w.pair)
	good["sni"] = "mtls.a.test"
	s.write(t, "/ssls/bad", encode(t, good))
	require.NotContains(t, handshake(m.gw, "mtls.a.test"), "asked true")
	require.Contains(t, handshake(m.gw, "x.b.test"), "unrecognized")
	s.write(t, "/ssls/bad", encode(t, bad))
	require.NotContains(t, handshake(m.gw, "mtls.a.test"), "asked true", "the last good version")

	s.write(t, "/ssls/bad2", encode(t, bad))
	require.Contains(t, handshake(m.gw, "x.b.test"), "asked true")
	s.remove(t, "/ssls/bad2")
	require.Contains(t, handshake(m.gw, "x.b.test"), "unrecognized")

	for name, value := range map[string]any{"status": 0, "type": "client"} {
		bad := maps.Clone(bad)
		s.write(t, "/ssls/bad2", encode(t, bad))
		require.Contains(t, handshake(m.gw, "x.b.test"), "asked true")
		bad[name] = value
		s.write(t, "/ssls/bad2", encode(t, bad))
		require.Contains(t, handshake(m.gw, "x.b.test"), "unrecognized", "it is for no name: %s", name)
		require.Len(t, m.h.Status().Rejected, 2)
	}
}

// A route that never was good answers 503, so that no other route answers for it: its
// plugin may have been to let few people in.
func TestFollowRefusesRequests(t *testing.T) {
	w := newWorld(t, setup{})
	s := newShared()
	s.write(t, "/routes/all", encode(t, w.routeDoc("/*", 1)))
	m := join(t, s)
	bad := func(change func(doc map[string]any)) string {
		doc := w.routeDoc("/admin/*", 2)
		doc["plugins"] = map[string]any{"key-auth": map[string]any{}}
		change(doc)
		return encode(t, doc)
	}
	refused := func(method, url string) bool {
		status, body := ask(m.gw, method, url, "")
		require.Equal(t, status == 503, strings.Contains(body, "cannot be used"), body)
		return status == 503
	}
	s.write(t, "/routes/bad", bad(func(doc map[string]any) { doc["methods"] = list{"GET"} }))
	require.True(t, refused("GET", "http://a.test/admin/x"))
	require.False(t, refused("POST", "http://a.test/admin/x"))
	require.False(t, refused("GET", "http://a.test/x"))
	require.False(t, m.h.Status().Rejected[0].LastGood)
	status, _ := m.do("GET", "/routes/bad", "")
	require.Equal(t, 404, status)
	require.Equal(t, "origin 1: GET /x", m.get("/x"))

	for name, change := range map[string]func(doc map[string]any){
		"with a function": func(doc map[string]any) { doc["filter_func"] = "function() end" },
		"off":             func(doc map[string]any) { doc["status"] = 0 },
		"with bad vars":   func(doc map[string]any) { doc["vars"] = list{"x"} },
	} {
		s.remove(t, "/routes/bad")
		s.write(t, "/routes/bad", bad(change))
		require.False(t, refused("GET", "http://a.test/admin/x"), "%s: it is not known for what it was", name)
	}
	s.write(t, "/routes/bad", bad(func(doc map[string]any) { doc["host"], doc["vars"] = "b.test", list{list{"arg_x", "==", "1"}} }))
	require.False(t, refused("GET", "http://a.test/admin/x?x=1"))
	require.False(t, refused("GET", "http://b.test/admin/x"))
	require.True(t, refused("GET", "http://b.test/admin/x?x=1"))
	s.write(t, "/routes/bad", bad(func(doc map[string]any) { doc["status"] = 0 }))
	require.False(t, refused("GET", "http://b.test/admin/x?x=1"), "it is switched off")
	require.Len(t, m.h.Status().Rejected, 1)
	s.write(t, "/routes/bad", encode(t, w.routeDoc("/admin/*", 2)))
	require.Equal(t, "origin 2: GET /admin/x", m.get("/admin/x"))
	require.Empty(t, m.h.Status().Rejected)
	s.write(t, "/routes/bad", bad(func(map[string]any) {}))
	require.Equal(t, "origin 2: GET /admin/x", m.get("/admin/x"), "the last good version")
	s.remove(t, "/routes/bad")
	s.write(t, "/routes/bad", bad(func(map[string]any) {}))
	require.True(t, refused("GET", "http://a.test/admin/x"))
	s.remove(t, "/routes/bad")
	require.Equal(t, "origin 1: GET /admin/x", m.get("/admin/x"))
}

// So does a route that has its hosts from a service, wherever that has them now, and so do the
// routes of a service that cannot be used: at its hosts, and at no other.
func TestFollowRefusesRequestsOfServices(t *testing.T) {
	w := newWorld(t, setup{})
	s := newShared()
	s.write(t, "/routes/all", encode(t, w.routeDoc("/*", 1)))
	s.write(t, "/services/good", `{"hosts":["a.test"]}`)
	bad := w.routeDoc("/admin/*", 2)
	bad["service_id"], bad["plugins"] = "good", map[string]any{"key-auth": map[string]any{}}
	s.write(t, "/routes/bad", encode(t, bad))
	good := w.routeDoc("/of/service/*", 2)
	good["service_id"] = "bad"
	s.write(t, "/routes/good", encode(t, good))
	s.write(t, "/services/bad", `{"hosts":["a.test"],"plugins":{"ip-restriction":{}}}`)
	m := join(t, s)
	want := func(path, atA, atB string) {
		t.Helper()
		for host, want := range map[string]string{"a.test": atA, "b.test": atB} {
			_, body := ask(m.gw, "GET", "http://"+host+path, "")
			require.Contains(t, body, want, host)
		}
	}
	const noRoute, noService = "the stored route for this request cannot be used", "the stored service of the route cannot be used"
	want("/admin/x", noRoute, "origin 1")
	want("/of/service/x", noService, "origin 1")
	require.Len(t, m.h.Status().Rejected, 2)

	s.write(t, "/services/good", `{"hosts":["b.test"]}`)
	s.write(t, "/services/bad", `{"hosts":["b.test"],"plugins":{"ip-restriction":{}}}`)
	want("/admin/x", "origin 1", noRoute)
	want("/of/service/x", "origin 1", noService)
	s.write(t, "/services/bad", `{`)
	want("/of/service/x", "origin 1", noService)
	s.write(t, "/services/bad", `{"hosts":["b.test"]}`)
	want("/of/service/x", "origin 1", "origin 2")
	s.write(t, "/services/good", `{"hosts":["b.test"],"plugins":{"ip-restriction":{}}}`)
	want("/admin/x", "origin 1", noRoute)
	s.remove(t, "/services/good")
	want("/admin/x", noRoute, noRoute) // as a route without its service answers at every host
	s.remove(t, "/routes/bad")
	want("/admin/x", "origin 1", "origin 1")
	require.Empty(t, m.h.Status().Rejected)
}

// What a global rule was to do to every request is not done, and that is told.
func TestFollowTellsOfGlobalRules(t *testing.T) {
	w := newWorld(t, setup{})
	s := newShared()
	s.write(t, "/routes/1", encode(t, w.routeDoc("/1", 1)))
	s.write(t, "/global_rules/1", `{"plugins":{"key-auth":{}}}`)
	s.write(t, "/routes/bad", `{`)
	s.write(t, "/consumers/jack", `{"username":"jack"}`)
	m := join(t, s)
	rejected := func() (keys []string) {
		for _, r := range m.h.Status().Rejected {
			keys = append(keys, r.Key)
		}
		return keys
	}
	require.Equal(t, []string{"/global_rules/1", "/routes/bad"}, rejected())
	r := m.h.Status().Rejected[0]
	require.EqualValues(t, 2, r.Revision)
	require.ErrorContains(t, r.Err, "its plugins do nothing")
	require.False(t, r.LastGood)
	require.Contains(t, m.logs.String(), `key=/global_rules/1`)
	require.Equal(t, "origin 1: GET /1", m.get("/1"))

	s.write(t, "/global_rules/2", `{"plugins":{"prometheus":{}}}`)
	require.Equal(t, []string{"/global_rules/1", "/global_rules/2", "/routes/bad"}, rejected())
	s.remove(t, "/global_rules/1")
	require.Equal(t, []string{"/global_rules/2", "/routes/bad"}, rejected())
	require.Equal(t, 1, strings.Count(m.logs.String(), `key=/global_rules/2`))

	// A whole configuration replaces what there can be here.
	require.NoError(t, m.h.Load(t.Context(), strings.NewReader(`{}`)))
	require.Equal(t, []string{"/global_rules/2"}, rejected())
	u := s.whole()
	u.Records = nil
	s.tell(u)
	s.settle()
	require.Empty(t, rejected())
}

// What is wrong with what was written here, its writer is told, and nobody else, whatever
// comes along with it.
func TestFollowWarnsOnce(t *testing.T) {
	s := newShared()
	m := join(t, s)
	s.hold(true)
	answered := make(chan string)
	go func() {
		_, body := m.do("PUT", "/upstreams/1", `{"scheme":"https","nodes":{}}`)
		answered <- body
	}()
	require.Eventually(t, func() bool { return len(must(s.Load(t.Context()))) > 0 }, 5*time.Second, time.Millisecond)
	s.mu.Lock()
	u := &s.history[len(s.history)-1]
	u.Records = append(u.Records, adminapi.Record{Key: "/global_rules/1", Value: []byte("{}"), Created: u.Revision, Modified: u.Revision})
	s.mu.Unlock()
	s.hold(false)
	require.Contains(t, <-answered, `"warnings":["tls.verify: `)
	require.Len(t, m.h.Status().Rejected, 1)
	require.NotContains(t, m.logs.String(), "tls.verify: ")
}

// A service is not wrong for a route that cannot be used: that refuses where it did.
func TestFollowServiceOfUnusable(t *testing.T) {
	s := newShared()
	bad := map[string]any{"service_id": "1", "plugins": map[string]any{"key-auth": map[string]any{}}}
	paths, hosts := make([]string, 1000), make([]string, 101)
	for i := range paths {
		paths[i] = fmt.Sprintf("/%d", i)
	}
	for i := range hosts {
		hosts[i] = fmt.Sprintf("h%d.test", i)
	}
	bad["uris"] = paths
	s.write(t, "/services/1", `{"hosts":["a.test"]}`)
	s.write(t, "/routes/bad", encode(t, bad))
	m := join(t, s)
	status, body := m.do("PUT", "/services/1", encode(t, map[string]any{"hosts": hosts}))
	require.Equal(t, 200, status, body)
	require.Len(t, m.h.Status().Rejected, 1)
	require.Contains(t, m.get("/1"), "the stored route for this request cannot be used")
}

// While the storage is out of reach everything goes on, and it is told; then it catches up,
// also where not each change is told.
func TestFollowOutOfReach(t *testing.T) {
	w := newWorld(t, setup{})
	s := newShared()
	s.write(t, "/routes/1", encode(t, w.routeDoc("/1", 1)))
	s.write(t, "/routes/2", encode(t, w.routeDoc("/2", 1)))
	s.write(t, "/routes/bad", "{")
	s.write(t, "/configs", `{"digest":"x","modified":1,"versions":{"routes":5}}`)
	m := join(t, s)
	for range 3 {
		s.tell(adminapi.Update{Err: errors.New("no leader")})
	}
	s.settle()
	require.Equal(t, "origin 1: GET /1", m.get("/1"))
	status := m.h.Status()
	require.EqualError(t, status.Err, "no leader")
	require.False(t, status.Since.IsZero())
	require.EqualValues(t, 4, status.Revision)
	require.Equal(t, 1, strings.Count(m.logs.String(), "cannot be followed"), "told once")

	_, err := s.memory.Commit(t.Context(), adminapi.Write{Key: "/routes/1", Delete: true, Prev: adminapi.AnyRevision},
		adminapi.Write{Key: "/routes/bad", Delete: true, Prev: adminapi.AnyRevision},
		adminapi.Write{Key: "/configs", Delete: true, Prev: adminapi.AnyRevision},
		adminapi.Write{Key: "/routes/2", Value: []byte(encode(t, w.routeDoc("/2", 2))), Prev: adminapi.AnyRevision},
		adminapi.Write{Key: "/routes/3", Value: []byte(encode(t, w.routeDoc("/3", 1)))})
	require.NoError(t, err)
	u := s.whole()
	u.Revision = 9
	s.tell(u)
	s.settle()
	require.Equal(t, adminapi.Status{Revision: 9}, m.h.Status())
	require.Contains(t, m.logs.String(), "followed again")
	require.NotContains(t, m.get("/1"), "origin")
	require.Equal(t, "origin 2: GET /2", m.get("/2"))
	require.Equal(t, "origin 1: GET /3", m.get("/3"))

	// What is older overwrites nothing.
	old := record("/routes/3", encode(t, w.routeDoc("/3", 2)), 1, 2)
	s.tell(adminapi.Update{Revision: 10, Records: []adminapi.Record{old}, Deleted: []adminapi.Record{{Key: "/routes/2", Modified: 3}}})
	s.tell(adminapi.Update{Revision: 7, Whole: true})
	s.settle()
	require.Equal(t, "origin 1: GET /3", m.get("/3"))
	require.Equal(t, "origin 2: GET /2", m.get("/2"))
	require.ErrorContains(t, m.h.Status().Err, "the storage is at revision 7, and 10 is in force")
}

// A storage that was restored from a copy comes back to the revision that is in force, and
// goes beyond it, with changes that were never told: what it tells from then on is no
// continuation. Only everything that there is may be taken again, also what is older than
// what was lost.
func TestFollowRestored(t *testing.T) {
	w := newWorld(t, setup{})
	route := func(path string, origin int) string { return encode(t, w.routeDoc(path, origin)) }
	s := newShared()
	s.write(t, "/routes/1", route("/1", 1))
	s.write(t, "/routes/2", route("/2", 1))
	s.write(t, "/configs", `{"digest":"lost","modified":1}`)
	s.write(t, "/routes/1", route("/1", 2))
	m := join(t, s)
	require.EqualValues(t, 4, m.h.Status().Revision)

	inForce := func() {
		t.Helper()
		s.settle()
		require.Equal(t, "origin 2: GET /1", m.get("/1"))
		require.NotContains(t, m.get("/3"), "origin")
		require.ErrorContains(t, m.h.Status().Err, "the storage is at revision 2, and 4 is in force: if it was restored from a copy, start again")
		require.EqualValues(t, 4, m.h.Status().Revision)
	}
	s.tell(adminapi.Update{Revision: 2, Whole: true, Records: []adminapi.Record{record("/routes/1", route("/1", 1), 1, 1)}})
	inForce()
	// Revision 3 deletes route 2, and nobody hears of it.
	s.tell(adminapi.Update{Revision: 4})
	inForce()
	s.tell(adminapi.Update{Revision: 5, Records: []adminapi.Record{record("/routes/3", route("/3", 1), 5, 5)}})
	inForce()
	s.tell(adminapi.Update{Err: errors.New("no leader")})
	s.tell(adminapi.Update{Revision: 6})
	inForce()

	s.tell(adminapi.Update{Revision: 7, Whole: true, Records: []adminapi.Record{
		record("/routes/1", route("/1", 1), 1, 1), record("/routes/3", route("/3", 1), 5, 5), record("/configs", `{"digest":"kept","modified":1}`, 2, 2),
	}})
	s.settle()
	require.Equal(t, adminapi.Status{Revision: 7}, m.h.Status())
	require.Equal(t, "origin 1: GET /1", m.get("/1"))
	require.NotContains(t, m.get("/2"), "origin")
	require.Equal(t, "origin 1: GET /3", m.get("/3"))
	s.tell(adminapi.Update{Revision: 8, Deleted: []adminapi.Record{{Key: "/routes/3", Modified: 8}}})
	s.settle()
	require.NotContains(t, m.get("/3"), "origin")
	require.Equal(t, adminapi.Status{Revision: 8}, m.h.Status())
}

// A fault of ours costs the document that has found it, and no more: all gateways of a
// fleet have the same documents.
func TestFollowPanic(t *testing.T) {
	w := newWorld(t, setup{})
	s := newShared()
	bad := w.sslDoc(w.pair)
	bad["key"] = "$secret://vault/1/key"
	_, err := s.Commit(t.Context(), adminapi.Write{Key: "/ssls/bad", Value: []byte(encode(t, bad))}, adminapi.Write{Key: "/routes/1", Value: []byte(encode(t, w.routeDoc("/1", 1)))})
	require.NoError(t, err)
	gw := must(gateway.New(nil))
	defer gw.Close()
	h, err := adminapi.New(t.Context(), gw, &adminapi.Options{AllowUnauthenticated: true, Storage: s, Secrets: panicking{}})
	require.NoError(t, err)
	defer h.Close()
	status, _ := (&member{gw: gw, h: h}).do("GET", "/routes/1", "")
	require.Equal(t, 200, status)
	require.Contains(t, handshake(gw, "a.test"), "asked true")
	require.Len(t, h.Status().Rejected, 1)
	require.EqualError(t, h.Status().Rejected[0].Err, "internal error")
}

type panicking struct{}

func (panicking) ResolveSecret(context.Context, string) (string, error) { panic("a fault") }

// A brokenHandler panics at whatever is to be logged.
type brokenHandler struct{ slog.Handler }

func (brokenHandler) Enabled(context.Context, slog.Level) bool { return true }

// A logger that panics costs the record: what is told is taken, kept out or gone as ever, and
// what waits for it is answered.
func TestLoggerPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared()
		x := newTimed(t, s)
		defer x.close()
		x.handler.Close()
		x.handler = must(adminapi.New(t.Context(), x.gw, &adminapi.Options{AllowUnauthenticated: true, Storage: s, Logger: slog.New(brokenHandler{})}))
		status, body := x.do("PUT", "/routes/1", fmt.Sprintf(toNobody, 1))
		require.Equal(t, 201, status, body)
		s.write(t, "/routes/2", fmt.Sprintf(toNobody, 2))
		s.write(t, "/routes/3", "{")
		require.Equal(t, 503, x.route("/2"))
		require.Len(t, x.handler.Status().Rejected, 1)
		s.tell(adminapi.Update{Err: errFailing})
		synctest.Wait()
		require.ErrorIs(t, x.handler.Status().Err, errFailing)
		s.remove(t, "/routes/2")
		require.NoError(t, x.handler.Status().Err)
		require.Equal(t, 404, x.route("/2"))
		status, body = x.do("DELETE", "/routes/1", "")
		require.Equal(t, 200, status, body)
	})
	synctest.Test(t, func(t *testing.T) {
		x := newTimed(t, &adminapi.Memory{})
		defer x.close()
		x.handler.Close()
		x.handler = must(adminapi.New(t.Context(), x.gw, &adminapi.Options{AllowUnauthenticated: true, Logger: slog.New(brokenHandler{})}))
		for range 2 {
			status, body := x.do("PUT", "/routes/1?ttl=10", fmt.Sprintf(toNobody, 1))
			require.Equal(t, 201, status, body)
			sleep(20 * time.Second)
			require.Equal(t, 404, x.route("/1"))
		}
	})
}

// A Storage that panics is one that fails: the process goes on with what is in force.
func TestStoragePanics(t *testing.T) {
	fails := func(s adminapi.Storage) error {
		_, err := adminapi.New(t.Context(), must(gateway.New(nil)), &adminapi.Options{Headless: true, Storage: s})
		return err
	}
	require.EqualError(t, fails(&faulty{load: true}), "adminapi: storage: Load panicked: a fault")
	require.EqualError(t, fails(deaf{newShared(), func(func(adminapi.Update)) { panic("a fault") }}), "adminapi: storage: Watch panicked: a fault")

	// In the middle of its work, and where a document goes out by itself.
	synctest.Test(t, func(t *testing.T) {
		fault := make(chan struct{})
		x := newTimed(t, deaf{newShared(), func(update func(adminapi.Update)) {
			update(adminapi.Update{Revision: 1, Whole: true, Records: []adminapi.Record{{Key: "/routes/1", Value: []byte(fmt.Sprintf(toNobody, 1)), Created: 1, Modified: 1}}})
			<-fault
			panic("a fault")
		}})
		defer x.close()
		synctest.Wait()
		require.NoError(t, x.handler.Status().Err)
		close(fault)
		synctest.Wait()
		require.EqualError(t, x.handler.Status().Err, "Watch panicked: a fault")
		require.Equal(t, 503, x.route("/1"))
	})
	synctest.Test(t, func(t *testing.T) {
		memory := &faulty{}
		x := newTimed(t, memory)
		defer x.close()
		status, body := x.do("PUT", "/routes/1?ttl=10", fmt.Sprintf(toNobody, 1))
		require.Equal(t, 201, status, body)
		panics := func() ([]adminapi.Record, error) { panic("a fault") }
		memory.commit.Store(&panics)
		status, body = x.do("PUT", "/routes/2", fmt.Sprintf(toNobody, 2))
		require.Equal(t, 503, status, body)
		require.Contains(t, body, "Commit panicked: a fault")
		sleep(20 * time.Second)
		require.Equal(t, 503, x.route("/1"), "what is stored and what runs stay one")
		forgets := func() ([]adminapi.Record, error) { return nil, nil }
		memory.commit.Store(&forgets)
		status, body = x.do("PUT", "/routes/2", fmt.Sprintf(toNobody, 2))
		require.Equal(t, 503, status, body)
		require.Contains(t, body, "Commit returned 0 records for 1 writes")
		sleep(20 * time.Second)
		memory.commit.Store(nil)
		sleep(2 * time.Second)
		require.Equal(t, 404, x.route("/1"))
	})
}

// A faulty memory panics.
type faulty struct {
	adminapi.Memory
	load   bool
	commit atomic.Pointer[func() ([]adminapi.Record, error)] // in place of Commit, if not nil
}

func (f *faulty) Load(ctx context.Context) ([]adminapi.Record, error) {
	if f.load {
		panic("a fault")
	}
	return f.Memory.Load(ctx)
}

func (f *faulty) Commit(ctx context.Context, writes ...adminapi.Write) ([]adminapi.Record, error) {
	if commit := f.commit.Load(); commit != nil {
		return (*commit)()
	}
	return f.Memory.Commit(ctx, writes...)
}

// A Handler that cannot follow at first does not start.
func TestFollowFails(t *testing.T) {
	for want, watch := range map[string]func(func(adminapi.Update)){
		errFailing.Error():       func(update func(adminapi.Update)) { update(adminapi.Update{Err: errFailing}) },
		"the watching has ended": func(func(adminapi.Update)) {},
	} {
		_, err := adminapi.New(t.Context(), must(gateway.New(nil)), &adminapi.Options{Headless: true, Storage: deaf{watch: watch}})
		require.ErrorContains(t, err, "adminapi: storage: "+want)
	}
}

// A storage that reports no more, for no reason that it gives, has lost touch.
func TestWatchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := brief{newShared(), make(chan struct{})}
		h, err := adminapi.New(t.Context(), must(gateway.New(nil)), &adminapi.Options{Headless: true, Storage: s})
		require.NoError(t, err)
		defer h.Close()
		synctest.Wait()
		require.NoError(t, h.Status().Err)
		close(s.end)
		synctest.Wait()
		require.ErrorContains(t, h.Status().Err, "the watching has ended")
	})
}

// A brief storage reports until its end.
type brief struct {
	*shared
	end chan struct{}
}

func (b brief) Watch(ctx context.Context, update func(adminapi.Update)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		<-b.end
		cancel()
	}()
	b.shared.Watch(ctx, update)
}

type deaf struct {
	adminapi.Storage
	watch func(func(adminapi.Update))
}

func (d deaf) Watch(_ context.Context, update func(adminapi.Update)) { d.watch(update) }

// Everything at once, for the race detector: and at the end all have the same.
func TestFleetAtOnce(t *testing.T) {
	w := newWorld(t, setup{})
	s := newShared()
	members := []*member{join(t, s), join(t, s), join(t, s)}
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			m := members[i%len(members)]
			for n := range 10 {
				path := fmt.Sprintf("/routes/%d", i)
				if n%4 == 3 {
					m.do("DELETE", path, "")
					continue
				}
				status, body := m.do("PUT", path, encode(t, w.routeDoc(fmt.Sprintf("/%d/%d", i, n), 1)))
				if status != http.StatusOK && status != http.StatusCreated {
					t.Error(status, body)
				}
				if got := m.get(fmt.Sprintf("/%d/%d", i, n)); !strings.HasPrefix(got, "origin 1") {
					t.Error("after its PUT:", got)
				}
			}
		})
	}
	wg.Wait()
	s.settle()
	for _, m := range members {
		require.Equal(t, running(t, members[0].gw), running(t, m.gw))
		require.Equal(t, members[0].h.Status(), m.h.Status())
	}
}

// FuzzFollow stores anything under any key. Nothing panics, what is good stays, and a
// gateway that comes later has the same but for last good versions.
func FuzzFollow(f *testing.F) {
	f.Add("/routes/1", `{"uri":"/x","upstream":{"nodes":{}}}`, "/routes/1", "{")
	f.Add("/ssls/1", `{"sni":"*","cert":"","key":"","client":{"ca":1}}`, "/ssls/2", `{"snis":["a.test","b"],"status":1}`)
	f.Add("/services/1", `{"hosts":["a"]}`, "/routes/1", `{"uri":"/","service_id":1}`)
	f.Add("/upstreams/1", `{"nodes":{},"tls":{"client_cert_id":1}}`, "/ssls/1", `{"type":"client"}`)
	f.Add("/configs", `{"indexes":{"a":1}}`, "/routes/", "init_dir")
	f.Fuzz(func(t *testing.T, key1, value1, key2, value2 string) {
		s := newShared()
		m := join(t, s)
		s.write(t, "/routes/good", `{"uri":"/good","upstream":{"nodes":{}}}`)
		s.write(t, key1, value1)
		s.write(t, key2, value2)
		s.write(t, key1, value2)
		// An ssl object may refuse every name, and another route be the better one.
		if !strings.HasPrefix(key1+key2, "/routes/") && !strings.Contains(key1+key2, "/ssls/") && !strings.Contains(key2, "/routes/") {
			require.Contains(t, m.get("/good"), "upstream")
		}
		join(t, s)
		s.remove(t, key1)
		s.remove(t, key2)
		if key1 != "/routes/good" && key2 != "/routes/good" {
			_, body := m.do("GET", "/routes", "")
			require.Contains(t, body, `"total":1`)
		}
		require.Empty(t, m.h.Status().Rejected)
	})
}

// A whole configuration is all that is stored then: what was kept out goes, and what is to
// be as it is in force is stored so, though something else is stored now.
func TestWholeConfigurationReplacesWhatIsKeptOut(t *testing.T) {
	w := newWorld(t, setup{})
	route := encode(t, w.routeDoc("/1", 1))
	whole := `{"routes":[` + strings.Replace(route, "{", `{"id":"1",`, 1) + `]}`
	for name, put := range map[string]func(m *member) error{
		"Load": func(m *member) error { return m.h.Load(t.Context(), strings.NewReader(whole)) },
		"PUT": func(m *member) error {
			r := httptest.NewRequest("PUT", "http://localhost/apisix/admin/configs", strings.NewReader(whole))
			r.Header.Set("X-Digest", "same")
			if rec := serveOne(m.h, r); rec.Code != 202 {
				return fmt.Errorf("%d %s", rec.Code, rec.Body)
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShared()
			m := join(t, s)
			require.NoError(t, put(m))
			bad := w.routeDoc("/*", 2)
			bad["plugins"] = map[string]any{"key-auth": map[string]any{}}
			s.write(t, "/routes/1", encode(t, bad)) // the last good version is in force
			s.write(t, "/routes/2", encode(t, bad)) // and this never was good: it refuses
			s.write(t, "/upstreams/3", "{")
			require.Len(t, m.h.Status().Rejected, 3)
			status, _ := ask(m.gw, "GET", "http://a.test/2", "")
			require.Equal(t, 503, status)

			require.NoError(t, put(m))
			s.settle()
			require.Empty(t, m.h.Status().Rejected)
			for _, m := range []*member{m, join(t, s)} {
				status, _ = ask(m.gw, "GET", "http://a.test/2", "")
				require.Equal(t, 404, status)
				require.Equal(t, "origin 1: GET /1", m.get("/1"))
			}
			if name == "PUT" {
				require.EqualError(t, put(m), "204 ", "all is as it was said to be")
			}
		})
	}
}

// many returns so many texts, each with its number.
func many(format string, n int) (list []any) {
	for i := range n {
		list = append(list, fmt.Sprintf(format, i))
	}
	return list
}

// A document that is wrong only beside another one costs nobody else anything, and is the
// one that is told.
func TestFollowKeepsOutTogether(t *testing.T) {
	w := newWorld(t, setup{})
	hosts := func(n int) string { return encode(t, map[string]any{"hosts": many("h%d.test", n)}) }
	under := func(paths int) string {
		return encode(t, map[string]any{"service_id": "1", "uris": many("/p%d", paths), "upstream": w.upstreamDoc(1)})
	}
	write := func(key, value string) adminapi.Write {
		return adminapi.Write{Key: key, Value: []byte(value), Prev: adminapi.AnyRevision}
	}
	s := newShared()
	commit := func(writes ...adminapi.Write) {
		_, err := s.Commit(t.Context(), writes...)
		require.NoError(t, err)
		s.settle()
	}
	commit(write("/services/1", hosts(400)), write("/routes/1", under(400)), write("/routes/2", under(2)), write("/routes/3", encode(t, w.routeDoc("/3", 1))))
	m := join(t, s)
	rejected := func() (keys []string) {
		for _, r := range m.h.Status().Rejected {
			keys = append(keys, r.Key)
			require.ErrorContains(t, r.Err, "are over 100000 places")
		}
		return keys
	}
	get := func(host, path string) string {
		_, body := ask(m.gw, "GET", "http://"+host+path, "")
		return body
	}
	require.Equal(t, []string{"/routes/1"}, rejected())
	require.Equal(t, "origin 1: GET /3", m.get("/3"))
	require.Equal(t, "origin 1: GET /p1", get("h1.test", "/p1"))

	// What is wrong beside what is replaced together with it is not wrong.
	commit(write("/services/1", hosts(2)), write("/routes/1", under(400)), write("/routes/3", encode(t, w.routeDoc("/33", 1))))
	require.Empty(t, rejected())
	require.Equal(t, "origin 1: GET /p399", get("h1.test", "/p399"))
	commit(write("/services/1", hosts(400)), write("/routes/1", under(3)), write("/routes/2", under(400)), write("/routes/3", encode(t, w.routeDoc("/3", 1))))
	require.Equal(t, []string{"/routes/2"}, rejected())
	require.Equal(t, "origin 1: GET /p2", get("h399.test", "/p2"))
	require.NotContains(t, get("h399.test", "/p399"), "origin")
	require.Equal(t, "origin 1: GET /3", m.get("/3"))

	// Where a route stays as it is, it is the service that does not fit.
	commit(write("/services/1", hosts(2)), write("/routes/2", under(400)))
	require.Empty(t, rejected())
	commit(write("/services/1", hosts(500)), write("/routes/3", encode(t, w.routeDoc("/3333", 1))))
	require.Equal(t, []string{"/services/1"}, rejected())
	require.Equal(t, "origin 1: GET /3333", m.get("/3333"))
	require.Equal(t, "origin 1: GET /p399", get("h1.test", "/p399"))
}

// What was kept out only because of another document is in force once that is another, whoever
// has written it, and without being written again.
func TestFollowTriesAgain(t *testing.T) {
	w := newWorld(t, setup{})
	hosts := func(n int) string { return encode(t, map[string]any{"hosts": many("h%d.test", n)}) }
	under := func(paths, origin int) string {
		return encode(t, map[string]any{"service_id": "1", "uris": many("/p%d", paths), "upstream": w.upstreamDoc(origin)})
	}
	put := func(m *member, s *shared, path, value string) {
		status, body := m.do("PUT", path, value)
		require.Equal(t, 200, status, body)
	}
	write := func(_ *member, s *shared, key, value string) { s.write(t, key, value) }
	rejected := func(m *member) (keys []string) {
		for _, r := range m.h.Status().Rejected {
			keys = append(keys, r.Key)
		}
		return keys
	}
	get := func(m *member, path string) string {
		_, body := ask(m.gw, "GET", "http://h1.test"+path, "")
		return body
	}
	for by, change := range map[string]func(m *member, s *shared, key, value string){"the Admin API": put, "others": write} {
		t.Run(by, func(t *testing.T) {
			s := newShared()
			s.write(t, "/services/1", hosts(400))
			never := s.write(t, "/routes/never", under(400, 1))
			s.write(t, "/routes/good", under(2, 1))
			m := join(t, s)
			s.write(t, "/routes/good", under(401, 2))
			require.Equal(t, []string{"/routes/good", "/routes/never"}, rejected(m))
			require.Contains(t, get(m, "/p399"), "404")
			require.Equal(t, "origin 1: GET /p1", get(m, "/p1"))

			// It is still too much for one of them.
			change(m, s, "/services/1", hosts(250))
			require.Equal(t, []string{"/routes/good"}, rejected(m))
			require.ErrorContains(t, m.h.Status().Rejected[0].Err, "250", "the reason is that of now")
			require.Equal(t, "origin 1: GET /p399", get(m, "/p399"))
			change(m, s, "/services/1", hosts(2))
			require.Empty(t, rejected(m))
			require.Equal(t, "origin 2: GET /p400", get(m, "/p400"))
			require.Equal(t, 1, strings.Count(m.logs.String(), "kept out before\" key=/routes/never revision="+fmt.Sprint(never)))
			status, body := m.do("GET", "/routes/good", "")
			require.Equal(t, 200, status)
			require.Contains(t, body, `"/p400"`)

			// The other way round: it is the service that does not fit.
			s.write(t, "/services/1", hosts(260))
			require.Equal(t, []string{"/services/1"}, rejected(m))
			change(m, s, "/routes/good", under(3, 1))
			require.Equal(t, []string{"/services/1"}, rejected(m))
			change(m, s, "/routes/never", `{"uri":"/p1","upstream":`+encode(t, w.upstreamDoc(1))+`}`)
			require.Empty(t, rejected(m))
			_, body = ask(m.gw, "GET", "http://h259.test/p2", "")
			require.Equal(t, "origin 1: GET /p2", body)
		})
	}
	t.Run("without its service", func(t *testing.T) {
		s := newShared()
		s.write(t, "/services/1", hosts(400))
		s.write(t, "/routes/1", under(400, 1))
		m := join(t, s)
		require.Equal(t, []string{"/routes/1"}, rejected(m))
		s.remove(t, "/services/1")
		require.Empty(t, rejected(m))
		require.Contains(t, get(m, "/p1"), "the service of the route does not exist")
	})
	t.Run("what is still wrong refuses where it can", func(t *testing.T) {
		s := newShared()
		s.write(t, "/services/1", hosts(400))
		s.write(t, "/routes/all", encode(t, w.routeDoc("/*", 1)))
		s.write(t, "/routes/1", strings.Replace(under(400, 1), "{", `{"plugins":{"key-auth":{}},`, 1))
		m := join(t, s)
		s.write(t, "/services/1", hosts(2))
		require.Equal(t, []string{"/routes/1"}, rejected(m))
		require.Contains(t, get(m, "/p1"), "the stored route for this request cannot be used")
		require.Equal(t, "origin 1: GET /p400", get(m, "/p400"))
		s.write(t, "/services/1", hosts(1))
		require.Equal(t, "origin 1: GET /p1", get(m, "/p1"))
		s.write(t, "/routes/1", under(400, 2))
		require.Empty(t, rejected(m))
		s.remove(t, "/services/1")
		s.remove(t, "/routes/1")
		require.Equal(t, "origin 1: GET /p1", get(m, "/p1"), "nothing stays behind")
	})
	t.Run("a service that refuses", func(t *testing.T) {
		s := newShared()
		refuses := func(n int) string {
			return encode(t, map[string]any{"hosts": many("h%d.test", n), "plugins": map[string]any{"ip-restriction": map[string]any{}}})
		}
		s.write(t, "/services/1", refuses(400))
		s.write(t, "/routes/1", under(400, 1))
		m := join(t, s)
		require.Equal(t, []string{"/routes/1", "/services/1"}, rejected(m))
		s.write(t, "/services/1", refuses(2))
		require.Equal(t, []string{"/services/1"}, rejected(m))
		require.Contains(t, get(m, "/p1"), "the stored service of the route cannot be used")
		s.write(t, "/services/1", hosts(2))
		require.Empty(t, rejected(m))
		require.Equal(t, "origin 1: GET /p1", get(m, "/p1"))
	})
}

// So is what was kept out because of the client certificate that its upstream shows.
func TestFollowTriesAgainWithCertificate(t *testing.T) {
	w := newWorld(t, setup{})
	u := map[string]any{"scheme": "https", "nodes": map[string]any{w.mtlsOrigin(): 1}, "tls": map[string]any{"client_cert_id": "client"}}
	certificate := func(key string) string {
		return encode(t, map[string]any{"type": "client", "cert": string(w.pair.CertPEM), "key": key})
	}
	s := newShared()
	_, err := s.Commit(t.Context(),
		adminapi.Write{Key: "/ssls/client", Value: []byte(certificate("$secret://nobody"))},
		adminapi.Write{Key: "/upstreams/1", Value: []byte(encode(t, u))},
		adminapi.Write{Key: "/services/1", Value: []byte(encode(t, map[string]any{"upstream": u}))},
		adminapi.Write{Key: "/routes/1", Value: []byte(encode(t, map[string]any{"uri": "/1", "upstream": u}))},
		adminapi.Write{Key: "/routes/2", Value: []byte(encode(t, map[string]any{"uri": "/2", "upstream_id": "1"}))},
		adminapi.Write{Key: "/routes/3", Value: []byte(encode(t, map[string]any{"uri": "/3", "service_id": "1"}))},
	)
	require.NoError(t, err)
	m := join(t, s)
	require.Len(t, m.h.Status().Rejected, 4)
	for _, path := range []string{"/1", "/2", "/3"} {
		require.NotContains(t, m.get(path), "mtls origin")
	}
	s.write(t, "/ssls/client", certificate(string([]byte(w.pair.KeyPEM))))
	require.Empty(t, m.h.Status().Rejected)
	for _, path := range []string{"/1", "/2", "/3"} {
		require.Equal(t, "mtls origin: a.test", m.get(path))
	}

	// And what was kept out because of that.
	hosts, paths := make([]string, 400), make([]string, 400)
	for i := range hosts {
		hosts[i], paths[i] = fmt.Sprintf("h%d.test", i), fmt.Sprintf("/p%d", i)
	}
	s.write(t, "/services/2", encode(t, map[string]any{"hosts": hosts}))
	s.write(t, "/routes/4", encode(t, map[string]any{"uris": paths, "service_id": "2"}))
	u["tls"] = map[string]any{"client_cert_id": "other"}
	_, err = s.Commit(t.Context(),
		adminapi.Write{Key: "/ssls/other", Value: []byte(certificate("$secret://nobody"))},
		adminapi.Write{Key: "/services/2", Value: []byte(encode(t, map[string]any{"hosts": hosts[:2], "upstream": u})), Prev: adminapi.AnyRevision},
	)
	require.NoError(t, err)
	s.settle()
	require.Len(t, m.h.Status().Rejected, 3)
	s.write(t, "/ssls/other", certificate(string([]byte(w.pair.KeyPEM))))
	require.Empty(t, m.h.Status().Rejected)
	_, body := ask(m.gw, "GET", "http://h1.test/p399", "")
	require.Equal(t, "mtls origin: a.test", body)
}

// What comes together with a client certificate that is kept out is in force with the last good
// one, as if it had come by itself.
func TestFollowBesideLastGood(t *testing.T) {
	w := newWorld(t, setup{})
	s := newShared()
	client := map[string]any{"type": "client", "cert": string(w.pair.CertPEM), "key": string([]byte(w.pair.KeyPEM))}
	to := func(node string) map[string]any {
		return map[string]any{"scheme": "https", "nodes": map[string]any{node: 1}, "tls": map[string]any{"client_cert_id": "client"}}
	}
	before, after := to("127.0.0.1:1"), to(w.mtlsOrigin())
	_, err := s.Commit(t.Context(),
		adminapi.Write{Key: "/ssls/client", Value: []byte(encode(t, client))},
		adminapi.Write{Key: "/upstreams/1", Value: []byte(encode(t, before))},
		adminapi.Write{Key: "/services/1", Value: []byte(encode(t, map[string]any{"hosts": many("h%d.test", 400), "upstream": before}))},
		adminapi.Write{Key: "/routes/1", Value: []byte(`{"uri":"/1","upstream_id":"1"}`)})
	require.NoError(t, err)
	m := join(t, s)
	require.Contains(t, m.get("/1"), "could not be reached")
	client["cert"] = "no certificate"
	_, err = s.Commit(t.Context(),
		adminapi.Write{Key: "/ssls/client", Value: []byte(encode(t, client)), Prev: adminapi.AnyRevision},
		adminapi.Write{Key: "/upstreams/1", Value: []byte(encode(t, after)), Prev: adminapi.AnyRevision},
		adminapi.Write{Key: "/services/1", Value: []byte(encode(t, map[string]any{"hosts": many("h%d.test", 2), "upstream": after})), Prev: adminapi.AnyRevision},
		adminapi.Write{Key: "/routes/2", Value: []byte(encode(t, map[string]any{"uris": many("/p%d", 400), "service_id": "1"}))})
	require.NoError(t, err)
	s.settle()
	status := m.h.Status()
	require.Len(t, status.Rejected, 1, status)
	require.Equal(t, "/ssls/client", status.Rejected[0].Key)
	require.Equal(t, "mtls origin: a.test", m.get("/1"))
	_, body := ask(m.gw, "GET", "http://h1.test/p399", "")
	require.Equal(t, "mtls origin: a.test", body)
}

// A route is not kept out for an upstream that is: it leads nowhere until that is mended.
func TestFollowUpstreamIsMended(t *testing.T) {
	w := newWorld(t, setup{})
	s := newShared()
	s.write(t, "/upstreams/1", `{"nodes":1}`)
	s.write(t, "/services/1", `{"upstream_id":"1"}`)
	s.write(t, "/routes/1", `{"uri":"/1","upstream_id":"1"}`)
	s.write(t, "/routes/2", `{"uri":"/2","service_id":"1"}`)
	m := join(t, s)
	for range 2 {
		require.Len(t, m.h.Status().Rejected, 1)
		require.Contains(t, m.get("/1"), "the upstream of the route does not exist")
		require.Contains(t, m.get("/2"), "the upstream of the route does not exist")
		s.write(t, "/upstreams/1", encode(t, w.upstreamDoc(2)))
		require.Empty(t, m.h.Status().Rejected)
		require.Equal(t, "origin 2: GET /1", m.get("/1"))
		require.Equal(t, "origin 2: GET /2", m.get("/2"))
		s.remove(t, "/upstreams/1")
		s.write(t, "/upstreams/1", `{"nodes":1}`)
	}
}
