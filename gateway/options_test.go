package gateway_test

import (
	"crypto/tls"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
)

// Options that cannot be meant so are refused, with the field and the rule.
func TestOptionsRefused(t *testing.T) {
	good := netip.MustParsePrefix("10.0.0.0/8")
	invalid := netip.PrefixFrom(netip.MustParseAddr("10.0.0.0"), 33)
	mapped := netip.MustParsePrefix("::ffff:10.0.0.0/104")
	for want, o := range map[string]*gateway.Options{
		`TLS.FallbackName: "a b": has a character that is none of a-z 0-9 - _ and the dot`:                           {TLS: ssl.Options{FallbackName: "a b"}},
		`TLS.Base.MinVersion: TLS 1.3 is above MaxVersion, TLS 1.2`:                                                  {TLS: ssl.Options{Base: &tls.Config{MinVersion: tls.VersionTLS13, MaxVersion: tls.VersionTLS12}}},
		`Route.Router: Router(3) is no router`:                                                                       {Route: route.Options{Router: 3}},
		`Route.Router: Router(-1) is no router`:                                                                      {Route: route.Options{Router: -1}},
		`PlainHTTP: 3 is none of PlainGuarded, PlainOpen and PlainRedirect`:                                          {PlainHTTP: 3},
		`PlainHTTP: -1 is none of PlainGuarded, PlainOpen and PlainRedirect`:                                         {PlainHTTP: -1},
		`HTTPSPort: -1 is no port`:                                                                                   {HTTPSPort: -1},
		`HTTPSPort: 65536 is no port`:                                                                                {HTTPSPort: 65536},
		`TrustedProxies[1]: is no prefix`:                                                                            {TrustedProxies: []netip.Prefix{good, {}}},
		`TrustedProxies[0]: is no prefix`:                                                                            {TrustedProxies: []netip.Prefix{invalid}},
		`TrustedProxies[0]: ::ffff:10.0.0.0/104 writes IPv4 as IPv6, and has no address so`:                          {TrustedProxies: []netip.Prefix{mapped}},
		`ProxyProtocol[1]: is no prefix`:                                                                             {ProxyProtocol: []netip.Prefix{good, {}}},
		`ProxyProtocol[0]: ::ffff:10.0.0.0/104 writes IPv4 as IPv6, and has no address so`:                           {ProxyProtocol: []netip.Prefix{mapped}},
		`ClientCert: ClientCert|ClientCertNone: ClientCertNone stands alone`:                                         {ClientCert: route.ClientCert | route.ClientCertNone},
		`ClientCert: 0x80 has bits that mean nothing`:                                                                {ClientCert: 0x80},
		`ServerHeader: "gate\r\n/1" has a control character, which no value of a field has (RFC 9110, section 5.5)`:  {ServerHeader: "gate\r\n/1"},
		`ServerHeader: "gate\x7f" has a control character, which no value of a field has (RFC 9110, section 5.5)`:    {ServerHeader: "gate\x7f"},
		`ServerHeader: "gate " begins or ends with white space, which is no part of a value (RFC 9110, section 5.5)`: {ServerHeader: "gate "},
		`TunnelGrace: -1ns is negative`:                                                                              {TunnelGrace: -1},
	} {
		gw, err := gateway.New(o)
		require.EqualError(t, err, "gateway: Options."+want)
		require.Nil(t, gw, want)
	}

	// All of them at once.
	_, err := gateway.New(&gateway.Options{TLS: ssl.Options{FallbackName: "*", Base: &tls.Config{MinVersion: 1}}, Route: route.Options{Router: 3}, HTTPSPort: -1, TunnelGrace: -1})
	require.EqualError(t, err, "gateway: Options.TLS.Base.MinVersion: 0x0001 is no version from TLS 1.0 to 1.3\n"+
		`gateway: Options.TLS.FallbackName: "*": stands for many names, and a connection is made for one`+"\n"+
		"gateway: Options.Route.Router: Router(3) is no router\n"+
		"gateway: Options.HTTPSPort: -1 is no port\n"+
		"gateway: Options.TunnelGrace: -1ns is negative")

	// What can be meant is not refused, and neither is what says nothing.
	for _, o := range []*gateway.Options{
		nil,
		{},
		{FailuresLogged: -1, RefusalsKept: -1, Limits: gateway.Limits{Connections: -1, HeaderBytes: -1, HeaderTimeout: -1, Streams: -1}},
		{PlainHTTP: gateway.PlainRedirect, HTTPSPort: 65535, Route: route.Options{Router: route.RouterURIWithParameter}, ClientCert: route.ClientCertNone},
		{ServerHeader: "a\tgate/1 (m\xfcde)", TrustedProxies: []netip.Prefix{netip.MustParsePrefix("::/0"), netip.MustParsePrefix("0.0.0.0/0")}},
	} {
		gw, err := gateway.New(o)
		require.NoError(t, err)
		require.NoError(t, gw.Close())
	}
}
