package adminapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/adminapi/statuspage"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// sendTo sends a request and returns the status and the body of the answer.
func sendTo(client *http.Client, method, url, key, body string) string {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		log.Fatal(err)
	}
	if key != "" {
		req.Header.Set("X-API-KEY", key)
	}
	res, err := client.Do(req)
	if err != nil {
		return "no answer"
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		log.Fatal(err)
	}
	return strings.TrimSpace(fmt.Sprint(res.StatusCode, " ", string(text)))
}

// A gateway is configured while it runs. When a PUT has been answered, the next
// request sees it.
func Example() {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "the origin got %s", r.URL.Path)
	}))
	defer origin.Close()

	gw, err := gateway.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
	front := httptest.NewServer(gw)
	defer front.Close()
	handler, err := adminapi.New(context.Background(), gw, &adminapi.Options{Keys: []adminapi.Key{{Value: "edd1c9f0"}}})
	if err != nil {
		log.Fatal(err)
	}
	admin := httptest.NewServer(handler)
	defer admin.Close()

	fmt.Println(sendTo(front.Client(), "GET", front.URL+"/ip", "", ""))
	answer := sendTo(admin.Client(), "PUT", admin.URL+"/apisix/admin/routes/1", "edd1c9f0", `{
		"uri": "/ip",
		"upstream": {"type": "roundrobin", "nodes": {"`+origin.Listener.Addr().String()+`": 1}}
	}`)
	fmt.Println(answer[:3])
	fmt.Println(sendTo(front.Client(), "GET", front.URL+"/ip", "", ""))
	// Output:
	// 404 {"error_msg":"404 Route Not Found"}
	// 201
	// 200 the origin got /ip
}

// The Admin API on a mux of one's own, behind middleware of one's own.
func ExampleNew() {
	logged := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Println("log:", r.Method, r.URL.Path)
			next.ServeHTTP(w, r)
		})
	}
	gw, err := gateway.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
	admin, err := adminapi.New(context.Background(), gw, &adminapi.Options{Keys: []adminapi.Key{{Value: "edd1c9f0"}}})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/apisix/admin", logged(admin)) // where clients try their key
	mux.Handle("/apisix/admin/", logged(admin))
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "fine") })
	server := httptest.NewServer(mux)
	defer server.Close()

	fmt.Println(sendTo(server.Client(), "HEAD", server.URL+"/apisix/admin", "edd1c9f0", ""))
	fmt.Println(sendTo(server.Client(), "GET", server.URL+"/apisix/admin/routes", "edd1c9f0", ""))
	fmt.Println(sendTo(server.Client(), "GET", server.URL+"/healthz", "", ""))
	// Output:
	// log: HEAD /apisix/admin
	// 200
	// log: GET /apisix/admin/routes
	// 200 {"list":[],"total":0}
	// 200 fine
}

// Below a path of one's own: the mux takes it away again.
func ExampleHandler_ServeHTTP() {
	gw, err := gateway.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
	admin, err := adminapi.New(context.Background(), gw, &adminapi.Options{Keys: []adminapi.Key{{Value: "edd1c9f0"}}})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/edge/", http.StripPrefix("/edge", admin))

	r := httptest.NewRequest("GET", "/edge/apisix/admin/ssls", nil)
	r.Header.Set("X-API-KEY", "edd1c9f0")
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	fmt.Println(w.Code, strings.TrimSpace(w.Body.String()))
	// Output:
	// 200 {"list":[],"total":0}
}

// One key for those who change things, another for those who look.
func ExampleKey() {
	gw, err := gateway.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
	handler, err := adminapi.New(context.Background(), gw, &adminapi.Options{Keys: []adminapi.Key{
		{Value: "the deployment's"},
		{Value: "the dashboard's", Role: adminapi.RoleViewer},
	}})
	if err != nil {
		log.Fatal(err)
	}
	admin := httptest.NewServer(handler)
	defer admin.Close()

	fmt.Println(sendTo(admin.Client(), "PUT", admin.URL+"/apisix/admin/upstreams/1", "the deployment's", `{"nodes":{}}`)[:3])
	fmt.Println(sendTo(admin.Client(), "GET", admin.URL+"/apisix/admin/upstreams/1", "the dashboard's", "")[:3])
	fmt.Println(sendTo(admin.Client(), "DELETE", admin.URL+"/apisix/admin/upstreams/1", "the dashboard's", ""))
	fmt.Println(sendTo(admin.Client(), "DELETE", admin.URL+"/apisix/admin/upstreams/1", "", ""))
	// Output:
	// 201
	// 200
	// 401 {"description":"invalid method for role viewer","error_msg":"failed to check token"}
	// 401 {"description":"missing apikey","error_msg":"failed to check token"}
}

// For a first try on one's own machine no key is needed. Requests for any other
// host are refused.
func ExampleOptions() {
	gw, err := gateway.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
	if _, err := adminapi.New(context.Background(), gw, nil); err != nil {
		fmt.Println("without a key:", strings.Split(err.Error(), ":")[1])
	}
	handler, err := adminapi.New(context.Background(), gw, &adminapi.Options{AllowUnauthenticated: true})
	if err != nil {
		log.Fatal(err)
	}
	for _, url := range []string{"http://127.0.0.1:9180/apisix/admin/routes", "http://rebound.example:9180/apisix/admin/routes"} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("GET", url, nil))
		fmt.Println(w.Code, strings.TrimSpace(w.Body.String()))
	}
	// Output:
	// without a key:  Options.Keys
	// 200 {"list":[],"total":0}
	// 403 {"error_msg":"without an API key, only requests for localhost or a loopback address are answered"}
}

// A Secret can be logged with whatever holds it.
func ExampleSecret() {
	keys := []adminapi.Key{{Value: "edd1c9f0", Role: adminapi.RoleViewer}}
	fmt.Printf("%+v\n", keys)
	// Output:
	// [{Value:[redacted] Role:1}]
}

// announced is a Storage that says what is written to another.
type announced struct{ adminapi.Storage }

func (a announced) Commit(ctx context.Context, writes ...adminapi.Write) ([]adminapi.Record, error) {
	records, err := a.Storage.Commit(ctx, writes...)
	for i, w := range writes {
		if w.Delete || err != nil {
			fmt.Println("deleted", w.Key, err)
		} else {
			fmt.Println("saved", records[i], err)
		}
	}
	return records, err
}

// A storage of one's own sees every change before it holds. Package storagetest
// tests one.
func ExampleStorage() {
	storage := announced{&adminapi.Memory{}}
	start := func() *httptest.Server {
		gw, err := gateway.New(nil)
		if err != nil {
			log.Fatal(err)
		}
		handler, err := adminapi.New(context.Background(), gw, &adminapi.Options{
			Keys:    []adminapi.Key{{Value: "edd1c9f0"}},
			Storage: storage,
		})
		if err != nil {
			log.Fatal(err)
		}
		return httptest.NewServer(handler)
	}
	admin := start()
	url := "/apisix/admin/upstreams/1"
	sendTo(admin.Client(), "PUT", admin.URL+url, "edd1c9f0", `{"nodes":{"127.0.0.1:8080":1}}`)
	admin.Close()

	admin = start() // again, with what the storage holds
	defer admin.Close()
	fmt.Println(sendTo(admin.Client(), "GET", admin.URL+url, "edd1c9f0", "")[:3])
	sendTo(admin.Client(), "DELETE", admin.URL+url, "edd1c9f0", "")
	// Output:
	// saved {Key:"/upstreams/1" Value:[redacted] Created:1 Modified:1} <nil>
	// 200
	// deleted /upstreams/1 <nil>
}

// What was put is there after a restart.
func ExampleOpenFile() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for _, method := range []string{"PUT", "GET"} {
		storage, err := adminapi.OpenFile(filepath.Join(dir, "gateway.data"))
		if err != nil {
			log.Fatal(err)
		}
		gw, err := gateway.New(nil)
		if err != nil {
			log.Fatal(err)
		}
		handler, err := adminapi.New(context.Background(), gw, &adminapi.Options{Keys: []adminapi.Key{{Value: "edd1c9f0"}}, Storage: storage})
		if err != nil {
			log.Fatal(err)
		}
		admin := httptest.NewServer(handler)
		fmt.Println(sendTo(admin.Client(), method, admin.URL+"/apisix/admin/upstreams/1", "edd1c9f0", `{"nodes":{"127.0.0.1:8081":1}}`)[:3])
		admin.Close()
		gw.Close()
		handler.Close()
		if err := storage.Close(); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// 201
	// 200
}

// A Storage compares revisions: whoever has not seen the last change does not
// overwrite it.
func ExampleMemory() {
	ctx := context.Background()
	var storage adminapi.Memory
	first, err := storage.Commit(ctx, adminapi.Write{Key: "/routes/1", Value: []byte(`{}`)}) // which must be new
	fmt.Println(first, err)
	seen := first[0].Modified
	second, err := storage.Commit(ctx, adminapi.Write{Key: "/routes/1", Value: []byte(`{}`), Prev: seen})
	fmt.Println(second, err)
	_, err = storage.Commit(ctx, adminapi.Write{Key: "/routes/1", Value: []byte(`{}`), Prev: seen})
	fmt.Println(err, errors.Is(err, adminapi.ErrConflict))
	_, err = storage.Commit(ctx, adminapi.Write{Key: "/routes/1", Delete: true, Prev: adminapi.AnyRevision})
	fmt.Println(err)
	records, err := storage.Load(ctx)
	fmt.Println(len(records), err)
	// Output:
	// [{Key:"/routes/1" Value:[redacted] Created:1 Modified:1}] <nil>
	// [{Key:"/routes/1" Value:[redacted] Created:1 Modified:2}] <nil>
	// adminapi: value changed before overwritten true
	// <nil>
	// 0 <nil>
}

// The Admin API behind mTLS of its own: a server of one's own, and an ssl.Store
// that says whose client certificates are taken. The key is needed as well.
func ExampleHandler_mutualTLS() {
	gw, err := gateway.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
	handler, err := adminapi.New(context.Background(), gw, &adminapi.Options{Keys: []adminapi.Key{{Value: "edd1c9f0"}}})
	if err != nil {
		log.Fatal(err)
	}

	t := &testing.T{} // certificates for an example; yours come from files
	servers, operators := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "operators")
	store, err := ssl.NewStore(nil)
	if err != nil {
		log.Fatal(err)
	}
	_, err = store.Put(ssl.Config{
		ID:           "admin",
		Names:        []string{"admin.internal"},
		Certificates: []ssl.KeyPair{servers.Server("admin.internal")},
		Client:       &ssl.ClientAuth{CAPEM: operators.PEM()},
	})
	if err != nil {
		log.Fatal(err)
	}
	server := httptest.NewUnstartedServer(store.Handler(handler)) // with the guard in front
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = store.TLSConfig()
	server.StartTLS()
	defer server.Close()

	const url = "https://admin.internal/apisix/admin/routes"
	operator := ssltest.Client(t, server.Listener, "admin.internal", operators.Client("alice"))
	nobody := ssltest.Client(t, server.Listener, "admin.internal")
	fmt.Println(sendTo(operator, "GET", url, "edd1c9f0", ""))
	fmt.Println(sendTo(operator, "GET", url, "", ""))
	fmt.Println(sendTo(nobody, "GET", url, "edd1c9f0", ""))
	// Output:
	// 200 {"list":[],"total":0}
	// 401 {"description":"missing apikey","error_msg":"failed to check token"}
	// no answer
}

// A document may be put for a time. Close ends what the Handler does by itself.
func ExampleHandler_Close() {
	gw, err := gateway.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
	handler, err := adminapi.New(context.Background(), gw, &adminapi.Options{Keys: []adminapi.Key{{Value: "edd1c9f0"}}})
	if err != nil {
		log.Fatal(err)
	}
	defer handler.Close()
	admin := httptest.NewServer(handler)
	defer admin.Close()

	fmt.Println(sendTo(admin.Client(), "PUT", admin.URL+"/apisix/admin/upstreams/1?ttl=60", "edd1c9f0", `{"nodes":{}}`)[:3])
	// Output:
	// 201
}

// secretFiles finds secrets in files of a directory: "$secret://files/admin/tls.key".
type secretFiles struct{ dir *os.Root }

func (f secretFiles) ResolveSecret(_ context.Context, reference string) (string, error) {
	name, ok := strings.CutPrefix(reference, "$secret://files/")
	if !ok {
		return "", errors.New("is not in the files")
	}
	text, err := f.dir.ReadFile(name) // and nothing outside of the directory
	if err != nil {
		return "", errors.New("cannot be read")
	}
	return string(text), nil
}

// Private keys in files, and references to them in documents.
func ExampleSecretResolver() {
	t := &testing.T{} // certificates for an example; yours are there
	pair := ssltest.NewCA(t, "servers").Server("a.test")
	path, err := os.MkdirTemp("", "secrets")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(path)
	dir, err := os.OpenRoot(path)
	if err != nil {
		log.Fatal(err)
	}
	defer dir.Close()
	for name, text := range map[string][]byte{"tls.crt": pair.CertPEM, "tls.key": pair.KeyPEM} {
		if err := dir.WriteFile(name, text, 0o600); err != nil {
			log.Fatal(err)
		}
	}

	gw, err := gateway.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
	handler, err := adminapi.New(context.Background(), gw, &adminapi.Options{
		Keys:    []adminapi.Key{{Value: "edd1c9f0"}},
		Secrets: secretFiles{dir},
	})
	if err != nil {
		log.Fatal(err)
	}
	admin := httptest.NewServer(handler)
	defer admin.Close()
	url := admin.URL + "/apisix/admin/ssls/1"
	fmt.Println(sendTo(admin.Client(), "PUT", url, "edd1c9f0", `{"sni":"a.test","cert":"$secret://files/tls.crt","key":"$secret://files/tls.key"}`)[:3])
	fmt.Println(sendTo(admin.Client(), "PUT", url, "edd1c9f0", `{"sni":"a.test","cert":"$secret://files/tls.crt","key":"$secret://files/../key"}`))
	// Output:
	// 201
	// 400 {"error_msg":"invalid configuration: property \"key\" validation failed: failed to resolve $secret://files/../key: cannot be read"}
}

// Which route a request finds, and why not another.
func ExampleHandler_explain() {
	gw, err := gateway.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
	handler, err := adminapi.New(context.Background(), gw, &adminapi.Options{Keys: []adminapi.Key{{Value: "edd1c9f0"}}})
	if err != nil {
		log.Fatal(err)
	}
	admin := httptest.NewServer(handler)
	defer admin.Close()
	url := admin.URL + "/apisix/admin"
	sendTo(admin.Client(), "PUT", url+"/routes/1", "edd1c9f0", `{"uri":"/api/*","methods":["POST"],"upstream":{"nodes":{}}}`)
	fmt.Println(sendTo(admin.Client(), "POST", url+"/explain", "edd1c9f0", `{"url":"http://a.test/api/x"}`))
	// Output:
	// 200 {"candidates":[{"id":"1","outcome":"passed over","reason":"the method is none of POST","uri":"/api/*"}],"reason":"no route fits: the answer is 404","route":null}
}

// A certificate that is renewed where it is kept, here in the environment.
func ExampleHandler_Refresh() {
	t := &testing.T{} // certificates for an example
	ca := ssltest.NewCA(t, "servers")
	renew := func() {
		pair := ca.Server("a.test")
		os.Setenv("EXAMPLE_CERT", string(pair.CertPEM))
		os.Setenv("EXAMPLE_KEY", string([]byte(pair.KeyPEM)))
	}
	renew()
	gw, err := gateway.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
	handler, err := adminapi.New(context.Background(), gw, &adminapi.Options{Keys: []adminapi.Key{{Value: "edd1c9f0"}}})
	if err != nil {
		log.Fatal(err)
	}
	admin := httptest.NewServer(handler)
	defer admin.Close()
	fmt.Println(sendTo(admin.Client(), "PUT", admin.URL+"/apisix/admin/ssls/1", "edd1c9f0", `{"sni":"a.test","cert":"$env://EXAMPLE_CERT","key":"$env://EXAMPLE_KEY"}`)[:3])

	renew()
	fmt.Println(handler.Refresh(context.Background()))
	// Output:
	// 201
	// <nil>
}

// The whole configuration comes from a document, and nobody can change it otherwise.
func ExampleHandler_Load() {
	gw, err := gateway.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
	handler, err := adminapi.New(context.Background(), gw, &adminapi.Options{Headless: true})
	if err != nil {
		log.Fatal(err)
	}
	defer handler.Close()
	fmt.Println(handler.Load(context.Background(), strings.NewReader(`{
		"upstreams": [{"id": "pets", "nodes": {"${{PETS:=127.0.0.1:8081}}": 1}}],
		"routes": [{"uri": "/pets/*", "upstream_id": "pets"}]
	}`)))
	fmt.Println(handler.Load(context.Background(), strings.NewReader(`{"routes": [{"id": 1}]}`)))
	// Output:
	// <nil>
	// adminapi: document: routes[0], id "1": invalid configuration: allOf 1 failed: value should match only one schema, but matches none (a route needs one of uri and uris)
}

// A file is the configuration, whoever writes it.
func ExampleHandler_WatchFile() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "apisix.json")
	write := func(text string) {
		if err := errors.Join(os.WriteFile(path+".new", []byte(text), 0o600), os.Rename(path+".new", path)); err != nil {
			log.Fatal(err)
		}
	}
	gw, err := gateway.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
	front := httptest.NewServer(gw)
	defer front.Close()
	handler, err := adminapi.New(context.Background(), gw, &adminapi.Options{Headless: true})
	if err != nil {
		log.Fatal(err)
	}
	write(`{"routes": [{"uri": "/a", "upstream": {"nodes": {}}}]}`)
	watcher, err := handler.WatchFile(path, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer watcher.Close()
	fmt.Println(sendTo(front.Client(), "GET", front.URL+"/b", "", "")[:3])
	write(`{"routes": [{"uri": "/b", "upstream": {"nodes": {}}}]}`)
	if err := watcher.Check(); err != nil { // or wait a second
		log.Fatal(err)
	}
	fmt.Println(sendTo(front.Client(), "GET", front.URL+"/b", "", "")[:3])
	// Output:
	// 404
	// 503
}

// A gateway of a fleet says how it stands to the storage that it follows.
func ExampleHandler_Status() {
	gw, err := gateway.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
	handler, err := adminapi.New(context.Background(), gw, &adminapi.Options{Headless: true}) // with a SharedStorage
	if err != nil {
		log.Fatal(err)
	}
	defer handler.Close()
	health := func(w http.ResponseWriter, _ *http.Request) {
		status := handler.Status()
		if status.Err != nil {
			fmt.Fprintf(w, "serving revision %d; the storage is out of reach since %v\n", status.Revision, status.Since)
		}
		for _, r := range status.Rejected {
			fmt.Fprintf(w, "%s, revision %d, is not in force: %v\n", r.Key, r.Revision, r.Err)
		}
	}
	rec := httptest.NewRecorder()
	health(rec, nil)
	fmt.Print(rec.Body)
	// Output:
}

// The status page beside the Admin API. A person gives the key as a password, to a browser
// that asks for it; a program asks for JSON.
func ExampleHandler_StatusPage() {
	gw, err := gateway.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
	admin, err := adminapi.New(context.Background(), gw, &adminapi.Options{Keys: []adminapi.Key{{Value: "edd1c9f0", Role: adminapi.RoleViewer}}})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/apisix/admin/", admin)
	mux.Handle("/status", admin.StatusPage())
	server := httptest.NewServer(mux)
	defer server.Close()

	front := httptest.NewServer(gw)
	defer front.Close()
	fmt.Println(sendTo(front.Client(), "GET", front.URL+"/nothing/here", "", "")[:3])

	fmt.Println(sendTo(server.Client(), "GET", server.URL+"/status", "", ""))
	req, err := http.NewRequest("GET", server.URL+"/status", nil)
	if err != nil {
		log.Fatal(err)
	}
	req.SetBasicAuth("", "edd1c9f0")
	req.Header.Set("Accept", "application/json")
	res, err := server.Client().Do(req)
	if err != nil {
		log.Fatal(err)
	}
	defer res.Body.Close()
	var report statuspage.Report
	if err := json.NewDecoder(res.Body).Decode(&report); err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Configuration.Storage.Kind, report.Traffic.Answers.ClientError)
	// Output:
	// 404
	// 401 failed to check token: missing apikey
	// memory 1
}

// A YAML file of APISIX's is expanded before it is parsed, so that quotes decide what a
// string is.
func ExampleExpandEnv() {
	os.Setenv("BACKEND_PORT", "8080")
	defer os.Unsetenv("BACKEND_PORT")
	text, err := adminapi.ExpandEnv("host: ${{BACKEND_HOST:=127.0.0.1}}\nport: ${{BACKEND_PORT}}")
	if err != nil {
		panic(err)
	}
	fmt.Println(text)

	_, err = adminapi.ExpandEnv("host: ${{BACKEND_HOST}}")
	fmt.Println(err)
	// Output:
	// host: 127.0.0.1
	// port: 8080
	// can't find environment variable BACKEND_HOST
}
