package statushtml

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/adminapi/statuspage"
)

func TestChart(t *testing.T) {
	begin := time.Date(2026, 11, 26, 14, 0, 0, 0, time.UTC)
	minutes := []statuspage.Minute{
		{Begin: begin, Handshakes: 10, Failed: 5},
		{Begin: begin.Add(time.Minute)},
		{Begin: begin.Add(2 * time.Minute), Handshakes: 25, Failed: 0},
		{Begin: begin.Add(3 * time.Minute), Failed: 1},
	}
	c := newChart("id", "Title", "handshakes", minutes, []series{{Name: "fine", Class: "a"}, {Name: "failed", Class: "b"}}, func(m statuspage.Minute) []uint64 {
		return []uint64{m.Handshakes, m.Failed}
	})
	require.Equal(t, uint64(30), c.Max)
	require.Equal(t, begin.Add(-57*time.Minute), c.Begin) // an hour, though the gateway is younger
	require.Equal(t, []bar{
		{X: "342", Y: "40", W: "5", H: "20", Class: "a", Tip: "14:00: 10 fine, 5 failed"},
		{X: "342", Y: "30", W: "5", H: "10", Class: "b", Tip: "14:00: 10 fine, 5 failed"},
		{X: "354", Y: "10", W: "5", H: "50", Class: "a", Tip: "14:02: 25 fine, 0 failed"},
		{X: "360", Y: "58", W: "5", H: "2", Class: "b", Tip: "14:03: 0 fine, 1 failed"},
	}, c.Bars)
	require.Equal(t, "In the last 4 minutes: 35 fine, 6 failed. The most in a minute were 25 handshakes, at 14:02 UTC.", c.Desc)

	quiet := newChart("", "", "", minutes[1:2], []series{{}}, func(statuspage.Minute) []uint64 { return []uint64{0} })
	require.Equal(t, "None in the last minute.", quiet.Desc)
}

// One among a million can be seen.
func TestChartShowsTheLeast(t *testing.T) {
	minutes := []statuspage.Minute{{Handshakes: 1}, {Handshakes: 1e6}}
	c := newChart("", "", "", minutes, []series{{}}, func(m statuspage.Minute) []uint64 { return []uint64{m.Handshakes} })
	require.Equal(t, "1", c.Bars[0].H)
	s := newSpark([]uint64{0, 1, 1e6})
	require.Len(t, s.Bars, 2)
	require.Equal(t, "1", s.Bars[0].H)
}

func TestNice(t *testing.T) {
	for n, want := range map[uint64]uint64{0: 1, 1: 1, 9: 9, 10: 10, 11: 20, 99: 100, 100: 100, 101: 200, 1929: 2000, 1<<63 + 1: 1e19} {
		require.Equal(t, want, nice(n), n)
	}
}
