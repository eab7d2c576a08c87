package ssl

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sallyport/sallyport/internal/clientcert"
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
	errCRLScope   = errors.New("ssl: no CRL of an issuer in the chain is for the certificate")
	errCRLExpired = errors.New("ssl: the CRL of an issuer in the chain is past its next update")
)

// crls are the lists of a profile by the DER of their issuer's name.
type crls struct {
	byIssuer     map[string][]*crl
	sums         []string // SHA-256 of each list, for the scope of sessions
	allowMissing bool
	allowExpired bool

	// successions are the lists of each issuer and scope, the newest first.
	successions map[string][]*crl
}

// A crl is one list.
type crl struct {
	list    *x509.RevocationList // without its entries
	scope   crlScope
	serials []string // sorted; the bytes of the numbers

	// signers are the certificates that the signature was checked with, and the
	// outcome. The list of an intermediate that only clients send can be checked
	// only once one is seen. Certificates, not keys: one of two with the same key
	// may lack the right to sign lists.
	signers sync.Map // SHA-256 to bool
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
		for _, one := range lists {
			sum, issuer := sha256.Sum256(one.list.Raw), string(one.list.RawIssuer)
			all.sums = append(all.sums, string(sum[:]))
			all.byIssuer[issuer] = append(all.byIssuer[issuer], one)
		}
	}
	all.succeed()
	return all
}

// succeed finds out which lists take the place of which.
func (c *crls) succeed() {
	c.successions = map[string][]*crl{}
	for _, lists := range c.byIssuer {
		for _, one := range lists {
			// Two issuers may have one name.
			key := fmt.Sprintf("%x %x %v", one.list.RawIssuer, one.list.AuthorityKeyId, one.scope)
			c.successions[key] = append(c.successions[key], one)
		}
	}
	for _, lists := range c.successions {
		slices.SortFunc(lists, func(a, b *crl) int {
			switch {
			case a.newer(b):
				return -1
			case b.newer(a):
				return 1
			}
			return 0
		})
	}
}

// current returns the one that counts at a time of the lists of one succession: the newest of
// those that are valid by then. It is nil if none is.
func current(lists []*crl, now time.Time) *crl {
	i := slices.IndexFunc(lists, func(one *crl) bool { return !one.list.ThisUpdate.After(now) })
	if i < 0 {
		return nil
	}
	return lists[i]
}

// nextUpdate returns when the first of the lists that count at a time is past its next update.
// It is zero if they count thereafter.
func (c *crls) nextUpdate(now time.Time) (first time.Time) {
	if c == nil || c.allowExpired {
		return first
	}
	for _, lists := range c.successions {
		if one := current(lists, now); one != nil {
			first = earlier(first, one.list.NextUpdate)
		}
	}
	return first
}

// setBack warns of lists that count at a time and are older than those which did before, in
// which more was revoked, as happens with a backup or with a mirror that lags behind. An old
// list is as well signed as a new one. That a newer one revokes less is nothing: what has
// expired need not stand in it any more.
func (c *crls) setBack(before *crls, now time.Time) (warnings []string) {
	if c == nil || before == nil {
		return nil
	}
	for key, lists := range c.successions {
		one, was := current(lists, now), current(before.successions[key], now)
		if one == nil || was == nil || !was.newer(one) {
			continue
		}
		if n := missing(was.serials, one.serials); n > 0 {
			warnings = append(warnings, fmt.Sprintf("the list of %s of %s takes the place of a newer one, of %s: what that revoked and this does not is accepted again (%d serial numbers)",
				clientcert.Name(one.list.RawIssuer), one.list.ThisUpdate.UTC().Format(time.RFC3339), was.list.ThisUpdate.UTC().Format(time.RFC3339), n))
		}
	}
	slices.Sort(warnings)
	if more := len(warnings) - maxListed; more > 0 {
		warnings = append(warnings[:maxListed], fmt.Sprintf("%d more lists take the place of newer ones, which revoked more", more))
	}
	return warnings
}

// missing returns how many strings of a sorted list another does not have.
func missing(all, other []string) (n int) {
	for _, s := range all {
		if _, ok := slices.BinarySearch(other, s); !ok {
			n++
		}
	}
	return n
}

func parseCRLs(data []byte) ([]*crl, error) {
	if len(data) > maxCRLBytes {
		return nil, fmt.Errorf("%d bytes, more than %d", len(data), maxCRLBytes)
	}
	var ders [][]byte
	if isDER(data) {
		// What is parsed has parts of it, and the caller may use the memory again.
		ders = [][]byte{bytes.Clone(data)}
	} else {
		var err error
		if ders, err = crlBlocks(data); err != nil {
			return nil, err
		}
	}
	lists := make([]*crl, 0, len(ders))
	for i, der := range ders {
		one, err := newCRL(der)
		if err != nil {
			return nil, fmt.Errorf("list %d: %w", i+1, err)
		}
		lists = append(lists, one)
	}
	return lists, nil
}

// newCRL parses a list, which keeps der.
func newCRL(der []byte) (*crl, error) {
	list, err := x509.ParseRevocationList(der)
	switch {
	case err != nil && strings.Contains(err.Error(), "unsupported crl version"):
		return nil, fmt.Errorf("%w: it must be version 2 (RFC 5280, section 5.1.2.1), as openssl ca writes it with a crlnumber file", err)
	case err != nil:
		return nil, err
	case len(list.Raw) != len(der):
		return nil, fmt.Errorf("%d bytes follow it", len(der)-len(list.Raw))
	}
	scope, err := scopeOf(list)
	if err != nil {
		return nil, err
	}
	one := &crl{list: list, scope: scope, serials: make([]string, 0, len(list.RevokedCertificateEntries))}
	for _, entry := range list.RevokedCertificateEntries {
		one.serials = append(one.serials, string(entry.SerialNumber.Bytes()))
	}
	slices.Sort(one.serials)
	// The parsed entries are many times the size of the serials.
	list.RevokedCertificateEntries = nil
	//lint:ignore SA1019 it is filled all the same
	list.RevokedCertificates = nil
	return one, nil
}

// isDER reports whether data begins as a SEQUENCE of more than 127 bytes does,
// and no text.
func isDER(data []byte) bool { return len(data) > 1 && data[0] == 0x30 && data[1] >= 0x80 }

// crlBlocks returns the lists of a PEM bundle. Blocks of other types are passed
// over; one that cannot be read is not, nor is a private key.
func crlBlocks(bundle []byte) (ders [][]byte, err error) {
	rest := bundle
	for n := 1; ; n++ {
		block, after := pem.Decode(rest)
		if err := passedOver(rest, after, block != nil); err != nil {
			return nil, fmt.Errorf("not readable as PEM from block %d on: %w", n, err)
		}
		if block == nil {
			break
		}
		if n > maxPEMBlocks {
			return nil, fmt.Errorf("more than %d PEM blocks", maxPEMBlocks)
		}
		rest = after
		if isKey(block) {
			return nil, keyAmongPublic(n)
		}
		if block.Type == "X509 CRL" {
			ders = append(ders, block.Bytes)
		}
	}
	switch {
	case len(ders) > 0:
		return ders, nil
	case bytes.Contains(bundle, pemBegin):
		return nil, errors.New(`has no "X509 CRL" block`)
	case len(bytes.TrimSpace(bundle)) == 0:
		return nil, errors.New("is empty")
	default:
		return nil, errors.New("is neither DER nor PEM")
	}
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

// checkOne looks a certificate up in the lists of its issuer that are for it. It returns
// until when the answer holds, or zero: until the newest list should have a successor,
// if that counts, or until one that is not valid yet takes its place.
func (c *crls) checkOne(cert, issuer *x509.Certificate, now time.Time) (until time.Time, err error) {
	var newest *crl
	missing := errCRLMissing
	for _, one := range c.byIssuer[string(cert.RawIssuer)] {
		switch {
		case !one.signedBy(issuer):
		case !one.scope.covers(cert):
			missing = errCRLScope
		case one.list.ThisUpdate.After(now):
			// The answer holds up to the second before.
			until = earlier(until, one.list.ThisUpdate.Add(-time.Second))
		case newest == nil || one.newer(newest):
			newest = one
		}
	}
	if newest == nil {
		if c.allowMissing {
			return until, nil
		}
		return time.Time{}, missing
	}
	if _, revoked := slices.BinarySearch(newest.serials, string(cert.SerialNumber.Bytes())); revoked {
		return time.Time{}, errRevoked
	}
	if c.allowExpired {
		return until, nil
	}
	if now.After(newest.list.NextUpdate) {
		return time.Time{}, errCRLExpired
	}
	return earlier(until, newest.list.NextUpdate), nil
}

// earlier returns the earlier of two times, of which the first may be zero.
func earlier(a, b time.Time) time.Time {
	if !a.IsZero() && a.Before(b) {
		return a
	}
	return b
}

// newer reports whether a list is newer than another of the same issuer. Times
// have a resolution of a second: the number decides between equal ones.
func (c *crl) newer(than *crl) bool {
	if d := c.list.ThisUpdate.Compare(than.list.ThisUpdate); d != 0 {
		return d > 0
	}
	return c.list.Number != nil && (than.list.Number == nil || c.list.Number.Cmp(than.list.Number) > 0)
}

// signedBy checks the list's signature, once for each certificate.
func (c *crl) signedBy(issuer *x509.Certificate) bool {
	key := sha256.Sum256(issuer.Raw)
	if known, ok := c.signers.Load(key); ok {
		return known.(bool)
	}
	ok := c.list.CheckSignatureFrom(issuer) == nil
	c.signers.Store(key, ok)
	return ok
}
