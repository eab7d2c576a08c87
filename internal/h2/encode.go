package h2

import (
	"bytes"
	"strconv"
	"sync"
	"unsafe"

	"golang.org/x/net/http2/hpack"
)

// A Block is the fields of a head, or of a trailer, in HPACK. It does without the table
// that the two sides could share: an entry costs memory on each connection and a search
// for each field, and saves few bytes of an answer. So a block can be made without a lock,
// and while others are.
type Block struct {
	b       []byte
	enc     *hpack.Encoder
	scratch []byte
}

var blocks = sync.Pool{New: func() any {
	b := new(Block)
	b.enc = hpack.NewEncoder(b)
	b.enc.SetMaxDynamicTableSize(0)
	b.Status(200) // after the word that the table is empty, which a connection says for itself
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
func (b *Block) Status(status int) {
	b.scratch = strconv.AppendInt(b.scratch[:0], int64(status), 10)
	b.add(":status", view(b.scratch))
}

// Add adds a field, whose name may be in any spelling.
func (b *Block) Add(name, value string) {
	b.scratch = b.scratch[:0]
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		b.scratch = append(b.scratch, c)
	}
	b.add(view(b.scratch), value)
}

// AddInt adds a field with a number.
func (b *Block) AddInt(name string, n int64) {
	b.scratch = strconv.AppendInt(b.scratch[:0], n, 10)
	b.add(name, view(b.scratch))
}

// add lets the encoder have strings that it does not keep.
func (b *Block) add(name, value string) {
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
