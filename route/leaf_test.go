package route_test

import (
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
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

// Of the tables into which a route is put at the same moment, one gets its leaf.
func TestOneTableHasTheLeaf(t *testing.T) {
	routes := make([]*route.Route, 20_000)
	for i := range routes {
		routes[i] = mustNew(t, route.Config{ID: "a", Paths: []string{"/a"}})
	}
	var (
		has [2][]bool
		at  [2]atomic.Int64 // how far each has come
		wg  sync.WaitGroup
	)
	for k := range has {
		has[k] = make([]bool, len(routes))
		wg.Go(func() {
			for i, r := range routes {
				at[k].Store(int64(i))
				for at[1-k].Load() < int64(i) {
					runtime.Gosched()
				}
				has[k][i] = new(route.Table).With(r).RootIsLeafOf(r)
			}
		})
	}
	wg.Wait()
	for i := range routes {
		require.True(t, has[0][i] != has[1][i], i)
	}
}

// A leaf begins with a line of the CPU's cache.
func TestLeafOffset(t *testing.T) {
	if strconv.IntSize < 64 {
		t.Skip("the sizes are others")
	}
	for range 100 {
		require.Zero(t, mustNew(t, route.Config{ID: "a", Paths: []string{"/a"}}).LeafOffset())
	}
}

// A route that is kept keeps neither the tables that it was in nor the other routes of them.
func TestRouteKeepsNoTable(t *testing.T) {
	for name, fill := range map[string]func(...*route.Route) *route.Table{
		"at once": new(route.Table).With,
		"one by one": func(routes ...*route.Route) (table *route.Table) {
			for _, r := range routes {
				table = table.With(r)
			}
			return table
		},
	} {
		t.Run(name, func(t *testing.T) {
			kept := mustNew(t, route.Config{ID: "kept", Paths: []string{"/a*"}})
			others := func() (others []weak.Pointer[route.Route]) {
				routes := []*route.Route{kept}
				for i, path := range []string{"/a*", "/a", "/ab", "/abc/*", "/b"} {
					r := mustNew(t, route.Config{ID: fmt.Sprint(i), Paths: []string{path}})
					routes, others = append(routes, r), append(others, weak.Make(r))
				}
				require.Equal(t, len(routes), fill(routes...).Len())
				return others
			}()
			runtime.GC()
			for i, other := range others {
				require.True(t, other.Value() == nil, "%d is still there", i)
			}
			runtime.KeepAlive(kept)
		})
	}
}

// A route that takes the place of one that was alone there has its own leaf in the table, and
// the table before has that of the other.
func TestReplacedInItsLeaf(t *testing.T) {
	c := route.Config{ID: "a", Paths: []string{"/a"}}
	old, r := mustNew(t, c), mustNew(t, c)
	before := new(route.Table).With(old)
	table := before.With(r)
	require.True(t, before.RootIsLeafOf(old))
	require.True(t, table.RootIsLeafOf(r))
	again := table.With(old)
	require.False(t, again.RootIsLeafOf(old), "which is that of another table")
	for table, want := range map[*route.Table]*route.Route{before: old, table: r, again: old} {
		require.NoError(t, table.Check())
		req := get("a.test", "/a")
		require.Same(t, want, table.Match(&req).Route)
	}
}

// A table keeps no route that it does not have any more.
func TestTableKeepsNoOtherRoute(t *testing.T) {
	type configs []route.Config
	config := func(id, path string) route.Config { return route.Config{ID: id, Paths: []string{path}} }
	first := config("a", "/a")
	first.Priority = 1
	for name, steps := range map[string][]configs{ // the one that must go is a with the path /a
		"it stands beside the one that replaces it for a while": {
			{config("a", "/a")}, {first},
		},
		"there are more children than there was room for": {
			{config("a", "/a")}, {config("b", "/b")}, {config("c", "/c")},
			{config("d", "/d"), config("e", "/e"), config("a", "/b")},
		},
		"it leaves a node that has got children": {
			{config("a", "/a"), config("b", "/a")},
			{config("b", "/b"), config("c", "/ac"), config("d", "/ad"), config("a", "/e")},
		},
		"it is below a node that others keep": {
			{config("b", "/"), config("c", "/"), config("a", "/a")}, {config("a", "/b")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			table, old := func() (table *route.Table, old weak.Pointer[route.Route]) {
				for i, step := range steps {
					var routes []*route.Route
					for _, c := range step {
						r := mustNew(t, c)
						if routes = append(routes, r); i == 0 && c.ID == "a" {
							old = weak.Make(r)
						}
					}
					table = table.With(routes...)
				}
				return table, old
			}()
			require.NoError(t, table.Check())
			runtime.GC()
			require.True(t, old.Value() == nil, "the old route is still there")
			runtime.KeepAlive(table)
		})
	}
}
