package clientcert

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"strings"
)

// RFC9440 returns a certificate as the field Client-Cert has it: a Byte Sequence of
// structured fields (RFC 9440, section 2.1).
func RFC9440(c *x509.Certificate) string {
	return ":" + base64.StdEncoding.EncodeToString(c.Raw) + ":"
}

// RFC9440Chain returns the value of the field Client-Cert-Chain for a verified chain:
// everything above the client's certificate, including the root, which may be left out only
// for recipients that already have it (RFC 9440, section 2.3). If there is nothing above,
// it returns "": an empty list is not a field (RFC 8941, section 3.1).
func RFC9440Chain(chain []*x509.Certificate) string {
	var list []string
	for _, c := range chain[1:] {
		list = append(list, RFC9440(c))
	}
	return strings.Join(list, ", ")
}

// EscapedPEM returns certificates in PEM, percent-encoded, which is nginx's
// $ssl_client_escaped_cert, and Cert and Chain of Envoy's X-Forwarded-Client-Cert.
func EscapedPEM(chain ...*x509.Certificate) string {
	var b strings.Builder
	for _, c := range chain {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return pemEscaper.Replace(b.String())
}

var pemEscaper = strings.NewReplacer("\n", "%0A", " ", "%20", "+", "%2B", "/", "%2F", "=", "%3D")

// An XFCC is what Envoy's header field X-Forwarded-Client-Cert says of a client.
type XFCC struct {
	By          string              // the URI of the server's certificate, or empty
	Chain       []*x509.Certificate // from the client's certificate to the root
	Cert, Whole bool                // whether the certificate and the chain stand in it
}

// String returns the value of the field: By, Hash, Cert, Chain, Subject, URI and DNS, as
// Envoy writes it with SANITIZE_SET.
//
// Envoy writes names as they are, so a name in a certificate can contain what looks like
// another part of the field. Here, nothing but its end ends a value: a reader of a quoted
// string finds no quote within it, and no backslash before the one that ends it.
func (x *XFCC) String() string {
	var b strings.Builder
	client := x.Chain[0]
	if x.By != "" {
		b.WriteString("By=")
		writeXFCCName(&b, x.By)
		b.WriteByte(';')
	}
	sum := sha256.Sum256(client.Raw)
	b.WriteString("Hash=")
	b.WriteString(hex.EncodeToString(sum[:]))
	if x.Cert {
		b.WriteString(`;Cert="` + EscapedPEM(client) + `"`)
	}
	if x.Whole {
		b.WriteString(`;Chain="` + EscapedPEM(x.Chain...) + `"`)
	}
	b.WriteString(`;Subject="` + subjectEscaper.Replace(Subject(client)) + `"`)
	for _, uri := range URIs(client) {
		b.WriteString(";URI=")
		writeXFCCName(&b, uri)
	}
	for _, name := range client.DNSNames {
		if !strings.ContainsFunc(name, notInName) {
			b.WriteString(";DNS=")
			writeXFCCName(&b, name)
		}
	}
	return b.String()
}

// subjectEscaper writes the two characters that end a quoted string, or keep it from
// ending, in the other way that RFC 2253, section 2.4, has for them.
var subjectEscaper = strings.NewReplacer(`\"`, `\22`, `\\`, `\5C`)

// notInName reports whether a character stands in no DNS name, nor in anything that is
// taken for one. Such a name vouches for nothing, and is left out.
func notInName(c rune) bool { return c <= ' ' || c >= 0x7f || c == '"' || c == '\\' }

// writeXFCCName writes a URI or a DNS name, in quotes if it has what separates (Envoy's
// rule). What no URI can have (RFC 3986, section 2) is percent-encoded.
func writeXFCCName(b *strings.Builder, s string) {
	quoted := strings.ContainsAny(s, ",;=")
	if quoted {
		b.WriteByte('"')
	}
	for i := range len(s) {
		if c := s[i]; notInName(rune(c)) {
			const digits = "0123456789ABCDEF"
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		} else {
			b.WriteByte(c)
		}
	}
	if quoted {
		b.WriteByte('"')
	}
}
