package adminapi

import (
	"bytes"
	"hash/crc32"
	"time"
)

// SetNow replaces the clock. It must not be called while requests go on.
func (h *Handler) SetNow(now func() time.Time) { h.now = now }

// MaxBody is the size of a request body.
const MaxBody = maxBody

// Compact writes the file anew.
func (f *File) Compact() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.compact()
}

// Revision is that of the last transaction.
func (f *File) Revision() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.revision
}

// Fail leaves the file as a write does that failed with err, half done: taken back if the
// disk would, or else to be written anew.
func (f *File) Fail(err error, dirty bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, _ = f.file.WriteAt([]byte("put /routes/2 modif"), f.end)
	if dirty {
		f.dirty = err
		return
	}
	_ = f.file.Truncate(f.end)
}

// Resealed returns the text of a file with the right sums, so that a fuzzer gets beyond
// them.
func Resealed(text []byte) (out []byte) {
	var sum uint32
	for i, l := range bytes.SplitAfter(text, []byte("\n")) {
		if revision, _, ok := parseCommit(l); ok {
			out = appendCommit(out, revision, sum)
			sum = 0
			continue
		}
		if i > 0 {
			sum = crc32.Update(sum, castagnoli, l)
		}
		out = append(out, l...)
	}
	return out
}

// Told is of how many documents warnings are noted.
func Told(h *Handler) int {
	h.changeMu.Lock()
	defer h.changeMu.Unlock()
	return len(h.told)
}
