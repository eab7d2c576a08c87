package yaml_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/adminapi/yaml"
	"github.com/sallyport/sallyport/gateway"
)

// The configuration is a YAML file, and follows it.
func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "apisix.yaml")
	err = os.WriteFile(path, []byte(`
routes:
  - uri: /hello
    upstream: {nodes: {}, type: roundrobin}
#END
`), 0o600)
	if err != nil {
		log.Fatal(err)
	}
	gw, err := gateway.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
	handler, err := adminapi.New(context.Background(), gw, &adminapi.Options{Headless: true})
	if err != nil {
		log.Fatal(err)
	}
	watcher, err := handler.WatchFile(path, &adminapi.WatchFileOptions{Decode: yaml.Decode})
	if err != nil {
		log.Fatal(err)
	}
	defer watcher.Close()
	for _, path := range []string{"/hello", "/other"} {
		rec := httptest.NewRecorder()
		gw.ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		fmt.Println(rec.Code)
	}
	// Output:
	// 503
	// 404
}

func ExampleDecode() {
	json, err := yaml.Decode([]byte("routes:\n  - id: 1\n    uri: '/${{PATH_OF_MINE:=hello}}'\n#END\n"))
	fmt.Println(string(json), err)
	// Output: {"routes":[{"id":1,"uri":"/hello"}]} <nil>
}

func TestDecode(t *testing.T) {
	t.Setenv("NAME", "value")
	t.Setenv("NUMBER", "5")
	for text, want := range map[string]string{
		"":                                       `{}`,
		"# nothing":                              `{}`,
		"---":                                    `{}`,
		"null":                                   `null`,
		"~":                                      `null`,
		"[]":                                     `[]`,
		"routes:":                                `{"routes":null}`,
		"a: {b: [1, 2.5, x, true, null, ~]}":     `{"a":{"b":[1,2.5,"x",true,null,null]}}`,
		"a: ${{NUMBER}}":                         `{"a":5}`,
		"a: '${{NUMBER}}'":                       `{"a":"5"}`,
		"${{NAME}}: '${{NOT:=x y}}'":             `{"value":"x y"}`,
		"a: {80: 1, true: 2, 1.5: 3}":            `{"a":{"80":1,"true":2,"1.5":3}}`,
		"a: 2001-02-03\nb: 2001-02-03T04:05:06Z": `{"a":"2001-02-03","b":"2001-02-03T04:05:06Z"}`,
		"x: &x {b: 1}\na:\n  <<: *x\n  c: 2":     `{"x":{"b":1},"a":{"b":1,"c":2}}`,
		"key: |\n  -----BEGIN\n  x\n":            `{"key":"-----BEGIN\nx\n"}`,
		"a: no\nb: 0o17\nc: 0x1f":                `{"a":"no","b":15,"c":31}`,
	} {
		for _, flag := range []string{"\n#END", "\n#END\n", "\n#END \n\n"} {
			got, err := yaml.Decode([]byte(text + flag))
			require.NoError(t, err, text)
			require.JSONEq(t, want, string(got), text)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	bomb := "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < 9; i++ {
		bomb += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	for text, want := range map[string]string{
		"routes: []\n":                                "missing valid end flag",
		"#END\nroutes: []\n":                          "missing valid end flag",
		"#END" + strings.Repeat("\n", 10):             "missing valid end flag",
		"a: [\n#END":                                  "yaml: ",
		"a: 1\n---\nb: 2\n#END":                       "more than one document",
		"a: 1\na: 2\n#END":                            "already defined",
		"1: 1\n1.0: 2\n#END":                          "stands twice",
		"[1]: 2\n#END":                                "yaml: ",
		"a: .nan\n#END":                               "not finite",
		"a: .inf\n#END":                               "not finite",
		"a: ${{NO_SUCH_VARIABLE}}\n#END":              "can't find environment variable NO_SUCH_VARIABLE",
		bomb + "#END":                                 "excessive aliasing",
		"a: &a [*a]\n#END":                            "contains itself",
		"a: " + strings.Repeat("[", 20000) + "\n#END": "depth",
	} {
		_, err := yaml.Decode([]byte(text))
		require.ErrorContains(t, err, want, "%.40q", text)
	}
}

// What is no mapping is no configuration, and least of all an empty one.
func TestLoadRefuses(t *testing.T) {
	gw, err := gateway.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
	handler, err := adminapi.New(t.Context(), gw, &adminapi.Options{Headless: true})
	require.NoError(t, err)
	for text, want := range map[string]string{
		"routes: [{uri: /, upstream: {nodes: {}}}]": "",
		"[]":                         "wrong type: expected object",
		"- routes: []":               "wrong type: expected object",
		"null":                       "wrong type: expected object",
		"~":                          "wrong type: expected object",
		"routes":                     "wrong type: expected object",
		"routes: {1: {uri: /other}}": "document: routes: wrong type: expected array",
		"routes:":                    "document: routes: wrong type: expected array",
	} {
		data, err := yaml.Decode([]byte(text + "\n#END"))
		require.NoError(t, err, text)
		err = handler.Load(t.Context(), strings.NewReader(string(data)))
		if want == "" {
			require.NoError(t, err, text)
			continue
		}
		require.ErrorContains(t, err, want, text)
	}
}

// FuzzDecode wants JSON, whatever there is.
func FuzzDecode(f *testing.F) {
	f.Add("routes:\n  - id: 1\n    upstream: {nodes: {\"127.0.0.1:80\": 1}}\n#END\n")
	f.Add("a: &x [1, 2]\nb: *x\nc: {<<: {d: 2001-02-03}}\n#END")
	f.Fuzz(func(t *testing.T, text string) {
		data, err := yaml.Decode([]byte(text))
		if err == nil {
			require.True(t, json.Valid(data))
		}
	})
}
