package clientcert_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/clientcert"
)

// rdn is an element of a subject: attributes of one relative name.
type rdn []attribute

type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

var (
	commonName   = asn1.ObjectIdentifier{2, 5, 4, 3}
	organization = asn1.ObjectIdentifier{2, 5, 4, 10}
)

func raw(oid asn1.ObjectIdentifier, tag int, value string) attribute {
	return attribute{oid, asn1.RawValue{Tag: tag, Bytes: []byte(value)}}
}

func utf8(value string) attribute { return raw(commonName, asn1.TagUTF8String, value) }

// encode writes a name in DER.
func encode(t testing.TB, name []rdn) []byte {
	t.Helper()
	var sets []asn1.RawValue
	for _, r := range name {
		var set [][]byte
		for _, a := range r {
			der, err := asn1.Marshal(a)
			require.NoError(t, err)
			set = append(set, der)
		}
		slices.SortFunc(set, slices.Compare)
		sets = append(sets, asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: slices.Concat(set...)})
	}
	der, err := asn1.Marshal(sets)
	require.NoError(t, err)
	return der
}

// names are subjects, and how they are written.
var names = []struct {
	name []rdn
	want string
}{
	{nil, ""},
	{[]rdn{{utf8("CLIENT")}}, "CN=CLIENT"},
	{[]rdn{{raw(asn1.ObjectIdentifier{2, 5, 4, 6}, asn1.TagPrintableString, "DE")}, {raw(organization, asn1.TagUTF8String, "Example")}, {utf8("alice")}}, "CN=alice,O=Example,C=DE"},
	{[]rdn{{utf8("a"), raw(organization, asn1.TagUTF8String, "b")}, {utf8("c")}}, "CN=c,O=b+CN=a"},
	{[]rdn{{raw(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, asn1.TagIA5String, "a@b.test")}}, "emailAddress=a@b.test"},
	{[]rdn{{raw(asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}, asn1.TagIA5String, "test")}, {raw(asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}, asn1.TagUTF8String, "u1")}}, "UID=u1,DC=test"},
	{[]rdn{{utf8(`a,b+c"d\e<f>g;h=i/j`)}}, `CN=a\,b\+c\"d\\e\<f\>g\;h=i/j`},
	{[]rdn{{utf8(" a ")}}, `CN=\ a\ `},
	{[]rdn{{utf8(" ")}}, `CN=\ `},
	{[]rdn{{utf8("#a#")}}, `CN=\#a#`},
	{[]rdn{{utf8("a b")}}, "CN=a b"},
	{[]rdn{{utf8("")}}, "CN="},
	{[]rdn{{utf8("a\nb\x00c\x7f")}}, `CN=a\0Ab\00c\7F`},
	{[]rdn{{utf8("Müller €")}}, `CN=M\C3\BCller \E2\82\AC`},
	{[]rdn{{raw(commonName, asn1.TagT61String, "M\xfcller")}}, `CN=M\C3\BCller`},
	{[]rdn{{raw(commonName, asn1.TagBMPString, "\x00M\x00\xfc\x20\xac")}}, `CN=M\C3\BC\E2\82\AC`},
	{[]rdn{{raw(commonName, 28, "\x00\x00\x00M\x00\x01\xf6\x00")}}, `CN=M\F0\9F\98\80`},
	{[]rdn{{raw(commonName, asn1.TagNumericString, "42")}}, `CN=42`},
	{[]rdn{{raw(asn1.ObjectIdentifier{1, 2, 3, 4}, asn1.TagUTF8String, "a,é")}}, `1.2.3.4=#0C04612CC3A9`},
	{[]rdn{{raw(asn1.ObjectIdentifier{2, 5, 4, 5}, asn1.TagPrintableString, "42")}}, "serialNumber=42"},
}

func TestName(t *testing.T) {
	for _, c := range names {
		require.Equal(t, c.want, clientcert.Name(encode(t, c.name)))
	}
}

// What is shown of a certificate that nobody has verified is not as long as it likes.
func TestShownNames(t *testing.T) {
	name := func(n int) []byte {
		return encode(t, []rdn{{raw(commonName, asn1.TagUTF8String, strings.Repeat("x", n))}})
	}
	c := &x509.Certificate{RawSubject: name(1000), RawIssuer: name(100_000)}
	require.Equal(t, "CN="+strings.Repeat("x", 1000), clientcert.ShownSubject(c))
	require.Equal(t, fmt.Sprintf("(a name of %d bytes)", len(c.RawIssuer)), clientcert.ShownIssuer(c))
}

func TestNameOfWhatIsNone(t *testing.T) {
	for _, der := range []string{"", "\x00", "\x30\x01", "\x30\x00\x00", "\x31\x00", "\x30\x02\x31\x00\x00"} {
		require.Empty(t, clientcert.Name([]byte(der)), "%x", der)
	}
	whole := encode(t, []rdn{{utf8("a")}})
	require.Empty(t, clientcert.Name(append(whole, 0)), "with something after it")
	require.Empty(t, clientcert.Name(whole[:len(whole)-1]))
	// What is no string stands in hexadecimal.
	for value, want := range map[string]string{
		"\x02\x01a":                "CN=#020161",
		"\x1e\x01a":                "CN=#1E0161",
		"\x1e\x02\xd8\x3d":         "CN=#1E02D83D",
		"\x1c\x04\xff\xff\xff0":    "CN=#1C04FFFFFF30",
		"\x1c\x04\x00\x11\x00\x00": "CN=#1C0400110000", // one beyond the last character
		"\x1c\x04\x01\x00\x00a":    "CN=#1C0401000061",
		"\x8c\x01a":                "CN=#8C0161",     // a class of its own, whose numbers are no strings
		"\x2c\x03\x0c\x01a":        "CN=#2C030C0161", // made of parts, which DER forbids
	} {
		a := attribute{Type: commonName, Value: asn1.RawValue{FullBytes: []byte(value)}}
		require.Equal(t, want, clientcert.Name(encode(t, []rdn{{a}})))
	}
}

// certificate makes one with a subject. It may be one that crypto/x509 does not read.
func certificate(t testing.TB, subject []byte, serial int64) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		RawSubject:   subject,
		NotBefore:    time.Now(),
		NotAfter:     time.Now().Add(time.Hour),
		DNSNames:     []string{"a.test"},
		URIs:         []*url.URL{{Scheme: "spiffe", Host: "td", Path: "/a"}},
	}
	issuer := &x509.Certificate{Subject: pkix.Name{CommonName: "CA"}}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), key)
	require.NoError(t, err)
	return der
}

// openssl returns what openssl x509 prints of a certificate, without what it is.
func openssl(t testing.TB, der []byte, options ...string) string {
	t.Helper()
	cmd := exec.Command("openssl", append([]string{"x509", "-noout"}, options...)...)
	cmd.Stdin = strings.NewReader(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	_, value, _ := strings.Cut(strings.TrimSuffix(string(out), "\n"), "=")
	return value
}

func needsOpenSSL(t testing.TB) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
}

// The names are what openssl makes of them.
func TestNameAgainstOpenSSL(t *testing.T) {
	needsOpenSSL(t)
	for _, c := range names {
		der := certificate(t, encode(t, c.name), 1)
		require.Equal(t, c.want, openssl(t, der, "-subject", "-nameopt", "RFC2253"))
	}
	var all []rdn
	for i := 3; i <= 72; i++ { // the attributes of X.520
		all = append(all, rdn{raw(asn1.ObjectIdentifier{2, 5, 4, i}, asn1.TagUTF8String, "a")})
	}
	for i := 97; i <= 100; i++ {
		all = append(all, rdn{raw(asn1.ObjectIdentifier{2, 5, 4, i}, asn1.TagUTF8String, "a")})
	}
	for _, i := range []int{1, 2, 8} {
		all = append(all, rdn{raw(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, i}, asn1.TagIA5String, "a")})
	}
	for _, i := range []int{1, 3, 25} {
		all = append(all, rdn{raw(asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, i}, asn1.TagIA5String, "a")})
	}
	for i := 1; i <= 3; i++ {
		all = append(all, rdn{raw(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 60, 2, 1, i}, asn1.TagUTF8String, "a")})
	}
	subject := encode(t, all)
	require.Equal(t, openssl(t, certificate(t, subject, 1), "-subject", "-nameopt", "RFC2253"), clientcert.Name(subject))
}

func TestCertificate(t *testing.T) {
	needsOpenSSL(t)
	for _, serial := range []int64{1, 0xa, 0x7f, 0x80, 0xabc, 0x1234567890abcdef} {
		der := certificate(t, encode(t, []rdn{{utf8("alice")}}), serial)
		c, err := x509.ParseCertificate(der)
		require.NoError(t, err)
		require.Equal(t, "CN=alice", clientcert.Subject(c))
		require.Equal(t, "CN=CA", clientcert.Issuer(c))
		require.Equal(t, openssl(t, der, "-serial"), clientcert.Serial(c))
		want := openssl(t, der, "-fingerprint", "-sha1")
		require.Equal(t, strings.ToLower(strings.ReplaceAll(want, ":", "")), clientcert.Fingerprint(c))
		require.Equal(t, []string{"spiffe://td/a"}, clientcert.URIs(c))
	}
	require.Equal(t, "00", clientcert.Serial(&x509.Certificate{SerialNumber: new(big.Int)}))
	require.Equal(t, "-0F", clientcert.Serial(&x509.Certificate{SerialNumber: big.NewInt(-15)}))
	require.Empty(t, clientcert.Serial(&x509.Certificate{}))
}

func TestVariables(t *testing.T) {
	c, err := x509.ParseCertificate(certificate(t, encode(t, []rdn{{utf8("alice")}}), 10))
	require.NoError(t, err)
	v := clientcert.Variables{Certificate: c}
	var none clientcert.Variables
	for name, want := range map[string]string{
		"ssl_client_s_dn":        "CN=alice",
		"ssl_client_i_dn":        "CN=CA",
		"ssl_client_serial":      "0A",
		"ssl_client_fingerprint": clientcert.Fingerprint(c),
	} {
		for range 2 {
			got, ok := v.Lookup(name)
			require.True(t, ok, name)
			require.Equal(t, want, got, name)
		}
		require.Zero(t, testing.AllocsPerRun(10, func() { v.Lookup(name) }), name)
		_, ok := none.Lookup(name)
		require.False(t, ok, name)
	}
	for name, want := range map[string][]string{
		"ssl_client_dns_sans": {"a.test"},
		"ssl_client_uri_sans": {"spiffe://td/a"},
	} {
		for range 2 {
			got, ok := v.LookupAll(name)
			require.True(t, ok, name)
			require.Equal(t, want, got, name)
		}
		got, ok := none.LookupAll(name)
		require.True(t, ok, name)
		require.Empty(t, got, name)
	}
	_, ok := v.Lookup("ssl_client_dns_sans")
	require.False(t, ok)
	_, ok = v.LookupAll("ssl_client_s_dn")
	require.False(t, ok)
}

// A certificate ends after the second that it names, and a usage that is not listed is
// forbidden only where there is a list.
func TestFit(t *testing.T) {
	begin, end := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	c := &x509.Certificate{NotBefore: begin, NotAfter: end}
	for at, want := range map[time.Time]string{
		begin.Add(-1): "is not valid before 2026-01-01T00:00:00Z",
		begin:         "",
		end:           "",
		end.Add(1):    "expired on 2026-02-01",
	} {
		require.Equal(t, want, clientcert.Invalid(c, at), at)
	}
	const asked = x509.ExtKeyUsageClientAuth
	for _, c := range []struct {
		cert      x509.Certificate
		forbidden bool
	}{
		{x509.Certificate{}, false},
		{x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, asked}}, false},
		{x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}, false},
		{x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, true},
		{x509.Certificate{UnknownExtKeyUsage: []asn1.ObjectIdentifier{{1, 2, 3}}}, true},
	} {
		require.Equal(t, c.forbidden, clientcert.Forbids(&c.cert, asked), "%+v", c.cert.ExtKeyUsage)
	}
}
