package adminapi

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"sync"
	"time"

	"github.com/sallyport/sallyport/internal/apisix"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
)

// This file is what happens to stored documents that cannot be used, and never could. They
// must not open what they were to close: a wildcard would answer for the names of an ssl
// object, perhaps without asking for a certificate, and a less specific route for the
// requests of one whose plugin, which is not here, was to let few people in.

// refuse makes of the edit of such a document one that refuses what it was to serve, or, if
// it is to serve nothing, one that takes away what refuses in its place, which there is if
// refused is set. It reports whether there is anything to do.
func (e *edit) refuse(refused bool) bool {
	if e.old != nil || e.refuses {
		return false
	}
	off := e.doc["status"] == 0.0 || e.kind == apisix.SSLs && e.doc["type"] == "client"
	var o *apisix.Object
	switch {
	case e.kind == apisix.Routes:
		if o = e.refuseRequests(); o != nil {
			o.Route.Disabled = off // it keeps its place among the routes of equal rank
		}
	case off:
	case e.kind == apisix.SSLs:
		o = e.refuseNames()
	case e.kind == apisix.Services:
		o = e.refuseHosts()
	}
	if o == nil && !(off && refused) {
		return false
	}
	e.decoded, e.refuses, e.unreadable, e.doc = o, true, nil, nil
	return true
}

// matching are the properties of a route that say which requests are its.
var matching = []string{"uri", "uris", "host", "hosts", "methods", "remote_addr", "remote_addrs", "vars", "priority", "service_id"}

// refuseRequests returns a route that answers 503 to the requests of one. It is nil where it
// is not known which they are.
func (e *edit) refuseRequests() *apisix.Object {
	if _, filtered := e.doc["filter_func"]; filtered {
		return nil
	}
	doc := map[string]any{"upstream": map[string]any{"nodes": map[string]any{}}}
	for _, name := range matching {
		if v, ok := e.doc[name]; ok {
			doc[name] = v
		}
	}
	o, err := apisix.Decode(apisix.Routes, e.id, doc)
	if err != nil {
		return nil
	}
	o.Upstream = nil
	o.Route.Upstream, o.Route.Handler = "", unserved{http.StatusServiceUnavailable, "the stored route for this request cannot be used"}
	if _, err := route.New(*o.Route); err != nil {
		return nil
	}
	return o
}

// refuseHosts returns a service whose routes answer 503. If it were as if there was none,
// they would answer at every host, and not only at those of the service. It is nil where those
// are not known.
func (e *edit) refuseHosts() *apisix.Object {
	if e.unreadable != nil {
		return nil
	}
	doc := map[string]any{}
	if hosts, ok := e.doc["hosts"]; ok {
		doc["hosts"] = hosts
	}
	o, err := apisix.Decode(apisix.Services, e.id, doc)
	if err != nil || checkService(o) != nil {
		return nil
	}
	o.Route.Handler = unserved{http.StatusServiceUnavailable, "the stored service of the route cannot be used"}
	return o
}

// refuseNames returns an ssl object that refuses every handshake for the names of one.
func (e *edit) refuseNames() *apisix.Object {
	names := []any{e.doc["sni"]}
	if snis, ok := e.doc["snis"].([]any); ok {
		names = append(names, snis...)
	}
	c := ssl.Config{ID: e.id, Certificates: []ssl.KeyPair{nobody()}, Client: &ssl.ClientAuth{
		CAPEM: nobody().CertPEM, HideCAs: true, AuthorizeID: "nobody",
		Authorize: func(context.Context, *ssl.Identity) error { return errNobody },
	}}
	for _, v := range names {
		name, _ := v.(string)
		one := c
		if one.Names = []string{name}; len(c.Names) < maxRefused {
			if _, err := ssl.New(one); err == nil {
				c.Names = append(c.Names, name)
			}
		}
	}
	if c.Names == nil {
		return nil
	}
	return &apisix.Object{Kind: apisix.SSLs, ID: e.id, Enabled: true, SSL: &c}
}

// maxRefused bounds what a document that nobody has checked can occupy.
const maxRefused = 1000

var errNobody = errors.New("the stored ssl object for this name cannot be used")

// nobody returns a certificate whose key has signed no other, and is kept nowhere. A name
// that takes the clients of its CA alone takes none.
var nobody = sync.OnceValue(func() ssl.KeyPair {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic("adminapi: internal error: " + err.Error())
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "no usable certificate"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic("adminapi: internal error: " + err.Error())
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic("adminapi: internal error: " + err.Error())
	}
	return ssl.KeyPair{
		CertPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		KeyPEM:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
	}
})
