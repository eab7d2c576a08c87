package ssl

import (
	"errors"
	"sync"
	"sync/atomic"
)

// A Store is a [Terminator] with a table of its own. It is for a server that needs
// certificates and client policies by name, and nothing else. It may be used by any number
// of goroutines. Use [NewStore]: a zero Store accepts no change.
type Store struct {
	*Terminator

	// table is replaced, never changed.
	table atomic.Pointer[Table]

	// applyMu serialises writers. No handshake and no request takes it.
	applyMu sync.Mutex
}

// NewStore returns a Store without profiles: it refuses every handshake. The error is that
// of [NewTerminator].
func NewStore(o *Options) (*Store, error) {
	s := &Store{}
	var err error
	if s.Terminator, err = NewTerminator(s.table.Load, o); err != nil {
		return nil, err
	}
	return s, nil
}

// A Change is what [*Store.Apply] does in one step: it deletes, then puts. A put replaces
// the profile with the same ID, in its place; deleting what does not exist is not an error.
type Change struct {
	Put    []Config
	Delete []string // IDs
}

// Apply makes a change, all of it or nothing. When it returns, the next handshake and the
// next request see it, even on connections that are already open. If a Config is invalid,
// the error joins a [*ConfigError] for each fault, and everything stays as it was.
func (s *Store) Apply(c Change) (Report, error) {
	if s.Terminator == nil {
		return Report{}, errors.New("ssl: a zero Store takes no change: make it with NewStore")
	}
	profiles, err := Compile(c.Put)
	if err != nil {
		return Report{}, err
	}
	s.applyMu.Lock()
	defer s.applyMu.Unlock()
	before := s.table.Load()
	after := before.Without(c.Delete...).With(profiles...)
	s.table.Store(after)
	ids := make([]string, 0, len(profiles)+len(c.Delete))
	for _, p := range profiles {
		ids = append(ids, p.id)
	}
	return s.Report(before, after, append(ids, c.Delete...)...), nil
}

// Put applies a change that only puts.
func (s *Store) Put(configs ...Config) (Report, error) { return s.Apply(Change{Put: configs}) }

// Delete applies a change that only deletes.
func (s *Store) Delete(ids ...string) Report {
	report, _ := s.Apply(Change{Delete: ids}) // it fails for what is put alone, but in a zero Store, which is empty
	return report
}

// Table returns the current table.
func (s *Store) Table() *Table { return s.table.Load() }
