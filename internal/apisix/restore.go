package apisix

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"strings"

	"github.com/sallyport/sallyport/internal/cjson"
	"github.com/sallyport/sallyport/internal/secret"
)

// Restore returns a document in which each "[redacted]" that stands for a private key is
// replaced by the key in stored, so that what [Redact] shows can be edited and put again.
// If there is none, it returns the document itself. stored is the document that is being
// replaced, or nil; doc is not changed.
//
// A key is found by its certificate, never by its place: it must belong to the same
// certificate, or to one with the same public key. If there is no such key, the error is an
// [*Error]. The warnings are about keys that were kept and now go elsewhere.
func Restore(kind Kind, doc, stored map[string]any) (_ map[string]any, warnings []string, _ error) {
	var f faults
	out := doc
	switch kind {
	case SSLs:
		out = restorePairs(doc, stored, &f)
	case Upstreams:
		out, warnings = restoreClientKey(doc, stored, &f)
	default:
		inline := upstreamIn(kind, doc)
		if !holdsPlaceholder(inline) {
			break
		}
		var inner faults
		out = shallow(doc)
		out["upstream"], warnings = restoreClientKey(inline, upstreamIn(kind, stored), &inner)
		f, warnings = inner.of("upstream"), prefixed(kind, warnings)
	}
	if err := f.err(inConfiguration); err != nil {
		return nil, nil, err
	}
	return out, warnings, nil
}

// isPlaceholder reports whether a value stands for a private key that is not shown.
func isPlaceholder(v any) bool { return v == secret.Redacted }

// noKey says why a placeholder stands for nothing.
func noKey(anyStored bool) faults {
	if !anyStored {
		return faults{{`"` + secret.Redacted + `" stands for a key that is stored, and none is`, "send the private key"}}
	}
	return faults{{`"` + secret.Redacted + `" stands for a key that is stored, and none is that of the certificate`, "send the private key that belongs to the certificate"}}
}

// A pair is a certificate and its key as they stand in a document.
type pair struct{ cert, key string }

// pairsOf returns the pairs of an ssl object.
func pairsOf(doc map[string]any) (pairs []pair) {
	if has(doc, "key") {
		pairs = append(pairs, pair{stringOf(doc, "cert"), stringOf(doc, "key")})
	}
	certs, keys := arrayOf(doc, "certs"), arrayOf(doc, "keys")
	for i := range min(len(certs), len(keys)) {
		cert, _ := certs[i].(string)
		key, _ := keys[i].(string)
		pairs = append(pairs, pair{cert, key})
	}
	return pairs
}

func restorePairs(doc, stored map[string]any, f *faults) map[string]any {
	pairs := pairsOf(stored)
	out := doc
	if isPlaceholder(doc["key"]) {
		out = shallow(doc)
		if key, ok := keyFor(stringOf(doc, "cert"), pairs); ok {
			out["key"] = key
		} else {
			*f = append(*f, noKey(pairs != nil).of("key")...)
		}
	}
	keys, ok := doc["keys"].([]any)
	if !ok {
		return out
	}
	var restored []any
	certs := arrayOf(doc, "certs")
	for i, v := range keys {
		if !isPlaceholder(v) {
			continue
		}
		if restored == nil {
			restored = append([]any(nil), keys...)
			out = shallow(out)
			out["keys"] = restored
		}
		cert := ""
		if i < len(certs) {
			cert, _ = certs[i].(string)
		}
		if key, ok := keyFor(cert, pairs); ok {
			restored[i] = key
		} else if len(*f) <= maxFaults {
			*f = append(*f, noKey(pairs != nil).item(i).of("keys")...)
		}
	}
	return out
}

// keyFor returns the key of the pair that has this certificate, or else of one that has
// its public key.
func keyFor(cert string, pairs []pair) (key string, ok bool) {
	for _, p := range pairs {
		if p.cert == cert && p.key != "" {
			return p.key, true
		}
	}
	leaf := leafOf(cert)
	if leaf == nil {
		return "", false
	}
	for _, p := range pairs {
		if old := leafOf(p.cert); old != nil && bytes.Equal(old.RawSubjectPublicKeyInfo, leaf.RawSubjectPublicKeyInfo) || belongs(cert, p.key) {
			return p.key, true
		}
	}
	return "", false
}

// leafOf returns the first certificate of a text, or nil.
func leafOf(text string) *x509.Certificate {
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil
		}
		if block.Type == "CERTIFICATE" {
			leaf, _ := x509.ParseCertificate(block.Bytes)
			return leaf
		}
	}
}

// belongs reports whether a key is that of a certificate, both in PEM: a stored key may
// be in order where the certificate beside it is a reference.
func belongs(cert, key string) bool {
	if !strings.Contains(key, "PRIVATE KEY") {
		return false
	}
	_, err := tls.X509KeyPair([]byte(cert), []byte(key))
	return err == nil
}

func holdsPlaceholder(upstream map[string]any) bool {
	return isPlaceholder(objectOf(upstream, "tls")["client_key"])
}

// restoreClientKey restores the client key of an upstream.
func restoreClientKey(doc, stored map[string]any, f *faults) (out map[string]any, warnings []string) {
	if !holdsPlaceholder(doc) {
		return doc, nil
	}
	now, before := objectOf(doc, "tls"), objectOf(stored, "tls")
	var pairs []pair
	if has(before, "client_key") {
		pairs = []pair{{stringOf(before, "client_cert"), stringOf(before, "client_key")}}
	}
	key, ok := keyFor(stringOf(now, "client_cert"), pairs)
	if !ok {
		*f = append(*f, noKey(pairs != nil).of("client_key").of("tls")...)
		return doc, nil
	}
	tls := shallow(now)
	tls["client_key"] = key
	out = shallow(doc)
	out["tls"] = tls
	return out, newOrigin(out, stored)
}

// NewOrigin warns if the upstream of a document has a client key that it had before, and
// nodes that it did not have before: whoever changed the nodes need not have the key.
func NewOrigin(kind Kind, doc, stored map[string]any) []string {
	warnings := newOrigin(upstreamIn(kind, doc), upstreamIn(kind, stored))
	return prefixed(kind, warnings)
}

// prefixed returns warnings about an upstream as those of the document that holds it.
func prefixed(kind Kind, warnings []string) []string {
	for i := range warnings {
		if kind != Upstreams {
			warnings[i] = "upstream." + warnings[i]
		}
	}
	return warnings
}

func newOrigin(doc, stored map[string]any) []string {
	key := stringOf(objectOf(doc, "tls"), "client_key")
	if key == "" || key != stringOf(objectOf(stored, "tls"), "client_key") || sameOrigin(doc, stored) {
		return nil
	}
	return []string{"tls.client_key is the one that was stored, and the nodes are others: they are shown a credential that was meant for those before"}
}

// sameOrigin reports whether two upstreams have the same nodes. Weights do not matter.
func sameOrigin(a, b map[string]any) bool {
	return bytes.Equal(cjson.Encode(addresses(a)), cjson.Encode(addresses(b)))
}

// addresses returns the nodes of an upstream as a set.
func addresses(doc map[string]any) map[string]any {
	set := map[string]any{}
	for addr := range objectOf(doc, "nodes") {
		set[addr] = true
	}
	for _, v := range arrayOf(doc, "nodes") {
		node, _ := asObject(v)
		addr := stringOf(node, "host")
		if port, ok := number(node["port"]); ok {
			addr += ":" + luaNumber(port)
		}
		set[addr] = true
	}
	return set
}
