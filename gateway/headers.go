package gateway

// This file says what of a client's header does not go on. It is asked for each field of
// each request, and so finds out soon that a name is an ordinary one. It stores nothing
// and allocates nothing. BenchmarkDrops keeps watch on time.

import (
	"net/http"
	"slices"

	"github.com/sallyport/sallyport/internal/fieldname"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
)

// An outgoing is the header of a request on its way to the target: what of the client's
// stays, and what the gateway writes.
type outgoing struct {
	arrival
	edits *route.Edits

	// fields are what the gateway writes, after what stays.
	fields []route.HeaderField

	// replaced are the names of fields that [Trace.RequestBegun] has set.
	replaced []string
}

// drops reports whether a field of the client's header does not go on: because it is not
// the client's to say, or because the gateway says it itself. The fields that concern one
// connection alone (RFC 9110, section 7.6.1) are the affair of whoever forwards.
func (o *outgoing) drops(name string) bool {
	if o.replaced != nil && o.replaces(name) {
		return true
	}
	switch o.kindOf(name) {
	case fieldOrdinary:
		return o.edits.Removes(name)
	case fieldForwarding:
		return !o.from.keeps(name) || o.edits.Removes(name)
	case fieldFraming:
		return !fieldname.IsPlain(name)
	default:
		return true
	}
}

// dropsTrailer is drops for a field of the trailer, in which no proxy is trusted.
func (o *outgoing) dropsTrailer(name string) bool {
	return o.kindOf(name) != fieldOrdinary || o.edits.Removes(name)
}

// write fills the fields for a request, the route that was found for it, and the client's
// identity, if it has one. clientCert is for routes that say nothing of it.
func (o *outgoing) write(req *route.Request, found *route.Match, identity *ssl.Identity, clientCert route.ClientCertHeaders) {
	o.fields = o.appendForwarding(o.fields)
	if identity != nil {
		if own := found.Route.ClientCert(); own != 0 {
			clientCert = own
		}
		o.fields = appendClientCert(o.fields, identity, clientCert)
	}
	if o.edits != nil {
		// The route has the last word.
		o.fields = slices.DeleteFunc(o.fields, func(f route.HeaderField) bool { return o.edits.Removes(f.Name) })
		o.fields = o.edits.Append(o.fields, req, found)
	}
}

// applyTo makes the header of the request for the target out of the client's.
func (o *outgoing) applyTo(h http.Header) {
	for name := range h {
		if o.drops(name) {
			delete(h, name)
		}
	}
	for _, f := range o.fields {
		h.Add(f.Name, f.Value)
	}
}

// A fieldKind is what the gateway thinks of a field that a client sends.
type fieldKind uint8

const (
	fieldOrdinary   fieldKind = iota
	fieldUnwanted             // never forwarded
	fieldFraming              // where a request ends, and what it is for; only as it is spelled
	fieldIdentity             // who the client is: one that sends it itself is lying
	fieldForwarding           // what a proxy saw, or who it let through
)

// A fieldRule says of a name, or of all that begin with it, what kind they are.
type fieldRule struct {
	folded string
	prefix bool
	kind   fieldKind
}

// fieldRules are all of them: the first that fits holds.
var fieldRules = []fieldRule{
	// HTTP2-Settings belongs to an upgrade that is not made (golang/go#80416), and
	// Proxy becomes HTTP_PROXY (CVE-2016-5385).
	{"http2-settings", false, fieldUnwanted},
	{"proxy", false, fieldUnwanted},

	// Spelled otherwise, these are nobody's: "Transfer_Encoding" is a transfer coding to
	// some, and a field like any other to us.
	{"content-length", false, fieldFraming},
	{"transfer-encoding", false, fieldFraming},
	{"connection", false, fieldFraming},
	{"upgrade", false, fieldFraming},

	// Fields in which gateways tell an origin who the client is.
	{"client-cert", false, fieldIdentity}, // RFC 9440
	{"client-cert-chain", false, fieldIdentity},
	{"x-forwarded-client-cert", false, fieldIdentity},     // Envoy
	{"x-forwarded-tls-client-cert", false, fieldIdentity}, // Traefik
	{"x-forwarded-tls-client-cert-info", false, fieldIdentity},
	{"x-client-verify", false, fieldIdentity}, // nginx and Apache recipes
	{"x-client-dn", false, fieldIdentity},
	{"x-client-cert", false, fieldIdentity},
	{"x-client-subject", false, fieldIdentity},
	{"x-client-issuer", false, fieldIdentity},
	{"x-client-serial", false, fieldIdentity},
	{"x-client-fingerprint", false, fieldIdentity},
	{"x-verified", false, fieldIdentity},
	{"ssl-client", false, fieldIdentity},
	{"x-client-cn", false, fieldIdentity},
	{"x-client-san", false, fieldIdentity},
	{"x-client-certificate", false, fieldIdentity},
	{"x-ssl-client", false, fieldIdentity},
	{"x-ssl-cert", false, fieldIdentity},
	{"x-ssl-issuer", false, fieldIdentity},
	{"x-arr-clientcert", false, fieldIdentity}, // IIS
	{"l5d-client-id", false, fieldIdentity},    // Linkerd

	// Families of such fields.
	{"x-ssl-client-", true, fieldIdentity}, // nginx's variables, and HAProxy's recipes
	{"ssl-client-", true, fieldIdentity},
	{"x-tls-client-", true, fieldIdentity},
	{"tls-client-", true, fieldIdentity},
	{"x-client-cert-", true, fieldIdentity},
	{"x-mtls-", true, fieldIdentity},
	{"x-amzn-mtls-", true, fieldIdentity}, // load balancers of AWS and Cloudflare
	{"cf-client-cert-", true, fieldIdentity},

	{"forwarded", false, fieldForwarding}, // RFC 7239
	{"x-forwarded", false, fieldForwarding},
	{"x-forwarded-", true, fieldForwarding},
	{"x-real-ip", false, fieldForwarding},
}

// rulesByLetter are the rules for the names that begin with a letter, and rulesOfX those
// for the names that begin with "x" by their third.
var rulesByLetter, rulesOfX = func() (first, third [26][]fieldRule) {
	for _, r := range fieldRules {
		if r.folded[0] == 'x' {
			third[r.folded[2]-'a'] = append(third[r.folded[2]-'a'], r)
		} else {
			first[r.folded[0]-'a'] = append(first[r.folded[0]-'a'], r)
		}
	}
	return first, third
}()

// kindOf returns what kind of field a name is, in any spelling: by the rules that there
// always are, or because some route tells of clients in it.
func (a *arrival) kindOf(name string) fieldKind {
	if a.identityNames.has(name) {
		return fieldIdentity
	}
	return kindOf(name)
}

// kindOf returns what kind of field a name is by the rules, in any spelling.
func kindOf(name string) fieldKind {
	if len(name) < len("proxy") { // the shortest
		return fieldOrdinary
	}
	rules, letter := &rulesByLetter, name[0]|0x20
	if letter == 'x' {
		rules, letter = &rulesOfX, name[2]|0x20
	}
	if letter -= 'a'; letter >= 26 { // or it is below, and wrapped around
		return fieldOrdinary
	}
	for i := range rules[letter] {
		r := &rules[letter][i]
		if (len(name) == len(r.folded) || r.prefix && len(name) > len(r.folded)) && fieldname.HasPrefix(name, r.folded) {
			return r.kind
		}
	}
	return fieldOrdinary
}
