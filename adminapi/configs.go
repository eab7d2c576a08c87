package adminapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/internal/apisix"
	"github.com/sallyport/sallyport/internal/cjson"
)

// This file is the whole configuration as one document: GET, HEAD and PUT of
// /apisix/admin/configs, as APISIX has them where its Admin API works without etcd, and
// the validation of such a document.

// maxConfigs is the size of a whole configuration, which is more than one document.
const maxConfigs = 64 << 20

// configsKey is where the state of the whole configuration is stored.
const configsKey = "/configs"

// A configsState is what a PUT of the whole configuration leaves behind besides the
// documents. It never changes.
type configsState struct {
	// said is what the client said of the configuration, its digest: whoever puts the same
	// again changes nothing.
	said     string
	modified time.Time

	// versions are the "routes_conf_version" and so on of each kind, and counts the
	// numbers of its documents.
	versions map[apisix.Kind]float64
	counts   map[apisix.Kind]int

	// indexes are the "modifiedIndex" that documents came with, by key.
	indexes map[string]float64

	revision int64 // of the storage
}

func newConfigsState() *configsState {
	return &configsState{versions: map[apisix.Kind]float64{}, counts: map[apisix.Kind]int{}, indexes: map[string]float64{}}
}

// touched reports whether documents of a kind were changed by themselves since: one that
// was put is newer, and after one that was deleted there are fewer, or a newer one.
func (s *configsState) touched(docs *documents, kind apisix.Kind) bool {
	list := docs.kinds[kind].byAge
	return len(list) != s.counts[kind] || slices.ContainsFunc(list, func(o *object) bool { return o.changed > s.revision })
}

// digest returns what the client said, if it is still so.
func (s *configsState) digest(docs *documents) string {
	if slices.ContainsFunc(apisix.Kinds, func(kind apisix.Kind) bool { return s.touched(docs, kind) }) {
		return ""
	}
	return s.said
}

// version returns the version of a kind: one more than it was, if documents were changed
// since.
func (s *configsState) version(docs *documents, kind apisix.Kind) float64 {
	if s.touched(docs, kind) {
		return s.versions[kind] + 1
	}
	return s.versions[kind]
}

// index returns the modifiedIndex that a document came with, if it is still that one.
func (s *configsState) index(kind apisix.Kind, o *object) (index float64, ok bool) {
	if o == nil || o.changed > s.revision {
		return 0, false
	}
	index, ok = s.indexes[keyOf(kind, o.id)]
	return index, ok
}

// header is what answers say of the whole configuration.
func (s *configsState) header(docs *documents) map[string]string {
	head := map[string]string{}
	if digest := s.digest(docs); digest != "" {
		head["X-Digest"] = digest
	}
	if !s.modified.IsZero() {
		head["X-Last-Modified"] = fmt.Sprint(s.modified.Unix())
	}
	return head
}

// encode writes the state for the storage.
func (s *configsState) encode() []byte {
	versions, counts, indexes := map[string]any{}, map[string]any{}, map[string]any{}
	for kind, v := range s.versions {
		versions[string(kind)] = v
		counts[string(kind)] = s.counts[kind]
	}
	for key, v := range s.indexes {
		indexes[key] = v
	}
	return cjson.Encode(map[string]any{
		"digest": s.said, "modified": s.modified.Unix(), "versions": versions, "counts": counts, "indexes": indexes,
	})
}

// decodeConfigs reads what encode wrote. What it cannot read is as if it were not there:
// the documents are what counts.
func decodeConfigs(r Record) *configsState {
	s := newConfigsState()
	s.revision = r.Modified
	v, _ := cjson.Decode(r.Value)
	doc, _ := v.(map[string]any)
	s.said, _ = doc["digest"].(string)
	if seconds, ok := doc["modified"].(float64); ok {
		s.modified = time.Unix(int64(seconds), 0)
	}
	versions, _ := doc["versions"].(map[string]any)
	counts, _ := doc["counts"].(map[string]any)
	for _, kind := range apisix.Kinds {
		s.versions[kind], _ = versions[string(kind)].(float64)
		count, _ := counts[string(kind)].(float64)
		s.counts[kind] = int(count)
	}
	indexes, _ := doc["indexes"].(map[string]any)
	for key, v := range indexes {
		s.indexes[key], _ = v.(float64)
	}
	return s
}

// versionOf is the name of the version of a kind in the whole configuration.
func versionOf(kind string) string { return kind + "_conf_version" }

// serveConfigs answers below /apisix/admin/configs.
func (h *Handler) serveConfigs(r *http.Request, below string) (*reply, *failure) {
	switch {
	case below == "validate" && r.Method == http.MethodPost:
		return h.validateConfigs(r)
	case below != "":
		return nil, notFound
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		return h.getConfigs(), nil
	case r.Method == http.MethodPut:
		return h.putConfigs(r)
	}
	return nil, notFound
}

// getConfigs answers with the whole configuration.
func (h *Handler) getConfigs() *reply {
	h.mu.RLock()
	defer h.mu.RUnlock()
	whole := map[string]any{}
	for _, name := range absent {
		whole[versionOf(name)] = float64(0)
	}
	for kind, c := range h.docs.kinds {
		whole[versionOf(string(kind))] = h.configs.version(h.docs, kind)
		if len(c.byAge) == 0 {
			continue
		}
		list := make([]any, len(c.byAge))
		for i, o := range c.byAge {
			doc := apisix.Redact(kind, o.doc)
			doc["id"] = o.id
			if index, ok := h.configs.index(kind, o); ok {
				doc["modifiedIndex"] = index
			}
			list[i] = doc
		}
		whole[string(kind)] = list
	}
	return &reply{status: http.StatusOK, body: whole, header: h.configs.header(h.docs)}
}

// readConfigs reads a whole configuration.
func readConfigs(r *http.Request) (map[string]any, *failure) {
	if strings.Contains(r.Header.Get("Content-Type"), "yaml") {
		return nil, &failure{status: http.StatusUnsupportedMediaType, text: "invalid request body: YAML is not read here", description: "send the same as JSON"}
	}
	sent, f := readBody(r, maxConfigs)
	if f != nil {
		return nil, f
	}
	if !sent.present {
		return nil, badRequest(errors.New("invalid request body: empty request body"))
	}
	whole, err := wholeOf(sent.value)
	if err != nil {
		return nil, badRequest(&apisix.Error{Text: "invalid request body: " + err.Text, Hint: err.Hint})
	}
	return whole, nil
}

// wholeOf returns a decoded text as a whole configuration. It refuses kinds that there are
// not: whoever writes "route" for "routes" would delete all of them. So would an empty list,
// which is an empty object elsewhere: a program that has found nothing writes one.
func wholeOf(v any) (map[string]any, *apisix.Error) {
	whole, ok := v.(map[string]any)
	if !ok {
		return nil, &apisix.Error{Text: "wrong type: expected object", Hint: `a whole configuration is {"routes": [...], "services": [...], "ssls": [...], "upstreams": [...]}`}
	}
	for _, name := range slices.Sorted(maps.Keys(whole)) {
		if kind := strings.TrimSuffix(name, versionOf("")); !slices.Contains(apisix.Kinds, apisix.Kind(kind)) && !slices.Contains(absent, kind) {
			return nil, &apisix.Error{Text: "unknown property " + printable(name), Hint: "there are routes, services, ssls and upstreams"}
		}
	}
	return whole, nil
}

// An item is one document of a whole configuration, or what should be the list of those of
// a kind and is none.
type item struct {
	resource string
	id       string
	index    int // noIndex: it is no list
	edit     *edit
	err      error

	// untouched says that it is stored as it is, and modifiedIndex, if indexed, which
	// one the client gave it.
	untouched     bool
	indexed       bool
	modifiedIndex float64
}

// wholeEdits returns the documents of a whole configuration, in its order, with what is
// wrong with each. Of the kinds in kept, it has none, and those that are stored stay. changeMu
// is held.
func (h *Handler) wholeEdits(ctx context.Context, whole map[string]any, kept map[apisix.Kind]bool) (items []*item) {
	for _, name := range slices.Sorted(maps.Keys(whole)) {
		if strings.HasSuffix(name, versionOf("")) {
			continue
		}
		list, ok := whole[name].([]any)
		if empty, isObject := whole[name].(map[string]any); !ok && !(isObject && len(empty) == 0) {
			items = append(items, &item{resource: name, index: noIndex, err: errNoList})
			continue
		}
		seen := map[string]bool{}
		for i, v := range list {
			it := &item{resource: name, index: i}
			items = append(items, it)
			doc, err := apisix.Document(v)
			it.id = apisix.IDString(doc["id"])
			switch {
			case err != nil:
				it.err = err
			case slices.Contains(absent, name):
				it.err = errors.New("this gateway has no " + name)
			case it.id != "" && seen[it.id]:
				it.err = fmt.Errorf("found duplicate id %s in %s", printable(it.id), name)
			default:
				seen[it.id] = true
				it.err = h.wholeEdit(it, maps.Clone(doc))
			}
		}
	}
	// Only now: a document may name any other, but none that goes.
	edits := changedBy(items)
	if !kept[apisix.SSLs] {
		edits = append(edits, h.goneBeside(items, apisix.SSLs)...)
	}
	v := h.after(edits...)
	for _, it := range items {
		if it.err == nil && !it.untouched {
			if it.err = h.decode(ctx, v, it.edit); it.err == nil {
				it.err = it.edit.checkIdle()
			}
		}
	}
	return items
}

// goneBeside returns the edits that delete what is in force of a kind and not among the documents
// of a whole configuration.
func (h *Handler) goneBeside(items []*item, kind apisix.Kind) (edits []*edit) {
	stay := map[string]bool{}
	for _, it := range items {
		if it.resource == string(kind) {
			stay[it.id] = true
		}
	}
	for _, o := range h.docs.kinds[kind].byAge {
		if !stay[o.id] {
			edits = append(edits, &edit{kind: kind, id: o.id, old: o})
		}
	}
	return edits
}

// noIndex is the index of what is no list.
const noIndex = -1

// errNoList is what is wrong with it.
var errNoList = &apisix.Error{Text: "wrong type: expected array", Hint: `as in [{"id": "1", ...}]`}

// changedBy returns the edits of the documents that change, and are in order so far.
func changedBy(items []*item) (edits []*edit) {
	for _, it := range items {
		if it.err == nil && !it.untouched {
			edits = append(edits, it.edit)
		}
	}
	return edits
}

// wholeEdit makes the edit of one document, and leaves it to be decoded.
func (h *Handler) wholeEdit(it *item, doc map[string]any) error {
	kind := apisix.Kind(it.resource)
	id, err := apisix.PutID(kind, "", doc)
	if err != nil {
		return err
	}
	if isDots(id) {
		return fmt.Errorf("wrong %s id: %s is a step in a path", kind.Singular(), id)
	}
	if h.isForeign(kind, id) {
		return foreign(kind, id)
	}
	old := h.docs.get(kind, id)
	e := &edit{kind: kind, id: id, doc: doc, old: old}
	it.edit = e
	it.modifiedIndex, it.indexed = doc["modifiedIndex"].(float64)
	delete(doc, "modifiedIndex")
	delete(doc, "createdIndex")
	stored := h.rejected[e.key()] == nil // and in force
	if had, ok := h.configs.index(kind, old); ok && it.indexed && had == it.modifiedIndex && stored {
		it.untouched = true
		return nil
	}
	if f := h.restore(e); f != nil {
		return errors.New(f.text)
	}
	if old != nil && stored && old.expires.IsZero() && sameButTimes(e.doc, old.doc) {
		it.untouched = true
		return nil
	}
	created := e.doc["create_time"]
	if h.stamp(e); created != nil {
		e.doc["create_time"] = created
	}
	return nil
}

// sameButTimes reports whether two documents are the same, but for when they were
// written.
func sameButTimes(a, b map[string]any) bool {
	a, b = maps.Clone(a), maps.Clone(b)
	for _, name := range []string{"create_time", "update_time"} {
		delete(a, name)
		delete(b, name)
	}
	// The id of a path is a text, that of a document may be a number.
	a["id"], b["id"] = apisix.IDString(a["id"]), apisix.IDString(b["id"])
	return reflect.DeepEqual(a, b)
}

// validateConfigs says what is wrong with a whole configuration, and changes nothing.
func (h *Handler) validateConfigs(r *http.Request) (*reply, *failure) {
	whole, f := readConfigs(r)
	if f != nil {
		return nil, f
	}
	h.changeMu.Lock()
	defer h.changeMu.Unlock()
	items := h.wholeEdits(r.Context(), whole, nil)
	h.compileEach(items)
	var faults []any
	for _, it := range items {
		if it.err == nil || len(faults) == maxConfigFaults {
			continue
		}
		f := badRequest(it.err)
		fault := map[string]any{"resource_type": it.resource, "error": f.text}
		if it.index != noIndex {
			fault["resource_id"], fault["index"] = printable(it.id), it.index
		}
		if f.description != "" {
			fault["description"] = f.description
		}
		faults = append(faults, fault)
	}
	if faults == nil {
		return &reply{status: http.StatusOK, body: map[string]any{}}, nil
	}
	return &reply{status: http.StatusBadRequest, body: map[string]any{"error_msg": "Configuration validation failed", "errors": faults}}, nil
}

// maxConfigFaults is how many faults of a whole configuration are told.
const maxConfigFaults = 100

// compileEach finds what is wrong with documents that are well-formed, one by one: with
// a route stand the services of the whole. changeMu is held.
func (h *Handler) compileEach(items []*item) {
	v := h.after(changedBy(items)...)
	for _, it := range items {
		if it.err != nil || it.untouched {
			continue
		}
		var c gateway.Change
		c.AllowDangling = true
		addTo(&c, v, it.edit)
		if _, err := h.server.Prepare(c); err != nil {
			it.err = it.edit.decoded.Translate(err)
		}
	}
}

// putConfigs makes the configuration the given one, as one change. The answer has no body
// where there is nothing to tell, as in APISIX. Its warnings are logged as well: programs
// that put all of a configuration look at the status alone.
func (h *Handler) putConfigs(r *http.Request) (*reply, *failure) {
	digest := r.Header.Get("X-Digest")
	if digest == "" {
		return nil, badRequest(&apisix.Error{Text: "missing digest header", Hint: "send X-Digest: any text that is another one for another configuration"})
	}
	whole, f := readConfigs(r)
	if f != nil {
		return nil, f
	}
	h.changeMu.Lock()
	defer h.changeMu.Unlock()
	if digest == h.configs.digest(h.docs) && len(h.keptOut()) == 0 {
		return &reply{status: http.StatusNoContent, header: h.configs.header(h.docs)}, nil
	}
	next := newConfigsState()
	next.said, next.modified = digest, h.now()
	kept := map[apisix.Kind]bool{}
	for _, kind := range apisix.Kinds {
		name := versionOf(string(kind))
		stored := h.configs.version(h.docs, kind)
		sent, given := whole[name]
		version, isNumber := sent.(float64)
		switch {
		case !given:
			next.versions[kind] = stored + 1
		case !isNumber:
			return nil, badRequest(fmt.Errorf("%s must be a number", name))
		case version < stored:
			return nil, badRequest(fmt.Errorf("%s must be greater than or equal to (%s)", name, apisix.IDString(stored)))
		default:
			next.versions[kind] = version
			if kept[kind] = version == stored; kept[kind] {
				delete(whole, string(kind))
			}
		}
	}
	items := h.wholeEdits(r.Context(), whole, kept)
	edits, f := h.configsEdits(items, kept, next)
	if f != nil {
		return nil, f
	}
	prepared, err := h.prepare(r.Context(), edits...)
	if err != nil {
		// Which document is at fault, each tells by itself.
		if h.compileEach(items); !slices.ContainsFunc(items, func(it *item) bool { return it.err != nil }) {
			return nil, badRequest(err)
		}
		_, f := h.configsEdits(items, kept, next)
		return nil, f
	}
	for kind, c := range h.docs.kinds {
		next.counts[kind] = len(c.byAge)
	}
	for _, e := range edits {
		switch {
		case e.doc == nil && e.old == nil: // it was kept out
		case e.doc == nil:
			next.counts[e.kind]--
		case e.old == nil:
			next.counts[e.kind]++
		}
	}
	state := Write{Key: configsKey, Value: next.encode(), Prev: AnyRevision}
	records, report, err := h.commit(r.Context(), prepared, edits, state)
	if err != nil {
		return nil, h.failed(r, err)
	}
	next.revision = records[len(edits)].Modified
	h.mu.Lock()
	if h.configs.revision < next.revision {
		h.configs = next
	}
	h.mu.Unlock()
	if h.logger != nil {
		h.logger.Info("configuration changed", "action", "put", "kind", "configs", "documents", len(edits), "revision", next.revision, "remote", r.RemoteAddr)
	}
	answer := &reply{status: http.StatusAccepted, header: next.header(h.docs)}
	if warnings := h.warn(edits, report); len(warnings) > 0 {
		answer.body = map[string]any{"warnings": warnings}
	}
	return answer, nil
}

// configsEdits returns the edits that make what is stored a whole configuration, or what
// is wrong with its first document that is.
func (h *Handler) configsEdits(items []*item, kept map[apisix.Kind]bool, next *configsState) (edits []*edit, _ *failure) {
	stay := map[string]bool{}
	for _, it := range items {
		if it.err != nil {
			f := badRequest(it.err)
			switch {
			case it.index == noIndex:
				f.text = it.resource + ": " + f.text
			case !strings.HasPrefix(f.text, "found duplicate id "):
				f.text = fmt.Sprintf("invalid %s at index %d, err: %s", it.resource, it.index, f.text)
			}
			return nil, f
		}
		key := it.edit.key()
		stay[key] = true
		if it.indexed {
			next.indexes[key] = it.modifiedIndex
		}
		if !it.untouched {
			edits = append(edits, it.edit)
		}
	}
	for _, kind := range apisix.Kinds {
		for _, o := range h.docs.kinds[kind].byAge {
			key := keyOf(kind, o.id)
			switch {
			case kept[kind]:
				if index, ok := h.configs.index(kind, o); ok {
					next.indexes[key] = index
				}
			case !stay[key]:
				edits = append(edits, &edit{kind: kind, id: o.id, old: o})
			}
		}
	}
	for key := range h.keptOut() {
		kind, id, _ := parseKey(key)
		if h.docs.get(kind, id) == nil && !kept[kind] && !stay[key] {
			edits = append(edits, &edit{kind: kind, id: id})
		}
	}
	// Of one revision, the documents are of one age, and it is their keys that say which
	// goes first: so it will be after a restart too.
	slices.SortFunc(edits, func(a, b *edit) int { return strings.Compare(a.key(), b.key()) })
	return edits, nil
}

// keptOut returns the stored documents that are not in force, but for those whose ids are the
// program's: others have written them, and a whole configuration replaces them. changeMu is
// held.
func (h *Handler) keptOut() map[string]*rejection {
	list := maps.Clone(h.rejected)
	maps.DeleteFunc(list, func(key string, _ *rejection) bool {
		kind, id, _ := parseKey(key)
		return h.isForeign(kind, id)
	})
	return list
}
