package meter_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/meter"
)

func TestHistogram(t *testing.T) {
	require.Len(t, meter.Bounds(), meter.Buckets-1)
	require.IsIncreasing(t, meter.Bounds())
	var h meter.Histogram
	want := make([]uint64, meter.Buckets)
	var sum time.Duration
	for i, bound := range meter.Bounds() { // each bound is in its bucket, and what is just above in the next
		h.Observe(bound)
		h.Observe(bound + 1)
		want[i]++
		want[i+1]++
		sum += 2*bound + 1
	}
	h.Observe(-time.Second)
	want[0]++
	d, _ := h.Read(nil)
	require.Equal(t, meter.Distribution{Bounds: meter.Bounds(), Counts: want, Sum: sum, Count: 2*meter.Buckets - 1}, d)
}

// What is read of many lies in one piece of memory, and nobody's end is another's begin.
func TestHistogramsShareRoom(t *testing.T) {
	var a, b meter.Histogram
	a.Observe(0)
	b.Observe(time.Hour)
	first, room := a.Read(make([]uint64, 0, 2*meter.Buckets))
	second, room := b.Read(room)
	require.Len(t, room, 2*meter.Buckets)
	require.Same(t, &room[0], &first.Counts[0])
	require.Same(t, &room[meter.Buckets], &second.Counts[0])
	_ = append(first.Counts, 7)
	require.Zero(t, second.Counts[0])
	require.EqualValues(t, 1, second.Counts[meter.Buckets-1])
}

func TestClass(t *testing.T) {
	for status, class := range map[int]int{0: 0, -1: 0, 99: 0, 101: 1, 200: 2, 299: 2, 304: 3, 404: 4, 599: 5, 600: 5, 999: 5} {
		require.Equal(t, class, meter.Class(status), status)
	}
}

func TestRequests(t *testing.T) {
	var r meter.Requests
	for _, status := range []int{0, 101, 200, 204, 404, 502, 502, 502} {
		r.Count(status, time.Millisecond)
	}
	require.Equal(t, [meter.Classes]uint64{1, 1, 2, 0, 1, 3}, r.Answers())
	d, _ := r.Duration(nil)
	require.EqualValues(t, 8, d.Count)
	require.Equal(t, 8*time.Millisecond, d.Sum)
}

func TestCountAllocatesNothing(t *testing.T) {
	var r meter.Requests
	require.Zero(t, testing.AllocsPerRun(100, func() { r.Count(200, 3*time.Millisecond) }))
}

func BenchmarkCount(b *testing.B) {
	var r meter.Requests
	b.ReportAllocs()
	for b.Loop() {
		r.Count(200, 3*time.Millisecond)
	}
}

func BenchmarkCountParallel(b *testing.B) {
	var r meter.Requests
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r.Count(200, 3*time.Millisecond)
		}
	})
}
