package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/adminapi"
)

// RunShared tests a storage that reports its changes: everything that Run tests, and the
// reporting. open is as for [Run].
func RunShared(t *testing.T, open func(t *testing.T) adminapi.SharedStorage) {
	Run(t, func(t *testing.T) adminapi.Storage { return open(t) })
	for _, p := range tellings {
		t.Run(p.name, func(t *testing.T) {
			if err := p.check(t.Context(), open(t)); err != nil {
				t.Errorf("%s: %v", p.explanation, err)
			}
		})
	}
}

// patience is how long a SharedStorage may take to tell a change.
const patience = 10 * time.Second

// A mirror is what one has who goes by what a SharedStorage tells.
type mirror struct {
	end  context.CancelFunc
	done chan struct{} // closed when Watch has returned

	mu       sync.Mutex // guards what follows
	records  map[string]adminapi.Record
	revision int64
	updates  int
	wrong    error
	changed  chan struct{} // closed and replaced with each update
}

func watch(ctx context.Context, w adminapi.SharedStorage) *mirror {
	ctx, end := context.WithCancel(ctx)
	m := &mirror{end: end, done: make(chan struct{}), records: map[string]adminapi.Record{}, changed: make(chan struct{})}
	go func() {
		defer close(m.done)
		w.Watch(ctx, m.update)
	}()
	return m
}

func (m *mirror) update(u adminapi.Update) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.updates++
	switch {
	case u.Err != nil:
		m.fail(fmt.Errorf("it tells an error: %w", u.Err))
	case m.updates == 1 && !u.Whole:
		m.fail(errors.New("the first update is not whole"))
	case u.Revision < m.revision:
		m.fail(fmt.Errorf("revision %d is told after %d", u.Revision, m.revision))
	}
	if u.Whole {
		clear(m.records)
	}
	seen := map[string]bool{}
	for i, r := range slices.Concat(u.Records, u.Deleted) {
		if seen[r.Key] {
			m.fail(fmt.Errorf("one update has %s twice", r.Key))
		}
		seen[r.Key] = true
		if r.Modified <= 0 || r.Modified > u.Revision {
			m.fail(fmt.Errorf("%s is of revision %d in an update of %d", r.Key, r.Modified, u.Revision))
		}
		if m.records[r.Key] = r; i >= len(u.Records) {
			delete(m.records, r.Key)
		}
	}
	m.revision = u.Revision
	close(m.changed)
	m.changed = make(chan struct{})
}

// fail notes what is wrong first. mu is held.
func (m *mirror) fail(err error) {
	if m.wrong == nil {
		m.wrong = err
	}
}

// reaches waits until a revision has been told, and compares what is there then.
func (m *mirror) reaches(revision int64, want ...adminapi.Record) error {
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		m.mu.Lock()
		changed, reached := m.changed, m.updates > 0 && m.revision >= revision || m.wrong != nil
		m.mu.Unlock()
		if reached {
			break
		}
		select {
		case <-changed:
		case <-late.C:
			return fmt.Errorf("revision %d is not told", revision)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.wrong != nil {
		return m.wrong
	}
	var got []adminapi.Record
	for _, r := range m.records {
		got = append(got, r)
	}
	return same(got, want)
}

// close ends the watching, which must end by itself then.
func (m *mirror) close() error {
	m.end()
	select {
	case <-m.done:
	case <-time.After(patience):
		return errors.New("the Watch does not return when its context has ended")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wrong
}

// A telling is a rule that every SharedStorage keeps.
type telling struct {
	name        string
	explanation string
	check       func(ctx context.Context, w adminapi.SharedStorage) error
}

var tellings = []telling{{
	name:        "watch empty",
	explanation: "Watch tells soon that there is nothing",
	check: func(ctx context.Context, w adminapi.SharedStorage) error {
		m := watch(ctx, w)
		return errors.Join(m.reaches(0), m.close())
	},
}, {
	name:        "watch",
	explanation: "Watch tells what there is, and then each change, with its revision",
	check: func(ctx context.Context, w adminapi.SharedStorage) error {
		before, err := w.Commit(ctx, adminapi.Write{Key: "/routes/1", Value: []byte("a")}, adminapi.Write{Key: "/routes/2", Value: []byte("b")})
		if err != nil {
			return err
		}
		m := watch(ctx, w)
		if err := m.reaches(before[0].Modified, before...); err != nil {
			return errors.Join(err, m.close())
		}
		after, err := w.Commit(ctx,
			adminapi.Write{Key: "/routes/1", Value: []byte("c"), Prev: before[0].Modified},
			adminapi.Write{Key: "/routes/2", Delete: true, Prev: before[1].Modified},
			adminapi.Write{Key: "/ssls/1", Value: []byte("d")})
		if err != nil {
			return errors.Join(err, m.close())
		}
		if after[1].Modified != after[0].Modified {
			return errors.Join(fmt.Errorf("a deletion is of revision %d beside %d", after[1].Modified, after[0].Modified), m.close())
		}
		if err := m.reaches(after[0].Modified, after[0], after[2]); err != nil {
			return errors.Join(err, m.close())
		}
		gone, err := w.Commit(ctx, adminapi.Write{Key: "/ssls/1", Delete: true, Prev: after[2].Modified})
		if err != nil {
			return errors.Join(err, m.close())
		}
		if gone[0].Modified <= after[0].Modified {
			return errors.Join(fmt.Errorf("a deletion is of revision %d after %d", gone[0].Modified, after[0].Modified), m.close())
		}
		return errors.Join(m.reaches(gone[0].Modified, after[0]), m.close())
	},
}, {
	name:        "watch at once",
	explanation: "of many writes at once all are told, to everybody who watches",
	check: func(ctx context.Context, w adminapi.SharedStorage) error {
		mirrors := []*mirror{watch(ctx, w), watch(ctx, w)}
		var (
			wg     sync.WaitGroup
			mu     sync.Mutex
			last   = map[string]adminapi.Record{}
			newest int64
			failed error
		)
		for i := range 8 {
			wg.Go(func() {
				for range 10 {
					r, err := save(ctx, w, fmt.Sprintf("/routes/%d", i), []byte("x"), adminapi.AnyRevision)
					mu.Lock()
					failed = errors.Join(failed, err)
					last[r.Key], newest = r, max(newest, r.Modified)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		var want []adminapi.Record
		for _, r := range last {
			want = append(want, r)
		}
		for _, m := range append(mirrors, watch(ctx, w)) {
			failed = errors.Join(failed, m.reaches(newest, want...), m.close())
		}
		return failed
	},
}}
