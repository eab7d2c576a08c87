package adminapi

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// A File is a [Storage] in one file, for one process. What a Commit has returned without an
// error is on the disk: it survives the death of the process at any moment and, as far as
// fsync tells the truth, that of the machine. An unfinished write leaves no trace.
//
// The file is text, a line for each document, and may be read and copied while it is in
// use. It holds private keys as they were put, and so is readable by its owner only (0600).
// Writes are appended; when more than half of the file is out of date, it is rewritten as
// PATH.new, which then replaces it.
type File struct {
	path string

	mu       sync.Mutex // guards what follows
	file     *os.File   // nil: closed
	revision int64
	index    map[string]line
	end      int64 // of the last transaction
	live     int64 // bytes of the lines in index
	rewrite  int64 // the size from which on the file is written anew
	dirty    error // why what stands behind end is not known
}

var _ Storage = (*File)(nil)

// A line is where a record is in the file. Values are not kept in memory: the
// Handler has them already.
type line struct {
	offset, size      int64
	created, modified int64
}

// minRewrite is the size below which a file is not worth writing anew.
const minRewrite = 1 << 20

// OpenFile opens the storage in a file, and creates the file if there is none. It refuses a
// file that others than its owner may read or write, one that another process has open, and
// one that is damaged in any way other than by an unfinished write. It needs a system with
// flock(2).
//
// Close it when the [Handler] is closed. For a restart without a gap, see package gateway: a
// Server serves on without the two.
func OpenFile(path string) (*File, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, fmt.Errorf("adminapi: file storage: %w", err)
	}
	return f, nil
}

func openFile(path string) (*File, error) {
	// Before it is opened: to open a pipe would wait for whoever reads it.
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: is no regular file", path)
	}
	for {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		// A link stays one when the file is written anew.
		if path, err = filepath.EvalSymlinks(path); err == nil {
			err = lockFile(file)
		}
		var same bool
		if err == nil {
			same, err = isAt(file, path)
		}
		if err == nil && same {
			f := &File{path: path, file: file, index: map[string]line{}}
			if err = f.open(); err == nil {
				return f, nil
			}
		}
		_ = file.Close()
		if err != nil {
			return nil, err
		}
		// Between the opening and the locking, its last owner has written it anew.
	}
}

// isAt reports whether a path leads to a file that is open.
func isAt(file *os.File, path string) (bool, error) {
	info, err := file.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(info, there), err
}

// open reads the file, which is locked.
func (f *File) open() error {
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s: others may use it (mode %04o), and it holds private keys: chmod 600 it", f.path, mode)
	}
	if info.Size() < int64(len(emptyFile)) {
		// A new file, or one whose making was not finished.
		begun := make([]byte, info.Size())
		if _, err := io.ReadFull(f.file, begun); err != nil {
			return err
		}
		if !bytes.HasPrefix(emptyFile, begun) {
			return fmt.Errorf("%s: is no storage: it does not begin with %q", f.path, fileHead)
		}
		if err := f.create(); err != nil {
			return err
		}
	}
	t, err := readTransactions(io.NewSectionReader(f.file, 0, math.MaxInt64), false, f.note)
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	f.revision, f.end = t.revision, t.end
	f.rewrite = max(minRewrite, 2*f.live)
	if !t.torn {
		return nil
	}
	if err := f.file.Truncate(f.end); err != nil {
		return err
	}
	return f.file.Sync()
}

// create writes a file that holds nothing.
func (f *File) create() error {
	if _, err := f.file.WriteAt(emptyFile, 0); err != nil {
		return err
	}
	if err := f.file.Sync(); err != nil {
		return err
	}
	return syncDirectory(f.path)
}

// syncDirectory makes the name of a file last.
func syncDirectory(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// note takes a line of a transaction that is finished. mu is held, or nobody else has f.
func (f *File) note(l fileLine, offset int64) {
	f.live -= f.index[l.key].size
	if l.delete {
		delete(f.index, l.key)
		return
	}
	f.index[l.key] = line{offset: offset, size: l.size, created: l.created, modified: l.modified}
	f.live += l.size
}

// String implements [fmt.Stringer].
func (f *File) String() string { return "adminapi.File " + f.path }

// Load implements [Storage]. The records are in the order of the file.
func (f *File) Load(context.Context) ([]Record, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return nil, f.failure(os.ErrClosed)
	}
	records := make([]Record, 0, len(f.index))
	_, err := readTransactions(io.NewSectionReader(f.file, 0, f.end), true, func(l fileLine, offset int64) {
		if at, ok := f.index[l.key]; ok && at.offset == offset {
			records = append(records, l.record())
		}
	})
	if err == nil && len(records) != len(f.index) {
		err = errors.New("another program has changed it")
	}
	if err != nil {
		return nil, f.failure(err)
	}
	return records, nil
}

// Commit implements [Storage].
func (f *File) Commit(ctx context.Context, writes ...Write) ([]Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range writes {
		if w.Prev != AnyRevision && w.Prev != f.index[w.Key].modified {
			return nil, ErrConflict
		}
	}
	if err := f.ready(); err != nil {
		return nil, f.failure(err)
	}
	revision := f.revision + 1
	out := make([]Record, len(writes))
	lines := make([]fileLine, len(writes))
	var text []byte
	for i, w := range writes {
		lines[i] = fileLine{key: w.Key, delete: w.Delete}
		out[i].Key = w.Key
		if !w.Delete {
			created := f.index[w.Key].created
			if created == 0 {
				created = revision
			}
			out[i] = Record{Key: w.Key, Value: slices.Clone(w.Value), Created: created, Modified: revision, Expires: w.Expires}
			lines[i] = lineOf(out[i])
		}
		before := len(text)
		text = lines[i].append(text)
		lines[i].size = int64(len(text) - before)
	}
	text = appendCommit(text, revision, crc32.Checksum(text, castagnoli))
	if err := f.add(text); err != nil {
		return nil, f.failure(err)
	}
	offset := f.end
	for _, l := range lines {
		f.note(l, offset)
		offset += l.size
	}
	f.revision, f.end = revision, f.end+int64(len(text))
	if f.end >= f.rewrite && f.end > 2*f.live {
		if f.compact() != nil {
			f.rewrite = 2 * f.end // it only grows until then
		}
	}
	return out, nil
}

// ready reports whether the file can be added to. mu is held.
func (f *File) ready() error {
	if f.file == nil {
		return os.ErrClosed
	}
	if f.revision == math.MaxInt64 {
		return errors.New("it has come to the last revision there is")
	}
	// What is written to a file that nobody will find again is not stored.
	if same, err := isAt(f.file, f.path); err != nil || !same {
		return errors.Join(errors.New("another program has moved, removed or replaced it"), err)
	}
	if f.dirty == nil {
		return nil
	}
	if err := f.compact(); err != nil {
		return fmt.Errorf("it cannot be written anew (%w) after %w", err, f.dirty)
	}
	f.dirty = nil
	return nil
}

// add writes a transaction behind the last. Where it fails, it takes away what it has
// written; where that fails as well, or where fsync has, after which nobody knows what
// the disk has, the next Commit writes the file anew first. mu is held.
func (f *File) add(text []byte) error {
	_, err := f.file.WriteAt(text, f.end)
	if err == nil {
		if err = f.file.Sync(); err == nil {
			return nil
		}
		f.dirty = err
	}
	if undo := errors.Join(f.file.Truncate(f.end), f.file.Sync()); undo != nil && f.dirty == nil {
		f.dirty = err
	}
	return err
}

// compact writes the file anew, without what is out of date. mu is held.
func (f *File) compact() error {
	path := f.path + ".new"
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err // what an earlier process has left unfinished
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	next := &File{path: f.path, file: file, revision: f.revision, index: make(map[string]line, len(f.index))}
	if err = lockFile(file); err == nil {
		err = next.copyFrom(f)
	}
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = os.Rename(path, f.path)
	}
	if err != nil {
		return errors.Join(err, file.Close(), os.Remove(path))
	}
	_ = f.file.Close()
	f.file, f.index, f.end, f.live = next.file, next.index, next.end, next.live
	f.rewrite = max(minRewrite, 2*f.live)
	if err := syncDirectory(f.path); err != nil {
		// The old file may be found again after a crash of the machine: what comes
		// now must not be written to the new one alone.
		f.dirty = err
		return err
	}
	return nil
}

// copyFrom writes what another holds as one transaction.
func (f *File) copyFrom(old *File) error {
	out := bufio.NewWriterSize(f.file, 1<<18)
	_, _ = out.WriteString(fileHead) // errors stay until Flush
	offset, sum := int64(len(fileHead)), uint32(0)
	keys := slices.SortedFunc(maps.Keys(old.index), func(a, b string) int {
		return cmp.Compare(old.index[a].offset, old.index[b].offset)
	})
	var text []byte
	for _, key := range keys {
		at := old.index[key]
		text = slices.Grow(text[:0], int(at.size))[:at.size]
		if _, err := old.file.ReadAt(text, at.offset); err != nil {
			return err
		}
		if l, ok := parseLine(text); !ok || l.key != key || l.modified != at.modified {
			return errors.New("another program has changed it")
		}
		_, _ = out.Write(text)
		sum = crc32.Update(sum, castagnoli, text)
		f.index[key] = line{offset: offset, size: at.size, created: at.created, modified: at.modified}
		f.live += at.size
		offset += at.size
	}
	commit := appendCommit(nil, f.revision, sum)
	_, _ = out.Write(commit)
	f.end = offset + int64(len(commit))
	return out.Flush()
}

func (f *File) failure(err error) error {
	return fmt.Errorf("adminapi: file storage: %s: %w", f.path, err)
}

// Close releases the file, for another process to open. What is stored is already on the
// disk.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err
}

// lineOf returns the line of a record.
func lineOf(r Record) fileLine {
	return fileLine{key: r.Key, value: r.Value, created: r.Created, modified: r.Modified, expires: r.Expires}
}

func (l fileLine) record() Record {
	return Record{Key: l.key, Value: l.value, Created: l.created, Modified: l.modified, Expires: l.expires}
}
