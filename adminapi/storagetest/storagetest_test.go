package storagetest_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/adminapi/storagetest"
)

func TestMemory(t *testing.T) {
	storagetest.Run(t, func(*testing.T) adminapi.Storage { return &adminapi.Memory{} })
}

// A flawed storage is a memory with one flaw.
type flawed struct {
	adminapi.Memory
	flaw
	mu     sync.Mutex // guards what follows
	last   []adminapi.Record
	counts map[string]int64
}

// A flaw replaces what is not nil.
type flaw struct {
	load   func(*flawed) ([]adminapi.Record, error)
	save   func(f *flawed, key string, value []byte, prev int64) (adminapi.Record, error)
	delete func(f *flawed, key string, prev int64) error
	commit func(f *flawed, writes []adminapi.Write) ([]adminapi.Record, error)
}

func (f *flawed) Load(ctx context.Context) ([]adminapi.Record, error) {
	if f.load != nil {
		return f.load(f)
	}
	return f.Memory.Load(ctx)
}

func (f *flawed) Commit(ctx context.Context, writes ...adminapi.Write) ([]adminapi.Record, error) {
	if f.commit != nil {
		return f.commit(f, writes)
	}
	w := writes[0]
	switch {
	case len(writes) > 1:
	case w.Delete && f.delete != nil:
		return []adminapi.Record{{Key: w.Key}}, f.delete(f, w.Key, w.Prev)
	case !w.Delete && f.save != nil:
		r, err := f.save(f, w.Key, w.Value, w.Prev)
		return []adminapi.Record{r}, err
	}
	return f.Memory.Commit(ctx, writes...)
}

func (f *flawed) saveIn(key string, value []byte, prev int64) (adminapi.Record, error) {
	records, err := f.Memory.Commit(context.Background(), adminapi.Write{Key: key, Value: value, Prev: prev})
	if err != nil {
		return adminapi.Record{}, err
	}
	return records[0], nil
}

func (f *flawed) deleteIn(key string, prev int64) error {
	_, err := f.Memory.Commit(context.Background(), adminapi.Write{Key: key, Prev: prev, Delete: true})
	return err
}

// oneByOne commits each write by itself.
func oneByOne(f *flawed, writes []adminapi.Write) (records []adminapi.Record, err error) {
	for _, w := range writes {
		r, err := f.Memory.Commit(context.Background(), w)
		if err != nil {
			return nil, err
		}
		records = append(records, r...)
	}
	return records, nil
}

// Each promise must be able to be broken.
func TestFlawsAreFound(t *testing.T) {
	found := map[string]bool{}
	for _, test := range []struct {
		name string
		f    flaw
		want string // a promise that it breaks
	}{
		{"is not empty", flaw{load: func(f *flawed) ([]adminapi.Record, error) {
			return []adminapi.Record{{Key: "/init"}}, nil
		}}, "empty"},
		{"cannot load", flaw{load: func(f *flawed) ([]adminapi.Record, error) { return nil, errors.New("no") }}, "empty"},
		{"returns no key", flaw{save: func(f *flawed, key string, value []byte, prev int64) (adminapi.Record, error) {
			r, err := f.saveIn(key, value, prev)
			r.Key = ""
			return r, err
		}}, "save"},
		{"creates anew", flaw{save: func(f *flawed, key string, value []byte, prev int64) (adminapi.Record, error) {
			r, err := f.saveIn(key, value, prev)
			r.Created = r.Modified
			return r, err
		}}, "replace"},
		{"does not write what is there", flaw{save: func(f *flawed, key string, value []byte, prev int64) (adminapi.Record, error) {
			records, _ := f.Memory.Load(context.Background())
			for _, r := range records {
				if r.Key == key && bytes.Equal(r.Value, value) && prev == r.Modified {
					return r, nil
				}
			}
			return f.saveIn(key, value, prev)
		}}, "replace"},
		{"does not compare", flaw{save: func(f *flawed, key string, value []byte, prev int64) (adminapi.Record, error) {
			return f.saveIn(key, value, adminapi.AnyRevision)
		}}, "conflict"},
		{"takes an absent key for any revision", flaw{save: func(f *flawed, key string, value []byte, prev int64) (adminapi.Record, error) {
			if r, err := f.saveIn(key, value, 0); err == nil {
				return r, nil
			}
			return f.saveIn(key, value, prev)
		}}, "again"},
		{"has an error of its own for conflicts", flaw{save: func(f *flawed, key string, value []byte, prev int64) (adminapi.Record, error) {
			r, err := f.saveIn(key, value, prev)
			if err != nil {
				err = errors.New("conflict")
			}
			return r, err
		}}, "conflict"},
		{"does not know AnyRevision", flaw{save: func(f *flawed, key string, value []byte, prev int64) (adminapi.Record, error) {
			if prev == adminapi.AnyRevision {
				prev = 0
			}
			return f.saveIn(key, value, prev)
		}}, "any revision"},
		{"counts for each key", flaw{save: func(f *flawed, key string, value []byte, prev int64) (adminapi.Record, error) {
			r, err := f.saveIn(key, value, adminapi.AnyRevision)
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.counts == nil {
				f.counts = map[string]int64{}
			}
			f.counts[key]++
			r.Modified = f.counts[key]
			return r, err
		}}, "one revision"},
		{"deletes what begins so", flaw{delete: func(f *flawed, key string, prev int64) error {
			records, _ := f.Memory.Load(context.Background())
			for _, r := range records {
				if strings.HasPrefix(r.Key, key) {
					_ = f.deleteIn(r.Key, adminapi.AnyRevision)
				}
			}
			return nil
		}}, "delete"},
		{"deletes without comparing", flaw{delete: func(f *flawed, key string, prev int64) error {
			return f.deleteIn(key, adminapi.AnyRevision)
		}}, "delete conflict"},
		{"misses what is not there", flaw{delete: func(f *flawed, key string, prev int64) error {
			records, _ := f.Memory.Load(context.Background())
			for _, r := range records {
				if r.Key == key {
					return f.deleteIn(key, prev)
				}
			}
			return errors.New("not found")
		}}, "delete any"},
		{"only marks as deleted", flaw{delete: func(f *flawed, key string, prev int64) error {
			_, err := f.saveIn(key, nil, prev)
			return err
		}}, "again"},
		{"ends at a NUL", flaw{save: func(f *flawed, key string, value []byte, prev int64) (adminapi.Record, error) {
			value, _, _ = bytes.Cut(value, []byte{0})
			return f.saveIn(key, value, prev)
		}}, "values"},
		{"does not care for case", flaw{save: func(f *flawed, key string, value []byte, prev int64) (adminapi.Record, error) {
			return f.saveIn(strings.ToLower(key), value, prev)
		}}, "keys"},
		{"returns its own records", flaw{load: func(f *flawed) ([]adminapi.Record, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.last == nil {
				f.last, _ = f.Memory.Load(context.Background())
			}
			return f.last, nil
		}}, "no sharing"},
		{"lets two win", flaw{save: func(f *flawed, key string, value []byte, prev int64) (adminapi.Record, error) {
			if r, err := f.saveIn(key, value, prev); err == nil {
				return r, nil
			}
			return f.saveIn(key, value, adminapi.AnyRevision)
		}}, "one wins"},
		{"loses a write", flaw{save: func(f *flawed, key string, value []byte, prev int64) (adminapi.Record, error) {
			if len(value) == 1 && value[0] == 19 {
				return adminapi.Record{Key: key, Value: value, Created: 1, Modified: 1 << 40}, nil
			}
			return f.saveIn(key, value, prev)
		}}, "many at once"},
		{"stores, and fails", flaw{save: func(f *flawed, key string, value []byte, prev int64) (adminapi.Record, error) {
			r, err := f.saveIn(key, value, prev)
			if key == "/routes/2" {
				return adminapi.Record{}, context.Canceled
			}
			return r, err
		}}, "error means nothing"},
		{"commits one after the other", flaw{commit: oneByOne}, "several"},
		{"stops in the middle", flaw{commit: oneByOne}, "all or nothing"},
		{"keeps everything for ever", flaw{commit: func(f *flawed, writes []adminapi.Write) ([]adminapi.Record, error) {
			for i := range writes {
				writes[i].Expires = time.Time{}
			}
			return f.Memory.Commit(context.Background(), writes...)
		}}, "expires"},
	} {
		broken := storagetest.Broken(t.Context(), func() adminapi.Storage {
			return &flawed{flaw: test.f}
		})
		require.Contains(t, broken, test.want, test.name)
		found[test.want] = true
	}
	for _, name := range storagetest.Broken(t.Context(), func() adminapi.Storage { return refusing{} }) {
		require.True(t, found[name], "%s: no flaw shows that this can be broken", name)
	}
}

// A refusing storage keeps no promise.
type refusing struct{}

var errRefused = errors.New("refused")

func (refusing) Load(context.Context) ([]adminapi.Record, error) { return nil, errRefused }
func (refusing) Commit(context.Context, ...adminapi.Write) ([]adminapi.Record, error) {
	return nil, errRefused
}
