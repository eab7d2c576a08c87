package clientcert_test

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/clientcert"
)

func TestRFC9440(t *testing.T) {
	leaf, middle, root := &x509.Certificate{Raw: []byte("leaf\xff")}, &x509.Certificate{Raw: []byte("middle")}, &x509.Certificate{Raw: []byte("root")}
	binary := func(c *x509.Certificate) string { return ":" + base64.StdEncoding.EncodeToString(c.Raw) + ":" }
	require.Equal(t, binary(leaf), clientcert.RFC9440(leaf))
	require.Equal(t, binary(middle)+", "+binary(root), clientcert.RFC9440Chain([]*x509.Certificate{leaf, middle, root}))
	require.Equal(t, binary(root), clientcert.RFC9440Chain([]*x509.Certificate{leaf, root}))
	require.Empty(t, clientcert.RFC9440Chain([]*x509.Certificate{leaf}))
}

func TestEscapedPEM(t *testing.T) {
	a, b := &x509.Certificate{Raw: []byte(strings.Repeat("\xfb\xff\xbe", 40) + "x")}, &x509.Certificate{Raw: []byte("b")}
	got := clientcert.EscapedPEM(a, b)
	require.Zero(t, strings.Trim(got, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-%"), got)
	text, err := url.PathUnescape(got)
	require.NoError(t, err)
	first, rest := pem.Decode([]byte(text))
	second, rest := pem.Decode(rest)
	require.Empty(t, rest)
	require.Equal(t, a.Raw, first.Bytes)
	require.Equal(t, b.Raw, second.Bytes)
}

// A pair is one of the field's, as a reader of Envoy's format finds it.
type pair struct{ key, value string }

// readXFCC reads the one element of a field as Envoy's documentation has it: pairs
// between semicolons, where a value may be quoted and a quote in it has a backslash.
func readXFCC(t testing.TB, s string) (pairs []pair) {
	t.Helper()
	for s != "" {
		key, rest, ok := strings.Cut(s, "=")
		require.True(t, ok, "%q", s)
		var value strings.Builder
		if strings.HasPrefix(rest, `"`) {
			rest = rest[1:]
			for {
				require.NotEmpty(t, rest, "a quote does not end")
				if strings.HasPrefix(rest, `\"`) {
					value.WriteByte('"')
					rest = rest[2:]
					continue
				}
				c := rest[0]
				rest = rest[1:]
				if c == '"' {
					break
				}
				value.WriteByte(c)
			}
		} else {
			end := strings.IndexAny(rest, ",;")
			if end < 0 {
				end = len(rest)
			}
			value.WriteString(rest[:end])
			rest = rest[end:]
		}
		pairs = append(pairs, pair{key, value.String()})
		require.False(t, strings.HasPrefix(rest, ","), "a second element: %q", rest)
		s = strings.TrimPrefix(rest, ";")
	}
	return pairs
}

// certificate has a subject and names. It was not signed, which nobody asks here.
func client(t testing.TB, common string, uris, names []string) *x509.Certificate {
	c := &x509.Certificate{Raw: []byte("raw " + common), RawSubject: encode(t, []rdn{{utf8(common)}}), DNSNames: names}
	for _, s := range uris {
		u, err := url.Parse(s)
		require.NoError(t, err)
		c.URIs = append(c.URIs, u)
	}
	return c
}

func TestXFCC(t *testing.T) {
	root := client(t, "root", nil, nil)
	sum := sha256.Sum256([]byte("raw alice"))
	hash := "Hash=" + hex.EncodeToString(sum[:])
	alice := client(t, "alice", []string{"spiffe://a.test/alice", "spiffe://a.test/b"}, []string{"a.test", "*.b.test"})
	for _, c := range []struct {
		x    clientcert.XFCC
		want string
	}{
		{clientcert.XFCC{}, hash + `;Subject="CN=alice";URI=spiffe://a.test/alice;URI=spiffe://a.test/b;DNS=a.test;DNS=*.b.test`},
		{clientcert.XFCC{By: "spiffe://a.test/gate"}, "By=spiffe://a.test/gate;" + hash + `;Subject="CN=alice";URI=spiffe://a.test/alice;URI=spiffe://a.test/b;DNS=a.test;DNS=*.b.test`},
		{clientcert.XFCC{Cert: true, Whole: true}, hash + `;Cert="` + clientcert.EscapedPEM(alice) + `";Chain="` + clientcert.EscapedPEM(alice, root) +
			`";Subject="CN=alice";URI=spiffe://a.test/alice;URI=spiffe://a.test/b;DNS=a.test;DNS=*.b.test`},
	} {
		c.x.Chain = []*x509.Certificate{alice, root}
		require.Equal(t, c.want, c.x.String())
	}

	for _, c := range []struct {
		common      string
		uris, names []string
		want        string
	}{
		{`a`, nil, nil, `Subject="CN=a"`},
		{``, nil, nil, `Subject="CN="`},
		{`a;URI=x,By=y`, nil, nil, `Subject="CN=a\;URI=x\,By=y"`},
		{`a";URI=x`, nil, nil, `Subject="CN=a\22\;URI=x"`},
		{`a\`, []string{"u:b"}, nil, `Subject="CN=a\5C";URI=u:b`},
		{`a\\"`, nil, nil, `Subject="CN=a\5C\5C\22"`},
		{`a `, nil, nil, `Subject="CN=a\ "`},
		{"a\r\nX: y", nil, nil, `Subject="CN=a\0D\0AX: y"`},
		{`a`, []string{"u:b;Hash=0"}, nil, `Subject="CN=a";URI="u:b;Hash=0"`},
		{`a`, []string{`u:?"\,`}, nil, `Subject="CN=a";URI="u:?%22%5C,"`},
		{`a`, nil, []string{`a"b`, `a\`, "a\nb", "a b", "\xff", "a;URI=b", "c"}, `Subject="CN=a";DNS="a;URI=b";DNS=c`},
	} {
		x := clientcert.XFCC{Chain: []*x509.Certificate{client(t, c.common, c.uris, c.names)}}
		_, got, _ := strings.Cut(x.String(), ";")
		require.Equal(t, c.want, got)
	}
}

// Whatever names a CA signs, the field has one meaning: the pairs that were meant.
func FuzzXFCC(f *testing.F) {
	for _, s := range []string{"a", `a\`, `a"`, `a\";URI=b`, "a,b", "a;By=c", "a\r\n", `"`, `\\"`, "ü", " ", "="} {
		f.Add(s, "u:"+s, s, s)
	}
	f.Fuzz(func(t *testing.T, common, uri, name, by string) {
		c := client(t, common, nil, []string{name})
		if u, err := url.Parse(uri); err == nil {
			c.URIs = []*url.URL{u}
		}
		x := clientcert.XFCC{By: by, Chain: []*x509.Certificate{c}, Cert: true}
		s := x.String()
		for i := range len(s) {
			if s[i] < ' ' || s[i] >= 0x7f {
				t.Fatalf("%q has the byte %q", s, s[i])
			}
		}
		var keys []string
		for _, p := range readXFCC(t, s) {
			keys = append(keys, p.key)
		}
		want := []string{"Hash", "Cert", "Subject"}
		if by != "" {
			want = append([]string{"By"}, want...)
		}
		if c.URIs != nil {
			want = append(want, "URI")
		}
		if len(keys) > len(want) {
			want = append(want, "DNS") // unless it is no name
		}
		require.Equal(t, want, keys, s)
	})
}
