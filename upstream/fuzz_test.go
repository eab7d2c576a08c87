package upstream_test

import (
	"bufio"
	"bytes"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/hostname"
	"github.com/sallyport/sallyport/upstream"
)

// Whatever is taken as a node's host can be dialled, sent as Host and written again.
func FuzzNodeHost(f *testing.F) {
	for _, s := range []string{"a.test", "A.TEST.", "10.0.0.1", "::1", "[::1]", "fe80::1%eth0", "127.1", "a:80", "http://a", "[a]", "::ffff:1.2.3.4", "[fe80::1%25eth0]", "::%]]", "a..b", "\x00", "é"} {
		f.Add(s, 0, true)
		f.Add(s, 8080, false)
	}
	f.Fuzz(func(t *testing.T, s string, port int, https bool) {
		port &= 0xffff
		address, host, name, err := upstream.NodeAddress(upstream.Node{Host: s, Port: port}, https)
		if err != nil {
			return
		}
		dial, _, err := net.SplitHostPort(address)
		require.NoError(t, err)
		canonical, ok := hostname.CanonicalHost(host)
		require.True(t, ok, "%q", host)
		require.Equal(t, name, canonical)
		require.True(t, strings.HasPrefix(host, name))

		again, host2, name2, err := upstream.NodeAddress(upstream.Node{Host: dial, Port: port}, https)
		require.NoError(t, err)
		require.Equal(t, []string{address, host, name}, []string{again, host2, name2})
	})
}

// Whatever target is sent, a server reads one request, with that target, and no other
// host than the one that was meant.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{"/", "*", "//a/b", "//a?b", "/a|b", "/%zz", "/a b", "/\r\n", "http://a/", "a", "///", "//%2f", "/a?b#c", "//[::1]/", "//\""} {
		f.Add(s, "", "", false)
		f.Add("", s, "q", true)
		f.Add(s, "", "a b", false)
	}
	f.Fuzz(func(t *testing.T, opaque, path, query string, force bool) {
		u := &url.URL{Opaque: opaque, Path: path, RawQuery: query, ForceQuery: force}
		if opaque == "" && path != "*" && !strings.HasPrefix(path, "/") {
			return // net/url puts the slash there
		}
		target, err := upstream.Target(u)
		if err != nil {
			return
		}
		if strings.IndexByte(opaque, '#') < 0 && !strings.HasPrefix(opaque, "//") && opaque != "" {
			require.True(t, strings.HasPrefix(target, opaque), "byte for byte")
		}
		req, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: a.test\r\n\r\n")))
		if err != nil {
			return // what net/http does not take at all
		}
		require.Equal(t, target, req.RequestURI)
		require.Equal(t, "a.test", req.Host)
		require.Empty(t, req.URL.Scheme)
	})
}

// A bundle is taken whole or not at all.
func FuzzCAPEM(f *testing.F) {
	ca := newAuthority(f)
	_, key := ca.pair(f, "a.test")
	f.Add(ca.pem)
	f.Add(key)
	f.Add(append(ca.pem[:len(ca.pem):len(ca.pem)], ca.pem...))
	f.Add(append(ca.pem[:len(ca.pem):len(ca.pem)], ca.pem[:50]...))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"))
	f.Add([]byte("text"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, err := upstream.New(upstream.Config{ID: "1", Scheme: "https", TLS: upstream.TLS{CAPEM: b}})
		if err == nil && b != nil {
			require.Contains(t, string(b), "-----BEGIN CERTIFICATE-----")
			require.Equal(t, bytes.Count(b, []byte("-----BEGIN ")), bytes.Count(b, []byte("-----END ")))
		}
	})
}
