package adminapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/internal/apisix"
)

// put stores a document under the id of the path or of the document.
func (h *Handler) put(r *http.Request, kind apisix.Kind, id string, sent body) (*reply, *failure) {
	doc, f := documentOf(sent)
	if f != nil {
		return nil, f
	}
	pathID := id
	id, err := apisix.PutID(kind, pathID, doc)
	if err != nil {
		return nil, badRequest(err)
	}
	if isDots(id) {
		return nil, badRequest(fmt.Errorf("wrong %s id: %s is a step in a path", kind.Singular(), id))
	}
	h.changeMu.Lock()
	defer h.changeMu.Unlock()
	if h.isForeign(kind, id) {
		return nil, foreignFailure(kind, id)
	}
	old := h.docs.get(kind, id)
	if f := h.precondition(r, kind, id); f != nil {
		return nil, f
	}
	if doc, f = withoutTimes(doc, old); f != nil {
		return nil, f
	}
	if pathID != "" {
		doc["id"] = id
	}
	e := &edit{kind: kind, id: id, doc: doc, old: old}
	if f := h.restore(e); f != nil {
		return nil, f
	}
	h.stamp(e)
	return h.store(r, e)
}

// post stores a document under an id of its own.
func (h *Handler) post(r *http.Request, kind apisix.Kind, id string, sent body) (*reply, *failure) {
	doc, f := documentOf(sent)
	if f != nil {
		return nil, f
	}
	if err := apisix.CheckNoID(kind, id, doc); err != nil {
		return nil, badRequest(err)
	}
	if doc, f = withoutTimes(doc, nil); f != nil {
		return nil, f
	}
	h.changeMu.Lock()
	defer h.changeMu.Unlock()
	// So that a document that is refused leaves nothing behind, not even a
	// revision, it is looked at before the id is made.
	e := &edit{kind: kind, id: noID, doc: doc}
	if f := h.restore(e); f != nil {
		return nil, f
	}
	if _, f := h.check(r, e); f != nil {
		return nil, f
	}
	if e.id, f = h.newID(r, kind); f != nil {
		return nil, f
	}
	e.doc["id"] = e.id
	h.stamp(e)
	return h.store(r, e)
}

// noID stands for the id of a document that has none yet. No document has it, so that what
// is looked at replaces none.
const noID = "."

// newID makes an id: the revision of the storage, as in APISIX. Someone may have
// chosen that for a document already, but not the next ones for more documents
// than there are. changeMu is held.
func (h *Handler) newID(r *http.Request, kind apisix.Kind) (string, *failure) {
	for range len(h.docs.kinds[kind].byID) + 1 {
		records, err := h.record(r.Context(), Write{Key: "/gen_id", Value: []byte("1"), Prev: AnyRevision})
		if err != nil {
			return "", h.failed(r, err)
		}
		id := fmt.Sprintf("%020d", records[0].Modified)
		if h.docs.get(kind, id) == nil && !h.isForeign(kind, id) {
			return id, nil
		}
	}
	return "", h.failed(r, errors.New("adminapi: storage: gives one revision to two writes"))
}

// patch changes a part of a document: what the body names or, with a path behind the
// id, the value there.
func (h *Handler) patch(r *http.Request, kind apisix.Kind, id, path string, sent body) (*reply, *failure) {
	switch {
	case id == "":
		return nil, missingID(kind)
	case !sent.present:
		return nil, badRequest(&apisix.Error{Text: "missing new configuration", Hint: "send what is to change as the body, a JSON object"})
	}
	h.changeMu.Lock()
	defer h.changeMu.Unlock()
	old, f := h.existing(r, kind, id)
	if f != nil {
		return nil, f
	}
	var doc map[string]any
	var err error
	timed := false
	if path == "" {
		doc, err = apisix.Patch(old.doc, sent.value)
		change, _ := sent.value.(map[string]any)
		timed = doc["update_time"] != nil && change["update_time"] != nil
	} else {
		doc, err = apisix.PatchPath(old.doc, path, sent.value)
	}
	if err != nil {
		return nil, badRequest(err)
	}
	if _, err := apisix.PutID(kind, id, doc); err != nil {
		return nil, badRequest(err)
	}
	doc["id"] = id
	if !timed {
		doc["update_time"] = float64(h.now().Unix())
	}
	e := &edit{kind: kind, id: id, doc: doc, old: old}
	if f := h.restore(e); f != nil {
		return nil, f
	}
	if e.kept == nil {
		// What was not sent is kept too.
		e.kept = apisix.NewOrigin(kind, e.doc, old.doc)
	}
	return h.store(r, e)
}

// missingID is the answer to a request for one document that does not say which.
func missingID(kind apisix.Kind) *failure {
	return badRequest(&apisix.Error{Text: fmt.Sprintf("missing %s id", kind.Singular()), Hint: fmt.Sprintf("put it into the path, /apisix/admin/%s/ID", kind)})
}

// existing returns the document that a request is to change, if it is the one that the
// request expects. changeMu is held.
func (h *Handler) existing(r *http.Request, kind apisix.Kind, id string) (*object, *failure) {
	old := h.docs.get(kind, id)
	switch {
	case h.isForeign(kind, id):
		return nil, foreignFailure(kind, id)
	case old == nil:
		return nil, keyNotFound
	}
	return old, h.precondition(r, kind, id)
}

// documentOf makes the checks that come before everything else. The document is a
// copy, as far as its own properties go.
func documentOf(sent body) (map[string]any, *failure) {
	if !sent.present {
		return nil, missingDocument
	}
	doc, err := apisix.Document(sent.value)
	if err != nil {
		return nil, badRequest(err)
	}
	return maps.Clone(doc), nil
}

// withoutTimes refuses the times that the server sets, as APISIX does, but for those
// that GET shows of what is replaced: so that a document can be read, edited and put.
func withoutTimes(doc map[string]any, old *object) (map[string]any, *failure) {
	if old != nil {
		for _, name := range []string{"create_time", "update_time"} {
			if sent, ok := doc[name]; ok && sent == old.doc[name] {
				delete(doc, name)
			}
		}
	}
	if err := apisix.CheckForbidden(doc); err != nil {
		return nil, badRequest(err)
	}
	return doc, nil
}

// restore puts stored private keys where a document has their placeholder, and decrypts
// those that are encrypted.
func (h *Handler) restore(e *edit) *failure {
	var stored map[string]any
	if e.old != nil {
		stored = e.old.doc
	}
	doc, warnings, err := apisix.Restore(e.kind, h.keyring.Decrypt(e.kind, e.doc), stored)
	if err != nil {
		return badRequest(err)
	}
	e.doc, e.kept = doc, warnings
	return nil
}

// stamp sets the times of a document. It keeps that of its creation.
func (h *Handler) stamp(e *edit) {
	now := float64(h.now().Unix())
	e.doc["create_time"], e.doc["update_time"] = now, now
	if e.old != nil && e.old.doc["create_time"] != nil {
		e.doc["create_time"] = e.old.doc["create_time"]
	}
}

// store checks a document, stores it and applies it. changeMu is held.
func (h *Handler) store(r *http.Request, e *edit) (*reply, *failure) {
	prepared, f := h.check(r, e)
	if f != nil {
		return nil, f
	}
	records, report, err := h.commit(r.Context(), prepared, []*edit{e})
	if err != nil {
		return nil, h.failed(r, err)
	}
	h.logChange(r, e, records[0].Modified)

	status := http.StatusOK
	if e.old == nil {
		status = http.StatusCreated
	}
	answer := map[string]any{"key": keyPrefix + e.key(), "value": apisix.Redact(e.kind, e.doc)}
	h.addWarnings(answer, e, report)
	return &reply{status: status, body: answer, revision: records[0].Modified}, nil
}

// check makes of a document the change that it is, or says why it is refused. It
// changes nothing. changeMu is held.
func (h *Handler) check(r *http.Request, e *edit) (*gateway.Prepared, *failure) {
	var f *failure
	if e.expires, f = h.expires(r); f != nil {
		return nil, f
	}
	if err := h.decode(r.Context(), h.after(e), e); err != nil {
		return nil, badRequest(err)
	}
	if err := h.checkReferences(e); err != nil {
		return nil, badRequest(err)
	}
	if err := e.checkIdle(); err != nil {
		return nil, badRequest(err)
	}
	prepared, err := h.prepare(r.Context(), e)
	if err != nil {
		return nil, badRequest(err)
	}
	return prepared, nil
}

// maxTTL keeps the time at which a document goes out within what a time.Duration holds.
const maxTTL = 100 * 365 * 24 * time.Hour

// expires returns the time that the parameter ttl says, or zero.
func (h *Handler) expires(r *http.Request) (time.Time, *failure) {
	query := r.URL.Query()
	if !query.Has("ttl") {
		return time.Time{}, nil
	}
	wrong := &failure{status: http.StatusBadRequest, text: "invalid argument ttl: should be a number"}
	seconds, isNumber := tonumber(query.Get("ttl"))
	switch {
	case !isNumber:
		return time.Time{}, wrong
	case seconds <= 0:
		wrong.description = "it must be above 0: the document is there for so many seconds"
		return time.Time{}, wrong
	}
	ttl := maxTTL
	if seconds < maxTTL.Seconds() {
		ttl = time.Duration(seconds * float64(time.Second))
	}
	return h.now().Add(ttl), nil
}

// precondition compares If-Match and If-None-Match with what is there: the index of a
// document, as ETag and modifiedIndex show it, with or without quotes. What is stored and could
// never be used is there too, although no GET shows it. changeMu is held.
func (h *Handler) precondition(r *http.Request, kind apisix.Kind, id string) *failure {
	revision := h.revisionOf(kind, id)
	if o := h.docs.get(kind, id); o != nil {
		revision = o.changed // that which is shown
	}
	matches := func(header string) bool {
		for _, value := range r.Header.Values(header) {
			for tag := range strings.SplitSeq(value, ",") {
				tag = strings.Trim(strings.TrimPrefix(strings.TrimSpace(tag), "W/"), `"`)
				if revision != 0 && (tag == "*" || tag == strconv.FormatInt(revision, 10)) {
					return true
				}
			}
		}
		return false
	}
	if len(r.Header.Values("If-Match")) > 0 && !matches("If-Match") || matches("If-None-Match") {
		return &failure{status: http.StatusPreconditionFailed, text: valueChanged}
	}
	return nil
}

// checkReferences refuses a document that names one that is not there.
func (h *Handler) checkReferences(e *edit) error {
	for _, key := range references(e.kind, e.doc) {
		kind, id, _ := parseKey(key)
		what := kind.Singular()
		switch o := h.docs.get(kind, id); {
		case o == nil:
			wrong := &apisix.Error{Text: fmt.Sprintf("failed to fetch %s info by %s id [%s], response code: 404", what, what, id)}
			switch {
			case h.isForeign(kind, id):
				wrong.Hint = foreign(kind, id).Error() + ": a document cannot name it"
			case kind == apisix.SSLs:
				wrong.Hint = clientCertID(e.kind) + ": there is no ssl object with this id"
			}
			return wrong
		case kind == apisix.SSLs && o.doc["type"] != "client":
			return &apisix.Error{
				Text: fmt.Sprintf("failed to fetch %s info by %s id [%s], wrong ssl type", what, what, id),
				Hint: clientCertID(e.kind) + `: the ssl object must be of the type "client"`,
			}
		}
	}
	return nil
}

// clientCertID is the property by which documents of a kind name an ssl object.
func clientCertID(kind apisix.Kind) string {
	if kind == apisix.Upstreams {
		return "tls.client_cert_id"
	}
	return "upstream.tls.client_cert_id"
}

// delete deletes a document that no other needs, or with "force=true" any.
func (h *Handler) delete(r *http.Request, kind apisix.Kind, id string) (*reply, *failure) {
	if id == "" {
		return nil, missingID(kind)
	}
	h.changeMu.Lock()
	defer h.changeMu.Unlock()
	old, f := h.existing(r, kind, id)
	if never := h.rejected[keyOf(kind, id)] != nil && old == nil; never {
		f = h.precondition(r, kind, id) // of what is stored and could never be used, there is no document
	}
	if f != nil {
		return nil, f
	}
	e := &edit{kind: kind, id: id, old: old}
	if r.URL.Query().Get("force") != "true" {
		if err := h.checkUsers(e); err != nil {
			return nil, badRequest(err)
		}
	}
	report, err := h.remove(r.Context(), e)
	if err != nil {
		return nil, h.failed(r, err)
	}
	h.logChange(r, e, 0)
	answer := map[string]any{"deleted": "1", "key": keyPrefix + e.key()}
	h.addWarnings(answer, e, report)
	return &reply{status: http.StatusOK, body: answer}, nil
}

// remove deletes a document. changeMu is held.
func (h *Handler) remove(ctx context.Context, e *edit) (gateway.Report, error) {
	prepared, err := h.prepare(ctx, e)
	if err != nil {
		return gateway.Report{}, err
	}
	_, report, err := h.commit(ctx, prepared, []*edit{e})
	return report, err
}

// checkUsers refuses to delete what another document names. As in APISIX, nobody is asked
// about ssl objects.
func (h *Handler) checkUsers(e *edit) error {
	if e.kind == apisix.SSLs {
		return nil
	}
	for _, kind := range []apisix.Kind{apisix.Routes, apisix.Services} {
		user, used := h.docs.user(kind, e.key())
		switch {
		case !used:
		case e.kind == apisix.Services:
			return fmt.Errorf("can not delete this service directly, %s [%s] is still using it now", kind.Singular(), user)
		default:
			return fmt.Errorf("can not delete this %s, %s [%s] is still using it now", e.kind.Singular(), kind.Singular(), user)
		}
	}
	return nil
}
