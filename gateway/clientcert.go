package gateway

import (
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
)

// appendClientCert appends the fields in which the target of a request is told who the
// client is. All their names are among fieldRules, so that none of them is the client's.
// The texts are made once for an identity, which is that of all requests of a connection.
func appendClientCert(list []route.HeaderField, i *ssl.Identity, h route.ClientCertHeaders) []route.HeaderField {
	if h&(route.ClientCert|route.ClientCertChain) != 0 {
		list = append(list, route.HeaderField{Name: "Client-Cert", Value: i.ClientCert()})
	}
	if h&route.ClientCertChain != 0 {
		if chain := i.ClientCertChain(); chain != "" {
			list = append(list, route.HeaderField{Name: "Client-Cert-Chain", Value: chain})
		}
	}
	if h&(route.ClientCertXFCC|route.ClientCertXFCCCert|route.ClientCertXFCCChain) != 0 {
		var with ssl.XFCC
		if h&route.ClientCertXFCCCert != 0 {
			with |= ssl.XFCCCert
		}
		if h&route.ClientCertXFCCChain != 0 {
			with |= ssl.XFCCChain
		}
		list = append(list, route.HeaderField{Name: "X-Forwarded-Client-Cert", Value: i.ForwardedClientCert(with)})
	}
	if h&route.ClientCertNginx != 0 {
		for _, f := range nginxFields {
			value, _ := i.Var(f.variable)
			list = append(list, route.HeaderField{Name: f.name, Value: value})
		}
	}
	return list
}

var nginxFields = []struct{ name, variable string }{
	{"X-SSL-Client-Verify", "ssl_client_verify"},
	{"X-SSL-Client-S-DN", "ssl_client_s_dn"},
	{"X-SSL-Client-I-DN", "ssl_client_i_dn"},
	{"X-SSL-Client-Serial", "ssl_client_serial"},
	{"X-SSL-Client-Fingerprint", "ssl_client_fingerprint"},
}
