package h2_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sallyport/sallyport/internal/h2"
)

func TestPriorityValues(t *testing.T) {
	for value, want := range map[string]string{
		"": "3 false", "u=0": "0 false", "u=7": "7 false", "i": "3 true", "u=1, i": "1 true", "i,u=5": "5 true",
		"i=?1": "3 true", "i=?0": "3 false", "i, i=?0": "3 false", "u=2,u=4": "4 false", "u=1;x=y, i;z": "1 true",
		"  u=6\t": "6 false", "u=8": "3 false", "u=-1": "3 false", "u=10": "3 false", "u": "3 false", "u=": "3 false",
		"u=\"1\"": "3 false", "x=u=1": "3 false", "U=1": "3 false", ",,,": "3 false", "i=1": "3 false", "unknown, u=1": "1 false",
	} {
		urgency, incremental := h2.Priority(value)
		require.Equal(t, want, fmt.Sprint(urgency, incremental), value)
	}
}

// A slowSchedule is the obvious one: it looks at all.
type slowSchedule struct {
	waiting []*slowStream // in the order in which they were added, or had their turns
	stalled []*slowStream
}

type slowStream struct {
	id          uint32
	urgency     int
	incremental bool
}

func (s *slowSchedule) take(id uint32) *slowStream {
	for _, list := range []*[]*slowStream{&s.waiting, &s.stalled} {
		for i, st := range *list {
			if st.id == id {
				*list = slices.Delete(*list, i, i+1)
				return st
			}
		}
	}
	return nil
}

func (s *slowSchedule) next() uint32 {
	var best *slowStream
	for _, st := range s.waiting {
		switch {
		case best == nil, st.urgency < best.urgency:
			best = st
		case st.urgency > best.urgency:
		case best.incremental && !st.incremental:
			best = st
		case !best.incremental && !st.incremental && st.id < best.id:
			best = st
		}
	}
	if best == nil {
		return 0
	}
	s.waiting = append(s.waiting, s.take(best.id))
	return best.id
}

// The schedule does what the slow one does.
func TestScheduleOracle(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var fast h2.Schedule
		var slow slowSchedule
		lastID := uint32(0)
		var log []string
		for range 300 {
			all := slices.Concat(slow.waiting, slow.stalled)
			switch op := r.IntN(10); {
			case op < 3:
				lastID++
				id := lastID
				urgency, incremental := r.IntN(8), r.IntN(2) == 0
				priority := fmt.Sprint("u=", urgency)
				if incremental {
					priority += ",i"
				}
				fast.Add(id, priority)
				slow.waiting = append(slow.waiting, &slowStream{id, urgency, incremental})
				log = append(log, fmt.Sprint("add ", id, " ", priority))
			case op == 3 && len(all) > 0: // again, which is nothing
				fast.Add(all[r.IntN(len(all))].id, "")
			case op == 4 && len(all) > 0:
				id := all[r.IntN(len(all))].id
				fast.Remove(id)
				slow.take(id)
				log = append(log, fmt.Sprint("remove ", id))
			case op == 5 && len(slow.waiting) > 0:
				id := slow.waiting[r.IntN(len(slow.waiting))].id
				fast.Stall(id)
				slow.stalled = append(slow.stalled, slow.take(id))
				log = append(log, fmt.Sprint("stall ", id))
			case op == 6 && r.IntN(3) == 0:
				fast.Resume()
				slow.waiting = append(slow.waiting, slow.stalled...)
				slow.stalled = nil
				log = append(log, "resume")
			default:
				want := slow.next()
				log = append(log, fmt.Sprint("next is ", want))
				require.Equal(t, want, fast.Next(), "seed %d:\n%s", seed, strings.Join(log, "\n"))
			}
		}
	}
}

// order tells in which order bodies of streams come: where a frame is of another than the one
// before.
func order(frames []string) (s string) {
	for _, text := range frames {
		var id int
		if n, _ := fmt.Sscanf(text, "DATA %d", &id); n == 1 {
			if next := string(rune('a' + id/2 - 1)); !strings.HasSuffix(s, next) {
				s += next
			}
		}
	}
	return s
}

// The frames of answers go out by the priorities of their requests.
func TestOrderOfAnswers(t *testing.T) {
	const size = 5 << 14
	for name, c := range map[string]struct {
		priorities []string // of the streams a, b, c, ...; "-" says nothing
		update     func(p *peer)
		want       string
	}{
		"nobody knows of priorities":     {[]string{"-", "-", "-"}, nil, "abcabc"},
		"by request":                     {[]string{"u=3", "u=3", "u=3"}, nil, "abc"},
		"the urgent first":               {[]string{"u=5", "u=0", "u=3"}, nil, "bca"},
		"incremental ones share":         {[]string{"i", "i", "i"}, nil, "abcabc"},
		"the whole before the parts":     {[]string{"u=3,i", "u=3", "u=3,i"}, nil, "bacac"},
		"the urgent, though incremental": {[]string{"u=1,i", "u=2", "u=1,i"}, nil, "acac"},
		"some say nothing":               {[]string{"u=4", "-", "u=2"}, nil, "cba"},
		"an update":                      {[]string{"u=3", "u=3", "u=3"}, func(p *peer) { p.ok(p.WritePriorityUpdate(7, "u=0")) }, "cab"},
		"an update downwards":            {[]string{"u=3", "u=3", "u=3"}, func(p *peer) { p.ok(p.WritePriorityUpdate(3, "u=7")) }, "bca"},
		"an update of nobody":            {[]string{"u=3", "u=3", "u=3"}, func(p *peer) { p.ok(p.WritePriorityUpdate(99, "u=0")) }, "abc"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p := connect(t, nil, func(st *h2.Stream) {
					if st.Head.Target() == "/first" {
						_ = answer(st, 200, xs(65535)) // which uses up the window of the connection
					} else {
						_ = answer(st, 200, xs(size))
					}
				})
				p.ok(p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20}))
				p.get(1, "/first")
				p.got()
				for i, priority := range c.priorities {
					more := []string{}
					if priority != "-" {
						more = []string{"priority", priority}
					}
					p.get(uint32(2*i+3), "/", more...)
					p.got()
				}
				if c.update != nil {
					c.update(p)
				}
				p.ok(p.WriteWindowUpdate(0, 1<<20))
				got := order(framesOf(p))
				require.True(t, strings.HasPrefix(got, c.want), got)
				p.hangUp()
			})
		})
	}
}

// framesOf are all frames that come by and by.
func framesOf(p *peer) (all []string) {
	for {
		frames := p.got()
		if len(frames) == 0 {
			return all
		}
		all = append(all, frames...)
	}
}

// Answers that are ready together are one write.
func TestAnswersAreOneWrite(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		go1 := make(chan struct{})
		p := connect(t, nil, func(st *h2.Stream) { <-go1; ok(st) })
		p.wantGreeting()
		for i := range uint32(50) {
			p.get(2*i+1, "/")
		}
		synctest.Wait()
		// Somebody writes, and the client takes its time: who has something to say meanwhile
		// says it in the next write, whoever makes it.
		p.wire.down.hold(1)
		p.ok(p.WritePing(false, [8]byte{}))
		synctest.Wait()
		before := p.wire.down.writes
		close(go1)
		synctest.Wait()
		p.wire.down.hold(1 << 30)
		p.wire.down.take(1)
		synctest.Wait()
		require.Equal(t, before+1, p.wire.down.writes)
		p.hangUp()
	})
}

func TestBudget(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := h2.NewBudget(time.Now(), 100)
		frames := 0
		for b.Frame() {
			frames++
		}
		require.Equal(t, 1000, frames)
		time.Sleep(time.Second)
		for frames = 0; b.Frame(); frames++ {
		}
		require.Equal(t, 100, frames)
		b.Useful()
		for frames = 0; b.Frame(); frames++ {
		}
		require.Equal(t, 4, frames)
		time.Sleep(time.Hour)
		for frames = 0; b.Frame(); frames++ {
		}
		require.Equal(t, 1000, frames)

		b = h2.NewBudget(time.Now(), 100)
		resets := 0
		for b.Reset() {
			resets++
		}
		require.Equal(t, 300, resets)
		b.Answered()
		require.True(t, b.Reset())
		require.False(t, b.Reset())
		time.Sleep(time.Hour)
		for resets = 0; b.Reset(); resets++ {
		}
		require.Equal(t, 300, resets)
		for range 1000 {
			b.Answered() // what is saved is bounded
			b.Useful()
		}
		for resets = 0; b.Reset(); resets++ {
		}
		require.Equal(t, 300, resets)
	})
}

// What a block says is what was added, also from the fields that it remembers.
func TestBlocks(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	names := []string{"Server", "server", "Date", "content-type", "X-Y", "x", "Set-Cookie", xs(130), "a-b-c"}
	values := []string{"", "a", "text/html; charset=utf-8", "nginx", "Nginx", xs(127), xs(5000), "\xff\x80", "0", "1"}
	for range 2000 {
		b := h2.NewBlock()
		var want []string
		status := 100 + r.IntN(500)
		b.Status(status)
		want = append(want, fmt.Sprint(":status: ", status))
		for range r.IntN(20) {
			name, value := names[r.IntN(len(names))], values[r.IntN(len(values))]
			if r.IntN(10) == 0 {
				n := r.Int64N(1 << 40)
				b.AddInt("content-length", n)
				name, value = "content-length", fmt.Sprint(n)
			} else {
				memory := []byte(name + value) // which is another's afterwards
				b.Add(string(memory[:len(name)]), string(memory[len(name):]))
				clear(memory)
			}
			want = append(want, strings.ToLower(name)+": "+value)
		}
		// By itself: no table is shared.
		fields, err := hpack.NewDecoder(0, nil).DecodeFull(b.Bytes())
		require.NoError(t, err)
		var got []string
		for _, f := range fields {
			got = append(got, f.Name+": "+f.Value)
		}
		require.Equal(t, want, got)
		b.Release()
	}
}
