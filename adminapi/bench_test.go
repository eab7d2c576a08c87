package adminapi_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/gateway"
)

// BenchmarkAdmin measures one request to the Admin API of a gateway with some
// routes. What does not grow with the routes must not grow here.
func BenchmarkAdmin(b *testing.B) {
	for _, routes := range []int{100, 10000} {
		h := benchHandler(b, routes)
		last := fmt.Sprintf("/apisix/admin/routes/%d", routes-1)
		for _, bench := range []struct{ name, method, path, body string }{
			{"op=put", "PUT", last, benchRoute(0)},
			{"op=refuse", "PUT", last, `{"uri":"/0"}`},
			{"op=get", "GET", last, ""},
			{"op=page", "GET", "/apisix/admin/routes?page=2&page_size=50", ""},
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

// BenchmarkNew measures a start with what a storage holds.
func BenchmarkNew(b *testing.B) {
	for _, routes := range []int{100, 10000} {
		storage := benchStorage(b, routes)
		b.Run(fmt.Sprintf("routes=%d", routes), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				gw := gateway.New(nil)
				if _, err := adminapi.New(gw, &adminapi.Options{AllowUnauthenticated: true, Storage: storage}); err != nil {
					b.Fatal(err)
				}
				gw.Close()
			}
		})
	}
}

func benchRoute(i int) string {
	return fmt.Sprintf(`{"uri":"/%d/*","host":"h%d.test","upstream":{"type":"roundrobin","nodes":{"127.0.0.1:8080":1}}}`, i, i%100)
}

func benchStorage(b *testing.B, routes int) adminapi.Storage {
	storage := &adminapi.Memory{}
	for i := range routes {
		if _, err := save(context.Background(), storage, fmt.Sprintf("/routes/%d", i), []byte(benchRoute(i)), 0); err != nil {
			b.Fatal(err)
		}
	}
	return storage
}

func benchHandler(b *testing.B, routes int) *adminapi.Handler {
	gw := gateway.New(nil)
	b.Cleanup(func() { gw.Close() })
	h, err := adminapi.New(gw, &adminapi.Options{Keys: []adminapi.Key{{Value: adminKey}}, Storage: benchStorage(b, routes)})
	if err != nil {
		b.Fatal(err)
	}
	return h
}
