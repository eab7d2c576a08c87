// Package storagetest tests whether an [adminapi.Storage] of your own keeps the promises of
// that interface's documentation.
//
//	func TestMyStorage(t *testing.T) {
//		storagetest.Run(t, func(t *testing.T) adminapi.Storage {
//			return mystorage.Open(t.TempDir())
//		})
//	}
//
// Use it with -race.
package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/adminapi"
)

// Run tests a storage, one promise per subtest. open is called for each and returns an empty
// storage, which nothing else writes to.
func Run(t *testing.T, open func(t *testing.T) adminapi.Storage) {
	for _, p := range promises {
		t.Run(p.name, func(t *testing.T) {
			if err := p.check(t.Context(), open(t)); err != nil {
				t.Errorf("%s: %v", p.explanation, err)
			}
		})
	}
}

// A promise is a rule that every storage keeps. check finds the storage empty.
type promise struct {
	name        string
	explanation string
	check       func(ctx context.Context, s adminapi.Storage) error
}

// save stores one record.
func save(ctx context.Context, s adminapi.Storage, key string, value []byte, prev int64) (adminapi.Record, error) {
	return one(s.Commit(ctx, adminapi.Write{Key: key, Value: value, Prev: prev}))
}

// remove deletes one record.
func remove(ctx context.Context, s adminapi.Storage, key string, prev int64) error {
	r, err := one(s.Commit(ctx, adminapi.Write{Key: key, Prev: prev, Delete: true}))
	if err == nil && r.Key != key {
		return fmt.Errorf("the record of the deletion has the key %q", r.Key)
	}
	return err
}

// one returns the record of the one write that a Commit had.
func one(records []adminapi.Record, err error) (adminapi.Record, error) {
	switch {
	case err != nil:
		return adminapi.Record{}, err
	case len(records) != 1:
		return adminapi.Record{}, fmt.Errorf("%d records are returned for one write", len(records))
	}
	return records[0], nil
}

var promises = []promise{{
	name:        "empty",
	explanation: "a new storage holds nothing",
	check: func(ctx context.Context, s adminapi.Storage) error {
		return holds(ctx, s)
	},
}, {
	name:        "save",
	explanation: "storing with 0 stores a new record, and returns it with one revision above 0",
	check: func(ctx context.Context, s adminapi.Storage) error {
		r, err := save(ctx, s, "/routes/1", []byte("a"), 0)
		switch {
		case err != nil:
			return err
		case r.Key != "/routes/1" || string(r.Value) != "a":
			return fmt.Errorf("returned key %q and value %q", r.Key, r.Value)
		case r.Created <= 0 || r.Created != r.Modified:
			return fmt.Errorf("returned revisions %d and %d", r.Created, r.Modified)
		}
		return holds(ctx, s, r)
	},
}, {
	name:        "replace",
	explanation: "storing with the revision of the record replaces it, keeps Created, and gives a greater Modified",
	check: func(ctx context.Context, s adminapi.Storage) error {
		first, err := save(ctx, s, "/routes/1", []byte("a"), 0)
		if err != nil {
			return err
		}
		r, err := save(ctx, s, "/routes/1", []byte("b"), first.Modified)
		switch {
		case err != nil:
			return err
		case r.Key != "/routes/1" || string(r.Value) != "b":
			return fmt.Errorf("returned key %q and value %q", r.Key, r.Value)
		case r.Created != first.Created || r.Modified <= first.Modified:
			return fmt.Errorf("returned revisions %d and %d after %d and %d", r.Created, r.Modified, first.Created, first.Modified)
		}
		again, err := save(ctx, s, "/routes/1", []byte("b"), r.Modified)
		if err != nil || again.Modified <= r.Modified {
			return fmt.Errorf("saving the same value: revision %d after %d, error %v", again.Modified, r.Modified, err)
		}
		return holds(ctx, s, again)
	},
}, {
	name:        "conflict",
	explanation: "storing with another revision than the record's is ErrConflict, and stores nothing",
	check: func(ctx context.Context, s adminapi.Storage) error {
		first, err := save(ctx, s, "/routes/1", []byte("a"), 0)
		if err != nil {
			return err
		}
		r, err := save(ctx, s, "/routes/1", []byte("b"), first.Modified)
		if err != nil {
			return err
		}
		for _, prev := range []int64{0, first.Modified, r.Modified + 1, -2} {
			if _, err := save(ctx, s, "/routes/1", []byte("c"), prev); !errors.Is(err, adminapi.ErrConflict) {
				return fmt.Errorf("revision %d where %d is stored: error %v", prev, r.Modified, err)
			}
		}
		for _, prev := range []int64{r.Modified, 1 << 40, -2} {
			if _, err := save(ctx, s, "/routes/2", []byte("c"), prev); !errors.Is(err, adminapi.ErrConflict) {
				return fmt.Errorf("revision %d where nothing is stored: error %v", prev, err)
			}
		}
		return holds(ctx, s, r)
	},
}, {
	name:        "any revision",
	explanation: "storing with AnyRevision stores whether there is a record or not",
	check: func(ctx context.Context, s adminapi.Storage) error {
		first, err := save(ctx, s, "/gen_id", []byte("1"), adminapi.AnyRevision)
		if err != nil {
			return err
		}
		r, err := save(ctx, s, "/gen_id", []byte("1"), adminapi.AnyRevision)
		if err != nil {
			return err
		}
		if r.Created != first.Created || r.Modified <= first.Modified {
			return fmt.Errorf("returned revisions %d and %d after %d and %d", r.Created, r.Modified, first.Created, first.Modified)
		}
		return holds(ctx, s, r)
	},
}, {
	name:        "one revision",
	explanation: "revisions are the storage's, not the key's: each write has a greater one than all before",
	check: func(ctx context.Context, s adminapi.Storage) error {
		var last int64
		for i := range 20 {
			key := fmt.Sprintf("/routes/%d", i%3)
			r, err := save(ctx, s, key, []byte{byte(i)}, adminapi.AnyRevision)
			if err != nil {
				return err
			}
			if r.Modified <= last {
				return fmt.Errorf("write %d has revision %d after %d", i, r.Modified, last)
			}
			last = r.Modified
			if i%5 == 4 {
				if err := remove(ctx, s, key, r.Modified); err != nil {
					return err
				}
			}
		}
		return nil
	},
}, {
	name:        "delete",
	explanation: "deleting with the revision of the record deletes it, and only it",
	check: func(ctx context.Context, s adminapi.Storage) error {
		var records []adminapi.Record
		for _, key := range []string{"/routes/1", "/routes/10", "/ssls/1"} {
			r, err := save(ctx, s, key, []byte(key), 0)
			if err != nil {
				return err
			}
			records = append(records, r)
		}
		if err := remove(ctx, s, "/routes/1", records[0].Modified); err != nil {
			return err
		}
		return holds(ctx, s, records[1:]...)
	},
}, {
	name:        "delete conflict",
	explanation: "deleting with another revision than the record's is ErrConflict, and deletes nothing",
	check: func(ctx context.Context, s adminapi.Storage) error {
		first, err := save(ctx, s, "/routes/1", []byte("a"), 0)
		if err != nil {
			return err
		}
		r, err := save(ctx, s, "/routes/1", []byte("b"), first.Modified)
		if err != nil {
			return err
		}
		for _, prev := range []int64{0, first.Modified, r.Modified + 1, -2} {
			if err := remove(ctx, s, "/routes/1", prev); !errors.Is(err, adminapi.ErrConflict) {
				return fmt.Errorf("revision %d where %d is stored: error %v", prev, r.Modified, err)
			}
		}
		if err := remove(ctx, s, "/routes/2", r.Modified); !errors.Is(err, adminapi.ErrConflict) {
			return fmt.Errorf("revision %d where nothing is stored: error %v", r.Modified, err)
		}
		return holds(ctx, s, r)
	},
}, {
	name:        "delete any",
	explanation: "deleting with AnyRevision deletes what is there, and with 0 too it is no error that nothing is",
	check: func(ctx context.Context, s adminapi.Storage) error {
		if _, err := save(ctx, s, "/routes/1", []byte("a"), 0); err != nil {
			return err
		}
		for _, prev := range []int64{adminapi.AnyRevision, adminapi.AnyRevision, 0} {
			if err := remove(ctx, s, "/routes/1", prev); err != nil {
				return fmt.Errorf("revision %d: %w", prev, err)
			}
		}
		return holds(ctx, s)
	},
}, {
	name:        "again",
	explanation: "a key that was deleted is new: storing with 0 stores it, with revisions greater than all before, and an old revision conflicts",
	check: func(ctx context.Context, s adminapi.Storage) error {
		first, err := save(ctx, s, "/routes/1", []byte("a"), 0)
		if err != nil {
			return err
		}
		if err := remove(ctx, s, "/routes/1", first.Modified); err != nil {
			return err
		}
		if _, err := save(ctx, s, "/routes/1", []byte("b"), first.Modified); !errors.Is(err, adminapi.ErrConflict) {
			return fmt.Errorf("the old revision: error %v", err)
		}
		r, err := save(ctx, s, "/routes/1", []byte("c"), 0)
		if err != nil {
			return err
		}
		if r.Created <= first.Modified || r.Created != r.Modified {
			return fmt.Errorf("returned revisions %d and %d after %d", r.Created, r.Modified, first.Modified)
		}
		return holds(ctx, s, r)
	},
}, {
	name:        "values",
	explanation: "a value comes back byte for byte, whatever and however long it is",
	check: func(ctx context.Context, s adminapi.Storage) error {
		every := make([]byte, 256)
		for i := range every {
			every[i] = byte(i)
		}
		var records []adminapi.Record
		for i, value := range [][]byte{{}, {0}, every, []byte("a\r\nb\n"), []byte(`{"a":"\u0000"}`), bytes.Repeat([]byte("x"), 2<<20)} {
			r, err := save(ctx, s, fmt.Sprintf("/ssls/%d", i), value, 0)
			if err != nil {
				return err
			}
			if !bytes.Equal(r.Value, value) {
				return fmt.Errorf("value %d is returned otherwise", i)
			}
			records = append(records, r)
		}
		return holds(ctx, s, records...)
	},
}, {
	name:        "keys",
	explanation: "keys are compared byte by byte, and none is a directory of another",
	check: func(ctx context.Context, s adminapi.Storage) error {
		var records []adminapi.Record
		for _, key := range []string{"/gen_id", "/routes/a", "/routes/A", "/routes/1", "/routes/01", "/routes/1.0", "/routes/a-_.Z", "/routes/1.json", "/routes/con", "/routes/" + strings.Repeat("x", 64), "/upstreams/1"} {
			r, err := save(ctx, s, key, []byte(key), 0)
			if err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			records = append(records, r)
		}
		return holds(ctx, s, records...)
	},
}, {
	name:        "no sharing",
	explanation: "Commit keeps nothing of the value that it is given, and Load returns a slice of its own",
	check: func(ctx context.Context, s adminapi.Storage) error {
		value := []byte("before")
		r, err := save(ctx, s, "/routes/1", value, 0)
		if err != nil {
			return err
		}
		copy(value, "after!")
		r.Value = []byte("before")
		if err := holds(ctx, s, r); err != nil {
			return err
		}
		loaded, err := s.Load(ctx)
		if err != nil {
			return err
		}
		clear(loaded)
		return holds(ctx, s, r)
	},
}, {
	name:        "one wins",
	explanation: "of many Commits at once with one revision, one stores, and the others get ErrConflict",
	check: func(ctx context.Context, s adminapi.Storage) error {
		var prev adminapi.Record
		for range 20 {
			var (
				wg   sync.WaitGroup
				mu   sync.Mutex
				won  []adminapi.Record
				errs []error
			)
			for i := range 8 {
				wg.Go(func() {
					r, err := save(ctx, s, "/routes/1", []byte{byte(i)}, prev.Modified)
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						won = append(won, r)
					} else if !errors.Is(err, adminapi.ErrConflict) {
						errs = append(errs, err)
					}
				})
			}
			wg.Wait()
			if err := errors.Join(errs...); err != nil {
				return err
			}
			if len(won) != 1 {
				return fmt.Errorf("%d won", len(won))
			}
			prev = won[0]
			if err := holds(ctx, s, prev); err != nil {
				return err
			}
		}
		return nil
	},
}, {
	name:        "many at once",
	explanation: "of many writes at once nothing is lost, no two have one revision, and Load may come in between",
	check: func(ctx context.Context, s adminapi.Storage) error {
		var (
			wg      sync.WaitGroup
			mu      sync.Mutex
			last    = map[string]adminapi.Record{}
			seen    = map[int64]bool{}
			failure error
		)
		note := func(r adminapi.Record, err error) {
			mu.Lock()
			defer mu.Unlock()
			if err == nil && seen[r.Modified] {
				err = fmt.Errorf("two writes have revision %d", r.Modified)
			}
			if err != nil {
				failure = err
			}
			seen[r.Modified] = true
			last[r.Key] = r
		}
		for i := range 8 {
			wg.Go(func() {
				var prev int64
				for n := range 20 {
					r, err := save(ctx, s, fmt.Sprintf("/routes/%d", i), []byte{byte(n)}, prev)
					note(r, err)
					prev = r.Modified
				}
			})
		}
		for range 2 {
			wg.Go(func() {
				for range 20 {
					if _, err := s.Load(ctx); err != nil {
						mu.Lock()
						failure = err
						mu.Unlock()
					}
				}
			})
		}
		wg.Wait()
		if failure != nil {
			return failure
		}
		var records []adminapi.Record
		for _, r := range last {
			records = append(records, r)
		}
		return holds(ctx, s, records...)
	},
}, {
	name:        "several",
	explanation: "several writes in one Commit have one Modified, greater than all before, and come back in their order",
	check: func(ctx context.Context, s adminapi.Storage) error {
		before, err := s.Commit(ctx, adminapi.Write{Key: "/routes/1", Value: []byte("a")}, adminapi.Write{Key: "/routes/2", Value: []byte("b")})
		if err != nil {
			return err
		}
		after, err := s.Commit(ctx,
			adminapi.Write{Key: "/ssls/1", Value: []byte("c")},
			adminapi.Write{Key: "/routes/2", Prev: before[1].Modified, Delete: true},
			adminapi.Write{Key: "/routes/1", Prev: before[0].Modified, Value: []byte("d")},
		)
		switch {
		case err != nil:
			return err
		case len(after) != 3 || after[0].Key != "/ssls/1" || after[1].Key != "/routes/2" || after[2].Key != "/routes/1":
			return fmt.Errorf("returned %s", describe(after))
		case after[0].Modified != after[2].Modified || after[2].Modified <= before[0].Modified || after[2].Created != before[0].Created:
			return fmt.Errorf("returned %s after %s", describe(after), describe(before))
		}
		return holds(ctx, s, after[0], after[2])
	},
}, {
	name:        "all or nothing",
	explanation: "where one of several writes conflicts, none is made",
	check: func(ctx context.Context, s adminapi.Storage) error {
		r, err := save(ctx, s, "/routes/1", []byte("a"), 0)
		if err != nil {
			return err
		}
		conflicts := adminapi.Write{Key: "/routes/1", Value: []byte("b")}
		for _, writes := range [][]adminapi.Write{
			{{Key: "/routes/2", Value: []byte("c")}, conflicts},
			{conflicts, {Key: "/routes/2", Value: []byte("c")}},
			{{Key: "/routes/1", Prev: r.Modified, Delete: true}, {Key: "/routes/2", Prev: r.Modified, Delete: true}},
		} {
			if _, err := s.Commit(ctx, writes...); !errors.Is(err, adminapi.ErrConflict) {
				return fmt.Errorf("error %v", err)
			}
			if err := holds(ctx, s, r); err != nil {
				return err
			}
		}
		return nil
	},
}, {
	name:        "expires",
	explanation: "the time at which a record is not to be there any more is kept, to the second, until a write without one",
	check: func(ctx context.Context, s adminapi.Storage) error {
		at := time.Now().Add(time.Hour).Truncate(time.Second)
		r, err := one(s.Commit(ctx, adminapi.Write{Key: "/routes/1", Value: []byte("a"), Expires: at}))
		if err != nil {
			return err
		}
		for _, want := range []time.Time{at, {}} {
			records, err := s.Load(ctx)
			if err != nil {
				return err
			}
			for _, r := range append(records, r) {
				if d := r.Expires.Sub(want); r.Expires.IsZero() != want.IsZero() || d.Abs() > time.Second {
					return fmt.Errorf("expires at %v, not %v", r.Expires, want)
				}
			}
			if r, err = save(ctx, s, "/routes/1", []byte("a"), r.Modified); err != nil {
				return err
			}
		}
		return nil
	},
}, {
	name:        "error means nothing",
	explanation: "where Commit returns an error, as for a context that has ended, nothing has changed",
	check: func(ctx context.Context, s adminapi.Storage) error {
		r, err := save(ctx, s, "/routes/1", []byte("a"), 0)
		if err != nil {
			return err
		}
		ended, cancel := context.WithCancel(ctx)
		cancel()
		records := []adminapi.Record{r}
		if saved, err := save(ended, s, "/routes/1", []byte("b"), r.Modified); err == nil {
			records[0] = saved
		}
		if saved, err := save(ended, s, "/routes/2", []byte("b"), 0); err == nil {
			records = append(records, saved)
		}
		if err := remove(ended, s, "/routes/1", records[0].Modified); err == nil {
			records = records[1:]
		}
		return holds(ctx, s, records...)
	},
}}

// holds reports what else a storage holds than some records.
func holds(ctx context.Context, s adminapi.Storage, want ...adminapi.Record) error {
	loaded, err := s.Load(ctx)
	if err != nil {
		return fmt.Errorf("loading: %w", err)
	}
	return same(loaded, want)
}

// same reports how some records differ from others, in any order.
func same(got, want []adminapi.Record) error {
	byKey := func(a, b adminapi.Record) int { return strings.Compare(a.Key, b.Key) }
	got = slices.SortedFunc(slices.Values(got), byKey)
	want = slices.SortedFunc(slices.Values(want), byKey)
	equal := func(a, b adminapi.Record) bool {
		return a.Key == b.Key && bytes.Equal(a.Value, b.Value) && a.Created == b.Created && a.Modified == b.Modified
	}
	if !slices.EqualFunc(got, want, equal) {
		return fmt.Errorf("holds %s, not %s", describe(got), describe(want))
	}
	return nil
}

// describe shows records with the beginnings of their values, which are of this
// package alone.
func describe(records []adminapi.Record) string {
	var b strings.Builder
	for _, r := range records {
		value := r.Value
		if len(value) > 20 {
			value = value[:20]
		}
		fmt.Fprintf(&b, " %s=%q(%d bytes, revisions %d, %d)", r.Key, value, len(r.Value), r.Created, r.Modified)
	}
	return "[" + strings.TrimPrefix(b.String(), " ") + "]"
}
