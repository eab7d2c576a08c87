package adminapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/internal/files"
)

// WatchFileOptions are for [*Handler.WatchFile]. A nil *WatchFileOptions and a zero
// WatchFileOptions mean the same.
type WatchFileOptions struct {
	// Interval is how often the file is checked for changes. Zero is one second, as in APISIX.
	// A check costs a stat; the file is read if it has changed, once more if that was only a
	// moment ago, and again for as long as something is wrong with it.
	Interval time.Duration

	// Decode turns the contents of the file into the document that [*Handler.Load] reads.
	// If nil, the file is the document. A panic in it is an error.
	Decode func([]byte) ([]byte, error)

	// Failed, if not nil, is called if the file cannot be read or is invalid: once for each
	// state of it and each error. The configuration stays as it was. Failed must not call the
	// FileWatcher; if it panics, that is logged.
	Failed func(error)
}

const defaultFileInterval = time.Second

// A FileWatcher keeps the configuration in step with a file until it is closed.
type FileWatcher struct {
	handler *Handler
	path    string
	o       WatchFileOptions

	mu    sync.Mutex // serialises looking, and guards what follows
	seen  files.State
	young bool // when it was read, the file had changed a moment ago
	err   error

	// trouble is err and since when, for who must not wait for the looking. nil: none.
	trouble atomic.Pointer[fileTrouble]

	ctx  context.Context // ends with Close
	end  context.CancelFunc
	done chan struct{}
}

// A fileTrouble is why a file is not taken.
type fileTrouble struct {
	err   error
	since time.Time
}

// WatchFile loads a document from a file, as [*Handler.Load] does, and again whenever the
// file changes: all of it or, if anything is wrong, none of it, so that the last good
// configuration stays in force and the failure is reported. The first time, it must be
// right.
//
// Replace the file by renaming another to its name: a file that is being written in place
// may be read half-finished.
func (h *Handler) WatchFile(path string, o *WatchFileOptions) (*FileWatcher, error) {
	w := &FileWatcher{handler: h, path: path, done: make(chan struct{})}
	if o != nil {
		w.o = *o
	}
	if w.o.Interval <= 0 {
		w.o.Interval = defaultFileInterval
	}
	w.ctx, w.end = context.WithCancel(context.Background())
	if err := w.load(); err != nil {
		w.end()
		return nil, err
	}
	h.mu.Lock()
	h.watched = append(h.watched, w)
	h.mu.Unlock()
	go w.run()
	return w, nil
}

func (w *FileWatcher) run() {
	defer close(w.done)
	ticker := time.NewTicker(w.o.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			_ = w.Check() // reported there
		case <-w.ctx.Done():
			return
		}
	}
}

// Check looks at the file now; a program may call it on SIGHUP. When it returns, what has
// changed is in force. The error says what is wrong with the file now, whether or not it is
// new.
func (w *FileWatcher) Check() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	changed := !files.Look(w.path).Same(w.seen)
	if !changed && !w.young && w.err == nil {
		return nil
	}
	known := w.err
	w.err = w.load()
	w.note()
	if w.err == nil || !changed && known != nil && known.Error() == w.err.Error() {
		return w.err
	}
	if w.handler.logger != nil {
		w.handler.logger.Error("changed file is not taken: the last good configuration goes on", "file", w.path, "error", w.err)
	}
	w.failed()
	return w.err
}

// failed tells Failed what is wrong. If it panics, that is logged. w.mu is held.
func (w *FileWatcher) failed() {
	if w.o.Failed == nil {
		return
	}
	defer func() {
		if r := recover(); r != nil && w.handler.logger != nil {
			w.handler.logger.Error("Failed panicked", "file", w.path, "panic", withoutKey(fmt.Sprint(r)))
		}
	}()
	w.o.Failed(w.err)
}

// note keeps what is wrong with the file. w.mu is held.
func (w *FileWatcher) note() {
	switch known := w.trouble.Load(); {
	case w.err == nil:
		w.trouble.Store(nil)
	case known == nil:
		w.trouble.Store(&fileTrouble{w.err, w.handler.now()})
	default:
		w.trouble.Store(&fileTrouble{w.err, known.since})
	}
}

// load reads the file and applies it.
func (w *FileWatcher) load() error {
	w.seen = files.Look(w.path)
	w.young = w.seen.Young()
	data, err := files.Read(w.path, maxConfigs)
	if err != nil {
		return fmt.Errorf("adminapi: %w", err)
	}
	if !files.Look(w.path).Same(w.seen) {
		w.young = true // it is read again next time
		return errors.New("adminapi: " + w.path + ": it changes while it is read")
	}
	if w.o.Decode != nil {
		if data, err = guarded("Decode", func() ([]byte, error) { return w.o.Decode(data) }); err != nil {
			return fmt.Errorf("adminapi: %s: %s", w.path, withoutKey(err.Error()))
		}
	}
	_, err = guarded("adminapi: "+w.path+": Load", func() (struct{}, error) {
		return struct{}{}, w.handler.loadFrom(w.ctx, w.path, bytes.NewReader(data))
	})
	return err
}

// Close stops watching. The configuration stays.
func (w *FileWatcher) Close() {
	w.end()
	<-w.done
	h := w.handler
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watched = slices.DeleteFunc(h.watched, func(other *FileWatcher) bool { return other == w })
}
