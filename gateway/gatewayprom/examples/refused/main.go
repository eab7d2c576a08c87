// Refused is a gateway that refuses some of its clients, and a Prometheus that is asked why.
//
//	cd gateway/gatewayprom && go run ./examples/refused
//
// The gateway demands client certificates for one name. Clients come that have none, or one
// of another CA, or an expired one, or that want another name. Prometheus, if it is installed
// (Debian's package has that name), reads the metrics each second; the query and its answer
// are printed.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "refused:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	servers, partners, strangers, err := newCAs()
	if err != nil {
		return err
	}
	gw, address, err := serveGateway(servers, partners)
	if err != nil {
		return err
	}
	defer gw.Close()
	metrics, target, err := serveMetrics(gw)
	if err != nil {
		return err
	}
	defer metrics.Close()
	fmt.Printf("gateway     https://%s (%s)\nmetrics     http://%s/metrics\n", address, serverName, target)

	clients, err := newVisitors(address, partners, strangers)
	if err != nil {
		return err
	}
	if program, err := exec.LookPath("prometheus"); err == nil {
		prometheus, err := startPrometheus(ctx, program, target)
		if err != nil {
			return err
		}
		defer prometheus.stop()
		if err := ask(ctx, prometheus, clients); err != nil {
			return err
		}
	} else {
		fmt.Println("\nPrometheus is not installed. The counts that it would read:")
		fmt.Printf("curl -s http://%s/metrics | grep tls_handshake_failures\n", target)
		go clients.keepComing(ctx)
	}
	fmt.Println("\nClients keep coming. Ctrl-C stops.")
	<-ctx.Done()
	return nil
}

// why is the question, and reasons how many answers there are to it.
const (
	why     = `sum by (profile, reason) (round(increase(sallyport_tls_handshake_failures_total[5m]))) > 0`
	reasons = 4
)

// ask lets clients come, and asks why some were refused.
func ask(ctx context.Context, prometheus *database, clients visitors) error {
	fmt.Printf("Prometheus  http://%s\n", prometheus.address)
	// It takes two readings to see an increase: one before the first client.
	if _, err := prometheus.await(ctx, `sallyport_tls_handshake_failures_total{reason="expired"} == 0`, 1); err != nil {
		return err
	}
	go clients.keepComing(ctx)
	answer, err := prometheus.await(ctx, why, reasons)
	if err != nil {
		return err
	}
	fmt.Printf("\n# Why were handshakes refused in the last five minutes?\n%s\n\n", why)
	for _, s := range answer {
		fmt.Printf("%-10s %-15s %s\n", s.Labels["profile"], s.Labels["reason"], s.Value)
	}
	return nil
}
