package accesslog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway/accesslog"
	"github.com/sallyport/sallyport/internal/jsonline"
)

type valuer struct{ v slog.Value }

func (v valuer) LogValue() slog.Value { return v.v }

// records are of every kind, and attributes that may be logged with them.
var records = []struct {
	message string
	attrs   []slog.Attr
}{
	{"request", nil},
	{"", []slog.Attr{slog.String("path", "/a/b"), slog.Int("status", 200), slog.Duration("took", time.Millisecond)}},
	{"all", []slog.Attr{slog.Int64("i", math.MinInt64), slog.Uint64("u", math.MaxUint64), slog.Bool("t", true), slog.Bool("f", false)}},
	{"float", []slog.Attr{slog.Float64("x", 1e21), slog.Float64("nan", math.NaN())}},
	{"time", []slog.Attr{slog.Time("at", time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC))}},
	{"any", []slog.Attr{slog.Any("nil", nil), slog.Any("err", errors.New("it\nbroke")), slog.Any("map", map[string]int{"<b>": 1})}},
	{"valuer", []slog.Attr{slog.Any("v", valuer{slog.StringValue("v")}), slog.Any("g", valuer{slog.GroupValue(slog.Int("a", 1))})}},
	{"group", []slog.Attr{slog.Group("g", slog.Int("a", 1), slog.Group("empty")), slog.Int("b", 2)}},
	{"no key", []slog.Attr{{}, slog.Int("", 1), slog.Group("", slog.Int("in", 1))}},
	{"quote\"", []slog.Attr{slog.String("back\\slash", "\x00\x1f\x7f"), slog.String("é", "\u2028\xff")}},
}

// What is written is what a slog.JSONHandler writes.
func TestAsJSONHandler(t *testing.T) {
	derive := map[string]func(slog.Handler) slog.Handler{
		"plain": func(h slog.Handler) slog.Handler { return h },
		"attrs": func(h slog.Handler) slog.Handler {
			h = h.WithAttrs([]slog.Attr{slog.String("remote", "10.0.0.1:1"), slog.Group("identity", slog.String("cn", "a"))})
			more := h.WithAttrs([]slog.Attr{slog.Any("more", "\n")})
			_ = h.WithAttrs([]slog.Attr{slog.Int("another", 1)}) // which does not concern it
			return more
		},
		"empty": func(h slog.Handler) slog.Handler {
			return h.WithAttrs([]slog.Attr{slog.Group("g", slog.Group("in")), slog.Any("v", valuer{slog.GroupValue(slog.Attr{})}), slog.Int("a", 1)})
		},
		"none":  func(h slog.Handler) slog.Handler { return h.WithAttrs(nil).WithAttrs([]slog.Attr{{}}) },
		"group": func(h slog.Handler) slog.Handler { return h.WithGroup("g").WithAttrs([]slog.Attr{slog.Int("a", 1)}) },
		"both":  func(h slog.Handler) slog.Handler { return h.WithAttrs([]slog.Attr{slog.Int("a", 1)}).WithGroup("g") },
	}
	times := []time.Time{
		{}, time.Now(), time.Date(2026, 11, 26, 8, 0, 0, 0, time.UTC), time.Date(2026, 11, 26, 8, 0, 0, 120, time.FixedZone("", 7200)).Add(2 * time.Hour), time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(2026, 1, 1, 0, 0, 0, 1000, time.FixedZone("", -3600)),
	}
	for name, derive := range derive {
		t.Run(name, func(t *testing.T) {
			var got, want bytes.Buffer
			ours := accesslog.New(&got, nil)
			oracle := derive(slog.NewJSONHandler(&want, nil))
			derived := derive(ours)
			for _, at := range times {
				for _, level := range []slog.Level{slog.LevelInfo, slog.LevelWarn, slog.LevelError + 3} {
					for _, c := range records {
						r := slog.NewRecord(at, level, c.message, 0)
						r.AddAttrs(c.attrs...)
						require.NoError(t, oracle.Handle(t.Context(), r))
						require.NoError(t, derived.Handle(t.Context(), r))
						if h, ok := derived.(*accesslog.Handler); ok {
							require.NoError(t, oracle.Handle(t.Context(), r))
							require.NoError(t, h.HandleMembers(at, level, c.message, text(jsonline.AppendAttrs(nil, c.attrs))))
						}
						require.NoError(t, ours.Flush())
						require.Equal(t, want.String(), got.String())
						want.Reset()
						got.Reset()
					}
				}
			}
		})
	}
}

// Each byte, at each place of a string of each length.
func TestStrings(t *testing.T) {
	var got, want bytes.Buffer
	ours, oracle := accesslog.New(&got, nil), slog.NewJSONHandler(&want, nil)
	for n := 1; n <= 25; n++ {
		for at := range n {
			for c := range 256 {
				text := []byte(strings.Repeat("x", n))
				text[at] = byte(c)
				r := slog.Record{}
				r.AddAttrs(slog.String("a", string(text)))
				require.NoError(t, oracle.Handle(t.Context(), r))
				require.NoError(t, ours.Handle(t.Context(), r))
			}
		}
	}
	require.NoError(t, ours.Flush())
	require.True(t, bytes.Equal(want.Bytes(), got.Bytes()))
}

func FuzzAsJSONHandler(f *testing.F) {
	f.Add("request", "path", "/a", "12345678")
	f.Add("", "a", "12345678\"", "\\")
	f.Add("123456789", "", "\x7f", "é\u2029")
	f.Fuzz(func(t *testing.T, message, key, value, other string) {
		var got, want bytes.Buffer
		r := slog.NewRecord(time.Time{}, slog.LevelWarn, message, 0)
		r.AddAttrs(slog.String(key, value), slog.String("other", other))
		with := []slog.Attr{slog.String(other, key)}
		require.NoError(t, slog.NewJSONHandler(&want, nil).WithAttrs(with).Handle(t.Context(), r))
		require.NoError(t, accesslog.New(&got, nil).WithAttrs(with).Handle(t.Context(), r))
		require.Equal(t, want.String(), got.String())
	})
}

// Handlers that are derived from one have nothing to do with each other.
func TestSiblings(t *testing.T) {
	var got bytes.Buffer
	h := accesslog.New(&got, nil)
	for n := range 64 {
		parent := h.WithAttrs([]slog.Attr{slog.String("parent", strings.Repeat("x", n))})
		one := parent.WithAttrs([]slog.Attr{slog.Int("one", 1)})
		_ = parent.WithAttrs([]slog.Attr{slog.Int("two", 2)})
		require.NoError(t, one.Handle(t.Context(), slog.Record{}))
	}
	require.NoError(t, h.Flush())
	require.Equal(t, 64, strings.Count(got.String(), `,"one":1}`))
}

func TestLevels(t *testing.T) {
	var out bytes.Buffer
	var least slog.LevelVar
	log := slog.New(accesslog.New(&out, &accesslog.Options{Level: &least, AtOnce: slog.LevelDebug}))
	lines := func() int { n := bytes.Count(out.Bytes(), []byte("\n")); out.Reset(); return n }
	for _, with := range []*slog.Logger{log, log.With("a", 1), log.WithGroup("g")} {
		least.Set(slog.LevelInfo)
		with.Debug("no")
		require.Zero(t, lines())
		with.Info("yes")
		with.Info("yes", "time", time.Now())
		require.Equal(t, 2, lines())
		least.Set(slog.LevelError)
		with.Warn("no")
		require.Zero(t, lines())
	}
}

// counted counts the calls of Write, and what was written.
type counted struct {
	calls   atomic.Int32
	longest int
	bytes.Buffer
	err error
}

func (c *counted) Write(p []byte) (int, error) {
	c.calls.Add(1)
	c.longest = max(c.longest, len(p))
	if c.err != nil {
		return 0, c.err
	}
	return c.Buffer.Write(p)
}

// Records are kept back for a second, for as long as there is room, and no longer than the
// next failure.
func TestCollects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out counted
		h := accesslog.New(&out, &accesslog.Options{Size: 1000})
		log := slog.New(h)
		for range 3 { // the timer is used again
			out.calls.Store(0)
			log.Info("first")
			time.Sleep(900 * time.Millisecond)
			log.Info("second")
			log.Info("third", "any", []int{1})
			require.Zero(t, out.calls.Load())
			time.Sleep(100*time.Millisecond + 1)
			synctest.Wait()
			require.EqualValues(t, 1, out.calls.Load())
			time.Sleep(time.Minute)
			require.EqualValues(t, 1, out.calls.Load())
		}
		require.Equal(t, 9, strings.Count(out.String(), "\n"))

		for i, failure := range []func(){
			func() { log.Warn("failure") },
			func() { log.Warn("failure", "any", []int{1}) },
			func() { log.WithGroup("g").Error("failure", "a", 1) },
			func() { require.NoError(t, h.Flush()) },
		} {
			out.calls.Store(0)
			log.Info("before")
			failure()
			require.EqualValues(t, 1, out.calls.Load(), i)
			time.Sleep(time.Minute)
			require.EqualValues(t, 1, out.calls.Load(), i)
		}

		log.Info("first")
		time.Sleep(700 * time.Millisecond)
		log.Warn("failure")
		out.calls.Store(0)
		log.Info("before")
		time.Sleep(700 * time.Millisecond)
		require.Zero(t, out.calls.Load(), "the first is long gone")
		require.NoError(t, h.Flush())

		out.calls.Store(0)
		out.Reset()
		for range 100 {
			log.Info("many")
		}
		require.NoError(t, h.Flush())
		require.LessOrEqual(t, out.longest, 1000)
		perWrite := 1000 / len(`{"time":"2000-01-01T00:05:03.000000001Z","level":"INFO","msg":"many"}`+"\n")
		require.InDelta(t, 100/perWrite, out.calls.Load(), 2)
		log.Info(strings.Repeat("x", 5000)) // is written whole
		require.True(t, strings.HasSuffix(out.String(), `x"}`+"\n"))

		log.Info("last")
		require.NoError(t, h.Close())
		require.Contains(t, out.String(), "last")
		log.Info("later")
		require.Contains(t, out.String(), "later")
		require.NoError(t, h.Close())
	})
}

// Records that are formatted later come out in their order, among those that are not, and wait
// no longer than they do.
func TestMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out counted
		h := accesslog.New(&out, nil)
		n := 0
		next := func() text { n++; return text(fmt.Sprintf(`,"n":%d`, n)) }
		later := func() { require.NoError(t, h.HandleMembers(time.Now(), slog.LevelInfo, "later", next())) }
		plain := func() { slog.New(h).Info("plain", "n", func() int { n++; return n }()) }
		whole := func() { slog.New(h).Info("whole", "any", []int{1}, "n", func() int { n++; return n }()) }
		for range 300 { // and some for the next batch
			later()
		}
		for range 30 {
			for _, add := range []func(){later, plain, later, later, whole, plain, whole, later} {
				add()
			}
		}
		require.Zero(t, out.calls.Load())
		time.Sleep(time.Second + 1)
		synctest.Wait()
		require.EqualValues(t, 1, out.calls.Load())

		for _, write := range []func(){
			func() { require.NoError(t, h.HandleMembers(time.Now(), slog.LevelWarn, "failure", next())) },
			func() { n++; slog.New(h).Warn("failure", "n", n) },
			func() { n++; slog.New(h).Warn("failure", "any", []int{1}, "n", n) },
			func() { require.NoError(t, h.Flush()) },
			func() { time.Sleep(time.Second + 1); synctest.Wait() },
			func() { require.NoError(t, h.Close()) },
		} {
			out.calls.Store(0)
			later()
			require.Zero(t, out.calls.Load())
			write()
			require.EqualValues(t, 1, out.calls.Load())
			time.Sleep(time.Minute)
			require.EqualValues(t, 1, out.calls.Load())
		}
		later() // after Close
		require.EqualValues(t, 2, out.calls.Load())

		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		require.Len(t, lines, n)
		for i, line := range lines {
			var got struct{ N int }
			require.NoError(t, json.Unmarshal([]byte(line), &got), line)
			require.Equal(t, i+1, got.N)
		}
	})
}

// How many bytes there are before they are written, and that lines are written whole, holds for
// them too.
func TestMembersSize(t *testing.T) {
	const line = len(`{"level":"INFO","msg":"","n":"xxxxxxxx"}` + "\n")
	for _, size := range []int{1, line, 10*line + 3, 2000, 5000} {
		var out counted
		h := accesslog.New(&out, &accesslog.Options{Size: size, Interval: time.Hour})
		kept := max(1, size/1024) // that are not formatted yet
		for n := 1; n <= 500; n++ {
			require.NoError(t, h.HandleMembers(time.Time{}, slog.LevelInfo, "", text(`,"n":"xxxxxxxx"`)))
			require.LessOrEqual(t, n*line-out.Len(), size+kept*line)
			require.Zero(t, out.Len()%line)
		}
		require.LessOrEqual(t, out.longest, max(size, line))
		require.NoError(t, h.Close())
		require.Equal(t, 500*line, out.Len())
	}
}

// Members that panic cost themselves, and nothing else.
func TestMembersPanic(t *testing.T) {
	var out counted
	h := accesslog.New(&out, nil)
	for i := range 20 {
		var m accesslog.Members = text(fmt.Sprintf(`,"n":%d`, i))
		if i%5 == 0 || i%5 == 1 {
			m = broken{}
		}
		require.NoError(t, h.HandleMembers(time.Time{}, slog.LevelInfo, "", m))
	}
	require.EqualError(t, h.Flush(), "accesslog: the members of a record panicked: a fault")
	require.NoError(t, h.Flush())
	var want strings.Builder
	for i := range 20 {
		if i%5 > 1 {
			fmt.Fprintf(&want, `{"level":"INFO","msg":"","n":%d}`+"\n", i)
		}
	}
	require.Equal(t, want.String(), out.String())
}

// Neither members nor a writer that end their goroutine keep others from logging.
func TestGoexit(t *testing.T) {
	var out counted
	h := accesslog.New(&out, &accesslog.Options{Size: 1})
	gone := func(f func()) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			f()
		}()
		<-done
	}
	gone(func() { _ = h.HandleMembers(time.Time{}, slog.LevelInfo, "", ending{}) })
	gone(func() { _ = h.HandleMembers(time.Time{}, slog.LevelError, "", ending{}) })
	require.NoError(t, h.HandleMembers(time.Time{}, slog.LevelInfo, "", text(`,"n":1`)))
	require.NoError(t, h.Close())
	require.Equal(t, `{"level":"INFO","msg":"","n":1}`+"\n", out.String())

	h = accesslog.New(ending{}, &accesslog.Options{Size: 1})
	gone(func() { _ = h.HandleMembers(time.Time{}, slog.LevelInfo, "", text("")) })
	gone(func() { _ = h.Handle(t.Context(), slog.Record{}) })
	gone(func() { _ = h.Flush() })
	gone(func() { _ = h.Close() })
}

type ending struct{}

func (ending) Write([]byte) (int, error) { runtime.Goexit(); return 0, nil }

func (ending) AppendJSON(b []byte) []byte { runtime.Goexit(); return b }

// A size as large as can be is no limit.
func TestLargestSize(t *testing.T) {
	var out bytes.Buffer
	h := accesslog.New(&out, &accesslog.Options{Size: math.MaxInt, Interval: time.Hour})
	long := strings.Repeat("x", 100<<10)
	for range 3 {
		slog.New(h).Info(long)
	}
	require.Zero(t, out.Len())
	require.NoError(t, h.Close())
	require.Equal(t, 3, strings.Count(out.String(), long))
}

// What a writer says of its troubles is said to the next who logs, and to the next who flushes,
// and it is asked again.
func TestErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := errors.New("no space left")
		out := counted{err: full}
		h := accesslog.New(&out, nil)
		info := slog.NewRecord(time.Now(), slog.LevelInfo, "lost", 0)
		failure := slog.NewRecord(time.Now(), slog.LevelError, "failure", 0)
		later := func(level slog.Level) error { return h.HandleMembers(time.Now(), level, "lost", text("")) }
		whole := info.Clone()
		whole.Add("any", []int{1})

		require.ErrorIs(t, h.Handle(t.Context(), failure), full)
		require.ErrorIs(t, later(slog.LevelError), full)
		require.ErrorIs(t, h.Flush(), full)

		require.NoError(t, later(slog.LevelInfo))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		out.err = nil
		require.ErrorIs(t, later(slog.LevelInfo), full) // to a gateway, which tells nobody
		require.ErrorIs(t, h.Flush(), full)
		require.NoError(t, h.Flush())
		out.err = full
		for _, next := range []func() error{
			func() error { return h.Handle(t.Context(), info) },
			func() error { return h.Handle(t.Context(), whole) },
			func() error { return later(slog.LevelInfo) },
			h.Flush, h.Close,
		} {
			require.NoError(t, h.Flush())
			require.NoError(t, h.Handle(t.Context(), info))
			time.Sleep(2 * time.Second)
			synctest.Wait()
			require.ErrorIs(t, next(), full)
			out.err = nil
			_ = h.Flush() // of what next has logged, too
			require.NoError(t, h.Flush())
			require.NoError(t, h.Handle(t.Context(), info))
			require.NoError(t, h.Flush())
			out.err = full
		}
		out.err = nil
		require.NoError(t, h.Close())
		require.NotContains(t, out.String(), "failure")
	})
}

// A writer that panics is one that fails, also where nobody waits for it.
func TestWriterPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := accesslog.New(broken{}, nil)
		failure := slog.NewRecord(time.Now(), slog.LevelError, "failure", 0)
		require.EqualError(t, h.Handle(t.Context(), failure), "accesslog: the writer panicked: a fault")
		require.NoError(t, h.Handle(t.Context(), slog.NewRecord(time.Now(), slog.LevelInfo, "lost", 0)))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.EqualError(t, h.Close(), "accesslog: the writer panicked: a fault")
	})
}

type broken struct{}

func (broken) Write([]byte) (int, error) { panic("a fault") }

func (broken) AppendJSON(b []byte) []byte { panic("a fault") }

// Lines stay whole, whoever logs meanwhile.
func TestTogether(t *testing.T) {
	var out bytes.Buffer
	h := accesslog.New(&out, &accesslog.Options{Size: 500, Interval: time.Millisecond})
	var wg sync.WaitGroup
	for i := range 8 {
		log := slog.New(h).With("i", i)
		wg.Go(func() {
			for n := range 200 {
				log.Info("request", "n", n)
				log.Info("request", "n", []int{n})
				_ = h.HandleMembers(time.Now(), slog.LevelInfo, "request", text(`,"n":1`))
				if n%50 == 0 {
					_ = h.Flush()
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, h.Close())
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 8*200*3)
	for _, line := range lines {
		require.True(t, json.Valid([]byte(line)), line)
	}
}

func TestAllocatesNothing(t *testing.T) {
	h := accesslog.New(io.Discard, nil).WithAttrs([]slog.Attr{slog.String("remote", "10.0.0.1:1")}).(*accesslog.Handler)
	var members accesslog.Members = text(`,"path":"/a","status":200`)
	r := slog.NewRecord(time.Now(), slog.LevelInfo, "request", 0)
	r.AddAttrs(slog.String("path", "/a"), slog.Int("status", 200), slog.Duration("took", time.Second))
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		_ = h.HandleMembers(r.Time, slog.LevelInfo, "request", members)
		_ = h.Handle(context.Background(), r)
	}))
}
