package adminapi

import (
	"context"
	"fmt"
)

// This file is what stands between the Handler and the functions of the program's that are
// called by goroutines of the Handler's, in which nobody else could recover from a panic: it
// would end the process, where the last good configuration should go on.

// guarded calls a function of the program's. A panic in it is an error.
func guarded[T any](what string, f func() (T, error)) (result T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = panicked(what, r)
		}
	}()
	return f()
}

// panicked is the error of a function of the program's that has panicked.
func panicked(what string, value any) error {
	return fmt.Errorf("%s panicked: %s", what, withoutKey(fmt.Sprint(value)))
}

// stored returns what a storage holds.
func stored(ctx context.Context, s Storage) ([]Record, error) {
	return guarded("Load", func() ([]Record, error) { return s.Load(ctx) })
}

// record writes to the storage, unless it is one that is not followed any more: what is
// written there would never be in force here. There are as many records as writes.
func (h *Handler) record(ctx context.Context, writes ...Write) ([]Record, error) {
	if h.following != nil {
		if err := h.following.over(); err != nil {
			return nil, fmt.Errorf("adminapi: nothing was stored: %w", err)
		}
	}
	records, err := guarded("Commit", func() ([]Record, error) { return h.storage.Commit(ctx, writes...) })
	if err == nil && len(records) != len(writes) {
		err = fmt.Errorf("Commit returned %d records for %d writes", len(records), len(writes))
	}
	if err != nil {
		return nil, err
	}
	return records, nil
}

// watch has a storage report to update until the context ends. It returns why the storage
// has stopped, if the context has not ended.
func watch(ctx context.Context, s SharedStorage, update func(Update)) error {
	_, err := guarded("Watch", func() (struct{}, error) {
		s.Watch(ctx, update)
		return struct{}{}, nil
	})
	switch {
	case ctx.Err() != nil:
		return nil
	case err == nil:
		return errStopped
	default:
		return err
	}
}
