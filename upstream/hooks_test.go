package upstream_test

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/upstream"
)

type resolverFunc func() ([]netip.Addr, error)

func (f resolverFunc) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) { return f() }

// A Dialer or a Resolver that panics, or that has nothing to say, costs the requests that
// want it, and the probes; the process goes on.
func TestHooksThatFail(t *testing.T) {
	var (
		two = func() ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}, nil
		}
		panics  = func(context.Context, string, string) (net.Conn, error) { panic("a mistake") }
		nothing = func(context.Context, string, string) (net.Conn, error) { return nil, nil }
	)
	for name, c := range map[string]struct {
		options upstream.Options
		host    string
		want    string
	}{
		"Dialer":                  {upstream.Options{Dialer: panics}, "192.0.2.1", "the Dialer panicked: a mistake"},
		"Dialer of many":          {upstream.Options{Dialer: panics, Resolver: resolverFunc(two)}, "node.test", "the Dialer panicked: a mistake"},
		"Dialer without a word":   {upstream.Options{Dialer: nothing}, "192.0.2.1", "neither a connection nor an error"},
		"Resolver":                {upstream.Options{Dialer: panics, Resolver: resolverFunc(func() ([]netip.Addr, error) { panic("a mistake") })}, "node.test", "the Resolver panicked: a mistake"},
		"Resolver without a word": {upstream.Options{Resolver: resolverFunc(func() ([]netip.Addr, error) { return nil, nil })}, "node.test", "no addresses"},
	} {
		for _, scheme := range []upstream.Scheme{upstream.SchemeHTTP, upstream.SchemeH2C} {
			t.Run(name+", "+string(scheme), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := newPool(t, upstream.Config{
						Scheme: scheme,
						Nodes:  []upstream.Node{{Host: c.host, Port: 80, Weight: 1}},
						Checks: &upstream.Checks{},
					}, &c.options)
					defer p.Close()
					_, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
					require.ErrorContains(t, err, c.want)
					time.Sleep(time.Minute)
					status := p.Nodes()[0]
					require.Contains(t, status.LastError, "a check: ")
					require.Contains(t, status.LastError, c.want)
				})
			})
		}
	}
}
