package ssl

import (
	"net"

	"github.com/sallyport/sallyport/internal/hooks"
)

// JoinTraces returns a Trace that calls several others; nil ones are skipped. They are
// called from the last to the first and, like deferred functions, even if one panics.
func JoinTraces(traces ...*Trace) *Trace {
	var (
		done   []func(*HandshakeEvent)
		turned []func(net.Addr)
	)
	for _, t := range traces {
		if t == nil {
			continue
		}
		if t.HandshakeDone != nil {
			done = append(done, t.HandshakeDone)
		}
		if t.TurnedAway != nil {
			turned = append(turned, t.TurnedAway)
		}
	}
	return &Trace{HandshakeDone: hooks.Join(done), TurnedAway: hooks.Join(turned)}
}
