package adminapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/internal/apisix"
	"github.com/sallyport/sallyport/internal/cjson"
)

// put stores a document under the id of the path or of the document.
func (h *Handler) put(r *http.Request, kind apisix.Kind, id string, sent body) (int, map[string]any, *failure) {
	doc, f := documentOf(kind, sent)
	if f != nil {
		return 0, nil, f
	}
	pathID := id
	id, err := apisix.PutID(kind, pathID, doc)
	if err != nil {
		return 0, nil, badRequest(err)
	}
	if isDots(id) {
		return 0, nil, badRequest(fmt.Errorf("wrong %s id: %s is a step in a path", kind.Singular(), id))
	}
	h.changeMu.Lock()
	defer h.changeMu.Unlock()
	return h.store(r, kind, id, pathID == "", doc)
}

// post stores a document under an id of its own.
func (h *Handler) post(r *http.Request, kind apisix.Kind, id string, sent body) (int, map[string]any, *failure) {
	doc, f := documentOf(kind, sent)
	if f != nil {
		return 0, nil, f
	}
	if err := apisix.CheckNoID(kind, id, doc); err != nil {
		return 0, nil, badRequest(err)
	}
	h.changeMu.Lock()
	defer h.changeMu.Unlock()
	// So that a document that is refused leaves nothing behind, not even a
	// revision, it is looked at before the id is made.
	if _, _, f := h.check(r, kind, "new", doc); f != nil {
		return 0, nil, f
	}
	id, f = h.newID(r, kind)
	if f != nil {
		return 0, nil, f
	}
	return h.store(r, kind, id, false, doc)
}

// newID makes an id: the revision of the storage, as in APISIX. Someone may have
// chosen that for a document already, but not the next ones for more documents
// than there are. changeMu is held.
func (h *Handler) newID(r *http.Request, kind apisix.Kind) (string, *failure) {
	for range len(h.objects[kind]) + 1 {
		record, err := h.storage.Save(r.Context(), "/gen_id", []byte("1"), AnyRevision)
		if err != nil {
			return "", h.storageFailed(r, err)
		}
		id := fmt.Sprintf("%020d", record.Modified)
		if h.objects[kind][id] == nil {
			return id, nil
		}
	}
	return "", h.storageFailed(r, errors.New("adminapi: storage: gives one revision to two writes"))
}

// documentOf makes the checks that come before everything else.
func documentOf(kind apisix.Kind, sent body) (map[string]any, *failure) {
	if !sent.present {
		return nil, &failure{status: http.StatusBadRequest, text: "missing configurations"}
	}
	doc, err := apisix.Document(sent.value)
	if err != nil {
		return nil, badRequest(err)
	}
	if err := apisix.CheckForbidden(doc); err != nil {
		return nil, badRequest(err)
	}
	return doc, nil
}

// store checks a document, stores it and applies it, in this order: only the
// storing can fail where nothing is wrong, and as long as it has not been done,
// nothing has moved. changeMu is held.
func (h *Handler) store(r *http.Request, kind apisix.Kind, id string, bodyID bool, doc map[string]any) (int, map[string]any, *failure) {
	old := h.objects[kind][id]
	doc = maps.Clone(doc)
	if !bodyID {
		doc["id"] = id
	}
	now := float64(h.now().Unix())
	doc["create_time"], doc["update_time"] = now, now
	if old != nil && old.doc["create_time"] != nil {
		doc["create_time"] = old.doc["create_time"]
	}
	decoded, prepared, f := h.check(r, kind, id, doc)
	if f != nil {
		return 0, nil, f
	}
	var prev int64
	if old != nil {
		prev = old.changed
	}
	// The client may go away: what was begun is ended.
	record, err := h.storage.Save(context.WithoutCancel(r.Context()), keyOf(kind, id), cjson.Encode(doc), prev)
	if err != nil {
		return 0, nil, h.storageFailed(r, err)
	}
	report := prepared.Commit()
	h.mu.Lock()
	h.objects[kind][id] = &object{doc: doc, id: id, created: record.Created, changed: record.Modified}
	h.mu.Unlock()
	h.logChange(r, "put", kind, id, record.Modified)

	status := http.StatusOK
	if old == nil {
		status = http.StatusCreated
	}
	answer := map[string]any{"key": keyPrefix + keyOf(kind, id), "value": apisix.Redact(kind, doc)}
	if warnings := warningsOf(decoded, report); len(warnings) > 0 {
		answer["warnings"] = warnings
	}
	return status, answer, nil
}

// check makes of a document the change that it is, or says why it is refused. It
// changes nothing. changeMu is held.
func (h *Handler) check(r *http.Request, kind apisix.Kind, id string, doc map[string]any) (*apisix.Object, *gateway.Prepared, *failure) {
	if r.URL.Query().Has("ttl") {
		return nil, nil, badRequest(errors.New("ttl is not supported by this version: the document would stay for ever"))
	}
	decoded, err := apisix.Decode(kind, id, doc)
	if err != nil {
		return nil, nil, badRequest(err)
	}
	if f := h.checkReferences(kind, doc); f != nil {
		return nil, nil, f
	}
	change := changeOf(decoded)
	change.AllowDangling = true // the references are the documents', and were checked
	prepared, err := h.server.Prepare(change)
	if err != nil {
		return nil, nil, badRequest(decoded.Translate(err))
	}
	return decoded, prepared, nil
}

func warningsOf(decoded *apisix.Object, report gateway.Report) (warnings []any) {
	for _, text := range decoded.Warnings {
		warnings = append(warnings, text)
	}
	for _, w := range report.Warnings {
		if w.Kind != "upstream" { // which the decoder has warned of already
			warnings = append(warnings, w.Text)
		}
	}
	return warnings
}

// checkReferences refuses a document that names one that is not there.
func (h *Handler) checkReferences(kind apisix.Kind, doc map[string]any) *failure {
	if kind != apisix.Routes {
		return nil
	}
	id := apisix.IDString(doc["upstream_id"])
	if _, there := h.objects[apisix.Upstreams][id]; id != "" && !there {
		return badRequest(fmt.Errorf("failed to fetch upstream info by upstream id [%s], response code: 404", id))
	}
	return nil
}

// delete deletes a document that no other needs, or with "force=true" any.
func (h *Handler) delete(r *http.Request, kind apisix.Kind, id string) (int, map[string]any, *failure) {
	if id == "" {
		return 0, nil, badRequest(fmt.Errorf("missing %s id", kind.Singular()))
	}
	h.changeMu.Lock()
	defer h.changeMu.Unlock()
	old := h.objects[kind][id]
	if old == nil {
		return 0, nil, keyNotFound
	}
	if kind == apisix.Upstreams && r.URL.Query().Get("force") != "true" {
		if route, used := h.routeWith(id); used {
			return 0, nil, badRequest(fmt.Errorf("can not delete this upstream, route [%s] is still using it now", route))
		}
	}
	change := deletionOf(kind, id)
	change.AllowDangling = true
	prepared, err := h.server.Prepare(change)
	if err != nil {
		return 0, nil, badRequest(err)
	}
	if err := h.storage.Delete(context.WithoutCancel(r.Context()), keyOf(kind, id), old.changed); err != nil {
		return 0, nil, h.storageFailed(r, err)
	}
	prepared.Commit()
	h.mu.Lock()
	delete(h.objects[kind], id)
	h.mu.Unlock()
	h.logChange(r, "delete", kind, id, 0)
	return http.StatusOK, map[string]any{"deleted": "1", "key": keyPrefix + keyOf(kind, id)}, nil
}

// routeWith returns the first route, by id, that names an upstream.
func (h *Handler) routeWith(upstream string) (id string, used bool) {
	for _, id := range slices.Sorted(maps.Keys(h.objects[apisix.Routes])) {
		if apisix.IDString(h.objects[apisix.Routes][id].doc["upstream_id"]) == upstream {
			return id, true
		}
	}
	return "", false
}

func (h *Handler) logChange(r *http.Request, action string, kind apisix.Kind, id string, revision int64) {
	if h.logger != nil {
		h.logger.Info("configuration changed", "action", action, "kind", string(kind), "id", id, "revision", revision, "remote", r.RemoteAddr)
	}
}
