// Quickstart is a gateway to try things out with: HTTPS, plain HTTP and the Admin
// API on loopback, and a small origin of its own. It prints what to do next.
//
//	go run ./examples/quickstart
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/accesslog"
	"github.com/sallyport/sallyport/route"
)

func main() {
	c := config{}
	flag.StringVar(&c.https, "https", "127.0.0.1:9443", "`address` of the gateway with TLS, or off")
	flag.StringVar(&c.http, "http", "127.0.0.1:9080", "`address` of the gateway without TLS, or off")
	flag.StringVar(&c.admin, "admin", "127.0.0.1:9180", "`address` of the Admin API, or off")
	flag.StringVar(&c.origin, "origin", "127.0.0.1:8081", "`address` of the built-in origin, or off")
	flag.StringVar(&c.key, "admin-key", "", "`key` of the Admin API; without one it answers on loopback only")
	flag.StringVar(&c.data, "data", "", "`file` that keeps the configuration; without one it is gone at the end")
	flag.StringVar(&c.log, "access-log", "", "`file` that gets a record of each request and each handshake, or - for standard output")
	flag.StringVar(&c.plain, "plain", "guarded", "`rule` for what is served without TLS: guarded, or open for everything as in APISIX")
	flag.TextVar(&c.router, "router", route.RouterHostURI, "`router` of APISIX that finds routes: host_uri, uri or uri_with_parameter")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the draining
	if err := run(ctx, c); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// A config is what the flags say.
type config struct {
	https, http, admin, origin, key, data, log, plain string
	router                                            route.Router
}

// A door is one listener and what serves it.
type door struct {
	name     string
	flag     string
	addr     *string
	serve    func(net.Listener) error
	shutdown func(context.Context) error
}

func run(ctx context.Context, c config) error {
	if flag.NArg() > 0 {
		return fmt.Errorf("%q is no flag: see -help", flag.Arg(0))
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	options := &gateway.Options{Logger: logger, Route: route.Options{Router: c.router}}
	switch c.plain {
	case "guarded":
	case "open":
		options.PlainHTTP = gateway.PlainOpen
	default:
		return fmt.Errorf("-plain %q is neither guarded nor open", c.plain)
	}
	if c.log != "" {
		access, err := openAccessLog(c.log)
		if err != nil {
			return err
		}
		defer access.Close()
		options.AccessLog = slog.New(access)
		options.TLS.HandshakeLog = options.AccessLog
	}
	gw, err := gateway.New(options)
	if err != nil {
		return err
	}
	defer gw.Close()
	var storage adminapi.Storage // nil: memory
	if c.data != "" {
		file, err := adminapi.OpenFile(c.data)
		if err != nil {
			return err
		}
		defer file.Close()
		storage = file
	}
	admin, err := newAdmin(ctx, gw, c, storage, logger)
	if err != nil {
		return err
	}
	origin := newServer(http.HandlerFunc(serveOrigin))

	failed := make(chan error, 4)
	var open []door
	for _, d := range []door{
		{"HTTPS", "https", &c.https, gw.ServeTLS, gw.Shutdown},
		{"HTTP", "http", &c.http, gw.Serve, gw.Shutdown},
		{"Admin API", "admin", &c.admin, admin.Serve, admin.Shutdown},
		{"Origin", "origin", &c.origin, origin.Serve, origin.Shutdown},
	} {
		if *d.addr == "off" {
			continue
		}
		l, err := net.Listen("tcp", *d.addr)
		if err != nil {
			return fmt.Errorf("%s: %w (another address, or off: -%s)", d.name, err, d.flag)
		}
		*d.addr = l.Addr().String() // port 0 has become a port
		fmt.Printf("%-10s %s\n", d.name, l.Addr())
		open = append(open, d)
		go func() {
			if err := d.serve(l); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("%s: %w", d.name, err)
			}
		}()
	}
	if len(open) == 0 {
		return errors.New("everything is off")
	}
	printNextSteps(c)
	printStatusPage(c)
	fmt.Println("\nCtrl-C drains and stops, at once if it is pressed again.")

	select {
	case err = <-failed:
	case <-ctx.Done():
		fmt.Println("Draining.")
	}
	drain, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, d := range open {
		err = errors.Join(err, d.shutdown(drain))
	}
	return err
}

// openAccessLog returns a log at the end of a file. It stays open until the process ends.
func openAccessLog(name string) (*accesslog.Handler, error) {
	if name == "-" {
		return accesslog.New(os.Stdout, &accesslog.Options{AtOnce: slog.LevelInfo}), nil
	}
	file, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, fmt.Errorf("-access-log: %w", err)
	}
	return accesslog.New(file, nil), nil
}

// newAdmin returns the server of the Admin API.
func newAdmin(ctx context.Context, gw *gateway.Server, c config, storage adminapi.Storage, logger *slog.Logger) (*http.Server, error) {
	options := &adminapi.Options{Storage: storage, Logger: logger}
	if c.key != "" {
		options.Keys = []adminapi.Key{{Value: adminapi.Secret(c.key)}}
	} else {
		options.AllowUnauthenticated = true
		if c.admin != "off" && !loopback(c.admin) {
			return nil, fmt.Errorf("-admin %s is not on loopback: give it an -admin-key", c.admin)
		}
	}
	handler, err := adminapi.New(ctx, gw, options)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", handler)
	mux.Handle("/status", handler.StatusPage())
	return newServer(mux), nil
}

func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func newServer(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: time.Minute}
}
