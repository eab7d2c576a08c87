//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"time"
)

// A namesSample is what a proxy does with many server names.
type namesSample struct {
	start    time.Duration // until it answers for one of them
	memory   int           // bytes
	replaced time.Duration // until another certificate of one name is served; 0 if it cannot
	reloaded time.Duration // the same by loading everything again
}

func (b *bench) measureNames(ctx context.Context, p proxy) (v namesSample, err error) {
	name := nthName(b.names / 2)
	proc, s, took, err := b.startProxy(ctx, p, b.names, name)
	if err != nil {
		return v, err
	}
	defer proc.stop()
	v.start = took
	if err := sleep(ctx, time.Second); err != nil {
		return v, err
	}
	if v.memory, err = memory(proc.members()); err != nil {
		return v, err
	}
	if p.replace != nil {
		if v.replaced, err = b.replace(ctx, s, proc, name, p.replace); err != nil {
			return v, err
		}
	}
	if p.reload != nil {
		v.reloaded, err = b.replace(ctx, s, proc, name, p.reload)
	}
	return v, err
}

// replace writes another certificate for a name, has the proxy told, and waits
// until it is served.
func (b *bench) replace(ctx context.Context, s site, proc *process, name string, tell func(site, *process, string) error) (time.Duration, error) {
	config, err := clientTLS(s.clientPEM())
	if err != nil {
		return 0, err
	}
	config.ServerName = name
	old, err := serial(s, config)
	if err != nil {
		return 0, err
	}
	if err := b.servers.issue(s.namePEM(name), name, x509.ExtKeyUsageServerAuth); err != nil {
		return 0, err
	}
	start := time.Now()
	if err := tell(s, proc, name); err != nil {
		return 0, err
	}
	told := time.Since(start)
	took, err := eventually(ctx, proc, func() error {
		now, err := serial(s, config)
		if err == nil && now.Cmp(old) == 0 {
			err = errors.New("the old certificate is served")
		}
		return err
	})
	return told + took, err
}

// serial returns the serial number of the certificate that is served.
func serial(s site, config *tls.Config) (*big.Int, error) {
	c, err := dial(s.Listen, config, "http/1.1", time.Now().Add(10*time.Second))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber, nil
}
