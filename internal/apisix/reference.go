package apisix

import (
	"maps"
	"regexp"
	"strings"
)

// This file is about values that are kept elsewhere: "$env://CERT" and
// "$secret://vault/1/cert" in place of PEM.

// isReference reports whether a value stands for another, which is kept elsewhere:
// "$secret://vault/1/cert" or "$env://CERT". APISIX takes "$ENV://" as well.
func isReference(s string) bool {
	return strings.HasPrefix(s, "$secret://") || IsEnvReference(s)
}

// IsEnvReference reports whether a value names an environment variable.
func IsEnvReference(s string) bool {
	const env = "$env://"
	return len(s) >= len(env) && strings.EqualFold(s[:len(env)], env)
}

// plainReference is a reference that may be shown: it names where a secret is, and has
// no room for one.
var plainReference = regexp.MustCompile(`^\$(?i:env|secret)://[A-Za-z0-9_./-]{1,128}$`)

// ShowReference returns a reference for an error or a log.
func ShowReference(s string) string {
	if plainReference.MatchString(s) {
		return s
	}
	prefix, _, _ := strings.Cut(s, "://")
	return show(prefix) + "://..."
}

// Resolve returns a document in which references are replaced by what they stand for, as
// resolve returns it. Without references it returns the document itself. The error is an
// [*Error] that names the properties.
func Resolve(kind Kind, doc map[string]any, resolve func(reference string) (string, error)) (map[string]any, error) {
	var f faults
	found := false
	of := func(v any, wrap func(faults) faults) any {
		s, ok := v.(string)
		if !ok || !isReference(s) {
			return v
		}
		found = true
		text, err := resolve(s)
		if err != nil {
			var one faults
			one.add("failed to resolve %s: %s", ShowReference(s), show(err.Error()))
			f = append(f, wrap(one)...)
			return v
		}
		return text
	}
	property := func(out map[string]any, name string, wrap func(faults) faults) {
		if has(out, name) {
			out[name] = of(out[name], func(f faults) faults { return wrap(f.of(name)) })
		}
	}
	plain := func(f faults) faults { return f }
	out := shallow(doc)
	switch kind {
	case SSLs:
		property(out, "cert", plain)
		property(out, "key", plain)
		if doc["type"] == "client" {
			break // nothing looks at the rest
		}
		for _, name := range []string{"certs", "keys"} {
			list, ok := out[name].([]any)
			if !ok {
				continue
			}
			replaced := make([]any, len(list))
			for i, v := range list {
				replaced[i] = of(v, func(f faults) faults { return f.item(i).of(name) })
			}
			out[name] = replaced
		}
		if client, ok := out["client"].(map[string]any); ok {
			client = shallow(client)
			out["client"] = client
			property(client, "ca", func(f faults) faults { return f.of("client") })
		}
	default:
		within := plain
		up := out
		if kind != Upstreams {
			inline, ok := out["upstream"].(map[string]any)
			if !ok {
				break
			}
			up = shallow(inline)
			out["upstream"] = up
			within = func(f faults) faults { return f.of("upstream") }
		}
		if tls, ok := up["tls"].(map[string]any); ok {
			tls = shallow(tls)
			up["tls"] = tls
			for _, name := range []string{"client_cert", "client_key"} {
				property(tls, name, func(f faults) faults { return within(f.of("tls")) })
			}
		}
	}
	if err := f.err(inConfiguration); err != nil {
		return nil, err
	}
	if !found {
		return doc, nil
	}
	return out, nil
}

// shallow returns a copy of an object that shares what is in it.
func shallow(m map[string]any) map[string]any {
	out := make(map[string]any, len(m))
	maps.Copy(out, m)
	return out
}

// HasReferences reports whether Resolve would ask for anything.
func HasReferences(kind Kind, doc map[string]any) bool {
	asked := false
	_, _ = Resolve(kind, doc, func(string) (string, error) { asked = true; return "", nil })
	return asked
}
