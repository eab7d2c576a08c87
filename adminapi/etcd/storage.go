package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sallyport/sallyport/adminapi"
)

// Options are for [New]. A nil *Options and a zero Options mean the same.
type Options struct {
	// Prefix is in front of every key. It must begin with a slash, and not end with one. If
	// empty, it is "/apisix".
	Prefix string

	// Timeout bounds a Commit, with all its attempts, and each request of a Load, which makes
	// one for every few hundred documents. Zero is five seconds.
	Timeout time.Duration

	// Heartbeat is how often, while etcd is watched, it is asked whether it is still there.
	// Zero is two seconds.
	Heartbeat time.Duration

	// MaxWrites is how many writes a Commit may have: etcd's --max-txn-ops. Zero is etcd's
	// default, 128. A change of more documents at once is refused.
	MaxWrites int
}

// A Storage is an [adminapi.SharedStorage] on etcd. It may be used by any number of goroutines.
type Storage struct {
	client *clientv3.Client
	o      Options

	mu     sync.Mutex // guards leases
	leases map[clientv3.LeaseID]time.Time
}

var _ adminapi.SharedStorage = (*Storage)(nil)

// New returns a Storage that uses a client. The client is yours to make, with certificates
// and a user if needed, and to close. New does not talk to etcd yet.
func New(client *clientv3.Client, o *Options) (*Storage, error) {
	s := &Storage{client: client, leases: map[clientv3.LeaseID]time.Time{}}
	if o != nil {
		s.o = *o
	}
	if s.o.Prefix == "" {
		s.o.Prefix = "/apisix"
	}
	if !strings.HasPrefix(s.o.Prefix, "/") || strings.HasSuffix(s.o.Prefix, "/") {
		return nil, fmt.Errorf("etcd: Options.Prefix: %q must begin with a slash, and not end with one", s.o.Prefix)
	}
	if s.o.Timeout <= 0 {
		s.o.Timeout = 5 * time.Second
	}
	if s.o.Heartbeat <= 0 {
		s.o.Heartbeat = 2 * time.Second
	}
	if s.o.MaxWrites <= 0 {
		s.o.MaxWrites = 128
	}
	return s, nil
}

// String implements [fmt.Stringer].
func (s *Storage) String() string { return "etcd.Storage " + s.o.Prefix }

// directories are what APISIX makes when it is installed.
var directories = []string{
	"routes", "upstreams", "services", "plugins", "consumers", "consumer_groups", "ssls", "global_rules", "protos",
	"stream_routes", "plugin_metadata", "plugin_configs", "secrets",
}

// placeholder is the value of a directory.
const placeholder = "init_dir"

// Init creates the placeholders that APISIX expects, "/apisix/routes/" and so on, if they
// do not exist. Gateways do not need them.
func (s *Storage) Init(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	for _, name := range directories {
		key := s.o.Prefix + "/" + name + "/"
		_, err := s.client.Txn(ctx).
			If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
			Then(clientv3.OpPut(key, placeholder)).Commit()
		if err != nil {
			return fmt.Errorf("etcd: %w", err)
		}
	}
	return nil
}

// Load implements [adminapi.Storage]. It ignores the placeholders.
func (s *Storage) Load(ctx context.Context) ([]adminapi.Record, error) {
	records, _, err := s.load(ctx)
	if err != nil {
		return nil, err
	}
	for i := range records {
		if lease := clientv3.LeaseID(records[i].lease); lease != 0 {
			if records[i].Expires, err = s.expires(ctx, lease); err != nil {
				return nil, err
			}
		}
	}
	out := make([]adminapi.Record, len(records))
	for i, r := range records {
		out[i] = r.Record
	}
	return out, nil
}

// A leased record is one with its lease, or 0.
type leased struct {
	adminapi.Record
	lease int64
}

// pageSize is how many keys are asked for at once: a document may have a megabyte.
const pageSize = 500

// load returns everything as it is at one revision.
func (s *Storage) load(ctx context.Context) (records []leased, revision int64, err error) {
	first, end := s.o.Prefix+"/", clientv3.GetPrefixRangeEnd(s.o.Prefix+"/")
	for {
		page, cancel := context.WithTimeout(ctx, s.o.Timeout)
		res, err := s.client.Get(page, first, clientv3.WithRange(end), clientv3.WithLimit(pageSize), clientv3.WithRev(revision))
		cancel()
		if errors.Is(err, rpctypes.ErrCompacted) {
			records, revision, first = nil, 0, s.o.Prefix+"/" // it took too long
			continue
		}
		if err != nil {
			return nil, 0, fmt.Errorf("etcd: %w", err)
		}
		if revision == 0 {
			revision = res.Header.Revision
		}
		for _, kv := range res.Kvs {
			if r, ok := s.record(kv); ok {
				records = append(records, leased{r, kv.Lease})
			}
		}
		if !res.More {
			return records, revision, nil
		}
		first = string(res.Kvs[len(res.Kvs)-1].Key) + "\x00"
	}
}

// record returns what a pair holds, if it is more than a placeholder.
func (s *Storage) record(kv *mvccpb.KeyValue) (r adminapi.Record, ok bool) {
	r = adminapi.Record{
		Key: strings.TrimPrefix(string(kv.Key), s.o.Prefix), Value: kv.Value,
		Created: kv.CreateRevision, Modified: kv.ModRevision,
	}
	if kv.Lease != 0 {
		s.mu.Lock()
		r.Expires = s.leases[clientv3.LeaseID(kv.Lease)]
		s.mu.Unlock()
	}
	return r, !strings.HasSuffix(r.Key, "/")
}

// expires returns when a lease ends.
func (s *Storage) expires(ctx context.Context, lease clientv3.LeaseID) (time.Time, error) {
	s.mu.Lock()
	at, ok := s.leases[lease]
	s.mu.Unlock()
	if ok {
		return at, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	res, err := s.client.TimeToLive(ctx, lease)
	if err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return time.Time{}, fmt.Errorf("etcd: %w", err)
	}
	at = time.Now()
	if err == nil {
		at = at.Add(time.Duration(max(res.TTL, 0)) * time.Second)
	}
	return at, nil
}

// Commit implements [adminapi.Storage] as one transaction of etcd.
func (s *Storage) Commit(ctx context.Context, writes ...adminapi.Write) ([]adminapi.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(writes) > s.o.MaxWrites {
		return nil, fmt.Errorf("etcd: %d documents change, and a transaction has room for %d: start etcd with a higher --max-txn-ops, and set Options.MaxWrites to it", len(writes), s.o.MaxWrites)
	}
	for _, w := range writes {
		if !strings.HasPrefix(w.Key, "/") || strings.HasSuffix(w.Key, "/") {
			return nil, fmt.Errorf("etcd: key %q: must begin with a slash, and not end with one", w.Key)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	leases, err := s.grant(ctx, writes)
	if err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	return s.transact(ctx, writes, leases)
}

// grant makes a lease for each time at which writes expire, by the number of the write.
func (s *Storage) grant(ctx context.Context, writes []adminapi.Write) (map[int]clientv3.LeaseID, error) {
	byTime := map[time.Time]clientv3.LeaseID{}
	leases := map[int]clientv3.LeaseID{}
	for i, w := range writes {
		if w.Delete || w.Expires.IsZero() {
			continue
		}
		lease, ok := byTime[w.Expires]
		if !ok {
			res, err := s.client.Grant(ctx, max(1, int64(math.Ceil(time.Until(w.Expires).Seconds()))))
			if err != nil {
				s.revoke(leases)
				return nil, err
			}
			lease = res.ID
			byTime[w.Expires] = lease
			s.remember(lease, w.Expires)
		}
		leases[i] = lease
	}
	return leases, nil
}

// remember notes when a lease ends, and forgets those that have ended.
func (s *Storage) remember(lease clientv3.LeaseID, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for old, end := range s.leases {
		if time.Since(end) > time.Minute {
			delete(s.leases, old)
		}
	}
	s.leases[lease] = at
}

// revoke ends leases that are not used. Where it fails, they end by themselves.
func (s *Storage) revoke(leases map[int]clientv3.LeaseID) {
	if len(leases) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, lease := range leases {
		_, _ = s.client.Revoke(ctx, lease)
	}
}

// transact makes writes, or none. It tries again where it is not known whether they were
// made: they are if the storage has them now. The leases of writes that were not made end.
func (s *Storage) transact(ctx context.Context, writes []adminapi.Write, leases map[int]clientv3.LeaseID) (_ []adminapi.Record, err error) {
	var conditions []clientv3.Cmp
	var puts, gets []clientv3.Op
	for i, w := range writes {
		key := s.o.Prefix + w.Key
		if w.Prev != adminapi.AnyRevision {
			conditions = append(conditions, clientv3.Compare(clientv3.ModRevision(key), "=", w.Prev))
		}
		if w.Delete {
			puts = append(puts, clientv3.OpDelete(key))
		} else {
			puts = append(puts, clientv3.OpPut(key, string(w.Value), clientv3.WithPrevKV(), clientv3.WithLease(leases[i])))
		}
		gets = append(gets, clientv3.OpGet(key))
	}
	var unknown error
	defer func() {
		// What may have been stored would be gone with its lease, and what it has
		// replaced with it.
		if err != nil && unknown == nil {
			s.revoke(leases)
		}
	}()
	for try := 0; ; try++ {
		// A part of the time for each: an answer that does not come may be asked for elsewhere.
		one, cancel := context.WithTimeout(ctx, s.o.Timeout/4)
		res, err := s.client.Txn(one).If(conditions...).Then(puts...).Else(gets...).Commit()
		cancel()
		switch {
		case err == nil && res.Succeeded:
			return s.written(writes, res), nil
		case err == nil && unknown != nil:
			if records := s.found(writes, res); records != nil {
				return records, nil
			}
			return nil, adminapi.ErrConflict
		case err == nil:
			return nil, adminapi.ErrConflict
		case !ambiguous(err):
			return nil, fmt.Errorf("etcd: %w", err)
		}
		unknown = err
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("etcd: it is not known whether it was stored: %w", unknown)
		case <-time.After(min(50*time.Millisecond<<try, s.o.Timeout/10)):
		}
	}
}

// written returns the records of a transaction that was made.
func (s *Storage) written(writes []adminapi.Write, res *clientv3.TxnResponse) []adminapi.Record {
	out := make([]adminapi.Record, len(writes))
	for i, w := range writes {
		out[i] = adminapi.Record{Key: w.Key, Modified: res.Header.Revision}
		if w.Delete {
			continue
		}
		out[i].Value, out[i].Created, out[i].Expires = bytes.Clone(w.Value), res.Header.Revision, w.Expires
		if prev := res.Responses[i].GetResponsePut().GetPrevKv(); prev != nil {
			out[i].Created = prev.CreateRevision
		}
	}
	return out
}

// found returns the records of a transaction that an earlier try has made, or nil if none
// has: it made all at one revision, and nobody has changed them since.
func (s *Storage) found(writes []adminapi.Write, res *clientv3.TxnResponse) []adminapi.Record {
	out := make([]adminapi.Record, len(writes))
	var revision int64
	for i, w := range writes {
		kv := first(res.Responses[i])
		switch {
		case w.Delete && kv != nil, !w.Delete && (kv == nil || !bytes.Equal(kv.Value, w.Value)):
			return nil
		case w.Delete:
			out[i] = adminapi.Record{Key: w.Key, Modified: res.Header.Revision}
			continue
		case revision != 0 && kv.ModRevision != revision, kv.ModRevision <= w.Prev:
			return nil
		}
		revision = kv.ModRevision
		out[i] = adminapi.Record{Key: w.Key, Value: bytes.Clone(w.Value), Created: kv.CreateRevision, Modified: revision, Expires: w.Expires}
	}
	return out
}

func first(res *etcdserverpb.ResponseOp) *mvccpb.KeyValue {
	if kvs := res.GetResponseRange().GetKvs(); len(kvs) > 0 {
		return kvs[0]
	}
	return nil
}

// ambiguous reports whether a transaction may have been made although an error came.
func ambiguous(err error) bool {
	code := status.Code(err)
	var known rpctypes.EtcdError
	if errors.As(err, &known) {
		code = known.Code()
	}
	switch code {
	case codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated, codes.ResourceExhausted,
		codes.FailedPrecondition, codes.OutOfRange, codes.NotFound, codes.Unimplemented:
		return false
	}
	return true
}
