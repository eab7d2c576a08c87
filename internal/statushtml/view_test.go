package statushtml_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/adminapi/statuspage"
	"github.com/sallyport/sallyport/internal/statushtml"
	"github.com/sallyport/sallyport/internal/statushtml/sample"
)

// An element is a start tag.
type element struct {
	name string
	attr map[string]string
	text string // up to the next tag
}

// render returns a page, as text and as its elements. It is written so that package xml can
// read it, which is told of the elements that have no end; what is no XML is a mistake of
// ours, or what a hostile text has made.
func render(t testing.TB, r *statuspage.Report, values url.Values) (raw string, elements []element) {
	t.Helper()
	q, err := statushtml.Parse(values)
	require.NoError(t, err)
	var b strings.Builder
	require.NoError(t, statushtml.Write(&b, r, q))
	raw = b.String()
	// Style and script are no XML. TestPolicyFitsThePage has them.
	whole := regexp.MustCompile(`(?s)<(style|script)>.*?</(style|script)>`).ReplaceAllString(raw, "")
	d := xml.NewDecoder(strings.NewReader(whole))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	for {
		token, err := d.Token()
		if err == io.EOF {
			return raw, elements
		}
		require.NoError(t, err)
		switch token := token.(type) {
		case xml.StartElement:
			e := element{name: token.Name.Local, attr: map[string]string{}}
			for _, a := range token.Attr {
				require.NotContains(t, e.attr, a.Name.Local)
				e.attr[a.Name.Local] = a.Value
			}
			elements = append(elements, e)
		case xml.CharData:
			if len(elements) > 0 {
				elements[len(elements)-1].text += string(token)
			}
		case xml.Comment, xml.ProcInst:
			t.Fatalf("%s", token)
		}
	}
}

// The policy lets in the style and the script that stand in the page, and no other.
func TestPolicyFitsThePage(t *testing.T) {
	raw, elements := render(t, sample.Report(), nil)
	for _, tag := range []string{"style", "script"} {
		found := regexp.MustCompile(`(?s)<`+tag+`>(.*?)</`+tag+`>`).FindAllStringSubmatch(raw, -1)
		require.Len(t, found, 1)
		sum := sha256.Sum256([]byte(found[0][1]))
		require.Contains(t, statushtml.Policy, tag+"-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"';")
	}
	require.NotContains(t, statushtml.Policy, "unsafe")
	for _, e := range elements {
		require.NotContains(t, e.attr, "style", "no policy lets it in")
	}
}

// hostile is what a client may send as the name of a server, a header, or in a certificate,
// and what a document may hold.
var hostile = []string{
	`<script>alert(1)</script>`,
	`"><img src=x onerror=alert(1)>`,
	`' onmouseover='alert(1)`,
	`" autofocus onfocus="alert(1)`,
	"` onclick=alert(1) `",
	`javascript:alert(1)`,
	`data:text/html,<script>alert(1)</script>`,
	`</title></style></textarea></svg></script><script>alert(1)</script>`,
	`<!--`, `-->`, `]]>`, `<![CDATA[`,
	`<svg onload=alert(1)>`,
	`{{.Style}}`, `${alert(1)}`, `&lt;script&gt;`, `&#x3c;script&#x3e;`,
	`\u003cscript\u003e`, `'-alert(1)-'`, `+ADw-script+AD4-`,
	"a\x00b", "a\nb\r\nSet-Cookie: a=b", "\x1b[31mred\x1b[0m", "\xff\xfe<script>\xc0\xbc",
	"abc\u202egnp.exe\u2066", "\u200b\u2028\u2029\ufeff",
	"a" + strings.Repeat("\u0301", 50),
	strings.Repeat("W", 255),
	`#"><script>`, `?"><script>`, `//evil.example/`,
}

// fill puts a text into every string of a value.
func fill(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Pointer:
		if !v.IsNil() {
			fill(v.Elem(), text)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), text)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			fill(v.Index(i), text)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			old := v.MapIndex(key)
			if old.Kind() == reflect.Interface {
				old = old.Elem()
			}
			fresh := reflect.New(old.Type()).Elem()
			fresh.Set(old)
			fill(fresh, text)
			v.SetMapIndex(key, fresh)
		}
	case reflect.Interface:
		if !v.IsNil() {
			fresh := reflect.New(v.Elem().Type()).Elem()
			fresh.Set(v.Elem())
			fill(fresh, text)
			v.Set(fresh)
		}
	}
}

// skeleton is what of a page is not text: its elements and the names of their attributes, the
// values of those that mean something to a browser, and of addresses how they begin.
func skeleton(elements []element) string {
	var b strings.Builder
	for _, e := range elements {
		b.WriteString(e.name)
		for _, name := range slices.Sorted(maps.Keys(e.attr)) {
			fmt.Fprintf(&b, " %s", name)
			switch name {
			case "href", "action":
				fmt.Fprintf(&b, "=%.1s", e.attr[name])
			case "class", "type", "method", "role", "scope", "name", "http-equiv":
				if e.name != "meta" {
					fmt.Fprintf(&b, "=%s", e.attr[name])
				}
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Whatever a client sends is text: with it, the page has the elements and the attributes that
// it has without, and no address leads elsewhere.
func TestHostileTextsStayTexts(t *testing.T) {
	page := func(text string) (string, []element) {
		r := sample.Report()
		fill(reflect.ValueOf(r).Elem(), text)
		values := url.Values{}
		for _, name := range []string{"refusals", "names", "routes", "upstreams", "url", "method", "client", "sni", "header"} {
			values.Set(name, text)
		}
		if _, err := statushtml.Parse(values); err != nil { // it does not come in at all
			for name := range values {
				values.Set(name, "x")
			}
		}
		return render(t, r, values)
	}
	_, harmless := page("x")
	want := skeleton(harmless)
	require.Contains(t, want, " href=?")
	for _, text := range hostile {
		raw, elements := page(text)
		require.Equal(t, want, skeleton(elements), "%q", text)
		for _, e := range elements {
			// What would change how other text is read can be seen instead. What is put into
			// a field of a form again is as it was.
			require.NotContains(t, strings.Map(func(c rune) rune {
				if unicode.IsPrint(c) || c == '\n' || c == '\u202f' || e.name == "textarea" {
					return -1
				}
				return '!'
			}, e.text), "!", "%q: %q", text, e.text)
		}
		require.NotContains(t, raw, "ZgotmplZ") // html/template could not tell where it stands
	}
}

// Every address within the page, and every label, is of something that is there once.
func TestPageHangsTogether(t *testing.T) {
	_, elements := render(t, sample.Report(), nil)
	ids, labelled := map[string]bool{}, map[string]bool{}
	for _, e := range elements {
		labelled[e.attr["for"]] = e.name == "label" && e.text != ""
		if id, ok := e.attr["id"]; ok {
			require.False(t, ids[id], "%s twice", id)
			ids[id] = true
		}
	}
	for _, e := range elements {
		if e.name == "textarea" || e.name == "input" && e.attr["type"] != "hidden" {
			require.True(t, labelled[e.attr["id"]], "%v", e) // a placeholder is none
		}
		for name, value := range e.attr {
			switch {
			case name == "href" && strings.HasPrefix(value, "#"), name == "action":
				require.True(t, ids[value[1:]], value)
			case name == "for", name == "aria-labelledby", name == "aria-describedby":
				require.True(t, ids[value], value)
			}
		}
	}
}

// How many are not shown, stands under each list.
func TestPagesSayWhatIsMissing(t *testing.T) {
	r := sample.Report()
	r.Routes = statuspage.List[statuspage.Route]{Part: statuspage.Part{Total: 100_000, Matching: 1234, Page: 3, Pages: 62}, List: r.Routes.List}
	raw, _ := render(t, r, url.Values{"routes": {"shop & co"}, "routes_page": {"3"}, "names": {"n"}})
	require.Contains(t, raw, "The filter fits 1\u202f234 of 100\u202f000 routes; of these, 1\u202f231 are not shown here.")
	require.Contains(t, raw, `href="?names=n&amp;routes=shop&#43;%26&#43;co&amp;routes_page=2#routes" rel="prev"`)
	require.Contains(t, raw, `href="?names=n&amp;routes=shop&#43;%26&#43;co&amp;routes_page=4#routes" rel="next"`)
	require.Contains(t, raw, "64 refusals, of which 61 are not shown here.")
}

// With nothing at all to say, the page says so.
func TestEmptyReport(t *testing.T) {
	raw, _ := render(t, &statuspage.Report{}, nil)
	for _, want := range []string{
		"Nothing needs attention.", "Nobody was refused yet.", "There are no ssl objects.", "There are no routes.", "There are no upstreams.",
		"nothing was configured yet", "Nothing was counted yet.",
	} {
		require.Contains(t, raw, want)
	}
}
