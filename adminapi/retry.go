package adminapi

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/sallyport/sallyport/internal/apisix"
)

// This file tries stored documents again that were kept out, when one has changed that may have
// been the reason. So it matters less in which order others write.

// retryBeside tries what may have been kept out because of documents that edits have changed,
// and then because of those that are in force now for it. Those in just were judged beside the
// edits already, but perhaps also beside others of theirs: they are tried beside the versions of
// those that stay in force. changeMu is held.
func (h *Handler) retryBeside(ctx context.Context, edits []*edit, just map[string]*rejection) {
	keys := slices.DeleteFunc(h.keptOutFor(edits), func(key string) bool { return just[key] != nil })
	for _, key := range slices.Sorted(maps.Keys(just)) {
		if slices.ContainsFunc(just[key].names, func(name string) bool { return just[name] != nil && h.hasLastGood(name) }) {
			keys = append(keys, key)
		}
	}
	for len(keys) > 0 {
		keys = h.keptOutFor(h.retryEach(ctx, keys))
	}
}

// retryEach tries what is kept out, and returns the edits of what is in force now.
func (h *Handler) retryEach(ctx context.Context, keys []string) (edits []*edit) {
	for _, key := range keys {
		r := h.rejected[key]
		if e := h.editOf(r); e != nil && h.retry(ctx, e, r) == nil {
			edits = append(edits, e)
		}
	}
	return edits
}

// hasLastGood reports whether a version of a document is in force that was stored before it.
func (h *Handler) hasLastGood(key string) bool {
	kind, id, ok := parseKey(key)
	return ok && h.docs.get(kind, id) != nil
}

// keptOutFor returns the keys of what is kept out and names a document that edits have changed,
// or is or was named by one: a service may be kept out because a route of it does not fit.
func (h *Handler) keptOutFor(edits []*edit) []string {
	changed, named := map[string]bool{}, map[string]bool{}
	note := func(kind apisix.Kind, doc map[string]any) {
		for _, key := range references(kind, doc) {
			named[key] = true
		}
	}
	for _, e := range edits {
		changed[e.key()] = true
		note(e.kind, e.doc)
		if e.old != nil {
			note(e.kind, e.old.doc)
		}
	}
	var keys []string
	for key, r := range h.rejected {
		if named[key] || slices.ContainsFunc(r.names, func(name string) bool { return changed[name] }) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// editOf returns the edit of a document that was kept out, or nil if it cannot be read.
func (h *Handler) editOf(r *rejection) *edit {
	kind, id, _ := parseKey(r.record.Key)
	e := &edit{kind: kind, id: id, expires: r.record.Expires, old: h.docs.get(kind, id)}
	if h.read(e, r.record.Value) != nil {
		return nil
	}
	return e
}

// retry takes a document that was kept out, if nothing is wrong with it any more. changeMu is
// held.
func (h *Handler) retry(ctx context.Context, e *edit, r *rejection) error {
	key := r.record.Key
	prepared, wrong := h.prepareGood(ctx, []*edit{e})
	if wrong != nil {
		err := wrong[e]
		if ctx.Err() == nil { // or else it was not tried to its end
			h.keepOut(ctx, e, r, err)
		}
		return err
	}
	report := prepared.Commit()
	h.mu.Lock()
	delete(h.rejected, key)
	h.docs.apply(e, r.record)
	h.mu.Unlock()
	h.warn([]*edit{e}, report)
	if h.logger != nil {
		h.logger.Info("stored document is in force, and was kept out before", "key", key, "revision", r.record.Modified)
	}
	return nil
}

// keepOut keeps a document out for the reason of now. What was to refuse in its place, and
// could not either, may be able to now. changeMu is held.
func (h *Handler) keepOut(ctx context.Context, e *edit, r *rejection, err error) {
	again := *r
	again.err = errors.New(withoutKey(err.Error()))
	var program *foreignError
	if r.refuses == nil && !errors.As(err, &program) && e.refuse(false) {
		if prepared, _ := h.prepareGood(ctx, []*edit{e}); prepared != nil {
			prepared.Commit()
			again.refuses = e.decoded
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rejected[r.record.Key] = &again
}
