//go:build linux

package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// Bounds that are the same for every proxy: no connection is closed within a
// measurement, on either side.
const (
	idleTimeout  = 10 * time.Minute
	idleUpstream = 1024
	maxStreams   = 256
)

// runGateway is the gateway, configured as a Go service configures it.
func runGateway(config []byte) error {
	var s site
	if err := json.Unmarshal(config, &s); err != nil {
		return err
	}
	origin, err := netip.ParseAddrPort(s.Origin)
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(s.clientCA())
	if err != nil {
		return err
	}
	profile := func(name, file string) (ssl.Config, error) {
		pair, err := ssl.LoadKeyPair(file, file)
		return ssl.Config{ID: name, Names: []string{name}, Certificates: []ssl.KeyPair{pair},
			Client: &ssl.ClientAuth{CAPEM: ca}, MinVersion: tls.VersionTLS13}, err
	}
	all := gateway.Config{
		Upstreams: []upstream.Config{{
			ID:        "origin",
			Nodes:     []upstream.Node{{Host: origin.Addr().String(), Port: int(origin.Port()), Weight: 1}},
			KeepAlive: upstream.KeepAlive{Size: idleUpstream, IdleTimeout: idleTimeout, Requests: 1_000_000_000},
		}},
		Routes: []route.Config{{ID: "all", Paths: []string{"/*"}, Upstream: "origin"}},
	}
	for name, file := range s.keyPairs() {
		p, err := profile(name, file)
		if err != nil {
			return err
		}
		all.Profiles = append(all.Profiles, p)
	}

	gw, err := gateway.New(&gateway.Options{Limits: gateway.Limits{IdleTimeout: idleTimeout, Streams: maxStreams}})
	if err != nil {
		return err
	}
	defer gw.Close()
	if _, err := gw.Configure(all); err != nil {
		return err
	}
	go collectOnSignal()
	go onLines(func(name string) error {
		p, err := profile(name, s.namePEM(name))
		if err != nil {
			return err
		}
		_, err = gw.Apply(gateway.Change{Put: gateway.Config{Profiles: []ssl.Config{p}}})
		return err
	})
	l, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return err
	}
	return gw.ServeTLS(l)
}

// collectOnSignal collects garbage and gives memory back upon SIGUSR1, for the
// memory that is in use to be told from that which waits for the collector.
func collectOnSignal() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	for range signals {
		debug.FreeOSMemory()
	}
}

// onLines calls replace with each line of the standard input: a server name whose
// certificate has changed.
func onLines(replace func(name string) error) {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if err := replace(lines.Text()); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
		}
	}
}
