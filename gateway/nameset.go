package gateway

import (
	"github.com/sallyport/sallyport/internal/fieldname"
	"github.com/sallyport/sallyport/internal/hamt"
)

// A nameSet is a set of names of header fields that counts how often each was added. It never
// changes: with returns a changed copy, at the same cost however many there are.
type nameSet struct {
	counts hamt.Map[int] // by the folded name

	// Of most names, one look at mask says that they are not in the set: it has the
	// bits of all that are, and perBit how many have each.
	mask   uint64
	perBit [64]int32
}

// with returns the set with delta more of a folded name.
func (n nameSet) with(folded string, delta int) nameSet {
	_, before := n.counts.Get(folded)
	n.counts = addTo(n.counts, folded, delta)
	_, after := n.counts.Get(folded)
	bit := nameBit(folded)
	switch {
	case after && !before:
		n.perBit[bit]++
	case before && !after:
		n.perBit[bit]--
	}
	n.mask &^= 1 << bit
	if n.perBit[bit] > 0 {
		n.mask |= 1 << bit
	}
	return n
}

// has reports whether a name, in any spelling, is in the set. It is asked for each field
// of each request.
func (n *nameSet) has(name string) bool {
	if n.mask == 0 || name == "" || n.mask&(1<<nameBit(name)) == 0 {
		return false
	}
	var few [32]byte // most names have fewer, and cost no allocation
	_, ok := n.counts.Get(string(fieldname.AppendFold(few[:0], name)))
	return ok
}

// nameBit returns a number below 64 that all spellings of a name have.
func nameBit(name string) uint { return (uint(len(name))*5 + uint(fieldname.FoldByte(name[0]))) % 64 }
