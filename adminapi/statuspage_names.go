package adminapi

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/adminapi/statuspage"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/internal/apisix"
	"github.com/sallyport/sallyport/internal/clientcert"
	"github.com/sallyport/sallyport/internal/statushtml"
	"github.com/sallyport/sallyport/ssl"
)

// reportNames says which names there are, those first of which a certificate ends first.
func (h *Handler) reportNames(stats *gateway.Stats, q *statushtml.Query) statuspage.List[statuspage.Name] {
	table := h.server.Profiles()
	profiles := slices.Clone(stats.TLS.Profiles)
	if q.Names.Filter != "" {
		fits := filter(q.Names.Filter)
		profiles = slices.DeleteFunc(profiles, func(s ssl.ProfileStats) bool {
			p := table.Get(s.ID)
			return p == nil || !fits(s.ID) && !fits(p.Names()...) && !slices.ContainsFunc(p.Certificates(), func(c *x509.Certificate) bool {
				return fits(clientcert.Subject(c), clientcert.Issuer(c))
			})
		})
	}
	slices.SortFunc(profiles, func(a, b ssl.ProfileStats) int {
		return cmp.Or(soonest(a.NotAfter).Compare(soonest(b.NotAfter)), strings.Compare(a.ID, b.ID))
	})
	return listed(len(stats.TLS.Profiles), profiles, q.Names.Page, q.Size, func(s ssl.ProfileStats) (statuspage.Name, bool) {
		p := table.Get(s.ID)
		if p == nil {
			return statuspage.Name{}, false
		}
		name := statuspage.Name{
			ID: s.ID, Names: p.Names(), Client: reportClient(p.Client(), stats.At), Certificates: []statuspage.Certificate{},
			Handshakes: s.Handshakes.Succeeded(), Resumed: s.Handshakes.Resumed.Total(), Failed: map[string]uint64{},
			Warnings: mapped(table.Warnings(s.ID), func(w ssl.Warning) string { return h.inDocument(apisix.SSLs, w.ID, w.Field, w.Text) }),
		}
		for _, f := range s.Handshakes.Failed {
			name.Failed[string(f.Reason)] = f.Count
		}
		for _, c := range p.Certificates() {
			name.Certificates = append(name.Certificates, reportCertificate(c, stats.At))
		}
		return name, true
	})
}

func soonest(times []time.Time) (first time.Time) {
	for i, t := range times {
		if i == 0 || t.Before(first) {
			first = t
		}
	}
	return first
}

func reportCertificate(c *x509.Certificate, now time.Time) statuspage.Certificate {
	sum := sha256.Sum256(c.Raw)
	return statuspage.Certificate{
		Subject: clientcert.Subject(c), Issuer: clientcert.Issuer(c), Serial: clientcert.Serial(c), SHA256: hex.EncodeToString(sum[:]),
		Key: keyKind(c), NotBefore: c.NotBefore, NotAfter: c.NotAfter, State: stateOf(c, now),
	}
}

// endsSoon is as in package ssl, which warns of it when the certificate is put.
const endsSoon = 30 * 24 * time.Hour

func stateOf(c *x509.Certificate, now time.Time) string {
	switch left := c.NotAfter.Sub(now); {
	case left < 0:
		return statuspage.Ended
	case now.Before(c.NotBefore):
		return statuspage.NotYetValid
	case left < endsSoon && left < c.NotAfter.Sub(c.NotBefore)/3:
		return statuspage.EndsSoon
	}
	return statuspage.Valid
}

// keyKind says what key a certificate is for.
func keyKind(c *x509.Certificate) string {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", key.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + key.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return c.PublicKeyAlgorithm.String()
}

// reportClient says whose certificates are taken.
func reportClient(p *ssl.ClientPolicy, now time.Time) *statuspage.Client {
	if p == nil {
		return nil
	}
	c := &statuspage.Client{
		Required: len(p.SkipPaths) == 0, SkipPaths: mapped(p.SkipPaths, hidden),
		Depth: p.Depth, CAs: []string{}, Authorizer: p.AuthorizeID, CRLs: []statuspage.CRL{},
	}
	for _, ca := range p.CAs {
		c.CAs = append(c.CAs, clientcert.Subject(ca))
	}
	if a := p.Allow; a != nil {
		n := len(a.DNSNames) + len(a.URIs) + len(a.Emails) + len(a.IPs) + len(a.CommonNames) + len(a.SPKISHA256)
		c.Allow = &n
	}
	for _, list := range p.CRLs {
		c.CRLs = append(c.CRLs, statuspage.CRL{
			Issuer: list.Issuer, NextUpdate: list.NextUpdate, Revoked: list.Revoked, OutOfDate: now.After(list.NextUpdate),
		})
	}
	return c
}
