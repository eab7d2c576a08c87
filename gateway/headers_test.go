package gateway_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
)

// The short way to a rule finds what going through all of them finds.
func TestKindOfFields(t *testing.T) {
	names := append(gateway.RuleNames(), "", "a", "te", "host", "x-id", "xy", "x-", "x--", "x-9zzz", "cookie", "user-agent", "accept", "content-type", "-proxy", "\xd8proxy", "prox")
	kinds := map[int]int{}
	for _, name := range names {
		for _, spelling := range spellings(name) {
			kind := gateway.RuleOf(spelling)
			kinds[kind]++
			require.Equal(t, kind, gateway.KindOf(spelling), "%q", spelling)
		}
	}
	require.Len(t, kinds, 5)
}

func FuzzKindOf(f *testing.F) {
	for _, name := range gateway.RuleNames() {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if got, want := gateway.KindOf(name), gateway.RuleOf(name); got != want {
			t.Fatalf("%q is of kind %d, want %d", name, got, want)
		}
	})
}

func BenchmarkDrops(b *testing.B) {
	drops := gateway.Drops("X-My-Dn", "X-User")
	for _, name := range []string{"Host", "User-Agent", "Accept", "Content-Type", "Cookie", "Traceparent", "X-Request-Id", "X-Csrf-Token", "X-Forwarded-For", "X-Client-Cert", "x_ssl_client_verify"} {
		b.Run("name="+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = drops(name)
			}
		})
	}
}
