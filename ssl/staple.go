package ssl

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// This file is about OCSP responses that are sent with a certificate (RFC 6960). One that is
// for another certificate, or out of date, is worse than none: there are clients that look at
// it and end the handshake, and would not have asked for it.

// A period is when a staple is good. The zero period is that of no staple.
type period struct{ from, until time.Time } // until is zero if it does not say

func (p period) contains(now time.Time) bool {
	return !now.Before(p.from) && (p.until.IsZero() || !now.After(p.until))
}

// The parts of a response that are looked at (RFC 6960, section 4.2.1).
type (
	ocspResponse struct {
		Status asn1.Enumerated
		Bytes  asn1.RawValue `asn1:"optional,explicit,tag:0"`
	}
	ocspBytes struct {
		Type     asn1.ObjectIdentifier
		Response []byte
	}
	ocspBasic struct{ Data ocspData }
	ocspData  struct {
		Version   int `asn1:"optional,explicit,tag:0"`
		Responder asn1.RawValue
		Produced  time.Time `asn1:"generalized"`
		Responses []ocspSingle
	}
	ocspSingle struct {
		ID         ocspID
		Status     asn1.RawValue
		ThisUpdate time.Time `asn1:"generalized"`
		NextUpdate time.Time `asn1:"generalized,explicit,tag:0,optional"`
	}
	ocspID struct {
		Hash               pkix.AlgorithmIdentifier
		IssuerName, Issuer []byte
		Serial             *big.Int
	}
)

var oidBasicOCSP = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}

// statusGood is the tag of the status of a certificate that is not revoked.
const statusGood = 0

var errNoOCSP = errors.New("is no OCSP response in DER (RFC 6960)")

// readStaple returns when a response says that the first of some certificates is good. Its
// signature is the client's to check. Without certificates, it may be for any.
func readStaple(der []byte, certs []*x509.Certificate) (period, error) {
	var response ocspResponse
	rest, err := asn1.Unmarshal(der, &response)
	switch {
	case err != nil || len(rest) > 0:
		return period{}, errNoOCSP
	case response.Status != 0:
		return period{}, fmt.Errorf("is an OCSP responder's error %d, not a response for the certificate", response.Status)
	case len(response.Bytes.FullBytes) == 0:
		return period{}, errors.New("is an OCSP response without content")
	}
	var inner ocspBytes
	if rest, err := asn1.Unmarshal(response.Bytes.Bytes, &inner); err != nil || len(rest) > 0 {
		return period{}, errNoOCSP
	}
	if !inner.Type.Equal(oidBasicOCSP) {
		return period{}, fmt.Errorf("is an OCSP response of the type %v, which no client knows", inner.Type)
	}
	var basic ocspBasic
	if rest, err := asn1.Unmarshal(inner.Response, &basic); err != nil || len(rest) > 0 {
		return period{}, errNoOCSP
	}
	if len(certs) == 0 {
		return period{}, nil
	}
	leaf := certs[0]
	for _, one := range basic.Data.Responses {
		switch {
		case one.ID.Serial.Cmp(leaf.SerialNumber) != 0:
		case one.Status.Class != asn1.ClassContextSpecific || one.Status.Tag != statusGood:
			return period{}, errors.New("says that the certificate is revoked or unknown: clients would refuse it")
		default:
			return period{one.ThisUpdate, one.NextUpdate}, nil
		}
	}
	return period{}, fmt.Errorf("is an OCSP response for another certificate, not for that with the serial number %X", leaf.SerialNumber)
}

// stapled returns one of the certificates, with its staple if that is good now.
func (p *Profile) stapled(i int, now time.Time) *tls.Certificate {
	cert := &p.certs()[i]
	if len(cert.OCSPStaple) == 0 || p.staples[i].contains(now) {
		return cert
	}
	bare := *cert
	bare.OCSPStaple = nil
	return &bare
}

// hasStaple reports whether any of the certificates has one.
func (p *Profile) hasStaple() bool {
	for _, cert := range p.certs() {
		if len(cert.OCSPStaple) > 0 {
			return true
		}
	}
	return false
}
