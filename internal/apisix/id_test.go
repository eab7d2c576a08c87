package apisix_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/apisix"
)

func TestCheckID(t *testing.T) {
	for _, id := range []any{"1", "a-b_c.D", ".", strings.Repeat("a", 64), 1.0, 99999999999999.0, 7, int64(7)} {
		require.NoError(t, apisix.CheckID(id), "%v", id)
	}
	for _, id := range []any{"", "a/b", "a b", "ü", "1\n", strings.Repeat("a", 65), 0.0, -1.0, 1.5, 1e14, 1e300, nil, true, []any{}, map[string]any{}} {
		require.Equal(t, `invalid configuration: property "id" validation failed: object matches none of the required`,
			asError(t, apisix.CheckID(id)).Text, "%v", id)
	}
}

func TestPutID(t *testing.T) {
	for _, c := range []struct {
		kind    apisix.Kind
		path    string
		body    map[string]any
		id, err string
	}{
		{apisix.Routes, "1", nil, "1", ""},
		{apisix.Routes, "1", map[string]any{"id": "1"}, "1", ""},
		{apisix.Routes, "1", map[string]any{"id": 1.0}, "1", ""},
		{apisix.Routes, "", map[string]any{"id": 12.0}, "12", ""},
		{apisix.Routes, "", map[string]any{"id": "a"}, "a", ""},
		{apisix.Routes, "1", map[string]any{"id": false}, "1", ""},
		{apisix.Routes, "", nil, "", "missing route id"},
		{apisix.Services, "", map[string]any{"uri": "/"}, "", "missing service id"},
		{apisix.SSLs, "1", map[string]any{"id": "2"}, "", "wrong ssl id"},
		{apisix.SSLs, "1", map[string]any{"id": "01"}, "", "wrong ssl id"},
		{apisix.Upstreams, "1", map[string]any{"id": nil}, "", "wrong upstream id"},
		{apisix.Upstreams, "a b", nil, "", `invalid configuration: property "id" validation failed: object matches none of the required`},
		{apisix.Upstreams, "", map[string]any{"id": nil}, "", `invalid configuration: property "id" validation failed: object matches none of the required`},
		{apisix.Upstreams, "", map[string]any{"id": 1.5}, "", `invalid configuration: property "id" validation failed: object matches none of the required`},
	} {
		id, err := apisix.PutID(c.kind, c.path, c.body)
		if c.err != "" {
			require.Equal(t, c.err, asError(t, err).Text)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.id, id)
	}
}

func TestCheckNoID(t *testing.T) {
	require.NoError(t, apisix.CheckNoID(apisix.Routes, "", map[string]any{}))
	require.NoError(t, apisix.CheckNoID(apisix.Routes, "", map[string]any{"id": false}))
	for _, err := range []error{
		apisix.CheckNoID(apisix.Routes, "1", nil),
		apisix.CheckNoID(apisix.Routes, "", map[string]any{"id": "1"}),
		apisix.CheckNoID(apisix.Routes, "", map[string]any{"id": nil}),
	} {
		require.Equal(t, "wrong route id, do not need it", asError(t, err).Text)
	}
}

func TestCheckForbidden(t *testing.T) {
	f := newFixture(t)
	for doc, want := range map[string]string{
		`{"uri":"/"}`:                                    "",
		`{"create_time":false,"upstream":"x"}`:           "",
		`{"create_time":1}`:                              "the property is forbidden:  create_time",
		`{"update_time":null}`:                           "the property is forbidden:  update_time",
		`{"create_time":1,"update_time":0}`:              "the property is forbidden:  create_time update_time",
		`{"upstream":{"create_time":1}}`:                 "the property is forbidden:  upstream.create_time",
		`{"plugins":{"create_time":1}}`:                  "the property is forbidden:  plugins.create_time",
		`{"update_time":1,"upstream":{"update_time":1}}`: "the property is forbidden:  update_time upstream.update_time",
	} {
		err := apisix.CheckForbidden(f.doc(doc))
		if want == "" {
			require.NoError(t, err)
			continue
		}
		require.Equal(t, want, asError(t, err).Text)
	}
}

func TestKinds(t *testing.T) {
	var names []string
	for _, k := range apisix.Kinds {
		names = append(names, string(k)+" "+k.Singular())
	}
	require.Equal(t, []string{"routes route", "services service", "ssls ssl", "upstreams upstream"}, names)

	err := apisix.Validate("routs", nil)
	require.Equal(t, "Unsupported resource type: routs", asError(t, err).Text)
	require.Empty(t, apisix.Kind("").Singular())
}
