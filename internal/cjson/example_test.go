package cjson_test

import (
	"fmt"

	"github.com/sallyport/sallyport/internal/cjson"
)

// A shell splices a file into the request with its line feeds as they are.
func ExampleDecode() {
	v, err := cjson.Decode([]byte(`{
  "sni": "test.com",  // a comment
  "cert": "-----BEGIN CERTIFICATE-----
MIIB
-----END CERTIFICATE-----"
}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(v.(map[string]any)["cert"])
	// Output:
	// -----BEGIN CERTIFICATE-----
	// MIIB
	// -----END CERTIFICATE-----
}

func ExampleDecode_error() {
	_, err := cjson.Decode([]byte(`{"uri":"/ip",}`))
	fmt.Println(err)
	// Output: Expected object key string but found T_OBJ_END at character 14
}

func ExampleEncode() {
	fmt.Printf("%s\n", cjson.Encode(map[string]any{
		"uri":   "/ip",
		"nodes": []any{},
		"cert":  "MIIB\n",
	}))
	// Output: {"cert":"MIIB\n","nodes":[],"uri":"/ip"}
}
