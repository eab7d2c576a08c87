package ssl_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// sizes are the numbers of profiles that the benchmarks run with.
func sizes(b *testing.B) []int {
	if testing.Short() {
		return []int{100, 10_000}
	}
	return []int{100, 10_000, 100_000}
}

// ofSize returns the configurations of some profiles, each with two names of its
// own, and a table of them. They share one certificate, which nothing here looks
// at. It does not keep them: a large heap makes every benchmark after it slower.
func ofSize(b *testing.B, profiles int) ([]ssl.Config, *ssl.Table) {
	b.Helper()
	m := newMaker(b)
	configs := make([]ssl.Config, profiles)
	for i := range configs {
		configs[i] = ssl.Config{
			ID:           fmt.Sprint(i),
			Names:        []string{fmt.Sprintf("host-%d.example.test", i), fmt.Sprintf("*.zone-%d.example.test", i)},
			Certificates: []ssl.KeyPair{m.pair},
			Client:       m.client,
		}
	}
	compiled, err := ssl.Compile(configs)
	require.NoError(b, err)
	return configs, (*ssl.Table)(nil).With(compiled...)
}

func BenchmarkLookup(b *testing.B) {
	for _, profiles := range sizes(b) {
		_, table := ofSize(b, profiles)
		for _, c := range []struct {
			kind, hit string
			name      string
		}{
			{"exact", "y", fmt.Sprintf("host-%d.example.test", profiles/2)},
			{"wildcard", "y", fmt.Sprintf("www.zone-%d.example.test", profiles/2)},
			{"exact", "n", "www.elsewhere.test"},
			{"wildcard", "n", fmt.Sprintf("a.b.zone-%d.example.test", profiles/2)},
		} {
			b.Run(fmt.Sprintf("profiles=%d/kind=%s/hit=%s", profiles, c.kind, c.hit), func(b *testing.B) {
				require.Equal(b, c.hit == "y", table.Lookup(c.name) != nil)
				b.ReportAllocs()
				for b.Loop() {
					_ = table.Lookup(c.name)
				}
			})
		}
		// All names in turn: what the caches of the processor do not have.
		b.Run(fmt.Sprintf("profiles=%d/kind=all/hit=y", profiles), func(b *testing.B) {
			names := make([]string, profiles)
			for i := range names {
				names[i] = fmt.Sprintf("host-%d.example.test", i)
			}
			rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				_ = table.Lookup(names[i%len(names)])
			}
		})
	}
}

// The price of the guard for a request.
func BenchmarkJudge(b *testing.B) {
	ca := ssltest.NewCA(b, "root")
	store := must(ssl.NewStore(nil))
	for _, profiles := range sizes(b) {
		_, table := ofSize(b, profiles)
		table = table.With(
			profile(b, server(ca, "strict", &ssl.ClientAuth{CAPEM: ca.PEM()}, "strict.test", "also.test")),
			profile(b, server(ca, "optional", &ssl.ClientAuth{CAPEM: ca.PEM(), SkipPaths: []string{"^/public/"}}, "optional.test")),
			profile(b, server(ca, "public", nil, "public.test")),
		)
		alice := ca.Client("alice")
		for _, c := range []struct {
			kind, host, path string
			cs               *tls.ConnectionState
			ok               bool
		}{
			{"remembered", "strict.test", "/", connection("strict.test", alice), true},
			{"remembered_port", "strict.test:9443", "/", connection("strict.test", alice), true},
			{"other_name", "also.test", "/", connection("strict.test", alice), true},
			{"public", "public.test", "/", &tls.ConnectionState{ServerName: "public.test"}, true},
			{"skipped", "optional.test", "/public/index.html", &tls.ConnectionState{ServerName: "optional.test"}, true},
			{"misdirected", "strict.test", "/", &tls.ConnectionState{ServerName: "public.test"}, false},
			{"plain_http", "public.test", "/", nil, true},
		} {
			b.Run(fmt.Sprintf("profiles=%d/kind=%s", profiles, c.kind), func(b *testing.B) {
				_, err := store.Judge(table, c.cs, c.host, c.path)
				require.Equal(b, c.ok, err == nil)
				b.ReportAllocs()
				for b.Loop() {
					_, _ = store.Judge(table, c.cs, c.host, c.path)
				}
			})
		}
		b.Run(fmt.Sprintf("profiles=%d/kind=remembered_parallel", profiles), func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				cs := connection("strict.test", alice)
				for pb.Next() {
					_, _ = store.Judge(table, cs, "strict.test", "/")
				}
			})
		})
	}
}

// The price of a change, by the number of profiles that stay as they are. parse=n is
// the table alone.
func BenchmarkPut(b *testing.B) {
	for _, profiles := range sizes(b) {
		configs, table := ofSize(b, profiles)
		b.Run(fmt.Sprintf("profiles=%d/parse=y", profiles), func(b *testing.B) {
			store := must(ssl.NewStore(nil))
			_, err := store.Put(configs...)
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = store.Put(configs[profiles/2])
			}
		})
		b.Run(fmt.Sprintf("profiles=%d/parse=n", profiles), func(b *testing.B) {
			p := profile(b, configs[profiles/2])
			b.ReportAllocs()
			for b.Loop() {
				table = table.With(p)
			}
		})
	}
}

// Starting with many pairs, each with a certificate and an ECDSA key of its own, and
// what a profile then weighs: kept=loaded after loading, kept=used after a handshake
// for each.
func BenchmarkLoad(b *testing.B) {
	servers, people := ssltest.NewCA(b, "servers"), ssltest.NewCA(b, "people")
	for _, profiles := range sizes(b) {
		for _, auth := range []string{"none", "mtls"} {
			b.Run(fmt.Sprintf("profiles=%d/auth=%s", profiles, auth), func(b *testing.B) {
				configs := make([]ssl.Config, profiles)
				for i := range configs {
					name := fmt.Sprintf("host-%d.example.test", i)
					configs[i] = ssl.Config{ID: fmt.Sprint(i), Names: []string{name}, Certificates: []ssl.KeyPair{servers.Server(name)}}
					if auth == "mtls" {
						// A copy for each, as separate documents have it.
						configs[i].Client = &ssl.ClientAuth{CAPEM: bytes.Clone(people.PEM())}
					}
				}
				before := liveBytes()
				var store *ssl.Store
				b.ReportAllocs()
				for b.Loop() {
					store = must(ssl.NewStore(nil))
					if _, err := store.Put(configs...); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric((liveBytes()-before)/float64(profiles), "loaded-B/profile")
				for i := range configs {
					_, _ = store.GetConfigForClient(&tls.ClientHelloInfo{ServerName: configs[i].Names[0]})
				}
				b.ReportMetric((liveBytes()-before)/float64(profiles), "used-B/profile")
				runtime.KeepAlive(configs)
				runtime.KeepAlive(store)
			})
		}
	}
}

// liveBytes returns the size of what is reachable on the heap.
func liveBytes() float64 {
	var stats runtime.MemStats
	for range 2 { // the second time for what had a cleanup
		runtime.GC()
	}
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc)
}

// A handshake over loopback, client and server together, beside what crypto/tls
// alone takes for the same.
func BenchmarkHandshake(b *testing.B) {
	servers, people := ssltest.NewCA(b, "servers"), ssltest.NewCA(b, "people")
	pair, alice := servers.Server("a.test"), people.Client("alice")
	cert, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	require.NoError(b, err)
	bare := func(auth tls.ClientAuthType) *tls.Config {
		c := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}, ClientAuth: auth}
		if auth != tls.NoClientCert {
			c.ClientCAs = people.Pool()
		}
		return c
	}
	with := func(profiles int, client *ssl.ClientAuth) *tls.Config {
		var table *ssl.Table
		if profiles > 1 {
			_, table = ofSize(b, profiles)
		}
		table = table.With(profile(b, ssl.Config{ID: "a", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{pair}, Client: client}))
		return must(ssl.NewTerminator(func() *ssl.Table { return table }, nil)).TLSConfig()
	}
	largest := slices.Max(sizes(b))
	for _, c := range []struct {
		name   string
		config *tls.Config
		cert   bool
	}{
		{"impl=ssl/profiles=1/auth=mtls", with(1, &ssl.ClientAuth{CAPEM: people.PEM()}), true},
		{fmt.Sprintf("impl=ssl/profiles=%d/auth=mtls", largest), with(largest, &ssl.ClientAuth{CAPEM: people.PEM()}), true},
		{"impl=crypto_tls/profiles=1/auth=mtls", bare(tls.RequireAndVerifyClientCert), true},
		{"impl=ssl/profiles=1/auth=none", with(1, nil), false},
		{"impl=crypto_tls/profiles=1/auth=none", bare(tls.NoClientCert), false},
	} {
		for _, resume := range []string{"n", "y"} {
			b.Run(c.name+"/resume="+resume, func(b *testing.B) {
				l := listen(b)
				go func() {
					for {
						conn, err := l.Accept()
						if err != nil {
							return
						}
						server := tls.Server(conn, c.config)
						_, _ = server.Write([]byte("x")) // makes the handshake
						_, _ = io.Copy(io.Discard, conn)
						conn.Close()
					}
				}()
				config := ssltest.ClientConfig("a.test")
				if c.cert {
					config = ssltest.ClientConfig("a.test", alice)
				}
				if resume == "y" {
					config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
				}
				visit := func() bool {
					conn, err := net.Dial("tcp", l.Addr().String())
					if err != nil {
						b.Fatal(err)
					}
					defer conn.Close()
					client := tls.Client(conn, config)
					if _, err := client.Read(make([]byte, 1)); err != nil {
						b.Fatal(err)
					}
					return client.ConnectionState().DidResume
				}
				visit()
				require.Equal(b, resume == "y", visit())
				b.ReportAllocs()
				for b.Loop() {
					visit()
				}
			})
		}
	}
}

// What a handshake costs in memory that waits for its client, its socket in the kernel
// aside: after silence; after the server's answer, with and without most of a certificate
// message as long as crypto/tls takes it; and in the midst of such a ClientHello.
// Options.MaxHandshakes tells what that makes of them all.
func BenchmarkPendingHandshake(b *testing.B) {
	servers, people := ssltest.NewCA(b, "servers"), ssltest.NewCA(b, "people")
	store := newStore(b, nil, server(servers, "1", &ssl.ClientAuth{CAPEM: people.PEM()}, "a.test"))
	hello := ssltest.ClientHello(b, "a.test")
	long := []byte{1, 0, 0xff, 0xff} // a ClientHello of 64 KiB
	var longHello []byte
	for range 4 {
		longHello = append(append(longHello, 22, 3, 1, 0x3f, 0xf0), append(long, make([]byte, 0x3ff0-len(long))...)...)
		long = nil
	}
	many := people.Client("alice")
	for range 250 {
		many.Certificate = append(many.Certificate, make([]byte, 1<<10))
	}
	config := ssltest.ClientConfig("a.test", many)
	for _, c := range []struct {
		name  string
		stall func(net.Conn) error
	}{
		{"silent", func(net.Conn) error { return nil }},
		{"hello", func(c net.Conn) error {
			_, _ = c.Write(hello)
			_, err := c.Read(make([]byte, 1)) // of the answer
			return err
		}},
		{"long_hello", func(c net.Conn) error {
			_, err := c.Write(longHello)
			return err
		}},
		{"long_certificate", func(c net.Conn) error {
			return tls.Client(&cutConn{Conn: c, left: 250 << 10}, config).Handshake()
		}},
	} {
		b.Run("client="+c.name, func(b *testing.B) {
			const clients = 200
			for b.Loop() {
				l := store.Listener(listen(b))
				go func() { _, _ = l.Accept() }()
				before := inUse()
				conns := make([]net.Conn, clients)
				for i := range conns {
					conn, err := net.Dial("tcp", l.Addr().String())
					require.NoError(b, err)
					require.NoError(b, c.stall(conn))
					conns[i] = conn
				}
				b.ReportMetric((inUse()-before)/clients/1024, "KiB/handshake")
				for _, conn := range conns {
					_ = conn.Close()
				}
				require.NoError(b, l.Close())
			}
		})
	}
}

// A cutConn sends so many bytes, and no more.
type cutConn struct {
	net.Conn
	left int
}

func (c *cutConn) Write(p []byte) (int, error) {
	n := min(len(p), c.left)
	c.left -= n
	if _, err := c.Conn.Write(p[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
}

// inUse is the memory of the heap and of the stacks.
func inUse() float64 {
	live := liveBytes()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return live + float64(stats.StackInuse)
}
