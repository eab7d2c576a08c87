package ssl_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// greet starts a server with one profile, that greets its clients, and returns
// how a client fares.
func greet(config ssl.Config) (visit func(tls.Certificate) string, stop func()) {
	store, err := ssl.NewStore(nil)
	if err != nil {
		panic(err)
	}
	if _, err := store.Put(config); err != nil {
		panic(err)
	}
	server := httptest.NewUnstartedServer(store.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "hello, ", ssl.FromContext(r.Context()).Subject())
	})))
	server.TLS = store.TLSConfig()
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	return func(cert tls.Certificate) string {
		client := ssltest.Client(&testing.T{}, server.Listener, config.Names[0], cert)
		res, err := client.Get("https://" + config.Names[0] + "/")
		if err != nil {
			return "refused"
		}
		defer res.Body.Close()
		text := make([]byte, 100)
		n, _ := res.Body.Read(text)
		client.CloseIdleConnections()
		return string(text[:n])
	}, server.Close
}

// Of all the clients of a CA, those of one part of a trust domain, and one by name.
func ExampleAllow() {
	t := &testing.T{} // certificates for an example; yours come from files
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	visit, stop := greet(ssl.Config{
		ID:           "1",
		Names:        []string{"a.test"},
		Certificates: []ssl.KeyPair{servers.Server("a.test")},
		Client: &ssl.ClientAuth{
			CAPEM: people.PEM(),
			Allow: &ssl.Allow{
				URIs:     []string{"spiffe://example.org/ns/billing/*"},
				DNSNames: []string{"*.ops.test"},
			},
		},
	})
	defer stop()
	fmt.Println(visit(people.Client("invoices", ssltest.URIs("spiffe://example.org/ns/billing/invoices"))))
	fmt.Println(visit(people.Client("shipping", ssltest.URIs("spiffe://example.org/ns/shipping/parcels"))))
	fmt.Println(visit(people.Client("admin", ssltest.DNSNames("alice.ops.test"))))
	// The common name counts only where CommonNames names it.
	fmt.Println(visit(people.Client("alice.ops.test")))
	// Output:
	// hello, CN=invoices
	// refused
	// hello, CN=admin
	// refused
}

// A revocation list refuses whom it names; once there is one, every issuer must
// have one.
func ExampleClientAuth_crls() {
	t := &testing.T{}
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	alice, bob := people.Client("alice"), people.Client("bob")
	visit, stop := greet(ssl.Config{
		ID:           "1",
		Names:        []string{"a.test"},
		Certificates: []ssl.KeyPair{servers.Server("a.test")},
		Client: &ssl.ClientAuth{
			CAPEM: people.PEM(),
			CRLs:  [][]byte{people.CRL(time.Now().Add(24*time.Hour), bob.Leaf)},
		},
	})
	defer stop()
	fmt.Println(visit(alice))
	fmt.Println(visit(bob))
	fmt.Println(visit(people.Intermediate("helpdesk").Client("carol"))) // no list of the helpdesk's
	// Output:
	// hello, CN=alice
	// refused
	// refused
}

// A rule of one's own, after all the others.
func ExampleClientAuth_authorize() {
	t := &testing.T{}
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	visit, stop := greet(ssl.Config{
		ID:           "1",
		Names:        []string{"a.test"},
		Certificates: []ssl.KeyPair{servers.Server("a.test")},
		Client: &ssl.ClientAuth{
			CAPEM: people.PEM(),
			Authorize: func(_ context.Context, i *ssl.Identity) error {
				if i.Certificate().NotAfter.Sub(i.Certificate().NotBefore) > 48*time.Hour {
					return errors.New("certificates must be short-lived")
				}
				return nil
			},
			// Sessions end when it changes: change it with the rule.
			AuthorizeID: "short-lived-48h",
		},
	})
	defer stop()
	fmt.Println(visit(people.Client("alice")))
	fmt.Println(visit(people.Client("bob", ssltest.Until(time.Now().AddDate(1, 0, 0)))))
	// Output:
	// hello, CN=alice
	// refused
}

// A chain that was verified once costs no signatures a second time.
func ExampleClientAuth_cacheVerified() {
	t := &testing.T{}
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	visit, stop := greet(ssl.Config{
		ID:           "1",
		Names:        []string{"a.test"},
		Certificates: []ssl.KeyPair{servers.Server("a.test")},
		Client:       &ssl.ClientAuth{CAPEM: people.PEM(), CacheVerified: true},
	})
	defer stop()
	alice := people.Client("alice")
	fmt.Println(visit(alice))
	fmt.Println(visit(alice))
	fmt.Println(visit(servers.Client("alice")))
	// Output:
	// hello, CN=alice
	// hello, CN=alice
	// refused
}

// The names of the CAs are for nobody to read.
func ExampleClientAuth_hideCAs() {
	t := &testing.T{}
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "Project Nightingale")
	visit, stop := greet(ssl.Config{
		ID:           "1",
		Names:        []string{"a.test"},
		Certificates: []ssl.KeyPair{servers.Server("a.test")},
		Client:       &ssl.ClientAuth{CAPEM: people.PEM(), HideCAs: true},
	})
	defer stop()
	fmt.Println(visit(people.Client("alice")))
	fmt.Println(visit(servers.Client("mallory")))
	// Output:
	// hello, CN=alice
	// refused
}

// Whoever knows the intermediate alone can say so, by name.
func ExampleClientAuth_intermediateAnchors() {
	t := &testing.T{}
	servers := ssltest.NewCA(t, "servers")
	branch := ssltest.NewCA(t, "company").Intermediate("branch")
	config := ssl.Config{
		ID:           "1",
		Names:        []string{"a.test"},
		Certificates: []ssl.KeyPair{servers.Server("a.test")},
		Client:       &ssl.ClientAuth{CAPEM: branch.PEM()},
	}
	_, err := ssl.New(config)
	fmt.Println(err)
	config.Client.DangerouslyAllowIntermediateAnchors = true
	visit, stop := greet(config)
	defer stop()
	fmt.Println(visit(branch.Client("alice")))
	// Output:
	// ssl: profile "1": Client.CAPEM: certificate 1 (CN=branch) is an intermediate, and no root in the bundle signed it: add its root
	// hello, CN=alice
}

func ExampleKeyPair_ocspStaple() {
	t := &testing.T{}
	pair := ssltest.NewCA(t, "servers").Server("a.test")
	pair.OCSPStaple = []byte("<html>Service Unavailable</html>") // what a responder may well say
	_, err := ssl.New(ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{pair}})
	fmt.Println(err)
	// Output:
	// ssl: profile "1": Certificates[0].OCSPStaple: is no OCSP response in DER (RFC 6960)
}

// Machines behind one address take each other's sessions if their keys are the same.
func ExampleTerminator_SetTicketKeys() {
	store, err := ssl.NewStore(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	yesterday, today := [32]byte{1}, [32]byte{2} // from where the fleet keeps its secrets

	// All machines learn to read the new key, before any writes with it.
	fmt.Println(store.SetTicketKeys(yesterday, today))
	fmt.Println(store.SetTicketKeys(today, yesterday))
	fmt.Println(store.SetTicketKeys([32]byte{}))
	// Output:
	// <nil>
	// <nil>
	// ssl: SetTicketKeys: a key is all zeros: anyone could make tickets
}

func ExampleIdentity_SPIFFEID() {
	t := &testing.T{}
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	store, err := ssl.NewStore(nil)
	if err != nil {
		panic(err)
	}
	_, err = store.Put(ssl.Config{
		ID:           "1",
		Names:        []string{"a.test"},
		Certificates: []ssl.KeyPair{servers.Server("a.test")},
		Client:       &ssl.ClientAuth{CAPEM: people.PEM()},
	})
	if err != nil {
		panic(err)
	}
	server := httptest.NewUnstartedServer(store.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		client := ssl.FromContext(r.Context())
		id, ok := client.SPIFFEID()
		fmt.Println(id, ok)
		fmt.Println("serial", client.Serial())
	})))
	server.TLS = store.TLSConfig()
	server.StartTLS()
	defer server.Close()
	alice := people.Client("alice", ssltest.URIs("spiffe://example.org/alice"), func(c *x509.Certificate) { c.SerialNumber.SetInt64(0x2a) })
	res, err := ssltest.Client(t, server.Listener, "a.test", alice).Get("https://a.test/")
	if err != nil {
		panic(err)
	}
	res.Body.Close()
	// Output:
	// spiffe://example.org/alice true
	// serial 2A
}

// replaceFiles replaces files as a careful program does: at once, each.
func replaceFiles(dir string, pair ssl.KeyPair) {
	for name, data := range map[string][]byte{"tls.crt": pair.CertPEM, "tls.key": pair.KeyPEM} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path+".new", data, 0o600), os.Rename(path+".new", path)); err != nil {
			panic(err)
		}
	}
}

// Certificates from files that somebody replaces.
func ExampleWatch() {
	t := &testing.T{}
	ca := ssltest.NewCA(t, "servers")
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	replaceFiles(dir, ca.Server("a.test"))

	store, err := ssl.NewStore(nil)
	if err != nil {
		panic(err)
	}
	watcher, err := ssl.Watch(store.Put, &ssl.WatchOptions{
		Failed: func(id string, err error) {
			fmt.Println("not taken:", strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), ""))
		},
	}, ssl.FileConfig{
		Config:   ssl.Config{ID: "1", Names: []string{"a.test"}},
		KeyPairs: []ssl.KeyPairFiles{{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}},
	})
	if err != nil {
		panic(err)
	}
	defer watcher.Close()

	first := store.Table().Lookup("a.test")
	replaceFiles(dir, ca.Server("a.test")) // seen within ten seconds
	_ = watcher.Check()                    // or now, on SIGHUP for instance
	second := store.Table().Lookup("a.test")
	fmt.Println("replaced:", first != second)

	replaceFiles(dir, ssl.KeyPair{CertPEM: ca.Server("a.test").CertPEM, KeyPEM: ca.Server("a.test").KeyPEM})
	_ = watcher.Check()
	fmt.Println("kept:", store.Table().Lookup("a.test") == second)
	// Output:
	// replaced: true
	// not taken: ssl: profile "1": Certificates[0].KeyPEM: is not the key of the certificate (in tls.key)
	// kept: true
}

// What the files hold is added to what is written.
func ExampleFileConfig_Load() {
	t := &testing.T{}
	ca := ssltest.NewCA(t, "people")
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	replaceFiles(dir, ca.Server("a.test"))
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), ca.PEM(), 0o600); err != nil {
		panic(err)
	}
	config, err := ssl.FileConfig{
		Config:   ssl.Config{ID: "1", Names: []string{"a.test"}, Client: &ssl.ClientAuth{Depth: 2}},
		KeyPairs: []ssl.KeyPairFiles{{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}},
		CAs:      []string{filepath.Join(dir, "ca.crt")},
	}.Load()
	fmt.Println(err, len(config.Certificates), len(config.Client.CAPEM) > 0, config.Client.Depth)
	// Output:
	// <nil> 1 true 2
}

// Who the client is, for a proxy of one's own to tell its origin.
func ExampleIdentity_ForwardedClientCert() {
	t := &testing.T{}
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	store, err := ssl.NewStore(nil)
	if err != nil {
		panic(err)
	}
	_, err = store.Put(ssl.Config{
		ID:           "1",
		Names:        []string{"a.test"},
		Certificates: []ssl.KeyPair{servers.Server("a.test")},
		Client:       &ssl.ClientAuth{CAPEM: people.PEM()},
	})
	if err != nil {
		panic(err)
	}
	server := httptest.NewUnstartedServer(store.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		client := ssl.FromContext(r.Context())
		_, names, _ := strings.Cut(client.ForwardedClientCert(0), ";") // Hash comes first
		fmt.Println("X-Forwarded-Client-Cert:", names)
		fmt.Printf("Client-Cert: %.4s...\n", client.ClientCert())
		subject, _ := client.Var("ssl_client_s_dn")
		fmt.Println("X-SSL-Client-S-DN:", subject)
	})))
	server.TLS = store.TLSConfig()
	server.StartTLS()
	defer server.Close()
	alice := people.Client("alice", ssltest.URIs("spiffe://example.org/alice"))
	res, err := ssltest.Client(t, server.Listener, "a.test", alice).Get("https://a.test/")
	if err != nil {
		panic(err)
	}
	res.Body.Close()
	// Output:
	// X-Forwarded-Client-Cert: Subject="CN=alice";URI=spiffe://example.org/alice
	// Client-Cert: :MII...
	// X-SSL-Client-S-DN: CN=alice
}
