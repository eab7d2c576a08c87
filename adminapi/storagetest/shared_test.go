package storagetest_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/adminapi/storagetest"
)

// A telling is a memory that tells its changes, but for what alter makes of them.
type telling struct {
	adminapi.Memory
	alter func(n int, u adminapi.Update) adminapi.Update // n is 0 for the first
	deaf  bool                                           // goes on when the context has ended
	mute  bool                                           // its deletions have no revision

	mu      sync.Mutex // guards what follows
	changed *sync.Cond
	history []adminapi.Update
}

func newTelling(alter func(n int, u adminapi.Update) adminapi.Update) *telling {
	w := &telling{alter: alter}
	w.changed = sync.NewCond(&w.mu)
	return w
}

func (w *telling) Commit(ctx context.Context, writes ...adminapi.Write) ([]adminapi.Record, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	// A Memory does not say at which revision it deletes: one more key does.
	records, err := w.Memory.Commit(ctx, append(writes, adminapi.Write{Key: "revision", Prev: adminapi.AnyRevision})...)
	if err != nil {
		return nil, err
	}
	u := adminapi.Update{Revision: records[len(writes)].Modified}
	records = records[:len(writes)]
	for i := range records {
		if !writes[i].Delete {
			u.Records = append(u.Records, records[i])
			continue
		}
		if !w.mute {
			records[i].Modified = u.Revision
		}
		u.Deleted = append(u.Deleted, adminapi.Record{Key: records[i].Key, Modified: u.Revision})
	}
	w.history = append(w.history, u)
	w.changed.Broadcast()
	return records, nil
}

func (w *telling) Load(ctx context.Context) (records []adminapi.Record, err error) {
	all, err := w.Memory.Load(ctx)
	for _, r := range all {
		if r.Key != "revision" {
			records = append(records, r)
		}
	}
	return records, err
}

func (w *telling) Watch(ctx context.Context, update func(adminapi.Update)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.changed.Broadcast()
	})()
	u := adminapi.Update{Whole: true}
	u.Records, _ = w.Load(ctx)
	next := len(w.history)
	if next > 0 {
		u.Revision = w.history[next-1].Revision
	}
	for n := 0; ; n++ {
		w.mu.Unlock()
		if w.alter != nil {
			u = w.alter(n, u)
		}
		update(u)
		w.mu.Lock()
		for next == len(w.history) && (ctx.Err() == nil || w.deaf) {
			w.changed.Wait()
		}
		if ctx.Err() != nil && !w.deaf {
			return
		}
		u = w.history[next]
		next++
	}
}

func TestShared(t *testing.T) {
	storagetest.RunShared(t, func(*testing.T) adminapi.SharedStorage { return newTelling(nil) })
}

func ExampleRunShared() {
	testMyShared := func(t *testing.T) {
		storagetest.RunShared(t, func(t *testing.T) adminapi.SharedStorage {
			return newTelling(nil) // yours, empty
		})
	}
	_ = testMyShared // which go test runs if it is called TestMyShared
}

// Each flaw is found.
func TestSharedFlaws(t *testing.T) {
	flaws := map[string]func() *telling{
		"an error": func() *telling {
			return newTelling(func(int, adminapi.Update) adminapi.Update { return adminapi.Update{Err: errors.New("x")} })
		},
		"not whole": func() *telling {
			return newTelling(func(_ int, u adminapi.Update) adminapi.Update { u.Whole = false; return u })
		},
		"nothing at first": func() *telling {
			return newTelling(func(n int, u adminapi.Update) adminapi.Update {
				if n == 0 {
					u.Records = nil
				}
				return u
			})
		},
		"no deletions": func() *telling {
			return newTelling(func(_ int, u adminapi.Update) adminapi.Update { u.Deleted = nil; return u })
		},
		"no changes": func() *telling {
			return newTelling(func(n int, u adminapi.Update) adminapi.Update {
				if n > 0 {
					u.Records = nil
				}
				return u
			})
		},
		"no revisions": func() *telling {
			return newTelling(func(_ int, u adminapi.Update) adminapi.Update { u.Revision = 1; return u })
		},
		"a key twice": func() *telling {
			return newTelling(func(_ int, u adminapi.Update) adminapi.Update {
				u.Records = append(u.Records, u.Records...)
				return u
			})
		},
		"deletions without a revision": func() *telling {
			w := newTelling(nil)
			w.mute = true
			return w
		},
	}
	for name, open := range flaws {
		synctest.Test(t, func(t *testing.T) {
			require.NotEmpty(t, storagetest.BrokenTellings(t.Context(), func() adminapi.SharedStorage { return open() }), name)
		})
	}
	synctest.Test(t, func(t *testing.T) {
		var opened []*telling
		broken := storagetest.BrokenTellings(t.Context(), func() adminapi.SharedStorage {
			w := newTelling(nil)
			w.deaf = true
			opened = append(opened, w)
			return w
		})
		require.NotEmpty(t, broken, "it does not end")
		for _, w := range opened { // for the bubble to end
			w.mu.Lock()
			w.deaf = false
			w.changed.Broadcast()
			w.mu.Unlock()
		}
	})
	require.Empty(t, storagetest.BrokenTellings(t.Context(), func() adminapi.SharedStorage { return newTelling(nil) }))
}
