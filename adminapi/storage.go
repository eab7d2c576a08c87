package adminapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sallyport/sallyport/internal/secret"
)

// A Storage keeps the documents of a [Handler] by key: "/routes/1". Each stored value has
// the revision of the storage at which it was written, a number above 0 that no other
// Commit has and that only ever grows. Its methods may be called by any number of
// goroutines. Package storagetest tests implementations.
//
// An error means that nothing was stored or deleted, unless it says otherwise: a storage on
// the network may not know. The error is logged and sent to the client, so it must not
// repeat a value, which may hold private keys. How long to try is for the Storage to
// decide: the context of a write that has begun does not end when the client goes away. A
// panic counts as an error.
type Storage interface {
	// Load returns all records, in any order.
	Load(ctx context.Context) ([]Record, error)

	// Commit makes all of the writes, or none. If the revision of any record is not the
	// Prev of its Write, none is made, and the error is [ErrConflict]. It returns a record
	// for each write, in their order: the record as stored, all with the same Modified, and
	// for a deletion one that has only its Key. No two writes have the same key. It does
	// not keep the values it was given.
	Commit(ctx context.Context, writes ...Write) ([]Record, error)
}

// A Write stores or deletes a record.
type Write struct {
	Key string

	// Prev is the revision that the key's record must have: 0 if there must be no record, and
	// [AnyRevision] if it does not matter.
	Prev int64

	// Delete deletes the record. It is not an error if there is none, unless Prev requires one.
	// Value and Expires are not used.
	Delete bool

	Value []byte

	// Expires, if not zero, is the time after which the record must no longer exist. The
	// Handler deletes it then; a storage that has leases may already have done so. All others
	// keep the time with the record.
	Expires time.Time
}

// A Record is a stored value.
type Record struct {
	Key   string
	Value []byte // must not be changed

	// Created is the revision at which the key was written for the first time since it last did
	// not exist; Modified is the revision at which this value was written.
	Created, Modified int64

	Expires time.Time // as in the [Write]
}

// Format implements [fmt.Formatter]. It does not print the value, which may hold private
// keys.
func (r Record) Format(s fmt.State, _ rune) {
	_, _ = fmt.Fprintf(s, "{Key:%q Value:%s Created:%d Modified:%d", r.Key, secret.Redacted, r.Created, r.Modified)
	if !r.Expires.IsZero() {
		_, _ = fmt.Fprintf(s, " Expires:%s", r.Expires.UTC().Format(time.RFC3339))
	}
	_, _ = io.WriteString(s, "}")
}

// Format implements [fmt.Formatter], like [Record.Format].
func (w Write) Format(s fmt.State, _ rune) {
	_, _ = fmt.Fprintf(s, "{Key:%q Value:%s Prev:%d Delete:%t}", w.Key, secret.Redacted, w.Prev, w.Delete)
}

// LogValue implements [slog.LogValuer]. It does not log the value.
func (w Write) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(w)) }

// LogValue implements [slog.LogValuer]. It does not log the value.
func (r Record) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(r)) }

// errWhole is why a record has no form in JSON: with its value, a log would have private
// keys, and without it, a storage would lose them.
var errWhole = errors.New("adminapi: a Record or a Write is not encoded whole: its Value may hold private keys; encode its fields")

// MarshalJSON returns an error: to store a record, encode its fields.
func (w Write) MarshalJSON() ([]byte, error) { return nil, errWhole }

// MarshalJSON returns an error, like [Write.MarshalJSON].
func (r Record) MarshalJSON() ([]byte, error) { return nil, errWhole }

// AnyRevision is the [Write.Prev] that accepts any stored record, or none.
const AnyRevision = -1

// ErrConflict says that a record has changed in the meantime.
var ErrConflict = errors.New("adminapi: value changed before overwritten")

// Memory is a [Storage] in memory, which ends with the process. The zero Memory is empty.
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

// Commit implements [Storage].
func (m *Memory) Commit(_ context.Context, writes ...Write) ([]Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range writes {
		if _, changed := m.revisions(w.Key); w.Prev != AnyRevision && w.Prev != changed {
			return nil, ErrConflict
		}
	}
	m.revision++
	if m.records == nil {
		m.records = map[string]*Record{}
	}
	out := make([]Record, len(writes))
	for i, w := range writes {
		out[i].Key = w.Key
		if w.Delete {
			delete(m.records, w.Key)
			continue
		}
		created, _ := m.revisions(w.Key)
		if created == 0 {
			created = m.revision
		}
		out[i] = Record{Key: w.Key, Value: slices.Clone(w.Value), Created: created, Modified: m.revision, Expires: w.Expires}
		stored := out[i]
		m.records[w.Key] = &stored
	}
	return out, nil
}

// revisions returns those of a key's record, or zeros. mu is held.
func (m *Memory) revisions(key string) (created, changed int64) {
	if r := m.records[key]; r != nil {
		return r.Created, r.Modified
	}
	return 0, 0
}
