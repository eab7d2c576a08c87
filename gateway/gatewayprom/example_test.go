package gatewayprom_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/gatewayprom"
	"github.com/sallyport/sallyport/route"
)

// The metrics of a gateway, at a listener of their own.
func ExampleNewCollector() {
	gw, err := gateway.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
	_, err = gw.Apply(gateway.Change{Put: gateway.Config{Routes: []route.Config{{
		ID: "hello", Paths: []string{"/hello"}, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintln(w, "hello")
		}),
	}}}})
	if err != nil {
		log.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(gatewayprom.NewCollector(gw, nil))
	metrics := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	defer metrics.Close()

	for _, path := range []string{"/hello", "/hello", "/nobody"} {
		gw.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "http://a.test"+path, nil))
	}
	res, err := http.Get(metrics.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		log.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		if strings.HasPrefix(line, "sallyport_http_requests_total") && !strings.HasSuffix(line, " 0\n") {
			fmt.Print(line)
		}
	}
	// Output:
	// sallyport_http_requests_total{code="2xx",route="hello"} 2
	// sallyport_http_requests_total{code="4xx",route=""} 1
}

// Two gateways of one program have a label each.
func ExampleNewCollector_several() {
	registry := prometheus.NewRegistry()
	for _, name := range []string{"inner", "outer"} {
		gw, err := gateway.New(nil)
		if err != nil {
			log.Fatal(err)
		}
		defer gw.Close()
		labelled := prometheus.WrapRegistererWith(prometheus.Labels{"gateway": name}, registry)
		labelled.MustRegister(gatewayprom.NewCollector(gw, &gatewayprom.Options{MaxObjects: 200}))
	}
	families, err := registry.Gather()
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "sallyport_config_changes_total" {
			for _, m := range f.GetMetric() {
				fmt.Println(f.GetName(), m.GetLabel()[0].GetValue(), m.GetCounter().GetValue())
			}
		}
	}
	// Output:
	// sallyport_config_changes_total inner 0
	// sallyport_config_changes_total outer 0
}
