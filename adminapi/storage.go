package adminapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/sallyport/sallyport/internal/secret"
)

// A Storage keeps the documents of a [Handler] by key: "/routes/1". Each stored
// value has the revision of the storage at which it was written, a number above 0
// that no other write has and that only ever grows. Its methods may be called by
// any number of goroutines. Package storagetest tests one.
//
// An error says that nothing was stored or deleted. It is answered to the client
// and logged, so it must not repeat a value, which may hold private keys. How
// long to try is the Storage's to decide: the context of a write that was begun
// does not end when the client goes away.
type Storage interface {
	// Load returns all records, in any order.
	Load(ctx context.Context) ([]Record, error)

	// Save stores a value if the revision of the key's record is still prev: 0 if
	// there is none, and [AnyRevision] if it does not matter. It returns the record
	// as stored, or [ErrConflict]. It keeps nothing of value itself.
	Save(ctx context.Context, key string, value []byte, prev int64) (Record, error)

	// Delete deletes a record if its revision is still prev, as for Save. Deleting
	// what is not there is not an error, but for a prev that it cannot have.
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

// Format implements [fmt.Formatter]: the value may hold private keys, and does not
// show.
func (r Record) Format(s fmt.State, _ rune) {
	_, _ = fmt.Fprintf(s, "{Key:%q Value:%s Created:%d Modified:%d}", r.Key, secret.Redacted, r.Created, r.Modified)
}

// LogValue implements [slog.LogValuer], as Format.
func (r Record) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(r)) }

// AnyRevision stands for whatever is stored, or is not.
const AnyRevision = -1

// ErrConflict says that a record has changed in the meantime.
var ErrConflict = errors.New("adminapi: value changed before overwritten")

// Memory is a [Storage] that is gone with the process. The zero Memory is empty.
type Memory struct {
	mu       sync.Mutex // guards what follows
	revision int64
	records  map[string]*Record // by pointer, so that %#v of a Memory shows no value
}

var _ Storage = (*Memory)(nil)

// String implements [fmt.Stringer], so that printing a Memory shows no value.
func (m *Memory) String() string { return "adminapi.Memory" }

// Load implements [Storage]. The records are sorted by key.
func (m *Memory) Load(context.Context) ([]Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	records := make([]Record, 0, len(m.records))
	for _, r := range m.records {
		records = append(records, *r)
	}
	slices.SortFunc(records, func(a, b Record) int { return strings.Compare(a.Key, b.Key) })
	return records, nil
}

// Save implements [Storage].
func (m *Memory) Save(_ context.Context, key string, value []byte, prev int64) (Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	created, changed := m.revisions(key)
	if prev != AnyRevision && prev != changed {
		return Record{}, ErrConflict
	}
	m.revision++
	r := &Record{Key: key, Value: slices.Clone(value), Created: created, Modified: m.revision}
	if r.Created == 0 {
		r.Created = m.revision
	}
	if m.records == nil {
		m.records = map[string]*Record{}
	}
	m.records[key] = r
	return *r, nil
}

// Delete implements [Storage].
func (m *Memory) Delete(_ context.Context, key string, prev int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, changed := m.revisions(key); prev != AnyRevision && prev != changed {
		return ErrConflict
	}
	m.revision++
	delete(m.records, key)
	return nil
}

// revisions returns those of a key's record, or zeros. mu is held.
func (m *Memory) revisions(key string) (created, changed int64) {
	if r := m.records[key]; r != nil {
		return r.Created, r.Modified
	}
	return 0, 0
}
