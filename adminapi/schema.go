package adminapi

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/internal/apisix"
)

// serveSchema answers below /apisix/admin/schema: with the JSON Schema of a kind, or
// whether a document fits it.
func (h *Handler) serveSchema(r *http.Request, below string) (*reply, *failure) {
	name, validated := strings.CutPrefix(below, "validate/")
	plugin, isPlugin := strings.CutPrefix(below, "plugins/")
	if strings.Contains(strings.TrimPrefix(name, "plugins/"), "/") {
		return nil, notFound
	}
	switch {
	case validated && r.Method == http.MethodPost:
		return h.validateSchema(r, name)
	case validated, r.Method != http.MethodGet && r.Method != http.MethodHead:
		return nil, notFound
	case isPlugin && plugin == apisix.Plugin:
		return &reply{status: http.StatusOK, body: apisix.PluginSchema()}, nil
	case isPlugin:
		return nil, badRequest(&apisix.Error{Text: "not found schema: " + printable(name), Hint: onePlugin})
	}
	for _, kind := range apisix.Kinds {
		if kind.Singular() == name {
			return &reply{status: http.StatusOK, body: apisix.Schema(kind)}, nil
		}
	}
	return nil, badRequest(&apisix.Error{Text: "not found schema: " + printable(name), Hint: "there are route, service, ssl and upstream"})
}

// onePlugin says which plugins there are.
const onePlugin = "this gateway has no plugins but the headers of " + apisix.Plugin

// servePlugins answers reads below /apisix/admin/plugins, by which clients learn what they
// may configure: "list" is the names, the name of a plugin its schema, and "?all=true" all.
func (h *Handler) servePlugins(r *http.Request, below string) (*reply, *failure) {
	query := r.URL.Query()
	subsystem := cmp.Or(query.Get("subsystem"), "http")
	if subsystem != "http" && subsystem != "stream" {
		return nil, badRequest(errors.New("unsupported subsystem: " + printable(subsystem)))
	}
	there := subsystem == "http" // for stream there are none
	switch kind := query.Get("schema_type"); {
	case below == "list" && there:
		return &reply{status: http.StatusOK, body: []any{apisix.Plugin}}, nil
	case below == "list":
		return &reply{status: http.StatusOK, body: []any{}}, nil
	case below == "" && there:
		return &reply{status: http.StatusOK, body: map[string]any{apisix.Plugin: map[string]any{"schema": apisix.PluginSchema()}}}, nil
	case below == "":
		return &reply{status: http.StatusOK, body: map[string]any{}}, nil
	case below != apisix.Plugin || !there:
		return nil, &failure{status: http.StatusNotFound, text: "plugin not found in subsystem " + subsystem, description: onePlugin}
	case kind == "consumer", kind == "metadata":
		return nil, badRequest(errors.New("not found schema: " + apisix.Plugin))
	}
	return &reply{status: http.StatusOK, body: apisix.PluginSchema()}, nil
}

// validateSchema compares a document with the schema of its kind, and with nothing else:
// neither PEM nor what it names is looked at.
func (h *Handler) validateSchema(r *http.Request, name string) (*reply, *failure) {
	sent, f := readBody(r, maxBody)
	if f != nil {
		return nil, f
	}
	kind := apisix.Kind(name)
	switch {
	case slices.Contains(absent, name):
		return nil, badRequest(errors.New("this gateway has no " + name))
	case !slices.Contains(apisix.Kinds, kind):
		return nil, &failure{status: http.StatusNotFound, text: "Unsupported resource type: " + printable(name)}
	case !sent.present:
		return nil, missingDocument
	}
	if err := apisix.ValidateSchema(kind, sent.value); err != nil {
		return nil, sent.explain(badRequest(err))
	}
	return &reply{status: http.StatusOK}, nil
}
