package gateway

import (
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/sallyport/sallyport/ssl"
)

// serveLocal lets a handler of the user's answer: with the client's identity in
// the context, what the route's path has captured in PathValue, and a header that
// says of the client what one that goes to a node would say. Nothing else is taken
// from the request: hop-by-hop fields are there, and an Upgrade is the handler's to
// refuse.
func (s *Server) serveLocal(w http.ResponseWriter, r *http.Request, d *decision) {
	ctx := d.visit.event.contextOf(r.Context())
	if d.identity != nil {
		ctx = ssl.NewContext(ctx, d.identity)
	}
	tunnel := w.(tunneller).handlerTunnel()
	ctx, handling := tunnel.handles(ctx, s, d)
	defer tunnel.ended(handling)
	if calls(r) || asksForEvents(r) {
		tunnel.begin()
	}
	if r.ProtoMajor == 1 && len(r.Header["Upgrade"]) > 0 { // whatever else the client asks for
		w = &upgradableWriter{wrapped{w}, s, d}
	}
	r = r.WithContext(ctx)
	r.Header = r.Header.Clone()
	for name, value := range d.found.Params() {
		r.SetPathValue(name, value)
	}
	d.header.applyTo(r.Header)
	if r.Trailer != nil {
		body := &trailerBody{ReadCloser: r.Body, trailer: r.Trailer, header: &d.header}
		body.scrub()
		r.Body = body
	}
	returned := false
	defer func() {
		if v := d.visit; !returned && v.err == nil {
			v.err = errPanicked // which goes on, and ends the connection or the stream
		}
		// net/http removes the files of the form that it knows of, and not those of
		// a copy.
		if r.MultipartForm != nil {
			_ = r.MultipartForm.RemoveAll()
		}
	}()
	if s.o.ServerHeader != "" {
		w.Header().Set("Server", s.o.ServerHeader)
	}
	d.found.Route.Handler().ServeHTTP(w, r)
	returned = true
}

// errPanicked is what is told of a request whose handler panicked. With what is told to
// Options.Logger, which has the stack.
var errPanicked = errors.New("gateway: the handler panicked")

// A trailerBody is a body at whose end a trailer comes, which must not say what a
// header must not.
type trailerBody struct {
	io.ReadCloser
	trailer http.Header
	header  *outgoing

	scrubbing sync.Mutex // held meanwhile: several may come to the end of the body
}

func (b *trailerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.scrub()
	}
	return n, err
}

func (b *trailerBody) scrub() {
	b.scrubbing.Lock()
	defer b.scrubbing.Unlock()
	for name := range b.trailer {
		if b.header.dropsTrailer(name) {
			delete(b.trailer, name)
		}
	}
}
