package adminapi

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
)

// A Storage keeps the documents of a [Handler] by key: "/routes/1". Each stored
// value has the revision of the storage at which it was written, which only ever
// grows. Its methods may be called by any number of goroutines.
type Storage interface {
	// Load returns all records, in any order.
	Load(ctx context.Context) ([]Record, error)

	// Save stores a value if the revision of the key's record is still prev: 0 if
	// there is none, and [AnyRevision] if it does not matter. It returns the record
	// as stored, or [ErrConflict].
	Save(ctx context.Context, key string, value []byte, prev int64) (Record, error)

	// Delete deletes a record if its revision is still prev, as for Save.
	Delete(ctx context.Context, key string, prev int64) error
}

// A Record is a stored value.
type Record struct {
	Key   string
	Value []byte // must not be changed

	// Created is the revision at which the key was first written since it last
	// did not exist, Modified the one at which the value was.
	Created, Modified int64
}

// AnyRevision stands for whatever is stored, or is not.
const AnyRevision = -1

// ErrConflict says that a record has changed in the meantime.
var ErrConflict = errors.New("adminapi: value changed before overwritten")

// Memory is a [Storage] that is gone with the process. The zero Memory is empty.
type Memory struct {
	mu       sync.Mutex // guards what follows
	revision int64
	records  map[string]Record
}

var _ Storage = (*Memory)(nil)

// Load implements [Storage]. The records are sorted by key.
func (m *Memory) Load(context.Context) ([]Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	records := make([]Record, 0, len(m.records))
	for _, r := range m.records {
		records = append(records, r)
	}
	slices.SortFunc(records, func(a, b Record) int { return strings.Compare(a.Key, b.Key) })
	return records, nil
}

// Save implements [Storage].
func (m *Memory) Save(_ context.Context, key string, value []byte, prev int64) (Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.records[key] // its zero Modified stands for none
	if prev != AnyRevision && prev != old.Modified {
		return Record{}, ErrConflict
	}
	m.revision++
	r := Record{Key: key, Value: slices.Clone(value), Created: old.Created, Modified: m.revision}
	if r.Created == 0 {
		r.Created = m.revision
	}
	if m.records == nil {
		m.records = map[string]Record{}
	}
	m.records[key] = r
	return r, nil
}

// Delete implements [Storage].
func (m *Memory) Delete(_ context.Context, key string, prev int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if prev != AnyRevision && prev != m.records[key].Modified {
		return ErrConflict
	}
	m.revision++
	delete(m.records, key)
	return nil
}
