package adminapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/sallyport/sallyport/internal/apisix"
)

// Refresh looks up again what the references in documents stand for, "$env://" and
// "$secret://", and applies it: a certificate that was renewed at its source is served from
// the next handshake on. Documents stay as they are stored. One whose references can no
// longer be resolved, or resolve to something unusable, stays in force as it was; the error
// joins what is wrong with each. One that others have stored, and that was kept out while
// its references could not be resolved ([Status]), is tried again. New warnings, of a
// certificate that was renewed too late for example, are logged.
//
// Call it when secrets have changed, or every few minutes (APISIX remembers a secret for
// five). Changes wait for it.
func (h *Handler) Refresh(ctx context.Context) error {
	h.changeMu.Lock()
	defer h.changeMu.Unlock()
	var faults []error
	for _, kind := range apisix.Kinds {
		for _, o := range h.docs.kinds[kind].byAge {
			if !apisix.HasReferences(kind, o.doc) {
				continue
			}
			if err := h.refresh(ctx, &edit{kind: kind, id: o.id, doc: o.doc, old: o}); err != nil {
				faults = append(faults, fmt.Errorf("adminapi: %s: %s", keyOf(kind, o.id), withoutKey(err.Error())))
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(h.rejected)) {
		if err := h.retry(ctx, h.rejected[key]); err != nil {
			faults = append(faults, fmt.Errorf("adminapi: %s: %s", key, withoutKey(err.Error())))
		}
	}
	return errors.Join(faults...)
}

// retry takes a stored document that was kept out, if there are references in it, or in a
// client certificate that it names, and nothing is wrong with it any more. changeMu is held.
func (h *Handler) retry(ctx context.Context, r *rejection) error {
	kind, id, _ := parseKey(r.record.Key)
	e := &edit{kind: kind, id: id, expires: r.record.Expires, old: h.docs.get(kind, id)}
	if h.read(e, r.record.Value) != nil {
		return nil
	}
	if !apisix.HasReferences(kind, e.doc) && apisix.ClientCertificateID(kind, e.doc) == "" {
		return nil // it is wrong whatever they stand for
	}
	prepared, wrong := h.prepareGood(ctx, []*edit{e})
	if wrong != nil {
		if ctx.Err() == nil { // or else it was not tried to its end
			h.mu.Lock()
			defer h.mu.Unlock()
			h.rejected[r.record.Key] = &rejection{record: r.record, err: errors.New(withoutKey(wrong[e].Error())), refuses: r.refuses}
		}
		return wrong[e]
	}
	report := prepared.Commit()
	h.mu.Lock()
	delete(h.rejected, r.record.Key)
	h.docs.apply(e, r.record)
	h.mu.Unlock()
	h.warn([]*edit{e}, report)
	if h.logger != nil {
		h.logger.Info("stored document is in force, and was kept out before", "key", r.record.Key, "revision", r.record.Modified)
	}
	return nil
}

func (h *Handler) refresh(ctx context.Context, e *edit) error {
	if err := h.decode(ctx, h.after(e), e); err != nil {
		return err
	}
	prepared, err := h.prepare(ctx, e)
	if err != nil {
		return err
	}
	h.warn([]*edit{e}, prepared.Commit())
	return nil
}
