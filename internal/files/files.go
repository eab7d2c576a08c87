// Package files reads files that others replace while a program runs: it says when to
// read them again, and does not wait for what is no file.
package files

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"time"
)

// youth is how long after a change of a file another one may have the same time:
// the longest that a file system in use counts in is two seconds.
const youth = 2 * time.Second

// A State is what stat says of some files, by name: nil of one that cannot be looked at.
type State map[string]fs.FileInfo

// Look returns the state of some files. It follows links: a Kubernetes mount is
// replaced by turning one of them round.
func Look(names ...string) State {
	seen := State{}
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			info = nil
		}
		seen[name] = info
	}
	return seen
}

// Same reports whether no file has changed, as far as stat tells.
func (s State) Same(other State) bool {
	return maps.EqualFunc(s, other, func(x, y fs.FileInfo) bool {
		if x == nil || y == nil {
			return x == y
		}
		return os.SameFile(x, y) && x.Size() == y.Size() && x.ModTime().Equal(y.ModTime())
	})
}

// Young reports whether a file had changed so shortly before that the next change may
// look the same.
func (s State) Young() bool {
	for _, info := range s {
		if info != nil && time.Since(info.ModTime()) < youth {
			return true
		}
	}
	return false
}

// Read reads a regular file of at most some bytes.
func Read(name string, most int64) ([]byte, error) {
	// Before it is opened: to open a pipe would wait for whoever writes to it.
	switch info, err := os.Stat(name); {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: is no regular file", name)
	case info.Size() > most:
		return nil, fmt.Errorf("%s: is larger than %d bytes", name, most)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s: is larger than %d bytes", name, most)
	}
	return data, err
}
