package gateway_test

import (
	"fmt"
	"log"
	"testing"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
	"github.com/sallyport/sallyport/upstream"
)

// Which profile answers for a name.
func ExampleServer_Profiles() {
	t := &testing.T{} // certificates for an example; yours come from files
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	gw, err := gateway.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
	_, err = gw.Apply(gateway.Change{Put: gateway.Config{Profiles: []ssl.Config{{
		ID:           "internal",
		Names:        []string{"*.internal.test"},
		Certificates: []ssl.KeyPair{servers.Server("*.internal.test")},
		Client:       &ssl.ClientAuth{CAPEM: people.PEM()},
	}}}})
	if err != nil {
		log.Fatal(err)
	}
	p := gw.Profiles().Lookup("api.internal.test")
	fmt.Println(p.ID(), p.Names(), p.DemandsClientCert())
	fmt.Println(gw.Profiles().Lookup("api.test") == nil)
	// Output:
	// internal [*.internal.test] true
	// true
}

// How the nodes of an upstream are.
func ExampleServer_Nodes() {
	gw, err := gateway.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
	_, err = gw.Apply(gateway.Change{Put: gateway.Config{Upstreams: []upstream.Config{{
		ID:    "api",
		Nodes: []upstream.Node{{Host: "10.0.0.1", Port: 8080, Weight: 1}},
	}}}})
	if err != nil {
		log.Fatal(err)
	}
	nodes, ok := gw.Nodes("api")
	fmt.Println(ok, nodes[0].Address, nodes[0].Health, nodes[0].Requests)
	_, ok = gw.Nodes("elsewhere")
	fmt.Println(ok)
	// Output:
	// true 10.0.0.1:8080 healthy 0
	// false
}
