package upstream

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
)

// wrap makes the answer's body count for the attempt.
func (a *attempt) wrap(resp *http.Response) {
	if resp.Body == http.NoBody {
		a.finish()
		return
	}
	if duplex, ok := resp.Body.(io.ReadWriteCloser); ok && resp.StatusCode == http.StatusSwitchingProtocols {
		t := &tunnel{ReadWriteCloser: duplex, attempt: a}
		// http.Transport lets go of the connection after a 101. The request's
		// context governs it all the same.
		t.stop = context.AfterFunc(a.call.ctx, t.abort)
		resp.Body = t
		return
	}
	resp.Body = &answerBody{body: resp.Body, attempt: a}
}

// An answerBody is the body of an answer. Its errors name the node.
type answerBody struct {
	body    io.ReadCloser
	attempt *attempt
	closed  atomic.Bool
	failure atomic.Pointer[Error] // that it broke off with
}

func (b *answerBody) Read(p []byte) (int, error) {
	if failure := b.failure.Load(); failure != nil {
		return 0, failure
	}
	n, err := b.body.Read(p)
	if err != nil && !b.attempt.over.Load() {
		switch {
		case err == io.EOF:
		case b.closed.Load(): // the node is not to blame
			err = http.ErrBodyReadAfterClose
		default:
			_, failure := b.attempt.fail(answered, err)
			b.failure.Store(failure)
			err = failure
		}
		b.attempt.finish()
	}
	return n, err
}

// Close ends a Read that waits.
func (b *answerBody) Close() error {
	b.closed.Store(true)
	err := b.body.Close()
	b.attempt.finish()
	return err
}

// A tunnel is the connection after a 101 (RFC 9110, section 15.2.2).
type tunnel struct {
	io.ReadWriteCloser
	attempt *attempt
	stop    func() bool
}

// CloseWrite tells the node that nothing more will come.
func (t *tunnel) CloseWrite() error {
	if half, ok := t.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (t *tunnel) Close() error {
	t.stop()
	err := t.ReadWriteCloser.Close()
	t.attempt.finish()
	return err
}

func (t *tunnel) abort() { _ = t.ReadWriteCloser.Close() }
