//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"os"
	"time"

	"github.com/sallyport/sallyport/internal/freeport"
)

// A bench is what the measurements have in common: a directory, its keys, and the
// origin. Its close undoes all of it.
type bench struct {
	options
	site
	cpu      places
	progress io.Writer
	servers  *authority
	roots    *x509.CertPool
	origin   *process
}

func newBench(ctx context.Context, o options, progress io.Writer) (_ *bench, err error) {
	b := &bench{options: o, progress: progress, cpu: place(), roots: x509.NewCertPool()}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	b.site.Conns = o.conns()
	if b.site.Dir, err = os.MkdirTemp("", "compare"); err != nil {
		return nil, err
	}
	if b.servers, err = writePKI(b.site, o.names); err != nil {
		return nil, err
	}
	b.roots.AddCert(b.servers.cert)
	address, held, err := freeport.Hold()
	if err != nil {
		return nil, err
	}
	defer held.Close() // the origin listens by then
	b.site.Origin = address
	command, err := role("origin", b.site)
	if err != nil {
		return nil, err
	}
	if b.origin, err = start(b.site, "origin", b.cpu.origin, command, nil); err != nil {
		return nil, err
	}
	_, err = eventually(ctx, b.origin, func() error {
		c, err := net.Dial("tcp", b.site.Origin)
		if err == nil {
			c.Close()
		}
		return err
	})
	return b, err
}

func (b *bench) close() {
	if b.origin != nil {
		b.origin.stop()
	}
	os.RemoveAll(b.site.Dir)
}

// startProxy starts a proxy and waits until it answers for a name, for which it returns
// how long it took.
func (b *bench) startProxy(ctx context.Context, p proxy, names int, name string) (*process, site, time.Duration, error) {
	s := b.site
	s.Names = names
	// Of its own, so that the ends of connections to the one before are in nobody's way.
	address, held, err := freeport.Hold()
	if err != nil {
		return nil, s, 0, err
	}
	defer held.Close() // the proxy listens by then
	s.Listen = address
	command, err := p.command(p, s)
	if err != nil {
		return nil, s, 0, err
	}
	config, err := clientTLS(s.clientPEM())
	if err != nil {
		return nil, s, 0, err
	}
	config.ServerName = name
	proc, err := start(s, "proxy", b.cpu.proxy, command, nil)
	if err != nil {
		return nil, s, 0, err
	}
	took, err := eventually(ctx, proc, func() error { return answers(s, config) })
	if err != nil {
		proc.stop()
		return nil, s, 0, err
	}
	return proc, s, took, nil
}

// answers asks a proxy for the small body, with the load's own client.
func answers(s site, config *tls.Config) error {
	c, err := dial(s.Listen, config, "http/1.1", time.Now().Add(10*time.Second))
	if err != nil {
		return err
	}
	defer c.Close()
	return newExchange(config.ServerName, work{Path: "/small", Want: smallBytes}).do(c)
}
