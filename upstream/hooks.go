package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"time"

	"github.com/sallyport/sallyport/internal/hooks"
)

// This file is what stands between the pool and those who connect and resolve for it. They
// are called by goroutines of the pool's, in which nobody else could recover from a panic: it
// would end the process, where it should cost a request or a probe.

// guarded returns a Dialer whose panic is an error, as is a connection that is none.
//
// Where it fails because the deadline of ctx has passed, ctx is over when it returns. A
// [net.Dialer] tells the operating system of the deadline, and most often hears from it
// before the timer of ctx fires: the caller's deadline would be taken for the node's fault,
// and the timeout of a check for something else.
func (d DialFunc) guarded() DialFunc {
	return func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		panicked := hooks.Recovered(func() { conn, err = d(ctx, network, address) })
		switch {
		case panicked != nil:
			conn, err = nil, fmt.Errorf("the Dialer %w", panicked)
		case err == nil && isNil(conn):
			conn, err = nil, errors.New("the Dialer returned neither a connection nor an error")
		}
		if by, ok := ctx.Deadline(); err != nil && ok && !time.Now().Before(by) {
			select {
			case <-ctx.Done():
			case <-time.After(time.Second): // a context that somebody else has made may have no timer
			}
		}
		return conn, err
	}
}

// isNil reports whether a connection is none. A nil *net.TCPConn is not equal to nil once it
// is a net.Conn, which is an easy mistake to make, and the first method would panic.
func isNil(conn net.Conn) bool {
	v := reflect.ValueOf(conn)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}

// A guardedResolver is a Resolver whose panic is an error.
type guardedResolver struct{ Resolver }

func (r guardedResolver) LookupNetIP(ctx context.Context, network, host string) (list []netip.Addr, err error) {
	if panicked := hooks.Recovered(func() { list, err = r.Resolver.LookupNetIP(ctx, network, host) }); panicked != nil {
		return nil, fmt.Errorf("the Resolver %w", panicked)
	}
	return list, err
}
