package route

import (
	"fmt"
	"strings"
)

// ClientCertHeaders are the header fields that tell the target of a request who the client
// is. Join several forms by "|". A certificate adds a KB or two to the head of each
// request, and a chain several; servers limit heads to 8 KB or more.
type ClientCertHeaders uint8

const (
	// ClientCert is the field Client-Cert (RFC 9440): the client's certificate.
	ClientCert ClientCertHeaders = 1 << iota

	// ClientCertChain is ClientCert and the field Client-Cert-Chain (RFC 9440): the rest of the
	// verified chain, including the root.
	ClientCertChain

	// ClientCertXFCC is the field X-Forwarded-Client-Cert, as Envoy writes it: hash
	// and names.
	ClientCertXFCC

	// ClientCertXFCCCert and ClientCertXFCCChain are ClientCertXFCC with the client's
	// certificate, and with the whole verified chain.
	ClientCertXFCCCert
	ClientCertXFCCChain

	// ClientCertNginx stands for the fields X-SSL-Client-Verify, -S-DN, -I-DN, -Serial and
	// -Fingerprint, with the values of nginx's variables.
	ClientCertNginx

	// ClientCertNone is none of them, for a route that departs from a gateway that sends some.
	// It cannot be joined with others.
	ClientCertNone

	allClientCert = ClientCertNone<<1 - 1
)

var clientCertNames = []string{"ClientCert", "ClientCertChain", "ClientCertXFCC", "ClientCertXFCCCert", "ClientCertXFCCChain", "ClientCertNginx", "ClientCertNone"}

// String returns the names of the constants, joined by "|". It is empty for none.
func (h ClientCertHeaders) String() string {
	var names []string
	for i, name := range clientCertNames {
		if h&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if rest := h &^ allClientCert; rest != 0 {
		names = append(names, fmt.Sprintf("%#x", uint8(rest)))
	}
	return strings.Join(names, "|")
}

// Validate says what is wrong with a configured value. It returns nil if nothing is.
func (h ClientCertHeaders) Validate() error {
	switch {
	case h&^allClientCert != 0:
		return fmt.Errorf("%s has bits that mean nothing", h)
	case h&ClientCertNone != 0 && h != ClientCertNone:
		return fmt.Errorf("%s: ClientCertNone stands alone", h)
	default:
		return nil
	}
}
