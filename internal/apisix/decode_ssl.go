package apisix

import (
	"crypto/tls"

	"github.com/sallyport/sallyport/ssl"
)

func (d *decoding) ssl(o *Object) {
	doc := o.doc
	c := &ssl.Config{
		ID:    o.ID,
		Names: oneOrMany(doc, "sni", "snis"),
		Certificates: []ssl.KeyPair{{
			CertPEM: d.pem(doc, "cert"),
			KeyPEM:  d.pem(doc, "key"),
		}},
	}
	o.SSL = c
	c.MinVersion, c.MaxVersion = d.versions(doc)
	if doc["type"] == "client" {
		// It is for an upstream's tls.client_cert_id alone. APISIX does not look
		// at its other properties.
		o.Enabled = false
		return
	}
	keys := arrayOf(doc, "keys")
	for i, cert := range arrayOf(doc, "certs") {
		cert, key := cert.(string), keys[i].(string)
		d.refuseReference("certs", cert)
		d.refuseReference("keys", key)
		c.Certificates = append(c.Certificates, ssl.KeyPair{CertPEM: []byte(cert), KeyPEM: []byte(key)})
	}
	if has(doc, "client") {
		d.in("client", func() { c.Client = d.clientAuth(objectOf(doc, "client")) })
	}
}

func (d *decoding) clientAuth(doc map[string]any) *ssl.ClientAuth {
	c := &ssl.ClientAuth{
		CAPEM:     d.pem(doc, "ca"),
		Depth:     d.integer(doc, "depth"),
		SkipPaths: stringsOf(doc, "skip_mtls_uri_regex"),
	}
	if has(doc, "depth") && c.Depth == 0 {
		c.Depth = ssl.NoIntermediates
	}
	return c
}

// versions returns the bounds that ssl_protocols stands for. An empty list is none,
// as if it were absent.
func (d *decoding) versions(doc map[string]any) (low, high uint16) {
	var listed [3]bool
	for _, name := range arrayOf(doc, "ssl_protocols") {
		v := map[any]uint16{"TLSv1.1": tls.VersionTLS11, "TLSv1.2": tls.VersionTLS12, "TLSv1.3": tls.VersionTLS13}[name]
		listed[v-tls.VersionTLS11] = true
		if low == 0 || v < low {
			low = v
		}
		high = max(high, v)
	}
	if listed[0] && !listed[1] && listed[2] {
		d.refuse("ssl_protocols", "TLSv1.1 and TLSv1.3 without TLSv1.2 cannot be had: list TLSv1.2 too, or leave out TLSv1.1")
	}
	return low, high
}
