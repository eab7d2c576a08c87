package statushtml

import (
	"cmp"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sallyport/sallyport/internal/secret"
)

// A Query is what the request for a page asks for. The zero Query is the page as it is
// without any.
type Query struct {
	// Which part of each list.
	Refusals, Names, Routes, Upstreams Wanted

	// Sort is the order of the routes: [ByTraffic], [ByErrors] or [ByID].
	Sort string

	// Size is how many entries of a list there are on a page.
	Size int

	// Asked is the question to the form that explains, if URL is not empty.
	Asked Asked
}

// Wanted is a page of what a filter leaves of a list.
type Wanted struct {
	Filter string
	Page   int // from 1 on
}

// Asked is a request that somebody asks about.
type Asked struct {
	URL, Method, Client, SNI string

	// Header has a line for each field, "Name: value".
	Header string
}

// The orders of routes.
const (
	ByTraffic = "traffic"
	ByErrors  = "errors"
	ByID      = "id"
)

// The sizes of a page, as those of the lists of the Admin API but for the default.
const (
	defaultSize = 20
	minSize     = 10
	maxSize     = 500
)

// maxText bounds what is taken of a parameter: it is sought in every object, and stands in
// every link.
const maxText = 1024

// Parse reads a query. The error is a sentence for the client.
func Parse(values url.Values) (q Query, err error) {
	for name := range values {
		text := values.Get(name)
		if len(text) > maxText {
			return Query{}, fmt.Errorf("%.20q is longer than %d bytes", name, maxText)
		}
		if secret.In(text) { // which would stand in the page again
			return Query{}, fmt.Errorf("%.20q has a private key", name)
		}
		if !utf8.ValidString(text) || strings.ContainsFunc(text, func(c rune) bool { return unicode.IsControl(c) && !strings.ContainsRune("\r\n\t", c) }) {
			return Query{}, fmt.Errorf("%.20q is no text: it is not UTF-8, or has control characters", name)
		}
	}
	number := func(name string, from, to, otherwise int) int {
		if values.Get(name) == "" {
			return otherwise
		}
		n, wrong := strconv.Atoi(values.Get(name))
		if wrong != nil || n < from || n > to {
			err = cmp.Or(err, fmt.Errorf("%s must be a number from %d to %d", name, from, to))
		}
		return n
	}
	part := func(name string) Wanted {
		return Wanted{Filter: values.Get(name), Page: number(name+"_page", 1, 1<<30, 1)}
	}
	q = Query{
		Refusals: part("refusals"), Names: part("names"), Routes: part("routes"), Upstreams: part("upstreams"),
		Sort: cmp.Or(values.Get("routes_sort"), ByTraffic),
		Size: number("page_size", minSize, maxSize, defaultSize),
		Asked: Asked{
			URL: values.Get("url"), Method: values.Get("method"), Client: values.Get("client"), SNI: values.Get("sni"),
			Header: values.Get("header"),
		},
	}
	switch q.Sort {
	case ByTraffic, ByErrors, ByID:
	default:
		err = cmp.Or(err, fmt.Errorf("routes_sort must be %s, %s or %s", ByTraffic, ByErrors, ByID))
	}
	if err != nil {
		return Query{}, err
	}
	return q, nil
}

// values returns the query as parameters, without those that say nothing.
func (q *Query) values() url.Values {
	v := url.Values{}
	set := func(name, value, otherwise string) {
		if value != otherwise {
			v.Set(name, value)
		}
	}
	for name, p := range map[string]Wanted{"refusals": q.Refusals, "names": q.Names, "routes": q.Routes, "upstreams": q.Upstreams} {
		set(name, p.Filter, "")
		set(name+"_page", strconv.Itoa(p.Page), "1")
	}
	set("routes_sort", q.Sort, ByTraffic)
	set("page_size", strconv.Itoa(q.Size), strconv.Itoa(defaultSize))
	set("url", q.Asked.URL, "")
	set("method", q.Asked.Method, "")
	set("client", q.Asked.Client, "")
	set("sni", q.Asked.SNI, "")
	set("header", q.Asked.Header, "")
	return v
}

// link returns the address of the page with one parameter changed, at a section of it. It
// is relative, so that the page may stand under any path.
func (q *Query) link(section, name, value string) string {
	v := q.values()
	v.Set(name, value)
	if value == "" || name == section+"_page" && value == "1" {
		v.Del(name)
	}
	if name != section+"_page" {
		v.Del(section + "_page")
	}
	return "?" + v.Encode() + "#" + section
}

// A field is a parameter that a form takes along unseen.
type field struct{ Name, Value string }

// others returns the parameters that a form does not ask for itself.
func (q *Query) others(own ...string) (fields []field) {
	v := q.values()
	for _, name := range own {
		v.Del(name)
	}
	for _, name := range []string{
		"names", "names_page", "page_size", "refusals", "refusals_page", "routes", "routes_page", "routes_sort",
		"upstreams", "upstreams_page", "url", "method", "client", "sni", "header",
	} {
		if v.Has(name) {
			fields = append(fields, field{name, v.Get(name)})
		}
	}
	return fields
}
