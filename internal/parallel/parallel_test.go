package parallel_test

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/parallel"
)

// Each is done once, and a panic is the caller's, who may live on.
func TestDo(t *testing.T) {
	for _, n := range []int{0, 1, 15, 16, 17, 31, 32, 33, 1000} {
		done := make([]atomic.Int32, n)
		parallel.Do(n, func(i int) { done[i].Add(1) })
		for i := range done {
			require.EqualValues(t, 1, done[i].Load())
		}
		if n > 0 {
			require.PanicsWithValue(t, "at the disco", func() {
				parallel.Do(n, func(i int) {
					if i == n/2 {
						panic("at the disco")
					}
				})
			})
		}
	}
}
