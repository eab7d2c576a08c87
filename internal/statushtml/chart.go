package statushtml

import (
	"fmt"
	"strings"
	"time"

	"github.com/sallyport/sallyport/adminapi/statuspage"
)

// A chart has a bar for each minute, made of a piece for each series. It is drawn without
// any text: letters would be drawn out with it.
type chart struct {
	ID     string
	Title  string
	Desc   string // the same in words
	Width  int
	Height int
	Bars   []bar
	Max    uint64 // what the height stands for
	Series []series

	Begin, Middle time.Time
}

// A series is one of the things that are counted.
type series struct {
	Name  string
	Class string // its colour
	Sum   uint64
}

// A bar is a piece of one.
type bar struct {
	X, Y, W, H string
	Class      string
	Tip        string
}

// The sizes are in units of the drawing. A minute is a bar and the gap behind it.
const (
	chartMinutes = 61 // the hour, and the minute that goes on
	chartHeight  = 60
	minuteWidth  = 6
	barWidth     = 5
)

// newChart draws the minutes. values returns those of the series, of which the first is the
// lowest.
func newChart(id, title, unit string, minutes []statuspage.Minute, of []series, values func(statuspage.Minute) []uint64) *chart {
	c := &chart{ID: id, Title: title, Width: minuteWidth * chartMinutes, Height: chartHeight, Series: of}
	if len(minutes) == 0 {
		c.Desc = "Nothing was counted yet."
		return c
	}
	last := minutes[len(minutes)-1].Begin
	c.Begin, c.Middle = last.Add(-(chartMinutes-1)*time.Minute), last.Add(-chartMinutes/2*time.Minute)
	var all, most uint64
	var when time.Time
	for _, m := range minutes {
		var sum uint64
		for i, n := range values(m) {
			c.Series[i].Sum += n
			sum += n
		}
		if all += sum; sum > most {
			most, when = sum, m.Begin
		}
	}
	c.Max = nice(most)
	for i, m := range minutes {
		base := float64(chartHeight)
		tip := tipOf(m.Begin, c.Series, values(m))
		for j, n := range values(m) {
			if n == 0 {
				continue
			}
			// What is there can be seen.
			h := max(float64(n)/float64(c.Max)*chartHeight, 1)
			base -= h
			c.Bars = append(c.Bars, bar{
				X: fmt.Sprint(slot(i, len(minutes)) * minuteWidth), W: fmt.Sprint(barWidth), Y: units(max(base, 0)), H: units(h),
				Class: c.Series[j].Class, Tip: tip,
			})
		}
	}
	if all == 0 {
		c.Desc = "None in the last " + lastMinutes(len(minutes)) + "."
		return c
	}
	parts := make([]string, 0, len(c.Series))
	for _, s := range c.Series {
		parts = append(parts, count(s.Sum)+" "+s.Name)
	}
	c.Desc = fmt.Sprintf("In the last %s: %s. The most in a minute were %s %s, at %s UTC.",
		lastMinutes(len(minutes)), strings.Join(parts, ", "), count(most), unit, when.UTC().Format("15:04"))
	return c
}

// slot returns where a minute stands of several, which end at the right: a gateway may be
// younger than an hour.
func slot(i, of int) int { return max(chartMinutes-of, 0) + i }

func lastMinutes(n int) string {
	if n == 1 {
		return "minute"
	}
	return fmt.Sprintf("%d minutes", n)
}

func tipOf(begin time.Time, of []series, values []uint64) string {
	parts := make([]string, 0, len(of))
	for i, s := range of {
		parts = append(parts, count(values[i])+" "+s.Name)
	}
	return begin.UTC().Format("15:04") + ": " + strings.Join(parts, ", ")
}

func units(v float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") }

// nice returns the next number that is easily read: one digit with zeros.
func nice(n uint64) uint64 {
	unit := uint64(1)
	for n/unit >= 10 {
		unit *= 10
	}
	return max((n+unit-1)/unit*unit, 1)
}

// A spark is a small chart of one series, in a table that has the figures.
type spark struct {
	Width, Height int
	Bars          []bar
}

const sparkHeight = 20

// newSpark draws the minutes of one series. Its height is the most of them.
func newSpark(minutes []uint64) spark {
	s := spark{Width: 2 * chartMinutes, Height: sparkHeight}
	var most uint64 = 1
	for _, n := range minutes {
		most = max(most, n)
	}
	for i, n := range minutes {
		if n > 0 {
			h := max(float64(n)/float64(most)*sparkHeight, 1)
			s.Bars = append(s.Bars, bar{X: fmt.Sprint(2 * slot(i, len(minutes))), W: "1.5", Y: units(sparkHeight - h), H: units(h)})
		}
	}
	return s
}
