package etcd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/sallyport/sallyport/adminapi"
)

// Watch implements [adminapi.SharedStorage].
func (s *Storage) Watch(ctx context.Context, update func(adminapi.Update)) {
	for wait := time.Duration(0); ctx.Err() == nil; {
		records, revision, err := s.load(ctx)
		if err != nil {
			wait = s.pause(ctx, wait, err, update)
			continue
		}
		wait = 0
		whole := adminapi.Update{Revision: revision, Whole: true}
		for _, r := range records {
			whole.Records = append(whole.Records, r.Record)
		}
		records = nil // or else they were kept for as long as it is watched
		update(whole)
		whole = adminapi.Update{}
		s.follow(ctx, revision, update)
	}
}

// follow tells what comes after a revision, until it cannot be told change by change.
func (s *Storage) follow(ctx context.Context, revision int64, update func(adminapi.Update)) {
	for wait := time.Duration(0); ctx.Err() == nil; {
		v := &view{s: s, update: update}
		v.told.Store(revision)
		err := v.watch(ctx)
		revision = v.revision()
		if errors.Is(err, errMissed) {
			return
		}
		if v.heard {
			wait = 0
		}
		wait = s.pause(ctx, wait, err, update)
	}
}

// pause tells an error, and waits, each time longer.
func (s *Storage) pause(ctx context.Context, wait time.Duration, err error, update func(adminapi.Update)) time.Duration {
	if ctx.Err() != nil {
		return wait
	}
	update(adminapi.Update{Err: err})
	s.hurry()
	const least, most = 100 * time.Millisecond, 5 * time.Second
	wait = min(max(2*wait, least), most)
	select {
	case <-ctx.Done():
	// Not all gateways of a fleet at once.
	case <-time.After(wait/2 + rand.N(wait/2)):
	}
	return wait
}

// hurry makes the client try to connect again now: in a long partition gRPC comes to wait
// two minutes between its tries, and a fleet would be late by as much.
func (s *Storage) hurry() { s.client.ActiveConnection().ResetConnectBackoff() }

var (
	// errMissed says that there were changes of which etcd does not know any more.
	errMissed = errors.New("etcd: changes are not known any more")
	errSilent = errors.New("etcd: the watch is silent, and etcd is there")
	errEnded  = errors.New("etcd: the watch has ended")
)

// A view is one watch.
type view struct {
	s       *Storage
	told    atomic.Int64 // the revision up to which everything was told
	update  func(adminapi.Update)
	heard   bool // it has told anything
	lost    bool // an error was told last
	missing int  // heartbeats since anything was heard
}

func (v *view) revision() int64 { return v.told.Load() }

// watch follows the changes, until it ends with an error.
func (v *view) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	var beating sync.WaitGroup
	defer beating.Wait()
	defer cancel()
	v.lost = true // until something is heard
	changes := v.s.client.Watch(ctx, v.s.o.Prefix+"/", clientv3.WithPrefix(), clientv3.WithRev(v.revision()+1), clientv3.WithCreatedNotify())
	beats := make(chan beat)
	beating.Go(func() { v.beat(ctx, beats) })
	for {
		select {
		case res, ok := <-changes:
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case !ok:
				return errEnded
			case res.CompactRevision != 0:
				return errMissed
			case res.Err() != nil:
				return fmt.Errorf("etcd: %w", res.Err())
			}
			v.take(res)
		case b := <-beats:
			if err := v.takeBeat(b); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take tells what has come.
func (v *view) take(res clientv3.WatchResponse) {
	v.heard, v.missing = true, 0
	if len(res.Events) == 0 {
		// That it is there. Up to which revision it says everything was told is not to be
		// relied on: before 3.4.25 and 3.5.8, etcd could say so too soon.
		if v.lost {
			v.update(adminapi.Update{Revision: v.revision()})
		}
		v.lost = false
		return
	}
	last := map[string]int{}
	for i, event := range res.Events {
		last[string(event.Kv.Key)] = i
		v.told.Store(max(v.revision(), event.Kv.ModRevision))
	}
	u := adminapi.Update{Revision: v.revision()}
	for i, event := range res.Events {
		r, ok := v.s.record(event.Kv)
		switch {
		case !ok || last[string(event.Kv.Key)] != i:
		case event.Type == clientv3.EventTypeDelete:
			u.Deleted = append(u.Deleted, adminapi.Record{Key: r.Key, Modified: event.Kv.ModRevision})
		default:
			u.Records = append(u.Records, r)
		}
	}
	v.lost = false
	v.update(u)
}

// maxSilence is how many heartbeats a watch may be silent that each has asked to say
// something.
const maxSilence = 3

// takeBeat looks at a heartbeat.
func (v *view) takeBeat(b beat) error {
	if b.err != nil {
		v.missing = 0
		v.lost = true
		v.update(adminapi.Update{Err: fmt.Errorf("etcd: %w", b.err)})
		return nil
	}
	if b.revision < b.told {
		return errMissed // etcd was restored from a copy
	}
	if v.missing++; v.missing > maxSilence {
		return errSilent
	}
	return nil
}

// A beat is one answer of etcd.
type beat struct {
	revision int64 // of etcd
	told     int64 // up to which everything was told when it was asked
	err      error
}

// beat asks etcd again and again whether it is there, and the watch to say something. A
// watch alone is silent both when nothing changes and when nobody is there.
func (v *view) beat(ctx context.Context, beats chan<- beat) {
	ticker := time.NewTicker(v.s.o.Heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		b := beat{told: v.revision()}
		one, cancel := context.WithTimeout(ctx, v.s.o.Heartbeat)
		// Not a serializable read: a member that is cut off from the others would answer.
		res, err := v.s.client.Get(one, v.s.o.Prefix+"/gen_id", clientv3.WithCountOnly())
		if b.err = err; err != nil {
			v.s.hurry()
		} else {
			b.revision = res.Header.Revision
			_ = v.s.client.RequestProgress(ctx)
		}
		cancel()
		select {
		case beats <- b:
		case <-ctx.Done():
			return
		}
	}
}
