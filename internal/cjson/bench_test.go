package cjson_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/internal/cjson"
)

var documents = map[string]string{
	"route": `{"id":"1","uri":"/ip","methods":["GET","POST"],"priority":10,"upstream":{"nodes":{"127.0.0.1:8081":1},"type":"roundrobin"}}`,
	"ssl":   `{"sni":"test.com","cert":"` + strings.Repeat("MIIBszCCAVmgAwIBAgIUQ\\n", 100) + `"}`,
}

func BenchmarkDecode(b *testing.B) {
	for _, doc := range []string{"route", "ssl"} {
		in := []byte(documents[doc])
		b.Run("impl=cjson/doc="+doc, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := cjson.Decode(in); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("impl=encoding_json/doc="+doc, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var v any
				if err := json.Unmarshal(in, &v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, doc := range []string{"route", "ssl"} {
		v, err := cjson.Decode([]byte(documents[doc]))
		if err != nil {
			b.Fatal(err)
		}
		b.Run("doc="+doc, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				cjson.Encode(v)
			}
		})
	}
}
