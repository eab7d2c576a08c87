package ssltest_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

func ExampleCA_CRL() {
	ca := ssltest.NewCA(&testing.T{}, "people") // yours is the test's own t
	alice := ca.Client("alice")
	block, _ := pem.Decode(ca.CRL(time.Now().Add(time.Hour), alice.Leaf))
	list, err := x509.ParseRevocationList(block.Bytes)
	if err != nil {
		panic(err)
	}
	fmt.Println(list.CheckSignatureFrom(ca.Certificate()))
	fmt.Println(list.RevokedCertificateEntries[0].SerialNumber.Cmp(alice.Leaf.SerialNumber) == 0)
	// Output:
	// <nil>
	// true
}

// The test of a handler alone, without a server.
func ExampleCA_Identity() {
	hello := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "Hello, %s.", ssl.FromContext(r.Context()).Certificate().Subject.CommonName)
	}
	people := ssltest.NewCA(&testing.T{}, "people") // yours is the test's own t
	r := httptest.NewRequest("GET", "/hello", nil)
	r = r.WithContext(ssl.NewContext(r.Context(), people.Identity("alice")))
	w := httptest.NewRecorder()
	hello(w, r)
	fmt.Println(w.Body)
	// Output: Hello, alice.
}

func ExampleURIs() {
	ca := ssltest.NewCA(&testing.T{}, "people")
	alice := ca.Client("alice", ssltest.URIs("spiffe://example.org/alice"), ssltest.DNSNames("alice.test"))
	fmt.Println(alice.Leaf.URIs, alice.Leaf.DNSNames)
	// Output:
	// [spiffe://example.org/alice] [alice.test]
}

func ExampleDNSNames() {
	ca := ssltest.NewCA(&testing.T{}, "people")
	fmt.Println(ca.Client("alice", ssltest.DNSNames("alice.test")).Leaf.DNSNames)
	// Output:
	// [alice.test]
}

// The session of one name, offered at every other.
func ExampleSessionCache() {
	var stolen ssltest.SessionCache
	at := func(name string) *tls.Config {
		config := ssltest.ClientConfig(name)
		config.ClientSessionCache = &stolen
		return config
	}
	at("a.test").ClientSessionCache.Put("a.test", &tls.ClientSessionState{})
	_, ok := at("b.test").ClientSessionCache.Get("b.test")
	fmt.Println(ok)
	// Output:
	// true
}

func ExampleClientHello() {
	hello := ssltest.ClientHello(&testing.T{}, "evil\x00name.test")
	fmt.Println(bytes.Contains(hello, []byte("evil\x00name.test")))
	// In records of one byte each, as TLS allows.
	fmt.Println(len(ssltest.Fragment(hello, 1)) == 6*(len(hello)-5))
	// Output:
	// true
	// true
}
