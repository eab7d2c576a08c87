package adminapi_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// BenchmarkAdmin measures one request to the Admin API of a gateway with some routes, and
// a tenth as many ssl objects. What does not grow with them must not grow here. At 100 000
// routes and 10 000 ssl objects, a PUT is to stay below 5 ms, a page below 50 ms.
func BenchmarkAdmin(b *testing.B) {
	for _, routes := range []int{100, 10000, 100000} {
		pair := ssltest.NewCA(b, "servers").Server("h.test")
		h := benchHandler(b, routes, pair)
		last := fmt.Sprintf("/apisix/admin/routes/%d", routes-1)
		for _, bench := range []struct{ name, method, path, body string }{
			{"op=put", "PUT", last, benchRoute(0)},
			{"op=put/kind=ssl", "PUT", "/apisix/admin/ssls/1", benchSSL(b, 1, pair)},
			{"op=patch", "PATCH", last, `{"priority":1}`},
			{"op=refuse", "PUT", last, `{"uri":"/0"}`},
			{"op=get", "GET", last, ""},
			{"op=page", "GET", "/apisix/admin/routes?page=2&page_size=50", ""},
			{"op=page/filter=uri", "GET", "/apisix/admin/routes?page=2&page_size=50&uri=^/1", ""},
			{"op=page/kind=ssl", "GET", "/apisix/admin/ssls?page=2&page_size=50", ""},
			{"op=list", "GET", "/apisix/admin/routes", ""},
		} {
			b.Run(fmt.Sprintf("routes=%d/%s", routes, bench.name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					r := httptest.NewRequest(bench.method, bench.path, strings.NewReader(bench.body))
					r.Header.Set("X-API-KEY", adminKey)
					serveOne(h, r)
				}
			})
		}
	}
}

// BenchmarkConfigs measures a whole configuration of which one document has changed.
func BenchmarkConfigs(b *testing.B) {
	for _, routes := range []int{100, 10000} {
		h := benchHandler(b, 0, ssl.KeyPair{})
		b.Run(fmt.Sprintf("routes=%d", routes), func(b *testing.B) {
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				b.StopTimer()
				var doc strings.Builder
				doc.WriteString(`{"routes":[`)
				for i := range routes {
					if i > 0 {
						doc.WriteByte(',')
					}
					text := benchRoute(i)
					if i == 0 {
						text = benchRoute(routes + n)
					}
					fmt.Fprintf(&doc, `{"id":%d,%s`, i+1, text[1:])
				}
				doc.WriteString(`]}`)
				b.StartTimer()
				r := httptest.NewRequest("PUT", "/apisix/admin/configs", strings.NewReader(doc.String()))
				r.Header.Set("X-API-KEY", adminKey)
				r.Header.Set("X-Digest", fmt.Sprint(n))
				if rec := serveOne(h, r); rec.Code != 202 {
					b.Fatal(rec.Code, rec.Body)
				}
			}
		})
	}
}

// BenchmarkNew measures a start with what a file holds, each ssl object with a certificate of
// its own, and the memory that is in use then. With 100 000 routes and 10 000 ssl objects
// it is to stay below 5 s, with 10 000 ssl objects alone below 0.5 s and 130 MiB.
func BenchmarkNew(b *testing.B) {
	for _, size := range []struct{ routes, ssls int }{{100, 0}, {10000, 0}, {0, 10000}, {100000, 10000}} {
		b.Run(fmt.Sprintf("routes=%d/ssls=%d", size.routes, size.ssls), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "data")
			benchFile(b, path, size.routes, size.ssls)
			b.ReportAllocs()
			for b.Loop() {
				storage, err := adminapi.OpenFile(path)
				if err != nil {
					b.Fatal(err)
				}
				gw := must(gateway.New(nil))
				h, err := adminapi.New(b.Context(), gw, &adminapi.Options{AllowUnauthenticated: true, Storage: storage})
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "MiB")
				runtime.KeepAlive(h)
				gw.Close()
				storage.Close()
				b.StartTimer()
			}
		})
	}
}

// benchFile makes a file with routes and ssl objects.
func benchFile(b *testing.B, path string, routes, ssls int) {
	storage, err := adminapi.OpenFile(path)
	if err != nil {
		b.Fatal(err)
	}
	defer storage.Close()
	ca := ssltest.NewCA(b, "servers")
	var writes []adminapi.Write
	for i := range routes {
		writes = append(writes, adminapi.Write{Key: fmt.Sprintf("/routes/%d", i), Value: []byte(benchRoute(i))})
	}
	for i := range ssls {
		writes = append(writes, adminapi.Write{Key: fmt.Sprintf("/ssls/%d", i), Value: []byte(benchSSL(b, i, ca.Server(fmt.Sprintf("h%d.test", i))))})
	}
	if _, err := storage.Commit(b.Context(), writes...); err != nil {
		b.Fatal(err)
	}
}

func benchRoute(i int) string {
	return fmt.Sprintf(`{"uri":"/%d/*","host":"h%d.test","upstream":{"type":"roundrobin","nodes":{"127.0.0.1:8080":1}}}`, i, i%100)
}

func benchSSL(b *testing.B, i int, pair ssl.KeyPair) string {
	return encode(b, map[string]any{"sni": fmt.Sprintf("h%d.test", i), "cert": string(pair.CertPEM), "key": string([]byte(pair.KeyPEM))})
}

// benchStorage holds routes and, with a pair, a tenth as many ssl objects.
func benchStorage(b *testing.B, routes int, pair ssl.KeyPair) adminapi.Storage {
	storage := &adminapi.Memory{}
	for i := range routes {
		if _, err := save(context.Background(), storage, fmt.Sprintf("/routes/%d", i), []byte(benchRoute(i)), 0); err != nil {
			b.Fatal(err)
		}
	}
	for i := range routes / 10 {
		if pair.CertPEM == nil {
			break
		}
		if _, err := save(context.Background(), storage, fmt.Sprintf("/ssls/%d", i+1), []byte(benchSSL(b, i, pair)), 0); err != nil {
			b.Fatal(err)
		}
	}
	return storage
}

func benchHandler(b *testing.B, routes int, pair ssl.KeyPair) *adminapi.Handler {
	gw := must(gateway.New(nil))
	b.Cleanup(func() { gw.Close() })
	h, err := adminapi.New(b.Context(), gw, &adminapi.Options{Keys: []adminapi.Key{{Value: adminKey}}, Storage: benchStorage(b, routes, pair)})
	if err != nil {
		b.Fatal(err)
	}
	return h
}
