package adminapi

import (
	"context"
	"time"
)

// A SharedStorage is a [Storage] that others write to as well, such as the gateways of a
// fleet. A [Handler] that has one applies what the storage reports, and nothing else: even
// its own writes take effect, and are answered, only when they come back. The storage
// itself deletes what has expired. Package storagetest tests implementations.
type SharedStorage interface {
	// For a deletion, the record that Commit returns has the revision of the deletion in
	// Modified.
	Storage

	// Watch reports what the storage holds, and then each change, until the context ends.
	// It calls update again and again, never twice at a time, and for the first time soon:
	// with what there is, or with the error. If it returns before the context ends, or panics,
	// the storage is not followed any more ([Status.Err]).
	Watch(ctx context.Context, update func(Update))
}

// An Update is a change of a storage.
type Update struct {
	// Revision is the storage's: everything written up to it has been reported. A Handler takes
	// no Update with a lower one than it has in force, as after a restore from a copy, and from
	// then on only one that is Whole.
	Revision int64

	// Records are what was written. Deleted are the keys that are gone, with the revision of
	// the deletion in Modified. No key occurs twice in the two together.
	Records []Record
	Deleted []Record

	// Whole says that Records are everything there is. That is so at first, and whenever
	// changes can no longer be reported one by one.
	Whole bool

	// Err, if not nil, says why the storage cannot be followed for now; everything else is then
	// zero. The next Update without it says that it can be followed again.
	Err error
}

// A Status says how a [Handler] stands with a [SharedStorage].
type Status struct {
	// Revision is the storage's revision up to which everything is in force.
	Revision int64

	// Err, if not nil, says why the storage is not followed, and Since says since when. The
	// last good configuration stays in force, and nothing can be changed.
	Err   error
	Since time.Time

	// Rejected are the stored documents that are not in force, sorted by key.
	Rejected []Rejected
}

// A Rejected is a stored document that cannot be used. It is tried again whenever a document
// changes that it names, or that names it: a route with too many hosts of its service is in
// force once the service has fewer. See also [*Handler.Refresh].
type Rejected struct {
	Key      string
	Revision int64 // at which the document was written
	Err      error

	// LastGood says that the previous version is in force. Otherwise, an ssl object refuses
	// every handshake for its names, and a route answers 503, as do the routes of a service, as
	// far as it is known what they are for; any other object, such as one of APISIX's global
	// rules, is treated as if it did not exist. If the program itself has configured an object
	// with the same id, that one stays: see [New].
	LastGood bool
}
