package ssl_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// restrictions are what a CA may say of all that stands below it.
var restrictions = map[string]func(*x509.Certificate) *x509.Certificate{
	"nothing": func(c *x509.Certificate) *x509.Certificate { return c },
	"permitted names": func(c *x509.Certificate) *x509.Certificate {
		c.PermittedDNSDomainsCritical, c.PermittedDNSDomains = true, []string{"good.test"}
		return c
	},
	"excluded names, not critical": func(c *x509.Certificate) *x509.Certificate {
		c.ExcludedDNSDomains = []string{"bad.test"}
		return c
	},
	"for servers": func(c *x509.Certificate) *x509.Certificate {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		return c
	},
	"for something unknown": func(c *x509.Certificate) *x509.Certificate {
		c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 2, 3, 4}}
		return c
	},
	"for clients": func(c *x509.Certificate) *x509.Certificate {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		return c
	},
	"something critical": func(c *x509.Certificate) *x509.Certificate {
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}
		return c
	},
}

// named returns a client with a DNS name.
func named(commonName, domain string) *x509.Certificate {
	c := leaf(commonName)
	c.DNSNames = []string{domain}
	return c
}

// An intermediate in the bundle is no way around what its root says: who is taken, and why
// not, is the same with it and without.
func TestRestrictionsAboveAnchors(t *testing.T) {
	servers := ssltest.NewCA(t, "servers")
	reasons := map[string]ssl.Reason{
		"permitted names bad.test": ssl.ReasonUnknownCA, "excluded names, not critical bad.test": ssl.ReasonUnknownCA,
		"for servers good.test": ssl.ReasonKeyUsage, "for servers bad.test": ssl.ReasonKeyUsage,
		"for something unknown good.test": ssl.ReasonKeyUsage, "for something unknown bad.test": ssl.ReasonKeyUsage,
		"something critical good.test": ssl.ReasonUnknownCA, "something critical bad.test": ssl.ReasonUnknownCA,
	}
	for name, restrict := range restrictions {
		t.Run(name, func(t *testing.T) {
			root := newAuthority(t, nil, restrict(ca("root")))
			upper := newAuthority(t, root, ca("upper"))
			middle := newAuthority(t, upper, ca("middle"))
			for bundle, cas := range map[string][]byte{
				"the root alone":     root.pem(),
				"the whole way":      join(root.pem(), upper.pem(), middle.pem()),
				"the way but for it": join(root.pem(), upper.pem()),
			} {
				for _, cached := range []bool{false, true} {
					d := newDoor(t, nil, server(servers, "1", &ssl.ClientAuth{CAPEM: cas, Depth: 3, CacheVerified: cached}, "a.test"))
					for _, domain := range []string{"good.test", "bad.test"} {
						alice := newAuthority(t, middle, named("alice", domain)).pair(middle, upper)
						for range 2 { // the second time, what is cached is cached
							_, passage := d.visit(t, ssltest.ClientConfig("a.test", alice))
							reason := reasons[name+" "+domain]
							if reason == "" {
								require.Nil(t, passage.err, bundle)
								continue
							}
							require.NotNil(t, passage.err, "%s: %s", bundle, domain)
							require.Equal(t, reason, passage.err.Reason, bundle)
							if domain == "bad.test" && reason == ssl.ReasonUnknownCA && name != "something critical" {
								require.Contains(t, passage.err.Advice(), "the name constraints of a CA above it do not permit a name in the certificate of CN=alice: ")
							}
						}
					}
				}
			}
		})
	}
}
