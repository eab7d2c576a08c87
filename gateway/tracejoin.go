package gateway

import (
	"context"
	"net"

	"github.com/sallyport/sallyport/internal/hooks"
)

// JoinTraces returns a Trace that calls several others; nil ones are skipped. RequestBegun
// is called from the first to the last, each with the context that the one before returned.
// All other functions are called from the last to the first and, like deferred functions,
// even if one panics: the first to hear that a request begins is the last to hear that it
// is over.
func JoinTraces(traces ...*Trace) *Trace {
	type refusal struct {
		peer net.Addr
		err  error
	}
	var (
		begun   []func(context.Context, *RequestStart) context.Context
		done    []func(*RequestEvent)
		limits  []func(LimitEvent)
		refused []func(refusal)
	)
	for _, t := range traces {
		if t == nil {
			continue
		}
		if t.RequestBegun != nil {
			begun = append(begun, t.RequestBegun)
		}
		if t.RequestDone != nil {
			done = append(done, t.RequestDone)
		}
		if t.LimitReached != nil {
			limits = append(limits, t.LimitReached)
		}
		if f := t.ProxyHeaderRefused; f != nil {
			refused = append(refused, func(r refusal) { f(r.peer, r.err) })
		}
	}
	joined := &Trace{RequestDone: hooks.Join(done), LimitReached: hooks.Join(limits)}
	if len(begun) > 0 {
		joined.RequestBegun = func(ctx context.Context, r *RequestStart) context.Context {
			for _, f := range begun {
				if next := f(ctx, r); next != nil {
					ctx = next
				}
			}
			return ctx
		}
	}
	if tell := hooks.Join(refused); tell != nil {
		joined.ProxyHeaderRefused = func(peer net.Addr, err error) { tell(refusal{peer, err}) }
	}
	return joined
}
