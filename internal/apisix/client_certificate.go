package apisix

// This file is about tls.client_cert_id: an ssl object that holds the certificate which an
// upstream shows to its nodes.

// ClientCertificateID returns the id of the ssl object whose certificate the upstream in a
// document presents to its nodes, or "".
func ClientCertificateID(kind Kind, doc map[string]any) string {
	tls := objectOf(upstreamIn(kind, doc), "tls")
	if has(tls, "client_cert") || has(tls, "client_key") {
		return "" // with both, Validate refuses it
	}
	return IDString(tls["client_cert_id"])
}

// WithClientCertificate returns a document in which the id of an ssl object is replaced by
// its certificate and key. If ssl is nil, the id is only removed.
func WithClientCertificate(kind Kind, doc, ssl map[string]any) map[string]any {
	up := shallow(upstreamIn(kind, doc))
	tls := shallow(objectOf(up, "tls"))
	delete(tls, "client_cert_id")
	if ssl != nil {
		tls["client_cert"], tls["client_key"] = ssl["cert"], ssl["key"]
	}
	up["tls"] = tls
	if kind == Upstreams {
		return up
	}
	out := shallow(doc)
	out["upstream"] = up
	return out
}

// upstreamIn returns the upstream that a document is or holds, or nil.
func upstreamIn(kind Kind, doc map[string]any) map[string]any {
	switch kind {
	case Upstreams:
		return doc
	case Routes, Services:
		return objectOf(doc, "upstream")
	}
	return nil
}
