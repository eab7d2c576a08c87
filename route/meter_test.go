package route_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/route"
)

// What is counted for a route and for its successor is one, whichever is the first to count
// and whether anything was counted before.
func TestSucceed(t *testing.T) {
	c := route.Config{ID: "a", Paths: []string{"/"}}
	for _, counted := range []bool{false, true} {
		old, r := mustNew(t, c), mustNew(t, c)
		require.Nil(t, old.Counted())
		if counted {
			old.Meter().Route()
		}
		r.Succeed(old)
		require.Same(t, old.Meter().Route(), r.Meter().Route())
		require.Same(t, old.Counted(), r.Counted())
		require.NotSame(t, mustNew(t, c).Meter().Route(), r.Counted())
	}
}
