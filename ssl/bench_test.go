package ssl_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// tableOf makes a table of as many names, half of them wildcards, 100 to a profile.
func tableOf(b *testing.B, names int) (table *ssl.Table) {
	m := newMaker(b)
	for first := 0; first < names; first += 100 {
		var patterns []string
		for i := first; i < first+100; i += 2 {
			patterns = append(patterns, fmt.Sprintf("host-%d.example.test", i), fmt.Sprintf("*.zone-%d.example.test", i))
		}
		table = table.With(m.profile(fmt.Sprint(first), true, patterns...))
	}
	return table
}

func BenchmarkLookup(b *testing.B) {
	for _, names := range []int{100, 10_000, 100_000} {
		table := tableOf(b, names)
		for _, c := range []struct {
			kind, hit string
			name      string
		}{
			{"exact", "y", fmt.Sprintf("host-%d.example.test", names/2)},
			{"wildcard", "y", fmt.Sprintf("www.zone-%d.example.test", names/2)},
			{"exact", "n", "www.elsewhere.test"},
			{"wildcard", "n", fmt.Sprintf("a.b.zone-%d.example.test", names/2)},
		} {
			b.Run(fmt.Sprintf("names=%d/kind=%s/hit=%s", names, c.kind, c.hit), func(b *testing.B) {
				require.Equal(b, c.hit == "y", table.Lookup(c.name) != nil)
				b.ReportAllocs()
				for b.Loop() {
					_ = table.Lookup(c.name)
				}
			})
		}
	}
}

// The price of the guard for a request.
func BenchmarkJudge(b *testing.B) {
	ca := ssltest.NewCA(b, "root")
	store := newStore(b, nil,
		server(ca, "strict", &ssl.ClientAuth{CAPEM: ca.PEM()}, "strict.test", "also.test"),
		server(ca, "optional", &ssl.ClientAuth{CAPEM: ca.PEM(), SkipPaths: []string{"^/public/"}}, "optional.test"),
		server(ca, "public", nil, "public.test"),
	)
	table, alice := store.Table(), ca.Client("alice")
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
		b.Run("kind="+c.kind, func(b *testing.B) {
			_, err := store.Judge(table, c.cs, c.host, c.path)
			require.Equal(b, c.ok, err == nil)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = store.Judge(table, c.cs, c.host, c.path)
			}
		})
	}
	b.Run("kind=remembered_parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			cs := connection("strict.test", alice)
			for pb.Next() {
				_, _ = store.Judge(table, cs, "strict.test", "/")
			}
		})
	})
}

// The price of a change, by the number of profiles that stay as they are. parse=n is
// the table alone.
func BenchmarkPut(b *testing.B) {
	for _, profiles := range []int{100, 10_000, 100_000} {
		if testing.Short() && profiles > 10_000 {
			continue
		}
		b.Run(fmt.Sprintf("profiles=%d", profiles), func(b *testing.B) {
			m := newMaker(b)
			var table *ssl.Table
			configs := make([]ssl.Config, profiles)
			for i := range configs {
				configs[i] = ssl.Config{ID: fmt.Sprint(i), Names: []string{fmt.Sprintf("host-%d.example.test", i)}, Certificates: []ssl.KeyPair{m.pair}, Client: m.client}
			}
			store := ssl.NewStore(nil)
			_, err := store.Put(configs...)
			require.NoError(b, err)
			table = store.Table()
			p := profile(b, configs[profiles/2])
			b.Run("parse=y", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					_, _ = store.Put(configs[profiles/2])
				}
			})
			b.Run("parse=n", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					table = table.With(p)
				}
			})
		})
	}
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
	with := func(names int, client *ssl.ClientAuth) *tls.Config {
		config := ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{pair}, Client: client}
		for i := range names - 1 {
			config.Names = append(config.Names, fmt.Sprintf("host-%d.example.test", i))
		}
		return newStore(b, nil, config).TLSConfig()
	}
	for _, c := range []struct {
		name   string
		config *tls.Config
		cert   bool
	}{
		{"impl=ssl/names=1/auth=mtls", with(1, &ssl.ClientAuth{CAPEM: people.PEM()}), true},
		{"impl=ssl/names=100000/auth=mtls", with(100_000, &ssl.ClientAuth{CAPEM: people.PEM()}), true},
		{"impl=crypto_tls/names=1/auth=mtls", bare(tls.RequireAndVerifyClientCert), true},
		{"impl=ssl/names=1/auth=none", with(1, nil), false},
		{"impl=crypto_tls/names=1/auth=none", bare(tls.NoClientCert), false},
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
