package adminapi_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// Of ssl objects with one name the oldest answers, and goes on to do so when it was disabled in
// between: for what is stored is the same, and whoever starts with it has them by age.
func TestEnabledAgain(t *testing.T) {
	off, on := `{"status":0}`, `{"status":1}`
	patch := func(w *world, id, change string) {
		a := w.do("PATCH", "/apisix/admin/ssls/"+id, change)
		require.Equal(w.t, 200, a.status, a.body)
	}
	for what, change := range map[string]func(w *world){
		"PATCH": func(w *world) {
			patch(w, "old", off)
			patch(w, "old", on)
		},
		"a client certificate meanwhile": func(w *world) {
			patch(w, "old", `{"type":"client"}`)
			patch(w, "old", `{"type":null}`)
		},
		"disabled from the first, and one is younger than both": func(w *world) {
			patch(w, "old", off)
			last := w.sslDoc(w.pair2)
			last["sni"] = "b.a.test" // which none but the middle one has too
			w.put("/ssls/last", last)
			patch(w, "old", on)
		},
		"other names meanwhile": func(w *world) {
			patch(w, "old", `{"status":0,"sni":"z.test"}`)
			patch(w, "old", `{"status":1,"sni":"A.test."}`)
		},
		"with other names at first": func(w *world) {
			patch(w, "old", off)
			patch(w, "old", `{"status":1,"sni":"z.test"}`)
			patch(w, "old", `{"sni":"a.test"}`)
		},
		"another has its name only later": func(w *world) {
			patch(w, "middle", `{"status":0,"snis":["b.a.test"]}`)
			patch(w, "middle", on)
			patch(w, "another", `{"sni":"b.a.test"}`)
			patch(w, "middle", `{"snis":["a.test","b.a.test"]}`)
			patch(w, "another", `{"sni":"a.test"}`)
		},
		"both": func(w *world) {
			patch(w, "old", off)
			patch(w, "middle", off)
			patch(w, "old", on)
			patch(w, "middle", on)
		},
		"a whole configuration": func(w *world) {
			patch(w, "old", off)
			patch(w, "middle", off)
			var whole map[string]any
			require.NoError(w.t, json.Unmarshal([]byte(w.do("GET", "/apisix/admin/configs", "").body), &whole))
			for _, doc := range whole["ssls"].([]any) {
				delete(doc.(map[string]any), "status")
			}
			a := w.doWith("PUT", "/apisix/admin/configs", encode(w.t, map[string]any{"ssls": whole["ssls"]}), "X-Digest", "1")
			require.Equal(w.t, 202, a.status, a.body)
		},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t, setup{})
			w.put("/ssls/old", w.sslDoc(w.pair))
			middle := w.sslDoc(w.pair2)
			delete(middle, "sni")
			middle["snis"] = list{"a.test", "b.a.test"}
			middle["client"] = map[string]any{"ca": string(w.people.PEM())}
			w.put("/ssls/middle", middle)
			w.put("/ssls/another", w.sslDoc(w.pair2)) // less than "middle", and younger
			before := handshake(w.gw, "a.test") + handshake(w.gw, "b.a.test")
			change(w)
			require.Equal(t, before, handshake(w.gw, "a.test")+handshake(w.gw, "b.a.test"))
			w.check()
		})
	}
}

// So it is with what others have stored, and with what nobody could read at first.
func TestFollowEnabledAgain(t *testing.T) {
	w := newWorld(t, setup{})
	s := newShared()
	off := w.sslDoc(w.pair)
	off["status"] = 0
	s.write(t, "/ssls/1", "{")
	s.write(t, "/ssls/2", encode(t, off))
	m := join(t, s)
	s.write(t, "/ssls/3", encode(t, w.sslDoc(w.pair)))
	for _, key := range []string{"/ssls/2", "/ssls/1"} {
		s.write(t, key, encode(t, w.sslDoc(w.pair2)))
		require.Equal(t, handshake(join(t, s).gw, "a.test"), handshake(m.gw, "a.test"), key)
		s.write(t, key, encode(t, w.sslDoc(w.pair)))
		require.Equal(t, handshake(join(t, s).gw, "a.test"), handshake(m.gw, "a.test"), key)
		require.Equal(t, running(t, join(t, s).gw), running(t, m.gw), key)
		s.write(t, key, encode(t, w.sslDoc(w.pair2)))
	}
	require.Empty(t, m.h.Status().Rejected)
	// One that refuses, because it cannot be used, has its place too.
	bad := w.sslDoc(w.pair)
	bad["sni"], bad["key"] = "A.test", string([]byte(w.pair2.KeyPEM))
	s.write(t, "/ssls/4", encode(t, off))
	s.write(t, "/ssls/5", encode(t, bad))
	for _, key := range []string{"/ssls/1", "/ssls/2", "/ssls/3"} {
		s.remove(t, key)
	}
	s.write(t, "/ssls/4", encode(t, w.sslDoc(w.pair)))
	require.Len(t, m.h.Status().Rejected, 1)
	require.Equal(t, handshake(join(t, s).gw, "a.test"), handshake(m.gw, "a.test"))
	require.Contains(t, handshake(m.gw, "a.test"), "asked false")
}

// A route that cannot be used and is disabled has its place as well, for when it is enabled.
func TestFollowEnabledRoute(t *testing.T) {
	w := newWorld(t, setup{})
	s := newShared()
	bad := with(w.routeDoc("/*", 1), "plugins", map[string]any{"key-auth": map[string]any{}})
	off := with(bad, "status", 0)
	s.write(t, "/routes/1", encode(t, off))
	s.write(t, "/routes/2", encode(t, w.routeDoc("/*", 2)))
	m := join(t, s)
	for what, c := range []struct {
		doc  map[string]any
		want string
	}{
		{off, "origin 2: GET /"},
		{bad, "the stored route for this request cannot be used"},
		{off, "origin 2: GET /"},
		{bad, "the stored route for this request cannot be used"},
		{with(off, "uri", 1), "origin 2: GET /"}, // for what it is, is not known
	} {
		s.write(t, "/routes/1", encode(t, c.doc))
		require.Len(t, m.h.Status().Rejected, 1)
		require.Contains(t, m.get("/"), c.want, what)
	}
	s.remove(t, "/routes/1")
	s.remove(t, "/routes/2")
	s.write(t, "/routes/1", encode(t, off))
	s.write(t, "/routes/2", encode(t, w.routeDoc("/*", 2)))
	s.write(t, "/routes/1", encode(t, w.routeDoc("/*", 1)))
	require.Equal(t, "origin 1: GET /", m.get("/"))
	require.Equal(t, "origin 1: GET /", join(t, s).get("/"))
	require.Empty(t, m.h.Status().Rejected)
}
