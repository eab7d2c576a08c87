package meter_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/meter"
)

type counts = [meter.Classes]uint64

func TestRecent(t *testing.T) {
	var r meter.Recent
	total := counts{}
	// Two hours, with a request and a failure more in each minute.
	const first = 29_000_003
	for n := range 120 {
		minute := int64(first + n)
		total[2] += uint64(n)
		total[5]++
		require.Equal(t, counts{2: uint64(n), 5: 1}, r.Since(total))
		require.Equal(t, counts{2: uint64(n), 5: 1}, r.Roll(minute, total))
		require.Zero(t, r.Since(total))
		last, sum := r.Hour(minute+1, total)
		require.Equal(t, counts{2: uint64(n), 5: 1}, last)

		// From the beginning of the oldest period on.
		begin := max(((minute+1)/5-11)*5, first)
		want := counts{}
		for m := begin; m <= minute; m++ {
			want[2] += uint64(m - first)
			want[5]++
		}
		require.Equal(t, want, sum)
		require.True(t, sum[5] >= 55 && sum[5] <= 60 || n < 60, "%d", sum[5])
	}
	// What goes on counts for the hour, and not for the minute that is over.
	total[4] += 7
	last, sum := r.Hour(first+120, total)
	require.Zero(t, last[4])
	require.EqualValues(t, 7, sum[4])

	// Nothing happens: it is forgotten, the minute first.
	r.Roll(first+120, total)
	last, sum = r.Hour(first+122, total)
	require.Zero(t, last)
	require.EqualValues(t, 7, sum[4])
	_, sum = r.Hour(first+120+61, total)
	require.Zero(t, sum)
	total[3]++
	require.Equal(t, counts{3: 1}, r.Roll(first+1000, total))
	_, sum = r.Hour(first+1001, total)
	require.Equal(t, counts{3: 1}, sum)
}

func TestCell(t *testing.T) {
	var c meter.Cell
	require.Nil(t, c.Peek())
	c.Route().Count(200, 1)
	require.Same(t, c.Route(), c.Peek())
	require.Equal(t, counts{2: 1}, c.Peek().Answers())
}
