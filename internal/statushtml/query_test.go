package statushtml

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseRefuses(t *testing.T) {
	for query, want := range map[string]string{
		"names_page=0":                        "names_page must be a number from 1 to",
		"routes_page=x":                       "routes_page must be a number",
		"upstreams_page=1e3":                  "upstreams_page must be a number",
		"refusals_page=99999999999999999999":  "refusals_page must be a number",
		"page_size=9":                         "page_size must be a number from 10 to 500",
		"page_size=501":                       "page_size must be a number from 10 to 500",
		"routes_sort=age":                     "routes_sort must be traffic, errors or id",
		"names=%00":                           `"names" is no text`,
		"url=%ff":                             `"url" is no text`,
		"header=" + strings.Repeat("a", 1025): `"header" is longer than 1024 bytes`,
	} {
		values, err := url.ParseQuery(query)
		require.NoError(t, err)
		_, err = Parse(values)
		require.ErrorContains(t, err, want, query)
	}
}

// A link has all that the page was asked for, but for what it changes: the first page of a
// list that is filtered or sorted in another way.
func TestLinks(t *testing.T) {
	q, err := Parse(url.Values{
		"routes": {"a&b=c#d"}, "routes_page": {"3"}, "routes_sort": {"errors"}, "names_page": {"2"}, "page_size": {"50"},
		"url": {"https://a.test/?x=1"}, "header": {"A: 1\r\nB: 2"},
	})
	require.NoError(t, err)
	follow := func(link string) Query {
		u, err := url.Parse(link)
		require.NoError(t, err)
		require.Empty(t, u.Path)
		require.Equal(t, "routes", u.Fragment)
		next, err := Parse(u.Query())
		require.NoError(t, err)
		return next
	}
	want := q
	want.Routes.Page = 4
	require.Equal(t, want, follow(q.link("routes", "routes_page", "4")))
	want.Routes.Page = 1
	require.Equal(t, want, follow(q.link("routes", "routes_page", "1")))
	want.Sort = ByTraffic
	require.Equal(t, want, follow(q.link("routes", "routes_sort", "")))
	want = q
	want.Routes = Wanted{Page: 1}
	require.Equal(t, want, follow(q.link("routes", "routes", "")))
	require.Equal(t, "?#routes", (&Query{Names: Wanted{"", 1}, Refusals: Wanted{"", 1}, Upstreams: Wanted{"", 1}, Routes: Wanted{"x", 2}, Sort: ByTraffic, Size: defaultSize}).link("routes", "routes", ""))

	// A form takes along what the others have.
	var names []string
	for _, f := range q.others("routes", "routes_page") {
		names = append(names, f.Name)
	}
	require.Equal(t, []string{"names_page", "page_size", "routes_sort", "url", "header"}, names)
}

// Whatever is asked for, the links of the page ask for something that is answered.
func FuzzLinks(f *testing.F) {
	f.Add("a", "b", uint8(3), "id", "https://a.test/")
	f.Fuzz(func(t *testing.T, routes, names string, page uint8, sort, asked string) {
		q, err := Parse(url.Values{"routes": {routes}, "names": {names}, "routes_page": {string('0' + page%10)}, "routes_sort": {sort}, "url": {asked}})
		if err != nil {
			return
		}
		u, err := url.Parse(q.link("names", "names_page", "2"))
		if err != nil {
			t.Fatal(err)
		}
		want := q
		want.Names.Page = 2
		if got, err := Parse(u.Query()); err != nil || got != want {
			t.Fatalf("%+v\n%+v\n%v", want, got, err)
		}
	})
}
