package gateway

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// check joins an error for each fault, but for those of TLS, Upstream and Route.
func (o *Options) check() error {
	var faults []error
	fault := func(field, format string, args ...any) {
		faults = append(faults, fmt.Errorf("gateway: Options."+field+": "+format, args...))
	}
	prefixes := func(field string, list []netip.Prefix) {
		for i, p := range list {
			at := fmt.Sprintf("%s[%d]", field, i)
			switch {
			case !p.IsValid():
				fault(at, "is no prefix")
			case p.Addr().Is4In6(): // with which an address is never compared
				fault(at, "%s writes IPv4 as IPv6, and has no address so", p)
			}
		}
	}
	if o.PlainHTTP < PlainGuarded || o.PlainHTTP > PlainRedirect {
		fault("PlainHTTP", "%d is none of PlainGuarded, PlainOpen and PlainRedirect", o.PlainHTTP)
	}
	if o.HTTPSPort < 0 || o.HTTPSPort > math.MaxUint16 {
		fault("HTTPSPort", "%d is no port", o.HTTPSPort)
	}
	prefixes("TrustedProxies", o.TrustedProxies)
	if err := o.ClientCert.Validate(); err != nil {
		fault("ClientCert", "%w", err)
	}
	switch {
	case !httpguts.ValidHeaderFieldValue(o.ServerHeader):
		fault("ServerHeader", "%q has a control character, which no value of a field has (RFC 9110, section 5.5)", o.ServerHeader)
	case strings.Trim(o.ServerHeader, " \t") != o.ServerHeader:
		fault("ServerHeader", "%q begins or ends with white space, which is no part of a value (RFC 9110, section 5.5)", o.ServerHeader)
	}
	if o.TunnelGrace < 0 {
		fault("TunnelGrace", "%v is negative", o.TunnelGrace)
	}
	prefixes("ProxyProtocol", o.ProxyProtocol)
	return errors.Join(faults...)
}

// within returns the faults of options that are a field of these, with the whole path.
func within(field string, err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	var faults []error
	for _, err := range joined.Unwrap() {
		if f, ok := err.(interface {
			FieldPath() string
			Unwrap() error
		}); ok {
			err = fmt.Errorf("gateway: Options.%s.%s: %w", field, f.FieldPath(), f.Unwrap())
		}
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}
