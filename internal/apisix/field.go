package apisix

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// fields are the properties that the fields of the Configs come from. "#" stands
// for an index. Where there are two properties, the document has the one or the
// other: a single value, or an array.
var fields = map[Kind]map[string][2]string{
	SSLs: {
		"ID":                  {"id"},
		"Names":               {"sni", "snis"},
		"Names[#]":            {"sni", "snis[#]"},
		"Certificates":        {"cert"},
		"Client":              {"client"},
		"Client.CAPEM":        {"client.ca"},
		"Client.Depth":        {"client.depth"},
		"Client.SkipPaths":    {"client.skip_mtls_uri_regex"},
		"Client.SkipPaths[#]": {"client.skip_mtls_uri_regex[#]"},
		"MinVersion":          {"ssl_protocols"},
		"MaxVersion":          {"ssl_protocols"},
	},
	Routes: {
		"ID":              {"id"},
		"Hosts":           {"host", "hosts"},
		"Hosts[#]":        {"host", "hosts[#]"},
		"Paths":           {"uri", "uris"},
		"Paths[#]":        {"uri", "uris[#]"},
		"Methods":         {"methods"},
		"Methods[#]":      {"methods[#]"},
		"RemoteAddrs":     {"remote_addr", "remote_addrs"},
		"RemoteAddrs[#]":  {"remote_addr", "remote_addrs[#]"},
		"Disabled":        {"status"},
		"Priority":        {"priority"},
		"Upstream":        {"upstream_id", "upstream"},
		"WebSocket":       {"enable_websocket"},
		"Timeout":         {"timeout"},
		"Timeout.Connect": {"timeout.connect"},
		"Timeout.Send":    {"timeout.send"},
		"Timeout.Read":    {"timeout.read"},
	},
	Services: {
		"ID":       {"id"},
		"Hosts":    {"hosts"},
		"Hosts[#]": {"hosts[#]"},
		"Upstream": {"upstream_id", "upstream"},
	},
	Upstreams: {
		"ID":                        {"id"},
		"Scheme":                    {"scheme"},
		"Nodes":                     {"nodes"},
		"Nodes[#]":                  {"nodes[#]"},
		"Nodes[#].Host":             {"nodes[#].host"},
		"Nodes[#].Port":             {"nodes[#].port"},
		"Nodes[#].Weight":           {"nodes[#].weight"},
		"Nodes[#].Priority":         {"nodes[#].priority"},
		"Balancer":                  {"type"},
		"HashOn":                    {"hash_on"},
		"HashKey":                   {"key"},
		"Checks":                    {"checks"},
		"Checks.Active":             {"checks.active"},
		"Checks.Passive":            {"checks.passive"},
		"Checks.Active.Type":        {"checks.active.type"},
		"Checks.Active.Timeout":     {"checks.active.timeout"},
		"Checks.Active.Concurrency": {"checks.active.concurrency"},
		"Checks.Active.Host":        {"checks.active.host"},
		"Checks.Active.Port":        {"checks.active.port"},
		"Checks.Active.Method":      {"checks.active.http_method"},
		"Checks.Active.Path":        {"checks.active.http_path"},
		"Checks.Active.Header":      {"checks.active.req_headers"},
		"Checks.Active.Body":        {"checks.active.http_req_body"},
		"Checks.Active.DangerouslySkipServerVerify": {"checks.active.https_verify_certificate"},
		"Checks.Active.HealthyInterval":             {"checks.active.healthy.interval"},
		"Checks.Active.UnhealthyInterval":           {"checks.active.unhealthy.interval"},
		"Checks.Active.HealthyStatuses":             {"checks.active.healthy.http_statuses"},
		"Checks.Active.HealthyStatuses[#]":          {"checks.active.healthy.http_statuses[#]"},
		"Checks.Active.UnhealthyStatuses":           {"checks.active.unhealthy.http_statuses"},
		"Checks.Active.UnhealthyStatuses[#]":        {"checks.active.unhealthy.http_statuses[#]"},
		"Checks.Active.Successes":                   {"checks.active.healthy.successes"},
		"Checks.Active.HTTPFailures":                {"checks.active.unhealthy.http_failures"},
		"Checks.Active.TCPFailures":                 {"checks.active.unhealthy.tcp_failures"},
		"Checks.Active.Timeouts":                    {"checks.active.unhealthy.timeouts"},
		"Checks.Passive.HealthyStatuses":            {"checks.passive.healthy.http_statuses"},
		"Checks.Passive.HealthyStatuses[#]":         {"checks.passive.healthy.http_statuses[#]"},
		"Checks.Passive.UnhealthyStatuses":          {"checks.passive.unhealthy.http_statuses"},
		"Checks.Passive.UnhealthyStatuses[#]":       {"checks.passive.unhealthy.http_statuses[#]"},
		"Checks.Passive.Successes":                  {"checks.passive.healthy.successes"},
		"Checks.Passive.HTTPFailures":               {"checks.passive.unhealthy.http_failures"},
		"Checks.Passive.TCPFailures":                {"checks.passive.unhealthy.tcp_failures"},
		"Checks.Passive.Timeouts":                   {"checks.passive.unhealthy.timeouts"},
		"PassHost":                                  {"pass_host"},
		"Host":                                      {"upstream_host"},
		"Retries":                                   {"retries"},
		"RetryTimeout":                              {"retry_timeout"},
		"Timeout":                                   {"timeout"},
		"Timeout.Connect":                           {"timeout.connect"},
		"Timeout.Send":                              {"timeout.send"},
		"Timeout.Read":                              {"timeout.read"},
		"KeepAlive":                                 {"keepalive_pool"},
		"KeepAlive.Size":                            {"keepalive_pool.size"},
		"KeepAlive.IdleTimeout":                     {"keepalive_pool.idle_timeout"},
		"KeepAlive.Requests":                        {"keepalive_pool.requests"},
		"TLS":                                       {"tls"},
		"TLS.CAPEM":                                 {"tls"},
		"TLS.CertPEM":                               {"tls.client_cert_id", "tls.client_cert"},
		"TLS.KeyPEM":                                {"tls.client_key"},
		"TLS.DangerouslySkipServerVerify":           {"tls.verify"},
	},
}

var (
	indexes     = regexp.MustCompile(`\[(\d+)\]`)
	certificate = regexp.MustCompile(`^Certificates\[(\d+)\](?:\.(CertPEM|KeyPEM))?$`)
)

// FieldName returns the property of a document that a field of its Config comes from:
// "client.ca" for "Client.CAPEM", "key" for "Certificates[0].KeyPEM", "uri" or "uris[1]",
// whichever the document has, for "Paths[1]". Indexes count from 0, as in Go. A field of
// the upstream inside a route or a service begins with "Upstream.". A field that has no
// property is returned as it is.
func FieldName(kind Kind, doc map[string]any, field string) string {
	if inner, ok := strings.CutPrefix(field, "Upstream."); ok && kind != Upstreams {
		return "upstream." + FieldName(Upstreams, objectOf(doc, "upstream"), inner)
	}
	if m := certificate.FindStringSubmatch(field); m != nil && kind == SSLs {
		return pairName(m[1], m[2])
	}
	if rest, ok := strings.CutPrefix(field, "Vars"); ok && kind == Routes {
		return "vars" + rest
	}
	if rest, ok := strings.CutPrefix(field, "Headers"); ok && (kind == Routes || kind == Services) {
		name := "plugins." + Plugin + ".headers"
		if headers := objectOf(objectOf(objectOf(doc, "plugins"), Plugin), "headers"); isEditsForm(headers) {
			part, _, _ := strings.Cut(rest, "[")
			name += strings.ToLower(part)
		}
		return name
	}
	names, ok := fields[kind][indexes.ReplaceAllString(field, "[#]")]
	if !ok {
		return field
	}
	name := names[0]
	if names[1] != "" && !hasPath(doc, names[0]) {
		name = names[1]
	}
	m := indexes.FindStringSubmatch(field)
	if m == nil {
		return name
	}
	if rest, ok := strings.CutPrefix(name, "nodes[#]"); ok {
		// In an object, the node is the key.
		if keys := sortedKeys(objectOf(doc, "nodes")); len(keys) > 0 {
			if i, err := strconv.Atoi(m[1]); err == nil && i < len(keys) {
				return "nodes[" + quote(keys[i]) + "]"
			}
		}
		return "nodes[" + m[1] + "]" + rest
	}
	return strings.Replace(name, "#", m[1], 1)
}

// hasPath reports whether a document has a property, as in "tls.client_cert_id".
func hasPath(doc map[string]any, path string) bool {
	parent, rest, below := strings.Cut(path, ".")
	if below {
		return hasPath(objectOf(doc, parent), rest)
	}
	return has(doc, path)
}

// pairName names a part of the certificate with an index. The first is not in the
// arrays.
func pairName(index, part string) string {
	name := "cert"
	if part == "KeyPEM" {
		name = "key"
	}
	i, err := strconv.Atoi(index)
	if err != nil || i == 0 {
		return name
	}
	return fmt.Sprintf("%ss[%d]", name, i-1)
}

// Translate puts what is wrong with the Configs of an object into the terms of its
// document: each [ssl.ConfigError], [route.ConfigError] and [upstream.ConfigError]
// that err joins and that is about one of them. Other errors are repeated as they
// are. It returns nil for nil, else an [*Error].
func (o *Object) Translate(err error) error {
	if err == nil {
		return nil
	}
	var f faults
	for _, leaf := range leaves(err) {
		if len(f) > maxFaults {
			break // more than will be told, and to name the node of each takes all nodes
		}
		field, reason := o.fieldOf(leaf)
		if field == "" {
			f.add("%s", leaf)
			continue
		}
		name := FieldName(o.Kind, o.doc, field)
		var vars interface {
			APISIXText() string
			Hint() string
		}
		if errors.As(reason, &vars) && vars.APISIXText() != "" {
			f = append(f, fault{inVars + vars.APISIXText(), name + ": " + vars.Hint()})
			continue
		}
		f.add(`property "%s" validation failed: %s`, name, reason)
		if m := certificate.FindStringSubmatch(field); m != nil && m[2] == "KeyPEM" {
			f[len(f)-1].hint = `"openssl x509 -noout -pubkey -in CERT" and "openssl pkey -pubout -in KEY" print the same for a certificate and its key`
		}
	}
	if !slices.ContainsFunc(f, func(f fault) bool { return !strings.HasPrefix(f.text, inVars) }) {
		return f.err("")
	}
	return f.err(inConfiguration)
}

// inVars begins every text about vars. It alone has nothing before it.
const inVars = "failed to validate the 'vars' expression: "

// fieldOf returns the field of a Config of the object that an error is about. It
// is "" if it is about something else.
func (o *Object) fieldOf(err error) (field string, reason error) {
	var (
		inSSL      *ssl.ConfigError
		inRoute    *route.ConfigError
		inUpstream *upstream.ConfigError
	)
	switch {
	case errors.As(err, &inSSL) && o.SSL != nil && inSSL.ID == o.ID:
		return inSSL.Field, inSSL.Err
	case errors.As(err, &inRoute) && o.Route != nil && inRoute.ID == o.ID:
		return inRoute.Field, inRoute.Err
	case errors.As(err, &inUpstream) && o.Upstream != nil && inUpstream.ID == o.Upstream.ID:
		if o.Kind != Upstreams {
			return "Upstream." + inUpstream.Field, inUpstream.Err
		}
		return inUpstream.Field, inUpstream.Err
	}
	return "", nil
}

// InDocument puts what there is to say of a field of a Config, such as a warning, into the
// terms of its document: the text, after the property that the field comes from, or alone if
// there is no field.
func InDocument(kind Kind, doc map[string]any, field, text string) string {
	if field == "" {
		return text
	}
	return FieldName(kind, doc, field) + ": " + text
}

// leaves returns the errors that err joins, down to those that name a field and
// those that join nothing.
func leaves(err error) (out []error) {
	var field interface{ FieldPath() string }
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			out = append(out, leaves(inner)...)
		}
		return out
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); errors.As(inner, &field) {
			return leaves(inner)
		}
	}
	return []error{err}
}
