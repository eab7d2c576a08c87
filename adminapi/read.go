package adminapi

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/internal/apisix"
	"github.com/sallyport/sallyport/internal/regexpsize"
)

// get answers with one document.
func (h *Handler) get(kind apisix.Kind, id string) (*reply, *failure) {
	h.mu.RLock()
	o := h.docs.get(kind, id)
	h.mu.RUnlock()
	if o == nil {
		return nil, keyNotFound
	}
	return &reply{status: http.StatusOK, body: shown(kind, o), revision: o.changed}, nil
}

// shown is a document as GET shows it.
func shown(kind apisix.Kind, o *object) map[string]any {
	return map[string]any{
		"key":           keyPrefix + keyOf(kind, o.id),
		"value":         apisix.Redact(kind, o.doc),
		"createdIndex":  float64(o.created),
		"modifiedIndex": float64(o.changed),
	}
}

// The sizes of a page, as in APISIX.
const (
	minPage  = 10
	maxPage  = 500
	pageSize = "page_size must be between 10 and 500"
)

// list answers with all documents of a kind that a query asks for, sorted by key, or
// with one page of them, sorted by age.
func (h *Handler) list(ctx context.Context, kind apisix.Kind, query url.Values) (*reply, *failure) {
	page, isPage := tonumber(query.Get("page"))
	size, isSize := tonumber(query.Get("page_size"))
	paged := isPage && isSize
	if paged && (size < minPage || size > maxPage) {
		return nil, &failure{status: http.StatusBadRequest, text: pageSize, plain: true}
	}
	wanted, err := filterOf(kind, query)
	if err != nil {
		return nil, badRequest(err)
	}
	objects, total := h.pick(ctx, kind, wanted, paged, page, size)
	if !paged {
		slices.SortFunc(objects, func(a, b *object) int { return strings.Compare(a.id, b.id) })
	}
	list := make([]any, len(objects))
	for i, o := range objects {
		list[i] = shown(kind, o)
	}
	return &reply{status: http.StatusOK, body: listOf(list, total)}, nil
}

// tonumber reads what Lua takes for a number: 1, 1.0 and 1e1, however large.
func tonumber(s string) (n float64, ok bool) {
	n, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	return n, (err == nil || errors.Is(err, strconv.ErrRange)) && n == n
}

// listOf is the answer that a list is in.
func listOf(list []any, total int) map[string]any {
	if list == nil {
		list = []any{}
	}
	return map[string]any{"list": list, "total": float64(total)}
}

// pick returns the documents that are wanted, or one page of them, and how many are
// wanted. What is not on the page is not copied: lists are long. Changes do not wait for a
// filter, and it ends with ctx, whose client reads no answer any more.
func (h *Handler) pick(ctx context.Context, kind apisix.Kind, wanted func(doc map[string]any) bool, paged bool, page, size float64) ([]*object, int) {
	h.mu.RLock()
	objects := h.docs.kinds[kind].byAge
	if wanted == nil {
		defer h.mu.RUnlock()
		return pageOf(objects, paged, page, size)
	}
	objects = slices.Clone(objects)
	h.mu.RUnlock()
	found := objects[:0]
	for _, o := range objects {
		if ctx.Err() != nil {
			break
		}
		if wanted(o.doc) {
			found = append(found, o)
		}
	}
	return pageOf(found, paged, page, size)
}

// pageOf returns a copy of a page of some documents, and how many there are.
func pageOf(objects []*object, paged bool, page, size float64) ([]*object, int) {
	total := len(objects)
	if paged {
		// A page beyond the end is empty, and so is half a page: Lua finds nothing at
		// the index 5.5.
		first := (max(page, 1) - 1) * size
		if first > float64(total) || first != math.Trunc(first) {
			return nil, total
		}
		objects = objects[int(first):min(int(first+size), total)]
	}
	return slices.Clone(objects), total
}

// filterOf returns what a query asks of a document, or nil if that is nothing: "name"
// and "uri" are regular expressions that find something in it, "label" is a label that
// it has, and "filter" has properties of a route and their values. A document must
// satisfy all of them.
func filterOf(kind apisix.Kind, query url.Values) (func(doc map[string]any) bool, error) {
	var all []func(doc map[string]any) bool
	expression := func(name string, values func(doc map[string]any) []any) error {
		if !query.Has(name) {
			return nil
		}
		re, err := compileFilter(query.Get(name))
		if err != nil {
			return &apisix.Error{Text: fmt.Sprintf("invalid argument %s: should be a regular expression", name), Hint: err.Error()}
		}
		all = append(all, func(doc map[string]any) bool {
			return slices.ContainsFunc(values(doc), func(v any) bool {
				s, ok := v.(string)
				return ok && re.MatchString(s)
			})
		})
		return nil
	}
	err := errors.Join(
		expression("name", func(doc map[string]any) []any {
			if doc["name"] == nil {
				return []any{"nil"} // so it is in Lua
			}
			return []any{doc["name"]}
		}),
		expression("uri", func(doc map[string]any) []any {
			uris, _ := doc["uris"].([]any)
			return append([]any{doc["uri"]}, uris...)
		}),
	)
	if err != nil {
		return nil, err
	}
	if query.Has("label") {
		label := query.Get("label")
		all = append(all, func(doc map[string]any) bool {
			labels, _ := doc["labels"].(map[string]any)
			_, ok := labels[label]
			return ok
		})
	}
	if query.Has("filter") && kind == apisix.Routes {
		pairs, err := url.ParseQuery(query.Get("filter"))
		if err != nil {
			return nil, &apisix.Error{Text: "invalid argument filter: should be an encoded query", Hint: "as in filter=service_id%3D1"}
		}
		// Others are passed over, as in APISIX.
		for _, name := range []string{"service_id", "upstream_id"} {
			if pairs.Has(name) {
				// A number equals no text, also as in APISIX.
				all = append(all, func(doc map[string]any) bool { return doc[name] == pairs.Get(name) })
			}
		}
	}
	if all == nil {
		return nil, nil
	}
	return func(doc map[string]any) bool {
		for _, f := range all {
			if !f(doc) {
				return false
			}
		}
		return true
	}, nil
}

// The limits of a regular expression in a query. It is compared with all documents of a
// kind, on behalf of a client that may only read.
const (
	maxFilter        = 512 // bytes
	maxFilterProgram = 250 // instructions that it compiles to
)

// compileFilter compiles a regular expression of a query. The error does not repeat it.
func compileFilter(text string) (*regexp.Regexp, error) {
	if len(text) > maxFilter {
		return nil, fmt.Errorf("it is longer than %d bytes", maxFilter)
	}
	n, err := regexpsize.Of(text)
	var wrong *syntax.Error
	switch {
	case errors.As(err, &wrong):
		return nil, errors.New(wrong.Code.String())
	case err != nil:
		return nil, err
	case n > maxFilterProgram:
		return nil, fmt.Errorf("it compiles to %d instructions, over %d: its repetitions are too many", n, maxFilterProgram)
	}
	return regexp.Compile(text)
}
