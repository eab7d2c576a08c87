package clientcert

import (
	"crypto/x509"
	"slices"
	"time"
)

// Invalid says why a certificate is not valid at a time, or "" if it is.
func Invalid(c *x509.Certificate, now time.Time) string {
	switch {
	case now.After(c.NotAfter):
		return "expired on " + c.NotAfter.UTC().Format(time.DateOnly)
	case now.Before(c.NotBefore):
		return "is not valid before " + c.NotBefore.UTC().Format(time.RFC3339)
	}
	return ""
}

// Forbids reports whether the extended key usage of a certificate, if it has one, leaves a
// usage out (RFC 5280, section 4.2.1.12).
func Forbids(c *x509.Certificate, usage x509.ExtKeyUsage) bool {
	if len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 {
		return false
	}
	return !slices.Contains(c.ExtKeyUsage, usage) && !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
}
