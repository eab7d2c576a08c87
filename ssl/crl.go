package ssl

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"slices"
	"sync"
	"time"
)

// Revocation lists (RFC 5280, section 5). As with OpenSSL's CRL_CHECK_ALL, which
// nginx uses, once a profile has any list, every certificate of a client's chain
// below the root must have a current one of its issuer. What is missing or out of
// date closes the door: a gateway that opens it because a list did not arrive
// can be opened by keeping the list from arriving.

// maxCRLBytes bounds one list: about a million entries.
const maxCRLBytes = 64 << 20

var (
	errRevoked    = errors.New("ssl: a CRL names a certificate of the chain")
	errCRLMissing = errors.New("ssl: there is no CRL of an issuer in the chain")
	errCRLExpired = errors.New("ssl: the CRL of an issuer in the chain is past its next update")
)

// crls are the lists of a profile by the DER of their issuer's name.
type crls struct {
	byIssuer     map[string][]*crl
	sums         []string // SHA-256 of each list, for the scope of sessions
	allowMissing bool
	allowExpired bool
}

// A crl is one list.
type crl struct {
	list    *x509.RevocationList
	serials map[string]struct{}

	// signers are the public keys (SubjectPublicKeyInfo) that the signature was
	// checked with, and the outcome. A list of an intermediate that only clients
	// send can be checked only once one is seen.
	signers sync.Map // string to error
}

// newCRLs parses lists, each one DER or PEM of any number.
func newCRLs(c *ClientAuth, fault func(field string, err error)) *crls {
	if len(c.CRLs) == 0 {
		return nil
	}
	all := &crls{
		byIssuer:     map[string][]*crl{},
		allowMissing: c.DangerouslyAllowMissingCRL,
		allowExpired: c.DangerouslyAllowExpiredCRL,
	}
	for i, data := range c.CRLs {
		lists, err := parseCRLs(data)
		if err != nil {
			fault(fmt.Sprintf("Client.CRLs[%d]", i), err)
			continue
		}
		for _, list := range lists {
			one := &crl{list: list, serials: make(map[string]struct{}, len(list.RevokedCertificateEntries))}
			for _, entry := range list.RevokedCertificateEntries {
				one.serials[string(entry.SerialNumber.Bytes())] = struct{}{}
			}
			// The parsed entries are many times the size of the serials.
			list.RevokedCertificateEntries = nil
			sum := sha256.Sum256(list.Raw)
			all.sums = append(all.sums, string(sum[:]))
			all.byIssuer[string(list.RawIssuer)] = append(all.byIssuer[string(list.RawIssuer)], one)
		}
	}
	return all
}

func parseCRLs(data []byte) ([]*x509.RevocationList, error) {
	if len(data) > maxCRLBytes {
		return nil, fmt.Errorf("%d bytes, more than %d", len(data), maxCRLBytes)
	}
	var ders [][]byte
	rest := data
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == "X509 CRL" {
			ders = append(ders, block.Bytes)
		}
		if len(ders) > maxPEMBlocks {
			return nil, fmt.Errorf("more than %d PEM blocks", maxPEMBlocks)
		}
	}
	switch {
	case bytes.Contains(rest, []byte("-----BEGIN")):
		return nil, fmt.Errorf("not readable as PEM from block %d on: %w", len(ders)+1, pemFault(rest))
	case len(ders) == 0 && bytes.Contains(data, []byte("-----BEGIN")):
		return nil, errors.New(`has no "X509 CRL" block`)
	case len(ders) == 0:
		ders = [][]byte{data}
	}
	lists := make([]*x509.RevocationList, 0, len(ders))
	for i, der := range ders {
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return nil, fmt.Errorf("list %d: %w", i+1, err)
		}
		if err := checkCRLExtensions(list); err != nil {
			return nil, fmt.Errorf("list %d: %w", i+1, err)
		}
		lists = append(lists, list)
	}
	return lists, nil
}

// checkCRLExtensions refuses a list that says less than it seems: a delta, or one
// for a part of the certificates. A critical extension that is not understood
// must not be passed over (RFC 5280, section 5.2).
func checkCRLExtensions(list *x509.RevocationList) error {
	if list.NextUpdate.IsZero() {
		return errors.New("has no next update: it would be current for ever (RFC 5280, section 5.1.2.5)")
	}
	for _, e := range list.Extensions {
		switch {
		case e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 27}):
			return errors.New("is a delta of another list: a complete one is needed")
		case e.Critical:
			return fmt.Errorf("has the critical extension %v, which is not supported: a complete list is needed, not one for a part of the certificates", e.Id)
		}
	}
	return nil
}

// digest writes the lists and how they are gone by.
func (c *crls) digest(h hash.Hash) {
	if c == nil {
		return
	}
	flags := fmt.Sprintf("crl missing=%t expired=%t", c.allowMissing, c.allowExpired)
	slices.Sort(c.sums)
	writeStrings(h, append([]string{flags}, c.sums...))
}

// check says whether a verified chain is free of revoked certificates at a time,
// and until when that is known.
func (c *crls) check(chain []*x509.Certificate, now, until time.Time) (time.Time, error) {
	for i, cert := range chain[:len(chain)-1] {
		next, err := c.checkOne(cert, chain[i+1], now)
		if err != nil {
			return time.Time{}, err
		}
		if !next.IsZero() && next.Before(until) {
			until = next
		}
	}
	return until, nil
}

// checkOne looks a certificate up in the lists of its issuer. It returns when the
// newest of them should have a successor, if that counts.
func (c *crls) checkOne(cert, issuer *x509.Certificate, now time.Time) (next time.Time, err error) {
	var newest *crl
	for _, one := range c.byIssuer[string(cert.RawIssuer)] {
		if one.list.ThisUpdate.After(now) || one.signedBy(issuer) != nil {
			continue
		}
		if newest == nil || one.list.ThisUpdate.After(newest.list.ThisUpdate) {
			newest = one
		}
	}
	if newest == nil {
		if c.allowMissing {
			return time.Time{}, nil
		}
		return time.Time{}, errCRLMissing
	}
	if _, revoked := newest.serials[string(cert.SerialNumber.Bytes())]; revoked {
		return time.Time{}, errRevoked
	}
	if now.After(newest.list.NextUpdate) {
		if c.allowExpired {
			return time.Time{}, nil
		}
		return time.Time{}, errCRLExpired
	}
	if c.allowExpired {
		return time.Time{}, nil
	}
	return newest.list.NextUpdate, nil
}

// signedBy checks the list's signature, once for each key.
func (c *crl) signedBy(issuer *x509.Certificate) error {
	key := string(issuer.RawSubjectPublicKeyInfo)
	if known, ok := c.signers.Load(key); ok {
		err, _ := known.(error)
		return err
	}
	err := c.list.CheckSignatureFrom(issuer)
	if err != nil && len(issuer.Extensions) == 0 && issuer.Version < 3 {
		// A version 1 root, as the how-to's openssl commands make one, has no key
		// usage that could name CRLs.
		err = issuer.CheckSignature(c.list.SignatureAlgorithm, c.list.RawTBSRevocationList, c.list.Signature)
	}
	if err == nil {
		c.signers.Store(key, nil)
	} else {
		c.signers.Store(key, err)
	}
	return err
}
