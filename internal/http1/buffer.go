package http1

import "sync"

// An input is what was read from a connection and not used yet, with the head that
// was found in it. A connection has one during an exchange only.
type input struct {
	buf   []byte
	floor int // buf[:floor] stays where it is: a server needs the head to the end
	r, w  int // buf[r:w] is not used yet

	request RequestHead // on a server's connection
	head    Response    // on a client's
	trailer Section
}

const (
	inputSize     = 4 << 10
	keptInputSize = 16 << 10 // a buffer that has grown beyond it is not kept
	keptFields    = 256
)

var inputs = sync.Pool{New: func() any {
	in := &input{buf: make([]byte, inputSize)}
	in.request.in, in.head.in, in.trailer.in = in, in, in
	return in
}}

func (in *input) release() {
	if len(in.buf) > keptInputSize || max(cap(in.head.fields), cap(in.request.fields), cap(in.trailer.fields)) > keptFields {
		return
	}
	in.floor, in.r, in.w = 0, 0, 0
	in.head.reset()
	in.request.reset()
	in.trailer = in.trailer.emptied()
	inputs.Put(in)
}

// buffered returns what is not used yet. The input may be nil.
func (in *input) buffered() []byte {
	if in == nil {
		return nil
	}
	return in.buf[in.r:in.w]
}

// compact makes what is not used yet begin at the floor.
func (in *input) compact() {
	if in.r > in.floor {
		in.w = in.floor + copy(in.buf[in.floor:], in.buf[in.r:in.w])
		in.r = in.floor
	}
}

// space returns where to read to. The buffer grows if it is full, or a head that is kept in
// it leaves little for what follows, which would be read in small pieces.
func (in *input) space() []byte {
	if in.w == len(in.buf) || in.floor > 0 && len(in.buf)-in.floor < inputSize/4 {
		grown := make([]byte, 2*len(in.buf))
		copy(grown, in.buf[:in.w])
		in.buf = grown
	}
	return in.buf[in.w:]
}

const outputSize = 64 << 10

var outputs = sync.Pool{New: func() any {
	b := make([]byte, 0, outputSize+recordRoom)
	return &b
}}

// LargeWrite is how many bytes at most of a [*Conn.Write] go out in one, over TLS.
const LargeWrite = 256 << 10

var largeOutputs = sync.Pool{New: func() any {
	b := make([]byte, 0, LargeWrite+recordRoom)
	return &b
}}

// recordRoom is for what TLS adds to that many bytes: for each record, which may be
// as small as a packet, a header, a nonce and a tag.
const recordRoom = 8 << 10
