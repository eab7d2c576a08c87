package apisix

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
)

// Document returns a decoded request body as a document. A document is a JSON
// object; an empty array is an empty one.
func Document(body any) (map[string]any, error) {
	m, ok := asObject(body)
	switch {
	case !ok:
		return nil, objectSchema.check(body).err(inConfiguration)
	case m == nil:
		return map[string]any{}, nil
	}
	return m, nil
}

// ValidateSchema refuses what the schema of a kind does not allow, and nothing else. The
// text of the error is that of the schema alone.
func ValidateSchema(kind Kind, doc any) error {
	if _, ok := asObject(doc); !ok {
		return objectSchema.check(doc).err("") // to say what its properties should be does not help
	}
	return schemas[kind].check(doc).err("")
}

// Validate refuses what APISIX refuses to store: by the schema of the kind, then by rules
// that no schema can express, then PEM that cannot be read. The error is an [*Error]. It
// does not check what depends on other documents, such as an upstream_id that names
// nothing.
//
// As in APISIX, it does not check whether a key belongs to its certificate, or whether a
// regular expression compiles: the packages that the Configs are for do that.
func Validate(kind Kind, doc map[string]any) error {
	switch kind {
	case Routes:
		return validateRoute(doc)
	case SSLs:
		return validateSSL(doc)
	case Upstreams:
		return validateUpstream(doc)
	case Services:
		return validateService(doc)
	default:
		return &Error{Text: "Unsupported resource type: " + show(string(kind))}
	}
}

func validateRoute(doc map[string]any) error {
	for _, pair := range []string{"host", "remote_addr"} {
		if has(doc, pair) && has(doc, pair+"s") {
			return &Error{Text: "only one of " + pair + " or " + pair + "s is allowed"}
		}
	}
	if err := routeSchema.check(doc).err(inConfiguration); err != nil {
		return err
	}
	return validateInline(doc)
}

func validateService(doc map[string]any) error {
	if err := serviceSchema.check(doc).err(inConfiguration); err != nil {
		return err
	}
	return validateInline(doc)
}

// validateInline looks at the upstream that a document holds itself.
func validateInline(doc map[string]any) error {
	if !has(doc, "upstream") {
		return nil
	}
	up, _ := asObject(doc["upstream"])
	if err := checkIPv6Nodes(up, "upstream."); err != nil {
		return err
	}
	return checkUpstream(up, "upstream.").err("")
}

func validateUpstream(doc map[string]any) error {
	if err := checkIPv6Nodes(doc, ""); err != nil {
		return err
	}
	if err := upstreamSchema.check(doc).err(inConfiguration); err != nil {
		return err
	}
	return checkUpstream(doc, "").err("")
}

// checkIPv6Nodes refuses addresses in which one cannot tell the port. path is that of the
// upstream, as in "upstream.".
func checkIPv6Nodes(doc map[string]any, path string) error {
	bare := &Error{
		Text: inConfiguration + "IPv6 address must be enclosed with '[' and ']'",
		Hint: path + "nodes: as in [::1], or [::1]:80 with a port",
	}
	for _, node := range arrayOf(doc, "nodes") {
		node, _ := asObject(node)
		if isBareIPv6(stringOf(node, "host")) {
			return bare
		}
	}
	if slices.ContainsFunc(sortedKeys(objectOf(doc, "nodes")), isBareIPv6) {
		return bare
	}
	return nil
}

func isBareIPv6(s string) bool {
	addr, err := netip.ParseAddr(s)
	return err == nil && addr.Is6() && addr.Zone() == ""
}

// checkUpstream checks what the schema of an upstream cannot say. The document
// fits the schema. Most of APISIX's words for it name no property: the hints do, by path.
func checkUpstream(doc map[string]any, path string) (f faults) {
	for _, addr := range sortedKeys(objectOf(doc, "nodes")) {
		if _, port := splitNode(addr); isDigits(port) && len(f) <= maxFaults {
			if n, _ := strconv.ParseFloat(port, 64); n < 1 || n > 65535 {
				f = append(f, fault{"invalid port " + luaNumber(n), path + "nodes[" + quote(addr) + "]: a port is 1 to 65535"})
			}
		}
	}
	if doc["type"] == "chash" {
		f = append(f, checkHash(doc).hinted(path+"key")...)
	}
	if doc["pass_host"] == "rewrite" && stringOf(doc, "upstream_host") == "" {
		f = append(f, fault{"`upstream_host` can't be empty when `pass_host` is `rewrite`", path + "upstream_host: give the host that the nodes are to see"})
	}
	if tls := objectOf(doc, "tls"); has(tls, "client_cert") {
		cert, key := stringOf(tls, "client_cert"), stringOf(tls, "client_key")
		if !isReference(cert) && !isReference(key) {
			f = append(f, checkCertificates(cert).hinted(path+"tls.client_cert")...)
			f = append(f, checkKey(key).hinted(path+"tls.client_key")...)
		}
	}
	return f
}

// What a key of chash may be, as APISIX has it: the range A-z is its own.
var (
	hashVariables = regexp.MustCompile(`^((uri|server_name|server_addr|request_uri|remote_port|remote_addr|query_string|host|hostname|mqtt_client_id)|arg_[0-9a-zA-z_-]+)$`)
	hashFields    = regexp.MustCompile(`^[a-zA-Z0-9-_]+$`)
)

// checkHash checks the key by which chash chooses a node. The hints are about that property.
func checkHash(doc map[string]any) (f faults) {
	on, key := stringOf(doc, "hash_on"), stringOf(doc, "key")
	if !has(doc, "key") {
		if on != "consumer" {
			f = append(f, fault{"missing key", `the type "chash" needs one: "remote_addr", or with the hash_on "header" the name of a header field`})
		}
		return f
	}
	pattern, hint := hashFields, "it is a name of letters, digits, hyphens and underscores"
	switch on {
	case "", "vars":
		pattern, hint = hashVariables, `it is a variable such as "remote_addr", "uri" or "arg_user", or with the hash_on "header" or "cookie" any name`
	case "header", "cookie":
	default:
		return nil
	}
	if !pattern.MatchString(key) {
		f = append(f, fault{fmt.Sprintf("%sfailed to match pattern %s with %s", inConfiguration, quote(pattern.String()), quote(key)), hint})
	}
	return f
}

func validateSSL(doc map[string]any) error {
	if err := sslSchema.check(doc).err(inConfiguration); err != nil {
		return err
	}
	f := checkPair(stringOf(doc, "cert"), stringOf(doc, "key"))
	if doc["type"] == "client" {
		return f.err("")
	}
	certs, keys := arrayOf(doc, "certs"), arrayOf(doc, "keys")
	if len(certs) != len(keys) {
		f.add("mismatched number of certs and keys")
	} else {
		for i := range certs {
			if len(f) > maxFaults {
				break
			}
			f = append(f, checkPair(certs[i].(string), keys[i].(string)).in(fmt.Sprintf("failed to handle cert-key pair[%d]: ", i+1))...)
		}
	}
	if client := objectOf(doc, "client"); client != nil {
		if ca := stringOf(client, "ca"); !isReference(ca) {
			f = append(f, checkCertificates(ca).in("failed to validate client_cert: ").hinted("client.ca")...)
		}
	}
	return f.err("")
}
