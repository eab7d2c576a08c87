//go:build unix

package adminapi_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/adminapi/storagetest"
	"github.com/sallyport/sallyport/gateway"
)

func openFile(t testing.TB, path string) *adminapi.File {
	t.Helper()
	f, err := adminapi.OpenFile(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestFile(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) adminapi.Storage { return openFile(t, filepath.Join(t.TempDir(), "data")) })
}

// A reopened storage opens its file anew before it is loaded: what counts is what is in it.
type reopened struct {
	t    *testing.T
	path string
	*adminapi.File
}

func (r *reopened) Load(ctx context.Context) ([]adminapi.Record, error) {
	// Load may be called by many at a time, and then there is nothing to close.
	again, err := os.ReadFile(r.path)
	if err != nil {
		return nil, err
	}
	copied := filepath.Join(r.t.TempDir(), "copy")
	if err := os.WriteFile(copied, again, 0o600); err != nil {
		return nil, err
	}
	f, err := adminapi.OpenFile(copied)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Load(ctx)
}

func TestFileReopened(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) adminapi.Storage {
		path := filepath.Join(t.TempDir(), "data")
		return &reopened{t, path, openFile(t, path)}
	})
}

// The file is what its documentation shows.
func TestFileIsReadable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	f := openFile(t, path)
	_, err := f.Commit(t.Context(),
		adminapi.Write{Key: "/routes/1", Value: []byte(`{"uri":"/ü"}`)},
		adminapi.Write{Key: "/gen_id", Value: []byte("1")},
		adminapi.Write{Key: "a \"key\"\n", Value: []byte("{\n}"), Expires: time.Unix(1700000000, 0)})
	require.NoError(t, err)
	_, err = f.Commit(t.Context(), adminapi.Write{Key: "/routes/1", Prev: 1, Delete: true})
	require.NoError(t, err)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, `sallyport-storage 1
commit 0 00000000
put /routes/1 modified=1 created=1 {"uri":"/ü"}
put /gen_id modified=1 created=1 "1"
put "a \"key\"\n" modified=1 created=1 expires=2023-11-14T22:13:20Z "{\n}"
commit 1 CRC
delete /routes/1
commit 2 CRC
`, withoutSums(string(text)))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
}

func withoutSums(text string) string {
	lines := strings.SplitAfter(text, "\n")
	for i, l := range lines {
		if fields := strings.Fields(l); i > 1 && len(fields) == 3 && fields[0] == "commit" {
			lines[i] = "commit " + fields[1] + " CRC\n"
		}
	}
	return strings.Join(lines, "")
}

// history writes transactions at random to a file, and returns what it held after each,
// with the size that it had then.
func history(t *testing.T, path string, n int) (states []map[string]adminapi.Record, sizes []int64) {
	f := openFile(t, path)
	random := rand.New(rand.NewPCG(1, 2))
	now := map[string]adminapi.Record{}
	note := func() {
		info, err := os.Stat(path)
		require.NoError(t, err)
		states, sizes = append(states, maps.Clone(now)), append(sizes, info.Size())
	}
	note()
	for range n {
		var writes []adminapi.Write
		for _, i := range random.Perm(6)[:1+random.IntN(3)] {
			key := fmt.Sprintf("/routes/%d", i)
			w := adminapi.Write{Key: key, Prev: now[key].Modified, Delete: random.IntN(3) == 0}
			if !w.Delete {
				w.Value = []byte([]string{`{"a":"é"}`, "x\x00\n", "", "\"commit 1 00000000\n", "{}\n"}[random.IntN(5)])
			}
			writes = append(writes, w)
		}
		records, err := f.Commit(t.Context(), writes...)
		require.NoError(t, err)
		for i, r := range records {
			if now[r.Key] = r; writes[i].Delete {
				delete(now, r.Key)
			}
		}
		note()
	}
	require.NoError(t, f.Close())
	return states, sizes
}

// A process that is killed leaves a beginning of what it was writing. Wherever that ends,
// each transaction that had ended is there, and nothing of the others.
func TestFileCutAnywhere(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "data")
	states, sizes := history(t, path, 7)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	require.EqualValues(t, sizes[len(sizes)-1], len(whole))
	cut := filepath.Join(dir, "cut")
	for n := range len(whole) + 1 {
		require.NoError(t, os.WriteFile(cut, whole[:n], 0o600))
		f, err := adminapi.OpenFile(cut)
		require.NoError(t, err, "%d bytes", n)
		want := max(0, sort(sizes, int64(n)))
		require.Equal(t, states[want], load(t, f), "%d bytes", n)
		if n%10 != 0 {
			require.NoError(t, f.Close())
			continue
		}
		// And it goes on from there.
		_, err = f.Commit(t.Context(), adminapi.Write{Key: "/ssls/1", Value: []byte("{}")})
		require.NoError(t, err)
		require.NoError(t, f.Close())
		f, err = adminapi.OpenFile(cut)
		require.NoError(t, err)
		require.Len(t, load(t, f), len(states[want])+1)
		require.NoError(t, f.Close())
	}
}

// sort returns the index of the last size that is not above n.
func sort(sizes []int64, n int64) int {
	i, found := slices.BinarySearch(sizes, n)
	if !found {
		i--
	}
	return i
}

// A machine that stops may leave zeros for what was not on the disk yet: only in the last
// transaction, as the others were.
func TestFileZeros(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "data")
	states, sizes := history(t, path, 4)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	last := sizes[len(sizes)-2]
	for from := last; from < int64(len(whole)); from++ {
		text := bytes.Clone(whole)
		clear(text[from:])
		require.NoError(t, os.WriteFile(path, text, 0o600))
		f := openFile(t, path)
		require.Equal(t, states[len(states)-2], load(t, f))
		require.NoError(t, f.Close())
	}
	for from := last; from < int64(len(whole))-1; from++ {
		text := bytes.Clone(whole)
		clear(text[from : from+1])
		require.NoError(t, os.WriteFile(path, text, 0o600))
		f := openFile(t, path)
		require.Equal(t, states[len(states)-2], load(t, f))
		require.NoError(t, f.Close())
	}
}

// Any other change of the file is told, and nothing is lost by opening it.
func TestFileDamaged(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "data")
	states, _ := history(t, path, 3)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for i := range whole {
		text := bytes.Clone(whole)
		text[i] ^= 1
		require.NoError(t, os.WriteFile(path, text, 0o600))
		f, err := adminapi.OpenFile(path)
		if err == nil {
			// But for the very last line feed, without which it looks unfinished.
			require.Equal(t, len(whole)-1, i, "byte %d: %q", i, whole[max(0, i-20):i+1])
			require.Equal(t, states[len(states)-2], load(t, f))
			require.NoError(t, f.Close())
			continue
		}
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, text, after)
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	for i := range lines[:len(lines)-2] {
		text := bytes.Join(slices.Delete(slices.Clone(lines), i, i+1), nil)
		require.NoError(t, os.WriteFile(path, text, 0o600))
		f, err := adminapi.OpenFile(path)
		if i == 1 { // the first transaction, which is empty: the second becomes the first
			require.NoError(t, err)
			require.Equal(t, states[len(states)-1], load(t, f))
			require.NoError(t, f.Close())
			continue
		}
		require.Error(t, err, "without line %d", i+1)
	}
}

func TestOpenFileRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "data")
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o602, 0o610, 0o666} {
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		require.NoError(t, os.Chmod(path, mode))
		_, err := adminapi.OpenFile(path)
		require.ErrorContains(t, err, "chmod 600")
	}
	require.NoError(t, os.Chmod(path, 0o600))
	f := openFile(t, path)
	_, err := adminapi.OpenFile(path)
	require.ErrorContains(t, err, "another process has it open")
	require.NoError(t, f.Close())
	require.NoError(t, f.Close())
	_, err = f.Commit(t.Context(), adminapi.Write{Key: "/routes/1"})
	require.ErrorIs(t, err, os.ErrClosed)
	_, err = f.Load(t.Context())
	require.ErrorIs(t, err, os.ErrClosed)
	openFile(t, path)

	other := filepath.Join(dir, "other")
	for _, text := range []string{"x", "routes:\n", "sallyport-storage 2\ncommit 0 00000000\n", strings.Repeat("x", 100)} {
		require.NoError(t, os.WriteFile(other, []byte(text), 0o600))
		_, err = adminapi.OpenFile(other)
		require.ErrorContains(t, err, "is no storage")
		after, err := os.ReadFile(other)
		require.NoError(t, err)
		require.Equal(t, text, string(after))
	}
	_, err = adminapi.OpenFile(dir)
	require.ErrorContains(t, err, "is no regular file")
	_, err = adminapi.OpenFile(filepath.Join(dir, "no", "such"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// What is out of date is left out in time, and a link to the file stays one.
func TestFileIsWrittenAnew(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "data"), filepath.Join(dir, "link")
	require.NoError(t, os.Symlink(path, link))
	require.NoError(t, os.WriteFile(path+".new", []byte("left by a process that was killed"), 0o600))
	f := openFile(t, link)
	kept, err := f.Commit(t.Context(), adminapi.Write{Key: "/routes/kept", Value: []byte("{}")})
	require.NoError(t, err)
	value := append(append([]byte(`{"x":"`), bytes.Repeat([]byte("x"), 100_000)...), `"}`...)
	var last []adminapi.Record
	largest := int64(0)
	for range 30 {
		last, err = f.Commit(t.Context(), adminapi.Write{Key: "/routes/1", Value: value, Prev: adminapi.AnyRevision})
		require.NoError(t, err)
		info, err := os.Lstat(path)
		require.NoError(t, err)
		largest = max(largest, info.Size())
		require.Equal(t, os.FileMode(0o600), info.Mode())
	}
	require.Less(t, largest, int64(3<<19))
	want := map[string]adminapi.Record{"/routes/kept": kept[0], "/routes/1": last[0]}
	require.Equal(t, want, load(t, f))
	_, err = adminapi.OpenFile(path)
	require.ErrorContains(t, err, "another process has it open", "the new file is locked too")
	require.NoError(t, f.Close())
	f = openFile(t, link)
	require.Equal(t, want, load(t, f))
	info, err := os.Lstat(link)
	require.NoError(t, err)
	require.NotZero(t, info.Mode()&os.ModeSymlink)
	require.NoFileExists(t, path+".new")

	// What is written to a file that nobody finds again would be lost.
	require.NoError(t, os.Rename(path, path+".moved"))
	_, err = f.Commit(t.Context(), adminapi.Write{Key: "/routes/2", Value: []byte("{}")})
	require.ErrorContains(t, err, "moved, removed or replaced")
	require.NoError(t, os.Rename(path+".moved", path))
	_, err = f.Commit(t.Context(), adminapi.Write{Key: "/routes/2", Value: []byte("{}")})
	require.NoError(t, err)
}

// A process that is killed while it writes loses nothing of what it has acknowledged.
func TestFileKill(t *testing.T) {
	if path := os.Getenv("SALLYPORT_TEST_FILE"); path != "" {
		f, err := adminapi.OpenFile(path)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		for i := 0; ; i++ {
			r, err := f.Commit(context.Background(), adminapi.Write{
				Key: fmt.Sprintf("/routes/%d", i%50), Value: bytes.Repeat([]byte("x"), 40_000), Prev: adminapi.AnyRevision})
			if err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			fmt.Println(r[0].Key, r[0].Modified)
		}
	}
	path := filepath.Join(t.TempDir(), "data")
	for round := range 4 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFileKill$")
		cmd.Env = append(os.Environ(), "SALLYPORT_TEST_FILE="+path)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		acknowledged := map[string]int64{}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			var key string
			var revision int64
			_, err := fmt.Sscan(lines.Text(), &key, &revision)
			require.NoError(t, err, lines.Text())
			acknowledged[key] = revision
			if n == 40+10*round {
				require.NoError(t, cmd.Process.Kill())
			}
		}
		_ = cmd.Wait()
		f := openFile(t, path) // the lock went with the process
		stored := load(t, f)
		for key, revision := range acknowledged {
			require.GreaterOrEqual(t, stored[key].Modified, revision, key)
		}
		require.NoError(t, f.Close())
	}
}

func TestFileEndedContext(t *testing.T) {
	f := openFile(t, filepath.Join(t.TempDir(), "data"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := f.Commit(ctx, adminapi.Write{Key: "/routes/1"})
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, load(t, f))
	require.NotContains(t, fmt.Sprintf("%v %+v %s", f, f, f), "index")
}

// FuzzFile opens whatever there is. What it takes, it writes anew as the same.
func FuzzFile(f *testing.F) {
	f.Add([]byte("sallyport-storage 1\ncommit 0 00000000\nput /routes/1 modified=1 created=1 {}\n"))
	f.Add([]byte("sallyport-storage 1\ncommit 0 00000000\nput \"\\n\" modified=1 created=1 expires=2023-11-14T22:13:20Z \"\\x00\"\ncommit 1 8d1b5c3f\n"))
	f.Add([]byte("sallyport-storage 1\ndelete /routes/1\ncommit 9 00000000\n"))
	f.Add([]byte("sallyport-storage 1\ncommit -1 00000000\n"))
	f.Add([]byte("sallyport-storage 1\ncommit 9223372036854775807 00000000\n"))
	f.Add([]byte{})
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(dir, fmt.Sprint(os.Getpid()))
		require.NoError(t, os.WriteFile(path, adminapi.Resealed(text), 0o600))
		s, err := adminapi.OpenFile(path)
		if err != nil {
			return
		}
		want := load(t, s)
		require.NoError(t, s.Compact())
		require.Equal(t, want, load(t, s))
		_, err = s.Commit(t.Context(), adminapi.Write{Key: "/routes/x", Value: []byte("{}"), Prev: adminapi.AnyRevision})
		if s.Revision() == math.MaxInt64 && err != nil {
			require.ErrorContains(t, err, "last revision")
		} else {
			require.NoError(t, err)
		}
		require.NoError(t, s.Close())
		s, err = adminapi.OpenFile(path)
		require.NoError(t, err)
		again := load(t, s)
		delete(want, "/routes/x")
		delete(again, "/routes/x")
		require.Equal(t, want, again)
		require.NoError(t, s.Close())
	})
}

// Where a write fails, it is as if it had not been tried, and the next one succeeds.
func TestFileDiskFails(t *testing.T) {
	for name, dirty := range map[string]bool{"taken back": false, "written anew": true} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "data")
			f := openFile(t, path)
			first, err := f.Commit(t.Context(), adminapi.Write{Key: "/routes/1", Value: []byte("{}")})
			require.NoError(t, err)
			f.Fail(errDisk, dirty)
			want := map[string]adminapi.Record{"/routes/1": first[0]}
			require.Equal(t, want, load(t, f))
			second, err := f.Commit(t.Context(), adminapi.Write{Key: "/routes/2", Value: []byte("{}")})
			require.NoError(t, err)
			want["/routes/2"] = second[0]
			require.Equal(t, want, load(t, f))
			require.NoError(t, f.Close())
			require.Equal(t, want, load(t, openFile(t, path)))
		})
	}
}

// A gateway that gives its file to the process that is to follow serves on, and takes it back
// if there is none.
func TestFileChangesHands(t *testing.T) {
	path := filepath.Join(t.TempDir(), "documents")
	open := func(gw *gateway.Server) (h *adminapi.Handler, end func()) {
		file := must(adminapi.OpenFile(path))
		h = must(adminapi.New(t.Context(), gw, &adminapi.Options{Keys: []adminapi.Key{{Value: adminKey}}, Storage: file}))
		return h, func() {
			h.Close()
			require.NoError(t, file.Close())
		}
	}
	do := func(h *adminapi.Handler, method, path, body string) int {
		r := httptest.NewRequest(method, "http://127.0.0.1/apisix/admin"+path, strings.NewReader(body))
		r.Header.Set("X-API-KEY", adminKey)
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		return rec.Code
	}
	serves := func(gw *gateway.Server) bool {
		rec := httptest.NewRecorder()
		gw.ServeHTTP(rec, httptest.NewRequest("GET", "http://a.test/1", nil))
		return rec.Code == http.StatusServiceUnavailable // the upstream has no nodes
	}
	old, next := must(gateway.New(nil)), must(gateway.New(nil))
	defer old.Close()
	defer next.Close()
	h, end := open(old)
	require.Equal(t, 201, do(h, "PUT", "/routes/1", `{"uri":"/1","upstream":{"nodes":{}}}`))
	_, err := adminapi.OpenFile(path)
	require.ErrorContains(t, err, "another process has it open")
	end()
	require.True(t, serves(old))
	require.GreaterOrEqual(t, do(h, "PUT", "/routes/2", `{"uri":"/2","upstream":{"nodes":{}}}`), 500)
	_, endNext := open(next)
	require.True(t, serves(next))
	endNext()

	h, end = open(old)
	defer end()
	require.True(t, serves(old))
	require.Equal(t, 200, do(h, "DELETE", "/routes/1", ""))
	require.False(t, serves(old))
}
