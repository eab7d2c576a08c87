package adminapi

import (
	"strings"

	"github.com/sallyport/sallyport/adminapi/statuspage"
	"github.com/sallyport/sallyport/gateway"
)

// filter returns what says whether one of some texts has another in it, whatever the case.
// Every text has the empty one.
func filter(wanted string) func(texts ...string) bool {
	wanted = strings.ToLower(strings.TrimSpace(wanted))
	return func(texts ...string) bool {
		if wanted == "" {
			return true
		}
		for _, text := range texts {
			if strings.Contains(strings.ToLower(text), wanted) {
				return true
			}
		}
		return false
	}
}

// listed returns a page of what matches, beyond the end the last one. What show reports to
// be gone is left out: only what is on the page is made.
func listed[E, T any](total int, matching []E, page, size int, show func(E) (T, bool)) statuspage.List[T] {
	l := statuspage.List[T]{List: []T{}}
	l.Total, l.Matching, l.Pages = total, len(matching), max((len(matching)+size-1)/size, 1)
	l.Page = min(page, l.Pages)
	for _, e := range matching[(l.Page-1)*size : min(l.Page*size, len(matching))] {
		if t, ok := show(e); ok {
			l.List = append(l.List, t)
		}
	}
	return l
}

// answersOf names the classes.
func answersOf(c gateway.StatusCounts) statuspage.Answers {
	return statuspage.Answers{Informational: c[1], Success: c[2], Redirection: c[3], ClientError: c[4], ServerError: c[5], None: c[0]}
}

func plus(a, b statuspage.Answers) statuspage.Answers {
	return statuspage.Answers{
		Informational: a.Informational + b.Informational,
		Success:       a.Success + b.Success,
		Redirection:   a.Redirection + b.Redirection,
		ClientError:   a.ClientError + b.ClientError,
		ServerError:   a.ServerError + b.ServerError,
		None:          a.None + b.None,
	}
}

// share returns a part of a whole, and 0 of nothing.
func share(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

func perSecond(n uint64, seconds float64) float64 {
	if seconds <= 0 {
		return 0
	}
	return float64(n) / seconds
}

// meanSeconds returns the mean of what a histogram has.
func meanSeconds(h gateway.Histogram) float64 {
	if h.Count == 0 {
		return 0
	}
	return h.Sum.Seconds() / float64(h.Count)
}
