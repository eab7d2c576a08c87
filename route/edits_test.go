package route_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/fieldname"
	"github.com/sallyport/sallyport/route"
)

// edited is a route with changes to the header.
func edited(h route.HeaderEdits) route.Config {
	return route.Config{ID: "r", Paths: []string{"/", "/u/:id"}, Upstream: "u", Headers: h}
}

func set(name, value string) route.HeaderEdits {
	return route.HeaderEdits{Set: []route.HeaderField{{Name: name, Value: value}}}
}

// known are Lookups of a request that has just these variables.
type known map[string]string

func (k known) Lookup(kind route.VarKind, name string) (string, bool) {
	v, ok := k[name]
	return v, ok
}

func (k known) LookupAll(name string) ([]string, bool) {
	if v, ok := k[name]; ok && strings.HasSuffix(name, "_sans") {
		return strings.Split(v, ","), true
	}
	return nil, false
}

func TestEditsRefused(t *testing.T) {
	fields := func(names ...string) (list []route.HeaderField) {
		for _, name := range names {
			list = append(list, route.HeaderField{Name: name})
		}
		return list
	}
	for _, c := range []struct {
		h           route.HeaderEdits
		field, text string
	}{
		{route.HeaderEdits{Set: fields("X-A", "")}, "Headers.Set[1].Name", `is required`},
		{route.HeaderEdits{Add: fields("")}, "Headers.Add[0].Name", `is required`},
		{route.HeaderEdits{Remove: []string{""}}, "Headers.Remove[0]", `is required`},
		{route.HeaderEdits{Remove: numbered("x%d", 1001)}, "Headers", `1001 fields are over 1000`},
		{set("X-A", strings.Repeat("$a", 1001)), "Headers", `the values have over 1000 variables`},
		{set("X A", ""), "Headers.Set[0].Name", `"X A" is no name of a field: it has a character that RFC 9110, section 5.6.2, does not allow`},
		{set("X-A:", ""), "Headers.Set[0].Name", `"X-A:" is no name of a field: it has a character that RFC 9110, section 5.6.2, does not allow`},
		{set(":path", ""), "Headers.Set[0].Name", `":path" is no name of a field: it has a character that RFC 9110, section 5.6.2, does not allow`},
		{set("X-\xff", ""), "Headers.Set[0].Name", `"X-\xff" is no name of a field: it has a character that RFC 9110, section 5.6.2, does not allow`},
		{set("host", "a"), "Headers.Set[0].Name", `"host" is the server's own: it says how a message is carried, and not what is in it`},
		{set("Content_Length", "1"), "Headers.Set[0].Name", `"Content_Length" is the server's own: it says how a message is carried, and not what is in it`},
		{route.HeaderEdits{Remove: []string{"Transfer-Encoding"}}, "Headers.Remove[0]", `"Transfer-Encoding" is the server's own: it says how a message is carried, and not what is in it`},
		{route.HeaderEdits{Set: fields("X-A", "x_a")}, "Headers.Set[1].Name", `"x_a" is in Headers.Set[0].Name already`},
		{route.HeaderEdits{Set: fields("X-A"), Remove: []string{"X-A"}}, "Headers.Remove[0]", `"X-A" is in Headers.Set[0].Name already`},
		{route.HeaderEdits{Add: fields("X-A"), Remove: []string{"X-A"}}, "Headers.Add[0].Name", `"X-A" is in Headers.Remove[0] too: Set replaces what the request has, Add adds to it`},
		{set("X-A", "a\r\nX-B: c"), "Headers.Set[0].Value", `"a\r\nX-B: c" has a control character, which no value of a field has (RFC 9110, section 5.5)`},
		{set("X-A", "a\x00"), "Headers.Set[0].Value", `"a\x00" has a control character, which no value of a field has (RFC 9110, section 5.5)`},
		{set("X-A", "a\x7f"), "Headers.Set[0].Value", `"a\x7f" has a control character, which no value of a field has (RFC 9110, section 5.5)`},
	} {
		_, err := route.New(edited(c.h))
		var fault *route.ConfigError
		require.ErrorAs(t, err, &fault, "%+v", c.h)
		require.Equal(t, c.field, fault.Field, "%+v", c.h)
		require.Equal(t, c.text, fault.Err.Error())
	}
	for _, name := range []string{"Connection", "Content-Length", "Expect", "Host", "HTTP2-Settings", "Keep-Alive",
		"Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade"} {
		_, err := route.New(edited(set(name, "x")))
		require.Error(t, err, name)
	}
}

// What a value is, for a request that has some variables.
func TestEditValues(t *testing.T) {
	table := must(route.NewTable(&route.Options{Router: route.RouterURIWithParameter}))
	req := &route.Request{
		Method: "GET", Host: "a.test", Path: "/u/7", ClientAddr: netip.MustParseAddr("::ffff:192.0.2.1"),
		Lookups: known{
			"X-Id": "42", "v": "a b", "scheme": "https", "ssl_client_dns_sans": "a.test,b.test",
			"evil": "a\r\nX-Admin: 1", "nul": "ad\x00min", "tab": "a\tb", "around": "\r\n a \n", "empty": "", "latin": "caf\xe9",
		},
	}
	for _, c := range []struct{ value, want string }{
		{"", ""},
		{"fixed", "fixed"},
		{" \tfixed ", "fixed"},
		{"a\tb", "a\tb"},
		{"$host", "a.test"},
		{"${host}", "a.test"},
		{"$host$uri", "a.test/u/7"},
		{"${host}x", "a.testx"},
		{"$hostx", ""},
		{"<$method $scheme://${host}$uri>", "<GET https://a.test/u/7>"},
		{"$remote_addr", "192.0.2.1"},
		{"$uri_param_id", "7"},
		{"$uri_param_none", ""},
		{"$http_x_id", "42"},
		{"$http_X_ID", "42"},
		{"$arg_v", "a b"},
		{"$ssl_client_dns_sans", "a.test"},
		{"$ssl_client_s_dn", ""},
		{"a $none b", "a  b"},
		{"$empty", ""},
		{" $none ", ""},

		// A dollar sign that begins no variable.
		{"$", "$"},
		{"5$", "5$"},
		{"$$", "$$"},
		{"$$host", "$a.test"},
		{"$-", "$-"},
		{"${}", "${}"},
		{"${host", "${host"},
		{"${host x}", "${host x}"},
		{"${${host}}", "${a.test}"},
		{`\$host`, `\$host`},
		{`\$host$host`, `\$hosta.test`},
		{`\${host}`, `\${host}`},

		// What no field can have.
		{"$arg_evil", "a  X-Admin: 1"},
		{"x$arg_evil", "xa  X-Admin: 1"},
		{"$arg_nul", "ad min"},
		{"$arg_tab", "a\tb"},
		{"$arg_around", "a"},
		{"x${arg_around}x", "x   a  x"},
		{"$arg_latin", "caf\xe9"},
	} {
		r, err := route.New(edited(set("X-Out", c.value)))
		require.NoError(t, err, c.value)
		m := table.With(r).Match(req)
		require.Same(t, r, m.Route)
		require.Equal(t, []route.HeaderField{{Name: "X-Out", Value: c.want}}, r.Headers().Append(nil, req, &m), "%q", c.value)
	}
}

func TestEdits(t *testing.T) {
	r := mustNew(t, edited(route.HeaderEdits{
		Set:    []route.HeaderField{{Name: "X-User", Value: "$ssl_client_s_dn"}, {Name: "x-env", Value: "prod"}},
		Add:    []route.HeaderField{{Name: "X-Hop", Value: "a"}, {Name: "X-Hop", Value: "b"}, {Name: "X_Serial", Value: "no. ${ssl_client_serial}"}, {Name: "x-serial", Value: "$ssl_client_serial"}},
		Remove: []string{"X-Debug", strings.Repeat("x", 80)},
	}))
	e := r.Headers()
	for _, name := range []string{"X-User", "x-user", "X_USER", "x.User", "X-Env", "x-debug", "X_Debug", strings.Repeat("X", 80)} {
		require.True(t, e.Removes(name), name)
	}
	for _, name := range []string{"", "X-Hop", "X-Serial", "X-Users", "X-Use", "XUser", "Host", strings.Repeat("x", 81), strings.Repeat("y", 80)} {
		require.False(t, e.Removes(name), name)
	}
	require.False(t, e.NeedsVars())
	require.Equal(t, []string{"x-user", "x-serial"}, e.IdentityNames())
	kept := []route.HeaderField{{Name: "kept", Value: "kept"}}
	require.Equal(t, []route.HeaderField{
		{Name: "kept", Value: "kept"}, {Name: "X-User"}, {Name: "x-env", Value: "prod"}, {Name: "X-Hop", Value: "a"}, {Name: "X-Hop", Value: "b"},
		{Name: "X_Serial", Value: "no."}, {Name: "x-serial"},
	}, e.Append(kept, &route.Request{}, nil))

	none := mustNew(t, edited(route.HeaderEdits{})).Headers()
	require.Nil(t, none)
	require.False(t, none.Removes("x-user"))
	require.False(t, none.NeedsVars())
	require.Empty(t, none.IdentityNames())
	require.Equal(t, kept, none.Append(kept, nil, nil))

	for value, want := range map[string]bool{
		"5 $": false, "$host$uri$method$uri_param_id": false, "$ssl_client_verify": false,
		"$remote_addr": true, "$http_x": true, "$arg_x": true, "$post_arg_x": true, "$scheme": true, "$ssl_server_name": true, "$ssl_client_s_dn$args": true,
	} {
		require.Equal(t, want, mustNew(t, edited(set("X-A", value))).Headers().NeedsVars(), value)
	}
}

func TestEditsWarn(t *testing.T) {
	c := edited(set("X-Id", "$request_id $http_x $request_id"))
	c.Paths = []string{"/"}
	r := mustNew(t, c)
	require.Equal(t, []string{
		`Headers.Set[0].Value: "request_id" is unknown: unless Lookups of your own know it, it is always absent`,
	}, told(t, "r", new(route.Table).With(r).Warnings("r")))
}

// What is at the limits is taken, and of what there is to say of it, so much as somebody may
// read.
func TestEditsLimits(t *testing.T) {
	c := edited(route.HeaderEdits{Remove: numbered("x%d", 998)})
	c.Paths = []string{"/"}
	c.Headers.Set = []route.HeaderField{{Name: "A", Value: "$a" + strings.Join(numbered("$b%d", 499), "")}, {Name: "B", Value: strings.Repeat("$a", 500)}}
	warnings := new(route.Table).With(mustNew(t, c)).Warnings("r")
	require.Len(t, warnings, 17)
	require.Contains(t, warnings[0].Text, `"a" is unknown`)
	require.Equal(t, route.Warning{ID: "r", Text: "there are more warnings of this kind"}, warnings[16])
}

func TestEditsAllocate(t *testing.T) {
	list := make([]route.HeaderField, 0, 8)
	req := &route.Request{Host: "a.test", Path: "/", Lookups: known{"ssl_client_s_dn": "CN=alice"}}
	for _, c := range []struct {
		value string
		want  float64
	}{
		{"fixed", 0},
		{"$host", 0},
		{"$ssl_client_s_dn", 0},
		{"a $host of some length, so that a buffer must grow", 2},
	} {
		e := mustNew(t, edited(set("X-Out", c.value))).Headers()
		got := testing.AllocsPerRun(100, func() {
			if e.Removes("accept-encoding") {
				t.Fatal("removed")
			}
			list = e.Append(list[:0], req, nil)
		})
		require.LessOrEqual(t, got, c.want, c.value)
	}
}

// Whatever is configured and whatever comes, a value is one that can be written, and is
// read as it was written.
func FuzzEdits(f *testing.F) {
	for _, s := range []string{"$host", "${arg_v}x", `\$a$$`, "$", "${", "${}", " a ", "\t"} {
		f.Add(s, "v\r\n")
	}
	f.Fuzz(func(t *testing.T, value, v string) {
		r, err := route.New(edited(set("X-Out", value)))
		if err != nil {
			return
		}
		req := &route.Request{Host: v, Path: v, Method: v, Lookups: known{"v": v}}
		got := r.Headers().Append(nil, req, nil)[0].Value
		for i := range len(got) {
			if c := got[i]; c < ' ' && c != '\t' || c == 0x7f {
				t.Fatalf("%q of %q has %q", got, value, c)
			}
		}
		if got != strings.Trim(got, " \t") {
			t.Fatalf("%q of %q has blanks around it", got, value)
		}
		if !strings.Contains(value, "$") && got != strings.Trim(value, " \t") {
			t.Fatalf("%q of %q, which has no variable", got, value)
		}
	})
}

func BenchmarkEdits(b *testing.B) {
	r, err := route.New(edited(route.HeaderEdits{
		Set:    []route.HeaderField{{Name: "X-Env", Value: "prod"}, {Name: "X-Client-Dn", Value: "$ssl_client_s_dn"}},
		Remove: []string{"X-Debug"},
	}))
	if err != nil {
		b.Fatal(err)
	}
	e := r.Headers()
	b.Run("op=removes/hit=n", func(b *testing.B) {
		for b.Loop() {
			_ = e.Removes("Accept-Encoding")
		}
	})
	b.Run("op=removes/hit=y", func(b *testing.B) {
		for b.Loop() {
			_ = e.Removes("X-Client-Dn")
		}
	})
	b.Run("op=append", func(b *testing.B) {
		b.ReportAllocs()
		req := &route.Request{Lookups: known{"ssl_client_s_dn": "CN=alice"}}
		list := make([]route.HeaderField, 0, 8)
		for b.Loop() {
			list = e.Append(list[:0], req, nil)
		}
	})
}

// The names are compared in one form.
func TestEditsFold(t *testing.T) {
	e := mustNew(t, edited(route.HeaderEdits{Remove: []string{"X-A"}})).Headers()
	for c := range 256 {
		name := "x" + string([]byte{byte(c)}) + "a"
		require.Equal(t, fieldname.Fold(name) == "x-a", e.Removes(name), "%q", name)
	}
}
