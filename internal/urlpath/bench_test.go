package urlpath_test

import (
	"strings"
	"testing"

	"github.com/sallyport/sallyport/internal/urlpath"
)

func BenchmarkParse(b *testing.B) {
	for _, c := range []struct{ name, raw string }{
		{"plain", "/apisix/admin/routes/quickstart-ip"},
		{"root", "/"},
		{"tail", "/apisix/admin/routes/quickstart-ip/"},
		{"utf8", "/apisix/café/routes"},
		{"encoded", "/apisix/caf%C3%A9/routes"},
		{"dots", "/apisix/../admin/./routes"},
		{"parameters", "/apisix;jsessionid=1/admin;x/routes"},
		{"slash", "/projects/group%2Fproject/issues"},
		{"long", strings.Repeat("/segment", 512)},
		{"climbing", strings.Repeat("/a", 1024) + strings.Repeat("/..", 1024)},
		{"semicolons", "/a" + strings.Repeat(";", 4096)},
		{"escapes", "/" + strings.Repeat("%61", 1024)},
	} {
		for _, o := range []struct {
			name string
			o    urlpath.Options
		}{
			{"zero", urlpath.Options{}},
			{"all", urlpath.Options{DeleteTailSlash: true, Servlet: true, EncodedSlash: true}},
		} {
			b.Run("path="+c.name+"/options="+o.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					_, _ = o.o.Parse(c.raw)
				}
			})
		}
	}
}
