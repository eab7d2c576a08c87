package ssl_test

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

func emails(all ...string) ssltest.Option {
	return func(c *x509.Certificate) { c.EmailAddresses = all }
}

func ips(all ...string) ssltest.Option {
	return func(c *x509.Certificate) {
		for _, s := range all {
			c.IPAddresses = append(c.IPAddresses, net.ParseIP(s))
		}
	}
}

// The tags of alternative names (RFC 5280, section 4.2.1.6).
const (
	tagURI = 6
	tagIP  = 7
)

// rawName writes an alternative name that crypto/x509 would not.
func rawName(tag int, name string) ssltest.Option {
	return func(c *x509.Certificate) {
		der, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: []byte(name)}})
		if err != nil {
			panic(err)
		}
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: der}}
	}
}

func asCA(c *x509.Certificate) {
	c.IsCA = true
	c.KeyUsage |= x509.KeyUsageCertSign
}

func twoNames(c *x509.Certificate) {
	name := func(s string) pkix.AttributeTypeAndValue {
		return pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: s}
	}
	c.Subject = pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{name("bob"), name("alice")}}
}

// Each kind of entry, and whom it names.
func TestAllow(t *testing.T) {
	people := ssltest.NewCA(t, "people")
	pair := ssltest.NewCA(t, "servers").Server("a.test")
	pinned := people.Client("pinned")
	sum := sha256.Sum256(pinned.Leaf.RawSubjectPublicKeyInfo)
	pin := hex.EncodeToString(sum[:])
	var colons []string
	for _, b := range sum {
		colons = append(colons, fmt.Sprintf("%02X", b))
	}
	dns := func(s ...string) ssl.Allow { return ssl.Allow{DNSNames: s} }
	uri := func(s ...string) ssl.Allow { return ssl.Allow{URIs: s} }
	email := func(s ...string) ssl.Allow { return ssl.Allow{Emails: s} }
	ip := func(s string) ssl.Allow { return ssl.Allow{IPs: []netip.Prefix{netip.MustParsePrefix(s)}} }
	cn := func(s ...string) ssl.Allow { return ssl.Allow{CommonNames: s} }
	for _, c := range []struct {
		name   string
		allow  ssl.Allow
		common string
		with   ssltest.Option
		taken  bool
	}{
		{"name", dns("x.test"), "", ssltest.DNSNames("x.test"), true},
		{"another name", dns("x.test"), "", ssltest.DNSNames("y.test"), false},
		{"one of several names", dns("q.test", "x.test"), "", ssltest.DNSNames("z.test", "x.test"), true},
		{"name in upper case", dns("x.test"), "", ssltest.DNSNames("X.Test"), true},
		{"entry in upper case", dns("X.TEST."), "", ssltest.DNSNames("x.test"), true},
		{"dots are dots", dns("a.b.test"), "", ssltest.DNSNames("axb.test"), false},
		{"part of a name", dns("x.test"), "", ssltest.DNSNames("evilx.test"), false},
		{"name below", dns("x.test"), "", ssltest.DNSNames("a.x.test"), false},
		{"wildcard", dns("*.x.test"), "", ssltest.DNSNames("a.x.test"), true},
		{"wildcard, two labels", dns("*.x.test"), "", ssltest.DNSNames("b.a.x.test"), false},
		{"wildcard, none", dns("*.x.test"), "", ssltest.DNSNames("x.test"), false},
		{"wildcard, no border", dns("*.x.test"), "", ssltest.DNSNames("evilx.test"), false},
		{"wildcard in the certificate", dns("a.x.test", "*.x.test", "*.test"), "", ssltest.DNSNames("*.x.test"), false},
		{"common name like a name", dns("x.test"), "x.test", nil, false},
		{"a URI's host is no name", dns("x.test"), "", ssltest.URIs("https://x.test/"), false},

		{"SPIFFE", uri("spiffe://td/a"), "", ssltest.URIs("spiffe://td/a"), true},
		{"SPIFFE, every kind of character", uri("spiffe://a0.z-9_/aA0.zZ-9_"), "", ssltest.URIs("spiffe://a0.z-9_/aA0.zZ-9_"), true},
		{"SPIFFE, another path", uri("spiffe://td/a"), "", ssltest.URIs("spiffe://td/b"), false},
		{"SPIFFE, longer domain", uri("spiffe://td/a"), "", ssltest.URIs("spiffe://tdx/a"), false},
		{"SPIFFE, upper case domain", uri("spiffe://tdx/a"), "", ssltest.URIs("spiffe://tdX/a"), false},
		{"SPIFFE, longer segment", uri("spiffe://td/a"), "", ssltest.URIs("spiffe://td/a-evil"), false},
		{"SPIFFE, below", uri("spiffe://td/a"), "", ssltest.URIs("spiffe://td/a/b"), false},
		{"SPIFFE, upper case path", uri("spiffe://td/a"), "", ssltest.URIs("spiffe://td/A"), false},
		{"SPIFFE, trailing slash", uri("spiffe://td/a"), "", ssltest.URIs("spiffe://td/a/"), false},
		{"SPIFFE, domain alone", uri("spiffe://td"), "", ssltest.URIs("spiffe://td"), true},
		{"SPIFFE, port", uri("spiffe://td/a"), "", ssltest.URIs("spiffe://td:80/a"), false},
		{"SPIFFE, user", uri("spiffe://td/a", "spiffe://td/*"), "", ssltest.URIs("spiffe://u@td/a"), false},
		{"SPIFFE, query", uri("spiffe://td/a", "spiffe://td/*"), "", ssltest.URIs("spiffe://td/a?x"), false},
		{"SPIFFE, empty query", uri("spiffe://td/a", "spiffe://td/*"), "", rawName(tagURI, "spiffe://td/a?"), false},
		{"SPIFFE, fragment", uri("spiffe://td/a", "spiffe://td/*"), "", ssltest.URIs("spiffe://td/a#x"), false},
		{"SPIFFE and another URI", uri("spiffe://td/a", "spiffe://td/*"), "", ssltest.URIs("spiffe://td/a", "https://x.test/"), false},
		{"two SPIFFE IDs", uri("spiffe://td/a", "spiffe://td/*"), "", ssltest.URIs("spiffe://td/a", "spiffe://td/b"), false},
		{"SPIFFE ID of a CA", uri("spiffe://td/a", "spiffe://td/*"), "", func(c *x509.Certificate) { asCA(c); ssltest.URIs("spiffe://td/a")(c) }, false},
		{"SPIFFE ID as a name", dns("td"), "spiffe://td/a", ssltest.URIs("spiffe://td/a"), false},

		{"trust domain", uri("spiffe://td/*"), "", ssltest.URIs("spiffe://td/a/b"), true},
		{"trust domain, no path", uri("spiffe://td/*"), "", ssltest.URIs("spiffe://td"), false},
		{"trust domain, another", uri("spiffe://td/*"), "", ssltest.URIs("spiffe://td.evil/a"), false},
		{"prefix", uri("spiffe://td/a/*"), "", ssltest.URIs("spiffe://td/a/b"), true},
		{"prefix, deeper", uri("spiffe://td/a/*"), "", ssltest.URIs("spiffe://td/a/b/c"), true},
		{"prefix itself", uri("spiffe://td/a/*"), "", ssltest.URIs("spiffe://td/a"), false},
		{"prefix, empty segment", uri("spiffe://td/a/*"), "", ssltest.URIs("spiffe://td/a/"), false},
		{"prefix, no border", uri("spiffe://td/a/*"), "", ssltest.URIs("spiffe://td/a-evil/b"), false},
		{"prefix, dots", uri("spiffe://td/a/*"), "", ssltest.URIs("spiffe://td/a/../b"), false},
		{"prefix, one dot", uri("spiffe://td/a/*"), "", ssltest.URIs("spiffe://td/a/./b"), false},
		{"prefix, encoded dots", uri("spiffe://td/a/*"), "", ssltest.URIs("spiffe://td/a/%2e%2e/b"), false},
		{"prefix, encoded slash", uri("spiffe://td/a/*"), "", ssltest.URIs("spiffe://td/a%2fb"), false},
		{"prefix, encoded letter", uri("spiffe://td/a/*"), "", ssltest.URIs("spiffe://td/a/%62"), false},
		{"prefix, port", uri("spiffe://td/a/*"), "", ssltest.URIs("spiffe://td:1/a/b"), false},

		{"URI", uri("urn:x:y"), "", ssltest.URIs("urn:x:y"), true},
		{"URI, scheme in upper case", uri("URN:x:y"), "", ssltest.URIs("urn:x:y"), true},
		{"one of several URIs", uri("urn:x:y"), "", ssltest.URIs("https://x.test/", "urn:x:y"), true},
		{"URI, longer", uri("urn:x:y"), "", ssltest.URIs("urn:x:yz"), false},
		{"URI, encoded otherwise", uri("https://x.test/a"), "", ssltest.URIs("https://x.test/%61"), false},

		{"email", email("a@x.test"), "", emails("a@x.test"), true},
		{"email, domain in upper case", email("a@x.test"), "", emails("a@X.TEST"), true},
		{"email, entry's domain in upper case", email("a@X.Test"), "", emails("a@x.test"), true},
		{"email, local part in upper case", email("a@x.test"), "", emails("A@x.test"), false},
		{"email, longer", email("a@x.test"), "", emails("a@x.test.evil"), false},
		{"email, two at signs", email("a@x.test"), "", emails("b@y.test@x.test"), false},
		{"email in the common name", email("a@x.test"), "a@x.test", nil, false},

		{"IP", ip("10.0.0.0/8"), "", ips("10.1.2.3"), true},
		{"IP outside", ip("10.0.0.0/8"), "", ips("11.1.2.3"), false},
		{"IP, bits below the mask", ip("10.9.9.9/8"), "", ips("10.1.2.3"), true},
		{"IP, IPv4 in IPv6", ip("::ffff:10.0.0.0/104"), "", ips("10.1.2.3"), true},
		{"IP, IPv4 in IPv6, outside", ip("::ffff:10.0.0.0/104"), "", ips("11.1.2.3"), false},
		{"IP, written as IPv6 in the certificate", ip("10.0.0.0/8"), "", rawName(tagIP, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x0a\x01\x02\x03"), true},
		{"IP, IPv6", ip("2001:db8::/32"), "", ips("2001:db8::1"), true},
		{"IP, all of IPv6 is not IPv4", ip("::/0"), "", ips("10.1.2.3"), false},
		{"IP as a name", ip("10.0.0.0/8"), "10.1.2.3", ssltest.DNSNames("10.1.2.3"), false},

		{"common name", cn("alice"), "alice", nil, true},
		{"common name, case", cn("alice"), "Alice", nil, false},
		{"common name, part", cn("alice"), "alice2", nil, false},
		{"no common name", cn("alice"), "", nil, false},
		{"two common names", cn("alice", "bob"), "", twoNames, false},
		{"names are no common names", cn("x.test"), "", ssltest.DNSNames("x.test"), false},

		{"pin", ssl.Allow{SPKISHA256: []string{pin}}, "pinned", nil, true},
		{"pin in upper case with colons", ssl.Allow{SPKISHA256: []string{strings.Join(colons, ":")}}, "pinned", nil, true},
		{"pin of another", ssl.Allow{SPKISHA256: []string{pin}}, "alice", nil, false},

		{"any entry is enough", ssl.Allow{DNSNames: []string{"q.test"}, CommonNames: []string{"alice"}}, "alice", nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{pair}, Client: &ssl.ClientAuth{CAPEM: people.PEM(), Allow: &c.allow}}
			p := profile(t, config)
			cert := pinned
			if c.common != "pinned" {
				var options []ssltest.Option
				if c.with != nil {
					options = append(options, c.with)
				}
				cert = people.Client(c.common, options...)
			}
			err := ssl.SatisfiedBy(p, [][]*x509.Certificate{{cert.Leaf, people.Certificate()}}, time.Now())
			if c.taken {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, "the profile's allow-list does not name the client")
			}
		})
	}
}

// What is refused, and how New says so.
func TestAllowErrors(t *testing.T) {
	people := ssltest.NewCA(t, "people")
	pair := ssltest.NewCA(t, "servers").Server("a.test")
	for _, c := range []struct {
		allow ssl.Allow
		field string
		text  string
	}{
		{ssl.Allow{}, "Client.Allow", "has no entry: leave it nil to let everybody in whose chain is accepted"},
		{ssl.Allow{DNSNames: []string{"x.test", ""}}, "Client.Allow.DNSNames[1]", `""`},
		{ssl.Allow{DNSNames: []string{"*"}}, "Client.Allow.DNSNames[0]", `"*": a star must stand for a whole label`},
		{ssl.Allow{DNSNames: []string{"*x.test"}}, "Client.Allow.DNSNames[0]", `"*x.test": a star must stand for a whole label`},
		{ssl.Allow{DNSNames: []string{"a.*.test"}}, "Client.Allow.DNSNames[0]", `"a.*.test"`},
		{ssl.Allow{DNSNames: []string{"bücher.test"}}, "Client.Allow.DNSNames[0]", `"bücher.test"`},
		{ssl.Allow{URIs: []string{""}}, "Client.Allow.URIs[0]", `"": is no URI`},
		{ssl.Allow{URIs: []string{"*"}}, "Client.Allow.URIs[0]", `"*": is no URI`},
		{ssl.Allow{URIs: []string{"/*"}}, "Client.Allow.URIs[0]", `"/*": is no URI`},
		{ssl.Allow{URIs: []string{"td/a"}}, "Client.Allow.URIs[0]", `"td/a": is no URI`},
		{ssl.Allow{URIs: []string{"spiffe://*"}}, "Client.Allow.URIs[0]", `"spiffe://*": is no SPIFFE ID`},
		{ssl.Allow{URIs: []string{"spiffe:///*"}}, "Client.Allow.URIs[0]", `is no SPIFFE ID`},
		{ssl.Allow{URIs: []string{"spiffe://td/a*"}}, "Client.Allow.URIs[0]", `a star must be the last segment`},
		{ssl.Allow{URIs: []string{"spiffe://td/*/b"}}, "Client.Allow.URIs[0]", `a star must be the last segment`},
		{ssl.Allow{URIs: []string{"spiffe://td/a/"}}, "Client.Allow.URIs[0]", `is no SPIFFE ID`},
		{ssl.Allow{URIs: []string{"spiffe://td/a/../*"}}, "Client.Allow.URIs[0]", `is no SPIFFE ID`},
		{ssl.Allow{URIs: []string{"spiffe://TD/a"}}, "Client.Allow.URIs[0]", `is no SPIFFE ID`},
		{ssl.Allow{URIs: []string{"SPIFFE://td/a"}}, "Client.Allow.URIs[0]", `is no SPIFFE ID`},
		{ssl.Allow{URIs: []string{"spiffe://td:1/a"}}, "Client.Allow.URIs[0]", `is no SPIFFE ID`},
		{ssl.Allow{URIs: []string{"spiffe://u@td/a"}}, "Client.Allow.URIs[0]", `is no SPIFFE ID`},
		{ssl.Allow{URIs: []string{"spiffe://td/a?b"}}, "Client.Allow.URIs[0]", `is no SPIFFE ID`},
		{ssl.Allow{URIs: []string{"spiffe://td/a%2fb"}}, "Client.Allow.URIs[0]", `is no SPIFFE ID`},
		{ssl.Allow{URIs: []string{"spiffe://td/" + strings.Repeat("a", 2048)}}, "Client.Allow.URIs[0]", `is no SPIFFE ID`},
		{ssl.Allow{URIs: []string{"https://x.test/*"}}, "Client.Allow.URIs[0]", `only a SPIFFE ID may end in "/*"`},
		{ssl.Allow{Emails: []string{"alice"}}, "Client.Allow.Emails[0]", `"alice": is no email address`},
		{ssl.Allow{Emails: []string{"@x.test"}}, "Client.Allow.Emails[0]", `is no email address`},
		{ssl.Allow{Emails: []string{"a@"}}, "Client.Allow.Emails[0]", `is no email address`},
		{ssl.Allow{IPs: []netip.Prefix{{}}}, "Client.Allow.IPs[0]", `is no network`},
		{ssl.Allow{IPs: []netip.Prefix{netip.MustParsePrefix("::ffff:0.0.0.0/90")}}, "Client.Allow.IPs[0]", `is no network`},
		{ssl.Allow{CommonNames: []string{""}}, "Client.Allow.CommonNames[0]", `is empty`},
		{ssl.Allow{SPKISHA256: []string{"abcd"}}, "Client.Allow.SPKISHA256[0]", `"abcd": is no SHA-256 in hexadecimal`},
		{ssl.Allow{SPKISHA256: []string{strings.Repeat("g", 64)}}, "Client.Allow.SPKISHA256[0]", `is no SHA-256 in hexadecimal`},
	} {
		t.Run(c.text, func(t *testing.T) {
			_, err := ssl.New(ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{pair}, Client: &ssl.ClientAuth{CAPEM: people.PEM(), Allow: &c.allow}})
			faults := configErrors(t, err)
			require.Len(t, faults, 1)
			require.Equal(t, c.field, faults[0].Field)
			require.ErrorContains(t, faults[0], c.text)
		})
	}
}

// Who is not named gets no further than the handshake, and is in the record.
func TestNotAllowed(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	for _, cached := range []bool{false, true} {
		forVersions(t, func(t *testing.T, version uint16, _ int) {
			auth := &ssl.ClientAuth{CAPEM: people.PEM(), Allow: &ssl.Allow{CommonNames: []string{"alice"}}, CacheVerified: cached}
			d := newDoor(t, nil, server(servers, "1", auth, "a.test"))
			_, passage := d.visit(t, client(version, "a.test", people.Client("alice")))
			require.Nil(t, passage.err)
			bob := people.Client("bob")
			client, passage := d.visit(t, client(version, "a.test", bob))
			require.Equal(t, badCertificate, alertOf(client.err))
			require.Equal(t, ssl.ReasonNotAllowed, passage.err.Reason)
			require.Equal(t, bob.Leaf.Raw, passage.err.Certificate.Raw)
			require.Equal(t, "a.test", passage.err.ServerName)
		})
	}
}

// Another list ends the sessions and the requests of its own profile, and nobody
// else's; the same list in another order ends nothing.
func TestAllowReplaced(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	alice := people.Client("alice")
	auth := func(names ...string) *ssl.ClientAuth {
		return &ssl.ClientAuth{CAPEM: people.PEM(), Allow: &ssl.Allow{CommonNames: names}}
	}
	forVersions(t, func(t *testing.T, version uint16, none int) {
		one, two := server(servers, "1", auth("alice", "bob"), "a.test"), server(servers, "2", auth("alice"), "b.test")
		store := newStore(t, nil, one, two)
		s := serveTLS(t, store.TLSConfig())
		here, there := &intruder{t: t, version: version}, &intruder{t: t, version: version}
		_, alert, open := here.visit(s, "a.test", alice)
		require.Equal(t, noAlert, alert)
		there.visit(s, "b.test", alice)

		one.Client = auth("bob", "alice")
		put(t, store, one)
		resumed, _, _ := here.visit(s, "a.test")
		require.True(t, resumed)
		_, err := store.Judge(store.Table(), &open.state, "a.test", "/")
		require.NoError(t, err)

		one.Client = auth("bob")
		put(t, store, one)
		here.cache.keep = true
		_, alert, _ = here.visit(s, "a.test")
		require.Equal(t, none, alert, "the session alone")
		_, alert, _ = here.visit(s, "a.test", alice)
		require.Equal(t, badCertificate, alert)
		_, err = store.Judge(store.Table(), &open.state, "a.test", "/")
		require.Error(t, err)
		require.Equal(t, http.StatusMisdirectedRequest, err.(*ssl.RequestError).Status)
		require.True(t, err.(*ssl.RequestError).Close)

		resumed, alert, _ = there.visit(s, "b.test")
		require.Equal(t, noAlert, alert)
		require.True(t, resumed)
	})
}

// What an Identity says of SPIFFE IDs and serial numbers.
func TestIdentityNames(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	store := newStore(t, nil, server(servers, "1", &ssl.ClientAuth{CAPEM: people.PEM()}, "a.test"))
	s := serveTLS(t, store.TLSConfig())
	identity := func(cert tls.Certificate) *ssl.Identity {
		_, side := s.visit(t, ssltest.ClientConfig("a.test", cert))
		require.NoError(t, side.err)
		i, err := store.Judge(store.Table(), &side.state, "a.test", "/")
		require.NoError(t, err)
		return i
	}
	for _, c := range []struct {
		uris []string
		id   string
	}{
		{nil, ""},
		{[]string{"spiffe://td/a"}, "spiffe://td/a"},
		{[]string{"spiffe://td"}, "spiffe://td"},
		{[]string{"https://x.test/"}, ""},
		{[]string{"spiffe://td/a", "spiffe://td/b"}, ""},
		{[]string{"spiffe://td/a", "urn:x:y"}, ""},
		{[]string{"spiffe://td/a/"}, ""},
		{[]string{"spiffe://TD/a"}, ""},
	} {
		id, ok := identity(people.Client("alice", ssltest.URIs(c.uris...))).SPIFFEID()
		require.Equal(t, c.id, id, c.uris)
		require.Equal(t, c.id != "", ok)
	}
	for serial, want := range map[int64]string{1: "01", 0xabc: "0ABC", 0x1234: "1234"} {
		i := identity(people.Client("alice", func(c *x509.Certificate) { c.SerialNumber.SetInt64(serial) }))
		require.Equal(t, want, i.Serial())
	}
}
