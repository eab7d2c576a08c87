package ssl_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// A subject is written as openssl and nginx write it, and never as more than one
// line.
func TestSubject(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	value := func(tag int, text string) asn1.RawValue { return asn1.RawValue{Tag: tag, Bytes: []byte(text)} }
	attribute := func(oid string, v any) pkix.AttributeTypeAndValue {
		var id asn1.ObjectIdentifier
		for part := range strings.SplitSeq(oid, ".") {
			n := 0
			for _, c := range part {
				n = n*10 + int(c-'0')
			}
			id = append(id, n)
		}
		return pkix.AttributeTypeAndValue{Type: id, Value: v}
	}
	type set = pkix.RelativeDistinguishedNameSET
	const cn, o, email = "2.5.4.3", "2.5.4.10", "1.2.840.113549.1.9.1"
	for _, c := range []struct {
		want string
		name pkix.RDNSequence
	}{
		{"CN=alice", pkix.RDNSequence{set{attribute(cn, "alice")}}},
		{"CN=alice,O=Example", pkix.RDNSequence{set{attribute(o, "Example")}, set{attribute(cn, "alice")}}},
		{"CN=alice,CN=bob", pkix.RDNSequence{set{attribute(cn, "bob")}, set{attribute(cn, "alice")}}},
		{"O=b+CN=a", pkix.RDNSequence{set{attribute(cn, "a"), attribute(o, "b")}}},
		{"O=c,O=b+CN=a", pkix.RDNSequence{set{attribute(cn, "a"), attribute(o, "b")}, set{attribute(o, "c")}}},
		{"emailAddress=a@b.test", pkix.RDNSequence{set{attribute(email, value(asn1.TagIA5String, "a@b.test"))}}},
		{"UID=u,DC=test", pkix.RDNSequence{set{attribute("0.9.2342.19200300.100.1.25", "test")}, set{attribute("0.9.2342.19200300.100.1.1", "u")}}},
		{`CN=a\,O=b`, pkix.RDNSequence{set{attribute(cn, "a,O=b")}}},
		{`CN=\,\+\"\\\<\>\;=/`, pkix.RDNSequence{set{attribute(cn, `,+"\<>;=/`)}}},
		{`CN=\ a b\ `, pkix.RDNSequence{set{attribute(cn, " a b ")}}},
		{`CN=\#a#`, pkix.RDNSequence{set{attribute(cn, "#a#")}}},
		{`CN=x\0D\0Ay\1B[31m\7F\00z`, pkix.RDNSequence{set{attribute(cn, "x\r\ny\x1b[31m\x7f\x00z")}}},
		{`CN=M\C3\BCller\E2\80\AE`, pkix.RDNSequence{set{attribute(cn, "M\u00fcller\u202e")}}},
		{`CN=M\C3\BCller`, pkix.RDNSequence{set{attribute(cn, value(asn1.TagT61String, "M\xfcller"))}}},
		{`CN=M\C3\BC\E2\82\AC`, pkix.RDNSequence{set{attribute(cn, value(asn1.TagBMPString, "\x00M\x00\xfc\x20\xac"))}}},
		{"CN=", pkix.RDNSequence{set{attribute(cn, value(asn1.TagUTF8String, ""))}}},
		{"1.2.3.4=#0C0161", pkix.RDNSequence{set{attribute("1.2.3.4", value(asn1.TagUTF8String, "a"))}}},
		{"", pkix.RDNSequence{}},
	} {
		t.Run(c.want, func(t *testing.T) {
			raw, err := asn1.Marshal(c.name)
			require.NoError(t, err)
			alice := ca.Client("x", func(template *x509.Certificate) { template.RawSubject = raw })
			store := newStore(t, nil, server(ca, "1", &ssl.ClientAuth{CAPEM: ca.PEM()}, "a.test"))
			identity, err := store.Judge(store.Table(), connection("a.test", alice), "a.test", "/")
			require.NoError(t, err)
			require.Equal(t, c.want, identity.Subject())
			requirePrintable(t, identity.String())

			openssl, err := exec.LookPath("openssl")
			if err != nil {
				t.Skip("openssl is not installed: its reading is not compared with ours")
			}
			cmd := exec.Command(openssl, "x509", "-noout", "-subject", "-nameopt", "RFC2253")
			cmd.Stdin = strings.NewReader(string(certPEM(alice.Certificate[0])))
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			require.Equal(t, "subject="+c.want+"\n", string(out))
		})
	}
}
