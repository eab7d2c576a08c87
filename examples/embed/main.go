// Embed is a service that is its own mTLS gateway: it answers some requests itself, sends
// others to an upstream, and is configured at run time through an Admin API mounted on its
// own mux, behind its own middleware. It finishes what it has begun when it is stopped.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
)

// hello greets the client by the subject of its verified certificate.
func hello(w http.ResponseWriter, r *http.Request) {
	who := "stranger"
	if client := ssl.FromContext(r.Context()); client != nil {
		who = client.Subject()
	}
	fmt.Fprintf(w, "Hello, %s.\n", who)
}

// logged is a middleware of this service.
func logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		log.Printf("%s %s from %s", r.Method, r.URL.Path, r.RemoteAddr)
		next.ServeHTTP(w, r)
	})
}

// newService returns the gateway, and the mux that its Admin API is mounted on.
func newService(ctx context.Context, adminKey string) (*gateway.Server, http.Handler, error) {
	gw, err := gateway.New(nil)
	if err != nil {
		return nil, nil, err
	}
	report, err := gw.Apply(gateway.Change{Put: gateway.Config{
		Routes: []route.Config{{ID: "hello", Paths: []string{"/hello"}, Handler: http.HandlerFunc(hello)}},
	}})
	if err != nil {
		return nil, nil, err
	}
	for _, warning := range report.Warnings {
		log.Print(warning) // such as of a route that can never be found
	}
	admin, err := adminapi.New(ctx, gw, &adminapi.Options{
		Keys: []adminapi.Key{{Value: adminapi.Secret(adminKey)}},
	})
	if err != nil {
		return nil, nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/apisix/admin", logged(admin)) // clients try their key there
	mux.Handle("/apisix/admin/", logged(admin))
	mux.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	return gw, mux, nil
}

func main() {
	gw, mux, err := newService(context.Background(), os.Getenv("ADMIN_KEY"))
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:8443")
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(http.ListenAndServe("127.0.0.1:8180", mux)) }()
	served := make(chan error, 1)
	go func() { served <- gw.ServeTLS(l) }()
	log.Printf("https on %s, Admin API on 127.0.0.1:8180", l.Addr())

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	select {
	case err := <-served:
		log.Fatal(err)
	case <-ctx.Done():
		stop() // a second signal ends the process at once
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := gw.Shutdown(ctx); err != nil {
		log.Print(err) // some requests took longer
	}
}
