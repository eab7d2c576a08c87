package upstream

import (
	"cmp"
	"hash/crc32"
	"math/bits"
	"net/http"
	"slices"
	"strings"
)

// Consistent hashing puts points of each node on a ring of all 32-bit numbers, and a
// key goes to the node of the first point at or after its hash. The points are those
// of APISIX (lua-resty-chash) and of nginx's "hash ... consistent", to the bit, so
// that a fleet can be moved over node by node and caches stay warm.
//
// A node that cannot be used keeps its points, and they are passed over: its keys go
// to the nodes of the next points, which are many and not one neighbour, and come
// back when it does.

// pointsPerWeight is how many points a node has for each unit of its weight.
const pointsPerWeight = 160

// maxRingWeight bounds the points of an upstream: 20 MiB.
const maxRingWeight = 1 << 14

// chash is the balancer of a level.
type chash struct {
	ring *ring
	key  *hashKey
}

func (h *chash) Pick(req *http.Request, c *Candidates) int {
	if !c.hashed {
		c.hash, c.hashed = h.key.hash(req, c.vars), true
	}
	points := h.ring.points
	at := h.ring.find(c.hash)
	for range points {
		if i := points[at].node(); c.Usable(i) {
			return i
		}
		if at++; at == len(points) {
			at = 0
		}
	}
	return -1
}

// A ring never changes.
type ring struct {
	points []point // sorted
	starts []int32 // by the first bits of a hash: where its points begin
	shift  int     // what is left of a hash are these bits
}

// A point is a hash in the upper half and the index of a node in the lower.
type point uint64

func (p point) hash() uint32 { return uint32(p >> 32) }
func (p point) node() int    { return int(uint32(p)) }

// newRing makes the ring of a level. Of two points with the same hash, the one of
// the node whose address is less comes first: the order of Config.Nodes does not
// matter.
func newRing(l *level, targets []target) *ring {
	weights, sum := reduce(l.weights)
	byAddress := make([]int, len(l.nodes))
	for k := range byAddress {
		byAddress[k] = k
	}
	slices.SortFunc(byAddress, func(a, b int) int {
		return cmp.Compare(targets[l.nodes[a]].address, targets[l.nodes[b]].address)
	})

	r := &ring{points: make([]point, 0, sum*pointsPerWeight)}
	for _, k := range byAddress {
		i := l.nodes[k]
		id := crcString(0, strings.ReplaceAll(targets[i].address, ":", "\x00"))
		hash := uint32(0)
		for range weights[k] * pointsPerWeight {
			hash = crcNumber(id, hash)
			r.points = append(r.points, point(hash)<<32|point(i))
		}
	}
	r.points = sortPoints(r.points)

	n := bits.Len(uint(len(r.points))) // about one point for each start
	r.shift = 32 - n
	r.starts = make([]int32, 1<<n)
	at := 0
	for prefix := range r.starts {
		for at < len(r.points) && r.points[at].hash()>>r.shift < uint32(prefix) {
			at++
		}
		r.starts[prefix] = int32(at)
	}
	return r
}

// find returns the index of the first point that is not before hash.
func (r *ring) find(hash uint32) int {
	at := int(r.starts[hash>>r.shift])
	for at < len(r.points) && r.points[at].hash() < hash {
		at++
	}
	if at == len(r.points) {
		return 0
	}
	return at
}

// sortPoints sorts by hash and keeps the order of equal ones: a radix sort, which for
// the 160 000 points of 1 000 nodes is several times as fast as [slices.Sort]
// (BenchmarkRing).
func sortPoints(points []point) []point {
	const digit = 11 // bits: three digits are 33
	other := make([]point, len(points))
	for shift := 32; shift < 64; shift += digit {
		var ends [1 << digit]int
		for _, p := range points {
			ends[p>>shift&(1<<digit-1)]++
		}
		sum := 0
		for i, n := range ends {
			ends[i] = sum
			sum += n
		}
		for _, p := range points {
			end := &ends[p>>shift&(1<<digit-1)]
			other[*end] = p
			*end++
		}
		points, other = other, points
	}
	return points
}

// crcString continues a checksum. The hash of package crc32 is faster on long
// strings, but takes a []byte that escapes.
func crcString(sum uint32, s string) uint32 {
	sum = ^sum
	for i := range len(s) {
		sum = crc32.IEEETable[byte(sum)^s[i]] ^ sum>>8
	}
	return ^sum
}

// crcNumber continues a checksum with the four bytes of a number, the lowest first.
func crcNumber(sum, n uint32) uint32 {
	sum = ^sum ^ n // four steps of crcString at once would xor in just these
	for range 4 {
		sum = crc32.IEEETable[byte(sum)] ^ sum>>8
	}
	return ^sum
}
