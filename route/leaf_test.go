package route_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/route"
)

// Routes may be put into several tables at once, in another order in each.
func TestRoutesOfManyTables(t *testing.T) {
	routes := make([]*route.Route, 2000)
	for i := range routes {
		routes[i] = mustNew(t, route.Config{ID: fmt.Sprint(i), Paths: []string{fmt.Sprintf("/%d/*", i%50), fmt.Sprintf("/%d/a", i)}})
	}
	strides := []int{1, 1, 3, 3} // which have no divisor in common with the number of routes
	tables := make([]*route.Table, len(strides))
	start, wg := make(chan struct{}), sync.WaitGroup{}
	for k, stride := range strides {
		wg.Go(func() {
			<-start
			table := new(route.Table)
			for i := range routes {
				table = table.With(routes[i*stride%len(routes)])
			}
			tables[k] = table
		})
	}
	close(start)
	wg.Wait()
	for k, table := range tables {
		require.NoError(t, table.Check())
		// Of the routes with one prefix, the one that came first.
		first := 0
		for i := range routes {
			if at := i * strides[k] % len(routes); at%50 == 7 {
				first = at
				break
			}
		}
		req := get("a.test", "/7/x")
		require.Same(t, routes[first], table.Match(&req).Route)
	}
}

// A route that is kept keeps neither the tables that it was in nor the other routes of them.
func TestRouteKeepsNoTable(t *testing.T) {
	kept := mustNew(t, route.Config{ID: "kept", Paths: []string{"/a*"}})
	others := func() (others []weak.Pointer[route.Route]) {
		routes := []*route.Route{kept}
		for i, path := range []string{"/a*", "/a", "/ab", "/abc/*", "/b"} {
			r := mustNew(t, route.Config{ID: fmt.Sprint(i), Paths: []string{path}})
			routes, others = append(routes, r), append(others, weak.Make(r))
		}
		table := new(route.Table).With(routes...)
		require.Equal(t, len(routes), table.Len())
		for i := range others {
			table = table.With(routes[i+1])
		}
		return others
	}()
	runtime.GC()
	for i, other := range others {
		require.Nil(t, other.Value(), i)
	}
	runtime.KeepAlive(kept)
}
