package adminapi

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/internal/apisix"
)

// get answers with one document.
func (h *Handler) get(kind apisix.Kind, id string) (int, map[string]any, *failure) {
	h.mu.RLock()
	o := h.objects[kind][id]
	h.mu.RUnlock()
	if o == nil {
		return 0, nil, keyNotFound
	}
	return http.StatusOK, shown(kind, o), nil
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
	minPage = 10
	maxPage = 500
)

// list answers with all documents of a kind, sorted by key, or with one page of
// them, sorted by age.
func (h *Handler) list(kind apisix.Kind, query url.Values) (int, map[string]any, *failure) {
	h.mu.RLock()
	objects := slices.Collect(maps.Values(h.objects[kind]))
	h.mu.RUnlock()
	total := len(objects)

	page, noPage := strconv.Atoi(query.Get("page"))
	size, noSize := strconv.Atoi(query.Get("page_size"))
	if noPage == nil && noSize == nil {
		if size < minPage || size > maxPage {
			return 0, nil, &failure{status: http.StatusBadRequest, text: "page_size must be between 10 and 500"}
		}
		slices.SortFunc(objects, func(a, b *object) int {
			return cmp.Or(cmp.Compare(a.created, b.created), strings.Compare(a.id, b.id))
		})
		// A page beyond the end is empty. The comparison comes before the
		// multiplication, which could overflow.
		if page = max(page, 1); page-1 > total/size {
			objects = nil
		} else {
			first := min((page-1)*size, total)
			objects = objects[first:min(first+size, total)]
		}
	} else {
		slices.SortFunc(objects, func(a, b *object) int { return strings.Compare(a.id, b.id) })
	}
	list := make([]any, len(objects))
	for i, o := range objects {
		list[i] = shown(kind, o)
	}
	return http.StatusOK, map[string]any{"list": list, "total": float64(total)}, nil
}
