package ssl

import (
	"cmp"
	"crypto/x509"
	"slices"
	"time"

	"github.com/sallyport/sallyport/internal/clientcert"
)

// This file tells people what a profile does. Nothing here is for the way of a request.

// Certificates returns the leaf certificate of each pair, in the order of
// [Config.Certificates], without its intermediates. They must not be changed.
func (p *Profile) Certificates() []*x509.Certificate {
	pairs := p.certs()
	leaves := make([]*x509.Certificate, len(pairs))
	for i := range pairs {
		leaves[i] = pairs[i].Leaf
	}
	return leaves
}

// Client returns which client certificates the profile accepts, or nil if it asks for none.
func (p *Profile) Client() *ClientPolicy {
	c := p.client
	if c == nil {
		return nil
	}
	out := &ClientPolicy{
		CAs:         slices.Clone(c.certs),
		Depth:       c.depth,
		CRLs:        c.crls.list(),
		AuthorizeID: c.authorizerID,
	}
	if c.allow != nil {
		allow := c.allow.written
		out.Allow = &allow
	}
	for _, re := range c.skips {
		out.SkipPaths = append(out.SkipPaths, re.String())
	}
	return out
}

// A ClientPolicy is a [ClientAuth] as a [Profile] applies it, for inspection. What it holds
// is shared with the profile and must not be changed.
type ClientPolicy struct {
	// CAs are the certificates that a client's chain may end in.
	CAs []*x509.Certificate

	// Depth is how many intermediates a chain may have: 0 is none.
	Depth int

	// Allow is [ClientAuth.Allow], or nil.
	Allow *Allow

	// CRLs are the revocation lists, sorted by issuer. If there are none, revocation is not
	// checked.
	CRLs []CRL

	// AuthorizeID is [ClientAuth.AuthorizeID]: empty if Authorize is nil.
	AuthorizeID string

	// SkipPaths are the expressions for paths that need no certificate. If there are any, a
	// client without a certificate gets through the handshake.
	SkipPaths []string
}

// A CRL is a revocation list of a [ClientPolicy].
type CRL struct {
	Issuer     string // its distinguished name, as in [*Identity.Subject]
	NextUpdate time.Time
	Revoked    int // how many certificates it revokes
}

// list returns the lists, those of an issuer by their next update.
func (c *crls) list() (out []CRL) {
	if c == nil {
		return nil
	}
	for _, lists := range c.byIssuer {
		for _, one := range lists {
			out = append(out, CRL{
				Issuer: clientcert.Name(one.list.RawIssuer), NextUpdate: one.list.NextUpdate, Revoked: len(one.serials),
			})
		}
	}
	slices.SortFunc(out, func(a, b CRL) int {
		return cmp.Or(cmp.Compare(a.Issuer, b.Issuer), a.NextUpdate.Compare(b.NextUpdate))
	})
	return out
}
