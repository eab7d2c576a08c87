package adminapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/internal/apisix"
)

// This file follows a storage that others write to. What comes from there is trusted no
// more than a PUT is.

// A following is what a Handler knows of the storage that it follows.
type following struct {
	end    context.CancelFunc
	unbind func() bool   // ends that the context of New ends the watching; false if it has
	done   chan struct{} // closed when the watching has ended

	waiters []*waiter // guarded by changeMu
	begun   bool      // what was stored at the start is in force; guarded by changeMu

	// rules are the global rules of APISIX that are stored. Guarded by the Handler's mu, as
	// its rejected are.
	rules map[string]*rejection

	// older says that the storage was once behind what is in force, and so that there may
	// have been changes since which were not told: only an Update that is Whole has them.
	// Guarded by changeMu.
	older error

	mu    sync.Mutex // guards what follows
	state Status     // without Rejected
}

// A waiter is a write that has been stored and has not come back yet.
type waiter struct {
	revision int64
	keys     []string
	done     chan struct{} // closed when what follows is set
	report   gateway.Report
	err      error
}

// A rejection is a stored document that is not in force.
type rejection struct {
	record  Record // the document, or its deletion
	err     error
	refuses *apisix.Object // what the server has in its place, which refuses; or nil
	names   []string       // the keys of the documents that it names
}

// awaitTime is how long a write waits until it has come back.
const awaitTime = 10 * time.Second

// start follows a storage, and returns when what it holds is in force.
func (h *Handler) start(ctx context.Context, s SharedStorage) error {
	watching, end := context.WithCancel(context.Background())
	f := &following{end: end, unbind: context.AfterFunc(ctx, end), done: make(chan struct{})}
	h.following = f
	first := make(chan error, 1)
	go func() {
		defer close(f.done)
		err := watch(watching, s, func(u Update) {
			h.follow(watching, u)
			select {
			case first <- u.Err:
			default:
			}
		})
		if err != nil {
			h.loseTouch(err)
		} else {
			f.lost(errClosed, h.now())
		}
	}()
	var err error
	select {
	case err = <-first:
	case <-f.done:
		err = h.Status().Err
	}
	h.changeMu.Lock()
	begun := f.begun
	if !begun && !f.unbind() { // from here on, no update is taken
		err = ctx.Err()
	}
	h.changeMu.Unlock()
	if begun { // which nothing can undo
		return nil
	}
	f.close()
	return fmt.Errorf("adminapi: storage: %w", err)
}

// errStopped is why a storage cannot be followed that does not report any more.
var errStopped = errors.New("the watching has ended")

// errClosed is why a storage is not followed that nobody wants to be followed any more.
var errClosed = errors.New("the Handler is closed")

func (f *following) close() {
	f.end()
	<-f.done
}

// Status returns how the Handler stands with its storage. It is zero if that is not a
// [SharedStorage].
func (h *Handler) Status() Status {
	if h.following == nil {
		return Status{}
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	h.following.mu.Lock()
	defer h.following.mu.Unlock()
	s := h.following.state
	for key, r := range h.rejected {
		s.Rejected = append(s.Rejected, Rejected{Key: key, Revision: r.record.Modified, Err: r.err, LastGood: h.hasLastGood(key)})
	}
	for key, r := range h.following.rules {
		s.Rejected = append(s.Rejected, Rejected{Key: key, Revision: r.record.Modified, Err: r.err})
	}
	slices.SortFunc(s.Rejected, func(a, b Rejected) int { return strings.Compare(a.Key, b.Key) })
	return s
}

// follow takes one update.
func (h *Handler) follow(ctx context.Context, u Update) {
	h.changeMu.Lock()
	defer h.changeMu.Unlock()
	f := h.following
	if applied := f.revision(); u.Err == nil && u.Revision < applied && f.older == nil {
		// Nothing that is older overwrites what is in force.
		f.older = fmt.Errorf("the storage is at revision %d, and %d is in force: if it was restored from a copy, start again to take that", u.Revision, applied)
	}
	switch {
	case u.Err != nil:
		h.loseTouch(u.Err)
		return
	case f.older != nil && (!u.Whole || u.Revision < f.revision()):
		h.loseTouch(f.older)
		return
	}
	report, taken := h.take(ctx, u)
	if !taken {
		return
	}
	f.older = nil
	h.reach(u.Revision)
	f.waiters = slices.DeleteFunc(f.waiters, func(w *waiter) bool {
		if w.revision > u.Revision {
			return false
		}
		w.report = report
		for _, key := range w.keys {
			if r := h.rejected[key]; r != nil && r.record.Modified == w.revision {
				w.err = fmt.Errorf("adminapi: %s was stored at revision %d, and is not in force: %w", key, w.revision, r.err)
			}
		}
		close(w.done)
		return true
	})
}

// revision returns the one up to which everything is in force.
func (f *following) revision() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state.Revision
}

// loseTouch notes that the storage cannot be followed.
func (h *Handler) loseTouch(err error) {
	if first, revision := h.following.lost(err, h.now()); first && h.logger != nil {
		h.logger.Error("storage cannot be followed: the last good configuration goes on", "error", withoutKey(err.Error()), "revision", revision)
	}
}

// lost notes why the storage is not followed. It reports whether it was until then, and up
// to which revision.
func (f *following) lost(err error, now time.Time) (first bool, revision int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if first = f.state.Err == nil; first {
		f.state.Since = now
	}
	f.state.Err = err
	return first, f.state.Revision
}

// over returns why nothing will come back of what is written, or nil.
func (f *following) over() error {
	select {
	case <-f.done:
	default:
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state.Err
}

// reach notes the revision that is in force.
func (h *Handler) reach(revision int64) {
	f := h.following
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state.Err != nil && h.logger != nil {
		h.logger.Info("storage is followed again", "revision", revision, "after", h.now().Sub(f.state.Since))
	}
	f.state = Status{Revision: revision}
}

// awaits reports whether the writer of a record waits for it. changeMu is held.
func (f *following) awaits(r Record) bool {
	return slices.ContainsFunc(f.waiters, func(w *waiter) bool {
		return w.revision == r.Modified && slices.Contains(w.keys, r.Key)
	})
}

// take applies an update as one change, but for what is wrong, which it keeps out. Once the
// context has ended it applies nothing, and reports false: what could not be looked up then
// is not wrong. changeMu is held.
func (h *Handler) take(ctx context.Context, u Update) (_ gateway.Report, taken bool) {
	edits, records := h.editsOf(u)
	news := map[string]*rejection{}
	var prepared *gateway.Prepared
	for {
		var wrong map[*edit]error
		if prepared, wrong = h.prepareGood(ctx, edits); wrong == nil {
			break
		}
		edits = slices.DeleteFunc(edits, func(e *edit) bool {
			err, bad := wrong[e]
			if !bad {
				return false
			}
			key := e.key()
			if news[key] == nil { // or else it is the refusing that fails
				news[key] = &rejection{record: records[e], err: errors.New(withoutKey(err.Error())), names: references(e.kind, e.doc)}
			}
			var program *foreignError
			news[key].refuses = nil
			if r := h.rejected[key]; r != nil {
				news[key].refuses = r.refuses
			}
			refuses := !errors.As(err, &program) && e.refuse(news[key].refuses != nil)
			if refuses {
				news[key].refuses = e.decoded
			}
			return !refuses
		})
	}
	// From the first update on, the context of New has no say: either it has ended the
	// watching before that, and nothing is in force, or it cannot any more.
	if ctx.Err() != nil || !h.following.begun && !h.following.unbind() {
		return gateway.Report{}, false
	}
	report := prepared.Commit()
	h.following.begun = true
	put, deleted := 0, 0
	h.mu.Lock()
	for _, e := range edits {
		switch key := e.key(); {
		case news[key] != nil: // refuses, and is no document
		case e.doc == nil:
			deleted++
			delete(h.rejected, key)
			h.docs.apply(e, records[e])
		default:
			put++
			delete(h.rejected, key)
			h.docs.apply(e, records[e])
		}
	}
	maps.Copy(h.rejected, news)
	rules := h.takeRules(u)
	h.takeConfigs(u)
	h.mu.Unlock()
	// What was written here, its writer tells. Without a logger, what was told is noted all
	// the same.
	h.warn(slices.DeleteFunc(slices.Clone(edits), func(e *edit) bool {
		return len(news) == 0 && h.following.awaits(records[e])
	}), report)
	if h.logger != nil {
		maps.Copy(rules, news)
		h.logFollowed(u.Revision, put, deleted, rules)
	}
	h.retryBeside(ctx, edits, news)
	return report, true
}

// logFollowed tells of an update that was taken, and of what was kept out of it.
func (h *Handler) logFollowed(revision int64, put, deleted int, out map[string]*rejection) {
	for _, key := range slices.Sorted(maps.Keys(out)) {
		h.logger.Error("stored document is kept out", "key", key, "revision", out[key].record.Modified, "error", out[key].err, "last_good", h.hasLastGood(key))
	}
	if put+deleted > 0 {
		h.logger.Info("configuration followed", "revision", revision, "put", put, "deleted", deleted)
	}
}

// errRule is why a global rule is not in force. Its plugins may keep people out, so that
// nobody should have to find out that it is not.
var errRule = errors.New("this gateway has no global rules: its plugins do nothing here, and the routes are served without them")

// takeRules takes the global rules of an update, and returns those that are news. mu is held.
func (h *Handler) takeRules(u Update) map[string]*rejection {
	const directory = "/global_rules/"
	rules, news := map[string]*rejection{}, map[string]*rejection{}
	if !u.Whole {
		maps.Copy(rules, h.following.rules)
	}
	for _, r := range u.Deleted {
		delete(rules, r.Key)
	}
	for _, r := range u.Records {
		if !strings.HasPrefix(r.Key, directory) {
			continue
		}
		rules[r.Key] = &rejection{record: r, err: errRule}
		if old := h.following.rules[r.Key]; old == nil || old.record.Modified != r.Modified {
			news[r.Key] = rules[r.Key]
		}
	}
	h.following.rules = rules
	return news
}

// takeConfigs takes the state of the whole configuration. mu is held.
func (h *Handler) takeConfigs(u Update) {
	find := func(records []Record) int {
		return slices.IndexFunc(records, func(r Record) bool { return r.Key == configsKey })
	}
	if i := find(u.Records); i >= 0 {
		if u.Whole || u.Records[i].Modified >= h.configs.revision {
			h.configs = decodeConfigs(u.Records[i])
		}
	} else if u.Whole || find(u.Deleted) >= 0 {
		h.configs = newConfigsState()
	}
}

// editsOf returns the edits that an update makes of what is not known yet, in the order in
// which the documents were made, each with its record. A document that cannot be read has
// the error in its edit. In a whole, what is older than what is known is not known either:
// the storage was restored from a copy, and has gone on from there.
func (h *Handler) editsOf(u Update) ([]*edit, map[*edit]Record) {
	var edits []*edit
	records := map[*edit]Record{}
	add := func(r Record) *edit {
		kind, id, ok := parseKey(r.Key)
		if !ok {
			return nil
		}
		if known := h.revisionOf(kind, id); r.Modified == known || r.Modified < known && !u.Whole {
			return nil
		}
		e := &edit{kind: kind, id: id, expires: r.Expires, old: h.docs.get(kind, id)}
		edits = append(edits, e)
		records[e] = r
		return e
	}
	there := map[string]bool{}
	for _, r := range slices.SortedFunc(slices.Values(u.Records), func(a, b Record) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), strings.Compare(a.Key, b.Key))
	}) {
		there[r.Key] = true
		if e := add(r); e != nil {
			e.unreadable = h.read(e, r.Value)
		}
	}
	for _, r := range u.Deleted {
		add(r)
	}
	if !u.Whole {
		return edits, records
	}
	for kind, c := range h.docs.kinds {
		for id := range c.byID {
			if key := keyOf(kind, id); !there[key] {
				add(Record{Key: key, Modified: u.Revision + 1})
			}
		}
	}
	for key := range h.rejected {
		if kind, id, _ := parseKey(key); !there[key] && h.docs.get(kind, id) == nil {
			add(Record{Key: key, Modified: u.Revision + 1})
		}
	}
	return edits, records
}

// revisionOf returns the revision of a stored document, in force or not, or 0.
func (h *Handler) revisionOf(kind apisix.Kind, id string) int64 {
	if r := h.rejected[keyOf(kind, id)]; r != nil {
		return r.record.Modified
	}
	if o := h.docs.get(kind, id); o != nil {
		return o.changed
	}
	return 0
}

// prepareGood prepares edits as one change, or returns those that are wrong. It is never
// both, and never neither: each round has fewer edits that can be wrong.
func (h *Handler) prepareGood(ctx context.Context, edits []*edit) (*gateway.Prepared, map[*edit]error) {
	wrong := map[*edit]error{}
	for i, err := range h.decodeFollowed(ctx, edits) {
		e := edits[i]
		if err = cmp.Or(e.unreadable, err); err == nil && e.toDecode() {
			err = e.checkIdle()
		}
		if e.doc != nil && h.following.begun && h.isForeign(e.kind, e.id) {
			err = foreign(e.kind, e.id)
		}
		if err != nil {
			wrong[e] = err
		}
	}
	if len(wrong) > 0 {
		return nil, wrong
	}
	v := h.after(edits...)
	prepared, whole := h.prepareFollowed(ctx, v, edits...)
	switch {
	case whole == nil:
		return prepared, nil
	case len(edits) == 1:
		return nil, map[*edit]error{edits[0]: whole}
	}
	// Which document is at fault, each tells by itself, beside what the others become: a
	// route may be wrong only under the service that came with it.
	for _, e := range edits {
		if _, err := h.prepareFollowed(ctx, v, e); err != nil {
			wrong[e] = err
		}
	}
	if len(wrong) == 0 {
		for _, e := range edits {
			wrong[e] = whole
		}
	}
	return nil, wrong
}

// decodeFollowed is decodeAll, as prepareFollowed is prepareIn.
func (h *Handler) decodeFollowed(ctx context.Context, edits []*edit) (errs []error) {
	defer func() {
		if r := recover(); r == nil {
			return
		}
		errs = make([]error, len(edits))
		v := h.after(edits...)
		for i, e := range edits {
			errs[i] = errInternal // unless it comes to an end
			func() {
				defer func() { _ = recover() }()
				var err error
				if e.toDecode() {
					err = h.decode(ctx, v, e)
				}
				errs[i] = err
			}()
		}
	}()
	return h.decodeAll(ctx, edits)
}

// prepareFollowed is prepareIn, but that a fault of ours costs the document that has found it,
// as it costs a request elsewhere: all gateways of a fleet have the same documents.
func (h *Handler) prepareFollowed(ctx context.Context, v view, edits ...*edit) (_ *gateway.Prepared, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errInternal
		}
	}()
	return h.prepareIn(ctx, v, edits...)
}

var errInternal = errors.New("internal error")

var errSilent = errors.New("the storage does not tell its changes")

// await waits until a write has come back, or something later. changeMu is held, but for
// the time of the waiting.
func (h *Handler) await(edits []*edit, records []Record) (gateway.Report, error) {
	w := &waiter{done: make(chan struct{})}
	for i, r := range records {
		w.revision = max(w.revision, r.Modified)
		if i < len(edits) {
			w.keys = append(w.keys, r.Key)
		}
	}
	f := h.following
	f.waiters = append(f.waiters, w)
	h.changeMu.Unlock()
	timer := time.NewTimer(awaitTime)
	defer timer.Stop()
	select {
	case <-w.done:
	case <-timer.C:
	case <-f.done:
	}
	h.changeMu.Lock()
	select {
	case <-w.done:
		return w.report, w.err
	default:
	}
	// Nobody waits for it any more: when it comes, it is as if others had written it.
	f.waiters = slices.DeleteFunc(f.waiters, func(other *waiter) bool { return other == w })
	why := cmp.Or(f.over(), errSilent)
	return gateway.Report{}, fmt.Errorf("adminapi: stored at revision %d, and not in force here yet: %w", w.revision, why)
}
