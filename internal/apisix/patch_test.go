package apisix_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/apisix"
	"github.com/sallyport/sallyport/internal/cjson"
)

func parse(t testing.TB, text string) any {
	t.Helper()
	v, err := cjson.Decode([]byte(text))
	require.NoError(t, err, text)
	return v
}

func TestPatch(t *testing.T) {
	for _, c := range []struct{ doc, change, want string }{
		{`{}`, `{}`, `{}`},
		{`{"a":1}`, `[]`, `{"a":1}`},
		{`{"a":1,"b":2}`, `{"b":3,"c":4}`, `{"a":1,"b":3,"c":4}`},
		{`{"a":1,"b":2}`, `{"b":null,"c":null}`, `{"a":1}`},
		{`{"a":{"b":1,"c":{"d":1}}}`, `{"a":{"c":{"e":2},"f":3}}`, `{"a":{"b":1,"c":{"d":1,"e":2},"f":3}}`},
		{`{"a":{"b":1}}`, `{"a":{"b":null}}`, `{"a":{}}`},
		{`{"a":{"b":1}}`, `{"a":2}`, `{"a":2}`},
		{`{"a":2}`, `{"a":{"b":1}}`, `{"a":{"b":1}}`},
		// Arrays are replaced, and so is what an empty object stands for.
		{`{"a":[1,2]}`, `{"a":[3]}`, `{"a":[3]}`},
		{`{"a":[1,2]}`, `{"a":[]}`, `{"a":[]}`},
		{`{"a":{"b":1}}`, `{"a":[]}`, `{"a":[]}`},
		{`{"a":{"b":1}}`, `{"a":{}}`, `{"a":{}}`},
		{`{"a":[1]}`, `{"a":{"b":1}}`, `{"a":{"b":1}}`},
		{`{"a":{}}`, `{"a":{"b":1}}`, `{"a":{"b":1}}`},
		// A null inside what is new is kept.
		{`{}`, `{"a":{"b":null}}`, `{"a":{"b":null}}`},
		{`{"a":{}}`, `{"a":{"b":null}}`, `{"a":{"b":null}}`},
		{`{"a":{"x":1}}`, `{"a":{"b":{"c":null}}}`, `{"a":{"x":1,"b":{"c":null}}}`},
		{`{"a":[1]}`, `{"a":[null]}`, `{"a":[null]}`},
	} {
		doc := parse(t, c.doc).(map[string]any)
		change := parse(t, c.change)
		out, err := apisix.Patch(doc, change)
		require.NoError(t, err, c.change)
		require.Equal(t, parse(t, c.want), any(out), "%s + %s", c.doc, c.change)
		require.Equal(t, parse(t, c.doc), any(doc))
		require.Equal(t, parse(t, c.change), change)
	}
	for _, change := range []string{`1`, `"x"`, `null`, `true`, `[1]`} {
		_, err := apisix.Patch(map[string]any{}, parse(t, change))
		require.Equal(t, "invalid configuration", asError(t, err).Text, change)
	}
}

func TestPatchPath(t *testing.T) {
	for _, c := range []struct{ doc, path, v, want string }{
		{`{}`, "a", `1`, `{"a":1}`},
		{`{"a":1}`, "a", `null`, `{"a":null}`},
		{`{"a":{"b":1}}`, "a/b", `[2]`, `{"a":{"b":[2]}}`},
		{`{"a":{"b":1}}`, "a/c/d", `{}`, `{"a":{"b":1,"c":{"d":{}}}}`},
		{`{"a":{"b":1}}`, "a", `{"c":2}`, `{"a":{"c":2}}`},
		{`{"a":[]}`, "a/b", `1`, `{"a":{"b":1}}`},
		{`{"nodes":{"a:80":1}}`, "nodes/a:80", `2`, `{"nodes":{"a:80":2}}`},
		{`{}`, "labels/a%2Fb", `"x"`, `{"labels":{"a/b":"x"}}`},
		{`{}`, "0", `"x"`, `{"0":"x"}`},
	} {
		doc := parse(t, c.doc).(map[string]any)
		out, err := apisix.PatchPath(doc, c.path, parse(t, c.v))
		require.NoError(t, err, c.path)
		require.Equal(t, parse(t, c.want), any(out), "%s: %s = %s", c.doc, c.path, c.v)
		require.Equal(t, parse(t, c.doc), any(doc))
	}
	for _, c := range []struct{ doc, path, want string }{
		{`{"a":1}`, "a/b", "invalid sub-path: /a"},
		{`{"a":"x"}`, "a/b/c", "invalid sub-path: /a"},
		{`{"a":{"b":[1]}}`, "a/b/0", "invalid sub-path: /a/b"},
		{`{"a":null}`, "a/b", "invalid sub-path: /a"},
		{`{}`, "a//b", "invalid sub-path: /a//b"},
		{`{}`, "a/", "invalid sub-path: /a/"},
		{`{}`, "", "invalid sub-path: /"},
		{`{}`, "a%zz", "invalid sub-path: /..."},
	} {
		_, err := apisix.PatchPath(parse(t, c.doc).(map[string]any), c.path, 1.0)
		require.Equal(t, c.want, asError(t, err).Text, c.path)
	}
}

// FuzzPatch looks for a merge that changes what it is given, or that does not hold what
// was asked for.
func FuzzPatch(f *testing.F) {
	for _, s := range [][3]string{
		{`{"a":{"b":1,"c":[1]}}`, `{"a":{"b":null,"d":{"e":null}}}`, "a/b/c"},
		{`{"labels":{"a":"b"}}`, `{"labels":{}}`, "labels/x%2fy"},
		{`{"a":[]}`, `{"a":{}}`, "a/0"},
	} {
		f.Add(s[0], s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, docText, changeText, path string) {
		before, err := cjson.Decode([]byte(docText))
		if err != nil {
			return
		}
		doc, ok := before.(map[string]any)
		change, err := cjson.Decode([]byte(changeText))
		if err != nil || !ok {
			return
		}
		docBytes, changeBytes := string(cjson.Encode(doc)), string(cjson.Encode(change))
		if out, err := apisix.Patch(doc, change); err == nil {
			if m, ok := change.(map[string]any); ok {
				holds(t, out, m)
			}
			for k, v := range doc {
				if m, _ := change.(map[string]any); !hasKey(m, k) {
					require.Equal(t, v, out[k])
				}
			}
		}
		if out, err := apisix.PatchPath(doc, path, change); err == nil {
			again, err := apisix.PatchPath(out, path, change)
			require.NoError(t, err)
			require.Equal(t, out, again)
		}
		require.Equal(t, docBytes, string(cjson.Encode(doc)))
		require.Equal(t, changeBytes, string(cjson.Encode(change)))
	})
}

func hasKey(m map[string]any, key string) bool { _, ok := m[key]; return ok }

// holds checks that a document has what a change asks for.
func holds(t *testing.T, out, change map[string]any) {
	for k, v := range change {
		got, there := out[k]
		inner, isObject := v.(map[string]any)
		switch {
		case v == nil:
			require.False(t, there && got != nil, k)
		case isObject && len(inner) > 0:
			// What was new is as it was sent, nulls too; what was merged holds it.
			gotObject, ok := got.(map[string]any)
			require.True(t, ok)
			holds(t, gotObject, inner)
		default:
			require.Equal(t, v, got)
		}
	}
}

// What a path makes can be read again: it is no deeper than what Decode takes.
func TestPatchPathDepth(t *testing.T) {
	deep := func(levels int) string { return strings.Repeat(`{"a":`, levels) + "1" + strings.Repeat("}", levels) }
	for _, c := range []struct {
		segments, levels int
		fits             bool
	}{
		{1, 0, true}, {cjson.MaxDepth, 0, true}, {1, cjson.MaxDepth - 1, true},
		{cjson.MaxDepth + 1, 0, false}, {2, cjson.MaxDepth - 1, false}, {100_000, 0, false},
	} {
		path := strings.TrimPrefix(strings.Repeat("/p", c.segments), "/")
		doc, err := apisix.PatchPath(map[string]any{}, path, parse(t, deep(c.levels)))
		if !c.fits {
			require.ErrorContains(t, err, "more than 1000 levels")
			continue
		}
		require.NoError(t, err)
		_, err = cjson.Decode(cjson.Encode(doc))
		require.NoError(t, err)
	}
}
