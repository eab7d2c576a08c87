package http1

// This file makes the head of a request that did not come as lines: with HTTP/2 it comes as
// a list of fields. It is then as one that was read, and so goes on in the same way: what
// is refused in a line is refused here.

// NewHead returns a RequestHead without fields, of a request with that target for that
// host. The strings are copied. It must be given back by Release, and is valid until then.
func NewHead(method, target, host string) (*RequestHead, error) {
	switch {
	case len(method) > maxMethod:
		return nil, errMethod
	case !ValidName(method) || !validTarget(target) || !validValue(host):
		return nil, errRequestLine
	}
	in := inputs.Get().(*input)
	r := &in.request
	r.Minor = 1
	r.method, r.target, r.host = in.keep(method), in.keep(target), in.keep(host)
	r.hosts = 1
	return r, nil
}

// Release gives a head of NewHead back.
func (r *RequestHead) Release() { r.in.release() }

// keep copies a string into the buffer.
func (in *input) keep(s string) span {
	if len(in.buf)-in.w < len(s) {
		grown := make([]byte, max(2*len(in.buf), in.w+len(s)))
		copy(grown, in.buf[:in.w])
		in.buf = grown
	}
	from := in.w
	in.w += copy(in.buf[in.w:], s)
	return span{uint32(from), uint32(in.w)}
}

// Add adds a field, which is refused where one that was read would be.
func (r *RequestHead) Add(name, value string) error {
	if !ValidName(name) || !validValue(value) {
		return bad("the head of the request is malformed: a field is")
	}
	f := field{r.in.keep(name), r.in.keep(value)}
	r.fields = append(r.fields, f)
	return r.note(r.bytes(f.name), r.bytes(f.value))
}
