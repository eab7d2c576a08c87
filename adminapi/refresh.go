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
	failed := map[string]error{}
	for _, key := range slices.Sorted(maps.Keys(h.rejected)) {
		r := h.rejected[key]
		if r == nil {
			continue // it is in force now, beside another
		}
		e := h.editOf(r)
		if e == nil || !apisix.HasReferences(e.kind, e.doc) && apisix.ClientCertificateID(e.kind, e.doc) == "" {
			continue // it is wrong whatever they stand for
		}
		if failed[key] = h.retry(ctx, e, r); failed[key] == nil {
			h.retryBeside(ctx, []*edit{e}, nil)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(failed)) {
		if err := failed[key]; err != nil && h.rejected[key] != nil {
			faults = append(faults, fmt.Errorf("adminapi: %s: %s", key, withoutKey(err.Error())))
		}
	}
	return errors.Join(faults...)
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
