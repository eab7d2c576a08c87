package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/upstream"
)

// A fakeDNS knows what it is told. It counts what it is asked.
type fakeDNS struct {
	mu    sync.Mutex
	addrs []netip.Addr
	err   error
	delay time.Duration
	asked int
}

func (d *fakeDNS) set(err error, addrs ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err, d.addrs = err, nil
	for _, a := range addrs {
		d.addrs = append(d.addrs, netip.MustParseAddr(a))
	}
}

func (d *fakeDNS) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	d.mu.Lock()
	d.asked++
	delay, addrs, err := d.delay, d.addrs, d.err
	d.mu.Unlock()
	if network != "ip" || host != "a.test" {
		return nil, errors.New("asked for " + network + " " + host)
	}
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return addrs, err
}

func (d *fakeDNS) lookups() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

// A fakeNet has nodes that answer with their own address, at any port. Addresses that
// are down refuse, and those that are mute never answer.
type fakeNet struct {
	mu     sync.Mutex
	down   string
	mute   string
	dialed []string
	open   map[string]int
}

type fakeConn struct {
	net.Conn
	remote net.Addr
}

func (c fakeConn) RemoteAddr() net.Addr { return c.remote }

func (n *fakeNet) dial(ctx context.Context, network, address string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	addr := netip.MustParseAddrPort(address)
	n.dialed = append(n.dialed, address)
	switch addr.Addr().String() {
	case n.down:
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	case n.mute:
		n.mu.Unlock()
		<-ctx.Done()
		n.mu.Lock()
		return nil, ctx.Err()
	}
	ours, theirs := net.Pipe()
	if n.open == nil {
		n.open = map[string]int{}
	}
	n.open[address]++
	go func() {
		answering("HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(len(address)) + "\r\n\r\n" + address)(theirs)
		theirs.Close()
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.open[address]--; n.open[address] == 0 {
			delete(n.open, address)
		}
	}()
	return fakeConn{ours, net.TCPAddrFromAddrPort(addr)}, nil
}

func (n *fakeNet) connections() map[string]int {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := map[string]int{}
	maps.Copy(out, n.open)
	return out
}

func (n *fakeNet) took() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	defer func() { n.dialed = nil }()
	return n.dialed
}

// resolving runs f in a bubble, with a pool whose node is a.test.
func resolving(t *testing.T, f func(t *testing.T, dns *fakeDNS, net *fakeNet, p *upstream.Pool, log *syncBuffer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		dns, net, log := &fakeDNS{}, &fakeNet{}, &syncBuffer{}
		p := newPool(t, upstream.Config{Nodes: []upstream.Node{{Host: "a.test"}}, KeepAlive: upstream.KeepAlive{IdleTimeout: 1000 * time.Hour}}, &upstream.Options{
			Resolver: dns,
			Dialer:   net.dial,
			Logger:   slog.New(slog.NewTextHandler(log, nil)),
		})
		f(t, dns, net, p, log)
		p.Close()
		synctest.Wait()
		require.Empty(t, net.connections())
	})
}

func answers(t testing.TB, p *upstream.Pool, want string) {
	t.Helper()
	status, body := get(t, p, "http://a.test/")
	require.Equal(t, 200, status)
	require.Equal(t, want, body)
}

// lookUp has the name looked up again, when it is old enough, by a request that may be
// answered from an old address or from a new one.
func lookUp(t testing.TB, p *upstream.Pool) {
	t.Helper()
	status, _ := get(t, p, "http://a.test/")
	require.Equal(t, 200, status)
	synctest.Wait()
}

func TestNamesAreResolvedAgain(t *testing.T) {
	resolving(t, func(t *testing.T, dns *fakeDNS, net *fakeNet, p *upstream.Pool, log *syncBuffer) {
		dns.set(nil, "10.0.0.1")
		for range 3 {
			answers(t, p, "10.0.0.1:80")
			time.Sleep(9 * time.Second)
		}
		require.Equal(t, 1, dns.lookups())

		// At 30 s the answer is too old. Whoever comes next does not wait.
		dns.set(nil, "10.0.0.2")
		dns.delay = 5 * time.Second
		time.Sleep(3 * time.Second)
		begun := time.Now()
		answers(t, p, "10.0.0.1:80")
		answers(t, p, "10.0.0.1:80")
		require.Zero(t, time.Since(begun))
		time.Sleep(6 * time.Second)
		require.Equal(t, 2, dns.lookups(), "one lookup at a time")

		answers(t, p, "10.0.0.2:80")
		synctest.Wait()
		require.Equal(t, map[string]int{"10.0.0.2:80": 1}, net.connections(), "the address that is gone has no connection left")

		// Nobody asks, nothing runs.
		time.Sleep(10 * time.Hour)
		require.Equal(t, 2, dns.lookups())

		// By now the address may be somebody else's: whoever needs a new connection
		// waits.
		dns.set(nil, "10.0.0.3")
		fresh := newRequest(t, "GET", "http://a.test/", nil)
		net.mu.Lock()
		net.dialed = nil
		net.mu.Unlock()
		p.CloseIdleConnections()
		begun = time.Now()
		_, body := roundTrip(t, p, fresh)
		require.Equal(t, "10.0.0.3:80", body)
		require.Equal(t, 5*time.Second, time.Since(begun))
		require.Equal(t, []string{"10.0.0.3:80"}, net.took())
		require.Empty(t, log.String())
	})
}

func TestAddressesServeOnWhileDNSFails(t *testing.T) {
	resolving(t, func(t *testing.T, dns *fakeDNS, net *fakeNet, p *upstream.Pool, log *syncBuffer) {
		dns.set(nil, "10.0.0.1")
		answers(t, p, "10.0.0.1:80")
		dns.set(errors.New("server misbehaving"))
		for range 100 {
			time.Sleep(time.Second)
			p.CloseIdleConnections()
			answers(t, p, "10.0.0.1:80")
		}
		// At 30 s and then every 3 s.
		require.Equal(t, 1+(100-30)/3+1, dns.lookups())
		require.Equal(t, 1, strings.Count(log.String(), "\n"), "%s", log)
		require.Contains(t, log.String(), `level=WARN msg="upstream: a node's name does not resolve any more, the last addresses are used" upstream=1 node=a.test:80 error="the name \"a.test\" could not be resolved (server misbehaving): check DNS, or use an address" addresses=[10.0.0.1]`)

		// A name that is gone, says DNS, is no better: what is known serves on.
		dns.set(&notFound)
		time.Sleep(time.Hour)
		answers(t, p, "10.0.0.1:80")
		synctest.Wait()
		require.Equal(t, 1, strings.Count(log.String(), "\n"))

		dns.set(nil, "10.0.0.2")
		time.Sleep(time.Hour)
		p.CloseIdleConnections()
		answers(t, p, "10.0.0.2:80")
		synctest.Wait()
		require.Equal(t, 2, strings.Count(log.String(), "\n"))
		require.Contains(t, log.String(), `level=INFO msg="upstream: a node's name resolves again" upstream=1 node=a.test:80 addresses=[10.0.0.2]`)
	})
}

var notFound = net.DNSError{Err: "no such host", Name: "a.test", IsNotFound: true}

func TestNamesThatNeverResolved(t *testing.T) {
	resolving(t, func(t *testing.T, dns *fakeDNS, _ *fakeNet, p *upstream.Pool, log *syncBuffer) {
		for _, c := range []struct {
			err  error
			text string
		}{
			{&notFound, `node a.test:80: connect: the name "a.test" does not resolve (no such host): check DNS, or use an address`},
			{nil, `the name "a.test" does not resolve (no addresses)`},
			{errors.New("broken"), `the name "a.test" could not be resolved (broken)`},
		} {
			dns.set(c.err)
			before := dns.lookups()
			for range 3 {
				_, err := p.RoundTrip(newRequest(t, "POST", "http://a.test/", strings.NewReader("x")))
				wantError(t, err, 502, 1, c.text)
			}
			require.Equal(t, before+1, dns.lookups(), "a failure is remembered")
			time.Sleep(3 * time.Second)
		}
		require.Empty(t, log.String(), "the caller is told")

		dns.set(nil, "10.0.0.1")
		var all sync.WaitGroup
		before := dns.lookups()
		dns.delay = time.Second
		for range 10 {
			all.Go(func() { answers(t, p, "10.0.0.1:80") })
		}
		all.Wait()
		require.Equal(t, before+1, dns.lookups(), "they wait for the same")
	})
}

func TestLookupsEnd(t *testing.T) {
	resolving(t, func(t *testing.T, dns *fakeDNS, _ *fakeNet, p *upstream.Pool, _ *syncBuffer) {
		dns.delay = time.Hour
		limit := upstream.Timeout{Connect: 2 * time.Second}
		begun := time.Now()
		_, err := p.Do(newRequest(t, "GET", "http://a.test/", nil), &upstream.CallOptions{Timeout: limit})
		wantError(t, err, 504, 1, "connect: no connection within 2s")
		require.Equal(t, 2*time.Second, time.Since(begun))
		_, err = p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
		wantError(t, err, 504, 1, `the name "a.test" could not be resolved`)
		require.Equal(t, 10*time.Second, time.Since(begun))
		require.Equal(t, 1, dns.lookups())
	})
}

func TestSeveralAddresses(t *testing.T) {
	resolving(t, func(t *testing.T, dns *fakeDNS, net *fakeNet, p *upstream.Pool, _ *syncBuffer) {
		dns.set(nil, "10.0.0.2", "2001:db8::1", "10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2")
		seen := map[string]int{}
		for range 9 {
			p.CloseIdleConnections()
			_, body := get(t, p, "http://a.test/")
			seen[body]++
		}
		require.Equal(t, map[string]int{"10.0.0.1:80": 3, "10.0.0.2:80": 3, "[2001:db8::1]:80": 3}, seen)

		begun := time.Now()
		net.down = "10.0.0.1"
		for range 9 {
			p.CloseIdleConnections()
			_, body := get(t, p, "http://a.test/")
			require.NotEqual(t, "10.0.0.1:80", body)
		}
		require.Zero(t, time.Since(begun), "one that refuses costs no time")
		require.Zero(t, p.Nodes()[0].Failures)

		net.down, net.mute = "", "10.0.0.2"
		for range 9 {
			p.CloseIdleConnections()
			_, body := get(t, p, "http://a.test/")
			require.NotEqual(t, "10.0.0.2:80", body)
		}
		require.Equal(t, 3*250*time.Millisecond, time.Since(begun), "one that is silent costs a moment")

		net.mute = ""
		dns.set(nil, "10.0.0.1", "10.0.0.2")
		time.Sleep(time.Minute)
		lookUp(t, p)
		p.CloseIdleConnections()
		net.down, net.mute = "10.0.0.1", "10.0.0.2"
		_, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
		wantError(t, err, 504, 1, "no connection within 1m0s")
		dns.set(nil, "10.0.0.1")
		time.Sleep(2 * time.Minute)
		_, err = p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
		wantError(t, err, 502, 1, "node a.test:80: connect: 10.0.0.1:80: connection refused")
	})
}

// A successor knows what its predecessor has found out.
func TestSuccessorTakesOverNames(t *testing.T) {
	resolving(t, func(t *testing.T, dns *fakeDNS, net *fakeNet, p *upstream.Pool, _ *syncBuffer) {
		dns.set(nil, "10.0.0.1")
		answers(t, p, "10.0.0.1:80")
		c := p.Upstream().Config()
		c.KeepAlive.Size = 7 // other connections
		q := p.Replace(mustNew(t, c), &upstream.Options{Resolver: dns, Dialer: net.dial})
		defer q.Close()
		p.Close()
		answers(t, q, "10.0.0.1:80")
		require.Equal(t, 1, dns.lookups())
	})
}

// What was told to the connections that two pools share, either pool knows.
func TestSuccessorSharesWhatWasTold(t *testing.T) {
	resolving(t, func(t *testing.T, dns *fakeDNS, net *fakeNet, p *upstream.Pool, _ *syncBuffer) {
		options := &upstream.Options{Resolver: dns, Dialer: net.dial, Transport: &http.Transport{}}
		p = upstream.NewPool(p.Upstream(), options)
		defer p.Close()
		dns.set(nil, "10.0.0.1")
		answers(t, p, "10.0.0.1:80")
		answers(t, p, "10.0.0.1:80")
		dns.set(nil, "10.0.0.2")
		time.Sleep(30 * time.Second)
		lookUp(t, p)

		q := p.Replace(p.Upstream(), options)
		defer q.Close()
		require.True(t, p.SharesConnections(q, 0, 0))
		answers(t, q, "10.0.0.2:80")
	})
}

// Pools that share the connections of a node tell them of its addresses at the same time.
func TestPoolsTellOneAfterAnother(t *testing.T) {
	resolving(t, func(t *testing.T, dns *fakeDNS, net *fakeNet, p *upstream.Pool, _ *syncBuffer) {
		dns.set(nil, "10.0.0.1")
		answers(t, p, "10.0.0.1:80")
		q := p.Replace(p.Upstream(), &upstream.Options{Resolver: dns, Dialer: net.dial, Transport: plugged})
		defer q.Close()
		var both sync.WaitGroup
		both.Go(func() { p.KeepName(0) })
		both.Go(func() { q.KeepName(0) })
		both.Wait()
	})
}

// A connection that is in use while the addresses change, and change again, is to one
// that is gone when it becomes idle.
func TestLongAnswersFromAddressesThatAreGone(t *testing.T) {
	resolving(t, func(t *testing.T, dns *fakeDNS, net *fakeNet, p *upstream.Pool, _ *syncBuffer) {
		dns.set(nil, "10.0.0.1")
		long, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
		require.NoError(t, err)
		for _, addr := range []string{"10.0.0.2", "10.0.0.3"} {
			dns.set(nil, addr)
			time.Sleep(30 * time.Second)
			lookUp(t, p)
			answers(t, p, addr+":80")
		}
		_, err = io.ReadAll(long.Body)
		require.NoError(t, err)
		require.NoError(t, long.Body.Close())
		answers(t, p, "10.0.0.3:80")

		// An address that is there again is as good as any.
		dns.set(nil, "10.0.0.1")
		time.Sleep(30 * time.Second)
		lookUp(t, p)
		answers(t, p, "10.0.0.1:80")
		answers(t, p, "10.0.0.1:80")
		synctest.Wait()
		require.Equal(t, map[string]int{"10.0.0.1:80": 1}, net.connections())
	})
}

// The checks have names looked up too. A connection to an address that only the lookup
// before has found is not used for a request.
func TestChecksHaveNamesResolved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns, net := &fakeDNS{}, &fakeNet{}
		dns.set(nil, "10.0.0.1")
		p := newPool(t, upstream.Config{
			Nodes:     []upstream.Node{{Host: "a.test"}},
			KeepAlive: upstream.KeepAlive{IdleTimeout: time.Hour},
			Checks:    &upstream.Checks{},
		}, &upstream.Options{Resolver: dns, Dialer: net.dial})
		answers(t, p, "10.0.0.1:80")
		dns.set(nil, "10.0.0.2")
		time.Sleep(2 * time.Minute)
		require.Greater(t, dns.lookups(), 1)
		answers(t, p, "10.0.0.2:80")
		p.Close()
		synctest.Wait()
		require.Empty(t, net.connections())
	})
}

// Who resolves the names.
func TestResolverAndDialer(t *testing.T) {
	dialer := func(got *[]string) upstream.DialFunc {
		return func(_ context.Context, _, address string) (net.Conn, error) {
			*got = append(*got, address)
			return nil, io.EOF
		}
	}
	dns := &fakeDNS{}
	dns.set(nil, "10.0.0.1")
	var byName, byAddress []string
	nodes := []upstream.Node{{Host: "A.test", Port: 8080}, {Host: "2001:db8::2"}}
	for _, p := range []*upstream.Pool{
		newPool(t, upstream.Config{Nodes: nodes}, &upstream.Options{Dialer: dialer(&byName)}),
		newPool(t, upstream.Config{Nodes: nodes}, &upstream.Options{Dialer: dialer(&byAddress), Resolver: dns}),
	} {
		_, err := p.RoundTrip(newRequest(t, "GET", "http://a.test/", nil))
		require.Error(t, err)
	}
	require.Equal(t, []string{"a.test:8080", "[2001:db8::2]:80"}, byName)
	require.Equal(t, []string{"10.0.0.1:8080", "[2001:db8::2]:80"}, byAddress)

	// Nobody given: the system's, which knows localhost by one address or by two.
	node := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) }))
	p := newPool(t, upstream.Config{Nodes: []upstream.Node{{Host: "localhost", Port: node.Port}}, PassHost: upstream.PassNode}, nil)
	_, body := get(t, p, "http://a.test/")
	require.Equal(t, "localhost:"+strconv.Itoa(node.Port), body)
}

// With HTTP/2, where one connection carries everything, there is one for each address;
// and when an address is gone, its streams end in peace and nothing new goes there.
func TestH2Addresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := &fakeDNS{}
		dns.set(nil, "10.0.0.1", "10.0.0.2", "10.0.0.3")
		var mu sync.Mutex
		requests, open := map[string]int{}, map[string]int{}
		count := func(m map[string]int, address string, delta int) {
			mu.Lock()
			defer mu.Unlock()
			m[address] += delta
		}
		dial := func(_ context.Context, _, address string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				count(open, address, 1)
				defer count(open, address, -1)
				h2Node(func(c h2Peer, stream uint32) bool {
					count(requests, address, 1)
					time.AfterFunc(time.Second, func() { answer200(c, stream) })
					return true
				})(theirs)
			}()
			return fakeConn{ours, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address))}, nil
		}
		p := newPool(t, upstream.Config{Scheme: "grpc", Nodes: []upstream.Node{{Host: "a.test"}}}, &upstream.Options{Resolver: dns, Dialer: dial})
		reset := func() {
			mu.Lock()
			defer mu.Unlock()
			clear(requests)
		}
		burst := func() {
			var all sync.WaitGroup
			for range 30 {
				all.Go(func() { get(t, p, "http://a.test/") })
				synctest.Wait()
			}
			all.Wait()
		}
		burst()
		reset()
		burst()
		require.Equal(t, map[string]int{"10.0.0.1:80": 10, "10.0.0.2:80": 10, "10.0.0.3:80": 10}, requests)

		dns.set(nil, "10.0.0.2", "10.0.0.4")
		time.Sleep(30 * time.Second)
		var slow sync.WaitGroup
		slow.Go(func() { get(t, p, "http://a.test/") }) // has it looked up, and is on its way
		time.Sleep(500 * time.Millisecond)
		reset()
		burst()
		slow.Wait()
		require.Equal(t, map[string]int{"10.0.0.2:80": 15, "10.0.0.4:80": 15}, requests)
		synctest.Wait()
		require.Equal(t, map[string]int{"10.0.0.1:80": 0, "10.0.0.2:80": 1, "10.0.0.3:80": 0, "10.0.0.4:80": 1}, open)
		p.Close()
	})
}

// A name may have more addresses than connections are held to. Which of them have one differs from
// one gateway to the next, lest all of a fleet leave out the same.
func TestH2ManyAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := &fakeDNS{}
		var all []string
		for i := range 40 {
			all = append(all, fmt.Sprintf("10.0.0.%d", i))
		}
		dns.set(nil, all...)
		var mu sync.Mutex
		made := map[string]int{}
		dial := func(_ context.Context, _, address string) (net.Conn, error) {
			mu.Lock()
			made[address]++
			mu.Unlock()
			ours, theirs := net.Pipe()
			go h2Node(func(c h2Peer, stream uint32) bool {
				time.AfterFunc(time.Second, func() { answer200(c, stream) })
				return true
			})(theirs)
			return fakeConn{ours, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address))}, nil
		}
		const pools, held = 10, 16
		for range pools {
			p := newPool(t, upstream.Config{Scheme: "grpc", Nodes: []upstream.Node{{Host: "a.test"}}}, &upstream.Options{Resolver: dns, Dialer: dial})
			var requests sync.WaitGroup
			for range 2 * held {
				requests.Go(func() { get(t, p, "http://a.test/") })
				synctest.Wait()
			}
			requests.Wait()
			p.Close()
		}
		sum := 0
		for _, n := range made {
			sum += n
		}
		require.Equal(t, pools*held, sum)
		require.Greater(t, len(made), 30, "%v", made)
	})
}

func BenchmarkNamedNode(b *testing.B) {
	node := newServer(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	p := newPool(b, upstream.Config{Nodes: []upstream.Node{{Host: "localhost", Port: node.Port}}}, nil)
	get(b, p, "http://a.test/")
	b.ReportAllocs()
	for b.Loop() {
		p.KeepName(0)
	}
}
