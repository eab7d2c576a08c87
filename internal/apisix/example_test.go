package apisix_test

import (
	"errors"
	"fmt"

	"github.com/sallyport/sallyport/internal/apisix"
	"github.com/sallyport/sallyport/internal/cjson"
	"github.com/sallyport/sallyport/route"
)

// document reads a request body.
func document(text string) map[string]any {
	body, err := cjson.Decode([]byte(text))
	if err != nil {
		panic(err)
	}
	doc, err := apisix.Document(body)
	if err != nil {
		panic(err)
	}
	return doc
}

func ExampleDecode() {
	doc := document(`{"uri":"/ip","upstream":{"nodes":{"httpbin.org":1},"type":"roundrobin"}}`)
	o, err := apisix.Decode(apisix.Routes, "quickstart-ip", doc)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(o.Route.Paths, "goes to", o.Route.Upstream)
	fmt.Println(o.Upstream.ID, "has", o.Upstream.Nodes[0].Host)
	// Output:
	// [/ip] goes to routes/quickstart-ip
	// routes/quickstart-ip has httpbin.org
}

func ExampleDocument() {
	_, err := apisix.Document("no object")
	fmt.Println(err)
	// Output: invalid configuration: wrong type: expected object, got string
}

// What APISIX refuses is refused in its words. What to do about it is told apart
// from them.
func ExampleValidate() {
	err := apisix.Validate(apisix.Routes, document(`{"upstream_id":"1"}`))
	var refusal *apisix.Error
	if errors.As(err, &refusal) {
		fmt.Println(refusal.Text)
		fmt.Println(refusal.Hint)
	}
	// Output:
	// invalid configuration: allOf 1 failed: value should match only one schema, but matches none
	// a route needs one of uri and uris
}

func ExampleRedact() {
	doc := document(`{"sni":"a.test","key":"-----BEGIN PRIVATE KEY-----","keys":["..."]}`)
	fmt.Printf("%s\n", cjson.Encode(apisix.Redact(apisix.SSLs, doc)))
	// Output: {"key":"[redacted]","keys":["[redacted]"],"sni":"a.test"}
}

func ExamplePutID() {
	id, err := apisix.PutID(apisix.Routes, "", document(`{"id":1,"uri":"/"}`))
	fmt.Println(id, err)
	_, err = apisix.PutID(apisix.Routes, "2", document(`{"id":1,"uri":"/"}`))
	fmt.Println(err)
	// Output:
	// 1 <nil>
	// wrong route id (the id in the document is not that of the path)
}

func ExampleCheckForbidden() {
	fmt.Println(apisix.CheckForbidden(document(`{"uri":"/","create_time":1}`)))
	// Output: the property is forbidden:  create_time (the server sets it: leave it out)
}

func ExampleFieldName() {
	fmt.Println(apisix.FieldName(apisix.Routes, document(`{"uri":"/a"}`), "Paths[0]"))
	fmt.Println(apisix.FieldName(apisix.Routes, document(`{"uris":["/a","/b"]}`), "Paths[1]"))
	fmt.Println(apisix.FieldName(apisix.SSLs, nil, "Certificates[0].KeyPEM"))
	// Output:
	// uri
	// uris[1]
	// key
}

func ExampleObject_Translate() {
	o, err := apisix.Decode(apisix.Routes, "1", document(`{"uri":"/a","upstream_id":"1"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(o.Translate(&route.ConfigError{ID: "1", Field: "Paths[0]", Err: errors.New("no such path")}))
	// Output: invalid configuration: property "uri" validation failed: no such path
}

func ExampleCheckID() {
	fmt.Println(apisix.CheckID("quickstart-ip"))
	fmt.Println(apisix.CheckID("a/b"))
	// Output:
	// <nil>
	// invalid configuration: property "id" validation failed: object matches none of the required (an id is 1 to 64 characters of a-z A-Z 0-9 - _ and the dot, or an integer from 1)
}

func ExampleCheckNoID() {
	fmt.Println(apisix.CheckNoID(apisix.Upstreams, "", document(`{"id":"1","nodes":{}}`)))
	// Output: wrong upstream id, do not need it (POST makes a new id: leave it out, or use PUT)
}

func ExampleIDString() {
	fmt.Println(apisix.IDString(1.0) == apisix.IDString("1"))
	// Output: true
}
