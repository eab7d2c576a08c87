package upstream_test

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/upstream"
)

func TestNewRefuses(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.pair(t, "a.test")
	_, otherKey := ca.pair(t, "a.test")

	for _, c := range []struct {
		name  string
		edit  func(*upstream.Config)
		field string
		text  string
	}{
		{"no id", func(c *upstream.Config) { c.ID = "" }, "ID", "is required"},
		{"scheme", func(c *upstream.Config) { c.Scheme = "ftp" }, "Scheme", `is "ftp", and must be "http", "https", "h2c", "grpc" or "grpcs"`},
		{"TLS over h2c", func(c *upstream.Config) { c.Scheme, c.TLS.CAPEM = "h2c", ca.pem }, "TLS", `over the scheme "h2c" nothing is encrypted or verified: set Scheme to "grpcs"`},
		{"scheme in capitals", func(c *upstream.Config) { c.Scheme = "HTTP" }, "Scheme", `must be "http", "https", "h2c", "grpc" or "grpcs"`},
		{"balancer", func(c *upstream.Config) { c.Balancer = "best" }, "Balancer", `is "best", and must be "roundrobin", "chash", "least_conn" or "ewma"`},
		{"two balancers", func(c *upstream.Config) { c.Balancer, c.Picker = "ewma", leastAddress{} }, "Balancer", `is "ewma", and Picker is set as well`},
		{"no key", chash("", ""), "HashKey", `is empty, and the balancer "chash" needs one`},
		{"no header", chash("header", ""), "HashKey", `is empty`},
		{"variable", chash("", "request_id"), "HashKey", `is "request_id", and must be uri, request_uri`},
		{"variable with dollar", chash("vars", "$uri"), "HashKey", `is "$uri", and must be uri`},
		{"header name", chash("header", "$#^@"), "HashKey", `is "$#^@", and must be letters, digits, - and _`},
		{"cookie name", chash("cookie", "a b"), "HashKey", "must be letters"},
		{"template", chash("vars_combinations", `uri \$uri`), "HashKey", "in which there is no variable"},
		{"consumer", chash("consumer", ""), "HashOn", `is "consumer", and there are none here`},
		{"hash on", chash("body", "x"), "HashOn", `is "body", and must be "vars", "header", "cookie" or "vars_combinations"`},
		{"hash on alone", func(c *upstream.Config) { c.HashOn = "vars" }, "HashOn", `is for the balancer "chash" only`},
		{"hash key alone", func(c *upstream.Config) { c.Balancer, c.HashKey = "ewma", "uri" }, "HashKey", `is for the balancer "chash" only`},
		{"a ring too large", func(c *upstream.Config) {
			chash("", "uri")(c)
			c.Nodes[0].Weight, c.Nodes[1].Weight = 16384, 1
		}, "Nodes", "have weights of 16385 in sum, without what they have in common, and chash keeps 160 points for each: the most is 16384"},

		{"no host", func(c *upstream.Config) { c.Nodes[1].Host = "" }, "Nodes[1].Host", "is required"},
		{"URL as host", func(c *upstream.Config) { c.Nodes[1].Host = "http://a.test" }, "Nodes[1].Host", "not a URL"},
		{"port in host", func(c *upstream.Config) { c.Nodes[1].Host = "a.test:80" }, "Nodes[1].Host", "the port goes into Port"},
		{"host", func(c *upstream.Config) { c.Nodes[1].Host = "a b" }, "Nodes[1].Host", `"a b" is neither a name nor an address`},
		{"port", func(c *upstream.Config) { c.Nodes[0].Port = 65536 }, "Nodes[0].Port", "is 65536, and must be 1 to 65535"},
		{"negative port", func(c *upstream.Config) { c.Nodes[0].Port = -1 }, "Nodes[0].Port", "is -1"},
		{"negative weight", func(c *upstream.Config) { c.Nodes[0].Weight = -1 }, "Nodes[0].Weight", "is -1, and must be 0 to"},
		{"huge weight", func(c *upstream.Config) { c.Nodes[0].Weight = math.MaxInt }, "Nodes[0].Weight", "must be 0 to 2147483647"},
		{"same node", func(c *upstream.Config) { c.Nodes[1] = upstream.Node{Host: "A.Test", Port: 80} }, "Nodes[1]", "is a.test:80, as is Nodes[0]"},

		{"host that is not sent", func(c *upstream.Config) { c.Host = "b.test" }, "Host", "is sent with PassRewrite only"},
		{"the same with PassNode", func(c *upstream.Config) { c.PassHost, c.Host = upstream.PassNode, "b.test" }, "Host", "is sent with PassRewrite only"},
		{"no host to send", func(c *upstream.Config) { c.PassHost = upstream.PassRewrite }, "Host", "is empty, and PassRewrite sends it"},
		{"bad host to send", func(c *upstream.Config) { c.PassHost, c.Host = upstream.PassRewrite, "a b" }, "Host", `"a b" is no host`},
		{"line feed in it", func(c *upstream.Config) { c.PassHost, c.Host = upstream.PassRewrite, "a\r\nX: y" }, "Host", `is no host`},
		{"encrypted key", func(c *upstream.Config) {
			c.Scheme, c.TLS.CertPEM = "https", ca.pem
			c.TLS.KeyPEM = pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})
		}, "TLS.KeyPEM", `is encrypted: store it decrypted, as "openssl pkey" writes it`},
		{"encrypted key, as of old", func(c *upstream.Config) {
			c.Scheme, c.TLS.CertPEM = "https", ca.pem
			c.TLS.KeyPEM = pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Headers: map[string]string{"DEK-Info": "AES-128-CBC,00"}, Bytes: []byte("x")})
		}, "TLS.KeyPEM", `is encrypted: store it decrypted, as "openssl pkey" writes it`},
		{"server name without TLS", func(c *upstream.Config) { c.TLS.ServerName = "a.test" }, "TLS", `is set, but over the scheme "http" nothing is encrypted or verified`},
		{"server name with a port", func(c *upstream.Config) { c.Scheme, c.TLS.ServerName = "https", "a.test:443" }, "TLS.ServerName", `"a.test:443" is neither a name nor an address alone`},
		{"wildcard as server name", func(c *upstream.Config) { c.Scheme, c.TLS.ServerName = "https", "*.a.test" }, "TLS.ServerName", `is neither a name`},
		{"pass host", func(c *upstream.Config) { c.PassHost = 7 }, "PassHost", "is 7"},

		{"retries", func(c *upstream.Config) { c.Retries = -2 }, "Retries", "is -2, and must not be negative"},
		{"retry timeout", func(c *upstream.Config) { c.RetryTimeout = -1 }, "RetryTimeout", "is -1ns"},
		{"replay", func(c *upstream.Config) { c.ReplayBytes = -1 }, "ReplayBytes", "is -1, and must not be negative"},
		{"retry budget", func(c *upstream.Config) { c.RetryBudget.Percent = -1 }, "RetryBudget.Percent", "is -1, and must be 0 to"},
		{"huge retry budget", func(c *upstream.Config) { c.RetryBudget.PerSecond = math.MaxInt }, "RetryBudget.PerSecond", "and must be 0 to 1000000"},
		{"connect", func(c *upstream.Config) { c.Timeout.Connect = -time.Second }, "Timeout.Connect", "is -1s"},
		{"send", func(c *upstream.Config) { c.Timeout.Send = -time.Second }, "Timeout.Send", "is -1s"},
		{"read", func(c *upstream.Config) { c.Timeout.Read = -time.Second }, "Timeout.Read", "is -1s"},
		{"keep-alive size", func(c *upstream.Config) { c.KeepAlive.Size = -1 }, "KeepAlive.Size", "is -1"},
		{"keep-alive time", func(c *upstream.Config) { c.KeepAlive.IdleTimeout = -1 }, "KeepAlive.IdleTimeout", "is -1ns"},
		{"keep-alive requests", func(c *upstream.Config) { c.KeepAlive.Requests = -1 }, "KeepAlive.Requests", "is -1, and must not be negative"},

		{"empty CA", https(func(c *upstream.Config) { c.TLS.CAPEM = []byte{} }), "TLS.CAPEM", "is empty: leave it nil to trust the roots of the system"},
		{"blank CA", https(func(c *upstream.Config) { c.TLS.CAPEM = []byte(" \n") }), "TLS.CAPEM", "is empty"},
		{"CA that is no PEM", https(func(c *upstream.Config) { c.TLS.CAPEM = []byte("MIIB") }), "TLS.CAPEM", "has no certificate in PEM"},
		{"CA without newlines", https(func(c *upstream.Config) { c.TLS.CAPEM = []byte(strings.ReplaceAll(string(ca.pem), "\n", " ")) }), "TLS.CAPEM", "were newlines lost?"},
		{"a CA whose first line is broken", https(func(c *upstream.Config) {
			c.TLS.CAPEM = append(bytes.Replace(ca.pem, []byte("BEGIN"), []byte("BEiIN"), 1), ca.pem...)
		}), "TLS.CAPEM", "has 2 PEM blocks, of which 1 can be read"},
		{"half a CA", https(func(c *upstream.Config) { c.TLS.CAPEM = append(ca.pem[:len(ca.pem):len(ca.pem)], ca.pem[:99]...) }), "TLS.CAPEM", "has 2 PEM blocks, of which 1 can be read"},
		{"CA with a key", https(func(c *upstream.Config) { c.TLS.CAPEM = key }), "TLS.CAPEM", `is of the type "PRIVATE KEY"`},
		{"CA that is no certificate", https(func(c *upstream.Config) {
			c.TLS.CAPEM = []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
		}), "TLS.CAPEM", "certificate 1: x509:"},
		{"certificate alone", https(func(c *upstream.Config) { c.TLS.CertPEM = cert }), "TLS.KeyPEM", "is missing"},
		{"key alone", https(func(c *upstream.Config) { c.TLS.KeyPEM = key }), "TLS.CertPEM", "is missing"},
		{"another's key", https(func(c *upstream.Config) { c.TLS.CertPEM, c.TLS.KeyPEM = cert, otherKey }), "TLS.KeyPEM", "is not the key of the certificate"},
		{"TLS over http", func(c *upstream.Config) { c.TLS.CAPEM = ca.pem }, "TLS", `set Scheme to "https"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := upstream.Config{ID: "1", Nodes: []upstream.Node{{Host: "a.test", Weight: 1}, {Host: "b.test", Weight: 1}}}
			c.edit(&config)
			u, err := upstream.New(config)
			require.Nil(t, u)
			var fault *upstream.ConfigError
			require.ErrorAs(t, err, &fault)
			require.Equal(t, c.field, fault.Field)
			require.Equal(t, c.field, fault.FieldPath())
			require.Equal(t, config.ID, fault.ID)
			require.Contains(t, fault.Error(), c.text)
			require.Equal(t, fmt.Sprintf("upstream %q: %s: %v", config.ID, c.field, fault.Err), err.Error(), "one fault only")
		})
	}
}

func chash(on upstream.HashOn, key string) func(*upstream.Config) {
	return func(c *upstream.Config) { c.Balancer, c.HashOn, c.HashKey = "chash", on, key }
}

func https(edit func(*upstream.Config)) func(*upstream.Config) {
	return func(c *upstream.Config) {
		c.Scheme = "https"
		edit(c)
	}
}

func TestNewTellsAllFaults(t *testing.T) {
	_, err := upstream.New(upstream.Config{
		Scheme:  "gopher",
		Nodes:   []upstream.Node{{Host: "a b", Port: -1, Weight: -1}, {Host: "a.test", Port: 70000}},
		Retries: -5,
	})
	joined, ok := err.(interface{ Unwrap() []error })
	require.True(t, ok)
	var fields []string
	for _, err := range joined.Unwrap() {
		var fault *upstream.ConfigError
		require.True(t, errors.As(err, &fault))
		fields = append(fields, fault.Field)
	}
	require.Equal(t, []string{"ID", "Scheme", "Nodes[0].Host", "Nodes[0].Port", "Nodes[0].Weight", "Nodes[1].Port", "Retries"}, fields)
}

// A private key is in no error and in no dump.
func TestKeyIsNeverShown(t *testing.T) {
	ca := newAuthority(t)
	cert, _ := ca.pair(t, "a.test")
	_, key := ca.pair(t, "a.test")
	secret := strings.Split(string(key), "\n")[1]

	c := upstream.Config{ID: "1", Scheme: "https", TLS: upstream.TLS{CertPEM: cert, KeyPEM: key}}
	_, err := upstream.New(c)
	require.Error(t, err)
	for _, c := range []upstream.Config{
		c,
		{ID: "1", Scheme: "https", TLS: upstream.TLS{CertPEM: key, KeyPEM: cert}},
		{ID: "1", Scheme: "https", TLS: upstream.TLS{CAPEM: key}},
		{ID: "1", Scheme: "https", TLS: upstream.TLS{CertPEM: cert, KeyPEM: key[:len(key)-40]}},
	} {
		_, err := upstream.New(c)
		require.Error(t, err)
		require.NotContains(t, err.Error(), secret)
	}
	require.NotContains(t, fmt.Sprintf("%v %+v %#v %v", c, c, c, c.TLS.KeyPEM), secret)
}

func TestNewAccepts(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.pair(t, "a.test")
	for name, c := range map[string]upstream.Config{
		"the least":     {ID: "1"},
		"all":           {ID: "1", Scheme: "https", Nodes: []upstream.Node{{Host: "[::1]", Port: 1, Weight: 1}, {Host: "fe80::1%eth0"}}, Balancer: "roundrobin", PassHost: upstream.PassRewrite, Host: "a.test:8443", Retries: 3, RetryTimeout: 1, Timeout: upstream.Timeout{Connect: 1, Send: 2, Read: 3}, KeepAlive: upstream.KeepAlive{Size: 1, IdleTimeout: 1}, TLS: upstream.TLS{CAPEM: ca.pem, CertPEM: cert, KeyPEM: key}},
		"chash":         {ID: "1", Balancer: "chash", HashOn: "header", HashKey: "X-User", Nodes: []upstream.Node{{Host: "a.test", Weight: 2000000, Priority: -1}, {Host: "b.test", Weight: 1000000}}},
		"an odd key":    {ID: "1", Balancer: "chash", HashKey: "arg_a^b-1"},
		"a picker":      {ID: "1", Picker: leastAddress{}},
		"no retries":    {ID: "1", Retries: upstream.NoRetries},
		"many retries":  {ID: "1", Retries: 100},
		"CA with text":  {ID: "1", Scheme: "https", TLS: upstream.TLS{CAPEM: []byte("Our root\n" + string(ca.pem) + "# and so on\n" + string(ca.pem) + "end\n")}},
		"no verifying":  {ID: "1", Scheme: "https", TLS: upstream.TLS{DangerouslySkipServerVerify: true}},
		"the same http": {ID: "1", TLS: upstream.TLS{DangerouslySkipServerVerify: true}},
	} {
		t.Run(name, func(t *testing.T) {
			u, err := upstream.New(c)
			require.NoError(t, err)
			require.Equal(t, c.ID, u.ID())
			require.Equal(t, c, u.Config())
			_, err = upstream.New(u.Config())
			require.NoError(t, err)
		})
	}
}

// Nobody who holds a Config can change the Upstream.
func TestUpstreamIsItsOwn(t *testing.T) {
	ca := newAuthority(t)
	nodes := []upstream.Node{{Host: "a.test"}}
	pem := append([]byte(nil), ca.pem...)
	u, err := upstream.New(upstream.Config{ID: "1", Scheme: "https", Nodes: nodes, TLS: upstream.TLS{CAPEM: pem}})
	require.NoError(t, err)
	nodes[0].Host, pem[0] = "evil.test", 'x'
	out := u.Config()
	require.Equal(t, "a.test", out.Nodes[0].Host)
	require.Equal(t, ca.pem, out.TLS.CAPEM)
	out.Nodes[0].Host, out.TLS.CAPEM[0] = "evil.test", 'x'
	require.Equal(t, "a.test", u.Config().Nodes[0].Host)
	require.Equal(t, ca.pem, u.Config().TLS.CAPEM)
}

func TestNodeAddress(t *testing.T) {
	for _, c := range []struct {
		host    string
		port    int
		https   bool
		address string
		sent    string // as Host
		name    string
	}{
		{"a.test", 0, false, "a.test:80", "a.test", "a.test"},
		{"a.test", 0, true, "a.test:443", "a.test", "a.test"},
		{"a.test", 80, false, "a.test:80", "a.test", "a.test"},
		{"a.test", 80, true, "a.test:80", "a.test:80", "a.test"},
		{"a.test", 443, false, "a.test:443", "a.test:443", "a.test"},
		{"A.TEST", 8080, false, "a.test:8080", "a.test:8080", "a.test"},
		{"a.test.", 0, false, "a.test.:80", "a.test", "a.test"},
		{"localhost", 1, false, "localhost:1", "localhost:1", "localhost"},
		{"my_service-1", 0, false, "my_service-1:80", "my_service-1", "my_service-1"},
		{"10.0.0.1", 0, false, "10.0.0.1:80", "10.0.0.1", "10.0.0.1"},
		{"::1", 0, false, "[::1]:80", "[::1]", "[::1]"},
		{"[::1]", 8080, false, "[::1]:8080", "[::1]:8080", "[::1]"},
		{"2001:DB8:0:0::1", 0, true, "[2001:db8::1]:443", "[2001:db8::1]", "[2001:db8::1]"},
		{"::ffff:10.0.0.1", 0, false, "10.0.0.1:80", "10.0.0.1", "10.0.0.1"},
		{"fe80::1%eth0", 0, false, "[fe80::1%eth0]:80", "[fe80::1]", "[fe80::1]"},
	} {
		address, sent, name, err := upstream.NodeAddress(upstream.Node{Host: c.host, Port: c.port}, c.https)
		require.NoError(t, err, c.host)
		require.Equal(t, []string{c.address, c.sent, c.name}, []string{address, sent, name}, c.host)
	}
	for _, host := range []string{
		"", ".", "..", "a..test", "a b", "a\x00b", "a\nb", "a.test:80", "http://a.test", "/run/a.sock",
		"*", "*.test", "bücher.test", "a@b", "[a.test]", "[10.0.0.1]", "[::1", "::1]", "[::1]:80", "[]", "::1%]]", "::1%a b",
		"127.1", "10.0.0.256", "1", "010.0.0.1", "10.0.0.1.", "a.1", strings.Repeat("a", 64), strings.Repeat("a.", 130),
	} {
		_, _, _, err := upstream.NodeAddress(upstream.Node{Host: host}, false)
		require.Error(t, err, "%q", host)
	}
}

// An upstream tells how it balances, and what of it is not as it may seem.
func TestUpstreamTells(t *testing.T) {
	node := []upstream.Node{{Host: "127.0.0.1", Port: 1, Weight: 1}}
	unverified := upstream.TLS{DangerouslySkipServerVerify: true}
	for _, c := range []struct {
		config   upstream.Config
		balancer upstream.Balancer
		warnings int
	}{
		{upstream.Config{ID: "u", Nodes: node}, "roundrobin", 0},
		{upstream.Config{ID: "u", Nodes: node, Balancer: "ewma"}, "ewma", 0},
		{upstream.Config{ID: "u", Nodes: node, Picker: leastAddress{}}, "", 0},
		{upstream.Config{ID: "u", Nodes: node, Scheme: "https", TLS: unverified}, "roundrobin", 1},
		{upstream.Config{ID: "u", Nodes: node, Scheme: "grpcs", TLS: unverified}, "roundrobin", 1},
		{upstream.Config{ID: "u", Nodes: node, Scheme: "https"}, "roundrobin", 0},
	} {
		u, err := upstream.New(c.config)
		require.NoError(t, err)
		require.Equal(t, c.balancer, u.Balancer())
		require.Len(t, u.Warnings(), c.warnings)
	}
}

// told returns the warnings about an upstream as they are printed, without its ID.
func told(t testing.TB, u *upstream.Upstream) (texts []string) {
	t.Helper()
	for _, w := range u.Warnings() {
		text, ok := strings.CutPrefix(w.String(), fmt.Sprintf("upstream %q: ", u.ID()))
		require.True(t, ok, "%v", w)
		texts = append(texts, text)
	}
	return texts
}

// A Weight that was forgotten beside others takes a node out. The document of an Admin API
// always has one, but there too somebody may have drained a node and left it so.
func TestWarningsOfZeroWeights(t *testing.T) {
	node := func(port, weight, priority int) upstream.Node {
		return upstream.Node{Host: "127.0.0.1", Port: port, Weight: weight, Priority: priority}
	}
	const meant = " (set Weight, unless that is meant)"
	for _, c := range []struct {
		name  string
		nodes []upstream.Node
		want  []string
	}{
		{"no nodes", nil, nil},
		{"each has one", []upstream.Node{node(1, 1, 0), node(2, 9, 0)}, nil},
		{"none has one", []upstream.Node{node(1, 0, 0), node(2, 0, 0)}, nil},
		{"none of a priority", []upstream.Node{node(1, 5, 1), node(2, 0, 0), node(3, 0, 0)}, nil},
		{"one has none", []upstream.Node{node(1, 1, 0), node(2, 0, 0)}, []string{
			"Nodes: nodes of Weight 0 beside others with more get no requests: 127.0.0.1:2" + meant,
		}},
		{"in two priorities", []upstream.Node{node(1, 0, 0), node(2, 1, 0), node(3, 0, 2), node(4, 1, 2)}, []string{
			"Nodes: nodes of Weight 0 beside others with more get no requests: 127.0.0.1:3, 127.0.0.1:1" + meant,
		}},
		{"many", []upstream.Node{node(1, 0, 0), node(2, 0, 0), node(3, 1, 0), node(4, 0, 0), node(5, 0, 0), node(6, 0, 0)}, []string{
			"Nodes: nodes of Weight 0 beside others with more get no requests: 127.0.0.1:1, 127.0.0.1:2, 127.0.0.1:4 and 2 more" + meant,
		}},
	} {
		for _, picker := range []upstream.Picker{nil, leastAddress{}} { // to which they are not usable either
			u, err := upstream.New(upstream.Config{ID: "u", Nodes: c.nodes, Picker: picker})
			require.NoError(t, err, c.name)
			require.Equal(t, c.want, told(t, u), c.name)
		}
	}
}

// APISIX probes in plain HTTP too if it is not told otherwise, whatever the nodes speak.
func TestWarningsOfChecks(t *testing.T) {
	warned := func(c upstream.Config) (found []string) {
		c.ID = "u"
		u, err := upstream.New(c)
		require.NoError(t, err)
		for _, w := range u.Warnings() {
			if w.Field == "Checks.Active.Type" {
				found = append(found, w.Text)
			}
		}
		return found
	}
	active := func(a upstream.ActiveChecks) *upstream.Checks { return &upstream.Checks{Active: a} }
	for scheme, want := range map[upstream.Scheme]string{
		upstream.SchemeHTTPS: `is "http", and the nodes speak https: a probe tells nothing of such a node, or finds it unhealthy: set "https" or "tcp"`,
		upstream.SchemeGRPC:  `is "http", and the nodes speak grpc: a probe tells nothing of such a node, or finds it unhealthy: set "tcp"`,
		upstream.SchemeGRPCS: `is "http", and the nodes speak grpcs: a probe tells nothing of such a node, or finds it unhealthy: set "tcp"`,
	} {
		require.Equal(t, []string{want}, warned(upstream.Config{Scheme: scheme, Checks: active(upstream.ActiveChecks{})}))
		require.Equal(t, []string{want}, warned(upstream.Config{Scheme: scheme, Checks: active(upstream.ActiveChecks{Type: upstream.CheckHTTP, HealthyInterval: upstream.NoProbes})}))
		for _, a := range []upstream.ActiveChecks{
			{Type: upstream.CheckTCP}, {Type: upstream.CheckHTTPS}, {Port: 8080}, {HealthyInterval: upstream.NoProbes, UnhealthyInterval: upstream.NoProbes},
		} {
			require.Empty(t, warned(upstream.Config{Scheme: scheme, Checks: active(a)}))
		}
		require.Empty(t, warned(upstream.Config{Scheme: scheme}))
	}
	for _, scheme := range []upstream.Scheme{"", upstream.SchemeHTTP, upstream.SchemeH2C} {
		require.Empty(t, warned(upstream.Config{Scheme: scheme, Checks: active(upstream.ActiveChecks{})}))
	}
}

// An interval without a unit is nanoseconds too: there would be thousands of probes a second.
func TestWarningsOfShortIntervals(t *testing.T) {
	warned := func(healthy, unhealthy time.Duration) []string {
		u, err := upstream.New(upstream.Config{ID: "1", Checks: &upstream.Checks{Active: upstream.ActiveChecks{HealthyInterval: healthy, UnhealthyInterval: unhealthy}}})
		require.NoError(t, err)
		return told(t, u)
	}
	require.Empty(t, warned(0, upstream.NoProbes))
	require.Empty(t, warned(time.Millisecond, time.Second))
	const says = ", below a millisecond: its nodes are probed without a pause: is a unit missing?"
	require.Equal(t, []string{"Checks.Active.HealthyInterval: is 5ns" + says, "Checks.Active.UnhealthyInterval: is 999.999µs" + says}, warned(5, time.Millisecond-1))
}

// A duration without a unit is nanoseconds, and seldom what was meant.
func TestWarningsOfShortTimeouts(t *testing.T) {
	const says = " seconds), below a millisecond, in which hardly a node answers: is the unit right?"
	for _, c := range []struct {
		name   string
		config upstream.Config
		want   []string
	}{
		{"none", upstream.Config{}, nil},
		{"with units", upstream.Config{
			Timeout: upstream.Timeout{Connect: time.Millisecond, Send: time.Second, Read: time.Minute}, RetryTimeout: time.Second,
			Checks: &upstream.Checks{Active: upstream.ActiveChecks{Timeout: time.Second}},
		}, nil},
		{"without", upstream.Config{
			Timeout: upstream.Timeout{Connect: 5, Send: 6, Read: time.Millisecond - 1}, RetryTimeout: 7,
			Checks: &upstream.Checks{Active: upstream.ActiveChecks{Timeout: 8}},
		}, []string{
			"Timeout.Connect: is 5ns (5e-09" + says, "Timeout.Send: is 6ns (6e-09" + says, "Timeout.Read: is 999.999µs (0.000999999" + says,
			"RetryTimeout: is 7ns (7e-09" + says, "Checks.Active.Timeout: is 8ns (8e-09" + says,
		}},
		{"one", upstream.Config{Timeout: upstream.Timeout{Read: 60}}, []string{"Timeout.Read: is 60ns (6e-08" + says}},
	} {
		c.config.ID = "u"
		u, err := upstream.New(c.config)
		require.NoError(t, err, c.name)
		require.Equal(t, c.want, told(t, u), c.name)
	}
}
