package clientcert

import (
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Name returns a distinguished name as RFC 2253 writes it: the last of its parts
// first, so "CN=alice,O=Example". It is byte for byte what OpenSSL prints with
// XN_FLAG_RFC2253, as nginx does: bytes beyond ASCII are escaped, attributes that
// OpenSSL has no short name for and values that are no strings stand in hexadecimal.
// It is empty for what is no name.
//
// The pkix.Name of crypto/x509 sorts the parts its own way, and knows nine
// attributes.
func Name(der []byte) string {
	var name []relativeNameSET
	if rest, err := asn1.Unmarshal(der, &name); err != nil || len(rest) > 0 {
		return ""
	}
	var b strings.Builder
	for _, set := range slices.Backward(name) {
		for i, a := range slices.Backward(set) {
			switch {
			case i < len(set)-1:
				b.WriteByte('+')
			case b.Len() > 0:
				b.WriteByte(',')
			}
			a.write(&b)
		}
	}
	return b.String()
}

// The ending tells encoding/asn1 that it is a SET.
type relativeNameSET []attribute

type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

func (a *attribute) write(b *strings.Builder) {
	oid := a.Type.String()
	short, known := shortNames[oid]
	text, isText := a.text()
	if known && isText {
		b.WriteString(short)
		b.WriteByte('=')
		escape(b, text)
		return
	}
	if !known {
		short = oid
	}
	fmt.Fprintf(b, "%s=#%X", short, a.Value.FullBytes)
}

// text returns the value in UTF-8, if it is a string.
func (a *attribute) text() (string, bool) {
	raw := a.Value.Bytes
	if a.Value.Class != asn1.ClassUniversal || a.Value.IsCompound {
		return "", false
	}
	switch a.Value.Tag {
	case asn1.TagUTF8String:
		return string(raw), true
	case asn1.TagNumericString, asn1.TagPrintableString, asn1.TagT61String, asn1.TagIA5String:
		return decode(raw, 1)
	case asn1.TagBMPString:
		return decode(raw, 2)
	case tagUniversalString:
		return decode(raw, 4)
	default:
		return "", false
	}
}

// tagUniversalString has no name in encoding/asn1.
const tagUniversalString = 28

// decode reads characters of a width in bytes.
func decode(raw []byte, width int) (string, bool) {
	if len(raw)%width != 0 {
		return "", false
	}
	var b strings.Builder
	for c := range slices.Chunk(raw, width) {
		var r rune
		for _, octet := range c {
			if r > utf8.MaxRune {
				return "", false
			}
			r = r<<8 | rune(octet)
		}
		if !utf8.ValidRune(r) {
			return "", false
		}
		b.WriteRune(r)
	}
	return b.String(), true
}

// escape writes a value with the escapes of RFC 2253, section 2.4, and those that it
// allows beyond: of control characters and of what is not ASCII.
func escape(b *strings.Builder, s string) {
	for i := range len(s) {
		c := s[i]
		switch {
		case c < 0x20 || c >= 0x7f:
			const digits = "0123456789ABCDEF"
			b.WriteByte('\\')
			b.WriteByte(digits[c>>4])
			c = digits[c&15]
		case strings.IndexByte(`,+"\<>;`, c) >= 0,
			c == '#' && i == 0,
			c == ' ' && (i == 0 || i == len(s)-1):
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
}

// shortNames are the short names that OpenSSL has for the attributes of X.520, of
// RFC 4519 and of PKCS #9, and for those of EV certificates.
var shortNames = map[string]string{
	"0.9.2342.19200300.100.1.1":  "UID",
	"0.9.2342.19200300.100.1.3":  "mail",
	"0.9.2342.19200300.100.1.25": "DC",
	"1.2.840.113549.1.9.1":       "emailAddress",
	"1.2.840.113549.1.9.2":       "unstructuredName",
	"1.2.840.113549.1.9.8":       "unstructuredAddress",
	"1.3.6.1.4.1.311.60.2.1.1":   "jurisdictionL",
	"1.3.6.1.4.1.311.60.2.1.2":   "jurisdictionST",
	"1.3.6.1.4.1.311.60.2.1.3":   "jurisdictionC",
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
	"2.5.4.14":                   "searchGuide",
	"2.5.4.15":                   "businessCategory",
	"2.5.4.16":                   "postalAddress",
	"2.5.4.17":                   "postalCode",
	"2.5.4.18":                   "postOfficeBox",
	"2.5.4.19":                   "physicalDeliveryOfficeName",
	"2.5.4.20":                   "telephoneNumber",
	"2.5.4.21":                   "telexNumber",
	"2.5.4.22":                   "teletexTerminalIdentifier",
	"2.5.4.23":                   "facsimileTelephoneNumber",
	"2.5.4.24":                   "x121Address",
	"2.5.4.25":                   "internationaliSDNNumber",
	"2.5.4.26":                   "registeredAddress",
	"2.5.4.27":                   "destinationIndicator",
	"2.5.4.28":                   "preferredDeliveryMethod",
	"2.5.4.29":                   "presentationAddress",
	"2.5.4.30":                   "supportedApplicationContext",
	"2.5.4.31":                   "member",
	"2.5.4.32":                   "owner",
	"2.5.4.33":                   "roleOccupant",
	"2.5.4.34":                   "seeAlso",
	"2.5.4.35":                   "userPassword",
	"2.5.4.36":                   "userCertificate",
	"2.5.4.37":                   "cACertificate",
	"2.5.4.38":                   "authorityRevocationList",
	"2.5.4.39":                   "certificateRevocationList",
	"2.5.4.40":                   "crossCertificatePair",
	"2.5.4.41":                   "name",
	"2.5.4.42":                   "GN",
	"2.5.4.43":                   "initials",
	"2.5.4.44":                   "generationQualifier",
	"2.5.4.45":                   "x500UniqueIdentifier",
	"2.5.4.46":                   "dnQualifier",
	"2.5.4.47":                   "enhancedSearchGuide",
	"2.5.4.48":                   "protocolInformation",
	"2.5.4.49":                   "distinguishedName",
	"2.5.4.50":                   "uniqueMember",
	"2.5.4.51":                   "houseIdentifier",
	"2.5.4.52":                   "supportedAlgorithms",
	"2.5.4.53":                   "deltaRevocationList",
	"2.5.4.54":                   "dmdName",
	"2.5.4.65":                   "pseudonym",
	"2.5.4.72":                   "role",
	"2.5.4.97":                   "organizationIdentifier",
	"2.5.4.98":                   "c3",
	"2.5.4.99":                   "n3",
	"2.5.4.100":                  "dnsName",
}
