package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/gatewayprom"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
)

// serverName is the name that the gateway answers for.
const serverName = "partners.test"

// serveGateway makes the gateway.
func serveGateway(servers, partners *ca) (_ *gateway.Server, address string, err error) {
	pair, err := servers.server(serverName)
	if err != nil {
		return nil, "", err
	}
	gw, err := gateway.New(nil)
	if err != nil {
		return nil, "", err
	}
	_, err = gw.Apply(gateway.Change{Put: gateway.Config{
		Profiles: []ssl.Config{{ID: "partners", Names: []string{serverName}, Certificates: []ssl.KeyPair{pair}, Client: &ssl.ClientAuth{CAPEM: partners.pem}}},
		Routes: []route.Config{{ID: "hello", Paths: []string{"/*"}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "Hello, %s.\n", ssl.FromContext(r.Context()).Subject())
		})}},
	}})
	if err != nil {
		return nil, "", err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	go report(func() error { return gw.ServeTLS(l) })
	return gw, l.Addr().String(), nil
}

// serveMetrics lets Prometheus read the counts of a gateway, at a listener that is not the
// gateway's own.
func serveMetrics(gw *gateway.Server) (_ *http.Server, address string, err error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(gatewayprom.NewCollector(gw, nil))
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go report(func() error { return server.Serve(l) })
	return server, l.Addr().String(), nil
}

// report serves, and says why that ended.
func report(serve func() error) {
	if err := serve(); !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintln(os.Stderr, "refused:", err)
	}
}
