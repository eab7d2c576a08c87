package ssl

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf16"
)

// Distinguished names as RFC 2253 writes them, in the one of its forms that OpenSSL
// has, and so nginx: what an origin compares is the same behind either. Every byte
// that is no printable ASCII is escaped, so that a name cannot break out of a line
// of a log or of a header. pkix.RDNSequence.String escapes none of these, and has
// no name for an email address.

// shortNames are OpenSSL's names of the attributes of RFC 4519 and RFC 2985 that
// names have.
var shortNames = map[string]string{
	"2.5.4.3":                    "CN",
	"2.5.4.4":                    "SN",
	"2.5.4.5":                    "serialNumber",
	"2.5.4.6":                    "C",
	"2.5.4.7":                    "L",
	"2.5.4.8":                    "ST",
	"2.5.4.9":                    "street",
	"2.5.4.10":                   "O",
	"2.5.4.11":                   "OU",
	"2.5.4.12":                   "title",
	"2.5.4.13":                   "description",
	"2.5.4.17":                   "postalCode",
	"2.5.4.41":                   "name",
	"2.5.4.42":                   "GN",
	"2.5.4.43":                   "initials",
	"2.5.4.46":                   "dnQualifier",
	"2.5.4.65":                   "pseudonym",
	"0.9.2342.19200300.100.1.1":  "UID",
	"0.9.2342.19200300.100.1.25": "DC",
	"1.2.840.113549.1.9.1":       "emailAddress",
}

func subject(c *x509.Certificate) string { return distinguishedName(c.RawSubject) }

func issuer(c *x509.Certificate) string { return distinguishedName(c.RawIssuer) }

// attributesSET is a relative distinguished name: encoding/asn1 takes it for a SET
// because of how it is called.
type attributesSET []struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// distinguishedName returns "" for what is no name.
func distinguishedName(der []byte) string {
	var name []attributesSET
	if _, err := asn1.Unmarshal(der, &name); err != nil {
		return ""
	}
	var b strings.Builder
	for i := len(name) - 1; i >= 0; i-- {
		for j := len(name[i]) - 1; j >= 0; j-- {
			attribute := name[i][j]
			switch {
			case b.Len() == 0:
			case j == len(name[i])-1:
				b.WriteByte(',')
			default:
				b.WriteByte('+')
			}
			oid := attribute.Type.String()
			short, known := shortNames[oid]
			text, isText := textOf(attribute.Value)
			if !known {
				short = oid
			}
			b.WriteString(short + "=")
			if known && isText {
				writeEscaped(&b, text)
			} else {
				b.WriteString("#" + strings.ToUpper(hex.EncodeToString(attribute.Value.FullBytes)))
			}
		}
	}
	return b.String()
}

// textOf returns the text of a string type.
func textOf(v asn1.RawValue) (text string, ok bool) {
	if v.Class != asn1.ClassUniversal || v.IsCompound {
		return "", false
	}
	var runes []rune
	switch v.Tag {
	case asn1.TagUTF8String:
		return string(v.Bytes), true
	case asn1.TagNumericString, asn1.TagPrintableString, asn1.TagT61String, asn1.TagIA5String:
		for _, c := range v.Bytes { // a byte beyond ASCII is taken for Latin 1
			runes = append(runes, rune(c))
		}
	case asn1.TagBMPString:
		var units []uint16
		for i := 0; i+1 < len(v.Bytes); i += 2 {
			units = append(units, uint16(v.Bytes[i])<<8|uint16(v.Bytes[i+1]))
		}
		runes = utf16.Decode(units)
	default:
		return "", false
	}
	return string(runes), true
}

// writeEscaped writes a value (RFC 2253, section 2.4).
func writeEscaped(b *strings.Builder, text string) {
	for i := range len(text) {
		switch c := text[i]; {
		case c < ' ' || c > '~':
			fmt.Fprintf(b, `\%02X`, c)
		case strings.IndexByte(`,+"\<>;`, c) >= 0,
			c == ' ' && (i == 0 || i == len(text)-1),
			c == '#' && i == 0:
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
}
