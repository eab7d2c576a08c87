package gateway

import (
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"

	"github.com/sallyport/sallyport/internal/buffers"
	"github.com/sallyport/sallyport/internal/h2"
)

// This file is WebSocket over HTTP/2: a stream that a client opens by an extended CONNECT
// (RFC 8441), and that goes on to a node as the upgrade of HTTP/1.1 (RFC 6455).

// asUpgrade makes the request of an extended CONNECT the one that it stands for: a GET that
// asks for an upgrade. Conditions and methods of routes see that.
func (w *streamWriter) asUpgrade(r *http.Request) *http.Request {
	w.connect = true
	r.Method = http.MethodGet
	r.Body, r.ContentLength, r.Trailer = http.NoBody, 0, nil
	return r
}

// connect does with an extended CONNECT what was decided.
func (s *Server) connect(w *streamWriter, r *http.Request, d *decision) {
	match := d.found.Route
	if d.pool == nil || !s.letsWebSocket(d.visit, r, match, w.stream.Protocol == "websocket") {
		s.answer(w, r, http.StatusNotImplemented, "the route has no such protocol") // RFC 9220, section 3
		return
	}
	x := &exchange{
		route:     match,
		pool:      d.pool,
		rawPath:   d.path.Raw,
		vars:      d.vars,
		header:    &d.header,
		visit:     d.visit,
		told:      s.tells(),
		webSocket: true,
	}
	ctx, end := s.beginTunnel(context.WithValue(r.Context(), exchangeKey{}, x), d, false)
	defer end()
	in := r.WithContext(ctx)
	out := in.Clone(ctx)
	for name := range out.Header {
		if concernsOne(name) {
			delete(out.Header, name)
		}
	}
	rewrite(&httputil.ProxyRequest{In: in, Out: out})
	out.Proto, out.ProtoMajor, out.ProtoMinor = "HTTP/1.1", 1, 1
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	key := base64.StdEncoding.EncodeToString(nonce[:])
	out.Header.Set("Connection", "Upgrade")
	out.Header.Set("Upgrade", "websocket")
	out.Header.Set("Sec-WebSocket-Key", key)
	if out.Header.Get("Sec-WebSocket-Version") == "" {
		out.Header.Set("Sec-WebSocket-Version", "13")
	}

	res, err := poolTransport{}.RoundTrip(out)
	if err != nil {
		s.forwardingFailed(w, in, err)
		return
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusSwitchingProtocols {
		s.declined(w, in, res)
		return
	}
	res.Request = out
	node, err := s.switched(res, key)
	if err != nil {
		s.forwardingFailed(w, in, err)
		return
	}
	h := w.Header()
	for name, values := range res.Header {
		if !concernsOne(name) && name != "Sec-Websocket-Accept" {
			h[name] = values
		}
	}
	w.WriteHeader(http.StatusOK)
	if w.FlushError() != nil {
		return
	}
	w.tunnel(ctx, node)
}

// switched returns what goes to and fro after an answer of 101, which must be one to what
// was asked.
func (s *Server) switched(res *http.Response, key string) (io.ReadWriteCloser, error) {
	if err := s.checkAnswer(res); err != nil {
		return nil, err
	}
	const magic = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // RFC 6455, section 4.2.2
	sum := sha1.Sum([]byte(key + magic))
	if res.Header.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]) {
		return nil, errors.New("gateway: the node's Sec-WebSocket-Accept is not the one for the key")
	}
	node, ok := res.Body.(io.ReadWriteCloser)
	if !ok {
		return nil, errors.New("gateway: the upstream's transport does not give the connection of a 101")
	}
	return node, nil
}

// declined passes on an answer other than 101. One that says that all is well would open
// the tunnel.
func (s *Server) declined(w *streamWriter, in *http.Request, res *http.Response) {
	if res.StatusCode < 300 {
		s.forwardingFailed(w, in, fmt.Errorf("gateway: the node has answered a WebSocket handshake with %d", res.StatusCode))
		return
	}
	h := w.Header()
	for name, values := range res.Header {
		if !concernsOne(name) {
			h[name] = values
		}
	}
	if h["Content-Type"] == nil {
		h["Content-Type"] = nil // and not what can be made of the body
	}
	if s.o.ServerHeader != "" {
		h.Set("Server", s.o.ServerHeader)
	}
	w.WriteHeader(res.StatusCode)
	if _, err := io.Copy(w, res.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// tunnel copies both ways until both are at their ends, or ctx is.
func (w *streamWriter) tunnel(ctx context.Context, node io.ReadWriteCloser) {
	st := w.stream
	st.BodyPatience = 0
	st.Tunnel()
	stop := context.AfterFunc(ctx, func() {
		_ = node.Close()
		st.Cancel()
	})
	defer stop()
	up := make(chan struct{})
	go func() {
		defer close(up)
		if !copyUp(node, st) {
			_ = node.Close()
		}
	}()
	w.ended = true
	n, err := copyDown(st, node)
	w.written += n
	w.t.own.sent = w.written
	if err != nil {
		st.Cancel()
	}
	if err != nil || ctx.Err() != nil {
		_ = node.Close()
		st.CloseBody()
	}
	<-up
}

// copyUp copies what the client sends to the node, and its end. It reports false if that
// was not possible.
func copyUp(node io.ReadWriteCloser, st *h2.Stream) bool {
	buffer := buffers.New()
	defer buffer.Release()
	for {
		n, err := st.Read(buffer.B)
		if n > 0 {
			if _, err := node.Write(buffer.B[:n]); err != nil {
				return false
			}
		}
		if err == io.EOF {
			half, ok := node.(interface{ CloseWrite() error })
			return ok && half.CloseWrite() == nil
		}
		if err != nil {
			return false
		}
	}
}

// copyDown copies what the node sends to the client, and its end.
func copyDown(st *h2.Stream, node io.Reader) (sent int64, err error) {
	buffer := buffers.New()
	defer buffer.Release()
	for {
		n, err := node.Read(buffer.B)
		if n > 0 || err == io.EOF {
			if err := st.Send(nil, buffer.B[:n], nil, err == io.EOF); err != nil {
				return sent, err
			}
			sent += int64(n)
		}
		switch {
		case err == io.EOF:
			return sent, nil
		case err != nil:
			return sent, err
		}
	}
}
