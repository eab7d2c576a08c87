package apisix

import "strings"

// A Kind is a kind of document. Its text is the name in the paths of the Admin
// API and in the keys of the storage: "/apisix/admin/routes", "/apisix/routes/1".
type Kind string

// The kinds of APISIX that concern a gateway.
const (
	Routes    Kind = "routes"
	Services  Kind = "services"
	SSLs      Kind = "ssls"
	Upstreams Kind = "upstreams"
)

// Kinds are all kinds, sorted.
var Kinds = []Kind{Routes, Services, SSLs, Upstreams}

// Singular is what messages call one document of the kind: "route", "service",
// "ssl" or "upstream".
func (k Kind) Singular() string { return strings.TrimSuffix(string(k), "s") }
