// Package parallel handles many objects, one by one, on all processors.
package parallel

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// least is how many objects make another goroutine worth its while.
const least = 16

// Do calls f with 0 to n-1. If f panics, so does Do, in its caller's goroutine: behind an
// Admin API that costs a request, and not the process.
func Do(n int, f func(int)) {
	workers := min(runtime.GOMAXPROCS(0), n/least)
	if workers < 2 {
		for i := range n {
			f(i)
		}
		return
	}
	var next atomic.Int64
	var working sync.WaitGroup
	panics := make(chan any, workers)
	for range workers {
		working.Go(func() {
			defer func() {
				if r := recover(); r != nil {
					panics <- r
				}
			}()
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	working.Wait()
	if len(panics) > 0 {
		panic(<-panics)
	}
}
