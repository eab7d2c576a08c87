package h2

import (
	"bytes"
	"strconv"
	"sync"
	"unsafe"

	"golang.org/x/net/http2/hpack"
)

// A Block holds the fields of a head, or of a trailer, in HPACK. It does not use the table
// that the two sides could share: an entry would cost memory on each connection and a
// search for each field, and save only a few bytes of an answer. So a block can be made
// without a lock, even while others are.
type Block struct {
	b       []byte
	enc     *hpack.Encoder
	scratch []byte // a name
	number  []byte
	known   [knowns]known
}

var blocks = sync.Pool{New: func() any {
	b := new(Block)
	b.enc = hpack.NewEncoder(b)
	b.enc.SetMaxDynamicTableSize(0)
	b.encode(":status", "200") // after the word that the table is empty, which a connection says for itself
	return b
}}

// maxKeptBlock is the size of a block beyond which it is not kept.
const maxKeptBlock = 16 << 10

// NewBlock returns an empty block, which must be given back by Release.
func NewBlock() *Block {
	b := blocks.Get().(*Block)
	b.b = b.b[:0]
	return b
}

// Release gives the block back.
func (b *Block) Release() {
	if cap(b.b) <= maxKeptBlock {
		blocks.Put(b)
	}
}

// Write is for the encoder.
func (b *Block) Write(p []byte) (int, error) {
	b.b = append(b.b, p...)
	return len(p), nil
}

// Status adds the status, which comes first.
func (b *Block) Status(status int) { b.AddInt(":status", int64(status)) }

// Add adds a field, whose name may be in any spelling.
func (b *Block) Add(name, value string) {
	if len(name) == 0 || len(name)+len(value) > maxKnown {
		b.add(name, value)
		return
	}
	k := &b.known[(uint(len(value))+uint(name[0]|0x20)+uint(name[len(name)-1])*3)%knowns]
	if k.name == name && k.value == value {
		b.b = append(b.b, k.code...)
		return
	}
	from := len(b.b)
	b.add(name, value)
	k.text = append(append(k.text[:0], name...), value...)
	k.name, k.value = view(k.text[:len(name)]), view(k.text[len(name):])
	k.code = append(k.code[:0], b.b[from:]...)
}

// A known is a field whose code is known, because it was encoded before: answers are alike.
type known struct {
	name, value string // parts of text
	text, code  []byte
}

const (
	knowns   = 16
	maxKnown = 128
)

// AddInt adds a field with a number.
func (b *Block) AddInt(name string, n int64) {
	b.number = strconv.AppendInt(b.number[:0], n, 10)
	b.Add(name, view(b.number))
}

// add is Add for what is not known.
func (b *Block) add(name, value string) {
	b.scratch = b.scratch[:0]
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		b.scratch = append(b.scratch, c)
	}
	b.encode(view(b.scratch), value)
}

// encode lets the encoder have strings that it does not keep.
func (b *Block) encode(name, value string) {
	_ = b.enc.WriteField(hpack.HeaderField{Name: name, Value: value})
}

func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// Empty reports whether nothing was added.
func (b *Block) Empty() bool { return len(b.b) == 0 }

// emptyTable is what a block begins with that says that the table is empty.
var emptyTable = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	enc.SetMaxDynamicTableSize(0)
	field := hpack.HeaderField{Name: ":status", Value: "200"} // one byte, of the static table
	_ = enc.WriteField(field)
	return b.Bytes()[: b.Len()-1 : b.Len()-1]
})
