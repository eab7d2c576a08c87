// Package statushtml writes the status page of package adminapi: what a
// [statuspage.Report] says, as HTML.
//
// The page is whole without scripts. It loads nothing: the style and the one script stand
// in it, and [Policy] lets these two in by their hash and nothing else. html/template
// escapes what stands in the report; that some of it shows nothing, or turns round the
// order in which others are read, is made visible by shown.
package statushtml

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sallyport/sallyport/adminapi/statuspage"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageJS string

// Policy is the Content-Security-Policy of the page (CSP Level 3).
var Policy = strings.Join([]string{
	"default-src 'none'",
	"style-src '" + hash(pageCSS) + "'",
	"script-src '" + hash(pageJS) + "'",
	"connect-src 'self'", // the page itself, again
	"form-action 'self'",
	"base-uri 'none'",
	"frame-ancestors 'none'",
}, "; ")

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"clock":    func(t time.Time) string { return t.UTC().Format("15:04:05") },
	"minute":   func(t time.Time) string { return t.UTC().Format("15:04") },
	"date":     func(t time.Time) string { return t.UTC().Format(time.DateOnly) },
	"stamp":    func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"from":     from,
	"health":   healthClass,
	"life":     lifeOf,
	"number":   number,
	"percent":  percent,
	"plural":   pluralOf,
	"rate":     rate,
	"ratio":    ratio,
	"sentence": sentence,
	"shown":    shownAny,
	"some":     someOf,
	"sum":      sumOf,
	"took":     took,
	"words":    func(v any) string { return strings.ReplaceAll(shownAny(v), "_", " ") },
}).Parse(pageHTML))

// Write writes a page. What goes wrong is w's: a page that cannot be made is a mistake in
// this package, and written to nobody.
func Write(w io.Writer, report *statuspage.Report, q Query) error {
	var b bytes.Buffer
	if err := page.Execute(&b, newView(report, q)); err != nil {
		return fmt.Errorf("statushtml: %w", err)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// A view is what the template is filled from.
type view struct {
	Report *statuspage.Report
	Query  queryView
	Title  string
	Style  template.CSS
	Script template.JS

	ErrorShare float64
	Charts     []*chart
	Reasons    []reasonView
	Minutes    []statuspage.Minute // the newest first
	Limits     []limitView
	Sorts      []sortView
}

// A queryView is a Query for the template, which calls methods alone.
type queryView struct{ Query }

func (q queryView) Link(section, name, value string) string { return q.link(section, name, value) }
func (q queryView) Others(own ...string) []field            { return q.others(own...) }

// Self is the address of the same page again.
func (q queryView) Self() string { return "?" + q.values().Encode() }

type reasonView struct {
	Name, Meaning string
	Count         uint64
	Spark         spark
}

type limitView struct {
	Name  string
	Count uint64
}

type sortView struct {
	Text, Link string
	Current    bool
}

func newView(r *statuspage.Report, q Query) *view {
	v := &view{
		Report: r, Query: queryView{q}, Title: "Gateway status", Style: template.CSS(pageCSS), Script: template.JS(pageJS),
		ErrorShare: ratio(r.Traffic.Answers.ServerError, r.Traffic.Answers.Total()),
		Charts:     charts(r.Traffic.Minutes),
		Minutes:    slices.Clone(r.Traffic.Minutes),
	}
	if n := len(r.Concerns); n > 0 {
		v.Title = fmt.Sprintf("(%d) Gateway status", n)
	}
	slices.Reverse(v.Minutes)
	for _, reason := range r.Traffic.Reasons {
		v.Reasons = append(v.Reasons, reasonView{reason.Reason, reason.Meaning, reason.Count, newSpark(reason.Minutes)})
	}
	for name, n := range r.Connections.Limits {
		if n > 0 {
			v.Limits = append(v.Limits, limitView{name, n})
		}
	}
	slices.SortFunc(v.Limits, func(a, b limitView) int { return strings.Compare(a.Name, b.Name) })
	for _, s := range [][2]string{{ByTraffic, "traffic"}, {ByErrors, "errors"}, {ByID, "id"}} {
		link := s[0]
		if link == ByTraffic {
			link = "" // which is so by itself
		}
		v.Sorts = append(v.Sorts, sortView{Text: s[1], Link: q.link("routes", "routes_sort", link), Current: q.Sort == s[0]})
	}
	return v
}

func charts(minutes []statuspage.Minute) []*chart {
	return []*chart{
		newChart("chart-requests", "Requests", "requests", minutes, []series{
			{Name: "fine (2xx)", Class: "fine"}, {Name: "other (1xx, 3xx)", Class: "moved"},
			{Name: "4xx", Class: "client"}, {Name: "5xx or none", Class: "failed"},
		}, func(m statuspage.Minute) []uint64 {
			a := m.Answers
			return []uint64{a.Success, a.Informational + a.Redirection, a.ClientError, a.ServerError + a.None}
		}),
		newChart("chart-handshakes", "Handshakes", "handshakes", minutes, []series{
			{Name: "succeeded", Class: "succeeded"},
		}, func(m statuspage.Minute) []uint64 { return []uint64{m.Handshakes} }),
		// Of their own, as a few among many would not be seen.
		newChart("chart-failed", "Failed handshakes", "failures", minutes, []series{
			{Name: "failed", Class: "failed"},
		}, func(m statuspage.Minute) []uint64 { return []uint64{m.Failed} }),
	}
}

// A filterView is the form that filters a list.
type filterView struct {
	Section, Value, Hint, Label string
	Clear                       string // the address without a filter
	Others                      []field
}

// Filter returns the form of a section.
func (v *view) Filter(section, hint string) filterView {
	q := &v.Query.Query
	return filterView{
		Section: section, Hint: hint, Label: "Filter " + section, Value: q.values().Get(section),
		Clear: q.link(section, section, ""), Others: q.others(section, section+"_page"),
	}
}

// A pagesView says what of a list is shown, and leads to the rest.
type pagesView struct {
	Text       string
	Name       string
	Back, Next string // addresses, or ""
	Page, Of   int
}

// nouns are what the lists have, one and several.
var nouns = map[string][2]string{
	"refusals":  {"refusal", "refusals"},
	"names":     {"ssl object", "ssl objects"},
	"routes":    {"route", "routes"},
	"upstreams": {"upstream", "upstreams"},
}

// Pages returns what stands under the list of a section, of which so many are shown.
func (v *view) Pages(section string, of statuspage.Part, shown int) pagesView {
	q := &v.Query.Query
	p := pagesView{Name: section, Page: of.Page, Of: of.Pages}
	filtered := q.values().Get(section) != ""
	all := count(of.Total) + " " + pluralOf(of.Total, nouns[section][0], nouns[section][1])
	switch hidden := of.Matching - shown; {
	case of.Total == 0 && section == "refusals":
		p.Text = "Nobody was refused yet."
	case of.Total == 0:
		p.Text = "There are no " + nouns[section][1] + "."
	case of.Matching == 0:
		p.Text = fmt.Sprintf("The filter fits none of %s.", all)
	case hidden == 0 && !filtered:
		p.Text = all + "."
	case !filtered:
		p.Text = fmt.Sprintf("%s, of which %s are not shown here.", all, count(hidden))
	case hidden == 0:
		p.Text = fmt.Sprintf("The filter fits %s of %s.", count(of.Matching), all)
	default:
		p.Text = fmt.Sprintf("The filter fits %s of %s; of these, %s are not shown here.", count(of.Matching), all, count(hidden))
	}
	if of.Page > 1 {
		p.Back = q.link(section, section+"_page", fmt.Sprint(of.Page-1))
	}
	if of.Page < of.Pages {
		p.Next = q.link(section, section+"_page", fmt.Sprint(of.Page+1))
	}
	return p
}

// A life is how much of its time a certificate has left.
type life struct {
	Class   string
	Percent int
	Text    string
}

// fullBar is what a full bar means, for a certificate that has more.
const fullBar = 90 * 24 * time.Hour

func lifeOf(now time.Time, c statuspage.Certificate) life {
	switch c.State {
	case statuspage.Ended:
		return life{"over", 0, "ended " + from(now, c.NotAfter)}
	case statuspage.NotYetValid:
		return life{"over", 0, "begins " + from(now, c.NotBefore)}
	}
	l := life{Text: "ends " + from(now, c.NotAfter)}
	whole := max(min(c.NotAfter.Sub(c.NotBefore), fullBar), 1)
	l.Percent = int(math.Round(100 * min(float64(c.NotAfter.Sub(now))/float64(whole), 1)))
	if c.State == statuspage.EndsSoon {
		l.Class = "soon"
	}
	return l
}

// A some is the beginning of a list.
type some struct {
	List []string
	More int
}

// fewNames is how many of a list are named.
const fewNames = 4

func someOf(list []string) some {
	if len(list) <= fewNames {
		return some{List: list}
	}
	return some{list[:fewNames], len(list) - fewNames}
}

// healthClass is the colour of a node's health.
func healthClass(health any) string {
	switch health {
	case "healthy":
		return " good"
	case "mostly_healthy", "mostly_unhealthy":
		return " warn"
	default:
		return " bad"
	}
}

// sentence makes a sentence of an error.
func sentence(v any) string {
	s := strings.TrimSuffix(shownAny(v), ".")
	if s == "" {
		return ""
	}
	c, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(c)) + s[n:] + "."
}

func shownAny(v any) string {
	if s, ok := v.(string); ok {
		return shown(s)
	}
	return shown(fmt.Sprint(v))
}

func pluralOf(n any, one, more string) string {
	if number(n) == "1" {
		return one
	}
	return more
}

func sumOf(counts map[string]uint64) (sum uint64) {
	for _, n := range counts {
		sum += n
	}
	return sum
}

func ratio(part, of uint64) float64 {
	if of == 0 {
		return 0
	}
	return float64(part) / float64(of)
}
