//go:build linux

// Compare measures the gateway beside its peers: a reverse proxy of net/http and
// httputil.ReverseProxy, and whichever of nginx, HAProxy and Caddy are installed.
//
//	go run ./examples/compare > figures.md
//
// All have the same work and the same configuration: TLS 1.3 with certificates
// of ECDSA P-256, client certificates required and verified, session tickets,
// connections to the origin kept, no access log, and one core. That they do
// verify is tried first. Then each piece of work is measured several times over,
// with the proxies taking turns, each in a fresh process, and the medians are
// printed as Markdown tables and, with -svg, drawn as a chart. The figure
// to go by is the CPU time of the proxy's own processes: throughput depends on
// the load and the origin too, which have to share what cores are left.
//
// Everything is on loopback, in a temporary directory, and gone at the end.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Some processes of a comparison are this program in a role: its own CPU time
// must not count as a proxy's.
var roles = map[string]func(config []byte) error{
	"origin":  runOrigin,
	"load":    runLoad,
	"gateway": runGateway,
	"nethttp": runNetHTTP,
}

func main() {
	if len(os.Args) == 4 && os.Args[1] == "-role" {
		exit(os.Args[2], roles[os.Args[2]]([]byte(os.Args[3])))
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	exit("compare", run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func exit(name string, err error) {
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	os.Exit(1)
}

// Options are what the flags say.
type options struct {
	rounds, rate, idle, names int
	time, settle, patience    time.Duration
	tests, only, svg          string
}

// conns is how many connections from clients a proxy must have room for.
func (o options) conns() int { return o.idle + 500 }

func parse(args []string, output io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("compare", flag.ContinueOnError)
	f.SetOutput(output)
	f.IntVar(&o.rounds, "rounds", 3, "`times` that each piece of work is measured, 1 to 25")
	f.DurationVar(&o.time, "time", 800*time.Millisecond, "`duration` of one measurement, 50ms to 1m")
	f.IntVar(&o.rate, "rate", 5000, "requests a second where the rate is fixed, 100 to 100000")
	f.IntVar(&o.idle, "idle", 5000, "idle `connections`, 10 to 20000")
	f.DurationVar(&o.settle, "settle", 5*time.Second, "`time` after which idle connections are measured, up to 1m")
	f.IntVar(&o.names, "names", 0, "server `names` with a certificate each, 0 (leave this out) to 20000; 10000 take some minutes with nginx")
	f.DurationVar(&o.patience, "patience", 0, fmt.Sprintf("`time`, up to 10m, that a measurement may wait and be repeated for other programs to have at most %.0f %% of the cores", 100*quiet))
	f.StringVar(&o.tests, "tests", "", "`list` of the work to measure (default all): "+strings.Join(testIDs(), ","))
	f.StringVar(&o.only, "only", "", "`list` of the proxies to measure (default all that are installed): "+strings.Join(proxyNames(allProxies()), ","))
	f.StringVar(&o.svg, "svg", "", "`file` to draw the chart to")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("%q is no flag: see -help", f.Arg(0))
	}
	return o, errors.Join(
		between("-rounds", o.rounds, 1, 25),
		between("-time", o.time, 50*time.Millisecond, time.Minute),
		between("-rate", o.rate, 100, 100_000),
		between("-idle", o.idle, 10, 20_000),
		between("-settle", o.settle, 0, time.Minute),
		between("-names", o.names, 0, 20_000),
		between("-patience", o.patience, 0, 10*time.Minute),
	)
}

func between[T int | time.Duration](name string, v, least, most T) error {
	if v < least || v > most {
		return fmt.Errorf("%s is %v, and must be %v to %v", name, v, least, most)
	}
	return nil
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	o, err := parse(args, progress)
	if err != nil {
		return err
	}
	chosen, err := choose(o.tests, allTests(), func(t test) string { return t.id })
	if err != nil {
		return fmt.Errorf("-tests: %w", err)
	}
	proxies, err := choose(o.only, allProxies(), func(p proxy) string { return p.name })
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	proxies, err = installed(ctx, proxies, o.only != "", progress)
	if err != nil {
		return err
	}
	if err := raiseFileLimit(2*o.conns() + 500); err != nil {
		return err
	}

	b, err := newBench(ctx, o, progress)
	if err != nil {
		return err
	}
	defer b.close()
	if err := b.refuseStrangers(ctx, proxies); err != nil {
		return err
	}
	results := newResults(o, proxies, chosen)
	interrupted := b.measureAll(ctx, results)
	if err := results.markdown(out); err != nil {
		return err
	}
	if o.svg != "" {
		if err := os.WriteFile(o.svg, results.chart(), 0o644); err != nil {
			return err
		}
	}
	return errors.Join(interrupted, results.failed())
}

// choose returns those of all that a list names, in the order of all.
func choose[T any](list string, all []T, id func(T) string) ([]T, error) {
	if list == "" {
		return all, nil
	}
	wanted := map[string]bool{}
	for name := range strings.SplitSeq(list, ",") {
		wanted[strings.TrimSpace(name)] = true
	}
	var chosen []T
	for _, v := range all {
		if wanted[id(v)] {
			chosen = append(chosen, v)
			delete(wanted, id(v))
		}
	}
	if len(wanted) > 0 {
		return nil, fmt.Errorf("there is no %s", strings.Join(slices.Sorted(maps.Keys(wanted)), ", "))
	}
	return chosen, nil
}
