package upstream

import (
	"math/rand/v2"
	"net"
	"net/http"
	"net/textproto"
	"regexp"
	"strings"

	"github.com/sallyport/sallyport/internal/hostname"
	"github.com/sallyport/sallyport/internal/reqvar"
	"github.com/sallyport/sallyport/internal/urlpath"
)

// A hashKey says what of a request is hashed: parts in a row.
type hashKey struct{ parts []keyPart }

// A keyPart is a variable, or text if it has no variable.
type keyPart struct {
	text     string
	variable string // its name, for Vars: "http_x_user"
	kind     varKind
	name     string // what is looked for in the request: "X-User"
}

type varKind int

const (
	varOther varKind = iota
	varHeader
	varArg
	varCookie
)

// What APISIX takes. The range A-z is its own.
var (
	hashVariable = regexp.MustCompile(`^((uri|server_name|server_addr|request_uri|remote_port|remote_addr|query_string|host|hostname|mqtt_client_id)|arg_[0-9a-zA-z_-]+)$`)
	hashField    = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)
	hashTemplate = regexp.MustCompile(`\\\$|\$\{\w+\}|\$\w+`)
)

func (u *Upstream) compileHashKey(fault faultFunc) {
	c := &u.config
	if c.Balancer != BalancerCHash {
		if c.HashOn != "" {
			fault("HashOn", `is %q, and is for the balancer "chash" only`, c.HashOn)
		}
		if c.HashKey != "" {
			fault("HashKey", `is %q, and is for the balancer "chash" only`, c.HashKey)
		}
		return
	}
	variables := func(names ...string) {
		for _, name := range names {
			u.hashKey.parts = append(u.hashKey.parts, newKeyPart(name))
		}
	}
	switch c.HashOn {
	case "", HashOnVars:
		if c.HashKey != "" && !hashVariable.MatchString(c.HashKey) {
			fault("HashKey", `is %q, and must be uri, request_uri, query_string, host, hostname, remote_addr, remote_port, server_addr, server_name, mqtt_client_id or arg_NAME: HashOn "vars_combinations" takes any variable`, c.HashKey)
		}
		variables(c.HashKey)
	case HashOnHeader, HashOnCookie:
		if c.HashKey != "" && !hashField.MatchString(c.HashKey) {
			fault("HashKey", "is %q, and must be letters, digits, - and _", c.HashKey)
		}
		if c.HashOn == HashOnCookie {
			variables("cookie_" + c.HashKey)
		} else {
			variables("http_" + strings.ToLower(strings.ReplaceAll(c.HashKey, "-", "_")))
		}
	case HashOnVarsCombinations:
		u.hashKey.parts = parseTemplate(c.HashKey)
		if c.HashKey != "" && !u.hashKey.hasVariable() {
			fault("HashKey", `is %q, in which there is no variable such as $uri or ${arg_id}`, c.HashKey)
		}
	case "consumer":
		fault("HashOn", `is "consumer", and there are none here: hash a header field or a variable by which clients differ`)
		return
	default:
		fault("HashOn", `is %q, and must be "vars", "header", "cookie" or "vars_combinations"`, c.HashOn)
		return
	}
	if c.HashKey == "" {
		fault("HashKey", `is empty, and the balancer "chash" needs one: "remote_addr" for example`)
	}
}

// newKeyPart reads the name of a variable.
func newKeyPart(variable string) keyPart {
	p := keyPart{variable: variable, name: variable}
	for _, prefix := range []struct {
		text string
		kind varKind
	}{{"http_", varHeader}, {"arg_", varArg}, {"cookie_", varCookie}} {
		if name, ok := strings.CutPrefix(variable, prefix.text); ok && name != "" {
			p.kind, p.name = prefix.kind, name
		}
	}
	if p.kind == varHeader {
		p.name = textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(p.name, "_", "-"))
	}
	return p
}

// parseTemplate reads a text with variables. A dollar sign behind a backslash begins
// none.
func parseTemplate(text string) (parts []keyPart) {
	literal := func(s string) {
		if s != "" {
			parts = append(parts, keyPart{text: s})
		}
	}
	at := 0
	for _, found := range hashTemplate.FindAllStringIndex(text, -1) {
		if text[found[0]] == '\\' {
			continue // stays a part of the text, as in APISIX
		}
		literal(text[at:found[0]])
		parts = append(parts, newKeyPart(strings.Trim(text[found[0]:found[1]], "${}")))
		at = found[1]
	}
	literal(text[at:])
	return parts
}

func (k *hashKey) hasVariable() bool {
	for i := range k.parts {
		if k.parts[i].variable != "" {
			return true
		}
	}
	return false
}

// hash returns the hash of a request's key.
func (k *hashKey) hash(req *http.Request, vars Vars) uint32 {
	sum, resolved := uint32(0), false
	for i := range k.parts {
		p := &k.parts[i]
		text := p.text
		if p.variable != "" {
			value, ok := p.value(req, vars)
			text, resolved = value, resolved || ok
		}
		sum = crcString(sum, text)
	}
	if resolved {
		return sum
	}
	if addr, ok := remoteAddr.value(req, vars); ok {
		return crcString(0, addr)
	}
	return rand.Uint32()
}

var remoteAddr = newKeyPart("remote_addr")

// value returns what a variable says. It is absent from vars or from the request; it
// is never looked for in both, which may be of two minds.
func (p *keyPart) value(req *http.Request, vars Vars) (value string, ok bool) {
	if vars != nil {
		return vars.Var(p.variable)
	}
	switch p.kind {
	case varHeader:
		return reqvar.Header(req, p.name)
	case varArg:
		value, ok = reqvar.Argument(req.URL.RawQuery, p.name)
		return reqvar.Decode(value), ok
	case varCookie:
		return reqvar.Cookie(req.Header["Cookie"], p.name)
	}
	switch p.name {
	case "uri":
		path, err := urlpath.Parse(urlpath.Raw(req))
		return path.Normal, err == nil
	case "request_uri":
		return reqvar.RequestURI(req), true
	case "args", "query_string":
		return req.URL.RawQuery, req.URL.RawQuery != "" || req.URL.ForceQuery
	case "request_method":
		return req.Method, true
	case "host":
		host := req.Host
		if host == "" {
			host = req.URL.Host
		}
		return hostname.CanonicalHost(host)
	case "remote_addr":
		host, _, err := net.SplitHostPort(req.RemoteAddr)
		return host, err == nil
	case "remote_port":
		_, port, err := net.SplitHostPort(req.RemoteAddr)
		return port, err == nil
	}
	return "", false
}
