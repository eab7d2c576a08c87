package adminapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
	"github.com/sallyport/sallyport/upstream"
)

// Whatever of an exported type is printed, encoded or logged, the private keys and API
// keys in it do not show. A type that is added has to be added here.
func TestNoExportedTypePrintsAKey(t *testing.T) {
	// Nothing listens: what runs cannot be printed without a race.
	gw, memory := must(gateway.New(nil)), &adminapi.Memory{}
	defer gw.Close()
	handler, err := adminapi.New(t.Context(), gw, &adminapi.Options{AllowUnauthenticated: true, Storage: memory})
	require.NoError(t, err)
	defer handler.Close()
	pair := ssltest.NewCA(t, "servers").Server("p.test")
	pem := []byte(pair.KeyPEM)
	put := func(path string, doc map[string]any) {
		r := httptest.NewRequest("PUT", "http://localhost/apisix/admin"+path, strings.NewReader(encode(t, doc)))
		require.Equal(t, 201, serveOne(handler, r).Code)
	}
	put("/ssls/1", map[string]any{"sni": "p.test", "cert": string(pair.CertPEM), "key": string(pem)})
	put("/upstreams/1", map[string]any{
		"scheme": "https", "nodes": map[string]any{"127.0.0.1:1": 1},
		"tls": map[string]any{"client_cert": string(pair.CertPEM), "client_key": string(pem)},
	})
	put("/routes/1", map[string]any{"uri": "/1", "upstream_id": "1"})

	profileConfig := ssl.Config{ID: "p", Names: []string{"p.test"}, Certificates: []ssl.KeyPair{pair}}
	profile, err := ssl.New(profileConfig)
	require.NoError(t, err)
	store := must(ssl.NewStore(nil))
	_, err = store.Put(profileConfig)
	require.NoError(t, err)
	watcher, err := ssl.Watch(store.Put, nil)
	require.NoError(t, err)
	defer watcher.Close()
	upstreamConfig := upstream.Config{
		ID: "u", Scheme: "https", Nodes: []upstream.Node{{Host: "127.0.0.1", Port: 1, Weight: 1}},
		TLS: upstream.TLS{CertPEM: pair.CertPEM, KeyPEM: pair.KeyPEM},
	}
	compiled, err := upstream.New(upstreamConfig)
	require.NoError(t, err)
	pool := upstream.NewPool(compiled, nil)
	defer pool.Close()
	prepared, err := gw.Prepare(gateway.Change{Put: gateway.Config{Profiles: []ssl.Config{profileConfig}, Upstreams: []upstream.Config{upstreamConfig}}})
	require.NoError(t, err)
	file, err := adminapi.OpenFile(filepath.Join(t.TempDir(), "data"))
	require.NoError(t, err)
	defer file.Close()
	_, err = file.Commit(t.Context(), adminapi.Write{Key: "/ssls/1", Value: pem})
	require.NoError(t, err)
	standalone := filepath.Join(t.TempDir(), "apisix.json")
	require.NoError(t, os.WriteFile(standalone, []byte(encode(t, map[string]any{"ssls": []any{
		map[string]any{"id": "2", "sni": "q.test", "cert": string(pair.CertPEM), "key": string(pem)},
	}})), 0o600))
	other := must(gateway.New(nil))
	defer other.Close()
	follower, err := adminapi.New(t.Context(), other, &adminapi.Options{AllowUnauthenticated: true})
	require.NoError(t, err)
	defer follower.Close()
	fileWatcher, err := follower.WatchFile(standalone, nil)
	require.NoError(t, err)
	fileWatcher.Close()
	compiledRoute, err := route.New(route.Config{ID: "r", Paths: []string{"/"}, Upstream: "u"})
	require.NoError(t, err)

	// What can be filled in from outside is empty here, and what holds keys inside was
	// made of them.
	values := []any{
		handler, memory, adminapi.Key{}, adminapi.Options{}, adminapi.Record{}, adminapi.Secret(""), adminapi.Write{},
		file, adminapi.WatchFileOptions{}, fileWatcher, adminapi.Rejected{}, adminapi.Status{}, adminapi.Update{},
		gw, prepared, gateway.Change{}, gateway.Config{}, gateway.ConfigError{}, gateway.IDs{}, gateway.Kind(""), gateway.Limit(""), gateway.LimitEvent{}, gateway.Limits{}, gateway.Options{},
		gateway.Report{}, gateway.RequestEvent{}, gateway.RequestStart{}, gateway.Trace{}, gateway.Warning{},
		gateway.Stats{}, gateway.ConfigStats{}, gateway.ConnectionStats{}, gateway.ProtocolStats{}, gateway.RequestStats{}, gateway.RouteStats{},
		gw.Explain(httptest.NewRequest("GET", "http://a.test/", nil)), gateway.UpstreamStats{}, gateway.RefusalCount{}, gateway.LimitCount{}, gateway.Refusal{}, gateway.History{}, gateway.Minute{}, gateway.RouteHistory{},
		compiledRoute, gw.Routes(), route.AuthorizeRequest{}, route.Candidate{}, route.Config{}, route.ConfigError{}, route.Edits{}, route.Explanation{},
		route.HTTPLookups{}, route.HeaderEdits{}, route.HeaderField{}, route.Match{}, route.Options{}, route.PathOptions{},
		route.Reason{}, route.Request{}, route.Timeout{}, route.Warning{},
		profile, store, store.Table(), store.Terminator, watcher, ssl.Allow{}, ssl.Change{}, ssl.CRL{}, ssl.ClientAuth{}, ssl.ClientPolicy{}, ssl.Config{}, ssl.ConfigError{},
		ssl.FileConfig{}, ssl.HandshakeError{}, ssl.Identity{}, ssl.KeyPair{}, ssl.KeyPairFiles{}, ssl.Options{}, ssl.Reason(""), ssl.RequestError{},
		ssl.Report{}, ssl.Trace{}, ssl.Warning{}, ssl.WatchOptions{},
		ssl.HandshakeEvent{}, ssl.HandshakeStats{}, ssl.Histogram{}, ssl.ProfileStats{}, ssl.ReasonCount{}, ssl.Stats{}, ssl.VersionCounts{},
		compiled, pool, upstream.ActiveChecks{}, upstream.CallOptions{}, upstream.CallReport{}, upstream.Candidates{},
		upstream.Checks{}, upstream.Config{}, upstream.ConfigError{}, upstream.Error{}, upstream.KeepAlive{}, upstream.Node{},
		upstream.NodeStatus{}, upstream.Options{}, upstream.Outliers{}, upstream.PassiveChecks{}, upstream.RetryBudget{},
		upstream.TLS{}, upstream.Timeout{}, upstream.Warning{}, upstream.Histogram{}, upstream.Stats{}, upstream.StatusCounts{},
		upstream.Balancer(""), upstream.CheckType(""), upstream.HashOn(""), upstream.Scheme(""),
	}
	var listed []string
	for _, v := range values {
		typ := reflect.TypeOf(v)
		if typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		listed = append(listed, typ.String())
		if reflect.TypeOf(v).Kind() != reflect.Pointer {
			filled := reflect.New(typ)
			fillKeys(filled.Elem(), "", pem, 0)
			v = filled.Elem().Interface()
		}
		require.Empty(t, leak(printed(v), pem), "%T", v)
	}
	slices.Sort(listed)
	require.Equal(t, exportedTypes(t), listed)

	// The test can see a key that is not of the type for keys.
	require.NotEmpty(t, leak(printed(struct{ Key []byte }{pem}), pem))
	require.NotEmpty(t, leak(printed(struct{ Key string }{string(pem)}), pem))
}

// keyLike are the names of fields that may hold a key, and noKeys the fields of these
// names that do not.
var (
	keyLike = regexp.MustCompile(`Key|Secret|Password|Token|^Value$`)
	noKeys  = []string{
		"adminapi.Record.Key", "adminapi.Rejected.Key", "adminapi.Write.Key", // of a document
		"route.HeaderField.Value", "ssl.KeyPairFiles.Key", "upstream.Config.HashKey",
	}
)

// fillKeys puts a private key in every place of a value that is meant for one.
func fillKeys(v reflect.Value, name string, pem []byte, level int) {
	if !v.CanSet() || level > 8 {
		return
	}
	secret := v.Type() == reflect.TypeFor[ssl.KeyPEM]() || v.Type() == reflect.TypeFor[adminapi.Secret]() || name != ""
	switch v.Kind() {
	case reflect.String:
		if secret {
			v.SetString(string(pem))
		}
	case reflect.Pointer:
		if v.Type().Elem().Kind() == reflect.Struct {
			v.Set(reflect.New(v.Type().Elem()))
			fillKeys(v.Elem(), name, pem, level+1)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			if secret {
				v.SetBytes(pem)
			}
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fillKeys(v.Index(0), name, pem, level+1)
	case reflect.Struct:
		if !strings.HasPrefix(v.Type().PkgPath(), "github.com/sallyport/") {
			return
		}
		for i := range v.NumField() {
			field := v.Type().Field(i)
			name := field.Name
			if !keyLike.MatchString(name) || slices.Contains(noKeys, v.Type().String()+"."+name) {
				name = ""
			}
			fillKeys(v.Field(i), name, pem, level+1)
		}
	}
}

// printed returns a value as it is printed, encoded and logged, alone, by its address and
// as a part of others.
func printed(v any) string {
	var out bytes.Buffer
	address := reflect.New(reflect.TypeOf(v))
	address.Elem().Set(reflect.ValueOf(v))
	forms := []any{v, []any{v}, map[string]any{"v": v}, struct{ V any }{v}, address.Interface()}
	for _, form := range forms {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "% x"} {
			fmt.Fprintf(&out, verb+"\n", form)
		}
		if encoded, err := json.Marshal(form); err == nil {
			out.Write(encoded)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", form)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", form)
	}
	return out.String()
}

// exportedTypes returns the names of the exported types with a content of their own, sorted:
// structs, texts and lists.
func exportedTypes(t *testing.T) (names []string) {
	for _, dir := range []string{"../adminapi", "../gateway", "../route", "../ssl", "../upstream"} {
		paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
		require.NoError(t, err)
		require.NotEmpty(t, paths)
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			require.NoError(t, err)
			for _, decl := range file.Decls {
				gen, ok := decl.(*ast.GenDecl)
				if !ok || gen.Tok != token.TYPE {
					continue
				}
				for _, spec := range gen.Specs {
					spec := spec.(*ast.TypeSpec)
					if !spec.Name.IsExported() || spec.Assign.IsValid() {
						continue
					}
					if of, ok := spec.Type.(*ast.Ident); ok && of.Name != "string" {
						continue // a number
					}
					switch spec.Type.(type) {
					case *ast.InterfaceType, *ast.FuncType:
					default:
						names = append(names, filepath.Base(dir)+"."+spec.Name.Name)
					}
				}
			}
		}
	}
	slices.Sort(names)
	return names
}
