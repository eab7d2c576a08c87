//go:build !race

package gateway_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
)

// A Trace that asks nothing of requests costs them nothing. For the engine's own way,
// TestRelayAllocs says so.
func TestTraceUnsetAllocs(t *testing.T) {
	allocs := func(trace *gateway.Trace) float64 {
		gw := must(gateway.New(&gateway.Options{Trace: trace}))
		defer gw.Close()
		_, err := gw.Apply(gateway.Change{Put: gateway.Config{Routes: []route.Config{{
			ID: "1", Paths: []string{"/*"}, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		}}}})
		require.NoError(t, err)
		r := httptest.NewRequest("GET", "http://a.test/", nil)
		w := httptest.NewRecorder()
		return testing.AllocsPerRun(1000, func() { gw.ServeHTTP(w, r) })
	}
	none := allocs(nil)
	require.Equal(t, none, allocs(&gateway.Trace{LimitReached: func(gateway.LimitEvent) {}}))
	require.Less(t, none, allocs(&gateway.Trace{RequestDone: func(*gateway.RequestEvent) {}}))
}
