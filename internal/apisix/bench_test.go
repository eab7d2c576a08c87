package apisix_test

import (
	"testing"

	"github.com/sallyport/sallyport/internal/apisix"
)

func BenchmarkDecode(b *testing.B) {
	f := newFixture(b)
	for _, c := range []struct {
		name string
		kind apisix.Kind
		doc  string
	}{
		{"kind=route/doc=inline", apisix.Routes, `{"uri":"/ip","methods":["GET"],"host":"a.test","upstream":{"nodes":{"127.0.0.1:8081":1},"type":"roundrobin"}}`},
		{"kind=upstream/doc=nodes", apisix.Upstreams, `{"nodes":[{"host":"a.test","port":80,"weight":1},{"host":"b.test","port":80,"weight":1}],"type":"roundrobin"}`},
		{"kind=ssl/doc=plain", apisix.SSLs, `{"sni":"a.test","cert":"@cert","key":"@key"}`},
		{"kind=ssl/doc=mtls", apisix.SSLs, `{"sni":"a.test","cert":"@cert","key":"@key","client":{"ca":"@ca"}}`},
		{"kind=ssl/doc=refused", apisix.SSLs, `{"sni":"a b","cert":"x","foo":1}`},
	} {
		doc := f.doc(c.doc)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = apisix.Decode(c.kind, "1", doc)
			}
		})
	}
}
