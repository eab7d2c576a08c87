package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// This file is what stands between the pool and those who connect and resolve for it. They
// are called by goroutines of the pool's, in which nobody else could recover from a panic: it
// would end the process, where it should cost a request or a probe.

// guarded returns a Dialer whose panic is an error, as is a connection that is none.
func (d DialFunc) guarded() DialFunc {
	return func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		defer func() {
			if r := recover(); r != nil {
				conn, err = nil, fmt.Errorf("the Dialer panicked: %v", r)
			}
		}()
		if conn, err = d(ctx, network, address); conn == nil && err == nil {
			err = errors.New("the Dialer returned neither a connection nor an error")
		}
		return conn, err
	}
}

// A guardedResolver is a Resolver whose panic is an error.
type guardedResolver struct{ Resolver }

func (r guardedResolver) LookupNetIP(ctx context.Context, network, host string) (list []netip.Addr, err error) {
	defer func() {
		if r := recover(); r != nil {
			list, err = nil, fmt.Errorf("the Resolver panicked: %v", r)
		}
	}()
	return r.Resolver.LookupNetIP(ctx, network, host)
}
