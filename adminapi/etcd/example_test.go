package etcd_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/adminapi/etcd"
	"github.com/sallyport/sallyport/gateway"
)

// A gateway of a fleet. The module adminapi/etcd/integration has one to run, examples/fleet.
func Example() {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"etcd.internal:2379"}})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	storage, err := etcd.New(client, nil)
	if err != nil {
		log.Fatal(err)
	}
	gw, err := gateway.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
	starting, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	admin, err := adminapi.New(starting, gw, &adminapi.Options{
		Keys:    []adminapi.Key{{Value: "edd1c9f0"}},
		Storage: storage,
		Keyring: []adminapi.Secret{"qeddd145sfvddff3", "edd1c9f0985e76a2"}, // data_encryption.keyring of APISIX
	})
	if err != nil {
		log.Fatal(err)
	}
	defer admin.Close()
	log.Fatal(http.ListenAndServe("127.0.0.1:9180", admin))
}

func ExampleNew() {
	_, err := etcd.New(nil, &etcd.Options{Prefix: "apisix/"})
	fmt.Println(err)
	// Output: etcd: Options.Prefix: "apisix/" must begin with a slash, and not end with one
}

// What "apisix init_etcd" makes, where gateways and an APISIX of the same etcd start anew.
func ExampleStorage_Init() {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"etcd.internal:2379"}})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	storage, err := etcd.New(client, &etcd.Options{Prefix: "/apisix"})
	if err != nil {
		log.Fatal(err)
	}
	if err := storage.Init(context.Background()); err != nil {
		log.Fatal(err)
	}
}
