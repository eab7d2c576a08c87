package h2

import (
	"slices"
	"time"
)

// A budget bounds what a client can have the server do for nothing. What gets done
// refills it, and so does time. Its owner's mutex guards it.
//
// It is for the floods that have been found in servers of HTTP/2: of PING, SETTINGS, empty
// DATA, and WINDOW_UPDATE frames (CVE-2019-9512, 9515, 9518, 9511), of requests that are
// taken back (CVE-2023-44487) or that the server is made to take back (CVE-2025-8671), and
// of CONTINUATION frames (CVE-2023-45288).
type budget struct {
	frames, resets     int // that are left
	maxResets          int
	framesAt, resetsAt time.Time // when time refilled them
}

const (
	// maxFrames is how many frames may come in a row that get nothing done. A client that
	// downloads sends two WINDOW_UPDATE frames for each DATA frame at most, and gRPC's a PING as
	// well.
	maxFrames      = 1000
	framesPerFrame = 4 // that a frame which gets something done makes up for

	framesPerSecond = 100
	resetsPerSecond = 10
)

func (b *budget) init(now time.Time, streams int) {
	b.maxResets = 100 + 2*streams
	b.frames, b.resets = maxFrames, b.maxResets
	b.framesAt, b.resetsAt = now, now
}

// frame takes a frame off, and reports false if there is none left.
func (b *budget) frame() bool { return spend(&b.frames, maxFrames, &b.framesAt, framesPerSecond) }

// reset takes a request off that was taken back.
func (b *budget) reset() bool { return spend(&b.resets, b.maxResets, &b.resetsAt, resetsPerSecond) }

// spend takes one of what is left. Only if nothing is, the time is looked at.
func spend(left *int, limit int, at *time.Time, perSecond float64) bool {
	if *left == 0 {
		now := time.Now()
		n := int(now.Sub(*at).Seconds() * perSecond)
		if n <= 0 {
			return false
		}
		*left, *at = min(n, limit), now
	}
	*left--
	return true
}

// useful takes note of a frame that gets something done.
func (b *budget) useful() { b.frames = min(b.frames+framesPerFrame, maxFrames) }

// answered takes note of a request that came to its end.
func (b *budget) answered() { b.resets = min(b.resets+1, b.maxResets) }

// A recent remembers the streams that were over last. Those that are torn, which the server
// has ended while the client was still sending, are apart: something may still be on its way
// on them, and however many others end meanwhile, that is no fault of the client's.
type recent struct{ whole, torn ring }

// add adds a stream. It returns the one that is forgotten for it if that is torn, or zero.
func (r *recent) add(id uint32, torn bool) (forgotten uint32) {
	if torn {
		return r.torn.add(id)
	}
	r.whole.add(id)
	return 0
}

// A ring has the last streams that were added to it.
type ring struct {
	ids [64]uint32
	at  int
}

// add adds a stream, and returns the one that is forgotten for it, or zero.
func (r *ring) add(id uint32) (forgotten uint32) {
	forgotten, r.ids[r.at] = r.ids[r.at], id
	r.at = (r.at + 1) % len(r.ids)
	return forgotten
}

// last returns the last of the streams by number, or zero.
func (r *ring) last() uint32 { return slices.Max(r.ids[:]) }

func (r *ring) has(id uint32) bool { return slices.Contains(r.ids[:], id) }
