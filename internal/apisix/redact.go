package apisix

import (
	"github.com/sallyport/sallyport/internal/secret"
)

// Redact returns a copy of a document that may be shown: in place of private keys it has
// "[redacted]". Those are key and keys of an ssl object, client_key of an upstream, and
// every other string that contains a private key in PEM. A reference is shown: it says
// where a key is. The copy shares nothing with the document.
func Redact(kind Kind, doc map[string]any) map[string]any {
	out := copyObject(doc)
	switch kind {
	case SSLs:
		hide(out, "key")
		if keys, ok := out["keys"].([]any); ok {
			for i := range keys {
				keys[i] = hiddenKey(keys[i])
			}
		} else {
			hide(out, "keys")
		}
	case Upstreams:
		hideClientKey(out)
	default:
		if up, ok := out["upstream"].(map[string]any); ok {
			hideClientKey(up)
		}
	}
	return out
}

func hideClientKey(upstream map[string]any) {
	if tls, ok := upstream["tls"].(map[string]any); ok {
		hide(tls, "client_key")
	}
}

// hide replaces a property, whatever its type.
func hide(doc map[string]any, property string) {
	if has(doc, property) {
		doc[property] = hiddenKey(doc[property])
	}
}

// hiddenKey returns what is shown of a key, whatever its type.
func hiddenKey(v any) any {
	if s, ok := v.(string); ok && isReference(s) && plainReference.MatchString(s) {
		return s
	}
	return secret.Redacted
}

func copyObject(m map[string]any) map[string]any {
	if m == nil {
		return nil
	}
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[hidden(k)] = copyValue(v)
	}
	return out
}

func copyValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		return copyObject(v)
	case []any:
		if v == nil {
			return v
		}
		out := make([]any, len(v))
		for i := range v {
			out[i] = copyValue(v[i])
		}
		return out
	case string:
		return hidden(v)
	}
	return v
}

func hidden(s string) string {
	if secret.In(s) {
		return secret.Redacted
	}
	return s
}
