package adminapi

import (
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
	if strings.Contains(name, "/") {
		return nil, notFound
	}
	switch {
	case validated && r.Method == http.MethodPost:
		return h.validateSchema(r, name)
	case validated, r.Method != http.MethodGet && r.Method != http.MethodHead:
		return nil, notFound
	}
	for _, kind := range apisix.Kinds {
		if kind.Singular() == name {
			return &reply{status: http.StatusOK, body: apisix.Schema(kind)}, nil
		}
	}
	return nil, badRequest(&apisix.Error{Text: "not found schema: " + printable(name), Hint: "there are route, service, ssl and upstream"})
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
