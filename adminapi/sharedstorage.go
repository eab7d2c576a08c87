package adminapi

import (
	"context"
	"time"
)

// A SharedStorage is a [Storage] that others write to as well, such as the gateways of a fleet. A
// [Handler] that has one applies what the storage reports, and nothing else: even its own
// writes take effect, and are answered, only when they come back. It deletes what
// expires by itself. Package storagetest tests implementations.
type SharedStorage interface {
	// In a record that Commit returns for a deletion, Modified is its revision.
	Storage

	// Watch reports what the storage holds, and then each change, until the context ends.
	// It calls update again and again, never twice at a time, and for the first time soon:
	// with what there is, or with the error.
	Watch(ctx context.Context, update func(Update))
}

// An Update is a change of a storage.
type Update struct {
	// Revision is the storage's: all that was written up to it has been told.
	Revision int64

	// Records are what was written, and Deleted the keys that are gone, with the revision of
	// that in Modified. A key is among them once.
	Records []Record
	Deleted []Record

	// Whole says that Records are all that there is. So it is at first, and where not each
	// change can be told any more.
	Whole bool

	// Err, if not nil, says why the storage cannot be followed for now; everything else is
	// zero then. The next Update without it says that it can again.
	Err error
}

// A Status says how a [Handler] stands with a [SharedStorage].
type Status struct {
	// Revision is the storage's up to which everything is in force.
	Revision int64

	// Err, if not nil, is why the storage cannot be followed, since the time in Since. The
	// last good configuration goes on, and nothing can be changed.
	Err   error
	Since time.Time

	// Rejected are the stored documents that are not in force, sorted by key.
	Rejected []Rejected
}

// A Rejected is a stored document that cannot be used.
type Rejected struct {
	Key      string
	Revision int64 // at which it was written
	Err      error

	// LastGood says that the version before it is in force. Without one, an ssl object
	// refuses every handshake for its names and a route answers 503, as far as it is
	// known for what; anything else is as if it did not exist. Where the program has
	// configured an object with the same id itself, that goes on: see [New].
	LastGood bool
}
