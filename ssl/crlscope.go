package ssl

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
)

// This file is which certificates of its issuer a revocation list is for. A CA that has
// issued many may divide them, and then says in each list for whom it is (RFC 5280, section
// 5.2.5); some say so even if there is one list alone.

// A crlScope is whom a list is for. The zero crlScope is everybody.
type crlScope struct {
	// points are names of where the list is published, as they stand there. If there are
	// any, the list is for the certificates that name one of them.
	points [][]byte

	onlyUsers, onlyCAs bool
}

// parseScope reads the extension. What would need more lists than one to know that a
// certificate is good is refused, as OpenSSL does unless it is told otherwise: a list of some
// reasons, and one of other issuers' certificates.
func parseScope(extension []byte) (s crlScope, err error) {
	parts, err := elements(extension, universal, asn1.TagSequence, specific)
	for _, part := range parts {
		if err != nil {
			break
		}
		set := false
		switch part.Tag {
		case 0:
			s.points, err = fullName(part.FullBytes)
		case 1:
			s.onlyUsers, err = boolean(part)
		case 2:
			s.onlyCAs, err = boolean(part)
		case 3:
			err = errors.New("says that it is for some reasons of revocation only")
		case 4:
			if set, err = boolean(part); set {
				err = errors.New("says that it is an indirect list, of other issuers' certificates too")
			}
		case 5:
			if set, err = boolean(part); set {
				err = errors.New("says that it is for attribute certificates")
			}
		default:
			err = errUnreadable
		}
	}
	if err == nil && s.onlyUsers && s.onlyCAs {
		err = errors.New("says that it is for no certificate")
	}
	return s, err
}

var errUnreadable = errors.New("cannot be read")

const universal, specific = asn1.ClassUniversal, asn1.ClassContextSpecific

// elements reads a value of a class and tag, and returns the values in it, which must be of
// the class that is named last.
func elements(der []byte, class, tag, inner int) (list []asn1.RawValue, err error) {
	var whole asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &whole); err != nil || len(rest) > 0 || whole.Tag != tag || whole.Class != class || !whole.IsCompound {
		return nil, errUnreadable
	}
	for rest := whole.Bytes; len(rest) > 0; {
		var one asn1.RawValue
		if rest, err = asn1.Unmarshal(rest, &one); err != nil || one.Class != inner {
			return nil, errUnreadable
		}
		list = append(list, one)
	}
	return list, nil
}

// boolean reads the value of a tag that stands for BOOLEAN.
func boolean(v asn1.RawValue) (bool, error) {
	if len(v.Bytes) != 1 || v.Bytes[0] != 0 && v.Bytes[0] != 0xff {
		return false, errUnreadable
	}
	return v.Bytes[0] != 0, nil
}

// fullName reads the name of a distribution point, [0], and returns the names in it.
func fullName(der []byte) (names [][]byte, err error) {
	choice, err := elements(der, specific, 0, specific)
	switch {
	case err != nil || len(choice) != 1:
		return nil, errUnreadable
	case choice[0].Tag == 1:
		return nil, errors.New("names where it is published relative to its issuer")
	}
	list, err := elements(choice[0].FullBytes, specific, 0, specific)
	if err != nil || len(list) == 0 {
		return nil, errUnreadable
	}
	for _, name := range list {
		names = append(names, name.FullBytes)
	}
	return names, nil
}

// covers reports whether the list is for a certificate of its issuer.
func (s *crlScope) covers(cert *x509.Certificate) bool {
	switch {
	case s.onlyUsers && cert.IsCA, s.onlyCAs && !cert.IsCA:
		return false
	case len(s.points) == 0:
		return true
	}
	for _, e := range cert.Extensions {
		if e.Id.Equal(oidDistributionPoints) {
			return s.publishedFor(cert.RawIssuer, e.Value)
		}
	}
	return false
}

// publishedFor reports whether the list is published at one of the distribution points of a
// certificate (RFC 5280, section 4.2.1.13). One of lists of some reasons, or of another
// issuer, is not meant.
func (s *crlScope) publishedFor(issuer, extension []byte) bool {
	points, err := elements(extension, universal, asn1.TagSequence, universal)
	return err == nil && slices.ContainsFunc(points, func(p asn1.RawValue) bool { return s.publishedAt(issuer, p.FullBytes) })
}

// publishedAt is publishedFor of one point. One without a name of its own has that of the
// issuer which it names (section 6.3.3, (b)(2)(i)).
func (s *crlScope) publishedAt(issuer, point []byte) bool {
	parts, err := elements(point, universal, asn1.TagSequence, specific)
	if err != nil {
		return false
	}
	var names [][]byte
	for _, part := range parts {
		switch part.Tag {
		case 0:
			names, err = fullName(part.FullBytes)
		case 2:
			var issuers []asn1.RawValue
			issuers, err = elements(part.FullBytes, specific, 2, specific)
			if !slices.ContainsFunc(issuers, func(n asn1.RawValue) bool { return n.Tag == directoryName && bytes.Equal(n.Bytes, issuer) }) {
				return false
			}
			if parts[0].Tag == 2 {
				for _, n := range issuers {
					names = append(names, n.FullBytes)
				}
			}
		default:
			return false
		}
		if err != nil {
			return false
		}
	}
	return slices.ContainsFunc(names, s.has)
}

func (s *crlScope) has(name []byte) bool {
	return slices.ContainsFunc(s.points, func(own []byte) bool { return bytes.Equal(own, name) })
}

// directoryName is the tag of a name that is a distinguished one (RFC 5280, section 4.2.1.6).
const directoryName = 4

// scopeOf returns the scope of a list, which its extensions say. A critical extension that is
// not understood must not be passed over, in an entry either (RFC 5280, sections 5.2 and 5.3):
// the entries of an indirect list are of another issuer's certificates. Those that limit what
// a list says count even if it forgets to call them critical, as with OpenSSL.
func scopeOf(list *x509.RevocationList) (s crlScope, err error) {
	if list.NextUpdate.IsZero() {
		return s, errors.New("has no next update: it would be current for ever (RFC 5280, section 5.1.2.5)")
	}
	for _, e := range list.Extensions {
		switch {
		case e.Id.Equal(oidDeltaCRL):
			return s, errors.New("is a delta of another list: a complete one is needed")
		case e.Id.Equal(oidIssuingPoint):
			if s, err = parseScope(e.Value); err != nil {
				return s, fmt.Errorf("its issuing distribution point (RFC 5280, section 5.2.5) %w: a list is needed that alone says of a certificate whether it is revoked", err)
			}
		case e.Critical:
			return s, fmt.Errorf("has the critical extension %v, which is not supported", e.Id)
		}
	}
	for i, entry := range list.RevokedCertificateEntries {
		for _, e := range entry.Extensions {
			if e.Critical {
				return s, fmt.Errorf("its entry %d has the critical extension %v, which is not supported", i+1, e.Id)
			}
		}
	}
	return s, nil
}

var (
	oidDeltaCRL           = asn1.ObjectIdentifier{2, 5, 29, 27}
	oidIssuingPoint       = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidDistributionPoints = asn1.ObjectIdentifier{2, 5, 29, 31}
)
