package statushtml

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// narrow stands between the digits of a long number, and before a unit.
const narrow = "\u202f"

// count writes a number with its thousands apart.
func count[T int | int64 | uint64](n T) string {
	digits := strconv.FormatInt(int64(n), 10)
	var b strings.Builder
	for i, c := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 && digits[i-1] != '-' {
			b.WriteString(narrow)
		}
		b.WriteRune(c)
	}
	return b.String()
}

// number is count for templates.
func number(v any) string {
	switch n := v.(type) {
	case int:
		return count(n)
	case int64:
		return count(n)
	case uint64:
		return count(n)
	case *int:
		return count(*n)
	}
	return fmt.Sprint(v)
}

// rate writes how many there are in a second.
func rate(perSecond float64) string {
	switch {
	case perSecond == 0:
		return "0"
	case perSecond < 0.01:
		return "<" + narrow + "0.01"
	case perSecond < 1:
		return strconv.FormatFloat(perSecond, 'f', 2, 64)
	case perSecond < 100:
		return strconv.FormatFloat(perSecond, 'f', 1, 64)
	}
	return count(int64(perSecond + 0.5))
}

// percent writes a share. What is there is never 0, and what is not all is never 100.
func percent(share float64) string {
	switch {
	case share <= 0:
		return "0" + narrow + "%"
	case share < 0.001:
		return "<" + narrow + "0.1" + narrow + "%"
	case share < 1 && share > 0.999:
		return ">" + narrow + "99.9" + narrow + "%"
	case share < 0.1:
		return strconv.FormatFloat(100*share, 'f', 1, 64) + narrow + "%"
	}
	return strconv.FormatFloat(100*share, 'f', 0, 64) + narrow + "%"
}

// took writes a time that something took.
func took(seconds float64) string {
	switch {
	case seconds <= 0:
		return "–"
	case seconds < 0.001:
		return strconv.FormatFloat(1e6*seconds, 'f', 0, 64) + narrow + "µs"
	case seconds < 0.01:
		return strconv.FormatFloat(1e3*seconds, 'f', 1, 64) + narrow + "ms"
	case seconds < 1:
		return strconv.FormatFloat(1e3*seconds, 'f', 0, 64) + narrow + "ms"
	}
	return strconv.FormatFloat(seconds, 'f', 1, 64) + narrow + "s"
}

// span writes how long something is, in the largest unit of which there are two.
func span(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{
		{365 * 24 * time.Hour, "years"}, {24 * time.Hour, "days"}, {time.Hour, "hours"}, {time.Minute, "minutes"}, {time.Second, "seconds"},
	} {
		if n := d / u.unit; n >= 2 {
			return count(int64(n)) + " " + u.name
		}
	}
	return "a moment"
}

// from writes where a time lies as seen from another.
func from(now, t time.Time) string {
	switch d := t.Sub(now); {
	case d > time.Second:
		return "in " + span(d)
	case d < -time.Second:
		return span(-d) + " ago"
	}
	return "now"
}

// shown is a text of which nobody knows what it holds, as one can see it. A character that
// shows nothing, or turns round how others are read, is written as in Go.
func shown(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return s
	}
	quoted := strconv.Quote(s)
	return quoted[1 : len(quoted)-1]
}
