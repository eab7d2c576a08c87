package apisix

import (
	"fmt"
	"math"
	"time"

	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// An Object is a document turned into Configs.
type Object struct {
	Kind Kind
	ID   string

	// Enabled is false if the document is to have no effect: its status is 0, or it is an ssl
	// object of type client, which no server name leads to. Its Configs are then only for
	// inspection.
	Enabled bool

	// One of these is set, or, for a route or a service with an upstream of its own, Route and
	// Upstream; the Upstream then has the ID [InlineID]. The Route of a service holds what its
	// routes take from it: Hosts, Upstream, WebSocket and Headers.
	SSL      *ssl.Config
	Route    *route.Config
	Upstream *upstream.Config

	// Service is the id of the service that a route belongs to, or "". Its Config is
	// then the one that [Object.Under] returns.
	Service string

	// Warnings are sentences about what has no effect. Of what the Configs hold warn the
	// packages that they are for: see [InDocument].
	Warnings []string

	doc map[string]any
}

// InlineID returns the id of the upstream that is a part of the document of a kind
// and an id. It has a slash, which no id of a document has.
func InlineID(kind Kind, id string) string { return string(kind) + "/" + id }

// Decode validates a document and makes Configs of it. The id is that of the document,
// whatever the document says. The error is an [*Error].
//
// The Configs are only well-formed: the packages that they are for check their content.
// [Object.Translate] puts their errors into the terms of the document.
func Decode(kind Kind, id string, doc map[string]any) (*Object, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	if err := Validate(kind, doc); err != nil {
		return nil, err
	}
	o := &Object{Kind: kind, ID: id, Enabled: true, doc: doc}
	if status, ok := number(doc["status"]); ok && status == 0 {
		o.Enabled = false
	}
	var d decoding
	d.warnUnknown(schemas[kind], doc)
	switch kind {
	case Routes:
		d.route(o)
	case Services:
		d.service(o)
	case SSLs:
		d.ssl(o)
	case Upstreams:
		o.Upstream = d.upstream(id, doc)
	}
	if err := d.faults.err(inConfiguration); err != nil {
		return nil, err
	}
	o.Warnings = d.warnings
	return o, nil
}

// A decoding collects what there is to say about a document that is decoded. The
// document is valid: its values have the types that the schema says.
type decoding struct {
	faults   faults
	warnings []string

	// path is that of the object that is being read, as in "upstream.tls.".
	path string
}

// in decodes the part of the document that a property holds.
func (d *decoding) in(property string, decode func()) {
	faults, path := d.faults, d.path
	d.faults, d.path = nil, path+property+"."
	decode()
	d.faults, d.path = append(faults, d.faults.of(property)...), path
}

// refuse says that the value of a property is more than this version does.
func (d *decoding) refuse(property, format string, args ...any) {
	var f faults
	f.add(format, args...)
	d.faults = append(d.faults, f.of(property)...)
}

// warn says that a property has no effect.
func (d *decoding) warn(property, format string, args ...any) {
	d.warnings = append(d.warnings, d.path+property+" "+fmt.Sprintf(format, args...))
}

// unsupported ends what is said about something that APISIX does and we do not.
const unsupported = "is not supported by this version"

// pem returns a value in PEM, or nil if it is absent. References must have been resolved.
func (d *decoding) pem(doc map[string]any, property string) []byte {
	if !has(doc, property) {
		return nil
	}
	s := stringOf(doc, property)
	d.refuseReference(property, s)
	return []byte(s)
}

func (d *decoding) refuseReference(property, value string) {
	if isReference(value) {
		d.refuse(property, "the reference %s is not resolved", ShowReference(value))
	}
}

// maxInteger keeps integers, and sums of them, within an int.
const maxInteger = math.MaxInt32

// integer returns an integer property, or 0 if it is absent.
func (d *decoding) integer(doc map[string]any, property string) int {
	return d.toInteger(property, doc[property])
}

func (d *decoding) toInteger(property string, v any) int {
	n, _ := number(v)
	if math.Abs(n) > maxInteger {
		d.refuse(property, "%s is beyond %d", luaNumber(n), maxInteger)
		return 0
	}
	return int(n)
}

// seconds returns a property that is a number of seconds. It is at least
// a nanosecond, because zero means something else in a Config, and at most what
// a Duration holds: 292 years.
func seconds(doc map[string]any, property string) time.Duration {
	n, _ := number(doc[property])
	if n >= math.MaxInt64/float64(time.Second) {
		return math.MaxInt64
	}
	return max(time.Duration(n*float64(time.Second)), 1)
}

// timeouts returns the three of the property timeout.
func timeouts(doc map[string]any) (connect, send, read time.Duration) {
	t := objectOf(doc, "timeout")
	return seconds(t, "connect"), seconds(t, "send"), seconds(t, "read")
}

func stringsOf(doc map[string]any, property string) (list []string) {
	for _, s := range arrayOf(doc, property) {
		list = append(list, s.(string))
	}
	return list
}

// oneOrMany returns the string that one property holds or, without it, those of
// the array in the other.
func oneOrMany(doc map[string]any, one, many string) []string {
	if has(doc, one) {
		return []string{stringOf(doc, one)}
	}
	return stringsOf(doc, many)
}

// warnUnknown warns of properties that APISIX takes and does not know.
func (d *decoding) warnUnknown(s *schema, doc map[string]any) {
	for _, path := range s.unknown(doc, "") {
		d.warn(path, "is not known and has no effect")
	}
}
