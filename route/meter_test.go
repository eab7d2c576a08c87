package route_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/meter"
	"github.com/sallyport/sallyport/route"
)

// What is counted for a route and for its successor is one, whichever is the first to count
// and whether anything was counted before.
func TestSucceed(t *testing.T) {
	c := route.Config{ID: "a", Paths: []string{"/"}}
	for _, counted := range []bool{false, true} {
		old, r := mustNew(t, c), mustNew(t, c)
		of := &meter.OfRoute
		require.Nil(t, of.Counted(old))
		if counted {
			of.Cell(old).Route()
		}
		of.Succeed(r, old)
		require.Same(t, of.Cell(old).Route(), of.Cell(r).Route())
		require.Same(t, of.Counted(old), of.Counted(r))
		require.NotSame(t, of.Cell(mustNew(t, c)).Route(), of.Counted(r))
	}
}
