package apisix

import (
	"slices"

	"github.com/sallyport/sallyport/upstream"
)

func (d *decoding) upstream(id string, doc map[string]any) *upstream.Config {
	d.refuseUpstream(doc)
	c := &upstream.Config{
		ID:       id,
		Scheme:   upstream.Scheme(stringOf(doc, "scheme")),
		Nodes:    d.nodes(doc),
		Balancer: upstream.Balancer(stringOf(doc, "type")),
		Retries:  d.integer(doc, "retries"),
	}
	if c.Balancer == upstream.BalancerCHash { // for others they have no effect
		c.HashOn, c.HashKey = upstream.HashOn(stringOf(doc, "hash_on")), stringOf(doc, "key")
	}
	if has(doc, "retries") && c.Retries == 0 {
		c.Retries = upstream.NoRetries
	}
	// Here zero means none, as in a Config.
	if n, _ := number(doc["retry_timeout"]); n > 0 {
		c.RetryTimeout = seconds(doc, "retry_timeout")
	}
	if has(doc, "timeout") {
		c.Timeout.Connect, c.Timeout.Send, c.Timeout.Read = timeouts(doc)
	}
	d.in("keepalive_pool", func() { c.KeepAlive = d.keepAlive(objectOf(doc, "keepalive_pool")) })

	if has(doc, "checks") {
		d.in("checks", func() { c.Checks = d.checks(objectOf(doc, "checks")) })
	}
	switch doc["pass_host"] {
	case "node":
		c.PassHost = upstream.PassNode
	case "rewrite":
		c.PassHost = upstream.PassRewrite
		c.Host = stringOf(doc, "upstream_host")
	}
	if has(doc, "upstream_host") && c.PassHost != upstream.PassRewrite {
		d.warn("upstream_host", `has no effect: pass_host is not "rewrite"`)
	}

	if c.Scheme == upstream.SchemeHTTPS || c.Scheme == upstream.SchemeGRPCS {
		d.in("tls", func() { c.TLS = d.upstreamTLS(objectOf(doc, "tls")) })
	} else if len(objectOf(doc, "tls")) > 0 {
		d.warn("tls", `has no effect: scheme is not "https" or "grpcs"`)
	}
	return c
}

// refuseUpstream refuses what APISIX does for an upstream and we do not.
func (d *decoding) refuseUpstream(doc map[string]any) {
	switch scheme := stringOf(doc, "scheme"); scheme {
	case "", "http", "https", "grpc", "grpcs":
	default:
		d.refuse("scheme", `%s %s: "http", "https", "grpc" and "grpcs" are`, quote(scheme), unsupported)
	}
	// An unknown type is taken by APISIX, and every request then fails.
	if typ, ok := doc["type"].(string); ok && !slices.Contains(balancers, typ) {
		d.refuse("type", `%s %s: "roundrobin", "chash", "least_conn" and "ewma" are`, quote(typ), unsupported)
	}
	for _, property := range []string{"service_name", "discovery_type", "discovery_args"} {
		if has(doc, property) {
			d.refuse(property, "service discovery %s: list the nodes", unsupported)
		}
	}
	if has(objectOf(doc, "tls"), "client_cert_id") {
		d.in("tls", func() {
			d.refuse("client_cert_id", "the ssl object is not put in its place")
		})
	}
}

var balancers = []string{"roundrobin", "chash", "least_conn", "ewma"}

// nodes returns the nodes. An object has no order: its nodes come sorted.
func (d *decoding) nodes(doc map[string]any) (nodes []upstream.Node) {
	weights := objectOf(doc, "nodes")
	for _, addr := range sortedKeys(weights) {
		host, port := splitNode(addr)
		n := upstream.Node{Host: host, Weight: d.toInteger("nodes", weights[addr])}
		switch {
		case isDigits(port):
			for _, c := range port { // at most 65535: Validate saw to it
				n.Port = 10*n.Port + int(c-'0')
			}
		case host != addr:
			d.refuse("nodes", `%s: the port is no number from 1 to 65535`, quote(addr))
		}
		nodes = append(nodes, n)
	}
	for _, v := range arrayOf(doc, "nodes") {
		m, _ := asObject(v)
		n := upstream.Node{
			Host:     stringOf(m, "host"),
			Port:     d.integer(m, "port"),
			Weight:   d.toInteger("nodes", m["weight"]),
			Priority: d.toInteger("nodes", m["priority"]),
		}
		nodes = append(nodes, n)
	}
	return nodes
}

func (d *decoding) keepAlive(doc map[string]any) (k upstream.KeepAlive) {
	k.Size = d.integer(doc, "size")
	k.Requests = d.integer(doc, "requests")
	if has(doc, "idle_timeout") {
		k.IdleTimeout = seconds(doc, "idle_timeout")
	}
	return k
}

func (d *decoding) upstreamTLS(doc map[string]any) upstream.TLS {
	verify, _ := doc["verify"].(bool)
	return upstream.TLS{
		CertPEM:                     d.pem(doc, "client_cert"),
		KeyPEM:                      d.pem(doc, "client_key"),
		DangerouslySkipServerVerify: !verify,
	}
}
