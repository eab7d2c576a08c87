package apisix

import (
	"bytes"
	"crypto"
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

// pairs are those that are stored, and the keys by what they belong to. Each is parsed once,
// and only where a certificate is not found as it was written: a document has room for a
// thousand pairs.
type pairs struct {
	list  []pair
	keys  map[string]string // by public key; nil until it is needed
	texts map[string]string // by certificate, as it was written
}

// pairsOf returns the pairs of an ssl object.
func pairsOf(doc map[string]any) *pairs {
	p := &pairs{}
	if has(doc, "key") {
		p.list = append(p.list, pair{stringOf(doc, "cert"), stringOf(doc, "key")})
	}
	certs, keys := arrayOf(doc, "certs"), arrayOf(doc, "keys")
	for i := range min(len(certs), len(keys)) {
		cert, _ := certs[i].(string)
		key, _ := keys[i].(string)
		p.list = append(p.list, pair{cert, key})
	}
	return p
}

func restorePairs(doc, stored map[string]any, f *faults) map[string]any {
	pairs := pairsOf(stored)
	out := doc
	if isPlaceholder(doc["key"]) {
		out = shallow(doc)
		if key, ok := pairs.keyFor(stringOf(doc, "cert")); ok {
			out["key"] = key
		} else {
			*f = append(*f, noKey(pairs.list != nil).of("key")...)
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
		if key, ok := pairs.keyFor(cert); ok {
			restored[i] = key
		} else if len(*f) <= maxFaults {
			*f = append(*f, noKey(pairs.list != nil).item(i).of("keys")...)
		}
	}
	return out
}

// keyFor returns the key of the pair that has this certificate, or else of one that has
// its public key.
func (p *pairs) keyFor(cert string) (key string, ok bool) {
	if p.texts == nil {
		p.texts = map[string]string{}
		for _, pair := range p.list {
			putFirst(p.texts, pair.cert, pair.key)
		}
	}
	if key := p.texts[cert]; key != "" {
		return key, true
	}
	public := publicOfCertificate(cert)
	if public == "" {
		return "", false
	}
	if p.keys == nil {
		p.keys = map[string]string{}
		for _, pair := range p.list {
			putFirst(p.keys, publicOfCertificate(pair.cert), pair.key)
			// A stored key may be in order where the certificate beside it is a reference.
			putFirst(p.keys, publicOfKey(pair.key), pair.key)
		}
	}
	key, ok = p.keys[public]
	return key, ok
}

// putFirst puts a value into a map that has none for its key. The empty key and value stand
// for none.
func putFirst(m map[string]string, key, value string) {
	if _, ok := m[key]; !ok && key != "" && value != "" {
		m[key] = value
	}
}

// publicOfCertificate returns the public key of the first certificate of a text, in DER, or
// "".
func publicOfCertificate(text string) string {
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return ""
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return ""
		}
		return publicDER(leaf.PublicKey)
	}
}

// publicOfKey returns the public key of the first private key of a text, in DER, or "".
func publicOfKey(text string) string {
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return ""
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			if key := parseKey(block.Bytes); key != nil {
				return publicDER(key.Public())
			}
			return ""
		}
	}
}

func publicDER(key crypto.PublicKey) string {
	der, _ := x509.MarshalPKIXPublicKey(key) // nil if the kind of key is not known
	return string(der)
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
	var pairs pairs
	if has(before, "client_key") {
		pairs.list = []pair{{stringOf(before, "client_cert"), stringOf(before, "client_key")}}
	}
	key, ok := pairs.keyFor(stringOf(now, "client_cert"))
	if !ok {
		*f = append(*f, noKey(pairs.list != nil).of("client_key").of("tls")...)
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
