package upstream_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
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
		typed   = func(context.Context, string, string) (net.Conn, error) {
			var conn *net.TCPConn
			return conn, nil
		}
	)
	for name, c := range map[string]struct {
		options upstream.Options
		host    string
		want    string
	}{
		"Dialer":                  {upstream.Options{Dialer: panics}, "192.0.2.1", "the Dialer panicked: a mistake"},
		"Dialer of many":          {upstream.Options{Dialer: panics, Resolver: resolverFunc(two)}, "node.test", "the Dialer panicked: a mistake"},
		"Dialer without a word":   {upstream.Options{Dialer: nothing}, "192.0.2.1", "neither a connection nor an error"},
		"Dialer of a typed nil":   {upstream.Options{Dialer: typed}, "192.0.2.1", "neither a connection nor an error"},
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

// A connection of a Dialer need not know its addresses.
func TestConnectionWithoutAddresses(t *testing.T) {
	handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	for scheme, node := range map[upstream.Scheme]*origin{
		upstream.SchemeHTTP: newServer(t, handler),
		upstream.SchemeH2C:  newH2Server(t, nil, handler),
	} {
		t.Run(string(scheme), func(t *testing.T) {
			p := newPool(t, upstream.Config{Scheme: scheme, Nodes: []upstream.Node{node.Node}}, &upstream.Options{
				Dialer: func(ctx context.Context, network, address string) (net.Conn, error) {
					conn, err := new(net.Dialer).DialContext(ctx, network, address)
					return nowhere{conn}, err
				},
			})
			status, _ := get(t, p, "http://a.test/")
			require.Equal(t, 200, status)
		})
	}
}

type nowhere struct{ net.Conn }

func (nowhere) LocalAddr() net.Addr  { return nil }
func (nowhere) RemoteAddr() net.Addr { return nil }

// dialToTheEnd never connects. As a net.Dialer, it is told by the operating system that the
// deadline has passed, and not by the context.
func dialToTheEnd(ctx context.Context, network, _ string) (net.Conn, error) {
	by, _ := ctx.Deadline()
	time.Sleep(time.Until(by))
	return nil, &net.OpError{Op: "dial", Net: network, Err: os.ErrDeadlineExceeded}
}

// A lateContext ends some time after its deadline.
type lateContext struct {
	context.Context
	by time.Time
}

func (c lateContext) Deadline() (time.Time, bool) { return c.by, true }

// Whose deadline has passed while connecting does not depend on who hears of it first.
func TestDeadlineWhileConnecting(t *testing.T) {
	nodes := []upstream.Node{{Host: "192.0.2.1", Port: 80, Weight: 1}, {Host: "192.0.2.2", Port: 80, Weight: 1}}
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, upstream.Config{Nodes: nodes}, &upstream.Options{Dialer: dialToTheEnd})
		defer p.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 1001*time.Millisecond)
		defer cancel()
		ctx = lateContext{ctx, time.Now().Add(time.Second)}
		_, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil).WithContext(ctx))
		wantError(t, err, 504, 1, "context deadline exceeded")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Zero(t, p.Nodes()[0].Failures)
	})
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, upstream.Config{
			Nodes:   nodes[:1],
			Timeout: upstream.Timeout{Connect: time.Second},
			Checks:  &upstream.Checks{Active: upstream.ActiveChecks{Timeouts: 254, TCPFailures: 254}},
		}, &upstream.Options{Dialer: dialToTheEnd})
		defer p.Close()
		_, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
		wantError(t, err, 504, 1, "connect: no connection within 1s")
		time.Sleep(10 * time.Minute)
		status := p.Nodes()[0]
		require.Zero(t, status.TCPFailures, "a probe ran into its Timeout")
		require.Equal(t, 254, status.Timeouts)
	})
}

// A Picker that panics does so in its caller's goroutine. It leaves nothing behind.
func TestPickerThatPanics(t *testing.T) {
	node := refusing(t)
	picks := 0
	p := newPool(t, upstream.Config{
		Nodes: []upstream.Node{node, {Host: "192.0.2.1", Weight: 1}},
		Picker: pickerFunc(func(*http.Request, *upstream.Candidates) int {
			if picks++; picks == 2 {
				panic("a mistake")
			}
			return 0
		}),
	}, nil)
	body := newBody(nil)
	require.PanicsWithValue(t, "a mistake", func() { _, _ = p.RoundTrip(newRequest(t, "POST", "http://a.test/", body)) })
	require.EqualValues(t, 1, body.closed.Load())
	require.Zero(t, p.Nodes()[0].InFlight)
	require.EqualValues(t, 1, p.Nodes()[0].Failures)
	require.EqualValues(t, 1, p.Stats().Answers.Total())
}

// A body that panics is one that cannot be read: in the goroutine that sends it, it would end
// the process.
func TestBodyThatPanics(t *testing.T) {
	for scheme, node := range map[upstream.Scheme]*origin{
		upstream.SchemeHTTP: newServer(t, echo), upstream.SchemeH2C: newH2Server(t, nil, echo),
	} {
		p := newPool(t, upstream.Config{Scheme: scheme, Nodes: []upstream.Node{node.Node}}, nil)
		for range 2 {
			body := &panickingBody{closed: make(chan bool)}
			req := newRequest(t, "POST", "http://a.test/", body)
			req.ContentLength = -1
			_, err := p.RoundTrip(req)
			wantError(t, err, 400, 1, "reading the request's body: panicked: a mistake")
			<-body.closed
		}
		require.Zero(t, p.Nodes()[0].Failures)
		require.Zero(t, p.Nodes()[0].InFlight)
	}
}

type panickingBody struct{ closed chan bool }

func (b *panickingBody) Read([]byte) (int, error) { panic("a mistake") }

func (b *panickingBody) Close() error {
	close(b.closed)
	panic("another")
}

// A brokenHandler panics at whatever is to be logged.
type brokenHandler struct{ slog.Handler }

func (brokenHandler) Enabled(context.Context, slog.Level) bool { return true }

// A logger that panics, in whatever goroutine, costs the record: probes, lookups and requests
// go on.
func TestLoggerThatPanics(t *testing.T) {
	broken := slog.New(brokenHandler{})
	withNodes(t, 2, upstream.Config{Checks: &upstream.Checks{}}, func(h *healthHarness) {
		h.options.Logger = broken
		h.replace(func(*upstream.Config) {})
		h.ask()
		for range 2 {
			h.nodes[0].set("")
			h.wait(time.Minute)
			require.Equal(t, upstream.Unhealthy, h.pool.Nodes()[0].Health)
			h.nodes[0].set(status(200))
			h.wait(time.Minute)
			require.Equal(t, upstream.Healthy, h.pool.Nodes()[0].Health)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		dns, net := &fakeDNS{}, &fakeNet{}
		p := newPool(t, upstream.Config{Nodes: []upstream.Node{{Host: "a.test"}}}, &upstream.Options{Resolver: dns, Dialer: net.dial, Logger: broken})
		defer p.Close()
		dns.set(nil, "10.0.0.1")
		answers(t, p, "10.0.0.1:80")
		for range 2 {
			dns.set(errors.New("server misbehaving"))
			time.Sleep(time.Minute)
			lookUp(t, p)
			dns.set(nil, "10.0.0.1")
			time.Sleep(time.Minute)
			lookUp(t, p)
		}
		require.Equal(t, 5, dns.lookups())
	})
}
