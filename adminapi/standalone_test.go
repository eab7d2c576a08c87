package adminapi_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

func (w *world) load(doc map[string]any) error {
	return w.handler.Load(w.t.Context(), strings.NewReader(encode(w.t, doc)))
}

type list = []any

// What a document has is there, and nothing else.
func TestLoad(t *testing.T) {
	w := newWorld(t, setup{})
	w.put("/routes/old", w.routeDoc("/old", 1))
	w.put("/routes/same", w.routeDoc("/same", 1))
	revision := load(t, w.memory)["/routes/same"].Modified
	same := w.routeDoc("/same", 1)
	same["id"] = "same"
	ssl := w.sslDoc(w.pair)
	whole := map[string]any{
		"routes":              list{same, w.routeDoc("/2", 2), map[string]any{"id": 7, "uri": "/7", "service_id": "s"}},
		"services":            list{map[string]any{"id": "s", "upstream_id": 1}},
		"upstreams":           list{map[string]any{"id": 1, "nodes": map[string]any{w.origins[0]: 1}}},
		"ssls":                list{ssl},
		"routes_conf_version": 3,
		"consumers":           list{},
	}
	require.NoError(t, w.load(whole))
	w.check()
	stored := load(t, w.memory)
	require.Equal(t, revision, stored["/routes/same"].Modified, "what is the same is not touched")
	var keys []string
	modified := stored["/services/s"].Modified
	for key, r := range stored {
		keys = append(keys, key)
		if key != "/routes/same" {
			require.Equal(t, modified, r.Modified, "one change")
		}
	}
	require.ElementsMatch(t, []string{"/routes/same", "/routes/arr_2", "/routes/7", "/services/s", "/upstreams/1", "/ssls/arr_1"}, keys)
	_, body := ask(w.gw, "GET", "http://a.test/7", "")
	require.Equal(t, "origin 1: GET /7", body)
	require.NotContains(t, handshake(w.gw, "a.test"), "unrecognized")

	require.NoError(t, w.load(whole))
	require.Equal(t, stored, load(t, w.memory), "loaded again, nothing has changed")
	require.NoError(t, w.load(map[string]any{"routes": map[string]any{}}), "as Lua writes an empty list")
	require.Empty(t, load(t, w.memory))
	w.check()
}

// Where anything is wrong, everything stays, and each object that is wrong is named.
func TestLoadRefuses(t *testing.T) {
	w := newWorld(t, setup{})
	w.put("/routes/1", w.routeDoc("/1", 1))
	before := load(t, w.memory)
	mismatch := w.sslDoc(w.pair)
	mismatch["key"] = string([]byte(w.pair2.KeyPEM))
	good := w.routeDoc("/2", 1)
	for text, want := range map[string][]string{
		"":                             {"document: "},
		"[1]":                          {"document: wrong type: expected object", "a whole configuration is {"},
		"[]":                           {"document: wrong type: expected object"},
		"null":                         {"document: wrong type: expected object"},
		`"${{PATH}}"`:                  {"document: wrong type: expected object"},
		"5":                            {"document: wrong type: expected object"},
		`{"route": []}`:                {"unknown property route"},
		`{"routes": {"id": 1}}`:        {"document: routes: wrong type: expected array (as in [{"},
		`{"routes": null}`:             {"document: routes: wrong type: expected array"},
		`{"routes": "x"}`:              {"document: routes: wrong type: expected array"},
		`{"routes": [1]}`:              {`routes[0]`, "expected object"},
		`{"consumers": [{"id": "x"}]}`: {"this gateway has no consumers"},
		`{"routes": [{"id": "${{NO_SUCH_VARIABLE}}"}]}`: {"can't find environment variable NO_SUCH_VARIABLE"},
		encode(t, map[string]any{"routes": list{good, good, map[string]any{"id": "x"}}, "ssls": list{mismatch}}): {
			`routes[2], id "x"`, `ssls[0], id "arr_1"`, "is not the key of the certificate",
		},
		encode(t, map[string]any{"routes": list{map[string]any{"id": "a", "uri": "/"}, map[string]any{"id": "a", "uri": "/"}}}): {"duplicate id a"},
	} {
		err := w.handler.Load(t.Context(), strings.NewReader(text))
		require.Error(t, err, text)
		for _, part := range want {
			require.ErrorContains(t, err, part)
		}
		require.Empty(t, leak(err.Error(), w.pair.KeyPEM, w.pair2.KeyPEM))
		require.Equal(t, before, load(t, w.memory))
		w.check()
	}
	require.ErrorIs(t, w.handler.Load(t.Context(), &broken{}), errDisk)
}

var errDisk = errors.New("the disk is gone")

type broken struct{}

func (*broken) Read([]byte) (int, error) { return 0, errDisk }

func TestExpandEnv(t *testing.T) {
	t.Setenv("NAME", "value")
	t.Setenv("EMPTY", "")
	for text, want := range map[string]string{
		"":                         "",
		"${{NAME}}":                "value",
		"a${{ NAME }}b${{NAME}}":   "avaluebvalue",
		"${{NAME:=other}}":         "value",
		"${{NOT:=other}}":          "other",
		"${{ NOT := some text }}.": "some text.",
		"${{NOT:=}}":               "",
		"${{EMPTY:=x}}":            "",
		"$NAME ${NAME} {{NAME}}":   "$NAME ${NAME} {{NAME}}",
	} {
		got, err := adminapi.ExpandEnv(text)
		require.NoError(t, err)
		require.Equal(t, want, got, text)
	}
	_, err := adminapi.ExpandEnv("${{NOT}} ${{NOR}}")
	require.EqualError(t, err, "can't find environment variable NOT\ncan't find environment variable NOR")
}

// A string that becomes a number or a boolean by the environment is one, as in APISIX.
func TestLoadEnvironment(t *testing.T) {
	w := newWorld(t, setup{})
	t.Setenv("ORIGIN", w.origins[0])
	t.Setenv("WEIGHT", "3")
	t.Setenv("ON", "true")
	require.NoError(t, w.handler.Load(t.Context(), strings.NewReader(`{"routes": [{"id": "1", "uri": "/1", "enable_websocket": "${{ON}}",
		"priority": "${{WEIGHT}}", "upstream": {"nodes": {"${{ORIGIN}}": "${{WEIGHT}}"}}, "desc": "${{NOT:=none}}"}]}`)))
	_, body := ask(w.gw, "GET", "http://a.test/1", "")
	require.Equal(t, "origin 1: GET /1", body)
	require.Contains(t, w.do("GET", "/apisix/admin/routes/1", "").body, `"priority":3`)
}

func TestHeadless(t *testing.T) {
	gw := must(gateway.New(nil))
	defer gw.Close()
	h, err := adminapi.New(t.Context(), gw, &adminapi.Options{Headless: true})
	require.NoError(t, err)
	for _, method := range []string{"GET", "PUT", "OPTIONS"} {
		status, _ := ask(h, method, "http://localhost/apisix/admin/routes/1", `{"uri":"/"}`)
		require.Equal(t, 403, status)
	}
	require.NoError(t, h.Load(t.Context(), strings.NewReader(`{"routes":[{"uri":"/","upstream":{"nodes":{}}}]}`)))
	status, _ := ask(gw, "GET", "http://a.test/", "")
	require.Equal(t, 503, status)
}

// A file that changes is taken, one that is wrong is told once and leaves everything as it
// was, and one that is right again is taken.
func TestWatchFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apisix.json")
	write := func(text string) {
		require.NoError(t, os.WriteFile(path+".new", []byte(text), 0o600))
		require.NoError(t, os.Rename(path+".new", path))
	}
	doc := func(uri string) string { return `{"routes":[{"uri":"` + uri + `","upstream":{"nodes":{}}}]}` }
	synctest.Test(t, func(t *testing.T) {
		gw := must(gateway.New(nil))
		defer gw.Close()
		h, err := adminapi.New(t.Context(), gw, &adminapi.Options{Headless: true})
		require.NoError(t, err)
		defer h.Close()
		var failures []string
		o := &adminapi.WatchFileOptions{
			Interval: time.Minute,
			Decode:   func(data []byte) ([]byte, error) { return bytes.TrimPrefix(data, []byte("#")), nil },
			Failed:   func(err error) { failures = append(failures, err.Error()) },
		}
		_, err = h.WatchFile(path, o)
		require.ErrorIs(t, err, os.ErrNotExist)
		write("{")
		_, err = h.WatchFile(path, o)
		require.ErrorContains(t, err, path)

		serves := func(path string) bool {
			status, _ := ask(gw, "GET", "http://a.test"+path, "")
			return status == 503
		}
		write("#" + doc("/1"))
		w, err := h.WatchFile(path, o)
		require.NoError(t, err)
		require.True(t, serves("/1"))
		write(doc("/2"))
		require.False(t, serves("/2"))
		time.Sleep(time.Minute + time.Second) // of the bubble's clock
		synctest.Wait()
		require.True(t, serves("/2"))
		require.False(t, serves("/1"))

		write(`{"routes":[{"uri":"/3"}],"x":1}`)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		require.True(t, serves("/2"))
		require.Len(t, failures, 1)
		require.ErrorContains(t, w.Check(), "adminapi: "+path+": ")
		require.ErrorContains(t, w.Check(), "unknown property x")
		require.NoError(t, os.Remove(path))
		require.ErrorIs(t, w.Check(), os.ErrNotExist)
		require.Len(t, failures, 2)
		require.True(t, serves("/2"))
		write(doc("/4"))
		require.NoError(t, w.Check())
		require.True(t, serves("/4"))
		w.Close()
		w.Close()
	})
}

// What the program does wrong in Decode, Failed or the storage is a failure like any other,
// and does not end the process.
func TestWatchFilePanics(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apisix.json")
	write := func(uri string) {
		text := `{"routes":[{"uri":"` + uri + `","upstream":{"nodes":{}}}]}`
		require.NoError(t, os.WriteFile(path+".new", []byte(text), 0o600))
		require.NoError(t, os.Rename(path+".new", path))
	}
	write("/1")
	synctest.Test(t, func(t *testing.T) {
		log := &buffer{}
		memory := &faulty{}
		gw := must(gateway.New(nil))
		defer gw.Close()
		h := must(adminapi.New(t.Context(), gw, &adminapi.Options{Headless: true, Storage: memory, Secrets: panicking{}, Logger: slog.New(slog.NewTextHandler(log, nil))}))
		defer h.Close()
		var told []string
		var value atomic.Value
		value.Store("")
		w, err := h.WatchFile(path, &adminapi.WatchFileOptions{
			Interval: time.Minute,
			Decode: func(data []byte) ([]byte, error) {
				if v := value.Load(); v != "" {
					panic(v)
				}
				return data, nil
			},
			Failed: func(err error) {
				told = append(told, err.Error())
				panic("another")
			},
		})
		require.NoError(t, err)
		defer w.Close()
		tick := func() {
			time.Sleep(3 * time.Minute) // of the bubble's clock
			synctest.Wait()
		}
		serves := func(path string) bool {
			status, _ := ask(gw, "GET", "http://a.test"+path, "")
			return status == 503
		}
		tick()
		value.Store("a fault")
		write("/2")
		tick()
		require.Equal(t, []string{"adminapi: " + path + ": Decode panicked: a fault"}, told, "once")
		require.Contains(t, log.String(), `panic=another`)
		value.Store(string([]byte(ssltest.NewCA(t, "root").Server("a.test").KeyPEM)))
		tick()
		require.Len(t, told, 2)
		require.Contains(t, told[1], "redacted")
		require.NotContains(t, log.String(), "PRIVATE")
		value.Store("")
		panics := func() ([]adminapi.Record, error) { panic("a fault") }
		memory.commit.Store(&panics)
		tick()
		require.Len(t, told, 3)
		require.Contains(t, told[2], "Commit panicked: a fault")
		require.True(t, serves("/1"))
		require.False(t, serves("/2"))
		memory.commit.Store(nil)
		tick()
		require.True(t, serves("/2"))

		// And in what is none of these, but looks something up for it.
		require.NoError(t, os.WriteFile(path+".new", []byte(`{"ssls":[{"sni":"a.test","cert":"c","key":"$secret://vault/1/key"}]}`), 0o600))
		require.NoError(t, os.Rename(path+".new", path))
		tick()
		require.Len(t, told, 4)
		require.Equal(t, "adminapi: "+path+": Load panicked: a fault", told[3])
		require.True(t, serves("/2"))
	})
}

// FuzzLoad loads whatever there is. What it takes, it takes again and changes nothing.
func FuzzLoad(f *testing.F) {
	f.Add(`{"routes":[{"uri":"/a","upstream":{"nodes":{"127.0.0.1:1":1}}}],"services":[],"routes_conf_version":1}`)
	f.Add(`{"routes":[{"id":1,"uri":"/${{HOME}}","upstream_id":"arr_1"}],"upstreams":[{"nodes":{}}]}`)
	f.Add(`{"ssls":[{"sni":"a.test","cert":"${{X:=}}","key":""}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		gw := must(gateway.New(nil))
		defer gw.Close()
		memory := &adminapi.Memory{}
		h, err := adminapi.New(t.Context(), gw, &adminapi.Options{Headless: true, Storage: memory})
		require.NoError(t, err)
		defer h.Close()
		if h.Load(context.Background(), strings.NewReader(text)) != nil {
			require.Empty(t, load(t, memory))
			return
		}
		before := load(t, memory)
		require.NoError(t, h.Load(context.Background(), strings.NewReader(text)))
		require.Equal(t, before, load(t, memory))
	})
}
