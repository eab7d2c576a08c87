package route

import (
	"fmt"
	"strings"
)

// ClientCertHeaders are the header fields in which the target of a request is told who the
// client is. Those of several forms are joined by "|". A certificate adds a KB or two to
// the head of each request, and a chain several, of which servers take 8 KB or more.
type ClientCertHeaders uint8

const (
	// ClientCert is the field Client-Cert (RFC 9440): the client's certificate.
	ClientCert ClientCertHeaders = 1 << iota

	// ClientCertChain is the field Client-Cert-Chain (RFC 9440), and Client-Cert with
	// it: what stands over the certificate in the verified chain, the root included.
	ClientCertChain

	// ClientCertXFCC is the field X-Forwarded-Client-Cert, as Envoy writes it: hash
	// and names.
	ClientCertXFCC

	// ClientCertXFCCCert and ClientCertXFCCChain are ClientCertXFCC with the client's
	// certificate and with the whole of the verified chain.
	ClientCertXFCCCert
	ClientCertXFCCChain

	// ClientCertNginx are the fields X-SSL-Client-Verify, -S-DN, -I-DN, -Serial and
	// -Fingerprint, which have the values of nginx's variables.
	ClientCertNginx

	// ClientCertNone is none of them, for a route that departs from a gateway that
	// has some. It stands alone.
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

// Validate says what is wrong with a value that somebody configured. It is nil if nothing is.
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
